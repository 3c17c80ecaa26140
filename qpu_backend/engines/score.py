"""A program written out for a :class:`~qpu_backend.engines.pauli.PauliState`, once for all bindings of its angles."""

from __future__ import annotations

import cmath
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from qpu_backend.engines.pauli import PauliState
from qpu_backend.physics.circuit import Op
from qpu_backend.physics.phases import GhostPhase, Jump, Phase, Smear, Turn
from qpu_backend.physics.program import Flip, Happening, Step
from qpu_backend.physics.transfer import (
    Transfer,
    error_transfer,
    flip_transfer,
    gate_transfer,
    phase_transfer,
    relaxation,
    rzz_transfer,
    smear,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from qpu_backend.engines.prepared import Prepared

_DIAGONAL: Final = frozenset({Op.CZ, Op.RZZ})


class Note(NamedTuple):
    """One call on a state: ``act(state, *arguments)``, or ``act(state, angle, *arguments)`` with a bound angle.

    Attributes:
        act: what.
        arguments: that do not depend on the binding.
        slot: of the angle, or −1.
    """

    act: Callable[..., None]
    arguments: tuple[Any, ...]
    slot: int = -1


def play(notes: Iterable[Note], state: PauliState, angles: list[float]) -> None:
    """Let it happen to a state."""
    for act, arguments, slot in notes:
        if slot < 0:
            act(state, *arguments)
        else:
            act(state, angles[slot], *arguments)


def score_of(prepared: Prepared, program: Sequence[Happening]) -> list[list[Note]]:
    """What each happening of a program does, in order; a measurement does nothing.

    Args:
        prepared: a circuit that is measured once, at its end.
        program: its own, or what matters of it.
    """
    return _Composer(prepared, program).score()


class _Composer:
    """Carries what it has seen of one program; lives only inside :func:`score_of`."""

    def __init__(self, prepared: Prepared, program: Sequence[Happening]) -> None:
        self._prepared = prepared
        self._program = program
        self._place = {index: place for place, index in enumerate(prepared.ghosts)}
        self._measured: set[int] = set()
        self._gates: dict[tuple[Op, tuple[int, ...], float], Transfer] = {}
        phases = (news for news in program if isinstance(news, GhostPhase))
        self._last = {news.ghost: news for news in phases}
        """The last phase of each ghost; what the ghost does later is nobody's business."""

    def score(self) -> list[list[Note]]:
        notes: list[list[Note]] = []
        for news in self._program:
            match news:
                case Step(op=Op.MEASURE):
                    self._measured.update(news.qubits)
                    notes.append([])
                case Phase((u, w), angle):
                    notes.append([Note(PauliState.two, (u, w, phase_transfer(angle), True))])
                case GhostPhase() | Jump():
                    notes.append(self._of_ghost(news))
                case Step(qubits=(_, _)):
                    notes.append([self._two(news)])
                case _:
                    qubit = news.qubits[0] if isinstance(news, Step) else news.qubit
                    # what has been read does not change any more
                    notes.append([] if qubit in self._measured else self._one(qubit, news))
        return notes

    def _of_ghost(self, news: GhostPhase | Jump) -> list[Note]:
        last = self._last.get(news.ghost)
        if last is None:
            return []
        if isinstance(news, Jump):
            return [Note(PauliState.jump, (self._place[news.ghost], news.stays, news.rises))]
        if news is last:
            del self._last[news.ghost]
        turn = cmath.exp(1j * news.angle_rad)
        return [Note(PauliState.phase, (news.qubit, self._place[news.ghost], turn, news is last))]

    def _one(self, qubit: int, news: Step | Turn | Smear | Flip) -> list[Note]:
        match news:
            case Turn():
                return [Note(PauliState.relax, (qubit, cmath.exp(1j * news.angle_rad), 1.0))]
            case Smear():
                return [Note(PauliState.relax, (qubit, smear(news.excited, news.angle_rad), 1.0))]
            case Flip():
                return [Note(PauliState.one, (qubit, flip_transfer(news.probability)))]
            case Step(op=Op.DELAY):
                return [Note(PauliState.relax, (qubit, *relaxation(self._prepared.qubits[qubit], news.value)))]
            case Step(op=Op.RZ):
                notes = [
                    Note(_rotate, (qubit,), news.slot)
                    if news.slot >= 0
                    else Note(PauliState.relax, (qubit, cmath.exp(1j * news.value), 1.0))
                ]
                if news.gate.error or news.gate.duration_ns:
                    notes.append(Note(PauliState.one, (qubit, self._error(news))))
                return notes
            case _:
                return [Note(PauliState.one, (qubit, self._gate(news)))]

    def _two(self, step: Step) -> Note:
        if step.op is Op.RZZ:
            error = self._error(step)
            if step.slot >= 0:
                return Note(_rotate_two, (*step.qubits, error), step.slot)
            return Note(PauliState.two, (*step.qubits, error @ rzz_transfer(step.value), True))
        return Note(PauliState.two, (*step.qubits, self._gate(step), step.op in _DIAGONAL))

    def _gate(self, step: Step) -> Transfer:
        # asked for often, and looking it up by the properties of its qubits takes longer than using it
        key = (step.op, step.qubits, self._prepared.factor(step))
        if key not in self._gates:
            self._gates[key] = gate_transfer(
                step.op, step.gate.error, step.gate.duration_ns, self._operands(step), self._prepared.factor(step)
            )
        return self._gates[key]

    def _error(self, step: Step) -> Transfer:
        return error_transfer(step.gate.error, step.gate.duration_ns, self._operands(step), self._prepared.factor(step))

    def _operands(self, step: Step) -> tuple[Any, ...]:
        return tuple(self._prepared.qubits[q] for q in step.qubits)


def _rotate(state: PauliState, angle_rad: float, qubit: int) -> None:
    state.relax(qubit, cmath.exp(1j * angle_rad), 1.0)


def _rotate_two(state: PauliState, angle_rad: float, first: int, second: int, error: Transfer) -> None:
    state.two(first, second, error @ rzz_transfer(angle_rad), True)
