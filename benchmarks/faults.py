"""Where a process can be made to die: around every transaction, and at named stages between them.

No line of this is in the service. ``python -c "import faults; faults.main()" serve …`` is ``qpu serve …`` with some of
its functions wrapped. A point is armed by a file ``NAME@MOMENT`` with a number n in the folder that
``QPU_FAULTS`` names: whichever process passes the point for the n-th time kills itself with SIGKILL there. ``before``
is inside the transaction, when all its statements are done and the commit has not begun; ``after`` is when it is
committed and nobody has been told.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import sys
import time
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

FOLDER: Final = "QPU_FAULTS"
_FIRED: Final = ".fired"
_BETWEEN: Final = (__file__, contextlib.__file__)
"""Files of frames that stand between a transaction and who opened it."""


class Moment(StrEnum):
    """Where at a point."""

    BEFORE = "before"
    AFTER = "after"


# --- the process that dies ----------------------------------------------------------------------------------------


def passed(name: str, moment: Moment) -> None:
    """This process is at a point: it dies here if it was asked to."""
    folder = os.environ.get(FOLDER)
    if folder is None:
        return
    file = f"{folder}/{name}@{moment}"
    try:
        descriptor = os.open(file, os.O_RDWR)
    except FileNotFoundError:
        return
    with os.fdopen(descriptor, "r+b") as armed:
        fcntl.flock(armed, fcntl.LOCK_EX)
        if os.fstat(armed.fileno()).st_nlink == 0:  # disarmed while we waited for the lock
            return
        left = int(armed.read() or b"0") - 1
        if left < 0:  # another process has just died of it
            return
        armed.seek(0)
        armed.truncate()
        if left:
            armed.write(str(left).encode())
            return
        Path(f"{file}{_FIRED}").write_text(str(time.time_ns()), encoding="ascii")
        Path(file).unlink(missing_ok=True)
        os.kill(os.getpid(), signal.SIGKILL)


def run_tasks(payload: bytes) -> bytes:
    """In a worker: what the service has it run, between two points."""
    from qpu_backend.engines import worker  # noqa: PLC0415 - so that who arms points need not load the service

    passed("worker.run_tasks", Moment.BEFORE)
    answer = worker.run_tasks(payload)
    passed("worker.run_tasks", Moment.AFTER)
    return answer


def main() -> None:
    """``qpu`` with the words of the command line, every point in place."""
    from qpu_sdk.cli import main as qpu  # noqa: PLC0415 - as above

    install()
    sys.argv[0] = "qpu"
    qpu()


def install() -> None:
    """Wrap the service's functions in this process."""
    from qpu_backend.http.app import RequestGate  # noqa: PLC0415 - as above
    from qpu_backend.pipeline import execution  # noqa: PLC0415
    from qpu_backend.pipeline.settlement import Settler  # noqa: PLC0415
    from qpu_backend.stores.database import Database  # noqa: PLC0415

    write = Database.write

    @contextlib.contextmanager
    def watched(self: Database) -> Generator[Any, None, None]:
        name = _opener()
        with write(self) as connection:
            yield connection
            passed(name, Moment.BEFORE)
        passed(name, Moment.AFTER)

    Database.write = watched  # type: ignore[method-assign]
    execution.run_tasks = run_tasks
    execution.Execution.submit = _around("execution.submit", execution.Execution.submit)
    Settler.take = _around("settlement.take", Settler.take)
    RequestGate.__call__ = _answering(RequestGate.__call__)


def _opener() -> str:
    """``module.function`` of who opens a transaction."""
    frame = sys._getframe(1)  # noqa: SLF001 - there is no other way to know one's caller
    while frame.f_code.co_filename in _BETWEEN and frame.f_back is not None:
        frame = frame.f_back
    return f"{Path(frame.f_code.co_filename).stem}.{frame.f_code.co_name}"


def _around(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    def wrapped(*arguments: Any, **named: Any) -> Any:
        passed(name, Moment.BEFORE)
        answer = function(*arguments, **named)
        passed(name, Moment.AFTER)
        return answer

    return wrapped


def _answering(serve: Callable[..., Any]) -> Callable[..., Any]:
    """Between what a request has changed and its client's knowing of it."""

    async def answered(self: Any, scope: Any, receive: Any, send: Any) -> None:
        changes = scope["type"] == "http" and scope["method"] != "GET"

        async def told(message: Any) -> None:
            if changes and message["type"] == "http.response.start":
                passed("http.answer", Moment.BEFORE)
            await send(message)
            if changes and message["type"] == "http.response.body":
                passed("http.answer", Moment.AFTER)

        await serve(self, scope, receive, told)

    return answered


# --- who lets it die ----------------------------------------------------------------------------------------------


class Armed:
    """A point at which the next process to pass it for the n-th time dies."""

    def __init__(self, folder: Path, name: str, moment: Moment, passage: int = 1) -> None:
        self._file = folder / f"{name}@{moment}"
        self._fired = folder / f"{name}@{moment}{_FIRED}"
        self._fired.unlink(missing_ok=True)
        draft = folder / "draft"
        draft.write_text(str(passage), encoding="ascii")
        draft.rename(self._file)

    def fired_at_us(self) -> int | None:
        """When it killed a process, wall time; ``None`` before."""
        try:
            return int(self._fired.read_text(encoding="ascii") or "0") // 1000 or None
        except FileNotFoundError:
            return None

    def disarm(self) -> bool:
        """Nobody dies of it any more. Whether somebody has."""
        with contextlib.suppress(FileNotFoundError), self._file.open("rb") as armed:
            fcntl.flock(armed, fcntl.LOCK_EX)
            self._file.unlink(missing_ok=True)
        return self.fired_at_us() is not None
