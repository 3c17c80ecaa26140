"""Where a circuit fits on a chip, and which of these places loses least."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Final

import numpy as np

from qpu_sdk.plugins.demand import groups

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from qpu_sdk.plugins.chip import Chip
    from qpu_sdk.plugins.demand import Demand

MOST_PLACES: Final = 20_000
"""Of a group of qubits that are looked at."""


def best_place(demand: Demand, chip: Chip, seed: int | None = None) -> NDArray[np.intp] | None:
    """Physical qubits without any swap, chosen by what the circuit is expected to lose there.

    Groups of qubits that no gate joins are placed one after the other, the largest first.

    Args:
        demand: of the circuit.
        chip: the whole of it.
        seed: of the order in which a chip is searched that has more places than are looked at.

    Returns:
        The physical qubit of each qubit of the circuit, −1 for one that nothing is done to; ``None`` if there is none.
    """
    num_qubits = len(demand.pulses)
    place = np.full(num_qubits, -1, dtype=np.intp)
    free = {qubit for qubit in range(chip.num_qubits) if np.isfinite(chip.readout[qubit])}
    for group in groups(demand, num_qubits):
        places = _places(group, demand, chip, free, seed)
        if not len(places):
            return None
        candidates = np.repeat(place[None, :], len(places), axis=0)
        candidates[:, group] = places
        losses = _part(demand, np.flatnonzero(candidates[0] >= 0)).losses(chip, np.maximum(candidates, 0))
        place = candidates[int(np.argmin(losses))]
        free -= set(place.tolist())
    return place


def loss_at(demand: Demand, chip: Chip, place: NDArray[np.intp]) -> float:
    """What a circuit is expected to lose at one place."""
    part = _part(demand, np.flatnonzero(place >= 0))
    return float(part.losses(chip, np.maximum(place, 0)[None, :])[0])


def _part(demand: Demand, placed: NDArray[np.intp]) -> Demand:
    """Of the demand what is about these qubits alone."""
    known = np.zeros(len(demand.pulses), dtype=bool)
    known[placed] = True
    kept = known[demand.pairs].all(axis=1) if len(demand.pairs) else np.zeros(0, dtype=bool)
    return type(demand)(
        pairs=demand.pairs[kept],
        gates=demand.gates[kept],
        pulses=demand.pulses * known,
        measured=demand.measured * known,
        idle_ns=demand.idle_ns * known,
        windows=demand.windows * np.outer(known, known),
        window_ns2=demand.window_ns2,
        awake_ns2=demand.awake_ns2 * known,
    )


def _places(group: Sequence[int], demand: Demand, chip: Chip, free: set[int], seed: int | None) -> NDArray[np.intp]:
    """Embeddings of a group into what is free of the chip, ``(p, len(group))``: all, or a fair sample."""
    coupled: dict[int, list[int]] = {qubit: [] for qubit in sorted(free)}
    for a, b in chip.edges:
        if a in coupled and b in coupled:
            coupled[a].append(b)
            coupled[b].append(a)
    number = {qubit: index for index, qubit in enumerate(group)}
    before: list[list[int]] = [[] for _ in group]
    for a, b in demand.pairs.tolist():
        if a in number:
            first, second = sorted((number[a], number[b]))
            before[second].append(first)
    found = list(islice(_embeddings(before, list(coupled), coupled), MOST_PLACES))
    if len(found) == MOST_PLACES:
        generator = np.random.default_rng(seed)
        share = -(-MOST_PLACES // len(coupled))
        starts = generator.permutation(list(coupled)).tolist()
        found = [place for start in starts for place in islice(_embeddings(before, [start], coupled), share)]
    return np.array(found, dtype=np.intp).reshape(-1, len(group))


def _embeddings(
    before: Sequence[Sequence[int]], starts: Sequence[int], coupled: Mapping[int, Sequence[int]]
) -> Generator[tuple[int, ...]]:
    """Depth first: every qubit beside those before it that it is joined with.

    Args:
        before: for each qubit of the group, which before it it is joined with; for all but the first at least one.
        starts: physical qubits for the first.
        coupled: neighbours of each free physical qubit.
    """
    place: list[int] = []
    ways: list[Iterator[int]] = [iter(starts)]
    while ways:
        qubit = next(ways[-1], None)
        if qubit is None:
            ways.pop()
            if place:
                place.pop()
            continue
        joined = before[len(place)]
        if qubit in place or not all(place[other] in coupled[qubit] for other in joined):
            continue
        if len(place) + 1 == len(before):
            yield (*place, qubit)
            continue
        place.append(qubit)
        ways.append(iter(coupled[place[before[len(place)][0]]]))
