"""What takes long to make and many tests may share: a zygote that has imported Qiskit, a database with all tables."""

from __future__ import annotations

import tempfile
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from qpu_backend.engines import decoding_pool
from qpu_backend.engines.executors import LocalExecutor
from qpu_backend.engines.nursery import Nursery
from qpu_backend.stores.database import Database
from qpu_backend.stores.migrations import history

if TYPE_CHECKING:
    from collections.abc import Iterator


class SharedNursery(Nursery):
    """Outlives the pools that use it: a pool that is closed lets go of its own children only."""

    def close(self) -> None:
        pass

    def end(self) -> None:
        super().close()


@contextmanager
def shared_zygotes() -> Iterator[None]:
    """In the block services of this process have one zygote for each kind of child, instead of one each."""
    shared: dict[object, SharedNursery] = {}

    def nursery(*, wall_s: float, memory_bytes: int, compiling: bool = False, started: bool = True) -> SharedNursery:
        kind = (wall_s, memory_bytes, compiling)
        if kind not in shared:
            shared[kind] = SharedNursery(wall_s=wall_s, memory_bytes=memory_bytes, compiling=compiling, started=started)
        return shared[kind]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decoding_pool, "Nursery", nursery)
        yield
    for one in shared.values():
        one.end()


class SharedWorkers(LocalExecutor):
    """One worker process that outlives the services that use it."""

    def __init__(self) -> None:
        super().__init__(1)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        pass

    def end(self) -> None:
        super().shutdown(cancel_futures=True)


@contextmanager
def own_zygotes() -> Iterator[None]:
    """In the block every service starts one for itself, as outside of tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decoding_pool, "Nursery", Nursery)
        yield


def migrate(url: str) -> None:
    """Make all tables in the database at this address."""
    database = Database.open(url, durable=False)
    history.migrate(database)
    database.close()


@cache
def _tables() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "migrated.db"
        migrate(f"sqlite:///{path}")
        return path.read_bytes()


def put_tables(path: Path) -> Path:
    """A SQLite file with all tables and no row, unless there is a file already."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        path.write_bytes(_tables())
    return path
