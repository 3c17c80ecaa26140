"""The shapes of virtual QPUs: ``tee-2-2-1`` ↔ its positions and which of them are coupled. No device is known here.

Positions are numbered from 0: a centre before what hangs on it, each arm outwards, a ring round, a grid row by row::

    line-4            tee-2-2-1               eye-1-1-1-1-1      ring-6           grid-2-3

    0 ─ 1 ─ 2 ─ 3     2 ─ 1 ─ 0 ─ 3 ─ 4       1       5          0 ─ 1 ─ 2        0 ─ 1 ─ 2
                              │               │       │          │       │        │   │   │
                              5               0 ─ 3 ─ 4          5 ─ 4 ─ 3        3 ─ 4 ─ 5
                                              │       │
                                              2       6

The numbers of an eye are the arms of one end, the qubits between its two centres, and the arms of the other end. A
shape has one name: longer arms come first, of an eye the end with the longer ones, and a grid has no more rows than
columns.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise, product
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

MAX_QUBITS: Final = 20
"""Of any shape."""

_MIN_LINE: Final = 2
_MIN_RING: Final = 3
_MIN_SIDE: Final = 2
_FORMS: Final = "shapes are line-N, tee-A-B-C, eye-A-B-M-C-D, ring-N and grid-R-C, with numbers in place of the letters"
_NAME: Final = re.compile(r"(?P<kind>[a-z]+)(?P<sizes>(?:-(?:0|[1-9][0-9]?)){1,5})", re.ASCII)

Pair = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Pattern:
    """A shape without a device.

    Attributes:
        kind: ``line``, ``tee``, ``eye``, ``ring`` or ``grid``.
        sizes: the numbers of its name.
        num_qubits: positions are ``0 … num_qubits − 1``.
        pairs: coupled positions ``(i, j)``, ``i < j``, sorted.
    """

    kind: str
    sizes: tuple[int, ...]
    num_qubits: int
    pairs: tuple[Pair, ...]

    def __str__(self) -> str:
        return _name(self.kind, self.sizes)


def parse_shape(name: str) -> Pattern:
    """The shape of that name.

    Raises:
        ValueError: no shape has this name, or it has another one.
    """
    match = _NAME.fullmatch(name)
    if match is None:
        raise ValueError(_FORMS)
    kind, sizes = match["kind"], tuple(map(int, match["sizes"][1:].split("-")))
    pattern = _pattern(kind, sizes)
    if pattern.num_qubits > MAX_QUBITS:
        raise ValueError(f"{name} has {pattern.num_qubits} qubits, and shapes have {MAX_QUBITS} at most")
    usual = _canonical(kind, sizes)
    if usual != sizes:
        raise ValueError(f"the name of this shape is {_name(kind, usual)}")
    return pattern


def lesser(pattern: Pattern) -> tuple[Pattern, ...]:
    """Smaller shapes of the same kind that lie within this one (an eye with the same bridge), the largest first.

    Where one of them fits, so do all that lie within it; the last one lies within all others. A ring has none.
    """
    match pattern.kind, pattern.sizes:
        case "eye", (a, b, bridge, c, d):
            ranges = _up_to(a), _up_to(b), (bridge,), _up_to(c), _up_to(d)
        case "ring", _:
            ranges = ((),)
        case "line" | "grid", sizes:
            ranges = tuple(_up_to(size, _MIN_SIDE) for size in sizes)
        case _, sizes:
            ranges = tuple(_up_to(size) for size in sizes)
    within = {_canonical(pattern.kind, sizes) for sizes in product(*ranges)} - {pattern.sizes}
    found = [_pattern(pattern.kind, sizes) for sizes in within]
    return tuple(sorted(found, key=lambda each: (each.num_qubits, each.sizes), reverse=True))


def why_nowhere(pattern: Pattern, device: str, fits: Callable[[Pattern], bool]) -> str:
    """What to say of a shape that has no place on a device: what is the largest of its kind that has one.

    Args:
        pattern: the shape.
        device: the device's name.
        fits: whether another shape has a place there.
    """
    nowhere = f"{pattern} fits nowhere on {device}"
    if pattern.kind == "ring":
        rings = [str(ring) for length in range(_MIN_RING, MAX_QUBITS + 1) if fits(ring := _pattern("ring", (length,)))]
        return f"{nowhere}: " + (f"the rings there are {', '.join(rings)}" if rings else "there is no ring on it")
    smaller = lesser(pattern)
    if not smaller or not fits(smaller[-1]):
        kind = f"eye with a bridge of {pattern.sizes[2]}" if pattern.kind == "eye" else pattern.kind
        return f"{nowhere}: there is no {kind} on it"
    largest = next(each for each in smaller if fits(each))
    if pattern.kind == "line":
        return f"{nowhere}: the longest line there is {largest}"
    return f"{nowhere}: the largest {pattern.kind} within it that does is {largest}"


def _pattern(kind: str, sizes: tuple[int, ...]) -> Pattern:
    """Raises ValueError for a kind or sizes that no shape has."""
    match kind, sizes:
        case "line", (length,):
            _require(length >= _MIN_LINE, f"a line has at least {_MIN_LINE} qubits")
            pairs = _path(range(length))
        case "ring", (length,):
            _require(length >= _MIN_RING, f"a ring has at least {_MIN_RING} qubits")
            pairs = [*_path(range(length)), (0, length - 1)]
        case "tee", (_, _, _):
            _require(0 not in sizes, "every arm has at least 1 qubit")
            pairs = _star(0, sizes, 1)
        case "eye", (a, b, bridge, c, d):
            _require(0 not in {a, b, c, d}, "every arm has at least 1 qubit")
            far = 1 + a + b + bridge
            pairs = [*_star(0, (a, b), 1), *_path([0, *range(1 + a + b, far + 1)]), *_star(far, (c, d), far + 1)]
        case "grid", (rows, columns):
            _require(min(sizes) >= _MIN_SIDE, f"a grid has at least {_MIN_SIDE} rows and {_MIN_SIDE} columns")
            places = [range(row * columns, (row + 1) * columns) for row in range(rows)]
            pairs = [pair for row in places for pair in _path(row)]
            pairs += [pair for one, below in pairwise(places) for pair in zip(one, below, strict=True)]
        case _:
            raise ValueError(_FORMS)
    return Pattern(kind, sizes, 1 + max(high for _, high in pairs), tuple(sorted(pairs)))


def _path(positions: Iterable[int]) -> list[Pair]:
    return list(pairwise(positions))


def _star(centre: int, arms: Sequence[int], first: int) -> list[Pair]:
    """Arms of these lengths on a centre, their positions numbered on from ``first``."""
    pairs: list[Pair] = []
    for length in arms:
        pairs += _path([centre, *range(first, first + length)])
        first += length
    return pairs


def _canonical(kind: str, sizes: tuple[int, ...]) -> tuple[int, ...]:
    """The sizes in the order of the shape's one name."""
    match kind, sizes:
        case "tee", _:
            return tuple(sorted(sizes, reverse=True))
        case "eye", (a, b, bridge, c, d):
            one, other = sorted(((max(a, b), min(a, b)), (max(c, d), min(c, d))), reverse=True)
            return (*one, bridge, *other)
        case "grid", _:
            return tuple(sorted(sizes))
        case _:
            return sizes


def _require(holds: bool, rule: str) -> None:
    if not holds:
        raise ValueError(rule)


def _up_to(size: int, least: int = 1) -> range:
    return range(least, size + 1)


def _name(kind: str, sizes: Iterable[int]) -> str:
    return "-".join((kind, *map(str, sizes)))
