"""Quotas and policies of a tenant or of one of its principals, changed in the transaction of whoever changes them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from qpu_backend.domain.policies import NOT_LIMITED
from qpu_backend.domain.quota import require_limit
from qpu_backend.stores import access, audit, policies, quota

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Connection

    from qpu_backend.domain.policies import Policy
    from qpu_backend.domain.quota import Resource, Window
    from qpu_backend.domain.tenancy import SystemScope

PolicyValue = int | tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class NewQuota:
    """What may be used in every window of a kind; an amount of ``None`` lifts the limit.

    Attributes:
        burst: what one window may take over from the one before.
    """

    resource: Resource
    window: Window
    amount: int | None
    burst: int = 0


@dataclass(frozen=True, slots=True)
class NewLimits:
    """Limits as they are to be; what is not named stays as it is.

    Attributes:
        quotas: each window of a resource once.
        policy: by the fields of :class:`~qpu_backend.domain.policies.Policy`; ``None`` lifts one.
    """

    quotas: tuple[NewQuota, ...] = ()
    policy: Mapping[str, PolicyValue] = field(default_factory=dict[str, PolicyValue])

    def __bool__(self) -> bool:
        return bool(self.quotas or self.policy)

    def check(self) -> None:
        """Refuse what is no limit.

        Raises:
            InvalidRequest: a number or a name that is none, or there is no such field.
        """
        for one in self.quotas:
            require_limit(one.amount or 0, one.burst)
        for name, value in self.policy.items():
            NOT_LIMITED.with_field(name, value)


NO_LIMITS: Final = NewLimits()


def put_limits(
    connection: Connection,
    scope: SystemScope,
    tenant_id: str,
    limits: NewLimits,
    *,
    principal_id: str,
    actor: str,
    now_us: int,
) -> Policy | None:
    """Change limits, each with a row in the audit log.

    Args:
        connection: of a write transaction.
        scope: of the service.
        tenant_id: whose limits they are.
        limits: checked before.
        principal_id: of which of its principals; '' is the tenant as a whole.
        actor: who asks for it.
        now_us: wall time.

    Returns:
        The policy as it stands now, where that was changed.
    """

    def note(action: str, facts: Mapping[str, object]) -> None:
        audit.append(
            connection,
            scope,
            actor=actor,
            action=action,
            subject=principal_id or tenant_id,
            tenant_id=tenant_id,
            facts=facts,
            now_us=now_us,
        )

    for one in sorted(limits.quotas, key=lambda each: (each.resource, each.window)):  # locks, in everybody's order
        quota.set_limit(
            connection,
            scope,
            tenant_id=tenant_id,
            resource=one.resource,
            window=one.window,
            amount=one.amount,
            principal_id=principal_id,
            burst=one.burst,
        )
        facts = {"resource": one.resource, "window": one.window, "amount": one.amount, "burst": one.burst}
        note("quota.lifted" if one.amount is None else "quota.set", facts)
    changed = None
    for name, value in limits.policy.items():
        changed = _put_field(connection, scope, tenant_id, principal_id, name, value)
        note("policy.cleared" if value is None else "policy.set", {"field": name, "value": value})
    return changed


def _put_field(
    connection: Connection, scope: SystemScope, tenant_id: str, principal_id: str, name: str, value: PolicyValue
) -> Policy:
    asked = NOT_LIMITED.with_field(name, value)
    if name == "max_queued_jobs" and not principal_id:  # stands in the tenant's own row
        length = access.DEFAULT_MAX_QUEUED_JOBS if asked.max_queued_jobs is None else asked.max_queued_jobs
        access.set_max_queued_jobs(connection, scope, tenant_id, length)
        before = policies.read_policies(connection, scope, tenant_id).get("", NOT_LIMITED)
        return replace(before, max_queued_jobs=length)
    changed = policies.lock_policy(connection, scope, tenant_id, principal_id).with_field(name, value)
    policies.write_policy(connection, scope, tenant_id, changed, principal_id)
    return changed
