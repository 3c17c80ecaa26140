"""The server's hold on the zygote: starts it, has children forked and buried, and replaces it when it is gone."""

from __future__ import annotations

import json
import socket
import struct
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from qpu_backend.engines.frames import receive_exactly
from qpu_backend.engines.invalid_circuit import DecodingUnavailable
from qpu_sdk.wire import codec

COMMAND: Final = struct.Struct("!cq")
"""An order to the zygote: :data:`FORK` (the child's socket travels along) or :data:`KILL` and a process id."""
REPLY: Final = struct.Struct("!q")
FORK: Final = b"F"
KILL: Final = b"K"

_START: Final = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from qpu_backend.engines.zygote import main; main()"
)
_ENVIRONMENT: Final = {
    "HOME": "/nonexistent",
    "RUST_BACKTRACE": "0",
    "QISKIT_PARALLEL": "FALSE",
    "QISKIT_IN_PARALLEL": "TRUE",
    "RAYON_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
}
"""All there is: nothing of the server's. One thread, because only the forking thread survives a fork."""
_WARM_WITHIN_S: Final = 60.0
_REPLY_WITHIN_S: Final = 10.0


@dataclass(slots=True, eq=False)
class Child:
    """One limited process and our end of its socket."""

    connection: socket.socket
    pid: int
    generation: int
    """Which zygote it comes from: only that one can bury it."""
    served: int = 0


class Nursery:
    """One zygote at a time. Safe to call from several threads."""

    def __init__(self, *, wall_s: float, memory_bytes: int, compiling: bool = False, started: bool = True) -> None:
        self._limits = (str(wall_s), str(memory_bytes), str(int(compiling)))
        self._lock = threading.Lock()
        self._closed = False
        self._generation = 0
        self._max_qpy_version: int | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._control = socket.socket()
        if started:
            self._restart()

    @property
    def max_qpy_version(self) -> int:
        """What the zygote's Qiskit reads; waits until it is warm."""
        if self._max_qpy_version is None:
            with self._lock:
                if self._process is None and not self._closed:
                    self._restart()
                self._wait_until_warm()
        if self._max_qpy_version is None:  # pragma: no cover - the wait raised or set it
            raise DecodingUnavailable("the decoders did not start")
        return self._max_qpy_version

    def fork(self) -> Child:
        """A new warm child, in some milliseconds; a dead zygote is replaced first, which takes a second.

        Raises:
            DecodingUnavailable: it cannot be done.
        """
        with self._lock:
            for _ in range(2):
                if self._closed:
                    break
                try:
                    return self._fork()
                except (OSError, EOFError):
                    self._restart()
        raise DecodingUnavailable("no decoder can be started; try again in some seconds")

    def bury(self, child: Child) -> None:
        """Kill the child and forget it. One whose zygote is gone ends by itself, now that its socket is closed."""
        child.connection.close()
        with self._lock:
            if child.generation == self._generation and not self._closed:
                with suppress(OSError, EOFError):
                    self._order(KILL, child.pid)

    def close(self) -> None:
        """End the zygote and with it every child."""
        with self._lock:
            self._closed = True
            self._stop()

    def _fork(self) -> Child:
        self._wait_until_warm()
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                pid = self._order(FORK, 0, theirs)
            except BaseException:
                ours.close()
                raise
        return Child(ours, pid, self._generation)

    def _order(self, order: bytes, pid: int, passed: socket.socket | None = None) -> int:
        self._control.settimeout(_REPLY_WITHIN_S)
        socket.send_fds(self._control, [COMMAND.pack(order, pid)], [] if passed is None else [passed.fileno()])
        (answer,) = REPLY.unpack(receive_exactly(self._control, REPLY.size))
        return int(answer)

    def _wait_until_warm(self) -> None:
        if self._max_qpy_version is None:
            self._control.settimeout(_WARM_WITHIN_S)
            (version,) = REPLY.unpack(receive_exactly(self._control, REPLY.size))
            self._max_qpy_version = int(version)

    def _start(self) -> tuple[subprocess.Popen[bytes], socket.socket]:
        ours, theirs = socket.socketpair()
        with theirs:
            process = subprocess.Popen(  # noqa: S603 - our own interpreter and module, no client's byte
                [sys.executable, "-I", "-c", _START, json.dumps(_import_path()), str(theirs.fileno()), *self._limits],
                env=_ENVIRONMENT,
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,  # a Ctrl-C in the terminal is for the server, not for these
            )
        return process, ours

    def _restart(self) -> None:
        self._stop()
        self._generation += 1
        self._max_qpy_version = None
        self._process, self._control = self._start()

    def _stop(self) -> None:
        self._control.close()
        if self._process is None:
            return
        if self._max_qpy_version is None:  # it imports and has no children yet; it would notice only afterwards
            self._process.kill()
        try:
            self._process.wait(timeout=2)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _import_path() -> list[str]:
    """Where the zygote finds packages: where this process does, without the current folder."""
    roots = [str(Path(file).resolve().parents[2]) for file in (__file__, codec.__file__)]
    path = [str(entry) for entry in sys.path if str(entry)]
    return path + [root for root in dict.fromkeys(roots) if root not in path]
