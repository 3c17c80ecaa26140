"""Calibrating: the truth is measured, with an error, and becomes a snapshot; or the attempt fails and becomes nothing.

What is measured has a sampling error of 5 % (of ln x), frequencies of 100 Hz and ζ of 2 %. T1, T2, both readout errors
and gates have each an error of their own; gates of one qubit are measured together, and so are those of one coupler.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from qpu_backend.physics.circuit import ONE_QUBIT_GATES, TWO_QUBIT_GATES, Op
from qpu_backend.physics.drift import ERROR_BOUND, TWO_QUBIT_ERROR_BOUND, coherence_us
from qpu_backend.physics.errors import InvalidSnapshot
from qpu_backend.physics.fluctuations import SAMPLING_SD, place_of
from qpu_backend.physics.philox import normals, stream, uniforms
from qpu_backend.physics.snapshot import GateKey, GateProperties, QubitProperties, Snapshot
from qpu_backend.physics.validation import validate_snapshot

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from qpu_backend.physics.device import DeviceModel
    from qpu_backend.physics.drift import Truth

FREQUENCY_SD_HZ: Final = 100.0
ZZ_SD: Final = 0.02
FAILURE_PROBABILITY: Final = 0.005

UNUSABLE_GATE: Final = 0.5
"""A two-qubit gate with a larger error is not published."""
UNUSABLE_QUBIT: Final = 0.45
"""A qubit whose readout or sx has a larger error is not published, nor any gate on it."""

SHOTS: Final = 1000
CIRCUITS: Final = {"frequency": 40, "t1": 30, "t2": 40, "readout": 2, "one-qubit gates": 50}
"""Circuits of each experiment that all qubits take part in at once. Chosen, as the next two."""
CIRCUITS_PER_LAYER: Final = 50
"""Of two-qubit benchmarking, for each layer of couplers without a common qubit."""
CIRCUIT_US: Final = 100.0
"""Mean length of one."""


@dataclass(frozen=True, slots=True)
class CalibrationFailed:
    """An attempt that publishes nothing."""

    reason: str


def duration_us(model: DeviceModel) -> int:
    """Device time of an attempt: a batch's overhead for each experiment, and its circuits at the usual repetition rate.

    Layers are counted as the most couplers that one qubit has, as many as a lattice without odd cycles needs. About two
    minutes for a heavy-hex device.
    """
    degree = max(Counter(q for edge in model.topology.edges for q in edge).values(), default=0)
    circuits = sum(CIRCUITS.values()) + degree * CIRCUITS_PER_LAYER
    experiments = len(CIRCUITS) + degree
    shot_us = model.timing.rep_delay_us + CIRCUIT_US
    return round(1e6 * model.timing.overhead_s * experiments + SHOTS * shot_us * circuits)


def measure(
    truth: Truth, secret: bytes, number: int, *, device_time_us: int, measured_at_us: int
) -> Snapshot | CalibrationFailed:
    """Calibrate a device.

    Args:
        truth: at the end of the calibration, and with what it repairs.
        secret: what errors and failures follow from, together with the device and its time.
        number: which the snapshot gets.
        device_time_us: when the calibration ends.
        measured_at_us: wall time.

    Returns:
        A snapshot that :func:`~qpu_backend.physics.validation.validate_snapshot` accepts, or why there is none.
    """
    true = truth.snapshot
    lot = uniforms(stream(secret, true.device, "calibration lot"), device_time_us)[0]
    if float(lot) < FAILURE_PROBABILITY:
        return CalibrationFailed("fits did not converge; nothing was published, try again")
    errors = _SamplingErrors(secret, true, device_time_us)
    measured = replace(
        true,
        number=number,
        measured_at_us=measured_at_us,
        device_time_us=device_time_us,
        qubits=tuple(None if q is None else _qubit(q, errors.of_qubit(i)) for i, q in enumerate(true.qubits)),
        gates={key: _gate(key, gate, errors) for key, gate in true.gates.items()},
        zz_hz={edge: hz * (1.0 + ZZ_SD * errors.of_edge(edge)[1]) for edge, hz in true.zz_hz.items()},
    )
    try:
        validate_snapshot(measured)
    except InvalidSnapshot as error:  # a truth at the edge of what a device can be
        return CalibrationFailed(str(error))
    return _without_unusable(measured)


class _SamplingErrors:
    """Standard normals by what is measured: eight for each qubit, four for each coupler."""

    def __init__(self, secret: bytes, true: Snapshot, at_us: int) -> None:
        qubits = [place_of((q,)) for q in range(true.num_qubits)]
        edges = sorted({*true.usable_edges, *true.zz_hz})
        key = stream(secret, true.device, "calibration")
        self._of_qubits = np.concatenate([normals(key, at_us, level=level, place=qubits) for level in (0, 1)]).T
        drawn = normals(key, at_us, place=np.array([place_of(edge) for edge in edges], dtype=np.int64)).T
        self._of_edges: dict[tuple[int, int], list[float]] = dict(zip(edges, drawn.tolist(), strict=True))

    def of_qubit(self, qubit: int) -> NDArray[np.float64]:
        return self._of_qubits[qubit]

    def of_edge(self, edge: tuple[int, int]) -> list[float]:
        return self._of_edges[edge]


def _qubit(qubit: QubitProperties, errors: NDArray[np.float64]) -> QubitProperties:
    t1, t2, meas1_prep0, meas0_prep1, frequency, *_ = errors.tolist()
    t1_us = coherence_us(qubit.t1_us * math.exp(SAMPLING_SD * t1))
    return QubitProperties(
        t1_us=t1_us,
        t2_us=min(coherence_us(qubit.t2_us * math.exp(SAMPLING_SD * t2)), 2.0 * t1_us),
        frequency_hz=None if qubit.frequency_hz is None else qubit.frequency_hz + FREQUENCY_SD_HZ * frequency,
        anharmonicity_hz=qubit.anharmonicity_hz,
        prob_meas1_prep0=min(qubit.prob_meas1_prep0 * math.exp(SAMPLING_SD * meas1_prep0), ERROR_BOUND),
        prob_meas0_prep1=min(qubit.prob_meas0_prep1 * math.exp(SAMPLING_SD * meas0_prep1), ERROR_BOUND),
        readout_duration_ns=qubit.readout_duration_ns,
    )


def _gate(key: GateKey, gate: GateProperties, errors: _SamplingErrors) -> GateProperties:
    op, qubits = key
    if op in TWO_QUBIT_GATES:
        lot, bound = errors.of_edge((min(qubits), max(qubits)))[0], TWO_QUBIT_ERROR_BOUND
    elif op in ONE_QUBIT_GATES and op is not Op.RZ:
        lot, bound = float(errors.of_qubit(qubits[0])[5]), ERROR_BOUND
    else:
        return gate
    return GateProperties(min(gate.error * math.exp(SAMPLING_SD * lot), bound), gate.duration_ns)


def _without_unusable(measured: Snapshot) -> Snapshot:
    """Leave out what is too bad to publish, the worst first; what holds the device together is kept all the same."""
    broken: list[tuple[float, Callable[[Snapshot], Snapshot]]] = []
    for q in measured.usable_qubits:
        error = max(measured.qubit(q).readout_error, measured.gate(Op.SX, (q,)).error)
        if error > UNUSABLE_QUBIT:
            broken.append((error, lambda snapshot, q=q: _without_qubit(snapshot, q)))
    for key, gate in measured.gates.items():
        if key[0] in TWO_QUBIT_GATES and gate.error > UNUSABLE_GATE:
            broken.append((gate.error, lambda snapshot, key=key: _without_gate(snapshot, key)))
    for _, leave_out in sorted(broken, key=lambda one: -one[0]):
        less = leave_out(measured)
        try:
            measured = validate_snapshot(less)
        except InvalidSnapshot:  # in pieces
            continue
    return measured


def _without_gate(snapshot: Snapshot, key: GateKey) -> Snapshot:
    return replace(snapshot, gates={k: gate for k, gate in snapshot.gates.items() if k != key})


def _without_qubit(snapshot: Snapshot, qubit: int) -> Snapshot:
    return replace(
        snapshot,
        qubits=tuple(None if q == qubit else properties for q, properties in enumerate(snapshot.qubits)),
        gates={key: gate for key, gate in snapshot.gates.items() if qubit not in key[1]},
    )
