"""``fixed-slots``: nine places of seven qubits that never move, written from the description of HyperQ (OSDI'25).

    o o o   o o o      A slot is an I: two rows of three, joined in the middle; on lattices without one, a line of
      o       o        seven. A job of up to seven qubits takes the next free slot, whichever it is; a larger one
    o o o   o o o      takes slots that can be joined, with the qubits in between, and alone where they are too few.

Slots keep one idle qubit between them and are chosen once for the lattice, blind to how good its qubits are. Circuits
are compiled for the slot they run on.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from qpu_backend.engines.transpiling import target_of
from qpu_backend.physics.relocate import relocate
from qpu_backend.physics.topology import mask_of
from qpu_backend.simulation.batches import Batch, Chosen, Waiting, close
from qpu_backend.simulation.kinds import SEED
from qpu_backend.simulation.policies import track_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from qpu_backend.physics.circuit import IsaCircuit
    from qpu_backend.physics.topology import Topology
    from qpu_backend.simulation.kinds import Chip, Kind

SLOTS: Final = 9
SLOT_QUBITS: Final = 7
_WINDOW: Final = 40


class FixedSlots:
    """Jobs in order of arrival take slots until none that fits is free."""

    name = "fixed-slots"
    fair = False

    def __init__(self, chip: Chip) -> None:
        """Lay the slots out."""
        self._chip = chip
        self.slots = slots_of(chip)
        """Physical qubits of each slot."""
        self._compiled: dict[tuple[str, tuple[int, ...]], IsaCircuit] = {}

    def next_batch(self, waiting: Sequence[Waiting], virtual_time: int, now_us: int) -> Batch:  # noqa: ARG002
        """See :class:`~qpu_backend.simulation.batches.Policy`."""
        free = list(self.slots)
        taken = 0
        chosen: list[Chosen] = []
        for one in waiting[:_WINDOW]:
            region = self._region(one.kind, free, taken)
            if region is None and not chosen:
                region = one.kind.best_region  # too large for the slots: alone
                free = []
            if region is None:
                continue
            mask = mask_of(region)
            free = [slot for slot in free if not mask & mask_of(slot)]
            taken |= mask
            chosen.append(Chosen(one, self._circuit(one.kind, region), region, 0, track_of(one, self._chip)))
            if not free:
                break
        return close(chosen, self._chip.overhead_us)

    def _region(self, kind: Kind, free: list[tuple[int, ...]], taken: int) -> tuple[int, ...] | None:
        """The first free slot, or the first joined ones that are large enough."""
        if kind.source.num_qubits <= SLOT_QUBITS:
            return free[0] if free else None
        for slot in free:
            region = self._joined(slot, free, taken, kind.source.num_qubits)
            if region is not None:
                return region
        return None

    def _joined(
        self, first: tuple[int, ...], free: list[tuple[int, ...]], taken: int, qubits: int
    ) -> tuple[int, ...] | None:
        region, left = first, [slot for slot in free if slot != first]
        while len(region) < qubits:
            closed = taken | mask_of(q for slot in self.slots if slot not in left for q in slot if q not in region)
            found = self._way(region, left, closed)
            if found is None:
                return None
            slot, between = found
            region = (*region, *between, *slot)
            left.remove(slot)
        return region

    def _way(
        self, region: tuple[int, ...], slots: list[tuple[int, ...]], closed: int
    ) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
        """The nearest of some slots, and the qubits on the shortest way there."""
        snapshot = self._chip.snapshot
        usable = set(snapshot.usable_edges)
        came: dict[int, int] = dict.fromkeys(region, -1)
        queue = deque(region)
        while queue:
            here = queue.popleft()
            for slot in slots:
                if here in slot:
                    between: list[int] = []
                    back = came[here]
                    while back not in region:
                        between.append(back)
                        back = came[back]
                    return slot, tuple(between)
            for there in self._chip.model.topology.neighbours(here):
                if there not in came and not closed >> there & 1 and (min(here, there), max(here, there)) in usable:
                    came[there] = here
                    queue.append(there)
        return None

    def _circuit(self, kind: Kind, region: tuple[int, ...]) -> IsaCircuit:
        key = (kind.name, region)
        if key not in self._compiled:
            target = target_of(self._chip.snapshot.part(region), self._chip.model.two_qubit_gate)
            local = kind.source.compile(target, SEED)
            self._compiled[key] = relocate(local, region, self._chip.snapshot)
        return self._compiled[key]


def slots_of(chip: Chip) -> tuple[tuple[int, ...], ...]:
    """At most nine places of seven qubits, one idle qubit apart, chosen by the lattice alone."""
    topology = chip.model.topology
    usable = mask_of(chip.snapshot.usable_qubits)
    edges = set(chip.snapshot.usable_edges)
    candidates = _upright(topology) or _lines(chip)
    whole = [place for place in candidates if not mask_of(place) & ~usable and _held_together(place, edges)]
    best: list[tuple[int, ...]] = []
    for start in range(len(whole)):
        chosen = _packed(topology, [*whole[start:], *whole[:start]])
        if len(chosen) > len(best):
            best = chosen
        if len(best) == SLOTS:
            break
    return tuple(sorted(best))


def _packed(topology: Topology, places: Iterable[tuple[int, ...]]) -> list[tuple[int, ...]]:
    chosen: list[tuple[int, ...]] = []
    blocked = 0
    for place in places:
        mask = mask_of(place)
        if not mask & blocked and len(chosen) < SLOTS:
            chosen.append(place)
            blocked |= mask | topology.neighbour_mask(mask)
    return chosen


def _lines(chip: Chip) -> list[tuple[int, ...]]:
    line = chip.shape(f"line-{SLOT_QUBITS}")
    return [] if line is None else [tuple(row) for row in line.table.regions.tolist() if row[0] < row[-1]]


def _upright(topology: Topology) -> list[tuple[int, ...]]:
    """Every I: a qubit with two neighbours, each of which has two more."""
    found: list[tuple[int, ...]] = []
    for bridge in range(topology.num_qubits):
        ends = topology.neighbours(bridge)
        if len(ends) == 2 and all(len(topology.neighbours(end)) == 3 for end in ends):
            arms = [[q for q in topology.neighbours(end) if q != bridge] for end in ends]
            place = (arms[0][0], ends[0], arms[0][1], bridge, arms[1][0], ends[1], arms[1][1])
            if len(set(place)) == SLOT_QUBITS:
                found.append(place)
    return found


def _held_together(place: Sequence[int], edges: set[tuple[int, int]]) -> bool:
    """Whether the usable couplers within a place connect all of it."""
    reached = {place[0]}
    for _ in place:
        reached |= {
            b if a in reached else a for a, b in edges if (a in reached) != (b in reached) and {a, b} <= {*place}
        }
    return len(reached) == len(place)
