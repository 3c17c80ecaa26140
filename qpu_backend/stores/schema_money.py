"""The tables of money: rates, what was used, double-entry postings, and invoices. Facts are never edited.

The others, with the conventions of all of them, are in ``schema.py``. Who imports this module has loaded all tables.
"""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    Table,
    Text,
    UniqueConstraint,
)

from qpu_backend.domain.jobs import JobState
from qpu_backend.stores.schema import jobs
from qpu_backend.stores.schema_access import Word, metadata, tenants

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
    Column("lane", Text, nullable=False, server_default="standard"),
    ForeignKeyConstraint(["job_id", "tenant_id"], [jobs.c.id, jobs.c.tenant_id]),
)
Index("ix_usage_records_tenant", usage_records.c.tenant_id, usage_records.c.recorded_at_us)

postings = Table(
    "postings",
    metadata,
    Column("transaction_id", Text, primary_key=True),  # the usage record's id, or a top-up's
    Column("account", Text, primary_key=True),  # tenant:<id> | revenue
    Column("tenant_id", Text, ForeignKey(tenants.c.id), nullable=False),
    Column("amount_micro", BigInteger, nullable=False),
    Column("posted_at_us", BigInteger, nullable=False),
)
Index("ix_postings_tenant", postings.c.tenant_id)

invoices = Table(
    "invoices",
    metadata,
    Column("id", Text, primary_key=True),
    Column("tenant_id", Text, ForeignKey(tenants.c.id), nullable=False),
    Column("month", Text, nullable=False),  # 2026-11, UTC
    Column("issued_at_us", BigInteger, nullable=False),
    Column("charged_micro", BigInteger, nullable=False),  # sum of its lines without the allowance
    Column("allowance_micro", BigInteger, nullable=False),  # given back, at most what was charged
    Column("total_micro", BigInteger, nullable=False),
    UniqueConstraint("tenant_id", "month"),
    UniqueConstraint("id", "tenant_id"),
)

invoice_lines = Table(  # each is the sum of raw records that it names by what they have in common
    "invoice_lines",
    metadata,
    Column("invoice_id", Text, primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("tenant_id", Text, nullable=False),
    Column("kind", Text, nullable=False),  # jobs | sessions | allowance
    Column("device_id", Text),
    Column("lane", Text),
    Column("price_book", Text),
    Column("records", Integer, nullable=False),
    Column("shots", BigInteger, nullable=False),
    Column("device_us", BigInteger, nullable=False),
    Column("amount_micro", BigInteger, nullable=False),
    ForeignKeyConstraint(["invoice_id", "tenant_id"], ["invoices.id", "invoices.tenant_id"]),
)
