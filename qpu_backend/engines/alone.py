"""An execution record as if nobody else had been on the chip: what a replay without neighbours runs.

What a record says of the neighbours are the contexts of its slices, and that an execution which met several of them is
cut into as many slices. Without neighbours each execution is one slice again, in the context that its own last shot
leaves, with the seed that it would have had::

    beside others   [ 300 shots, context 1, seed₀ ][ 700 shots, context 2, seed₁ ]
    alone           [            1,000 shots, nobody, seed₀                      ]
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from qpu_backend.physics.context import NO_CONTEXT, Context

if TYPE_CHECKING:
    from qpu_backend.engines.protocol import RegionTask, SliceSpec


def executions_of(task: RegionTask) -> tuple[int, ...]:
    """Which execution of the job, counted from 0, each slice belongs to.

    The slices of one execution follow each other, and no two executions of a job share circuit and binding.
    """
    numbers: list[int] = []
    last: tuple[int, int] | None = None
    for piece in task.slices:
        here = piece.circuit, piece.binding
        numbers.append((numbers[-1] if numbers else -1) + (here != last))
        last = here
    return tuple(numbers)


def alone(task: RegionTask) -> RegionTask:
    """The same executions without neighbours: equal to the record that the job would have had alone in its batch.

    What the region itself does to its shots stays: its noise, its seeds, and the excitation that its own previous shot
    leaves (``Context.start``). Doing it twice is doing it once.
    """
    contexts = [NO_CONTEXT]
    index_of = {NO_CONTEXT.start.tobytes(): 0}
    joined: dict[int, SliceSpec] = {}
    for execution, piece in zip(executions_of(task), task.slices, strict=True):
        if execution in joined:
            so_far = joined[execution]
            joined[execution] = replace(so_far, shots=so_far.shots + piece.shots)
            continue
        start = task.contexts[piece.context].start
        index = index_of.setdefault(start.tobytes(), len(contexts))
        if index == len(contexts):
            contexts.append(Context(start=start))
        joined[execution] = replace(piece, context=index)
    return replace(task, slices=tuple(joined.values()), contexts=tuple(contexts))
