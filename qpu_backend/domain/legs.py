"""A large job in legs: cut so that each part takes at most a quantum of device time, and nobody blocks the chip.

    executions   |─ 0 ─|─ 1 ─|──────────── 2 ────────────|─ 3 ─|
    legs         |───── 0 ─────|─────── 1 ───────|───── 2 ─────|

An execution is cut only where it alone is longer than the quantum. The cuts follow from the job, its repetition delay
and the quantum, never from who else is there; they are made once, when the job is admitted, and stored with it. A job
that fits into the quantum is one leg: it has no :class:`Legs`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from qpu_backend.domain.rounds import Need, stand_alone_us

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qpu_backend.domain.footprint import Footprint

LEGS_VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class Leg:
    """A stretch of a job's shots.

    Attributes:
        first_execution: of the job, where it begins.
        first_shot: of that execution.
        needs: what it runs, run-length encoded; the first and the last execution may be parts.
    """

    first_execution: int
    first_shot: int
    needs: tuple[Need, ...]

    @property
    def num_executions(self) -> int:
        return sum(need.repeat for need in self.needs)

    @property
    def shots(self) -> int:
        return sum(need.repeat * need.shots for need in self.needs)

    def first_shot_of(self, execution: int) -> int:
        """The shot of the job's execution ``execution`` with which this leg goes on."""
        return self.first_shot if execution == self.first_execution else 0


class Used(NamedTuple):
    """What the first legs of a job took, as if they had run in one piece."""

    shots: int
    device_us: int


@dataclass(frozen=True, slots=True)
class Legs:
    """How a job is cut, and what each part of it costs.

    Attributes:
        needs: the executions of the whole job, run-length encoded.
        shots: of each leg in order, run-length encoded: ``(repeat, shots)``.
        rep_delay_ns: idle time before each shot.
        overhead_us: device time that a batch takes besides its shots.
        fairness_qubits: qubits that the job is expected to keep from others.
        weight: its share in fair queueing, as it was when the job was admitted.
        simulation_us: processor time that simulating all of it is expected to take.
    """

    needs: tuple[Need, ...]
    shots: tuple[tuple[int, int], ...]
    rep_delay_ns: int
    overhead_us: int
    fairness_qubits: int
    weight: int
    simulation_us: int

    @property
    def number(self) -> int:
        """How many legs there are, at least two."""
        return sum(repeat for repeat, _ in self.shots)

    def leg(self, index: int) -> Leg:
        """The leg of that number, from 0.

        Raises:
            IndexError: there is none.
        """
        before, shots = self._stretch(index)
        return self._part(before, shots)

    def footprint(self, whole: Footprint, index: int) -> Footprint:
        """What one leg needs from the chip.

        Args:
            whole: the job's footprint, or that of any of its legs.
            index: of the leg.
        """
        leg = self.leg(index)
        executions = sum(need.repeat for need in self.needs)
        shots = sum(need.repeat * need.shots for need in self.needs)
        # A part of an execution may cost as much to simulate as all of it, or as much as its shots: the larger share.
        share = max(leg.num_executions / executions, leg.shots / shots)
        return replace(whole, needs=leg.needs, simulation_us=round(share * self.simulation_us))

    def cost(self, index: int) -> int:
        """What one leg is expected to occupy, µs · qubit: its weight in fair queueing."""
        return self.fairness_qubits * stand_alone_us(self.overhead_us, self.rep_delay_ns, self.leg(index).needs)

    def used(self, legs: int) -> Used:
        """What the first legs took, at least one. All of them took what the job takes in one piece."""
        before, shots = self._stretch(legs - 1)
        done = self._part(0, before + shots)
        return Used(done.shots, stand_alone_us(self.overhead_us, self.rep_delay_ns, done.needs))

    def _stretch(self, index: int) -> tuple[int, int]:
        """Shots of the job before a leg, and in it."""
        before, number = 0, index
        for repeat, shots in self.shots:
            if 0 <= number < repeat:
                return before + number * shots, shots
            before += repeat * shots
            number -= repeat
        raise IndexError(f"a job of {self.number} legs has none of number {index}")

    def _part(self, start: int, shots: int) -> Leg:
        """So many shots of the job, from one of them on."""
        first: tuple[int, int] | None = None
        taken: list[Need] = []
        executions = 0
        for need in self.needs:
            size = need.repeat * need.shots
            if start < size and shots:
                if first is None:
                    first = executions + start // need.shots, start % need.shots
                here = min(shots, size - start)
                taken += _stretch_of(need, start % need.shots, here)
                shots -= here
            start = max(0, start - size)
            executions += need.repeat
        if first is None or shots:
            raise ValueError("the legs of this job have more shots than the job")
        return Leg(*first, tuple(_joined(taken)))

    def to_document(self) -> dict[str, Any]:
        """Numbers and lists only: survives JSON unchanged."""
        return {
            "legs_version": LEGS_VERSION,
            "needs": [list(need) for need in self.needs],
            "shots": [list(run) for run in self.shots],
            "rep_delay_ns": self.rep_delay_ns,
            "overhead_us": self.overhead_us,
            "fairness_qubits": self.fairness_qubits,
            "weight": self.weight,
            "simulation_us": self.simulation_us,
        }

    @classmethod
    def from_document(cls, document: dict[str, Any]) -> Legs:
        """Inverse of :meth:`to_document`.

        Raises:
            ValueError: another version.
        """
        if document.get("legs_version") != LEGS_VERSION:
            raise ValueError(f"not version {LEGS_VERSION} legs: {document.get('legs_version')!r}")
        return cls(
            needs=tuple(Need(*need) for need in document["needs"]),
            shots=tuple((repeat, shots) for repeat, shots in document["shots"]),
            rep_delay_ns=document["rep_delay_ns"],
            overhead_us=document["overhead_us"],
            fairness_qubits=document["fairness_qubits"],
            weight=document["weight"],
            simulation_us=document["simulation_us"],
        )


def cut(
    footprint: Footprint, *, rep_delay_ns: int, overhead_us: int, quantum_us: int, fairness_qubits: int, weight: int
) -> Legs | None:
    """How a job is cut; ``None`` where it runs in one piece.

    Each leg takes as many executions as fit, and at least one shot.

    Args:
        footprint: of the whole job.
        rep_delay_ns: idle time before each of its shots.
        overhead_us: device time that a batch takes besides its shots; it does not count against the quantum.
        quantum_us: device time that the shots of a leg may take.
        fairness_qubits: qubits that the job is expected to keep from others.
        weight: its share in fair queueing.

    Raises:
        ValueError: a quantum that is not positive.
    """
    if quantum_us <= 0:
        raise ValueError(f"a quantum is a positive time, not {quantum_us} µs")
    shots: list[tuple[int, int]] = []
    for leg in _cut(footprint.needs, rep_delay_ns, 1000 * quantum_us):
        if shots and shots[-1][1] == leg:
            shots[-1] = (shots[-1][0] + 1, leg)
        else:
            shots.append((1, leg))
    if shots[0][0] == len(shots) == 1:
        return None
    return Legs(
        needs=footprint.needs,
        shots=tuple(shots),
        rep_delay_ns=rep_delay_ns,
        overhead_us=overhead_us,
        fairness_qubits=fairness_qubits,
        weight=weight,
        simulation_us=footprint.simulation_us,
    )


def whole(footprint: Footprint) -> Leg:
    """The only leg of a job that runs in one piece."""
    return Leg(0, 0, footprint.needs)


def _cut(needs: tuple[Need, ...], rep_delay_ns: int, quantum_ns: int) -> Iterator[int]:
    """The shots of each leg."""
    shots, room_ns = 0, quantum_ns
    for need in needs:
        period_ns = need.duration_ns + rep_delay_ns
        # What stays together: a whole execution where it fits into an empty leg, otherwise a shot.
        together = need.shots if need.shots * period_ns <= quantum_ns else 1
        left = need.repeat * need.shots // together
        while left:
            fit = left if period_ns == 0 else min(left, room_ns // (together * period_ns))
            if shots == 0:
                fit = max(fit, 1)  # it may be a single shot longer than the quantum
            elif fit <= 0 or room_ns < 0:
                yield shots
                shots, room_ns = 0, quantum_ns
                continue
            shots += fit * together
            room_ns -= fit * together * period_ns
            left -= fit
    yield shots


def _stretch_of(need: Need, first_shot: int, shots: int) -> Iterator[Need]:
    """So many shots of a run of equal executions, from a shot of one of them on: a part, whole ones, a part."""
    if first_shot:
        part = min(shots, need.shots - first_shot)
        yield need._replace(repeat=1, shots=part)
        shots -= part
    if shots >= need.shots:
        yield need._replace(repeat=shots // need.shots)
    if shots % need.shots:
        yield need._replace(repeat=1, shots=shots % need.shots)


def _joined(needs: list[Need]) -> Iterator[Need]:
    """The same with equal neighbours as one."""
    last: Need | None = None
    for need in needs:
        if last is not None and last[1:] == need[1:]:
            last = last._replace(repeat=last.repeat + need.repeat)
            continue
        if last is not None:
            yield last
        last = need
    if last is not None:
        yield last
