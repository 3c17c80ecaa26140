"""The documents of predictions: what a circuit may be expected to do where it would run, before it is sent."""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict

from qpu_sdk.wire.models import WIRE_VERSION, CircuitPayload, RequestDocument, ResponseDocument


class PredictionRequest(RequestDocument):
    """``POST /backends/{name}/predict``. Parameters may be free: no angle changes the prediction."""

    model_config = ConfigDict(defer_build=False)  # a deferred one makes FastAPI warn

    wire_version: Literal[1] = WIRE_VERSION
    circuits: CircuitPayload


class CircuitPrediction(ResponseDocument):
    """What one circuit loses, by the calibration as published and with nobody beside it.

    ``success`` estimates the probability that a shot comes out as it would without noise. It is the product of what is
    left by each cause, ``e^{−loss}``: ``gates`` (gate errors), ``readout`` (measurements, and qubits that start in 1),
    ``idling`` (relaxation of waiting qubits), ``zz`` (static ZZ between its own qubits), ``crosstalk`` (neighbours).
    """

    region: list[int]
    """Physical qubit of each of the backend's qubits; of each of its own qubits on a backend that is the device."""
    duration_ns: float
    success: float
    gates: float
    readout: float
    idling: float
    zz: float
    crosstalk: float


class PredictionList(ResponseDocument):
    """The predictions of the circuits of one request, in order, for the place where they would run together."""

    backend: str
    calibration_id: str
    predictions: list[CircuitPrediction]
