"""One door to SQLite or PostgreSQL: ``read()`` never takes the write lock, ``write()`` is one transaction.

Lock order, for every transaction that takes several locks (PostgreSQL; SQLite has one write lock for all):

    device → jobs → sessions → limits → quota_windows → fair_share → tenants        each by ascending id

Events are therefore appended last: they lock the tenants' rows, which every submission of a tenant needs, for the
shortest time.
"""

from __future__ import annotations

import sqlite3
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, final

from sqlalchemy import (
    URL,
    Connection,
    Engine,
    Executable,
    create_engine,
    event,
    make_url,
    select,
)
from sqlalchemy.exc import IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import QueuePool

from qpu_backend.stores.errors import DatabaseBusy
from qpu_backend.stores.expressions import DatabaseClock

if TYPE_CHECKING:
    from collections.abc import Generator

BUSY_TIMEOUT_S: Final = 30.0
_CONNECTIONS: Final = 16
_UNIQUE_VIOLATION: Final = "23505"
"""PostgreSQL's code."""
_WAL_RETRY_S: Final = 0.01
_STATEMENTS: Final = 256
"""Prepared statements each SQLite connection keeps; the stores have about a hundred."""


@final
class Database:
    """A database and its connections. Thread-safe; a connection it hands out belongs to one thread."""

    def __init__(self, readers: Engine, writers: Engine) -> None:
        self._readers = readers
        self._writers = writers

    @classmethod
    def open(cls, url: str, *, durable: bool = True) -> Database:
        """Connect; creates the file of a new SQLite database, but no tables (see :func:`migrations.migrate`).

        Args:
            url: ``sqlite:////absolute/path.db`` or ``postgresql://user@host/name``.
            durable: whether a committed transaction survives a power cut. Killing the process never loses one.

        Raises:
            ValueError: another kind of database, or an in-memory one (its connections would each see their own).
        """
        parsed = make_url(url)
        match parsed.get_backend_name():
            case "sqlite":
                return _open_sqlite(parsed, durable=durable)
            case "postgresql":
                return _open_postgresql(parsed, durable=durable)
            case other:
                raise ValueError(f"databases are sqlite:// or postgresql:// addresses, not {other}://")

    @property
    def dialect(self) -> str:
        """``sqlite`` or ``postgresql``."""
        return self._writers.dialect.name

    @contextmanager
    def read(self) -> Generator[Connection, None, None]:
        """A consistent picture of the database as it is now. Writing through it fails."""
        with self._readers.connect() as connection:
            yield connection

    @contextmanager
    def write(self) -> Generator[Connection, None, None]:
        """One transaction: committed at the end of the block, rolled back if it raises. Nobody else calls ``commit``.

        Raises:
            DatabaseBusy: the write lock was not free within the busy timeout.
        """
        try:
            connection = self._writers.connect()
        except PoolTimeout as error:
            raise DatabaseBusy("every connection for writing was busy for too long") from error
        with connection:
            try:
                transaction = connection.begin()
            except sqlite3.OperationalError as error:
                raise DatabaseBusy("another process held the write lock for too long") from error
            with transaction:
                yield connection

    def close(self) -> None:
        """Close every idle connection. Connections in use are closed when they come back."""
        self._readers.dispose()
        self._writers.dispose()


def now_us(connection: Connection) -> int:
    """The database's wall clock, µs since 1970: the only clock that leases look at (ms resolution on SQLite)."""
    return int(connection.execute(_NOW).scalar_one())


def is_duplicate(error: IntegrityError) -> bool:
    """Whether a row was refused because a unique one like it exists, and not for another broken constraint."""
    if isinstance(error.orig, sqlite3.IntegrityError):
        return error.orig.sqlite_errorname in {"SQLITE_CONSTRAINT_UNIQUE", "SQLITE_CONSTRAINT_PRIMARYKEY"}
    return getattr(error.orig, "sqlstate", None) == _UNIQUE_VIOLATION


# --- SQLite -------------------------------------------------------------------------------------------------------


def _open_sqlite(url: URL, *, durable: bool) -> Database:
    if url.database in {None, "", ":memory:"} or "memory" in url.query.get("mode", ()):
        raise ValueError("an in-memory SQLite database cannot be shared between connections; name a file")
    readers = _sqlite_engine(url, durable=durable, size=_CONNECTIONS, begin="BEGIN")
    # One connection for writing: threads of this process queue for it in the pool, without SQLite's polling.
    writers = _sqlite_engine(url, durable=durable, size=1, begin="BEGIN IMMEDIATE")
    return Database(readers, writers)


def _sqlite_engine(url: URL, *, durable: bool, size: int, begin: str) -> Engine:
    writing = begin == "BEGIN IMMEDIATE"
    engine = create_engine(
        url.set(drivername="sqlite+pysqlite"),
        poolclass=QueuePool,
        hide_parameters=True,  # they hold payloads, and errors are logged
        pool_size=size,
        max_overflow=0 if writing else size,
        pool_timeout=BUSY_TIMEOUT_S,
        connect_args={
            "isolation_level": None,  # transactions begin where we say BEGIN, not where sqlite3 guesses
            "check_same_thread": False,
            "timeout": BUSY_TIMEOUT_S,
            "cached_statements": _STATEMENTS,
        },
    )

    def prepare(connection: sqlite3.Connection, _record: object) -> None:
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'OFF'}")
        if writing:
            _write_ahead(connection)
        else:
            connection.execute("PRAGMA query_only = ON")

    def start(connection: Connection) -> None:
        raw: Any = connection.connection.driver_connection  # past SQLAlchemy: this runs for every read and every write
        raw.execute(begin)

    event.listen(engine, "connect", prepare)
    event.listen(engine, "begin", start)
    return engine


def _write_ahead(connection: sqlite3.Connection) -> None:
    """Switch to a write-ahead log. Unlike all else SQLite does not wait with this for other connections, so we do."""
    deadline_s = time.monotonic() + BUSY_TIMEOUT_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError:
            if time.monotonic() > deadline_s:
                raise
            time.sleep(_WAL_RETRY_S)
        else:
            return


# --- PostgreSQL ---------------------------------------------------------------------------------------------------


def _open_postgresql(url: URL, *, durable: bool) -> Database:
    readers = _postgresql_engine(url, durable=durable, writing=False)
    writers = _postgresql_engine(url, durable=durable, writing=True)
    return Database(readers, writers)


def _postgresql_engine(url: URL, *, durable: bool, writing: bool) -> Engine:
    # A reader sees one snapshot for all its statements, as on SQLite; a writer sees what others committed before it got
    # its locks.
    settings = ["default_transaction_isolation=" + (r"read\ committed" if writing else r"repeatable\ read")]
    settings.append(f"default_transaction_read_only={'off' if writing else 'on'}")
    if not durable:
        settings.append("synchronous_commit=off")
    return create_engine(
        url.set(drivername="postgresql+psycopg"),
        poolclass=QueuePool,
        hide_parameters=True,  # they hold payloads, and errors are logged
        pool_size=_CONNECTIONS,
        max_overflow=_CONNECTIONS,
        pool_timeout=BUSY_TIMEOUT_S,
        pool_pre_ping=True,
        connect_args={"options": " ".join(f"-c {setting}" for setting in settings)},
    )


_NOW: Final[Executable] = select(DatabaseClock())
