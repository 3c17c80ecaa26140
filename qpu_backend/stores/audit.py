"""The audit log: who did what to whom. Rows are only ever added; sealing them is ``pipeline/auditing.py``'s."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Connection, insert

from qpu_backend.domain.tenancy import SystemScope, TenantScope
from qpu_backend.stores.errors import ForeignTenant
from qpu_backend.stores.ids import new_id
from qpu_backend.stores.schema_access import audit_log

if TYPE_CHECKING:
    from collections.abc import Mapping


def append(
    connection: Connection,
    scope: SystemScope | TenantScope,
    *,
    actor: str,
    action: str,
    subject: str,
    tenant_id: str | None,
    facts: Mapping[str, Any],
    now_us: int,
) -> None:
    """Note an administrative, access or money-changing action in the transaction that does it.

    Args:
        connection: of that transaction.
        scope: the tenant whose matter it is, or the service.
        actor: ``principal:<id>``, ``cli`` or ``service``.
        action: what was done, ``noun.verb`` in the past tense: ``key.created``.
        subject: id of what it was done to.
        tenant_id: whose matter it is; ``None``: the service's.
        facts: what one needs to understand it later, plain JSON; never a key, never a payload.
        now_us: wall time.

    Raises:
        ForeignTenant: a tenant's scope and another tenant's matter.
    """
    if isinstance(scope, TenantScope) and scope.tenant_id != tenant_id:
        raise ForeignTenant(f"a matter of {tenant_id} under the scope of {scope.tenant_id}")
    row = {
        "id": new_id("aud"),
        "at_us": now_us,
        "actor": actor,
        "tenant_id": tenant_id,
        "action": action,
        "subject": subject,
        "facts": dict(facts),
    }
    connection.execute(_APPEND, row)


_APPEND: Final = insert(audit_log)
