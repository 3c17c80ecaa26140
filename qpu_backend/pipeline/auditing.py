"""Sealing the audit log, by one process at a time, and verifying it.

Rows are sealed in one transaction, and only then is the new head written to the file outside. In this order a crash
between the two leaves rows behind the last head, which prove themselves by their seals; the next start signs them. The
other way round it would leave a head that promises rows which are not there: a false alarm. Until the head is
written, somebody could cut off exactly those rows unseen: milliseconds, or after a crash until the next start.

Two processes never give out the same number: the transaction holds a lock that only one has (SQLite's write lock, an
advisory one on PostgreSQL), reads the end of the chain under it, and numbers are unique in the table besides.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from qpu_backend.domain.audit import SERVICE, START_SEAL, is_genuine, is_signed, resume, seal_all, sign
from qpu_backend.domain.tampering import Finding, verify
from qpu_backend.stores import access, audit
from qpu_backend.stores.errors import MissingRow
from qpu_backend.telemetry.logs import logger

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from sqlalchemy import Connection

    from qpu_backend.domain.audit import Head, Sealed
    from qpu_backend.domain.tenancy import SystemScope
    from qpu_backend.pipeline.audit_heads import HeadFile
    from qpu_backend.pipeline.clocks import WallClock
    from qpu_backend.pipeline.refusals import Refusals
    from qpu_backend.stores.audit import AuditRow, Search
    from qpu_backend.stores.database import Database

SEAL_EVERY_S: Final = 1.0
UNSEALED_LIMIT_US: Final = 60_000_000
"""What waits longer than this to be sealed is a finding."""
_AT_ONCE: Final = 200
"""Rows in one transaction: the write lock of SQLite is wanted by every submission."""
_ENOUGH_ROWS: Final = 100
"""Of these at least one must be of our key."""


class Sealer:
    """Seals what waits, about once a second, in a thread of its own. With nothing to seal it looks and does no more."""

    def __init__(
        self,
        database: Database,
        scope: SystemScope,
        key: bytes,
        heads: HeadFile,
        clock: WallClock,
        refusals: Refusals | None = None,
    ) -> None:
        self._database = database
        self._scope = scope
        self._key = key
        self._heads = heads
        self._clock = clock
        self._refusals = refusals
        self._head: Head | None = None
        self._begun = False
        self._failing = False
        self._told = False
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._log = logger("audit")

    def start(self) -> None:
        """Seal from now on."""
        self._thread = threading.Thread(target=self._run, name="audit-sealer", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Seal what waits, once more, and end."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
            self._turn(last=True)

    def seal(self) -> int:
        """Seal everything that waits. How many rows that were; none while another process does it.

        Raises:
            StoreError: the database cannot serve now.
            OSError: the rows are sealed, and the head could not be written; the next call does.
        """
        with self._lock:
            if not self._begun:
                self._begin()
            sealed = 0
            while True:
                rows = self._seal_some() if sealed or self._waits() else ()
                if rows:
                    self._write_head(rows[-1])
                sealed += len(rows)
                if len(rows) < _AT_ONCE:
                    return sealed

    def _run(self) -> None:
        self._turn()
        while not self._stop.wait(SEAL_EVERY_S):
            self._turn()

    def _turn(self, *, last: bool = False) -> None:
        try:
            self._note_refusals(last=last)
            self.seal()
        except Exception:  # noqa: BLE001 - the database or the disk may be there again in a second
            if not self._failing:
                self._log.exception("audit_not_sealed")
            self._failing = True
        else:
            if self._failing:
                self._log.info("audit_sealed_again")
            self._failing = False

    def _waits(self) -> bool:
        with self._database.read() as connection:
            return audit.has_unsealed(connection, self._scope)

    def _note_refusals(self, *, last: bool) -> None:
        refused = None if self._refusals is None else self._refusals.take(self._clock.now_us(), at_once=last)
        if refused is None or self._refusals is None:
            return
        try:
            with self._database.write() as connection:
                audit.append(
                    connection,
                    self._scope,
                    actor=SERVICE,
                    action="auth.refused",
                    subject="keys",
                    tenant_id=None,
                    facts=refused.facts,
                    now_us=self._clock.now_us(),
                )
        except BaseException:
            self._refusals.put_back(refused)
            raise

    def _begin(self) -> None:
        """Know the last head, and sign what a crash left without one; at the very first, that there is nothing yet."""
        signed = [head for head in self._heads.read() if is_signed(self._key, head)]
        self._head = max(signed, key=lambda head: head.number, default=None)
        with self._database.read() as connection:
            tail = audit.last_sealed(connection, self._scope)
        if tail and is_genuine(self._key, tail[0]):
            self._write_head(tail[0])
        elif not tail and self._head is None:
            self._sign(0, START_SEAL)
        self._begun = True

    def _seal_some(self) -> Sequence[Sealed]:
        with self._database.write() as connection:
            if not audit.lock_chain(connection, self._scope):
                return ()
            entries = audit.unsealed_rows(connection, self._scope, limit=_AT_ONCE)
            if not entries:
                return ()
            place = resume(self._key, self._tail(connection), self._head)
            if place is None:
                self._tell_of_other_key(len(entries))
                return ()
            rows = seal_all(self._key, place, entries)
            audit.seal_rows(connection, self._scope, rows)
        return rows

    def _tail(self, connection: Connection) -> list[Sealed]:
        tail = audit.last_sealed(connection, self._scope)
        if not tail or is_genuine(self._key, tail[0]):
            return tail
        self._log.error("audit_chain_broken", number=tail[0].number)
        return audit.last_sealed(connection, self._scope, limit=_ENOUGH_ROWS)

    def _tell_of_other_key(self, waiting: int) -> None:
        if not self._told:
            self._log.error("audit_key_differs", waiting=waiting)
        self._told = True

    def _write_head(self, row: Sealed) -> None:
        if self._head is None or row.number > self._head.number:
            self._sign(row.number, row.seal)

    def _sign(self, number: int, seal: str) -> None:
        head = sign(self._key, number, seal, self._clock.now_us())
        self._begun = False  # until it is written: after a failure the next turn begins anew
        self._heads.append(head)
        self._begun, self._head = True, head


@dataclass(frozen=True, slots=True)
class Verification:
    """What came of verifying.

    Attributes:
        rows: sealed rows that were checked.
        heads: lines of the head files.
        unsealed: rows that wait to be sealed.
        findings: everything that is wrong.
    """

    rows: int
    heads: int
    unsealed: int
    findings: Sequence[Finding]

    @property
    def clean(self) -> bool:
        return not self.findings


class Auditor:
    """Reads the audit log, and verifies it. Changes nothing."""

    def __init__(self, database: Database, scope: SystemScope, key: bytes, clock: WallClock) -> None:
        self._database = database
        self._scope = scope
        self._key = key
        self._clock = clock

    def rows(self, search: Search, *, cursor: str | None = None, limit: int = 100) -> tuple[list[AuditRow], str | None]:
        """A page of rows, newest first, and the cursor of the next.

        Raises:
            InvalidCursor: the cursor is not one that a page before this gave out.
        """
        with self._database.read() as connection:
            return audit.list_rows(connection, self._scope, search, cursor=cursor, limit=limit)

    def tenant_id(self, name: str) -> str:
        """The id of the tenant of that name.

        Raises:
            MissingRow: there is none.
        """
        with self._database.read() as connection:
            tenant = access.find_tenant(connection, self._scope, name)
        if tenant is None:
            raise MissingRow("tenant", name)
        return tenant.id

    def verify(self, files: Iterable[HeadFile], *, unsealed_limit_us: int = UNSEALED_LIMIT_US) -> Verification:
        """Check every row against the chain and every head against the rows.

        Args:
            files: of heads, of every machine that has sealed.
            unsealed_limit_us: a row that waits longer is a finding.
        """
        heads = [head for file in files for head in file.read()]  # before the rows: a head never comes before its row
        read = 0

        def counted(rows: Iterator[Sealed]) -> Iterator[Sealed]:
            nonlocal read
            for row in rows:
                read += 1
                yield row

        with self._database.read() as connection:
            unsealed = audit.unsealed_rows(connection, self._scope)
            findings = verify(
                self._key,
                counted(audit.sealed_rows(connection, self._scope)),
                heads,
                unsealed=unsealed,
                now_us=self._clock.now_us(),
                unsealed_limit_us=unsealed_limit_us,
            )
        return Verification(read, len(heads), len(unsealed), findings)
