"""What a job needs from the chip, as the planner sees it: qubits or a shape, gate counts, and a run of executions.

It is computed once, at admission, from the summaries of the job's circuits, and stored with the job as plain JSON. It
knows no circuit, no tenant and no price.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from qpu_backend.domain.rounds import Need

FOOTPRINT_VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class Footprint:
    """What a job needs from the chip.

    Counts and idle times are those of one shot, as means over the job's circuits: they only rank regions for one job.

    Attributes:
        shape: e.g. ``line-5``; ``None`` when the job is pinned to physical qubits.
        qubits: backend qubits that the job's circuits use, ascending: physical qubits when pinned, positions in the
            shape otherwise. A job with a shape occupies all of it, used or not.
        edge_counts: two-qubit gates for each pair of backend qubits.
        sx_counts: sx and x gates, one entry for each of ``qubits``.
        measured: backend qubits that are measured, ascending.
        idle_ns: time spent idle between first use and the end, one entry for each of ``qubits``.
        needs: the executions in order, run-length encoded.
        rep_delay_ns: the job's own repetition delay, or ``None`` for the device's.
        zz_areas: how much static ZZ on each coupled pair of backend qubits would cost it, in ns²; see
            :func:`qpu_backend.physics.exposure.zz_area`. Only where the job is placed by choice.
        simulation_us: processor time that simulating it is expected to take; 0 where nothing is simulated. It costs the
            tenant nothing and the chip nothing: it only keeps long simulations from holding up short ones.

    Raises:
        ValueError: entries that do not belong together, or nothing to run.
    """

    shape: str | None
    qubits: tuple[int, ...]
    edge_counts: tuple[tuple[tuple[int, int], float], ...]
    sx_counts: tuple[float, ...]
    measured: tuple[int, ...]
    idle_ns: tuple[float, ...]
    needs: tuple[Need, ...]
    rep_delay_ns: int | None = None
    simulation_us: int = 0
    zz_areas: tuple[tuple[tuple[int, int], float], ...] = ()

    def __post_init__(self) -> None:
        if not len(self.qubits) == len(self.sx_counts) == len(self.idle_ns):
            raise ValueError("sx_counts and idle_ns have one entry for each qubit")
        if self.shape is None and not self.qubits:
            raise ValueError("a pinned job names its qubits")
        if list(self.qubits) != sorted(set(self.qubits)) or not set(self.measured) <= set(self.qubits):
            raise ValueError("qubits are ascending and different, and only they are measured")
        if not self.needs or any(need.repeat < 1 or need.shots < 1 or need.duration_ns < 0 for need in self.needs):
            raise ValueError("a job needs at least one execution, and every execution at least one shot")

    @property
    def pinned(self) -> bool:
        return self.shape is None

    @property
    def num_executions(self) -> int:
        return sum(need.repeat for need in self.needs)

    @property
    def shots(self) -> int:
        return sum(need.repeat * need.shots for need in self.needs)

    def to_document(self) -> dict[str, Any]:
        """Numbers, strings and lists only: survives JSON unchanged."""
        return {
            "footprint_version": FOOTPRINT_VERSION,
            "shape": self.shape,
            "qubits": list(self.qubits),
            "edge_counts": [[a, b, count] for (a, b), count in self.edge_counts],
            "sx_counts": list(self.sx_counts),
            "measured": list(self.measured),
            "idle_ns": list(self.idle_ns),
            "needs": [list(need) for need in self.needs],
            "rep_delay_ns": self.rep_delay_ns,
            "simulation_us": self.simulation_us,
            "zz_areas": [[a, b, area] for (a, b), area in self.zz_areas],
        }

    @classmethod
    def from_document(cls, document: dict[str, Any]) -> Footprint:
        """Inverse of :meth:`to_document`.

        Raises:
            ValueError: another version.
        """
        if document.get("footprint_version") != FOOTPRINT_VERSION:
            raise ValueError(f"not a version {FOOTPRINT_VERSION} footprint: {document.get('footprint_version')!r}")
        return cls(
            shape=document["shape"],
            qubits=tuple(document["qubits"]),
            edge_counts=tuple(((a, b), count) for a, b, count in document["edge_counts"]),
            sx_counts=tuple(document["sx_counts"]),
            measured=tuple(document["measured"]),
            idle_ns=tuple(document["idle_ns"]),
            needs=tuple(Need(*need) for need in document["needs"]),
            rep_delay_ns=document["rep_delay_ns"],
            simulation_us=document["simulation_us"],
            zz_areas=tuple(((a, b), area) for a, b, area in document.get("zz_areas", ())),
        )
