"""The circuit as a value: what a client's QPY becomes once, at admission, and what everything after reads.

An :class:`IsaCircuit` holds only the qubits that the circuit uses. Its *local* qubit ``i`` sits on the backend's qubit
``qubits[i]``. Angles are constants or *slots*: columns of a table of bound parameter values that travels beside it.
Nothing here knows Qiskit, a device or a file.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

ISA_VERSION: Final = 1


class Op(IntEnum):
    """Operation codes. The numbers are stored: never reuse one."""

    BARRIER = 0
    ID = 1
    RZ = 2
    SX = 3
    X = 4
    ECR = 5
    CX = 6
    CZ = 7
    RZZ = 8
    DELAY = 9
    MEASURE = 10
    RESET = 11
    IF = 12


OP_OF_CODE: Final[dict[int, Op]] = {int(op): op for op in Op}
"""Faster than ``Op(code)`` where it is asked for every operation."""

ONE_QUBIT_GATES: Final = frozenset({Op.ID, Op.RZ, Op.SX, Op.X})
TWO_QUBIT_GATES: Final = frozenset({Op.ECR, Op.CX, Op.CZ, Op.RZZ})
SYMMETRIC_GATES: Final = frozenset({Op.CZ, Op.RZZ})

OPERATION: Final = np.dtype(
    [("code", "<u1"), ("q0", "<i2"), ("q1", "<i2"), ("clbit", "<i4"), ("slot", "<i4"), ("value", "<f8"), ("aux", "<i4")]
)
"""One operation.

``q0, q1``: local qubits, −1 where unused. ``clbit``: target of a measurement, −1 otherwise. ``value``: angle in rad, or
the length of a delay in ns; ``slot ≥ 0`` says that the angle is ``angles[binding, slot]`` instead. ``aux``: index into
``groups`` (barriers) or ``conditionals`` (if_else), −1 otherwise.
"""

Operations = NDArray[np.void]
"""Array of dtype :data:`OPERATION`, shape ``(num_operations,)``."""


@dataclass(frozen=True, slots=True)
class ClassicalRegister:
    """A named list of classical bits, least significant first."""

    name: str
    clbits: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Conditional:
    """``if_else``: take ``then_body`` when ``Σ clbits[k]·2^k == value``, otherwise ``else_body``."""

    clbits: tuple[int, ...]
    value: int
    then_body: Operations
    else_body: Operations


@dataclass(frozen=True, slots=True, eq=False)
class IsaCircuit:
    """A circuit in the device's own instructions. See the module docstring.

    Attributes:
        qubits: backend qubit of each local qubit, strictly ascending.
        num_clbits: classical bits.
        registers: classical registers.
        operations: the operations in program order, dtype :data:`OPERATION`.
        groups: local qubits of each barrier.
        conditionals: bodies of ``if_else``, which may refer to further ones.
        num_slots: columns that the table of angles must have.
    """

    qubits: tuple[int, ...]
    num_clbits: int
    registers: tuple[ClassicalRegister, ...]
    operations: Operations
    groups: tuple[tuple[int, ...], ...] = ()
    conditionals: tuple[Conditional, ...] = ()
    num_slots: int = 0

    @property
    def num_qubits(self) -> int:
        return len(self.qubits)

    def to_document(self) -> dict[str, Any]:
        """A plain, canonical structure of numbers, strings, lists and arrays."""
        return {
            "isa_version": ISA_VERSION,
            "qubits": list(self.qubits),
            "num_clbits": self.num_clbits,
            "registers": [[register.name, list(register.clbits)] for register in self.registers],
            "operations": self.operations,
            "groups": [list(group) for group in self.groups],
            "conditionals": [[list(c.clbits), c.value, c.then_body, c.else_body] for c in self.conditionals],
            "num_slots": self.num_slots,
        }

    @classmethod
    def from_document(cls, document: dict[str, Any]) -> IsaCircuit:
        """Inverse of :meth:`to_document`.

        Raises:
            ValueError: another version, or an array of another layout.
        """
        if document.get("isa_version") != ISA_VERSION:
            raise ValueError(f"not a version {ISA_VERSION} circuit: {document.get('isa_version')!r}")
        bodies = [document["operations"], *(body for c in document["conditionals"] for body in c[2:])]
        for body in bodies:
            if body.dtype != OPERATION:
                raise ValueError(f"operations have layout {body.dtype}, expected {OPERATION}")
        return cls(
            qubits=tuple(document["qubits"]),
            num_clbits=document["num_clbits"],
            registers=tuple(ClassicalRegister(name, tuple(clbits)) for name, clbits in document["registers"]),
            operations=document["operations"],
            groups=tuple(tuple(group) for group in document["groups"]),
            conditionals=tuple(Conditional(tuple(c[0]), c[1], c[2], c[3]) for c in document["conditionals"]),
            num_slots=document["num_slots"],
        )

    @property
    def num_operations(self) -> int:
        """Of the circuit and of all branches of its conditionals."""
        return len(self.operations) + sum(len(c.then_body) + len(c.else_body) for c in self.conditionals)

    def digest(self) -> str:
        """SHA-256 over what the circuit does and the registers it writes: equal for the same circuit built twice."""
        sha = hashlib.sha256(b"isa-circuit-1")
        sha.update(repr((self.qubits, self.num_clbits, self.registers, self.groups, self.num_slots)).encode())
        sha.update(self.operations.tobytes())
        for conditional in self.conditionals:
            sha.update(repr((conditional.clbits, conditional.value)).encode())
            sha.update(conditional.then_body.tobytes() + b"|" + conditional.else_body.tobytes())
        return sha.hexdigest()


def operations(rows: list[tuple[int, int, int, int, int, float, int]]) -> Operations:
    """Rows ``(code, q0, q1, clbit, slot, value, aux)`` → an :data:`OPERATION` array."""
    return np.array(rows, dtype=OPERATION)
