"""An executor that is made when somebody first asks it: for a process that rarely simulates, or never."""

from __future__ import annotations

import threading
from concurrent.futures import Executor, Future
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from qpu_backend.engines.executors import ExecutorShutDown

if TYPE_CHECKING:
    from collections.abc import Callable

_Arguments = ParamSpec("_Arguments")
_Answer = TypeVar("_Answer")


class OnDemandExecutor(Executor):
    """Makes the executor behind it at the first call. Safe to call from many threads."""

    def __init__(self, make: Callable[[], Executor]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._made: Executor | None = None
        self._closed = False

    def submit(
        self, fn: Callable[_Arguments, _Answer], /, *args: _Arguments.args, **kwargs: _Arguments.kwargs
    ) -> Future[_Answer]:
        """Run ``fn`` on the executor.

        Raises:
            ExecutorShutDown: after :meth:`shutdown`.
        """
        with self._lock:
            if self._closed:
                raise ExecutorShutDown
            if self._made is None:
                self._made = self._make()
            made = self._made
        return made.submit(fn, *args, **kwargs)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Shut down what was made, if anything was."""
        with self._lock:
            self._closed = True
            made = self._made
        if made is not None:
            made.shutdown(wait=wait, cancel_futures=cancel_futures)
