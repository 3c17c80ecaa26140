"""The tables, once, for SQLite and PostgreSQL.

Ids are prefixed UUIDv7 text. Wall times are UTC microseconds since 1970 (``…_at_us``); device times are microseconds of
that device's own clock (``device_…_us``). Money is integer micro-credits. JSON columns hold small facts only; circuits,
results and execution records are rows of ``blobs``. Every tenant-owned table has ``tenant_id`` and a foreign key that
includes it, so a row can never point at another tenant's job.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Dialect,
    Double,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    literal_column,
)
from typing_extensions import override

from qpu_backend.domain.jobs import JobState
from qpu_backend.domain.tenancy import Role

if TYPE_CHECKING:
    from enum import StrEnum


class Word(TypeDecorator[Any]):
    """Text in the database, a member of a ``StrEnum`` in Python."""

    impl = Text
    cache_ok = True

    def __init__(self, kind: type[StrEnum]) -> None:
        super().__init__()
        self.kind = kind

    @override
    def process_result_value(self, value: str | None, dialect: Dialect) -> StrEnum | None:
        return None if value is None else self.kind(value)


metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# --- access --------------------------------------------------------------------------------------------------------

tenants = Table(
    "tenants",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("created_at_us", BigInteger, nullable=False),
    Column("weight", Integer, nullable=False, server_default="100"),
    Column("max_queued_jobs", Integer, nullable=False, server_default="1000"),
    Column("event_cursor", BigInteger, nullable=False, server_default="0"),
    Column("disabled", Boolean, nullable=False, server_default="0"),
    CheckConstraint("weight > 0", name="weight_positive"),
)

principals = Table(
    "principals",
    metadata,
    Column("id", Text, primary_key=True),
    Column("tenant_id", Text, ForeignKey("tenants.id"), nullable=False),
    Column("name", Text, nullable=False),
    Column("role", Word(Role), nullable=False),
    Column("created_at_us", BigInteger, nullable=False),
    UniqueConstraint("tenant_id", "name"),
    UniqueConstraint("id", "tenant_id"),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", Text, primary_key=True),
    Column("tenant_id", Text, nullable=False),
    Column("principal_id", Text, nullable=False),
    Column("key_hmac", Text, nullable=False, unique=True),
    Column("created_at_us", BigInteger, nullable=False),
    Column("expires_at_us", BigInteger),
    Column("revoked_at_us", BigInteger),
    ForeignKeyConstraint(["principal_id", "tenant_id"], ["principals.id", "principals.tenant_id"]),
)

# --- quota ---------------------------------------------------------------------------------------------------------

limits = Table(
    "limits",
    metadata,
    Column("tenant_id", Text, ForeignKey("tenants.id"), primary_key=True),
    Column("resource", Text, primary_key=True),  # shots | device_us | spend_micro
    Column("window", Text, primary_key=True),  # hour | day | month
    Column("amount", BigInteger, nullable=False),
    CheckConstraint("amount >= 0", name="amount_not_negative"),
)

quota_windows = Table(
    "quota_windows",
    metadata,
    Column("tenant_id", Text, ForeignKey("tenants.id"), primary_key=True),
    Column("resource", Text, primary_key=True),
    Column("window", Text, primary_key=True),
    Column("start_us", BigInteger, primary_key=True),
    Column("reserved", BigInteger, nullable=False, server_default="0"),
    Column("spent", BigInteger, nullable=False, server_default="0"),
    CheckConstraint("reserved >= 0", name="reserved_not_negative"),
    CheckConstraint("spent >= 0", name="spent_not_negative"),
)

# --- device --------------------------------------------------------------------------------------------------------

devices = Table(
    "devices",
    metadata,
    Column("id", Text, primary_key=True),  # the catalogue name, e.g. eagle127
    Column("model", JSON, nullable=False),  # options the operator set, as of the last start
    Column("device_time_us", BigInteger, nullable=False, server_default="0"),
    Column("virtual_time", BigInteger, nullable=False, server_default="0"),
    Column("snapshot_id", Text),  # the current one
    Column("operational", Boolean, nullable=False, server_default="1"),
    Column("status_msg", Text, nullable=False, server_default="active"),
    Column("lease_epoch", BigInteger, nullable=False, server_default="0"),
    Column("lease_holder", Text),
    Column("lease_expires_at_us", BigInteger),
    Column("lease_boot_id", Text),
    Column("lease_pid", Integer),
    Column("lease_pid_started", Text),
)

snapshots = Table(
    "snapshots",
    metadata,
    Column("id", Text, primary_key=True),
    Column("device_id", Text, ForeignKey("devices.id"), nullable=False),
    Column("number", Integer, nullable=False),
    Column("published_at_us", BigInteger, nullable=False),
    Column("device_time_us", BigInteger, nullable=False),
    Column("blob_sha", Text, ForeignKey("blobs.sha256"), nullable=False),
    UniqueConstraint("device_id", "number"),
)

calibrations = Table(  # every attempt; what came of it
    "calibrations",
    metadata,
    Column("device_id", Text, ForeignKey("devices.id"), primary_key=True),
    Column("device_time_us", BigInteger, primary_key=True, autoincrement=False),  # when it ended
    Column("device_us", BigInteger, nullable=False),  # duration
    Column("ended_at_us", BigInteger, nullable=False),
    Column("snapshot_id", Text, ForeignKey("snapshots.id")),
    Column("failure", Text),
    CheckConstraint("(snapshot_id IS NULL) = (failure IS NOT NULL)", name="published_or_failed"),
)

# --- work ----------------------------------------------------------------------------------------------------------

blobs = Table(
    "blobs",
    metadata,
    Column("sha256", Text, primary_key=True),
    Column("codec", Text, nullable=False),  # zlib | raw
    Column("size", BigInteger, nullable=False),  # of the decoded bytes
    Column("body", LargeBinary, nullable=False),
)

jobs = Table(
    "jobs",
    metadata,
    Column("id", Text, primary_key=True),
    Column("tenant_id", Text, ForeignKey("tenants.id"), nullable=False),
    Column("principal_id", Text, nullable=False),
    Column("device_id", Text, ForeignKey("devices.id"), nullable=False),
    Column("backend", Text, nullable=False),  # as the tenant named it: eagle127 or eagle127:line-5
    Column("program", Text, nullable=False),  # circuits | sampler | estimator
    Column("state", Word(JobState), nullable=False),
    Column("created_at_us", BigInteger, nullable=False),
    Column("started_at_us", BigInteger),
    Column("finished_at_us", BigInteger),
    Column("tags", JSON, nullable=False),
    Column("options", JSON, nullable=False),
    Column("seed", BigInteger, nullable=False),
    Column("calibration_id", Text),  # what the client transpiled against; what it ran with is in the placement
    Column("idempotency_key", Text),
    Column("raw_digest", Text, nullable=False),  # of the request's bytes
    Column("canonical_digest", Text, nullable=False),  # of circuits as values, pubs and options
    Column("program_sha", Text, ForeignKey("blobs.sha256"), nullable=False),
    Column("footprint", JSON, nullable=False),  # what the planner needs: shape or qubits, gate counts, rounds
    Column("num_circuits", Integer, nullable=False),
    Column("num_executions", Integer, nullable=False),
    Column("shots", BigInteger, nullable=False),
    Column("device_us", BigInteger, nullable=False),  # stand-alone device time
    Column("footprint_qubits", Integer, nullable=False),
    Column("price_micro", BigInteger, nullable=False),
    Column("price_book", Text, nullable=False),
    Column("max_cost_micro", BigInteger),
    Column(
        "quota_start", JSON, nullable=False
    ),  # the windows the reservation was made in: [[resource, window, start_us, amount]]
    Column("start_tag", BigInteger, nullable=False),
    Column("finish_tag", BigInteger, nullable=False),
    Column("fairness_cost", BigInteger, nullable=False),  # µs · qubit, as expected when it was tagged
    Column("solo", Boolean, nullable=False, server_default="0"),  # retried alone after its batch was dissolved
    Column("cancel_requested", Boolean, nullable=False, server_default="0"),
    Column("event_seq", Integer, nullable=False, server_default="0"),
    Column("result_sha", Text, ForeignKey("blobs.sha256")),
    Column("error_code", Text),
    Column("error_message", Text),
    UniqueConstraint("id", "tenant_id"),
    ForeignKeyConstraint(["principal_id", "tenant_id"], ["principals.id", "principals.tenant_id"]),
    CheckConstraint("state IN ('queued', 'running', 'done', 'failed', 'cancelled')", name="state_known"),
    CheckConstraint("(state = 'done') = (result_sha IS NOT NULL)", name="done_has_result"),
)
_QUEUED = jobs.c.state == literal_column("'queued'")
_RUNNING = jobs.c.state == literal_column("'running'")
_UNFINISHED = jobs.c.state.in_([literal_column("'queued'"), literal_column("'running'")])
Index(  # the queue of a device; covers the walk that counts jobs per tenant
    "ix_jobs_queued",
    jobs.c.device_id,
    jobs.c.start_tag,
    jobs.c.id,
    jobs.c.tenant_id,
    sqlite_where=_QUEUED,
    postgresql_where=_QUEUED,
)
Index("ix_jobs_running", jobs.c.device_id, sqlite_where=_RUNNING, postgresql_where=_RUNNING)
Index("ix_jobs_unfinished", jobs.c.tenant_id, sqlite_where=_UNFINISHED, postgresql_where=_UNFINISHED)
Index("ix_jobs_tenant_created", jobs.c.tenant_id, jobs.c.created_at_us, jobs.c.id)
Index(
    "uq_jobs_idempotency",
    jobs.c.tenant_id,
    jobs.c.principal_id,
    jobs.c.idempotency_key,
    unique=True,
    sqlite_where=jobs.c.idempotency_key.is_not(None),
    postgresql_where=jobs.c.idempotency_key.is_not(None),
)

job_events = Table(
    "job_events",
    metadata,
    Column("job_id", Text, primary_key=True),
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("tenant_id", Text, nullable=False),
    Column("cursor", BigInteger, nullable=False),  # gap-free per tenant
    Column("name", Text, nullable=False),
    Column("state", Word(JobState), nullable=False),
    Column("at_us", BigInteger, nullable=False),
    Column("device_time_us", BigInteger),
    Column("message", Text),
    ForeignKeyConstraint(["job_id", "tenant_id"], ["jobs.id", "jobs.tenant_id"]),
    UniqueConstraint("tenant_id", "cursor"),
)

# --- execution -----------------------------------------------------------------------------------------------------

batches = Table(
    "batches",
    metadata,
    Column("id", Text, primary_key=True),
    Column("device_id", Text, ForeignKey("devices.id"), nullable=False),
    Column("state", Text, nullable=False),  # running | done | dissolved
    Column("epoch", BigInteger, nullable=False),  # of the lease under which it last ran
    Column("attempt", Integer, nullable=False),
    Column("created_at_us", BigInteger, nullable=False),
    Column("finished_at_us", BigInteger),
    Column("snapshot_id", Text, ForeignKey("snapshots.id"), nullable=False),
    Column("device_start_us", BigInteger, nullable=False),
    Column("device_us", BigInteger, nullable=False),  # duration
    Column("view_digest", Text, nullable=False),
    Column("explanation", JSON, nullable=False),
    Column("rounds_sha", Text, ForeignKey("blobs.sha256"), nullable=False),
    Column("plan_sha", Text, ForeignKey("blobs.sha256"), nullable=False),  # what it was planned from
    CheckConstraint("state IN ('running', 'done', 'dissolved')", name="state_known"),
)
Index("ix_batches_device_state", batches.c.device_id, batches.c.state, batches.c.device_start_us)

placements = Table(
    "placements",
    metadata,
    Column("batch_id", Text, ForeignKey("batches.id"), primary_key=True),
    Column("job_id", Text, primary_key=True),
    Column("tenant_id", Text, nullable=False),
    Column("position", Integer, nullable=False),  # order in the batch
    Column("region", JSON, nullable=False),  # physical qubit of each region qubit
    Column("co_tenants", Text, nullable=False),  # 0 | 1-3 | 4+
    Column("crosstalk_loss", Double),  # predicted, unrounded; rounded where a tenant sees it
    Column("fairness_cost", BigInteger, nullable=False),  # µs · qubit
    Column(
        "record_sha", Text, ForeignKey("blobs.sha256"), nullable=False
    ),  # noise, contexts, seeds: all a replay needs
    ForeignKeyConstraint(["job_id", "tenant_id"], ["jobs.id", "jobs.tenant_id"]),
)
Index("ix_placements_job", placements.c.job_id)

# --- fairness ------------------------------------------------------------------------------------------------------

fair_share = Table(
    "fair_share",
    metadata,
    Column("device_id", Text, ForeignKey("devices.id"), primary_key=True),
    Column("tenant_id", Text, ForeignKey("tenants.id"), primary_key=True),
    Column("finish_tag", BigInteger, nullable=False),
)

# --- money ---------------------------------------------------------------------------------------------------------

price_books = Table(
    "price_books",
    metadata,
    Column("id", Text, primary_key=True),
    Column("valid_from_us", BigInteger, nullable=False),
    Column("rates", JSON, nullable=False),
)

usage_records = Table(
    "usage_records",
    metadata,
    Column("id", Text, primary_key=True),
    Column("tenant_id", Text, nullable=False),
    Column("principal_id", Text, nullable=False),
    Column("job_id", Text, nullable=False, unique=True),
    Column("batch_id", Text),
    Column("device_id", Text, nullable=False),
    Column("snapshot_id", Text),
    Column("recorded_at_us", BigInteger, nullable=False),
    Column("outcome", Word(JobState), nullable=False),  # done | cancelled | failed
    Column("shots", BigInteger, nullable=False),
    Column("device_us", BigInteger, nullable=False),
    Column("footprint_qubits", Integer, nullable=False),
    Column("simulator_cpu_us", BigInteger, nullable=False),
    Column("result_bytes", BigInteger, nullable=False),
    Column("price_book", Text, nullable=False),
    Column("price_micro", BigInteger, nullable=False),
    Column("tags", JSON, nullable=False),
    ForeignKeyConstraint(["job_id", "tenant_id"], ["jobs.id", "jobs.tenant_id"]),
)
Index("ix_usage_records_tenant", usage_records.c.tenant_id, usage_records.c.recorded_at_us)

postings = Table(
    "postings",
    metadata,
    Column("transaction_id", Text, primary_key=True),  # the usage record's id, or a top-up's
    Column("account", Text, primary_key=True),  # tenant:<id> | revenue
    Column("tenant_id", Text, ForeignKey("tenants.id"), nullable=False),
    Column("amount_micro", BigInteger, nullable=False),
    Column("posted_at_us", BigInteger, nullable=False),
)
Index("ix_postings_tenant", postings.c.tenant_id)
