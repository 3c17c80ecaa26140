"""Which errors of a driver mean that the database cannot serve now: locked, full or gone, and not that we are wrong."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Final

from qpu_backend.stores.errors import DatabaseBusy, DatabaseFull, DatabaseGone, DatabaseTrouble

if TYPE_CHECKING:
    from sqlalchemy.exc import DBAPIError

_LOCKED: Final = "another process held a lock of the database for too long; nothing was stored"
_FULL: Final = "there is no room left where the database is; nothing was stored"
_GONE: Final = "the database does not answer now"

_OF_SQLITE: Final[dict[int, tuple[type[DatabaseTrouble], str]]] = {
    sqlite3.SQLITE_BUSY: (DatabaseBusy, _LOCKED),
    sqlite3.SQLITE_LOCKED: (DatabaseBusy, _LOCKED),
    sqlite3.SQLITE_FULL: (DatabaseFull, _FULL),
    sqlite3.SQLITE_IOERR: (DatabaseGone, _GONE),
    sqlite3.SQLITE_CANTOPEN: (DatabaseGone, _GONE),
}
"""Primary result codes: the low byte of what SQLite says."""

_OF_POSTGRESQL: Final[dict[str, tuple[type[DatabaseTrouble], str]]] = {
    "53100": (DatabaseFull, _FULL),  # disk_full
    "53": (DatabaseBusy, "the database has no connection or memory to spare now; nothing was stored"),
    "55P03": (DatabaseBusy, _LOCKED),  # lock_not_available
    "40P01": (DatabaseBusy, _LOCKED),  # deadlock_detected
    "40001": (DatabaseBusy, _LOCKED),  # serialization_failure
    "25P03": (DatabaseGone, _GONE),  # idle_in_transaction_session_timeout
    "57P": (DatabaseGone, _GONE),  # shut down, crashed, or starting
    "08": (DatabaseGone, _GONE),  # connection exceptions
}
"""By what SQLSTATE begins with."""


def trouble_of(error: DBAPIError | sqlite3.Error) -> DatabaseTrouble | None:
    """The trouble that a driver's error tells of; ``None`` where the statement itself was wrong."""
    cause = error if isinstance(error, sqlite3.Error) else error.orig
    if isinstance(cause, sqlite3.Error):
        kind = _OF_SQLITE.get(getattr(cause, "sqlite_errorcode", 0) & 0xFF)
    else:
        state = getattr(cause, "sqlstate", None) or ""
        kind = next((kind for begin, kind in _OF_POSTGRESQL.items() if state.startswith(begin)), None)
    if kind is None and not isinstance(error, sqlite3.Error) and (error.connection_invalidated or _unconnected(error)):
        kind = (DatabaseGone, _GONE)
    return None if kind is None else kind[0](kind[1])


def _unconnected(error: DBAPIError) -> bool:
    """No connection could be made: the driver says no SQLSTATE then, and SQLAlchemy has no statement."""
    return error.statement is None and type(error.orig).__name__ in {"OperationalError", "ConnectionTimeout"}
