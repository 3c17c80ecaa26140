"""How every test runs, and a real PostgreSQL from a wheel for those that want one."""

from __future__ import annotations

import itertools
import os
import tempfile
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings
from postgres import Postgres
from warm import migrate, own_zygotes, shared_zygotes

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psycopg

settings.register_profile("house", deadline=None, print_blob=True, max_examples=40)  # no law fails on a busy machine
settings.register_profile("thorough", settings.get_profile("house"), max_examples=250)
settings.load_profile("house")

_STATE = tempfile.TemporaryDirectory(prefix="qpu-state-")
os.environ["XDG_STATE_HOME"] = _STATE.name  # what tests journal is none of whoever runs them


@dataclass
class PostgresServer:
    """A server, and a database of its own for everybody who asks."""

    server: Postgres
    admin: psycopg.Connection[Any]
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def new_database(self, *, tables: bool = False) -> str:
        """Name of a new database without any row, and without tables unless they are asked for."""
        name = f"test_{next(self.numbers)}"
        self.admin.execute(f"CREATE DATABASE {name} TEMPLATE {self.migrated if tables else 'template0'}")
        return name

    @cached_property
    def migrated(self) -> str:
        """Name of a database with all tables, which nobody uses: copying it is quicker than making it."""
        name = self.new_database()
        migrate(self.url(name))
        return name

    def drop(self, name: str) -> None:
        self.admin.execute(f"DROP DATABASE {name} WITH (FORCE)")

    def url(self, name: str) -> str:
        return self.server.url_of(name)


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    server = Postgres(fsync="off")
    try:
        with server.connect() as admin:
            yield PostgresServer(server, admin)
    finally:
        server.close()


@pytest.fixture(scope="session", autouse=True)
def zygotes() -> Iterator[None]:
    """Services in this process share what has imported Qiskit."""
    with shared_zygotes():
        yield


@pytest.fixture(name="own_zygotes")
def fixture_own_zygotes() -> Iterator[None]:
    """For tests of zygotes themselves."""
    with own_zygotes():
        yield
