"""Policies and quotas of principals, audit, invoices, archive.

Revision: 0003
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Forward; there is no way back."""
    op.add_column("snapshots", sa.Column("out_of_service", sa.JSON(), nullable=True))
    op.add_column("principals", sa.Column("disabled", sa.Boolean(), server_default="0", nullable=False))
    op.add_column("principals", sa.Column("role_set_at_us", sa.BigInteger(), nullable=True))
    op.create_index("ix_api_keys_principal", "api_keys", ["principal_id", "created_at_us"])
    op.add_column("api_keys", sa.Column("label", sa.Text(), server_default=sa.text("''"), nullable=False))
    op.add_column("api_keys", sa.Column("replaces", sa.Text(), nullable=True))
    replaces = sa.text("replaces IS NOT NULL")
    op.create_index("ix_api_keys_replaces", "api_keys", ["replaces"], sqlite_where=replaces, postgresql_where=replaces)
    op.add_column("jobs", sa.Column("quote_id", sa.Text(), nullable=True))
    op.add_column("jobs", sa.Column("archived_at_us", sa.BigInteger(), nullable=True))
    op.add_column("batches", sa.Column("failures", sa.Integer(), server_default="0", nullable=False))
    op.add_column("sessions", sa.Column("kind", sa.Text(), server_default="session", nullable=False))
    op.add_column("sessions", sa.Column("on_failure", sa.Text(), server_default="continue", nullable=False))
    op.add_column("sessions", sa.Column("max_cost_micro", sa.BigInteger(), nullable=True))
    op.add_column("sessions", sa.Column("spent_micro", sa.BigInteger(), server_default="0", nullable=False))
    op.add_column("sessions", sa.Column("asked", sa.Text(), nullable=True))
    op.add_column("usage_records", sa.Column("lane", sa.Text(), server_default="standard", nullable=False))
    op.execute("UPDATE usage_records SET lane = (SELECT jobs.lane FROM jobs WHERE jobs.id = usage_records.job_id)")
    _search_jobs()
    _limit_principals()
    _set_policies()
    _keep_audit()
    _write_invoices()
    _find_what_is_kept()


def _search_jobs() -> None:
    op.create_table(
        "job_tags",
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("tag", sa.Text(), nullable=False),
        sa.Column("created_at_us", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("job_id", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["job_id", "tenant_id"], ["jobs.id", "jobs.tenant_id"], name=op.f("fk_job_tags_job_id_tenant_id")
        ),
        sa.PrimaryKeyConstraint("tenant_id", "tag", "created_at_us", "job_id", name=op.f("pk_job_tags")),
    )
    sqlite = op.get_bind().dialect.name == "sqlite"
    words = "json_each(jobs.tags)" if sqlite else "json_array_elements_text(jobs.tags) AS each(value)"
    op.execute(
        "INSERT INTO job_tags (tenant_id, tag, created_at_us, job_id) "  # noqa: S608 - two words that are ours
        f"SELECT DISTINCT jobs.tenant_id, value, jobs.created_at_us, jobs.id FROM jobs, {words}"
    )
    op.create_index("ix_jobs_backend", "jobs", ["tenant_id", "backend", "created_at_us", "id"])
    in_session = sa.text("session_id IS NOT NULL")
    op.create_index(
        "ix_jobs_session",
        "jobs",
        ["session_id", "created_at_us", "id"],
        sqlite_where=in_session,
        postgresql_where=in_session,
    )


def _limit_principals() -> None:
    """Nothing refers to these two tables, so they may be made anew where a primary key cannot be changed."""
    with op.batch_alter_table("limits") as limits:
        limits.add_column(sa.Column("principal_id", sa.Text(), server_default=sa.text("''"), nullable=False))
        limits.add_column(sa.Column("burst", sa.BigInteger(), server_default="0", nullable=False))
        limits.create_check_constraint(op.f("ck_limits_burst_not_negative"), "burst >= 0")
        limits.drop_constraint(op.f("pk_limits"), type_="primary")
        limits.create_primary_key(op.f("pk_limits"), ["tenant_id", "principal_id", "resource", "window"])
    with op.batch_alter_table("quota_windows") as windows:
        windows.add_column(sa.Column("principal_id", sa.Text(), server_default=sa.text("''"), nullable=False))
        windows.drop_constraint(op.f("pk_quota_windows"), type_="primary")
        windows.create_primary_key(
            op.f("pk_quota_windows"), ["tenant_id", "principal_id", "resource", "window", "start_us"]
        )


def _set_policies() -> None:
    op.create_table(
        "policies",
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("principal_id", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("max_queued_jobs", sa.Integer(), nullable=True),
        sa.Column("max_running_jobs", sa.Integer(), nullable=True),
        sa.Column("max_circuits", sa.Integer(), nullable=True),
        sa.Column("max_body_bytes", sa.BigInteger(), nullable=True),
        sa.Column("submissions_per_minute", sa.Integer(), nullable=True),
        sa.Column("burst", sa.Integer(), nullable=True),
        sa.Column("lanes", sa.JSON(), nullable=True),
        sa.Column("isolation", sa.JSON(), nullable=True),
        sa.Column("slices", sa.JSON(), nullable=True),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_policies_tenant_id")),
        sa.PrimaryKeyConstraint("tenant_id", "principal_id", name=op.f("pk_policies")),
    )
    limits_running = sa.text("max_running_jobs IS NOT NULL")
    op.create_index(
        "ix_policies_running",
        "policies",
        ["tenant_id"],
        sqlite_where=limits_running,
        postgresql_where=limits_running,
    )
    op.create_table(
        "rate_limits",
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("principal_id", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("counts", sa.Text(), server_default="submissions", nullable=False),
        sa.Column("arrival_at_us", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_rate_limits_tenant_id")),
        sa.PrimaryKeyConstraint("tenant_id", "principal_id", "counts", name=op.f("pk_rate_limits")),
    )


def _keep_audit() -> None:
    op.create_table(
        "audit_log",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("at_us", sa.BigInteger(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("tenant_id", sa.Text(), nullable=True),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("facts", sa.JSON(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=True),
        sa.Column("seal", sa.Text(), nullable=True),
        sa.CheckConstraint("(number IS NULL) = (seal IS NULL)", name=op.f("ck_audit_log_sealed_whole")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_log")),
        sa.UniqueConstraint("number", name=op.f("uq_audit_log_number")),
    )
    unsealed = sa.text("number IS NULL")
    op.create_index("ix_audit_log_unsealed", "audit_log", ["id"], sqlite_where=unsealed, postgresql_where=unsealed)
    op.create_index("ix_audit_log_tenant", "audit_log", ["tenant_id", "at_us"])
    op.create_index("ix_audit_log_at", "audit_log", ["at_us"])


def _write_invoices() -> None:
    op.create_table(
        "invoices",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("month", sa.Text(), nullable=False),
        sa.Column("issued_at_us", sa.BigInteger(), nullable=False),
        sa.Column("charged_micro", sa.BigInteger(), nullable=False),
        sa.Column("allowance_micro", sa.BigInteger(), nullable=False),
        sa.Column("total_micro", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_invoices_tenant_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_invoices")),
        sa.UniqueConstraint("id", "tenant_id", name=op.f("uq_invoices_id_tenant_id")),
        sa.UniqueConstraint("tenant_id", "month", name=op.f("uq_invoices_tenant_id_month")),
    )
    op.create_table(
        "invoice_lines",
        sa.Column("invoice_id", sa.Text(), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("device_id", sa.Text(), nullable=True),
        sa.Column("lane", sa.Text(), nullable=True),
        sa.Column("price_book", sa.Text(), nullable=True),
        sa.Column("records", sa.Integer(), nullable=False),
        sa.Column("shots", sa.BigInteger(), nullable=False),
        sa.Column("device_us", sa.BigInteger(), nullable=False),
        sa.Column("amount_micro", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["invoice_id", "tenant_id"],
            ["invoices.id", "invoices.tenant_id"],
            name=op.f("fk_invoice_lines_invoice_id_tenant_id"),
        ),
        sa.PrimaryKeyConstraint("invoice_id", "number", name=op.f("pk_invoice_lines")),
    )


def _find_what_is_kept() -> None:
    """For archiving: jobs by their end, and who names a blob."""
    for name, table, columns, only in (
        ("kept", "jobs", ["finished_at_us", "id"], "finished_at_us IS NOT NULL AND archived_at_us IS NULL"),
        ("program", "jobs", ["program_sha"], None),
        ("result", "jobs", ["result_sha"], "result_sha IS NOT NULL"),
        ("record", "placements", ["record_sha"], None),
        ("part", "placements", ["part_sha"], "part_sha IS NOT NULL"),
        ("rounds", "batches", ["rounds_sha"], None),
        ("plan", "batches", ["plan_sha"], None),
    ):
        where = None if only is None else sa.text(only)
        op.create_index(f"ix_{table}_{name}", table, columns, sqlite_where=where, postgresql_where=where)
