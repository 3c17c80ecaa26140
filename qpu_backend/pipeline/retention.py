"""Archiving: what ended long enough ago goes to a file, is on disk there, and only then is forgotten by the database.

In this order a crash between the two leaves a job in both places: it is archived again, into another file, and nothing
is lost. The database is written in small transactions, so that submissions never wait long.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy.exc import IntegrityError

from qpu_backend.domain.audit import SERVICE
from qpu_backend.pipeline.archives import ArchiveBusy, ArchiveFile, alone_in
from qpu_backend.stores import audit, blobs, events, retention
from qpu_backend.stores.errors import CorruptBlob, MissingBlob
from qpu_backend.stores.retention import Due
from qpu_backend.telemetry.logs import logger

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from qpu_backend.domain.retention import Retention
    from qpu_backend.domain.tenancy import SystemScope
    from qpu_backend.pipeline.clocks import WallClock
    from qpu_backend.stores.database import Database
    from qpu_backend.stores.retention import Ended

EVERY_S: Final = 3600.0
_FIRST_S: Final = 60.0
"""After the start: a service that restarts has better things to do at first."""
_ARCHIVE_VERSION: Final = 1
_TRIES: Final = 2


@dataclass(frozen=True, slots=True)
class Pass:
    """What one pass did, or would do.

    Attributes:
        jobs: archived whole.
        records: jobs whose execution records were archived.
        skipped: jobs left as they are, because bytes of theirs are damaged or were being named anew.
        freed_bytes: that the database holds less.
        written_bytes: in the archive file.
        file: the archive file; ``None`` where nothing was written.
    """

    jobs: int = 0
    records: int = 0
    skipped: int = 0
    freed_bytes: int = 0
    written_bytes: int = 0
    file: Path | None = None


class Archivist:
    """Archives what is due: once an hour in a thread of its own, or when an operator asks."""

    def __init__(
        self,
        database: Database,
        scope: SystemScope,
        clock: WallClock,
        rule: Retention,
        folder: Path,
        *,
        at_once: int,
    ) -> None:
        """Nothing runs yet.

        Args:
            database: what is kept.
            scope: proof that the service itself asks.
            clock: wall time.
            rule: how long things are kept.
            folder: where archive files go.
            at_once: jobs in one transaction.
        """
        self._database = database
        self._scope = scope
        self._clock = clock
        self._rule = rule
        self._folder = folder
        self._at_once = at_once
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._log = logger("retention")

    # --- life ------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Archive once an hour from now on, if anything is ever to be archived."""
        if self._rule.limited:
            self._thread = threading.Thread(target=self._serve, name="archivist", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """End after the job and the transaction of now."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()

    def _serve(self) -> None:
        wait_s = _FIRST_S
        while not self._stopping.wait(wait_s):
            wait_s = EVERY_S
            try:
                self.run(actor=SERVICE)
            except ArchiveBusy:
                self._log.info("archive_busy", folder=str(self._folder))
            except Exception:  # noqa: BLE001 - a full disk, a database that does not answer: the next pass tries again
                self._log.exception("archiving_failed", folder=str(self._folder))

    # --- one pass --------------------------------------------------------------------------------------------------

    def run(self, *, actor: str, dry_run: bool = False) -> Pass:
        """Archive everything that is due.

        Args:
            actor: who asks, for the audit log.
            dry_run: only count it.

        Raises:
            ArchiveBusy: another process is at it.
            OSError: the archive cannot be written; what is not in it has not been forgotten.
        """
        done = Pass()
        if dry_run:
            for due, chunk in self._chunks():
                done = _with(done, due, len(chunk))
            return done
        with alone_in(self._folder):
            file = ArchiveFile(self._folder, self._clock.now_us())
            try:
                for due, chunk in self._chunks():
                    done = self._archive(due, chunk, file, done, actor)
            finally:
                file.close()
        if done.file is not None:
            self._log.info(
                "jobs_archived", jobs=done.jobs, records=done.records, file=done.file.name, freed_bytes=done.freed_bytes
            )
        return done

    def _chunks(self) -> Iterator[tuple[Due, list[Ended]]]:
        """What is due, in the order of its end, as much as one transaction takes."""
        now_us = self._clock.now_us()
        limits = (
            (Due.EVERYTHING, self._rule.results_of_before_us(now_us)),
            (Due.RECORDS, self._rule.records_of_before_us(now_us)),
        )
        for due, before_us in limits:
            after = retention.BEGINNING
            while before_us is not None and not self._stopping.is_set():
                with self._database.read() as connection:
                    chunk = retention.due_jobs(
                        connection, self._scope, due, ended_before_us=before_us, after=after, limit=self._at_once
                    )
                if not chunk:
                    break
                after = (chunk[-1].finished_at_us, chunk[-1].id)
                yield due, chunk

    def _archive(self, due: Due, chunk: Sequence[Ended], file: ArchiveFile, done: Pass, actor: str) -> Pass:
        now_us = self._clock.now_us()
        written: list[str] = []
        size = skipped = 0
        for job in chunk:
            if self._stopping.is_set():
                break
            entry = self._entry_of_job(job.id, due, now_us)
            if entry is None:
                skipped += 1
                continue
            size += file.add(entry)
            written.append(job.id)
        done = replace(done, skipped=done.skipped + skipped)
        if not written:
            return done
        with self._database.read() as connection:
            emptied = retention.batches_without_records(connection, self._scope, written)
        plans = [entry for batch_id in emptied if (entry := self._entry_of_batch(batch_id, now_us)) is not None]
        size += sum(file.add(entry) for entry in plans)
        file.sync()
        freed = self._forget_in_time(due, written, [entry["id"] for entry in plans], file, actor)
        if freed is None:
            return replace(done, skipped=done.skipped + len(written))
        done = replace(
            done,
            freed_bytes=done.freed_bytes + freed.blob_bytes,
            written_bytes=done.written_bytes + size,
            file=file.path,
        )
        return _with(done, due, len(freed.jobs))

    def _forget_in_time(
        self, due: Due, job_ids: list[str], batch_ids: list[str], file: ArchiveFile, actor: str
    ) -> retention.Forgotten | None:
        """Forget, or leave it to the next pass where submissions that are being queued keep naming the same bytes."""
        for _ in range(_TRIES):
            try:
                return self._forget(due, job_ids, batch_ids, file, actor)
            except IntegrityError as error:  # a row that could not be seen yet names what was to be removed
                self._log.warning("archive_met_a_submission", jobs=len(job_ids), error=str(error.orig))
        return None

    def _forget(
        self, due: Due, job_ids: list[str], batch_ids: list[str], file: ArchiveFile, actor: str
    ) -> retention.Forgotten:
        now_us = self._clock.now_us()
        with self._database.write() as connection:
            freed = retention.forget(connection, self._scope, due, job_ids, batch_ids, now_us=now_us)
            if not freed.jobs:
                return freed
            audit.append(
                connection,
                self._scope,
                actor=actor,
                action="jobs.archived" if due is Due.EVERYTHING else "records.archived",
                subject=file.path.name,
                tenant_id=None,
                facts={"jobs": sorted(freed.jobs)},
                now_us=now_us,
            )
            if due is Due.EVERYTHING:
                told = [
                    events.NewEvent(job_id, tenant_id, "archived", state, now_us)
                    for job_id, (tenant_id, state) in freed.jobs.items()
                ]
                events.append_events(connection, self._scope, told)
        return freed

    def _entry_of_job(self, job_id: str, due: Due, now_us: int) -> dict[str, Any] | None:
        """Everything that is known of a job; ``None`` where that is damaged, so that it must not be forgotten."""
        try:
            with self._database.read() as connection:
                rows = retention.rows_of_job(connection, self._scope, job_id)
                if due is Due.RECORDS:
                    rows = {name: rows[name] for name in ("placements", "ran_in")}
                bodies = blobs.get_blobs(connection, retention.named_blobs(rows))
        except (CorruptBlob, MissingBlob):
            self._log.exception("archive_skipped", job=job_id)
            return None
        return _entry(due.value, job_id, now_us, rows, bodies)

    def _entry_of_batch(self, batch_id: str, now_us: int) -> dict[str, Any] | None:
        """What a batch was planned from, once no record of its jobs is left beside it."""
        try:
            with self._database.read() as connection:
                rows = retention.rows_of_batch(connection, self._scope, batch_id)
                bodies = blobs.get_blobs(connection, retention.named_blobs(rows))
        except (CorruptBlob, MissingBlob):
            self._log.exception("archive_skipped", batch=batch_id)
            return None
        return _entry("batch", batch_id, now_us, rows, bodies)


def _entry(
    kind: str, name: str, now_us: int, rows: dict[str, list[dict[str, Any]]], bodies: dict[str, bytes]
) -> dict[str, Any]:
    return {
        "archive_version": _ARCHIVE_VERSION,
        "kind": kind,
        "id": name,
        "archived_at_us": now_us,
        "rows": rows,
        "blobs": bodies,
    }


def _with(done: Pass, due: Due, jobs: int) -> Pass:
    if due is Due.EVERYTHING:
        return replace(done, jobs=done.jobs + jobs)
    return replace(done, records=done.records + jobs)
