"""The tables of who shares the service, how much each may use, and what was done to that.

The others, with the conventions of all of them, are in ``schema.py``.
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
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    text,
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

_NOTHING = text("''")

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
    Column("disabled", Boolean, nullable=False, server_default="0"),
    Column("role_set_at_us", BigInteger),  # issue of the newest token that said the role; NULL: none did
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
    Column("label", Text, nullable=False, server_default=_NOTHING),
    Column("replaces", Text),  # the key in whose place this one was made
    ForeignKeyConstraint(["principal_id", "tenant_id"], ["principals.id", "principals.tenant_id"]),
    Index("ix_api_keys_principal", "principal_id", "created_at_us"),
)
_REPLACES = api_keys.c.replaces.is_not(None)
Index("ix_api_keys_replaces", api_keys.c.replaces, sqlite_where=_REPLACES, postgresql_where=_REPLACES)

# --- policy and quota: of a tenant, and of one of its principals; a principal_id of '' means the tenant as a whole --

policies = Table(  # NULL: not limited
    "policies",
    metadata,
    Column("tenant_id", Text, ForeignKey("tenants.id"), primary_key=True),
    Column("principal_id", Text, primary_key=True, server_default=_NOTHING),
    Column("max_queued_jobs", Integer),  # of a principal; a tenant's is in its own row
    Column("max_running_jobs", Integer),
    Column("max_circuits", Integer),  # of a job
    Column("max_body_bytes", BigInteger),  # of a submission
    Column("submissions_per_minute", Integer),
    Column("burst", Integer),  # submissions that may come at once
    Column("lanes", JSON(none_as_null=True)),
    Column("isolation", JSON(none_as_null=True)),  # classes of it
    Column("slices", JSON(none_as_null=True)),  # of a principal: which of the tenant's
)

_LIMITS_RUNNING = policies.c.max_running_jobs.is_not(None)
Index("ix_policies_running", policies.c.tenant_id, sqlite_where=_LIMITS_RUNNING, postgresql_where=_LIMITS_RUNNING)

rate_limits = Table(
    "rate_limits",
    metadata,
    Column("tenant_id", Text, ForeignKey("tenants.id"), primary_key=True),
    Column("principal_id", Text, primary_key=True, server_default=_NOTHING),
    Column("counts", Text, primary_key=True, server_default="submissions"),  # submissions | keys
    Column("arrival_at_us", BigInteger, nullable=False),  # theoretical arrival time of the generic cell rate algorithm
)

limits = Table(
    "limits",
    metadata,
    Column("tenant_id", Text, ForeignKey("tenants.id"), primary_key=True),
    Column("principal_id", Text, primary_key=True, server_default=_NOTHING),
    Column("resource", Text, primary_key=True),  # shots | device_us | spend_micro
    Column("window", Text, primary_key=True),  # hour | day | month
    Column("amount", BigInteger, nullable=False),
    Column("burst", BigInteger, nullable=False, server_default="0"),  # what the window before left that may be added
    CheckConstraint("amount >= 0", name="amount_not_negative"),
    CheckConstraint("burst >= 0", name="burst_not_negative"),
)

quota_windows = Table(
    "quota_windows",
    metadata,
    Column("tenant_id", Text, ForeignKey("tenants.id"), primary_key=True),
    Column("principal_id", Text, primary_key=True, server_default=_NOTHING),
    Column("resource", Text, primary_key=True),
    Column("window", Text, primary_key=True),
    Column("start_us", BigInteger, primary_key=True),
    Column("reserved", BigInteger, nullable=False, server_default="0"),
    Column("spent", BigInteger, nullable=False, server_default="0"),
    CheckConstraint("reserved >= 0", name="reserved_not_negative"),
    CheckConstraint("spent >= 0", name="spent_not_negative"),
)

# --- audit ---------------------------------------------------------------------------------------------------------

audit_log = (
    Table(  # rows are inserted unsealed; one sealer numbers them and chains them, nobody changes them afterwards
        "audit_log",
        metadata,
        Column("id", Text, primary_key=True),
        Column("at_us", BigInteger, nullable=False),
        Column("actor", Text, nullable=False),  # principal:<id> | cli | service
        Column("tenant_id", Text),  # whose matter it is; NULL: the service's
        Column("action", Text, nullable=False),  # e.g. key.created
        Column("subject", Text, nullable=False),  # id of what it was done to
        Column("facts", JSON, nullable=False),  # never a key, never a payload
        Column("number", BigInteger, unique=True),  # in the chain, from 1; NULL until sealed
        Column("seal", Text),  # HMAC-SHA256 over the seal before and this row
        CheckConstraint("(number IS NULL) = (seal IS NULL)", name="sealed_whole"),
    )
)
_UNSEALED = audit_log.c.number.is_(None)
Index("ix_audit_log_unsealed", audit_log.c.id, sqlite_where=_UNSEALED, postgresql_where=_UNSEALED)
Index("ix_audit_log_tenant", audit_log.c.tenant_id, audit_log.c.at_us)
Index("ix_audit_log_at", audit_log.c.at_us)
