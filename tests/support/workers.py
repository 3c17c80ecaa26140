"""Workers that a test can hold back, poison and end."""

from __future__ import annotations

import threading
import time
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TYPE_CHECKING, Any

from qpu_backend.engines.executors import ExecutorShutDown
from qpu_backend.engines.protocol import RegionTask, split_tasks
from qpu_backend.engines.worker import run_tasks

if TYPE_CHECKING:
    from collections.abc import Callable


class Workers(Executor):
    """Workers in threads of the test: the same function on the same bytes, and a hand on the tap.

    As with a pool of processes, when one worker dies everything that is being computed fails with it. The worst case
    is the rule here: whatever is computed beside a poisonous job is still being computed when that ends its worker.

    Attributes:
        gate: closed (cleared), it keeps jobs from being computed.
        poison: seeds of jobs that end the worker they run on.
    """

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.poison: set[int] = set()
        self._threads = ThreadPoolExecutor(16)
        self._lock = threading.Lock()
        self._unanswered: dict[Future[Any], frozenset[int]] = {}
        self._closed = False

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """As a pool: refuses when it is closed."""
        future: Future[Any] = Future()
        records = split_tasks(args[0]) if fn is run_tasks else []  # the rest are profiles: no job's own
        seeds = frozenset(piece.seed for record in records for piece in RegionTask.from_bytes(record).slices)
        with self._lock:
            if self._closed:
                raise ExecutorShutDown
            self._unanswered[future] = seeds
        self._threads.submit(self._work, future, seeds, fn, *args, **kwargs)
        return future

    def die(self) -> None:
        """The pool breaks: every call without an answer fails."""
        with self._lock:
            victims, self._unanswered = self._unanswered, {}
        for future in victims:
            future.set_exception(BrokenProcessPool("a worker died"))

    def busy(self) -> bool:
        """Whether a call waits for its answer."""
        with self._lock:
            return bool(self._unanswered)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Refuse further calls."""
        self.gate.set()
        with self._lock:
            self._closed = True
        self._threads.shutdown(wait=wait, cancel_futures=cancel_futures)

    def _work(self, future: Future[Any], seeds: frozenset[int], fn: Callable[..., Any], *args: Any) -> None:
        if fn is run_tasks:  # a profile is not a job's run: the batch is not even committed
            self.gate.wait()
        if self.poison & seeds:
            time.sleep(0.05)  # so that others are there
            self.die()
            return
        answer = fn(*args)
        while self._poisoned():
            time.sleep(0.005)
        with self._lock:
            alive = self._unanswered.pop(future, None) is not None
        if alive:
            future.set_result(answer)

    def _poisoned(self) -> bool:
        with self._lock:
            return any(self.poison & seeds for seeds in self._unanswered.values())
