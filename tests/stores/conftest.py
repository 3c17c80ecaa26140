"""Both databases for the store tests: SQLite in a temporary file, and a real PostgreSQL from a wheel."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import delete
from togetherness import at_once
from warm import put_tables

from qpu_backend.domain.jobs import JobState
from qpu_backend.domain.tenancy import PrincipalId, Role, SystemScope, TenantId, TenantScope
from qpu_backend.stores import (
    access,
    batches,
    blobs,
    devices,
    events,
    job_states,
    jobs,
    money,
    new_jobs,
    sessions,
    snapshots,
)
from qpu_backend.stores.database import Database
from qpu_backend.stores.ids import new_id
from qpu_backend.stores.schema_money import metadata

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

NOW_US = 1_780_000_000_000_000
SYSTEM = SystemScope("test")


# --- databases --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return put_tables(tmp_path_factory.mktemp("template") / "migrated.db")


@pytest.fixture(scope="session")
def migrated_postgres(postgres: Any) -> str:
    """Address of the database that the tests of this process use in turn."""
    return postgres.url(postgres.new_database(tables=True))


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Address of a database without tables."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'empty.db'}"
        return
    server: Any = request.getfixturevalue("postgres")
    name = server.new_database()
    yield server.url(name)
    server.drop(name)


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """A migrated database of this test alone."""
    if request.param == "sqlite":
        path = tmp_path / "test.db"
        shutil.copy(request.getfixturevalue("migrated_sqlite"), path)
        database = Database.open(f"sqlite:///{path}", durable=False)
        yield database
        database.close()
        return
    database = Database.open(request.getfixturevalue("migrated_postgres"), durable=False)
    yield database
    with database.write() as connection:  # quicker than a new database for each test
        for table in reversed(metadata.sorted_tables):
            connection.execute(delete(table))
    database.close()


# --- rows to work with -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class House:
    """A database with the device ``eagle127``, and ways to put tenants and jobs into it."""

    database: Database
    system: SystemScope = SYSTEM
    device_id: str = "eagle127"
    now_us: int = NOW_US

    def tenant(self, name: str, **policy: Any) -> TenantScope:
        """A new tenant with one principal."""
        with self.database.write() as connection:
            tenant = access.create_tenant(connection, SYSTEM, name=name, now_us=NOW_US, **policy)
            principal = access.create_principal(
                connection, SYSTEM, tenant_id=tenant.id, name="ada", role=Role.MEMBER, now_us=NOW_US
            )
        return TenantScope(tenant.id, principal.id, Role.MEMBER)

    def new_job(self, scope: TenantScope, **changes: Any) -> new_jobs.NewJob:
        """A job as admission would store it, not stored."""
        job = new_jobs.NewJob(
            id=new_id("job"),
            tenant_id=scope.tenant_id,
            principal_id=scope.principal_id,
            device_id=self.device_id,
            backend="eagle127:line-5",
            program="sampler",
            created_at_us=NOW_US,
            tags=[],
            options={"isolation": "shared"},
            seed=7,
            calibration_id=None,
            idempotency_key=None,
            raw_digest="raw",
            canonical_digest="canonical",
            program_sha="",
            footprint={"shape": "line-5"},
            num_circuits=1,
            num_executions=1,
            shots=1024,
            device_us=300_000,
            footprint_qubits=5,
            price_micro=100,
            price_book="book-1",
            max_cost_micro=None,
            quota_start=[],
            start_tag=0,
            finish_tag=100,
            fairness_cost=100,
        )
        return replace(job, **changes)

    def job(self, scope: TenantScope, **changes: Any) -> str:
        """The id of a new job in the queue."""
        job = self.new_job(scope, **changes)
        with self.database.write() as connection:
            [sha] = blobs.put_blobs(connection, [b"program"])
            new_jobs.insert_job(connection, scope, replace(job, program_sha=sha))
        return job.id

    def new_session(self, scope: TenantScope, **changes: Any) -> sessions.NewSession:
        """A session as it would be opened, not stored."""
        session = sessions.NewSession(
            id=new_id("ses"),
            tenant_id=scope.tenant_id,
            principal_id=scope.principal_id,
            device_id=self.device_id,
            backend="eagle127:line-5",
            qubits=9,
            opened_at_us=NOW_US,
            ttl_us=300,
            expires_at_us=NOW_US + 300,
            ends_at_us=NOW_US + 1000,
            price_book="book-1",
        )
        return replace(session, **changes)

    def session(self, scope: TenantScope, **changes: Any) -> str:
        """The id of a new open session."""
        session = self.new_session(scope, **changes)
        with self.database.write() as connection:
            assert sessions.insert_session(connection, scope, session)
        return session.id

    def snapshot(self) -> str:
        """The id of a new snapshot."""
        with self.database.write() as connection:
            [sha] = blobs.put_blobs(connection, [b"snapshot"])
            number = snapshots.next_snapshot_number(connection, SYSTEM, self.device_id)
            return snapshots.publish_snapshot(
                connection,
                SYSTEM,
                device_id=self.device_id,
                number=number,
                published_at_us=NOW_US,
                device_time_us=0,
                blob_sha=sha,
            ).id

    def batch(self, *job_ids: str, leg: int = 0) -> str:
        """The id of a running batch of these queued jobs."""
        batch_id, snapshot_id = new_id("bat"), self.snapshot()
        with self.database.write() as connection:
            [sha] = blobs.put_blobs(connection, [b"record"])
            rows = jobs.read_jobs(connection, SYSTEM, job_ids)
            batches.insert_batch(
                connection,
                SYSTEM,
                batches.NewBatch(
                    id=batch_id,
                    device_id=self.device_id,
                    epoch=1,
                    attempt=1,
                    created_at_us=NOW_US,
                    snapshot_id=snapshot_id,
                    device_start_us=0,
                    device_us=300_000,
                    view_digest="view",
                    explanation=["head of the queue"],
                    rounds_sha=sha,
                    plan_sha=sha,
                ),
                [
                    batches.PlacementRow(
                        batch_id=batch_id,
                        job_id=job_id,
                        tenant_id=rows[job_id].tenant_id,
                        position=position,
                        region=[5 * position + qubit for qubit in range(5)],
                        co_tenants="1-3",
                        crosstalk_loss=0.0125,
                        fairness_cost=100,
                        record_sha=sha,
                        leg=leg,
                    )
                    for position, job_id in enumerate(job_ids)
                ],
            )
            job_states.mark_running(connection, SYSTEM, job_ids, started_at_us=NOW_US)
        return batch_id

    def finish(self, *job_ids: str) -> None:
        """Running jobs get a result."""
        with self.database.write() as connection:
            [sha] = blobs.put_blobs(connection, [b"result"])
            job_states.mark_done(
                connection, SYSTEM, [job_states.Completion(each, sha) for each in job_ids], finished_at_us=NOW_US + 1
            )

    def used(self, scope: TenantScope, job_id: str, **changes: Any) -> money.UsageRow:
        """What a job that has ended used, not stored."""
        record = money.UsageRow(
            id=new_id("use"),
            tenant_id=scope.tenant_id,
            principal_id=scope.principal_id,
            job_id=job_id,
            batch_id=None,
            device_id=self.device_id,
            snapshot_id=None,
            recorded_at_us=NOW_US,
            outcome=JobState.DONE,
            shots=1024,
            device_us=300_000,
            footprint_qubits=5,
            simulator_cpu_us=2_000,
            result_bytes=1_024,
            price_book="book-1",
            price_micro=100,
            tags=["rb"],
        )
        return replace(record, **changes)

    def event(self, scope: TenantScope, job_id: str, name: str = "admitted") -> events.NewEvent:
        """An event, not stored."""
        return events.NewEvent(job_id, scope.tenant_id, name, JobState.QUEUED, NOW_US)


@pytest.fixture
def house(database: Database) -> House:
    with database.write() as connection:
        devices.ensure_device(connection, SYSTEM, "eagle127", {"pacing": "asap"})
    return House(database)


@pytest.fixture
def stranger() -> TenantScope:
    """A scope of a tenant that owns nothing."""
    return TenantScope(TenantId("ten_stranger"), PrincipalId("prn_stranger"), Role.MEMBER)


@pytest.fixture
def together() -> Callable[[list[Callable[[], Any]]], list[Any]]:
    """Run functions in one thread each, started at the same time; what each returned or raised, in order."""
    return at_once
