"""The first tables: tenants, quota, devices and their batches.

Revision: 0001
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Forward; there is no way back."""
    op.create_table(
        "blobs",
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("codec", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("sha256", name=op.f("pk_blobs")),
    )
    op.create_table(
        "devices",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("model", sa.JSON(), nullable=False),
        sa.Column("device_time_us", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("virtual_time", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("snapshot_id", sa.Text(), nullable=True),
        sa.Column("operational", sa.Boolean(), server_default="1", nullable=False),
        sa.Column("status_msg", sa.Text(), server_default="active", nullable=False),
        sa.Column("lease_epoch", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("lease_holder", sa.Text(), nullable=True),
        sa.Column("lease_expires_at_us", sa.BigInteger(), nullable=True),
        sa.Column("lease_boot_id", sa.Text(), nullable=True),
        sa.Column("lease_pid", sa.Integer(), nullable=True),
        sa.Column("lease_pid_started", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_devices")),
    )
    op.create_table(
        "price_books",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("valid_from_us", sa.BigInteger(), nullable=False),
        sa.Column("rates", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_price_books")),
    )
    op.create_table(
        "tenants",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("created_at_us", sa.BigInteger(), nullable=False),
        sa.Column("weight", sa.Integer(), server_default="100", nullable=False),
        sa.Column("max_queued_jobs", sa.Integer(), server_default="1000", nullable=False),
        sa.Column("event_cursor", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("disabled", sa.Boolean(), server_default="0", nullable=False),
        sa.CheckConstraint("weight > 0", name=op.f("ck_tenants_weight_positive")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tenants")),
        sa.UniqueConstraint("name", name=op.f("uq_tenants_name")),
    )
    op.create_table(
        "fair_share",
        sa.Column("device_id", sa.Text(), nullable=False),
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("lane", sa.Text(), nullable=False),
        sa.Column("finish_tag", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["device_id"], ["devices.id"], name=op.f("fk_fair_share_device_id")),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_fair_share_tenant_id")),
        sa.PrimaryKeyConstraint("device_id", "tenant_id", "lane", name=op.f("pk_fair_share")),
    )
    op.create_table(
        "limits",
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("resource", sa.Text(), nullable=False),
        sa.Column("window", sa.Text(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("amount >= 0", name=op.f("ck_limits_amount_not_negative")),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_limits_tenant_id")),
        sa.PrimaryKeyConstraint("tenant_id", "resource", "window", name=op.f("pk_limits")),
    )
    op.create_table(
        "postings",
        sa.Column("transaction_id", sa.Text(), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("amount_micro", sa.BigInteger(), nullable=False),
        sa.Column("posted_at_us", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_postings_tenant_id")),
        sa.PrimaryKeyConstraint("transaction_id", "account", name=op.f("pk_postings")),
    )
    op.create_index("ix_postings_tenant", "postings", ["tenant_id"], unique=False)
    op.create_table(
        "principals",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("created_at_us", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_principals_tenant_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_principals")),
        sa.UniqueConstraint("id", "tenant_id", name=op.f("uq_principals_id_tenant_id")),
        sa.UniqueConstraint("tenant_id", "name", name=op.f("uq_principals_tenant_id_name")),
    )
    op.create_table(
        "quota_windows",
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("resource", sa.Text(), nullable=False),
        sa.Column("window", sa.Text(), nullable=False),
        sa.Column("start_us", sa.BigInteger(), nullable=False),
        sa.Column("reserved", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("spent", sa.BigInteger(), server_default="0", nullable=False),
        sa.CheckConstraint("reserved >= 0", name=op.f("ck_quota_windows_reserved_not_negative")),
        sa.CheckConstraint("spent >= 0", name=op.f("ck_quota_windows_spent_not_negative")),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_quota_windows_tenant_id")),
        sa.PrimaryKeyConstraint("tenant_id", "resource", "window", "start_us", name=op.f("pk_quota_windows")),
    )
    op.create_table(
        "snapshots",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("device_id", sa.Text(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("published_at_us", sa.BigInteger(), nullable=False),
        sa.Column("device_time_us", sa.BigInteger(), nullable=False),
        sa.Column("blob_sha", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["blob_sha"], ["blobs.sha256"], name=op.f("fk_snapshots_blob_sha")),
        sa.ForeignKeyConstraint(["device_id"], ["devices.id"], name=op.f("fk_snapshots_device_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_snapshots")),
        sa.UniqueConstraint("device_id", "number", name=op.f("uq_snapshots_device_id_number")),
    )
    op.create_table(
        "calibrations",
        sa.Column("device_id", sa.Text(), nullable=False),
        sa.Column("device_time_us", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("device_us", sa.BigInteger(), nullable=False),
        sa.Column("ended_at_us", sa.BigInteger(), nullable=False),
        sa.Column("snapshot_id", sa.Text(), nullable=True),
        sa.Column("failure", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "(snapshot_id IS NULL) = (failure IS NOT NULL)", name=op.f("ck_calibrations_published_or_failed")
        ),
        sa.ForeignKeyConstraint(["device_id"], ["devices.id"], name=op.f("fk_calibrations_device_id")),
        sa.ForeignKeyConstraint(["snapshot_id"], ["snapshots.id"], name=op.f("fk_calibrations_snapshot_id")),
        sa.PrimaryKeyConstraint("device_id", "device_time_us", name=op.f("pk_calibrations")),
    )
    op.create_table(
        "api_keys",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("principal_id", sa.Text(), nullable=False),
        sa.Column("key_hmac", sa.Text(), nullable=False),
        sa.Column("created_at_us", sa.BigInteger(), nullable=False),
        sa.Column("expires_at_us", sa.BigInteger(), nullable=True),
        sa.Column("revoked_at_us", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(
            ["principal_id", "tenant_id"],
            ["principals.id", "principals.tenant_id"],
            name=op.f("fk_api_keys_principal_id_tenant_id"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_keys")),
        sa.UniqueConstraint("key_hmac", name=op.f("uq_api_keys_key_hmac")),
    )
    op.create_table(
        "batches",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("device_id", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("created_at_us", sa.BigInteger(), nullable=False),
        sa.Column("finished_at_us", sa.BigInteger(), nullable=True),
        sa.Column("snapshot_id", sa.Text(), nullable=False),
        sa.Column("device_start_us", sa.BigInteger(), nullable=False),
        sa.Column("device_us", sa.BigInteger(), nullable=False),
        sa.Column("view_digest", sa.Text(), nullable=False),
        sa.Column("explanation", sa.JSON(), nullable=False),
        sa.Column("rounds_sha", sa.Text(), nullable=False),
        sa.Column("plan_sha", sa.Text(), nullable=False),
        sa.CheckConstraint("state IN ('running', 'done', 'dissolved')", name=op.f("ck_batches_state_known")),
        sa.ForeignKeyConstraint(["device_id"], ["devices.id"], name=op.f("fk_batches_device_id")),
        sa.ForeignKeyConstraint(["rounds_sha"], ["blobs.sha256"], name=op.f("fk_batches_rounds_sha")),
        sa.ForeignKeyConstraint(["plan_sha"], ["blobs.sha256"], name=op.f("fk_batches_plan_sha")),
        sa.ForeignKeyConstraint(["snapshot_id"], ["snapshots.id"], name=op.f("fk_batches_snapshot_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_batches")),
    )
    op.create_index("ix_batches_device_state", "batches", ["device_id", "state", "device_start_us"], unique=False)
