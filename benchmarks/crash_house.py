"""A service as an operator runs it: processes of its own, each started again whenever it ends, and its database."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from faults import FOLDER
from postgres import Postgres
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from qpu_backend.bootstrap import open_database
from qpu_backend.config import load_config
from qpu_backend.stores import schema
from qpu_backend.stores.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sqlalchemy import Connection

_Answer = TypeVar("_Answer")

START_WITHIN_S = 120.0
_ORPHAN_S = 15.0
_LAUNCH = "import faults; faults.main()"
_SETTINGS = """\
workers = {workers}

[devices.eagle127]
quantum_s = 1
"""


class Kept:
    """A process that is started again whenever it ends, as an init system would.

    Attributes:
        codes: exit codes of its lives before this one.
    """

    def __init__(self, name: str, start: Callable[[], subprocess.Popen[bytes]]) -> None:
        self.name = name
        self.codes: list[int] = []
        self._start = start
        self._ending = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._keep, name=name, daemon=True)

    def start(self) -> None:
        """Keep it running, from now on."""
        self._thread.start()

    @property
    def pid(self) -> int | None:
        """Of the process that runs now."""
        process = self._process
        return None if process is None or process.poll() is not None else process.pid

    def send(self, number: signal.Signals) -> bool:
        """Send it a signal; whether it was there."""
        process = self._process
        if process is None or process.poll() is not None:
            return False
        process.send_signal(number)
        return True

    def end(self, number: signal.Signals = signal.SIGTERM) -> int | None:
        """Ask it to end, for good. Its exit code."""
        self._ending.set()
        while self._thread.is_alive():  # it may be between two lives
            self.send(number)
            self._thread.join(START_WITHIN_S)
            number = signal.SIGKILL
        return self.codes[-1] if self.codes else None

    def _keep(self) -> None:
        while not self._ending.is_set():
            try:
                self._process = self._start()
            except RuntimeError:  # a database whose last life still holds its memory
                self._ending.wait(0.05)
                continue
            if self._ending.is_set():
                self._process.terminate()
            self.codes.append(self._process.wait())
            self._ending.wait(0.05)


class Census:
    """Counts descendants: what a dead process has left behind for too long is an orphan."""

    def __init__(self, kept: Callable[[], list[Kept]]) -> None:
        self._kept = kept
        self._owners: dict[tuple[int, str], tuple[int, str]] = {}
        self._dead_since: dict[tuple[int, str], float] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._count, name="census", daemon=True)
        self.orphans: set[tuple[int, str]] = set()

    def start(self) -> None:
        """Look a few times a second."""
        self._thread.start()

    def close(self) -> set[tuple[int, str]]:
        """When everything has been ended: the orphans of the whole time, those that are still there killed."""
        self._stop.set()
        self._thread.join()
        deadline = time.monotonic() + _ORPHAN_S
        while (left := {one for one in self._owners if born(one[0]) == one[1]}) and time.monotonic() < deadline:
            time.sleep(0.05)
        self.orphans |= left
        for pid, _ in left:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return self.orphans

    def _count(self) -> None:
        while not self._stop.wait(0.15):
            for kept in self._kept():
                pid = kept.pid
                if pid is not None and (owner := (pid, born(pid)))[1]:
                    self._owners.update(dict.fromkeys(descendants(pid), owner))
            now_s = time.monotonic()
            alive = {owner for owner in self._owners.values() if born(owner[0]) == owner[1]}
            for one, owner in list(self._owners.items()):
                if owner in alive:
                    continue
                if born(one[0]) != one[1]:
                    del self._owners[one]
                elif now_s - self._dead_since.setdefault(owner, now_s) > _ORPHAN_S:
                    self.orphans.add(one)


class House:
    """Everything that runs for one service: the database, the processes, and a look at the tables from outside.

    Attributes:
        faults: folder in which points are armed.
        apis: processes that answer.
        workers: processes that run jobs; the same ones where one does everything.
        store: the database's own process, on PostgreSQL.
    """

    def __init__(self, folder: Path, kind: str, *, split: bool) -> None:
        """Prepare everything, and start PostgreSQL.

        Args:
            folder: empty.
            kind: of the database.
            split: two processes answer and two others run the jobs, of which one stands by; or one does everything.
        """
        self.kind = kind
        self.faults = folder / "faults"
        self.faults.mkdir()
        self._folder = folder
        self._settings = folder / "qpu.toml"
        self._settings.write_text(_SETTINGS.format(workers=1 if split else 2), encoding="utf-8")
        self.postgres = Postgres(fsync="off") if kind == "postgresql" else None  # no power is cut here
        url = None if self.postgres is None else self.postgres.url
        self.config = load_config(self._settings, data=folder, database=url)
        self.database = open_database(self.config)
        self.ports = [_free_port() for _ in range(1 + split)]
        role = ("--no-dispatch",) if split else ()
        self.apis = [self._kept(f"api-{port}", "serve", "--port", str(port), *role) for port in self.ports]
        self.workers = [self._kept(f"work-{number}", "work") for number in range(2)] if split else self.apis
        self.store = Kept("postgres", self._start_postgres)
        self.census = Census(lambda: self.processes)
        self._first_postgres = True

    @property
    def urls(self) -> list[str]:
        """Of the APIs."""
        return [f"http://127.0.0.1:{port}" for port in self.ports]

    @property
    def processes(self) -> list[Kept]:
        """Those of the service."""
        return list(dict.fromkeys([*self.apis, *self.workers]))

    @property
    def dispatching(self) -> Kept:
        """The process that holds the lease of the device, or will."""
        holder = self.read(lambda connection: connection.execute(_HOLDER).scalar_one())
        return next((process for process in self.workers if process.pid == holder), self.workers[0])

    def start(self) -> None:
        """Start everything, and return when the APIs listen."""
        if self.postgres is not None:
            self.store.start()
        for process in self.processes:
            process.start()
        self.census.start()
        for port in self.ports:
            self._await(port)

    def end(self) -> dict[str, int | None]:
        """Have every process of the service end by itself. Their exit codes."""
        return {process.name: process.end() for process in self.processes}

    def close(self) -> None:
        """End what is left, the database too."""
        for process in self.processes:
            process.end(signal.SIGKILL)
        self.database.close()
        if self.postgres is not None:
            self.store.end(signal.SIGINT)
            self.postgres.close()

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """``qpu WORDS`` beside the service, with every point in place."""
        return subprocess.run(  # noqa: S603
            [*self._command(), *words, *self._where()],
            capture_output=True,
            text=True,
            check=False,
            env=self._environment(),
            timeout=START_WITHIN_S,
        )

    def read(self, question: Callable[[Connection], _Answer]) -> _Answer:
        """Ask the database, again and again while it is away."""
        deadline = time.monotonic() + START_WITHIN_S
        while True:
            try:
                with self.database.read() as connection:
                    return question(connection)
            except (SQLAlchemyError, StoreError):
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)

    def errors(self) -> str:
        """The last lines that the processes have written."""
        file = self._folder / "stderr"
        return file.read_text(encoding="utf-8")[-4000:] if file.exists() else ""

    def below(self, *kinds: str) -> list[int]:
        """Processes below those of the service whose command line has one of these words: loky, zygote."""
        below = [one for kept in self.processes if kept.pid is not None for one, _ in descendants(kept.pid)]
        return [pid for pid in below if any(kind in _command_line(pid) for kind in kinds)]

    def backends(self) -> list[int]:
        """Processes of PostgreSQL that serve connections."""
        if self.store.pid is None:
            return []
        return [pid for pid, _ in descendants(self.store.pid) if "postgres qpu" in _command_line(pid)]

    def _await(self, port: int) -> None:
        deadline = time.monotonic() + START_WITHIN_S
        while True:
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                return
            if time.monotonic() > deadline:
                raise RuntimeError(f"the service does not start: {self.errors()}")
            time.sleep(0.02)

    def _kept(self, name: str, *words: str) -> Kept:
        return Kept(name, lambda: self._spawn(*words))

    def _start_postgres(self) -> subprocess.Popen[bytes]:
        assert self.postgres is not None
        if self._first_postgres:
            self._first_postgres = False
        else:
            self.postgres.start()
        assert self.postgres.process is not None
        return self.postgres.process

    def _command(self) -> list[str]:
        return [sys.executable, "-c", _LAUNCH]

    def _where(self) -> list[str]:
        where = ["--config", str(self._settings), "--data", str(self.config.data)]
        return where if self.config.database is None else [*where, "--database", self.config.database]

    def _environment(self) -> Mapping[str, str]:
        path = os.pathsep.join([str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])])
        return os.environ | {FOLDER: str(self.faults), "PYTHONPATH": path, "QPU_LOG_LEVEL": "error"}

    def _spawn(self, *words: str) -> subprocess.Popen[bytes]:
        with (self._folder / "stdout").open("ab") as out, (self._folder / "stderr").open("ab") as errors:
            return subprocess.Popen(  # noqa: S603
                [*self._command(), *words, *self._where()],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=errors,
                env=self._environment(),
            )


_HOLDER = select(schema.devices.c.lease_pid)


def descendants(pid: int) -> list[tuple[int, str]]:
    """(pid, birth) of every process below this one."""
    children: dict[int, list[int]] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal() and (fields := _stat(int(folder.name))):
            children.setdefault(int(fields[1]), []).append(int(folder.name))
    found: list[int] = []
    waiting = [pid]
    while waiting:
        below = children.get(waiting.pop(), [])
        found += below
        waiting += below
    return [(one, birth) for one in found if (birth := born(one))]


def born(pid: int) -> str:
    """When a process started; empty when it is gone or a zombie."""
    fields = _stat(pid)
    return "" if not fields or fields[0] in "ZX" else fields[19]


def _stat(pid: int) -> list[str]:
    """Fields of /proc/pid/stat from the third on; empty when there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return []


def _command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])
