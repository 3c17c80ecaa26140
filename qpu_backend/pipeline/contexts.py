"""Who is near whom in a batch, what of each is felt next door, and the context of every circuit in every round.

    placed jobs ──► profiles wanted ──workers──► profiles ──► one context a meeting ──► executions and their shots

A *meeting* is a circuit with the circuits that run beside it. Bindings do not make new ones: a neighbour with many
bindings is felt as the average of some of them, because which of them meets which shot is chance to its victim.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np

from qpu_backend.domain.rounds import unrolled
from qpu_backend.engines.protocol import ProfileTask
from qpu_backend.physics.context import NO_CONTEXT, Context
from qpu_backend.physics.neighbours import context_of, near, needs_own_profile, own_start, wanted
from qpu_sdk.wire.codec import pack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from numpy.typing import NDArray

    from qpu_backend.domain.programs import Execution, Program
    from qpu_backend.domain.rounds import Member as RoundMember
    from qpu_backend.domain.rounds import Round
    from qpu_backend.physics.context import Profile
    from qpu_backend.physics.device import DeviceModel
    from qpu_backend.physics.neighbours import PlacedCircuit
    from qpu_backend.physics.snapshot import RegionNoise, Snapshot

_BINDINGS: Final = 8
"""How many bindings of a circuit its profile is averaged over at most."""

Contexts = dict[int, dict[int, int]]
"""Execution → index of each distinct context it meets, and the shots that run in it, in order of appearance."""


class PlacedJob(Protocol):
    """What is asked of a placement here."""

    @property
    def tenant_id(self) -> str:
        """Whose it is."""
        ...

    @property
    def region(self) -> tuple[int, ...]:
        """Physical qubits it holds."""
        ...

    @property
    def program(self) -> Program:
        """What it runs."""
        ...

    @property
    def executions(self) -> Sequence[Execution]:
        """What of it this batch runs, in order; the members of rounds count these."""
        ...

    @property
    def circuits(self) -> Sequence[PlacedCircuit]:
        """Its circuits, in place."""
        ...

    @property
    def noise(self) -> RegionNoise:
        """The device as the region sees it."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Met:
    """The contexts of one placement.

    Attributes:
        contexts: each once; the first is that of being alone.
        shots: which execution runs how many shots in which of them.
    """

    contexts: tuple[Context, ...]
    shots: Contexts


def contexts_of(
    placed: Sequence[PlacedJob],
    rounds: Iterable[Round],
    model: DeviceModel,
    truth: Snapshot,
    profile: Callable[[Sequence[tuple[str, ProfileTask]]], Sequence[Profile]],
) -> list[Met]:
    """The contexts of every placement of a batch, in its order.

    Args:
        placed: the placements.
        rounds: who runs when.
        model: the device.
        truth: its parameters now.
        profile: simulates circuits alone; called at most once.
    """
    surroundings = _Surroundings(placed, model, truth)
    surroundings.look(profile)
    return surroundings.meet(rounds)


_Meeting = tuple[int, int, tuple[tuple[int, int], ...]]
"""Placement, its circuit, and the (placement, circuit) of each neighbour beside it."""


class _Surroundings:
    """Carries what one batch has found out; lives only inside :func:`contexts_of`."""

    def __init__(self, placed: Sequence[PlacedJob], model: DeviceModel, truth: Snapshot) -> None:
        self._placed = placed
        self._model = model
        self._truth = truth
        self._touching = [
            {
                j
                for j, other in enumerate(placed)
                if j != i and near(model.crosstalk, model.topology, one.region, other.region)
            }
            for i, one in enumerate(placed)
        ]
        self._profiles: dict[tuple[int, int], Profile] = {}

    def look(self, profile: Callable[[Sequence[tuple[str, ProfileTask]]], Sequence[Profile]]) -> None:
        """Have the circuits that are felt by somebody simulated."""
        asked: list[tuple[int, int]] = []
        tasks: list[tuple[str, ProfileTask]] = []
        for index, one in enumerate(self._placed):
            feeling = [circuit for other in sorted(self._touching[index]) for circuit in self._placed[other].circuits]
            for number, circuit in enumerate(one.circuits):
                crosstalk = self._model.crosstalk
                qubits = wanted(crosstalk, self._model.topology, self._truth, circuit, feeling)
                if qubits is None and not needs_own_profile(crosstalk):
                    continue
                asked.append((index, number))
                angles = _some_bindings(one.program, number)
                task = ProfileTask(circuit.circuit, angles, one.noise, np.zeros(0), qubits or ())
                tasks.append((one.tenant_id, task))
        if tasks:
            self._profiles = dict(zip(asked, profile(tasks), strict=True))

    def meet(self, rounds: Iterable[Round]) -> list[Met]:
        """Go through the rounds."""
        found: list[list[Context]] = [[NO_CONTEXT] for _ in self._placed]
        index_of: list[dict[bytes, int]] = [{_key(NO_CONTEXT): 0} for _ in self._placed]
        shots: list[Contexts] = [{} for _ in self._placed]
        known: dict[_Meeting, int] = {}
        for one in unrolled(rounds) if any(self._touching) else rounds:
            running = {member.placement: member for member in one.members}
            for index, member in running.items():
                for execution in _executions(member, one.repeat):
                    meeting = self._meeting(index, execution, running)
                    if meeting not in known:
                        context = self._context(meeting)
                        number = index_of[index].setdefault(_key(context), len(found[index]))
                        if number == len(found[index]):
                            found[index].append(context)
                        known[meeting] = number
                    met = shots[index].setdefault(execution, {})
                    repeats = 1 if member.step else one.repeat
                    met[known[meeting]] = met.get(known[meeting], 0) + repeats * one.shots
        return [Met(tuple(contexts), each) for contexts, each in zip(found, shots, strict=True)]

    def _meeting(self, index: int, execution: int, running: dict[int, RoundMember]) -> _Meeting:
        beside = sorted(self._touching[index] & running.keys())
        return (
            index,
            self._placed[index].executions[execution].circuit,
            tuple((other, self._placed[other].executions[running[other].execution].circuit) for other in beside),
        )

    def _context(self, meeting: _Meeting) -> Context:
        index, number, beside = meeting
        own = self._placed[index].circuits[number]
        crosstalk = self._model.crosstalk
        profile = self._profiles.get((index, number)) if needs_own_profile(crosstalk) else None  # not as neighbours ask
        start = own_start(crosstalk, self._truth, own, self._model.timing.rep_delay_us, profile)
        neighbours = [
            (self._placed[other].circuits[circuit], self._profiles.get((other, circuit))) for other, circuit in beside
        ]
        return context_of(crosstalk, self._model.topology, self._truth, own, neighbours, start)


def _executions(member: RoundMember, repeat: int) -> range:
    return (
        range(member.execution, member.execution + repeat)
        if member.step
        else range(member.execution, member.execution + 1)
    )


def _some_bindings(program: Program, circuit: int) -> NDArray[np.float64]:
    """At most so many rows of the angles that a circuit runs with, evenly spread."""
    runs = [(execution.pub, execution.binding) for execution in program.executions if execution.circuit == circuit]
    step = max(1, len(runs) // _BINDINGS)
    return np.stack([program.angles[pub][binding] for pub, binding in runs[::step][:_BINDINGS]])


def _key(context: Context) -> bytes:
    return pack(context.to_document())
