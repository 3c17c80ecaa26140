"""Dynamical decoupling: pulses in the idle windows of the ALAP schedule, which keeps its length to the sample.

A pair of x turns round, half of the time, whatever phase builds up on a qubit while it waits: detuning, and ZZ with its
neighbours. Of two neighbours that wait together one has its pulses where the other has none, otherwise what they do to
each other would not be turned round at all::

    XX    u  ──τ──[x]────2τ────[x]──τ──      XY4   the same with x y x y
          w  ────2τ────[x]────2τ────[x]

Windows are cut where a two-qubit gate of a coupled qubit begins or ends, so that both sides of a coupler have the same
ones. Windows before a qubit's first gate are left alone: in |0⟩ it has no phase. Explicit delays are idle time.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections import deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from qpu_backend.physics.circuit import OP_OF_CODE, OPERATION, TWO_QUBIT_GATES, IsaCircuit, Op
from qpu_backend.physics.timing import schedule, wires_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from qpu_backend.physics.timing import Durations, Row

_WAITING: Final = frozenset({Op.BARRIER, Op.DELAY})
_PASSIVE: Final = frozenset({Op.RZ, *_WAITING})

_Pulse = tuple[tuple[int, float], ...]
"""Gates, as code and angle."""

_X: Final[_Pulse] = ((int(Op.X), 0.0),)
_Y: Final[_Pulse] = ((int(Op.RZ), math.pi), *_X)
_PULSES: Final = {"XX": (_X, _X), "XY4": (_X, _Y, _X, _Y)}
_FREE_AT_LEAST: Final = 1.0
"""Free time of a window with pulses, by the time that the pulses take."""
_TINY_NS: Final = 1e-6


@dataclass(frozen=True, slots=True)
class _Window:
    """Idle time of a local qubit, and the rows between which it lies.

    Attributes:
        after, before: indices of the operations on either side.
        start_ns, stop_ns: from the beginning of the circuit.
    """

    qubit: int
    after: int
    before: int
    start_ns: float
    stop_ns: float


def decoupled(circuit: IsaCircuit, durations: Durations, sequence: str, step_ns: float) -> IsaCircuit:
    """The circuit with pulses in its idle windows; equal up to a global phase, and as long.

    Args:
        circuit: as it is.
        durations: of its operations.
        sequence: ``XX`` or ``XY4``.
        step_ns: pulses start at multiples of it, from the beginning of a window.

    Raises:
        NotCalibrated: the device does not offer one of the operations.
    """
    scheduled = schedule(circuit, durations)
    rows: list[Row] = circuit.operations.tolist()
    starts: list[float] = scheduled.starts_ns.tolist()
    stops = [start + length for start, length in zip(starts, scheduled.lengths_ns.tolist(), strict=True)]
    colours = _colours(circuit, durations)
    edges = _boundaries(circuit, rows, starts, stops, durations)
    barriers_of, delays_of = _waits(circuit, rows)
    before: dict[int, list[Row]] = {}
    dropped: set[int] = set()
    for window in _windows(circuit, rows, starts, stops):
        pulse_ns = durations.duration_ns(Op.X, (circuit.qubits[window.qubit],))
        pulses = _PULSES[sequence]
        least = (1 + _FREE_AT_LEAST) * len(pulses) * pulse_ns
        parts = _parts(window, edges[window.qubit], least)
        if not parts:
            continue
        barriers = _inside(window, barriers_of[window.qubit])
        events = [
            event
            for start, stop in parts
            for event in _pulses(start, stop, pulses, pulse_ns, step_ns, late=bool(colours[window.qubit]))
        ]
        pieces = _laid_out(window, events, pulse_ns, [starts[i] for i in barriers])
        if pieces is None:
            continue
        dropped.update(_inside(window, delays_of[window.qubit]))
        for index, piece in zip([*barriers, window.before], pieces, strict=True):
            before.setdefault(index, []).extend(piece)
    if not before:
        return circuit
    written = [
        row for index, old in enumerate(rows) for row in (*before.get(index, ()), *(() if index in dropped else (old,)))
    ]
    return replace(circuit, operations=np.array(written, dtype=OPERATION))


def _windows(
    circuit: IsaCircuit, rows: Sequence[Row], starts: Sequence[float], stops: Sequence[float]
) -> Iterator[_Window]:
    """Times in which a qubit waits between two of its operations, after it has left |0⟩."""
    n = circuit.num_qubits
    last: list[int | None] = [None] * n
    for index, row in enumerate(rows):
        code, q0, q1, *_ = row
        op = OP_OF_CODE[code]
        if op in _WAITING:
            continue
        wires = (q0, q1) if q1 >= 0 else (q0,) if op is not Op.IF else wires_of(circuit, row)
        for wire in wires:
            if wire >= n:
                continue
            earlier = last[wire]
            if earlier is not None and starts[index] - stops[earlier] > _TINY_NS:
                yield _Window(wire, earlier, index, stops[earlier], starts[index])
            if op is Op.RESET:
                last[wire] = None
            elif earlier is not None or op not in _PASSIVE:
                last[wire] = index


def _waits(circuit: IsaCircuit, rows: Sequence[Row]) -> tuple[list[list[int]], list[list[int]]]:
    """For each local qubit, ascending, the indices of its barriers, and those of its delays."""
    barriers: list[list[int]] = [[] for _ in range(circuit.num_qubits)]
    delays: list[list[int]] = [[] for _ in range(circuit.num_qubits)]
    for index, row in enumerate(rows):
        if row[0] == Op.BARRIER:
            for qubit in set(circuit.groups[row[6]]):
                barriers[qubit].append(index)
        elif row[0] == Op.DELAY:
            delays[row[1]].append(index)
    return barriers, delays


def _inside(window: _Window, indices: Sequence[int]) -> Sequence[int]:
    """Those of ascending indices that lie between the operations on either side of a window."""
    return indices[bisect_right(indices, window.after) : bisect_left(indices, window.before)]


def _parts(window: _Window, edges: Sequence[float], least_ns: float) -> list[tuple[float, float]]:
    """The window cut at these times, as far as no part becomes too short for its pulses; nothing if all of it is."""
    if window.stop_ns - window.start_ns < least_ns:
        return []
    bounds = [window.start_ns]
    bounds += edges[bisect_right(edges, window.start_ns) : bisect_left(edges, window.stop_ns)]
    kept = bounds[:1]
    for time in bounds[1:]:
        if time - kept[-1] >= least_ns and window.stop_ns - time >= least_ns:
            kept.append(time)
    return list(zip(kept, [*kept[1:], window.stop_ns], strict=True))


def _pulses(
    start: float, stop: float, pulses: Sequence[_Pulse], pulse_ns: float, step_ns: float, *, late: bool
) -> Iterator[tuple[float, _Pulse]]:
    """When each pulse of a part begins."""
    share = (stop - start) / len(pulses)
    latest = math.floor((stop - start - pulse_ns) / step_ns + _TINY_NS)
    for number, pulse in enumerate(pulses):
        centre = (number + (1.0 if late else 0.5)) * share
        yield start + step_ns * min(round((centre - 0.5 * pulse_ns) / step_ns), latest), pulse


def _laid_out(
    window: _Window,
    events: Sequence[tuple[float, _Pulse]],
    pulse_ns: float,
    barriers: Sequence[float],
) -> list[list[Row]] | None:
    """Delays and pulses, in one piece before each barrier and one before the window's end.

    A pulse that a barrier falls into begins at the barrier; nothing if the window then ends before it does.
    """
    pieces: list[list[Row]] = []
    now, waiting = window.start_ns, deque(events)
    for bound in (*barriers, window.stop_ns):
        piece: list[Row] = []
        while waiting and (bound == window.stop_ns or waiting[0][0] + pulse_ns <= bound + _TINY_NS):
            begins, gates = waiting.popleft()
            begins = max(now, begins)
            piece += _delay(window.qubit, begins - now)
            piece += [(code, window.qubit, -1, -1, -1, angle, -1) for code, angle in gates]
            now = begins + pulse_ns
        piece += _delay(window.qubit, bound - now)
        now = max(now, bound)
        pieces.append(piece)
    return pieces if now <= window.stop_ns + _TINY_NS else None


def _delay(qubit: int, length_ns: float) -> list[Row]:
    return [(int(Op.DELAY), qubit, -1, -1, -1, length_ns, -1)] if length_ns > _TINY_NS else []


def _couplers(circuit: IsaCircuit, durations: Durations) -> list[tuple[int, int]]:
    """Pairs of local qubits that the device couples."""
    physical = circuit.qubits if durations.region is None else tuple(durations.region[q] for q in circuit.qubits)
    place = {qubit: local for local, qubit in enumerate(physical)}
    pairs = {
        (min(place[a], place[b]), max(place[a], place[b]))
        for op, (a, *rest) in durations.calibration.gates
        if op in TWO_QUBIT_GATES
        for b in rest
        if a in place and b in place
    }
    return sorted(pairs)


def _colours(circuit: IsaCircuit, durations: Durations) -> list[int]:
    """0 or 1 for each local qubit, different for coupled ones: lattices of chips are bipartite."""
    neighbours: list[list[int]] = [[] for _ in range(circuit.num_qubits)]
    for a, b in _couplers(circuit, durations):
        neighbours[a].append(b)
        neighbours[b].append(a)
    colours = [-1] * circuit.num_qubits
    for first in range(circuit.num_qubits):
        reached = [first] if colours[first] < 0 else []
        for qubit in reached:
            colours[qubit] = max(colours[qubit], 0)
            for other in neighbours[qubit]:
                if colours[other] < 0:
                    colours[other] = 1 - colours[qubit]
                    reached.append(other)
    return colours


def _boundaries(
    circuit: IsaCircuit, rows: Sequence[Row], starts: Sequence[float], stops: Sequence[float], durations: Durations
) -> list[list[float]]:
    """For each local qubit, ascending, when two-qubit gates of the qubits coupled to it begin and end."""
    own: list[set[float]] = [set() for _ in range(circuit.num_qubits)]
    for row, start, stop in zip(rows, starts, stops, strict=True):
        if row[0] in TWO_QUBIT_GATES:
            for qubit in (row[1], row[2]):
                own[qubit] |= {start, stop}
    near: list[set[float]] = [set() for _ in range(circuit.num_qubits)]
    for a, b in _couplers(circuit, durations):
        near[a] |= own[b]
        near[b] |= own[a]
    return [sorted(times) for times in near]
