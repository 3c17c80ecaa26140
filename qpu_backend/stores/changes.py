"""What the database itself tells of other processes: LISTEN and NOTIFY on PostgreSQL, the data version on SQLite.

Each is a connection of its own and belongs to one thread. What comes through here is a hint; the tables are the truth.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, final

from qpu_backend.stores.errors import DatabaseGone

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from qpu_backend.stores.database import Database

_CHANNEL: Final = "qpu"
_MAX_MESSAGE_BYTES: Final = 7900
"""PostgreSQL takes less than 8000."""


@final
class DataVersion:
    """SQLite: whether somebody else has written since it was asked last."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._proxied = database.apart()
        self._connection: Any = self._proxied.driver_connection
        self._anybody = self._version()
        self._others = database.foreign_version()

    def others_wrote(self) -> bool:
        """Costs some µs where nobody has written; only otherwise the connection for writing is asked who it was.

        Raises:
            DatabaseTrouble: it cannot be asked now.
        """
        anybody = self._version()
        if anybody == self._anybody:
            return False
        self._anybody = anybody
        before, self._others = self._others, self._database.foreign_version()
        return self._others != before

    def close(self) -> None:
        self._proxied.invalidate()

    def _version(self) -> int:
        cursor = self._connection.cursor()
        cursor.execute("PRAGMA data_version")
        (version,) = cursor.fetchone()
        cursor.close()
        return int(version)


@final
class Channel:
    """PostgreSQL: a line on which every process hears what any of them says."""

    def __init__(self, database: Database, *, listening: bool) -> None:
        """Connect.

        Raises:
            DatabaseTrouble: the database cannot be reached.
        """
        self._proxied = database.apart()
        self._connection: Any = self._proxied.driver_connection  # psycopg's; loaded by SQLAlchemy where it is needed
        if listening:
            self._connection.execute(f"LISTEN {_CHANNEL}")

    def say(self, messages: Sequence[str]) -> None:
        """Tell everybody who listens.

        Raises:
            DatabaseGone: the connection is lost.
        """
        try:
            with self._connection.pipeline():
                for message in messages:
                    self._connection.execute("SELECT pg_notify(%s, %s)", (_CHANNEL, message))
        except Exception as error:
            raise DatabaseGone("the connection on which hints are said was lost") from error

    def hear(self, seconds: float) -> list[str]:
        """What was said, as soon as anything is, and at most so much later.

        Raises:
            DatabaseGone: the connection is lost; what was said meanwhile is too.
        """
        try:
            return [notify.payload for notify in self._connection.notifies(timeout=seconds, stop_after=1)]
        except Exception as error:
            raise DatabaseGone("the connection on which hints are heard was lost") from error

    def close(self) -> None:
        self._proxied.invalidate()  # ends it without a word: the other side may be gone


def messages_of(head: str, lines: Iterable[str]) -> list[str]:
    """The lines in as few messages as they fit into, each with the head as its first line."""
    messages: list[str] = []
    message = head
    for line in lines:
        if len(message) + len(line) + 1 > _MAX_MESSAGE_BYTES:
            messages.append(message)
            message = head
        message += "\n" + line
    return [*messages, message] if message != head else messages
