"""Quarantine: qubits and couplers that an operator has taken out of service, for as long as the operator says.

They are measured like all others and vanish from what is offered, as if they were out of order. Jobs that were admitted
for them before wait.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from qpu_backend.domain.errors import InvalidRequest
from qpu_backend.domain.slices import cut_to
from qpu_backend.physics.circuit import TWO_QUBIT_GATES
from qpu_backend.physics.topology import mask_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from qpu_backend.physics.snapshot import Snapshot
    from qpu_backend.physics.topology import Topology

Coupler = tuple[int, int]
"""Two coupled qubits, the smaller one first."""


@dataclass(frozen=True, slots=True)
class Quarantine:
    """What is out of service.

    Attributes:
        qubits: physical qubits, with all of their couplers.
        couplers: further ones; their qubits stay in service.
    """

    qubits: frozenset[int] = frozenset()
    couplers: frozenset[Coupler] = frozenset()

    @classmethod
    def of(cls, qubits: Iterable[int], couplers: Iterable[Iterable[int]]) -> Quarantine:
        """Whichever way round a coupler is named."""
        pairs = (tuple(sorted(pair)) for pair in couplers)
        return cls(frozenset(qubits), frozenset((pair[0], pair[-1]) for pair in pairs))

    def __bool__(self) -> bool:
        return bool(self.qubits or self.couplers)

    def __or__(self, other: Quarantine) -> Quarantine:
        return Quarantine(self.qubits | other.qubits, self.couplers | other.couplers)

    def __sub__(self, other: Quarantine) -> Quarantine:
        return Quarantine(self.qubits - other.qubits, self.couplers - other.couplers)

    @property
    def mask(self) -> int:
        """The qubits as a bit mask."""
        return mask_of(self.qubits)

    def require_on(self, topology: Topology) -> None:
        """Refuse what the device does not have.

        Raises:
            InvalidRequest: one of the qubits or couplers.
        """
        last = topology.num_qubits - 1
        if missing := sorted(qubit for qubit in self.qubits if not 0 <= qubit <= last):
            raise InvalidRequest(f"there is no qubit {missing[0]}: the device has 0 to {last}", field="qubits")
        if uncoupled := sorted(self.couplers - set(topology.edges)):
            a, b = uncoupled[0]
            raise InvalidRequest(f"qubits {a} and {b} have no coupler on this device", field="couplers")

    def taken_from(self, measured: Snapshot) -> Snapshot:
        """A calibration without what is out of service."""
        if not self:
            return measured
        cut = cut_to(measured, ~self.mask)
        gates = {
            key: gate
            for key, gate in cut.gates.items()
            if key[0] not in TWO_QUBIT_GATES or (min(key[1]), max(key[1])) not in self.couplers
        }
        zz_hz = {pair: hz for pair, hz in cut.zz_hz.items() if pair not in self.couplers}
        return replace(cut, gates=gates, zz_hz=zz_hz)

    def cuts(self, mask: int) -> bool:
        """Whether a region, as a bit mask, has lost a qubit or a coupler."""
        return bool(mask & self.mask) or any(mask >> a & mask >> b & 1 for a, b in self.couplers)

    def holds_back(self, qubits: Iterable[int], pairs: Iterable[Coupler]) -> str | None:
        """What a job on these qubits, with gates on these pairs, has to wait for; ``None``: nothing of it."""
        if asked := sorted(self.qubits.intersection(qubits)):
            return f"qubit {asked[0]}" if len(asked) == 1 else f"qubits {', '.join(map(str, asked))}"
        if coupled := sorted(self.couplers.intersection((min(pair), max(pair)) for pair in pairs)):
            return f"the coupler of qubits {coupled[0][0]} and {coupled[0][1]}"
        return None

    def to_document(self) -> dict[str, Any]:
        """Sorted lists; for the database and the audit log."""
        return {"qubits": sorted(self.qubits), "couplers": [list(pair) for pair in sorted(self.couplers)]}

    @classmethod
    def from_document(cls, document: Mapping[str, Any] | None) -> Quarantine:
        """Inverse of :meth:`to_document`; nothing for nothing."""
        return IN_SERVICE if document is None else cls.of(document["qubits"], document["couplers"])


IN_SERVICE: Final = Quarantine()
