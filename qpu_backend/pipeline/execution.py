"""Execution: a committed batch becomes calls of one function, bytes to bytes, on whatever runs them.

The seam is ``concurrent.futures.Executor``: local worker processes by default, a cluster to scale out. The batch's
records are cut into about as many calls as there are workers; which call a circuit lands in changes no count, because
every slice has its own seed.

When a worker dies, everything that its pool was computing fails, whoever's fault it was. So a batch that has been
attempted before runs with no other batch beside it: what then takes a worker down is in that batch, and a bystander is
blamed at most once.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import TYPE_CHECKING

from qpu_backend.engines.executors import ExecutorShutDown, WorkersUnreachable, ask
from qpu_backend.engines.protocol import RegionTask, SliceOutcome, decode_report, join_tasks
from qpu_backend.engines.worker import run_tasks

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from concurrent.futures import Executor

    from qpu_backend.pipeline.batching import Batch

_SLICES_WORTH_SPLITTING = 8
"""A task with fewer slices goes to one worker as it is."""


@dataclass(frozen=True, slots=True, eq=False)
class MemberOutcome:
    """What the workers answered for one placement.

    Attributes:
        slices: in the order of the record; empty after a failure.
        cpu_us: processor time, summed over workers.
        failure: why this placement, and no other, could not be run.
        fingerprint: versions of what computed it.
    """

    slices: tuple[SliceOutcome, ...]
    cpu_us: int
    failure: str | None
    fingerprint: dict[str, str]


@dataclass(frozen=True, slots=True, eq=False)
class BatchOutcome:
    """A batch that came back: one outcome a member, or the error that took the whole attempt down.

    Attributes:
        batch: that came back.
        members: one outcome for each, unless there is an error.
        error: of the whole attempt.
        since_s: when it came back, on the monotonic clock.
    """

    batch: Batch
    members: tuple[MemberOutcome, ...]
    error: BaseException | None = None
    since_s: float = field(default_factory=time.monotonic)


@dataclass(frozen=True, slots=True)
class _Piece:
    """Part of one member's record."""

    member: int
    record: bytes
    weight: int


class ExecutorClosed(Exception):
    """The executor takes no more work because this process is ending: no fault of the batch."""


class Execution:
    """Runs batches on an executor with so many workers. Safe to call from many threads."""

    def __init__(self, executor: Executor, workers: int, *, refused: Callable[[], None] | None = None) -> None:
        """Nothing runs yet.

        Args:
            executor: the workers.
            workers: how many of them a batch is shared out to.
            refused: told of each call that no worker process could be started for.
        """
        self._executor = executor
        self._refused = refused
        self._workers = workers
        self._lock = threading.Lock()
        self._waiting: deque[tuple[Batch, Callable[[BatchOutcome], None]]] = deque()
        self._running = 0
        self._alone = False

    def submit(self, batch: Batch, done: Callable[[BatchOutcome], None]) -> None:
        """Run the batch when its turn comes; ``done`` is called once, from any thread. Never raises."""
        with self._lock:
            self._waiting.append((batch, done))
        self._start_next()

    def _start_next(self) -> None:
        while (turn := self._next()) is not None:
            self._start(*turn)

    def _next(self) -> tuple[Batch, Callable[[BatchOutcome], None]] | None:
        """Batches in order; one that failed before waits for an empty executor and keeps it to itself."""
        with self._lock:
            if not self._waiting or self._alone:
                return None
            suspect = self._waiting[0][0].attempt > 1
            if suspect and self._running:
                return None
            self._running += 1
            self._alone = suspect
            return self._waiting.popleft()

    def _start(self, batch: Batch, done: Callable[[BatchOutcome], None]) -> None:
        def ended(outcome: BatchOutcome) -> None:
            with self._lock:
                self._running -= 1
                self._alone = False
            done(outcome)
            self._start_next()

        try:
            calls = _share_out(_pieces(batch, self._workers), self._workers)
            gathering = _Gathering(batch, calls, ended)
            payloads = [join_tasks([piece.record for piece in call]) for call in calls]
        except Exception as error:  # noqa: BLE001 - a record that cannot be read is this attempt's outcome
            ended(BatchOutcome(batch, (), error))
            return
        for index, payload in enumerate(payloads):
            try:
                gathering.expect(index, self._call(payload))
            except BaseException as error:  # noqa: BLE001 - the batch must come back, whatever has become of the call
                gathering.lose(error)

    def _call(self, payload: bytes) -> Future[bytes]:
        """Ask the executor; a refusal is an answer like any other, and comes at once."""
        refused: Future[bytes] = Future()
        try:
            return ask(self._executor, run_tasks, payload)
        except ExecutorShutDown as error:
            refused.set_exception(ExecutorClosed(str(error)))
        except WorkersUnreachable as error:  # nothing ran, and it is asked for again
            if self._refused is not None:
                self._refused()
            refused.set_exception(error)
        except BaseException as error:  # noqa: BLE001 - whatever the executor died of is this attempt's outcome
            refused.set_exception(error)
        return refused


class _Gathering:
    """Puts the answers of a batch's calls together, in whatever order they come, when the last one is there."""

    def __init__(self, batch: Batch, calls: Sequence[Sequence[_Piece]], done: Callable[[BatchOutcome], None]) -> None:
        self._batch = batch
        self._calls = calls
        self._done = done
        self._lock = threading.Lock()
        self._answers: dict[int, bytes] = {}
        self._error: BaseException | None = None
        self._left = len(calls)

    def expect(self, call: int, future: Future[bytes]) -> None:
        """The answer to a call is, or will be, in this future."""
        future.add_done_callback(lambda finished: self._collect(call, finished))

    def lose(self, error: BaseException) -> None:
        """There will be no answer to one of the calls."""
        with self._lock:
            self._error = self._error or error
        self._count()

    def _collect(self, call: int, future: Future[bytes]) -> None:
        error = ExecutorClosed("the executor cancelled the batch") if future.cancelled() else future.exception()
        if error is not None:
            self.lose(error)
            return
        with self._lock:
            self._answers[call] = future.result()
        self._count()

    def _count(self) -> None:
        """One call fewer to wait for."""
        with self._lock:
            self._left -= 1
            if self._left:
                return
        self._done(self._outcome())

    def _outcome(self) -> BatchOutcome:
        if self._error is not None:
            return BatchOutcome(self._batch, (), self._error)
        try:
            return BatchOutcome(self._batch, self._members())
        except Exception as malformed:  # noqa: BLE001 - an answer that cannot be read is a failed attempt
            return BatchOutcome(self._batch, (), malformed)

    def _members(self) -> tuple[MemberOutcome, ...]:
        members = [MemberOutcome((), 0, None, {}) for _ in self._batch.members]
        for index, call in enumerate(self._calls):
            report = decode_report(self._answers[index])
            for piece, task in zip(call, report.tasks, strict=True):
                so_far = members[piece.member]
                members[piece.member] = MemberOutcome(
                    slices=so_far.slices + task.slices,
                    cpu_us=so_far.cpu_us + task.cpu_us,
                    failure=so_far.failure or task.failure,
                    fingerprint=report.fingerprint,
                )
        return tuple(members)


def _pieces(batch: Batch, workers: int) -> list[_Piece]:
    """Every member's record, cut where it has many slices and there are workers to share them."""
    pieces: list[_Piece] = []
    for index, member in enumerate(batch.members):
        slices = len(member.slice_executions)
        parts = min(workers, slices // _SLICES_WORTH_SPLITTING) if len(batch.members) < workers else 1
        if parts <= 1:
            pieces.append(_Piece(index, member.record, slices))
            continue
        task = RegionTask.from_bytes(member.record)
        bounds = [slices * part // parts for part in range(parts + 1)]
        for start, end in pairwise(bounds):
            piece = replace(task, slices=task.slices[start:end]).to_bytes()
            pieces.append(_Piece(index, piece, end - start))
    return pieces


def _share_out(pieces: list[_Piece], workers: int) -> list[list[_Piece]]:
    """Consecutive pieces, in order, into at most ``workers`` calls of about equal weight."""
    total = sum(piece.weight for piece in pieces)
    calls: list[list[_Piece]] = []
    before = 0
    for piece in pieces:
        lane = min(workers - 1, before * workers // max(total, 1))
        while len(calls) <= lane:
            calls.append([])
        calls[lane].append(piece)
        before += piece.weight
    return [call for call in calls if call]
