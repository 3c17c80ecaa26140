"""An executor whose workers can be made to die: for tests of what becomes of jobs then."""

from __future__ import annotations

import threading
from concurrent.futures import Executor, Future
from concurrent.futures.process import BrokenProcessPool
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from qpu_backend.engines.worker import run_tasks

if TYPE_CHECKING:
    from collections.abc import Callable

_Arguments = ParamSpec("_Arguments")
_Answer = TypeVar("_Answer")


class FaultyExecutor(Executor):
    """Passes calls on, except for runs of batches whose workers are to be lost. Safe to call from many threads."""

    def __init__(self, executor: Executor) -> None:
        """Nothing is lost yet.

        Args:
            executor: that does the work; shut down together with this one.
        """
        self._executor = executor
        self._lock = threading.Lock()
        self._to_lose = 0

    def lose(self, runs: int) -> None:
        """Let the workers of so many runs die, from now on; 0 lets none."""
        with self._lock:
            self._to_lose = runs

    def submit(
        self, fn: Callable[_Arguments, _Answer], /, *args: _Arguments.args, **kwargs: _Arguments.kwargs
    ) -> Future[_Answer]:
        """Run ``fn`` on the executor, or lose it as a pool does whose worker is killed."""
        with self._lock:
            lost = fn is run_tasks and self._to_lose > 0
            self._to_lose -= lost
        if not lost:
            return self._executor.submit(fn, *args, **kwargs)
        future: Future[_Answer] = Future()
        future.set_exception(BrokenProcessPool("a worker was made to die"))
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Shut down the executor behind it."""
        self._executor.shutdown(wait=wait, cancel_futures=cancel_futures)
