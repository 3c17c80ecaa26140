"""How excited the qubits of a circuit are while it runs alone: what neighbours need to know of it.

A qubit's own operations cut its time into intervals. Of each: p_k = ⟨n⟩ right after the operation that opens it, and
C_k = P(n_k = 1 and n_{k+1} = 1), as if n had been copied to a fresh bit in both::

    v ── p_k ── idle ─┬─ op ── p_{k+1} ──    Between its operations n_v is conserved, but for relaxation. So what was 1
                      │                      when the interval opened is, when it closes, the part of the state that is
    w ────────────────┴──                    1, and a share d/(1 − d) of the same that has relaxed meanwhile.

Both parts go through the operation, on the reduced state of its one or two qubits: one simulation gives everything. The
relaxed part is taken to have left w as the other did, without the ZZ phase between the two that it missed: an error of
d·φ, and d is small because long idling is cut.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np

from qpu_backend.engines.pauli import PauliState
from qpu_backend.engines.prepared import Prepared
from qpu_backend.engines.protocol import RegionTask, SliceSpec
from qpu_backend.engines.score import Note, play, score_of
from qpu_backend.physics.circuit import Op
from qpu_backend.physics.context import Context, Occupation, Profile
from qpu_backend.physics.method import Method, choose_method
from qpu_backend.physics.program import Step
from qpu_backend.physics.timing import Durations, has_mid_circuit, schedule, wires_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qpu_backend.engines.protocol import ProfileTask
    from qpu_backend.physics.timing import Row

_LOSS: Final = 0.02
"""Idle time is cut whenever so much of the excitation is gone."""
_WAITING: Final = frozenset({Op.BARRIER, Op.DELAY})
_UNSEEN: Final = frozenset({Op.RZ, Op.MEASURE, *_WAITING})
"""Operations that leave n as it is and open no interval."""


def profile_of(task: ProfileTask) -> Profile:
    """Simulate a circuit alone, under each of its bindings, and average.

    Past the exact methods (more than ten qubits, or something after a measurement) every operation is taken to
    re-randomise its qubits: p = 1/2 and C = 1/4 after the first one, and 1/2 in the end.

    Raises:
        NotCalibrated: the circuit uses what its region does not offer.
    """
    times = _Times.of(task)
    start = task.start.tolist() or [0.0] * task.circuit.num_qubits
    if choose_method(task.circuit.num_qubits, has_mid_circuit(task.circuit)) is Method.TRAJECTORIES:
        return _coarse(task, times, start)
    alone = RegionTask((task.circuit,), (task.angles,), task.noise, (), (Context(start=task.start),))
    prepared = Prepared(alone, SliceSpec(0, 0, 1, 0))
    score = score_of(prepared, prepared.program)
    final = np.zeros(task.circuit.num_qubits)
    records: list[dict[int, _Record]] = []
    for angles in task.angles.tolist():
        records.append({v: _Record([times.duration_ns], [start[v]]) for v in task.qubits})
        final += _watch(prepared, score, angles, times, records[-1])
    return Profile({v: _mean([of[v] for of in records]) for v in task.qubits}, final / len(records))


@dataclass(frozen=True, slots=True)
class _Times:
    """When things happen, from the beginning in ns.

    Attributes:
        duration_ns: of the circuit.
        starts_ns: per local qubit, of each operation on it but barriers and delays, and then of the end.
        seen: per local qubit, starts of those that open an interval.
    """

    duration_ns: float
    starts_ns: list[list[float]]
    seen: list[list[float]]

    @classmethod
    def of(cls, task: ProfileTask) -> _Times:
        scheduled = schedule(task.circuit, Durations.of(task.noise))
        n = task.circuit.num_qubits
        starts: list[list[float]] = [[] for _ in range(n)]
        seen: list[list[float]] = [[] for _ in range(n)]
        rows: list[Row] = task.circuit.operations.tolist()
        for row, start in zip(rows, scheduled.starts_ns.tolist(), strict=True):
            for q in wires_of(task.circuit, row):
                if q < n and row[0] not in _WAITING:
                    starts[q].append(start)
                if q < n and row[0] not in _UNSEEN:
                    seen[q].append(start)
        return cls(scheduled.duration_ns, [[*of_qubit, scheduled.duration_ns] for of_qubit in starts], seen)


@dataclass(slots=True)
class _Record:
    """What one qubit did under one binding. See :class:`Occupation`; ``kept``: of n since the interval opened."""

    opens_ns: list[float]
    excited: list[float]
    both: list[float] = field(default_factory=list[float])
    kept: float = 1.0

    def open(self, opens_ns: float, excited: float, both: float) -> None:
        """The next interval begins."""
        self.opens_ns.append(opens_ns)
        self.excited.append(excited)
        self.both.append(both)
        self.kept = 1.0

    def idle(self, opens_ns: float, time_ns: float, t1_ns: float) -> None:
        """Relax, from a time before the end on."""
        share = math.exp(-time_ns / t1_ns)
        excited = self.excited[-1] * self.kept
        cuts = int((1.0 - share) / _LOSS)
        for cut in range(1, cuts + 1):
            left = 1.0 - cut * _LOSS
            if left > 0.0:
                self.open(opens_ns + t1_ns * math.log(left), excited * left, excited * left)
                self.kept = share / left
        if not cuts:
            self.kept *= share


def _watch(
    prepared: Prepared, score: Sequence[Sequence[Note]], angles: list[float], times: _Times, records: dict[int, _Record]
) -> list[float]:
    """Play one binding, fill the records, and answer ⟨n⟩ of all qubits in the end."""
    state = PauliState(prepared.circuit.num_qubits)
    met = [0] * prepared.circuit.num_qubits
    for news, notes in zip(prepared.program, score, strict=True):
        if not isinstance(news, Step) or news.op is Op.DELAY:
            if isinstance(news, Step) and news.qubits[0] in records and notes:
                q = news.qubits[0]
                began_ns = times.starts_ns[q][met[q]] - news.value
                records[q].idle(times.duration_ns - began_ns, news.value, 1e3 * prepared.qubits[q].t1_us)
            play(notes, state, angles)
            continue
        watched = [] if news.op in _UNSEEN else [v for v in news.qubits if v in records]
        both = [_both(state, notes[0], v, records[v].kept) for v in watched]
        play(notes, state, angles)
        for v, chance in zip(watched, both, strict=True):
            records[v].open(times.duration_ns - times.starts_ns[v][met[v]], _excited(state, v), chance)
        for q in news.qubits:
            met[q] += 1
    return [_excited(state, q) for q in range(prepared.circuit.num_qubits)]


def _excited(state: PauliState, qubit: int) -> float:
    values = state.reduced((qubit,))
    return 0.5 * float(values[0] - values[3])


def _both(state: PauliState, note: Note, v: int, kept: float) -> float:
    """P(1 when the interval opened, and 1 after the operation ``note``)."""
    *qubits, transfer = note.arguments[: 2 if len(note.arguments) == 2 else 3]
    values = state.reduced(tuple(qubits))
    if len(qubits) == 2 and qubits[1] == v:
        values = values.T
    ones = 0.5 * (values[0] - values[3])  # of the partner, or a number
    relaxed = (1.0 - kept) / kept
    values = np.multiply.outer([1.0 + relaxed, 0.0, 0.0, relaxed - 1.0], ones)
    if len(qubits) == 1:
        return 0.5 * float((transfer[0] - transfer[3]) @ values)
    # matrices have the second qubit as the more significant one
    place, values = (3, values.T) if qubits[0] == v else (12, values)
    return 0.5 * float((transfer[0] - transfer[place]) @ values.reshape(16))


def _mean(records: Sequence[_Record]) -> Occupation:
    excited = np.mean([record.excited for record in records], axis=0)
    both = np.mean([record.both for record in records], axis=0)
    before, after = excited[:-1], excited[1:]
    both = np.clip(both, np.maximum(0.0, before + after - 1.0), np.minimum(before, after))
    return Occupation(np.array(records[0].opens_ns), excited, both)


def _coarse(task: ProfileTask, times: _Times, start: list[float]) -> Profile:
    occupations: dict[int, Occupation] = {}
    for v in task.qubits:
        seen = times.seen[v]
        both = np.array([0.5 * start[v], *[0.25] * (len(seen) - 1)][: len(seen)])
        excited = np.array([start[v], *[0.5] * len(seen)])
        occupations[v] = Occupation(times.duration_ns - np.array([0.0, *seen]), excited, both)
    return Profile(occupations, np.array([0.5 if seen else start[q] for q, seen in enumerate(times.seen)]))
