"""Pictures and cards: devices, crosstalk, where a job ran, results; for notebook, file and terminal, in light and dark.

rich and matplotlib are loaded when something is drawn. Only :mod:`qpu_sdk.display.faces` asks the service: all else
is documents in, pictures out.
"""
