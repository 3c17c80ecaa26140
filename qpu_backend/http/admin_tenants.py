"""Tenants, for who runs the service: made, listed, weighed, limited, locked out, and given their first keys."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Query, Response

from qpu_backend.domain.audit import by_principal
from qpu_backend.domain.errors import NotFound
from qpu_backend.domain.tenancy import Role
from qpu_backend.http.auth import Administer  # noqa: TC001 - FastAPI reads annotations at run time
from qpu_backend.http.documents import wall
from qpu_backend.http.door import AtDoor  # noqa: TC001
from qpu_backend.http.keys import expiry
from qpu_backend.http.limits import limits_of, policy_document, quota_document
from qpu_backend.stores.errors import MissingRow
from qpu_sdk.wire.administration import (
    TenantChange,
    TenantDetails,
    TenantDocument,
    TenantKey,
    TenantKeyRequest,
    TenantPage,
    TenantRequest,
)

if TYPE_CHECKING:
    from qpu_backend.http.door import Door
    from qpu_backend.stores.access import TenantRow

router = APIRouter(prefix="/admin/tenants", tags=["administration"])


@router.post("", status_code=201)
def create(door: AtDoor, scope: Administer, order: TenantRequest, response: Response) -> TenantDocument:
    """A new tenant, without principals; its first key: ``POST …/keys``."""
    row = door.administration.create_tenant(
        order.name, weight=order.weight, max_queued_jobs=order.max_queued_jobs, actor=by_principal(scope.principal_id)
    )
    response.headers["Location"] = f"/v1/admin/tenants/{row.name}"
    return _document(row)


@router.get("")
def list_tenants(
    door: AtDoor,
    _scope: Administer,
    cursor: Annotated[str | None, Query(max_length=256)] = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
) -> TenantPage:
    """Every tenant, oldest first."""
    rows, following = door.administration.page_of_tenants(cursor=cursor, limit=limit)
    return TenantPage(tenants=[_document(row) for row in rows], next_cursor=following)


@router.get("/{tenant}")
def look(door: AtDoor, _scope: Administer, tenant: str) -> TenantDetails:
    """A tenant and its own limits."""
    return _details(door, tenant)


@router.patch("/{tenant}")
def change(door: AtDoor, scope: Administer, tenant: str, order: TenantChange) -> TenantDetails:
    """Another weight, locked out or let in again, other limits: all of it is changed, at once, or nothing."""
    _existing(door, tenant)
    door.administration.change_tenant(
        tenant,
        weight=order.weight,
        disabled=order.disabled,
        limits=limits_of(order),
        actor=by_principal(scope.principal_id),
    )
    return _details(door, tenant)


@router.post("/{tenant}/keys", status_code=201)
def create_key(door: AtDoor, scope: Administer, tenant: str, order: TenantKeyRequest) -> TenantKey:
    """A new key for a tenant's principal, shown this once."""
    _existing(door, tenant)
    key, owner = door.administration.create_key_of(
        tenant,
        principal=order.principal,
        role=None if order.role is None else Role(order.role),
        expires_at_us=expiry(door, order.expires_at),
        label=order.label,
        actor=by_principal(scope.principal_id),
        author=scope,
    )
    return TenantKey(tenant=tenant, principal=owner.name, role=owner.role.value, key=key)


def _existing(door: Door, name: str) -> TenantRow:
    try:
        return door.administration.tenant(name)
    except MissingRow as error:
        raise NotFound("tenant", name) from error


def _document(row: TenantRow) -> TenantDocument:
    return TenantDocument(
        id=row.id, name=row.name, weight=row.weight, disabled=row.disabled, created_at=wall(row.created_at_us)
    )


def _details(door: Door, name: str) -> TenantDetails:
    document = _document(_existing(door, name))
    quotas = [quota_document(line) for owner, line in door.administration.limits(name) if owner is None]
    policy = policy_document(door.administration.policies(name)[None])
    return TenantDetails(**document.model_dump(), quotas=quotas, policy=policy)
