"""A service's audit log without the service: rows, seals and heads, and hands that spoil them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from qpu_backend.bootstrap import SYSTEM, open_auditor, open_database, open_sealer
from qpu_backend.domain.audit import CLI
from qpu_backend.pipeline.audit_heads import HeadFile
from qpu_backend.stores import audit
from qpu_backend.stores.schema_access import audit_log

if TYPE_CHECKING:
    from pathlib import Path

    from qpu_backend.config import ServiceConfig
    from qpu_backend.domain.tampering import Kind
    from qpu_backend.pipeline.auditing import Sealer, Verification
    from qpu_backend.stores.database import Database

NOW_US = 1_780_000_000_000_000


class Log:
    """A service's audit log, without the service."""

    def __init__(self, config: ServiceConfig) -> None:
        self.config = config
        self.database = open_database(config, durable=False)
        self.sealer = self.new_sealer()
        self.heads = HeadFile(config.audit_heads_file)

    def new_sealer(self, database: Database | None = None) -> Sealer:
        """As another process would have it."""
        return open_sealer(self.config, database or self.database, durable=False)

    def add(self, *actions: str, database: Database | None = None) -> None:
        with (database or self.database).write() as connection:
            for action in actions:
                row = {"actor": CLI, "action": action, "subject": "x", "tenant_id": None, "facts": {"of": action}}
                audit.append(connection, SYSTEM, now_us=NOW_US, **row)

    def sealed(self, *actions: str) -> None:
        self.add(*actions)
        assert self.sealer.seal() == len(actions)

    def spoil(self, statement: Any, **values: Any) -> None:
        with self.database.write() as connection:
            assert connection.execute(statement, values).rowcount

    def verify(self, *files: Path) -> Verification:
        heads = [HeadFile(file) for file in files] or [self.heads]
        return open_auditor(self.config, self.database).verify(heads)

    def found(self) -> list[tuple[Kind, int | None]]:
        return [(one.kind, one.number) for one in self.verify().findings]

    def numbers(self) -> list[int | None]:
        with self.database.read() as connection:
            return list(connection.execute(select(audit_log.c.number).order_by(audit_log.c.number)).scalars())
