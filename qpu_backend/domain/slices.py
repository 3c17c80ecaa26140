"""Slices: qubits of a device that belong to one tenant, and what is left for everybody."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from qpu_backend.physics.topology import mask_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from qpu_backend.physics.snapshot import Snapshot

RESERVED_NAMES: Final = frozenset({"status", "calibrations", "crosstalk", "predict"})
"""What a slice cannot be called: words that stand after the name of a backend in a path."""

WHOLE: Final = "*"
"""Instead of a slice's name: all qubits, whoever's they are. For the planner; no tenant can name it."""


@dataclass(frozen=True, slots=True)
class Slice:
    """Qubits of a device that only one tenant's jobs use.

    Attributes:
        name: as in ``eagle127/acme``.
        tenant: name of the tenant.
        qubits: physical qubits; the slices of a device have none in common.
    """

    name: str
    tenant: str
    qubits: tuple[int, ...]

    @property
    def mask(self) -> int:
        """The qubits as a bit mask."""
        return mask_of(self.qubits)


def slice_key(name: str, tenant_id: str) -> str:
    """What the planner calls a slice: one that was given to another tenant is another, and no job waits for it yet."""
    return f"{tenant_id}/{name}"


def mask_within(slices: Iterable[Slice], name: str | None, num_qubits: int) -> int:
    """The qubits of a slice; with ``None`` those of no slice; none where there is no slice of that name."""
    if name == WHOLE:
        return mask_of(range(num_qubits))
    known = {one.name: one.qubits for one in slices}
    if name is not None:
        return mask_of(known.get(name, ()))
    taken = {qubit for qubits in known.values() for qubit in qubits}
    return mask_of(qubit for qubit in range(num_qubits) if qubit not in taken)


def cut_to(snapshot: Snapshot, mask: int) -> Snapshot:
    """A calibration with some qubits only: the others are as if out of order, and numbers stay the device's."""
    if all(mask >> qubit & 1 for qubit in snapshot.usable_qubits):
        return snapshot

    def has(qubits: tuple[int, ...]) -> bool:
        return all(mask >> qubit & 1 for qubit in qubits)

    return replace(
        snapshot,
        qubits=tuple(qubit if mask >> q & 1 else None for q, qubit in enumerate(snapshot.qubits)),
        gates={key: gate for key, gate in snapshot.gates.items() if has(key[1])},
        zz_hz={pair: zz_hz for pair, zz_hz in snapshot.zz_hz.items() if has(pair)},
    )
