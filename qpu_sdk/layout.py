"""Where qubits lie on the page: columns and rows computed from the coupling. Pure: numbers in, numbers out."""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

Position = tuple[int, int]
"""Column and row, from the top left."""

_ATTEMPTS: Final = 2000
"""To lay a coupling out on a grid."""


def qubit_positions(num_qubits: int, edges: Sequence[tuple[int, int]]) -> dict[int, Position]:
    """A place for every qubit.

    Heavy-hex chips are numbered row by row::

        0 ─ 1 ─ 2 ─ 3 ─ 4 …     consecutive numbers are neighbours
        │               │
        14              15      connectors
        │               │
        18 ─19 ─20 ─21 ─22 …

    so an edge to the next number goes right and any other edge goes down. A coupling that contradicts itself under this
    rule, or puts two qubits on one place, is laid out on a grid, and where it does not fit on one, on a circle. Qubits
    without edges, out of order or somebody else's, go where the numbers before and after them leave room, and otherwise
    fill a row below.
    """
    neighbours: dict[int, list[tuple[int, Position]]] = {qubit: [] for qubit in range(num_qubits)}
    for one, other in edges:
        a, b = min(one, other), max(one, other)
        dx, dy = (1, 0) if b == a + 1 else (0, 1)
        neighbours[a].append((b, (dx, dy)))
        neighbours[b].append((a, (-dx, -dy)))
    places: dict[int, Position] = {}
    for start in range(num_qubits):
        if neighbours[start] and start not in places:
            component = _spread(start, neighbours)
            if component is None:
                return _on_a_grid(num_qubits, neighbours) or _on_a_circle(num_qubits)
            _stack_below(places, component)
    _fill_gaps(places, num_qubits)
    bottom = max((y for _, y in places.values()), default=-2) + 2
    lonely = [qubit for qubit in range(num_qubits) if qubit not in places]
    return places | {qubit: (column, bottom) for column, qubit in enumerate(lonely)}


def _spread(start: int, neighbours: Mapping[int, list[tuple[int, Position]]]) -> dict[int, Position] | None:
    """Places of everything that hangs together with ``start``; ``None`` if edges contradict each other."""
    places = {start: (0, 0)}
    waiting = deque([start])
    while waiting:
        qubit = waiting.popleft()
        x, y = places[qubit]
        for other, (dx, dy) in neighbours[qubit]:
            if other not in places:
                places[other] = (x + dx, y + dy)
                waiting.append(other)
            elif places[other] != (x + dx, y + dy):
                return None
    return places if len(set(places.values())) == len(places) else None


def _stack_below(places: dict[int, Position], component: Mapping[int, Position]) -> None:
    left = min(x for x, _ in component.values())
    top = min(y for _, y in component.values()) - (max((y for _, y in places.values()), default=-2) + 2)
    places.update({qubit: (x - left, y - top) for qubit, (x, y) in component.items()})


def _fill_gaps(places: dict[int, Position], num_qubits: int) -> None:
    """Put runs of missing numbers between their neighbours in a row, or at the end of one, where nothing else is."""
    missing = [qubit for qubit in range(num_qubits) if qubit not in places]
    taken = set(places.values())
    while missing:
        first = last = missing.pop(0)
        while missing and missing[0] == last + 1:
            last = missing.pop(0)
        before, after = places.get(first - 1), places.get(last + 1)
        for qubit in range(first, last + 1):
            if before is not None and after is not None and before[1] == after[1]:
                step, left_over = divmod(after[0] - before[0], last - first + 2)
                spot = None if left_over or step < 1 else (before[0] + step * (qubit - first + 1), before[1])
            elif before is not None and last == first:
                spot = (before[0] + 1, before[1])
            else:
                spot = None
            if spot is not None and spot not in taken:
                places[qubit] = spot
                taken.add(spot)


def _on_a_grid(num_qubits: int, neighbours: Mapping[int, list[tuple[int, Position]]]) -> dict[int, Position] | None:
    """Places with every two neighbours next to each other, found by trying; ``None`` after many attempts.

    Qubits are placed from the first one outwards, and go straight on where they can.
    """
    order = _outwards(neighbours)
    if len(order) < num_qubits:
        return None
    places: dict[int, Position] = {}
    attempts = 0

    def put(number: int) -> bool:
        nonlocal attempts
        attempts += 1
        if number == num_qubits:
            return True
        qubit = order[number]
        placed = [places[other] for other, _ in neighbours[qubit] if other in places]
        for spot in _beside(placed, set(places.values())) if attempts <= _ATTEMPTS else ():
            places[qubit] = spot
            if put(number + 1):
                return True
            del places[qubit]
        return False

    if not put(0):
        return None
    left, top = min(x for x, _ in places.values()), min(y for _, y in places.values())
    return {qubit: (x - left, y - top) for qubit, (x, y) in places.items()}


def _outwards(neighbours: Mapping[int, list[tuple[int, Position]]]) -> list[int]:
    """Qubits that hang together with the first, nearest first."""
    seen = [0]
    for qubit in seen:
        seen.extend(other for other, _ in neighbours[qubit] if other not in seen)
    return seen


def _beside(placed: Sequence[Position], taken: Collection[Position]) -> list[Position]:
    """Free places next to all of those."""
    if not placed:
        return [(0, 0)]
    x, y = placed[0]
    around = [(x + dx, y + dy) for dx, dy in ((1, 0), (-1, 0), (0, 1), (0, -1))]
    return [(u, v) for u, v in around if (u, v) not in taken and all(abs(u - p) + abs(v - q) == 1 for p, q in placed)]


def _on_a_circle(num_qubits: int) -> dict[int, Position]:
    """Places on a circle wide enough that no two share a cell."""
    radius = max(2, math.ceil(num_qubits / 3))
    angles = [2 * math.pi * qubit / num_qubits for qubit in range(num_qubits)]
    return {
        qubit: (round(radius * (1 + math.sin(angle))), round(radius * (1 - math.cos(angle))))
        for qubit, angle in enumerate(angles)
    }
