"""The truth: what a device really is at a device time, as a function of its first snapshot, a secret and that time.

Nothing of it is stored, and it may be asked for at any time in any order. At device time 0 the truth is the first
snapshot; from there each parameter wanders (:mod:`qpu_backend.physics.fluctuations`). Clients only ever see
measurements of it (:mod:`qpu_backend.physics.calibration`).

Calibrating repairs what it can: gates that broke before it, and the frequency that pulses are tuned to. It repairs no
T1. ζ, durations and anharmonicities do not drift, and rz, which is a change of frame, has no error that could.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from qpu_backend.physics.circuit import ONE_QUBIT_GATES, TWO_QUBIT_GATES, Op
from qpu_backend.physics.fluctuations import (
    ONE_QUBIT,
    READOUT,
    T1,
    T2,
    TWO_QUBIT,
    Parameters,
    Steps,
    Telegraph,
)
from qpu_backend.physics.snapshot import GateKey, GateProperties, QubitProperties, Snapshot
from qpu_backend.physics.validation import COHERENCE_TIME

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from qpu_backend.physics.fluctuations import Event

ERROR_BOUND: Final = 0.5
"""No readout and no one-qubit gate is worse: then it says nothing about the qubit."""
TWO_QUBIT_ERROR_BOUND: Final = 0.75
"""Average infidelity of complete depolarisation of two qubits."""

QUANTUM_US: Final = 60_000_000
"""Truth is asked for in steps of a minute, so that batches shortly after each other share one."""


@dataclass(frozen=True, slots=True, eq=False)
class Truth:
    """A device as it is at one device time.

    Attributes:
        snapshot: what a calibration without any error would publish.
        detuning_hz: how far each qubit's frequency is from what the last calibration tuned its pulses to; qubits at
            zero are left out.
    """

    snapshot: Snapshot
    detuning_hz: Mapping[int, float] = field(default_factory=dict[int, float])


def quantised_us(device_time_us: int, calibrated_us: int) -> int:
    """The time whose truth a batch gets: the minute in which it starts, but not before the last calibration."""
    return max(device_time_us - device_time_us % QUANTUM_US, calibrated_us)


def coherence_us(time_us: float) -> float:
    """A T1 or T2 within what any device has."""
    return min(max(time_us, COHERENCE_TIME.low), COHERENCE_TIME.high)


class Drift:
    """How one device drifts. Immutable, and quick to ask: some ms for 127 qubits."""

    def __init__(self, base: Snapshot, secret: bytes, *, enabled: bool = True, scale: float = 1.0) -> None:
        """Prepare what does not depend on time.

        Args:
            base: the truth at device time 0; the device's first snapshot.
            secret: what the whole course of the device follows from.
            enabled: without drift the truth is ``base`` at all times.
            scale: multiplies every deviation of ln x, telegraph events included, and every step of a frequency.
        """
        self.base = base
        self.secret = secret
        self.enabled = enabled
        self.scale = scale
        self._qubits = base.usable_qubits
        self._edges = base.usable_edges
        where = [(kind, (q,)) for kind in (T1, T2, READOUT, ONE_QUBIT) for q in self._qubits]
        where += [(TWO_QUBIT, edge) for edge in self._edges]
        self._parameters = Parameters.of(secret, base.device, where)
        self._telegraph = Telegraph.of(secret, base.device, self._qubits, self._edges)
        self._steps = Steps.of(secret, base.device, self._qubits)
        self._at_first = self._parameters.at(0)
        self._frequency_at_first_hz = self._steps.at(0)

    def truth(self, device_time_us: int, calibrated_us: int) -> Truth:
        """The device at a time.

        Args:
            device_time_us: µs of the device's own clock, from 0 on.
            calibrated_us: when its last good calibration ended, not later.
        """
        if not self.enabled:
            return Truth(self.base)
        events = self._telegraph.during(device_time_us)
        factors = np.exp(self.scale * (self._parameters.at(device_time_us) - self._at_first))
        n = len(self._qubits)
        t1, t2, readout, one_qubit = factors[: 4 * n].reshape(4, n).tolist()
        for q, factor in self._drops(events).items():
            t1[q] /= factor
        two_qubit = dict(zip(self._edges, factors[4 * n :].tolist(), strict=True))
        for edge, factor in self._breaks(events, calibrated_us).items():
            two_qubit[edge] *= factor
        frequency_hz = self.scale * self._steps.at(device_time_us)
        snapshot = replace(
            self.base,
            device_time_us=device_time_us,
            qubits=self._drifted_qubits(t1, t2, readout, frequency_hz - self.scale * self._frequency_at_first_hz),
            gates=self._drifted_gates(dict(zip(self._qubits, one_qubit, strict=True)), two_qubit),
        )
        detuning_hz: list[float] = (frequency_hz - self.scale * self._steps.at(calibrated_us)).tolist()
        return Truth(snapshot, {q: hz for q, hz in zip(self._qubits, detuning_hz, strict=True) if hz})

    def _drops(self, events: list[Event]) -> dict[int, float]:
        """Row of each qubit whose T1 is down → by how much; of two events the worse."""
        drops: dict[int, float] = {}
        for event in events:
            if len(event.qubits) == 1:
                row = self._qubits.index(event.qubits[0])
                drops[row] = max(drops.get(row, 1.0), event.factor**self.scale)
        return drops

    def _breaks(self, events: list[Event], calibrated_us: int) -> dict[tuple[int, int], float]:
        breaks: dict[tuple[int, int], float] = {}
        for event in events:
            if len(event.qubits) == 2 and event.starts_us >= calibrated_us:
                edge = (event.qubits[0], event.qubits[1])
                breaks[edge] = max(breaks.get(edge, 1.0), event.factor**self.scale)
        return breaks

    def _drifted_qubits(
        self, t1: list[float], t2: list[float], readout: list[float], moved_hz: NDArray[np.float64]
    ) -> tuple[QubitProperties | None, ...]:
        qubits = list(self.base.qubits)
        for row, (q, hz) in enumerate(zip(self._qubits, moved_hz.tolist(), strict=True)):
            qubit = self.base.qubit(q)
            t1_us = coherence_us(qubit.t1_us * t1[row])
            qubits[q] = QubitProperties(
                t1_us=t1_us,
                t2_us=min(coherence_us(qubit.t2_us * t2[row]), 2.0 * t1_us),
                frequency_hz=None if qubit.frequency_hz is None else qubit.frequency_hz + hz,
                anharmonicity_hz=qubit.anharmonicity_hz,
                prob_meas1_prep0=min(qubit.prob_meas1_prep0 * readout[row], ERROR_BOUND),
                prob_meas0_prep1=min(qubit.prob_meas0_prep1 * readout[row], ERROR_BOUND),
                readout_duration_ns=qubit.readout_duration_ns,
            )
        return tuple(qubits)

    def _drifted_gates(
        self, one_qubit: dict[int, float], two_qubit: dict[tuple[int, int], float]
    ) -> dict[GateKey, GateProperties]:
        gates: dict[GateKey, GateProperties] = {}
        for (op, qubits), gate in self.base.gates.items():
            if op in TWO_QUBIT_GATES:
                a, b = qubits
                error = min(gate.error * two_qubit[(a, b) if a < b else (b, a)], TWO_QUBIT_ERROR_BOUND)
            elif op in ONE_QUBIT_GATES and op is not Op.RZ:
                error = min(gate.error * one_qubit[qubits[0]], ERROR_BOUND)
            else:
                error = gate.error
            gates[op, qubits] = GateProperties(error, gate.duration_ns)
        return gates
