"""Who may do what: tenants, principals, roles, and the proofs that a question about them was asked.

A :class:`TenantScope` says "this request has been authenticated as this principal of this tenant". A
:class:`SystemScope` says "this is the service itself". Stores accept nothing else, so a query that forgot its tenant
does not type-check. They are made only in ``http/auth.py`` and ``bootstrap.py``; an architecture test checks that.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NewType, final

TenantId = NewType("TenantId", str)
PrincipalId = NewType("PrincipalId", str)


class Role(StrEnum):
    """What a principal is to its tenant, or to the service."""

    MEMBER = "member"
    TENANT_ADMIN = "tenant_admin"
    OPERATOR = "operator"
    BILLING = "billing"
    AUDITOR = "auditor"


class Permission(StrEnum):
    """What a route asks for."""

    READ_BACKENDS = "read_backends"
    SUBMIT_JOBS = "submit_jobs"
    READ_JOBS = "read_jobs"
    CANCEL_JOBS = "cancel_jobs"
    READ_USAGE = "read_usage"
    READ_INVOICES = "read_invoices"
    MANAGE_PRINCIPALS = "manage_principals"
    READ_AUDIT = "read_audit"
    OPERATE = "operate"
    ADMINISTER = "administer"
    KEEP_BOOKS = "keep_books"
    READ_METRICS = "read_metrics"


_MEMBER: Final = frozenset(
    {
        Permission.READ_BACKENDS,
        Permission.SUBMIT_JOBS,
        Permission.READ_JOBS,
        Permission.CANCEL_JOBS,
        Permission.READ_USAGE,
    }
)

PERMISSIONS: Final[dict[Role, frozenset[Permission]]] = {
    Role.MEMBER: _MEMBER,
    Role.TENANT_ADMIN: _MEMBER | {Permission.READ_INVOICES, Permission.MANAGE_PRINCIPALS, Permission.READ_AUDIT},
    Role.OPERATOR: frozenset(Permission),
    Role.BILLING: frozenset({Permission.READ_BACKENDS, Permission.READ_USAGE, Permission.READ_INVOICES}),
    Role.AUDITOR: frozenset(
        {
            Permission.READ_BACKENDS,
            Permission.READ_JOBS,
            Permission.READ_USAGE,
            Permission.READ_INVOICES,
            Permission.READ_AUDIT,
        }
    ),
}
"""The whole role table. ``operate`` (devices), ``administer`` (tenants), ``keep_books`` (prices, invoices of everybody)
and ``read_metrics`` reach across tenants and are the operator's alone; with every other permission a principal, the
operator's too, acts within its own tenant only."""


@final
@dataclass(frozen=True, slots=True)
class TenantScope:
    """Proof of authentication: one principal of one tenant."""

    tenant_id: TenantId
    principal_id: PrincipalId
    role: Role

    def may(self, permission: Permission) -> bool:
        """Whether this principal's role grants the permission."""
        return permission in PERMISSIONS[self.role]


@final
@dataclass(frozen=True, slots=True)
class SystemScope:
    """Proof that the service itself asks, across tenants."""

    reason: str
