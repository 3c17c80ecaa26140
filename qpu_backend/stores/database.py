"""One door to SQLite or PostgreSQL: ``read()`` never takes the write lock, ``write()`` is one transaction.

Lock order, for every transaction that takes several locks (PostgreSQL; SQLite has one write lock for all):

    device → jobs → sessions → limits → quota_windows → rate_limits → fair_share → tenants    each by ascending id

A submission of a tenant close to its queue's limit takes the tenant's advisory lock
(:func:`~qpu_backend.stores.fairness.lock_tenant_queue`) between fair_share and tenants.

A transaction of several tenants (submissions that are admitted together) takes each of these locks for all of them
before the next one.

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
from sqlalchemy.exc import DBAPIError, IntegrityError, InvalidatePoolError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import NullPool, QueuePool

from qpu_backend.stores.errors import DatabaseBusy, DatabaseTrouble
from qpu_backend.stores.expressions import DatabaseClock
from qpu_backend.stores.trouble import trouble_of

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from sqlalchemy import PoolProxiedConnection

BUSY_TIMEOUT_S: Final = 10.0
_STUCK_S: Final = 2.0
"""While one writer waits for the lock that long, others are refused at once: they would only hold the threads that
answer readers."""
_RECENTLY_S: Final = 10.0
_NETWORK: Final[dict[str, int]] = {
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
}
"""What libpq does about a server that no longer answers: seconds, and ms for data that nobody acknowledges."""
_IDLE_IN_TRANSACTION_S: Final = 10
"""PostgreSQL ends a transaction that does nothing for so long: a process that was stopped in the middle of one would
hold its locks until it goes on."""
_CONNECTIONS: Final = 16
_UNIQUE_VIOLATION: Final = "23505"
"""PostgreSQL's code."""
_WAL_RETRY_S: Final = 0.01
_TRUSTED_IDLE_S: Final = 0.5
"""A connection to PostgreSQL that was used so recently is used again without asking whether it still lives: under load
hardly one rests longer. Of a server that went away in that time the first statement tells."""
_STATEMENTS: Final = 256
"""Prepared statements each SQLite connection keeps; the stores have about a hundred."""


@final
class Database:
    """A database and its connections. Thread-safe; a connection it hands out belongs to one thread."""

    def __init__(self, readers: Engine, writers: Engine, apart: Engine, lookers: Engine | None = None) -> None:
        self._readers = readers
        self._lookers = lookers or readers
        self._writers = writers
        self._apart = apart
        self._begins_s: float | None = None
        self._trouble: tuple[float, DatabaseTrouble] | None = None
        self._observe: Callable[[DatabaseTrouble], None] = _unobserved

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
        """A consistent picture of the database as it is now. Writing through it fails.

        Raises:
            DatabaseTrouble: the database cannot serve now.
        """
        with self._telling(), self._readers.connect() as connection:
            yield connection

    @contextmanager
    def look(self) -> Generator[Connection, None, None]:
        """As :meth:`read`, but on PostgreSQL each statement sees the database as it is at its own time, and costs less.

        Raises:
            DatabaseTrouble: the database cannot serve now.
        """
        with self._telling(), self._lookers.connect() as connection:
            yield connection

    @contextmanager
    def write(self) -> Generator[Connection, None, None]:
        """One transaction: committed at the end of the block, rolled back if it raises. Nobody else calls ``commit``.

        Raises:
            DatabaseBusy: the write lock was not free within the busy timeout, or has not been for a while.
            DatabaseTrouble: the database cannot serve now.
        """
        with self._telling():
            self._check_not_stuck()
            with self._writers.connect() as connection:
                self._begins_s = self._begins_s or time.monotonic()
                with connection.begin():
                    self._begins_s = None
                    yield connection
        self._trouble = None

    @contextmanager
    def _telling(self) -> Generator[None, None, None]:
        """What a driver raises because the database cannot serve, as our own error."""
        try:
            yield
        except PoolTimeout as error:
            raise self._noted(DatabaseBusy("every connection to the database was busy for too long")) from error
        except (DBAPIError, sqlite3.Error) as error:
            trouble = trouble_of(error)
            if trouble is None:
                raise
            raise self._noted(trouble) from error

    def _check_not_stuck(self) -> None:
        """On SQLite: one thread at a time waits for a lock that another process does not give back."""
        began_s = self._begins_s
        if began_s is None or self.dialect != "sqlite" or time.monotonic() - began_s < _STUCK_S:
            return
        if self._writers.pool.checkedout():  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
            raise self._noted(DatabaseBusy("another process holds the write lock of the database; nothing was stored"))

    def _noted(self, trouble: DatabaseTrouble) -> DatabaseTrouble:
        self._trouble = (time.monotonic(), trouble)
        self._observe(trouble)
        return trouble

    @property
    def trouble(self) -> DatabaseTrouble | None:
        """What the database could not do just now, unless it has written since."""
        noted = self._trouble
        return noted[1] if noted is not None and time.monotonic() - noted[0] < _RECENTLY_S else None

    def observe_trouble(self, observer: Callable[[DatabaseTrouble], None]) -> None:
        """From now on tell an observer of every trouble; it is called by whoever meets it, and must not wait."""
        self._observe = observer

    def apart(self) -> PoolProxiedConnection:
        """A driver's connection in no pool and in no transaction, for what is no query. The caller closes it.

        Raises:
            DatabaseTrouble: the database cannot serve now.
        """
        with self._telling():
            return self._apart.raw_connection()

    def foreign_version(self) -> int:
        """SQLite: a number that changes when another process has written, and not when this one has."""
        with self._telling():
            connection = self._writers.raw_connection()  # all that this process writes goes through this connection
            try:
                cursor = connection.cursor()
                cursor.execute("PRAGMA data_version")
                return int(cursor.fetchall()[0][0])
            finally:
                connection.close()

    def close(self) -> None:
        """Close every idle connection. Connections in use are closed when they come back."""
        self._readers.dispose()
        self._writers.dispose()
        self._apart.dispose()


def _unobserved(_: DatabaseTrouble) -> None:
    pass


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
    apart = create_engine(
        writers.url, poolclass=NullPool, connect_args={"isolation_level": None, "check_same_thread": False}
    )
    return Database(readers, writers, apart)


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
    apart = create_engine(
        writers.url,
        poolclass=NullPool,
        connect_args={
            "autocommit": True,
            **_NETWORK,
            "options": "-c synchronous_commit=off",
        },
    )
    return Database(readers, writers, apart, readers.execution_options(isolation_level="AUTOCOMMIT"))


def _postgresql_engine(url: URL, *, durable: bool, writing: bool) -> Engine:
    # A reader sees one snapshot for all its statements, as on SQLite; a writer sees what others committed before it got
    # its locks.
    settings = ["default_transaction_isolation=" + (r"read\ committed" if writing else r"repeatable\ read")]
    settings.append(f"default_transaction_read_only={'off' if writing else 'on'}")
    settings.append(f"lock_timeout={round(1000 * BUSY_TIMEOUT_S)}")
    settings.append(f"idle_in_transaction_session_timeout={1000 * _IDLE_IN_TRANSACTION_S}")
    if not durable:
        settings.append("synchronous_commit=off")
    engine = create_engine(
        url.set(drivername="postgresql+psycopg"),
        poolclass=QueuePool,
        hide_parameters=True,  # they hold payloads, and errors are logged
        pool_size=_CONNECTIONS,
        max_overflow=_CONNECTIONS,
        pool_timeout=BUSY_TIMEOUT_S,
        pool_use_lifo=True,  # few that are warm, with their statements prepared, and not all of them in turn
        connect_args={
            "options": " ".join(f"-c {setting}" for setting in settings),
            **_NETWORK,
        },
    )
    _ask_idle_ones(engine)
    return engine


def _ask_idle_ones(engine: Engine) -> None:
    """Try a connection that has been idle for a while before it is used; under load every try would be for nothing."""

    def rest(_connection: object, record: Any) -> None:
        record.info["idle_since_s"] = time.monotonic()

    def check(connection: Any, record: Any, _proxy: object) -> None:
        since_s = record.info.get("idle_since_s")
        if since_s is None or time.monotonic() - since_s < _TRUSTED_IDLE_S:
            return
        try:
            engine.dialect.do_ping(connection)
        except engine.dialect.loaded_dbapi.Error as error:
            raise InvalidatePoolError from error  # the pool opens another one, and uses none that is as old

    event.listen(engine, "checkin", rest)
    event.listen(engine, "checkout", check)


_NOW: Final[Executable] = select(DatabaseClock())
