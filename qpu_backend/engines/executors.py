"""Where worker processes live: a pool on this machine, behind :class:`concurrent.futures.Executor`.

Scaling out is another executor (Dask's ``client.get_executor()``) with the same ``submit(run_tasks, payload)``.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from concurrent.futures import Executor, Future
from concurrent.futures.process import BrokenProcessPool
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar

from loky import ProcessPoolExecutor  # pyright: ignore[reportMissingTypeStubs, reportUnknownVariableType]

from qpu_backend.engines.protocol import join_tasks
from qpu_backend.engines.worker import run_tasks

if TYPE_CHECKING:
    from collections.abc import Callable

_Arguments = ParamSpec("_Arguments")
_Answer = TypeVar("_Answer")

ONE_THREAD: Final = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "QISKIT_PARALLEL": "FALSE",
    "RAYON_NUM_THREADS": "1",
}
"""Environment of a worker: one thread each, so that workers share the machine by number."""

ORPHAN_CHECK_S: Final = 1.0
"""How often a worker looks whether its server is still there."""


class LocalExecutor(Executor):
    """Warm worker processes on this machine.

    Processes are started without importing ``__main__``: it works from a notebook and from a script without a main
    guard. When a worker dies, the futures of that moment fail with :class:`BrokenProcessPool` and the next ``submit``
    starts a fresh pool. Workers end by themselves when their server is killed.
    """

    def __init__(self, workers: int) -> None:
        """Start ``workers`` processes; does not wait for them (see :meth:`warm`)."""
        self._workers = workers
        self._lock = threading.Lock()
        self._closed = False
        self._pool = self._start()

    def submit(
        self, fn: Callable[_Arguments, _Answer], /, *args: _Arguments.args, **kwargs: _Arguments.kwargs
    ) -> Future[_Answer]:
        """Run ``fn`` in a worker; ``fn`` must be a top-level function of an importable module.

        Raises:
            RuntimeError: after :meth:`shutdown`.
        """
        with self._lock:
            if self._closed:
                raise RuntimeError("the executor has been shut down")
            try:
                return self._pool.submit(fn, *args, **kwargs)
            except BrokenProcessPool:
                self._pool.shutdown(wait=False, kill_workers=True)
                self._pool = self._start()
                return self._pool.submit(fn, *args, **kwargs)

    def warm(self) -> None:
        """Wait until at least one worker answers."""
        self.submit(run_tasks, join_tasks([])).result()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the workers. With ``cancel_futures`` also what they are doing."""
        with self._lock:
            self._closed = True
            self._pool.shutdown(wait=wait, kill_workers=cancel_futures)

    def _start(self) -> Any:
        pool: Any = ProcessPoolExecutor(self._workers, env=ONE_THREAD, initializer=_settle_in, initargs=(os.getpid(),))
        pool.submit(run_tasks, join_tasks([]))  # the first submission starts all processes
        return pool


def local_executor(workers: int) -> LocalExecutor:
    """Warm worker processes on this machine, starting now.

    Args:
        workers: processes; as many as there are cores is the most that makes sense.
    """
    return LocalExecutor(workers)


def _settle_in(server_pid: int) -> None:
    """First thing in a worker: leave Ctrl-C to the server, follow its end, and load Aer."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(server_pid,), name="orphan-check", daemon=True).start()
    run_tasks(join_tasks([]))


def _end_with(server_pid: int) -> None:
    while os.getppid() == server_pid:
        time.sleep(ORPHAN_CHECK_S)
    os._exit(0)
