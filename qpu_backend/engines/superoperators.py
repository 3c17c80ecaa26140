"""A program as few superoperators: runs of everything that happens to one qubit are one, a noisy two-qubit gate is one.

Ghosts are qubits after those of the circuit. Nothing here knows who runs it: :mod:`qpu_backend.engines.aer` does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from qpu_backend.physics.channels import (
    ComplexMatrix,
    error_channel,
    flip_channel,
    gate_channel,
    idle_channel,
    jump_channel,
    rz_diagonal,
    rzz_diagonal,
    smear_diagonal,
)
from qpu_backend.physics.circuit import Op
from qpu_backend.physics.phases import GhostPhase, Jump, Phase, Smear, Turn
from qpu_backend.physics.program import Flip, Step

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qpu_backend.engines.prepared import Prepared
    from qpu_backend.physics.snapshot import QubitProperties

_IDENTITY: Final[ComplexMatrix] = np.eye(4, dtype=np.complex128)

Operation = tuple[tuple[int, ...], ComplexMatrix | float]
"""Qubits, and a superoperator on them or the angle of ``diag(1, 1, 1, e^{iφ})``."""


def superoperators(  # noqa: C901, PLR0912 - a table
    prepared: Prepared, angles: list[float]
) -> Iterator[Operation]:
    """What happens in a circuit that is measured once, at its end; without its measurements.

    Args:
        prepared: the circuit.
        angles: its bound slots.
    """
    pending: list[ComplexMatrix] = [_IDENTITY] * prepared.width
    for ghost, start in prepared.starts():
        pending[ghost] = jump_channel(1.0, start)
    measured: set[int] = set()
    for news in prepared.program:
        match news:
            case Step(op=Op.MEASURE):
                measured.update(news.qubits)
                continue
            case Phase(operands, angle):
                acting = angle
            case GhostPhase(qubit, ghost, angle):
                operands, acting = (qubit, prepared.ghosts[ghost]), angle
            case Jump(ghost, stays, rises):
                pending[prepared.ghosts[ghost]] = jump_channel(stays, rises) @ pending[prepared.ghosts[ghost]]
                continue
            case Step(qubits=(_, _) as operands):
                acting = _two_qubit_channel(news, prepared, angles)
            case _:
                qubit = news.qubits[0] if isinstance(news, Step) else news.qubit
                if qubit not in measured:  # what has been read does not change any more
                    pending[qubit] = _after(pending[qubit], news, prepared.qubits[qubit], angles)
                continue
        for qubit in operands:
            if pending[qubit] is not _IDENTITY:
                yield (qubit,), pending[qubit]
                pending[qubit] = _IDENTITY
        yield operands, acting
    for qubit, channel in enumerate(pending[: len(prepared.qubits)]):
        if channel is not _IDENTITY:
            yield (qubit,), channel


def _after(
    before: ComplexMatrix, news: Step | Turn | Smear | Flip, qubit: QubitProperties, angles: list[float]
) -> ComplexMatrix:
    """One more thing happens to a qubit."""
    match news:
        case Turn():
            return rz_diagonal(news.angle_rad)[:, None] * before
        case Smear():
            return smear_diagonal(news.excited, news.angle_rad)[:, None] * before
        case Flip():
            return flip_channel(news.probability) @ before
        case Step(op=Op.DELAY):
            return idle_channel(qubit.t1_us, qubit.t2_us, news.value) @ before
        case Step(op=Op.RZ):
            before = rz_diagonal(angle_of(news, angles))[:, None] * before
            wrong = bool(news.gate.error or news.gate.duration_ns)
            return error_channel(news.gate.error, news.gate.duration_ns, (qubit,)) @ before if wrong else before
        case _:
            return gate_channel(news.op, news.gate.error, news.gate.duration_ns, (qubit,)) @ before


def _two_qubit_channel(step: Step, prepared: Prepared, angles: list[float]) -> ComplexMatrix:
    operands = tuple(prepared.qubits[q] for q in step.qubits)
    error, duration_ns, factor = step.gate.error, step.gate.duration_ns, prepared.factor(step)
    if step.op is Op.RZZ:
        return error_channel(error, duration_ns, operands, factor) * rzz_diagonal(angle_of(step, angles))
    return gate_channel(step.op, error, duration_ns, operands, factor)


def angle_of(step: Step, angles: list[float]) -> float:
    """The angle of a rotation in rad, bound or constant."""
    return angles[step.slot] if step.slot >= 0 else step.value
