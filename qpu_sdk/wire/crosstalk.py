"""The document of crosstalk: what neighbours on a chip do to each other, as far as it is known by measurement."""

from __future__ import annotations

from datetime import datetime

from qpu_sdk.wire.documents import ResponseDocument


class CouplerZZ(ResponseDocument):
    """Static ZZ of a coupler, as the calibration measured it: ``H = 2πζ |11⟩⟨11|`` on its two qubits."""

    qubits: tuple[int, int]
    zz_hz: float


class SimultaneousGates(ResponseDocument):
    """Two couplers whose two-qubit gates disturb each other when they run at the same time.

    ``ratio`` is the error of either gate while the other runs, over its error alone, as simultaneous randomised
    benchmarking found it when the device was characterised. Calibrations do not measure it again.
    """

    couplers: tuple[tuple[int, int], tuple[int, int]]
    ratio: float


class CrosstalkDocument(ResponseDocument):
    """``GET /backends/{name}/crosstalk``.

    Pairs of couplers that are not listed have ``ordinary_ratio`` where a coupler joins them, and 1 elsewhere. Qubits of
    a readout group that are read together blur each other. On a virtual backend ``zz`` has the median over its regions,
    and what depends on fixed qubits is empty.
    """

    name: str
    device: str
    calibration_id: str
    calibrated_at: datetime
    zz: list[CouplerZZ]
    simultaneous: list[SimultaneousGates]
    ordinary_ratio: float
    readout_groups: list[list[int]]
