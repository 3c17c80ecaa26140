"""Where qubits lie on the page: columns and rows computed from the coupling. Pure: numbers in, numbers out."""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Position = tuple[int, int]
"""Column and row, from the top left."""


def qubit_positions(num_qubits: int, edges: Sequence[tuple[int, int]]) -> dict[int, Position]:
    """A place for every qubit.

    Heavy-hex chips are numbered row by row::

        0 ─ 1 ─ 2 ─ 3 ─ 4 …     consecutive numbers are neighbours
        │               │
        14              15      connectors
        │               │
        18 ─19 ─20 ─21 ─22 …

    so an edge to the next number goes right and any other edge goes down. A coupling that contradicts itself under this
    rule, or puts two qubits on one place, is laid on a circle. Qubits without edges fill a row below.
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
                return _on_a_circle(num_qubits)
            _stack_below(places, component)
    bottom = max((y for _, y in places.values()), default=-2) + 2
    lonely = [qubit for qubit in range(num_qubits) if not neighbours[qubit]]
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


def _on_a_circle(num_qubits: int) -> dict[int, Position]:
    """Places on a circle wide enough that no two share a cell."""
    radius = max(2, math.ceil(num_qubits / 3))
    angles = [2 * math.pi * qubit / num_qubits for qubit in range(num_qubits)]
    return {
        qubit: (round(radius * (1 + math.sin(angle))), round(radius * (1 - math.cos(angle))))
        for qubit, angle in enumerate(angles)
    }
