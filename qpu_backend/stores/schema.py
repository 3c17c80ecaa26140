"""The tables, once, for SQLite and PostgreSQL.

Ids are prefixed UUIDv7 text. Wall times are UTC microseconds since 1970 (``…_at_us``); device times are microseconds of
that device's own clock (``device_…_us``). Money is integer micro-credits. JSON columns hold small facts only; circuits,
results and execution records are rows of ``blobs``. Every tenant-owned table has ``tenant_id`` and a foreign key that
includes it, so a row can never point at another tenant's job.
"""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Double,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    Table,
    Text,
    UniqueConstraint,
    and_,
    literal_column,
)

from qpu_backend.domain.jobs import JobState
from qpu_backend.stores.schema_access import Word, metadata, principals, tenants

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
    Column("out_of_service", JSON(none_as_null=True)),  # qubits and couplers in quarantine, measured but not offered
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

sessions = Table(  # a tenant's loop of jobs on one region, kept for it between them
    "sessions",
    metadata,
    Column("id", Text, primary_key=True),
    Column("tenant_id", Text, ForeignKey(tenants.c.id), nullable=False),
    Column("principal_id", Text, nullable=False),
    Column("device_id", Text, ForeignKey("devices.id"), nullable=False),
    Column("backend", Text, nullable=False),
    Column("qubits", Integer, nullable=False),  # that it may hold
    Column("opened_at_us", BigInteger, nullable=False),
    Column("ttl_us", BigInteger, nullable=False),  # wall time without a job or a call; 0: ends with its last job
    Column("expires_at_us", BigInteger, nullable=False),
    Column("ends_at_us", BigInteger, nullable=False),  # whatever happens
    Column("closed_at_us", BigInteger),
    Column("region", JSON),  # once its first job was placed
    Column("lane", Text),  # of all its jobs, once it has one
    Column("weight", Integer),  # of that lane and its tenant together: what holding counts by in the fair queue
    Column("held_cost", BigInteger, nullable=False, server_default="0"),  # µs · qubit that it kept and nobody used
    Column("price_book", Text, nullable=False),
    Column("price_micro", BigInteger),  # of what it held, once it is closed
    Column("kind", Text, nullable=False, server_default="session"),  # a batch holds nothing
    Column("on_failure", Text, nullable=False, server_default="continue"),  # of its other jobs, when one fails
    Column("max_cost_micro", BigInteger),  # of all its jobs, and what it held
    Column("spent_micro", BigInteger, nullable=False, server_default="0"),  # cost of ended jobs, price of the others
    Column("asked", Text),  # digest of what it was opened with
    UniqueConstraint("id", "tenant_id"),
    ForeignKeyConstraint(["principal_id", "tenant_id"], [principals.c.id, principals.c.tenant_id]),
    CheckConstraint("(closed_at_us IS NULL) = (price_micro IS NULL)", name="closed_has_price"),
)
_OPEN = sessions.c.closed_at_us.is_(None)
Index("ix_sessions_open", sessions.c.device_id, sqlite_where=_OPEN, postgresql_where=_OPEN)
Index("ix_sessions_tenant", sessions.c.tenant_id, sessions.c.opened_at_us)

bookings = Table(  # windows of device time that belong to one tenant, or to maintenance
    "bookings",
    metadata,
    Column("id", Text, primary_key=True),
    Column("device_id", Text, ForeignKey("devices.id"), nullable=False),
    Column("tenant_id", Text, ForeignKey(tenants.c.id)),  # NULL: maintenance
    Column("starts_us", BigInteger, nullable=False),  # device time
    Column("ends_us", BigInteger, nullable=False),
    Column("created_at_us", BigInteger, nullable=False),
    Column("cancelled_at_us", BigInteger),
    Column("note", Text, nullable=False),
    CheckConstraint("starts_us < ends_us", name="starts_before_it_ends"),
)
_NOT_CANCELLED = bookings.c.cancelled_at_us.is_(None)
Index(
    "ix_bookings_device",
    bookings.c.device_id,
    bookings.c.ends_us,
    sqlite_where=_NOT_CANCELLED,
    postgresql_where=_NOT_CANCELLED,
)

jobs = Table(
    "jobs",
    metadata,
    Column("id", Text, primary_key=True),
    Column("tenant_id", Text, ForeignKey(tenants.c.id), nullable=False),
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
    Column("quota_start", JSON, nullable=False),  # windows it is reserved in: [[resource, window, start_us, amount]]
    Column("lane", Text, nullable=False, server_default="standard"),
    Column("start_by_us", BigInteger),  # device time that it was promised to start by
    Column("slice", Text),  # whose qubits it runs on, where they belong to somebody
    Column("session_id", Text),
    Column("start_tag", BigInteger, nullable=False),
    Column("finish_tag", BigInteger, nullable=False),
    Column("fairness_cost", BigInteger, nullable=False),  # µs · qubit, as expected when it was tagged
    Column("legs", JSON(none_as_null=True)),  # how it is cut; NULL when it runs in one piece
    Column("num_legs", Integer, nullable=False, server_default="1"),
    Column("leg", Integer, nullable=False, server_default="0"),  # that runs or is next; footprint and tags are its own
    Column("simulator_cpu_us", BigInteger, nullable=False, server_default="0"),  # of the legs that have run
    Column("solo", Boolean, nullable=False, server_default="0"),  # retried alone after its batch was dissolved
    Column("cancel_requested", Boolean, nullable=False, server_default="0"),
    Column("event_seq", Integer, nullable=False, server_default="0"),
    Column("result_sha", Text, ForeignKey("blobs.sha256")),
    Column("error_code", Text),
    Column("error_message", Text),
    Column("quote_id", Text),  # that it was submitted with
    Column("archived_at_us", BigInteger),  # its program, result and records are no longer here
    UniqueConstraint("id", "tenant_id"),
    ForeignKeyConstraint(["principal_id", "tenant_id"], [principals.c.id, principals.c.tenant_id]),
    ForeignKeyConstraint(["session_id", "tenant_id"], ["sessions.id", "sessions.tenant_id"]),
    CheckConstraint("state IN ('queued', 'running', 'done', 'failed', 'cancelled')", name="state_known"),
    CheckConstraint("(state = 'done') = (result_sha IS NOT NULL)", name="done_has_result"),
    CheckConstraint("leg >= 0 AND leg < num_legs", name="leg_known"),
    CheckConstraint("(num_legs = 1) = (legs IS NULL)", name="legs_known"),
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
_PROMISED = and_(_QUEUED, jobs.c.start_by_us.is_not(None))
Index("ix_jobs_promised", jobs.c.device_id, sqlite_where=_PROMISED, postgresql_where=_PROMISED)
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

_KEPT = and_(jobs.c.finished_at_us.is_not(None), jobs.c.archived_at_us.is_(None))
Index("ix_jobs_kept", jobs.c.finished_at_us, jobs.c.id, sqlite_where=_KEPT, postgresql_where=_KEPT)
Index("ix_jobs_program", jobs.c.program_sha)  # who else names a blob, before it is removed
Index("ix_jobs_backend", jobs.c.tenant_id, jobs.c.backend, jobs.c.created_at_us, jobs.c.id)
_IN_SESSION = jobs.c.session_id.is_not(None)
Index(
    "ix_jobs_session",
    jobs.c.session_id,
    jobs.c.created_at_us,
    jobs.c.id,
    sqlite_where=_IN_SESSION,
    postgresql_where=_IN_SESSION,
)
_HAS_RESULT = jobs.c.result_sha.is_not(None)
Index("ix_jobs_result", jobs.c.result_sha, sqlite_where=_HAS_RESULT, postgresql_where=_HAS_RESULT)

job_tags = Table(  # the tags of jobs once more, so that a search by tag walks an index
    "job_tags",
    metadata,
    Column("tenant_id", Text, primary_key=True),
    Column("tag", Text, primary_key=True),
    Column("created_at_us", BigInteger, primary_key=True, autoincrement=False),  # of the job
    Column("job_id", Text, primary_key=True),
    ForeignKeyConstraint(["job_id", "tenant_id"], ["jobs.id", "jobs.tenant_id"]),
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
    Column("failures", Integer, nullable=False, server_default="0"),  # attempts that failed, not those taken over
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
Index("ix_batches_rounds", batches.c.rounds_sha)
Index("ix_batches_plan", batches.c.plan_sha)

placements = Table(
    "placements",
    metadata,
    Column("batch_id", Text, ForeignKey("batches.id"), primary_key=True),
    Column("job_id", Text, primary_key=True),
    Column("tenant_id", Text, nullable=False),
    Column("position", Integer, nullable=False),  # order in the batch
    Column("leg", Integer, nullable=False, server_default="0"),  # of the job: what of it runs here
    Column("region", JSON, nullable=False),  # physical qubit of each region qubit
    Column("co_tenants", Text, nullable=False),  # 0 | 1-3 | 4+
    Column("crosstalk_loss", Double),  # predicted, unrounded; rounded where a tenant sees it
    Column("fairness_cost", BigInteger, nullable=False),  # µs · qubit
    Column("record_sha", Text, ForeignKey("blobs.sha256"), nullable=False),  # noise, contexts, seeds: for replays
    Column("part_sha", Text, ForeignKey("blobs.sha256")),  # what this leg measured, until the job's last one is there
    ForeignKeyConstraint(["job_id", "tenant_id"], ["jobs.id", "jobs.tenant_id"]),
)
Index("ix_placements_job", placements.c.job_id)
Index("ix_placements_record", placements.c.record_sha)
_HAS_PART = placements.c.part_sha.is_not(None)
Index("ix_placements_part", placements.c.part_sha, sqlite_where=_HAS_PART, postgresql_where=_HAS_PART)

# --- fairness ------------------------------------------------------------------------------------------------------

fair_share = Table(
    "fair_share",
    metadata,
    Column("device_id", Text, ForeignKey("devices.id"), primary_key=True),
    Column("tenant_id", Text, ForeignKey(tenants.c.id), primary_key=True),
    Column("lane", Text, primary_key=True),
    Column("finish_tag", BigInteger, nullable=False),
)
