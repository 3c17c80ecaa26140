"""Who keeps the principals of a tenant, and how far that reaches: whoever runs the service, and the tenant's own.

The latter are bound by the rules of ``domain/principals.py``. A principal that manages nobody keeps its own keys, and
those of others do not exist for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from qpu_backend.domain.audit import by_principal
from qpu_backend.domain.errors import NotFound
from qpu_backend.domain.principals import Standing
from qpu_backend.domain.tenancy import Permission, Role, SystemScope, TenantId, TenantScope
from qpu_backend.stores import audit, keys, principals

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from sqlalchemy import Connection

    from qpu_backend.stores.access import PrincipalRow


@dataclass(frozen=True, slots=True)
class Keeper:
    """Who keeps the principals of a tenant.

    Attributes:
        scope: by which right.
        tenant_id: of which tenant.
        actor: who is noted in the audit log.
    """

    scope: SystemScope | TenantScope
    tenant_id: TenantId
    actor: str

    @property
    def bound(self) -> TenantScope | None:
        """The scope of a principal of the tenant, who is bound by its rules; ``None``: who runs the service."""
        return self.scope if isinstance(self.scope, TenantScope) else None

    def reaches(self, principal_id: str) -> bool:
        """Whether this principal exists for the keeper: every one of the tenant, or its own."""
        bound = self.bound
        return bound is None or bound.principal_id == principal_id or bound.may(Permission.MANAGE_PRINCIPALS)


def own_keeper(scope: TenantScope) -> Keeper:
    """A principal that keeps its own tenant's."""
    return Keeper(scope, scope.tenant_id, by_principal(scope.principal_id))


def found(connection: Connection, keeper: Keeper, principal_id: str, *, lock: bool = False) -> PrincipalRow:
    """A principal of the keeper's tenant; with ``lock``, nobody else changes it before this transaction has ended.

    Raises:
        NotFound: the tenant has no such one.
    """
    row = principals.get_principal(connection, keeper.scope, keeper.tenant_id, principal_id, lock=lock)
    if row is None:
        raise NotFound("principal", principal_id)
    return row


def standings(
    connection: Connection,
    keeper: Keeper,
    roster: Collection[PrincipalRow | Standing],
    now_us: int,
    *,
    administrators_have_tokens: bool,
) -> list[Standing]:
    """Principals as they stand, asked after they are locked: who of the administrators has a way in."""
    administrators = [row.id for row in roster if row.role is Role.TENANT_ADMIN]
    live = keys.with_live_keys(connection, keeper.scope, keeper.tenant_id, administrators, now_us)
    return [Standing(row.id, row.role, row.disabled, administrators_have_tokens or row.id in live) for row in roster]


def note(
    connection: Connection, keeper: Keeper, action: str, subject: str, facts: Mapping[str, object], now_us: int
) -> None:
    """Leave a row in the audit log of the keeper's tenant."""
    audit.append(
        connection,
        keeper.scope,
        actor=keeper.actor,
        action=action,
        subject=subject,
        tenant_id=keeper.tenant_id,
        facts=facts,
        now_us=now_us,
    )
