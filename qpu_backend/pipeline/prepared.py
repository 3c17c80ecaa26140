"""A request that may be admitted, as far as that needs no database: what it runs, and what it takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from qpu_backend.pipeline.pricing import Work
from qpu_sdk.wire.models import Isolation

if TYPE_CHECKING:
    from qpu_backend.domain.footprint import Footprint
    from qpu_backend.domain.legs import Legs
    from qpu_backend.pipeline.analysis import Analysis


@dataclass(frozen=True, slots=True)
class Prepared:
    """A request that may be admitted: everything about it that needs no database."""

    analysis: Analysis
    footprint: Footprint
    canonical_digest: str
    device_us: int
    occupied_qubits: int
    fairness_qubits: int

    @property
    def work(self) -> Work:
        """What its price follows from."""
        return Work(self.canonical_digest, self.analysis.program.shots, self.device_us, self.occupied_qubits)

    def session_qubits(self) -> int | None:
        """What a session on the device would hold with this job; ``None`` on a virtual backend."""
        backend = self.analysis.backend
        return None if backend.shape is not None else backend.expected_qubits(self.footprint, Isolation.SHARED)

    def legs(self, isolation: Isolation, weight: int) -> Legs | None:
        """How it is cut, where it is too long for one batch."""
        return self.analysis.backend.legs(self.footprint, isolation, weight)
