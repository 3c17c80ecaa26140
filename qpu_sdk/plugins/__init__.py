"""Stages for Qiskit's compiler, found by their entry points: a layout that knows of crosstalk, and an ALAP schedule."""
