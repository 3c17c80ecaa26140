"""What tenants ask for: bookings, sessions, jobs, where they ran, and what they used.

Revision: 0002
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Forward; there is no way back."""
    op.create_table(
        "bookings",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("device_id", sa.Text(), nullable=False),
        sa.Column("tenant_id", sa.Text(), nullable=True),
        sa.Column("starts_us", sa.BigInteger(), nullable=False),
        sa.Column("ends_us", sa.BigInteger(), nullable=False),
        sa.Column("created_at_us", sa.BigInteger(), nullable=False),
        sa.Column("cancelled_at_us", sa.BigInteger(), nullable=True),
        sa.Column("note", sa.Text(), nullable=False),
        sa.CheckConstraint("starts_us < ends_us", name=op.f("ck_bookings_starts_before_it_ends")),
        sa.ForeignKeyConstraint(["device_id"], ["devices.id"], name=op.f("fk_bookings_device_id")),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_bookings_tenant_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_bookings")),
    )
    op.create_index(
        "ix_bookings_device",
        "bookings",
        ["device_id", "ends_us"],
        unique=False,
        sqlite_where=sa.text("cancelled_at_us IS NULL"),
        postgresql_where=sa.text("cancelled_at_us IS NULL"),
    )
    op.create_table(
        "sessions",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("principal_id", sa.Text(), nullable=False),
        sa.Column("device_id", sa.Text(), nullable=False),
        sa.Column("backend", sa.Text(), nullable=False),
        sa.Column("qubits", sa.Integer(), nullable=False),
        sa.Column("opened_at_us", sa.BigInteger(), nullable=False),
        sa.Column("ttl_us", sa.BigInteger(), nullable=False),
        sa.Column("expires_at_us", sa.BigInteger(), nullable=False),
        sa.Column("ends_at_us", sa.BigInteger(), nullable=False),
        sa.Column("closed_at_us", sa.BigInteger(), nullable=True),
        sa.Column("region", sa.JSON(), nullable=True),
        sa.Column("lane", sa.Text(), nullable=True),
        sa.Column("weight", sa.Integer(), nullable=True),
        sa.Column("held_cost", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("price_book", sa.Text(), nullable=False),
        sa.Column("price_micro", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("(closed_at_us IS NULL) = (price_micro IS NULL)", name=op.f("ck_sessions_closed_has_price")),
        sa.ForeignKeyConstraint(["device_id"], ["devices.id"], name=op.f("fk_sessions_device_id")),
        sa.ForeignKeyConstraint(
            ["principal_id", "tenant_id"],
            ["principals.id", "principals.tenant_id"],
            name=op.f("fk_sessions_principal_id_tenant_id"),
        ),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_sessions_tenant_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sessions")),
        sa.UniqueConstraint("id", "tenant_id", name=op.f("uq_sessions_id_tenant_id")),
    )
    op.create_index(
        "ix_sessions_open",
        "sessions",
        ["device_id"],
        unique=False,
        sqlite_where=sa.text("closed_at_us IS NULL"),
        postgresql_where=sa.text("closed_at_us IS NULL"),
    )
    op.create_index("ix_sessions_tenant", "sessions", ["tenant_id", "opened_at_us"], unique=False)
    op.create_table(
        "jobs",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("principal_id", sa.Text(), nullable=False),
        sa.Column("device_id", sa.Text(), nullable=False),
        sa.Column("backend", sa.Text(), nullable=False),
        sa.Column("program", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("created_at_us", sa.BigInteger(), nullable=False),
        sa.Column("started_at_us", sa.BigInteger(), nullable=True),
        sa.Column("finished_at_us", sa.BigInteger(), nullable=True),
        sa.Column("tags", sa.JSON(), nullable=False),
        sa.Column("options", sa.JSON(), nullable=False),
        sa.Column("seed", sa.BigInteger(), nullable=False),
        sa.Column("calibration_id", sa.Text(), nullable=True),
        sa.Column("idempotency_key", sa.Text(), nullable=True),
        sa.Column("raw_digest", sa.Text(), nullable=False),
        sa.Column("canonical_digest", sa.Text(), nullable=False),
        sa.Column("program_sha", sa.Text(), nullable=False),
        sa.Column("footprint", sa.JSON(), nullable=False),
        sa.Column("num_circuits", sa.Integer(), nullable=False),
        sa.Column("num_executions", sa.Integer(), nullable=False),
        sa.Column("shots", sa.BigInteger(), nullable=False),
        sa.Column("device_us", sa.BigInteger(), nullable=False),
        sa.Column("footprint_qubits", sa.Integer(), nullable=False),
        sa.Column("price_micro", sa.BigInteger(), nullable=False),
        sa.Column("price_book", sa.Text(), nullable=False),
        sa.Column("max_cost_micro", sa.BigInteger(), nullable=True),
        sa.Column("quota_start", sa.JSON(), nullable=False),
        sa.Column("lane", sa.Text(), server_default="standard", nullable=False),
        sa.Column("start_by_us", sa.BigInteger(), nullable=True),
        sa.Column("slice", sa.Text(), nullable=True),
        sa.Column("session_id", sa.Text(), nullable=True),
        sa.Column("start_tag", sa.BigInteger(), nullable=False),
        sa.Column("finish_tag", sa.BigInteger(), nullable=False),
        sa.Column("fairness_cost", sa.BigInteger(), nullable=False),
        sa.Column("legs", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("num_legs", sa.Integer(), server_default="1", nullable=False),
        sa.Column("leg", sa.Integer(), server_default="0", nullable=False),
        sa.Column("simulator_cpu_us", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("solo", sa.Boolean(), server_default="0", nullable=False),
        sa.Column("cancel_requested", sa.Boolean(), server_default="0", nullable=False),
        sa.Column("event_seq", sa.Integer(), server_default="0", nullable=False),
        sa.Column("result_sha", sa.Text(), nullable=True),
        sa.Column("error_code", sa.Text(), nullable=True),
        sa.Column("error_message", sa.Text(), nullable=True),
        sa.CheckConstraint("(state = 'done') = (result_sha IS NOT NULL)", name=op.f("ck_jobs_done_has_result")),
        sa.CheckConstraint("leg >= 0 AND leg < num_legs", name=op.f("ck_jobs_leg_known")),
        sa.CheckConstraint("(num_legs = 1) = (legs IS NULL)", name=op.f("ck_jobs_legs_known")),
        sa.CheckConstraint(
            "state IN ('queued', 'running', 'done', 'failed', 'cancelled')", name=op.f("ck_jobs_state_known")
        ),
        sa.ForeignKeyConstraint(["device_id"], ["devices.id"], name=op.f("fk_jobs_device_id")),
        sa.ForeignKeyConstraint(
            ["principal_id", "tenant_id"],
            ["principals.id", "principals.tenant_id"],
            name=op.f("fk_jobs_principal_id_tenant_id"),
        ),
        sa.ForeignKeyConstraint(
            ["session_id", "tenant_id"],
            ["sessions.id", "sessions.tenant_id"],
            name=op.f("fk_jobs_session_id_tenant_id"),
        ),
        sa.ForeignKeyConstraint(["program_sha"], ["blobs.sha256"], name=op.f("fk_jobs_program_sha")),
        sa.ForeignKeyConstraint(["result_sha"], ["blobs.sha256"], name=op.f("fk_jobs_result_sha")),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_jobs_tenant_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_jobs")),
        sa.UniqueConstraint("id", "tenant_id", name=op.f("uq_jobs_id_tenant_id")),
    )
    op.create_index(
        "ix_jobs_queued",
        "jobs",
        ["device_id", "start_tag", "id", "tenant_id"],
        unique=False,
        sqlite_where=sa.text("state = 'queued'"),
        postgresql_where=sa.text("state = 'queued'"),
    )
    op.create_index(
        "ix_jobs_promised",
        "jobs",
        ["device_id"],
        unique=False,
        sqlite_where=sa.text("state = 'queued' AND start_by_us IS NOT NULL"),
        postgresql_where=sa.text("state = 'queued' AND start_by_us IS NOT NULL"),
    )
    op.create_index(
        "ix_jobs_running",
        "jobs",
        ["device_id"],
        unique=False,
        sqlite_where=sa.text("state = 'running'"),
        postgresql_where=sa.text("state = 'running'"),
    )
    op.create_index("ix_jobs_tenant_created", "jobs", ["tenant_id", "created_at_us", "id"], unique=False)
    op.create_index(
        "ix_jobs_unfinished",
        "jobs",
        ["tenant_id"],
        unique=False,
        sqlite_where=sa.text("state IN ('queued', 'running')"),
        postgresql_where=sa.text("state IN ('queued', 'running')"),
    )
    op.create_index(
        "uq_jobs_idempotency",
        "jobs",
        ["tenant_id", "principal_id", "idempotency_key"],
        unique=True,
        sqlite_where=sa.text("idempotency_key IS NOT NULL"),
        postgresql_where=sa.text("idempotency_key IS NOT NULL"),
    )
    op.create_table(
        "job_events",
        sa.Column("job_id", sa.Text(), nullable=False),
        sa.Column("seq", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("cursor", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("at_us", sa.BigInteger(), nullable=False),
        sa.Column("device_time_us", sa.BigInteger(), nullable=True),
        sa.Column("message", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["job_id", "tenant_id"], ["jobs.id", "jobs.tenant_id"], name=op.f("fk_job_events_job_id_tenant_id")
        ),
        sa.PrimaryKeyConstraint("job_id", "seq", name=op.f("pk_job_events")),
        sa.UniqueConstraint("tenant_id", "cursor", name=op.f("uq_job_events_tenant_id_cursor")),
    )
    op.create_table(
        "placements",
        sa.Column("batch_id", sa.Text(), nullable=False),
        sa.Column("job_id", sa.Text(), nullable=False),
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("leg", sa.Integer(), server_default="0", nullable=False),
        sa.Column("region", sa.JSON(), nullable=False),
        sa.Column("co_tenants", sa.Text(), nullable=False),
        sa.Column("crosstalk_loss", sa.Double[float](), nullable=True),
        sa.Column("fairness_cost", sa.BigInteger(), nullable=False),
        sa.Column("record_sha", sa.Text(), nullable=False),
        sa.Column("part_sha", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["batch_id"], ["batches.id"], name=op.f("fk_placements_batch_id")),
        sa.ForeignKeyConstraint(
            ["job_id", "tenant_id"], ["jobs.id", "jobs.tenant_id"], name=op.f("fk_placements_job_id_tenant_id")
        ),
        sa.ForeignKeyConstraint(["record_sha"], ["blobs.sha256"], name=op.f("fk_placements_record_sha")),
        sa.ForeignKeyConstraint(["part_sha"], ["blobs.sha256"], name=op.f("fk_placements_part_sha")),
        sa.PrimaryKeyConstraint("batch_id", "job_id", name=op.f("pk_placements")),
    )
    op.create_index("ix_placements_job", "placements", ["job_id"], unique=False)
    op.create_table(
        "usage_records",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("principal_id", sa.Text(), nullable=False),
        sa.Column("job_id", sa.Text(), nullable=False),
        sa.Column("batch_id", sa.Text(), nullable=True),
        sa.Column("device_id", sa.Text(), nullable=False),
        sa.Column("snapshot_id", sa.Text(), nullable=True),
        sa.Column("recorded_at_us", sa.BigInteger(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("shots", sa.BigInteger(), nullable=False),
        sa.Column("device_us", sa.BigInteger(), nullable=False),
        sa.Column("footprint_qubits", sa.Integer(), nullable=False),
        sa.Column("simulator_cpu_us", sa.BigInteger(), nullable=False),
        sa.Column("result_bytes", sa.BigInteger(), nullable=False),
        sa.Column("price_book", sa.Text(), nullable=False),
        sa.Column("price_micro", sa.BigInteger(), nullable=False),
        sa.Column("tags", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(
            ["job_id", "tenant_id"], ["jobs.id", "jobs.tenant_id"], name=op.f("fk_usage_records_job_id_tenant_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_usage_records")),
        sa.UniqueConstraint("job_id", name=op.f("uq_usage_records_job_id")),
    )
    op.create_index("ix_usage_records_tenant", "usage_records", ["tenant_id", "recorded_at_us"], unique=False)
