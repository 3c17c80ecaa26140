"""The schema's history: forward only, applied in one transaction, refusing a database from a newer release."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sqlalchemy import column as sql_column
from sqlalchemy import func, inspect, select, table

from qpu_backend.stores.errors import SchemaMissing, SchemaTooNew

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from qpu_backend.stores.database import Database

REVISIONS: Final = ("0001", "0002", "0003")
"""Every revision, oldest first. A file in ``versions/`` for each; a test compares."""

_ALEMBIC: Final = threading.Lock()
"""What alembic works on is global to the process; two databases are migrated one after the other."""
_ADVISORY_LOCK: Final = 0x71_70_75  # "qpu"
_VERSION: Final = table("alembic_version", sql_column("version_num"))


def migrate(database: Database) -> None:
    """Bring a database to the schema of this release. Costs one small query where nothing is to be done.

    Raises:
        SchemaTooNew: the database has a revision this release does not know; nothing was changed.
    """
    with database.read() as connection:
        if _known_revision(connection) == REVISIONS[-1]:
            return
    with database.write() as connection:
        if connection.dialect.name == "postgresql":  # SQLite's write lock does this already
            connection.execute(select(func.set_config("lock_timeout", "0", True)))  # however long another one takes
            connection.execute(select(func.set_config("idle_in_transaction_session_timeout", "0", True)))
            connection.execute(select(func.pg_advisory_xact_lock(_ADVISORY_LOCK)))
        if _known_revision(connection) != REVISIONS[-1]:  # nobody else was faster
            _upgrade(connection)


def require_current(connection: Connection) -> None:
    """Check that the database has this release's schema.

    Raises:
        SchemaMissing: it is older, or empty.
        SchemaTooNew: it is newer.
    """
    found = _known_revision(connection)
    if found != REVISIONS[-1]:
        raise SchemaMissing(found=found, wanted=REVISIONS[-1])


def _known_revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table(_VERSION.name):
        return None
    found = connection.execute(select(_VERSION.c.version_num)).scalar_one_or_none()
    if found is not None and found not in REVISIONS:
        raise SchemaTooNew(found=found, known=REVISIONS[-1])
    return found


def _upgrade(connection: Connection) -> None:
    # Deferred: only needed where there is something to migrate, and slower to load than the rest of a start.
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.attributes["connection"] = connection
    with _ALEMBIC:
        command.upgrade(config, REVISIONS[-1])
