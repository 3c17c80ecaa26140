"""The tables of who shares the service, and how much each may use.

The others, with the conventions of all of them, are in ``schema.py``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Dialect,
    ForeignKey,
    ForeignKeyConstraint,
    Integer,
    MetaData,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
)
from typing_extensions import override

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
