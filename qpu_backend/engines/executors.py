"""Where worker processes live: a pool on this machine, behind :class:`concurrent.futures.Executor`.

Scaling out is another executor (``cluster.py``) with the same ``submit(run_tasks, payload)``.
"""

from __future__ import annotations

import ctypes
import os
import queue
import signal
import sys
import threading
import time
from concurrent.futures import BrokenExecutor, Executor, Future
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar

import loky.process_executor as loky_pools  # pyright: ignore[reportMissingTypeStubs]
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

CALL_LIMIT_S: Final = 1800.0
"""A call that takes longer ends its worker: a simulation that hangs must not hold a slot for ever."""

_PR_SET_PDEATHSIG: Final = 1
_ENDS_WITHIN_S: Final = 5.0
"""A process that is killed."""


class WorkersUnreachable(BrokenExecutor):
    """There is no worker to ask now. Nothing ran, so nobody is to blame: the same is asked again later."""


class ExecutorShutDown(RuntimeError):
    """The executor takes no more calls, ever: this process is ending."""

    def __init__(self) -> None:
        super().__init__("the executor has been shut down")


def ask(executor: Executor, fn: Callable[[bytes], _Answer], payload: bytes) -> Future[_Answer]:
    """Submit a call, and tell an executor that cannot start anything now from one that never will again.

    Raises:
        ExecutorShutDown: it takes no more calls.
        WorkersUnreachable: the machine gives it no process, thread or memory for one.
        BrokenExecutor: workers died.
    """
    try:
        return executor.submit(fn, payload)
    except (ExecutorShutDown, BrokenExecutor):
        raise
    except (OSError, RuntimeError, MemoryError) as error:
        raise WorkersUnreachable(f"no worker can be started: {error}") from error


class LocalExecutor(Executor):
    """Warm worker processes on this machine.

    Processes are started without importing ``__main__``: it works from a notebook and from a script without a main
    guard. When a worker dies, the futures of that moment fail with :class:`BrokenProcessPool` and the next ``submit``
    starts a fresh pool. Workers end by themselves when their server is killed.
    """

    def __init__(self, workers: int, *, call_limit_s: float = CALL_LIMIT_S) -> None:
        """Start ``workers`` processes; does not wait for them (see :meth:`warm`)."""
        self._workers = workers
        self._call_limit_s = call_limit_s
        self._lock = threading.Lock()
        self._closed = False
        self._unfinished: set[Future[Any]] = set()
        self._parent = _Parent()
        self._pool = self._parent.do(self._start)

    def submit(
        self, fn: Callable[_Arguments, _Answer], /, *args: _Arguments.args, **kwargs: _Arguments.kwargs
    ) -> Future[_Answer]:
        """Run ``fn`` in a worker; ``fn`` must be a top-level function of an importable module.

        Raises:
            ExecutorShutDown: after :meth:`shutdown`, or when the interpreter ends.
            OSError: no process can be started now; neither can, with RuntimeError, a thread.
        """
        with self._lock:
            if self._closed or _interpreter_ends():
                raise ExecutorShutDown
            try:
                future = self._pool.submit(limited, self._call_limit_s, fn, *args, **kwargs)
            except BrokenProcessPool:
                self._pool.shutdown(wait=False, kill_workers=True)
                self._pool = self._parent.do(self._start)
                future = self._pool.submit(limited, self._call_limit_s, fn, *args, **kwargs)
            self._unfinished.add(future)
        future.add_done_callback(self._unfinished.discard)  # not under the lock: one that is done calls at once
        return future

    def warm(self) -> None:
        """Wait until at least one worker answers."""
        self.submit(run_tasks, join_tasks([])).result()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the workers, at once if they have nothing to do. With ``cancel_futures`` also what they are doing."""
        with self._lock:
            self._closed = True
            self._pool.shutdown(wait=wait, kill_workers=cancel_futures or not self._unfinished)
            self._parent.end()

    def _start(self) -> Any:
        pool: Any = ProcessPoolExecutor(self._workers, env=ONE_THREAD, initializer=_settle_in, initargs=(os.getpid(),))
        try:
            pool.submit(run_tasks, join_tasks([]))  # the first submission starts all processes
        except BaseException:  # not all of them: the others would wait for ever, for a pool that nobody knows
            _end_all(list(pool._processes.values()))  # noqa: SLF001 - loky ends them in a thread that it did not start
            raise
        return pool


def _end_all(processes: list[Any]) -> None:
    for process in processes:
        with suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)  # loky's processes cannot kill()
    for process in processes:
        process.join(_ENDS_WITHIN_S)


def _interpreter_ends() -> bool:
    """Whether loky has ended its pools because the interpreter ends."""
    return bool(getattr(loky_pools, "_global_shutdown", False))


def local_executor(workers: int) -> LocalExecutor:
    """Warm worker processes on this machine, starting now.

    Args:
        workers: processes; as many as there are cores is the most that makes sense.
    """
    return LocalExecutor(workers)


class _Parent:
    """The thread that starts the workers, and lives as long as they shall.

    On Linux a worker is killed when the *thread* that started it ends, so it must be neither the caller's nor one that
    the interpreter ends early.
    """

    def __init__(self) -> None:
        self._work: queue.SimpleQueue[tuple[Callable[[], Any], Future[Any]] | None] = queue.SimpleQueue()
        threading.Thread(target=self._live, name="workers-parent", daemon=True).start()

    def do(self, start: Callable[[], Any]) -> Any:
        """Call in that thread, and wait for the answer."""
        answer: Future[Any] = Future()
        self._work.put((start, answer))
        return answer.result()

    def end(self) -> None:
        """Let the thread end."""
        self._work.put(None)

    def _live(self) -> None:
        while (work := self._work.get()) is not None:
            start, answer = work
            try:
                answer.set_result(start())
            except BaseException as error:  # noqa: BLE001 - it belongs to who asked
                answer.set_exception(error)


def limited(
    limit_s: float, fn: Callable[_Arguments, _Answer], /, *args: _Arguments.args, **kwargs: _Arguments.kwargs
) -> _Answer:
    """In a worker: the call, or the end of the worker. Needs no GIL, which Aer holds: the kernel delivers the alarm."""
    signal.setitimer(signal.ITIMER_REAL, limit_s)
    try:
        return fn(*args, **kwargs)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _settle_in(server_pid: int) -> None:
    """First thing in a worker: leave Ctrl-C to the server, follow its end, and load Aer."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    _end_with(server_pid)
    run_tasks(join_tasks([]))


def _end_with(server_pid: int) -> None:
    """Be killed when the server ends, also in the middle of a simulation, where no Python thread would run."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != server_pid:  # it ended before we could ask
        os._exit(0)
    if sys.platform != "linux":
        threading.Thread(target=_watch, args=(server_pid,), name="orphan-check", daemon=True).start()


def _watch(server_pid: int) -> None:
    while os.getppid() == server_pid:
        time.sleep(1.0)
    os._exit(0)
