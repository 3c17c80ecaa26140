"""A tenant's principals, for who manages them: made, listed, changed, limited, and given keys.

The rules are in ``domain/principals.py``; what is audited is in ``pipeline/principals.py``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Query, Response

from qpu_backend.domain.policies import NOT_LIMITED
from qpu_backend.domain.tenancy import Role
from qpu_backend.http.auth import ManagePrincipals  # noqa: TC001 - FastAPI reads annotations at run time
from qpu_backend.http.documents import wall
from qpu_backend.http.door import AtDoor  # noqa: TC001
from qpu_backend.http.keys import expiry, key_document, new_key
from qpu_backend.http.limits import limits_of, policy_document, quota_document
from qpu_backend.http.paths import PrincipalId  # noqa: TC001
from qpu_backend.pipeline.keepers import own_keeper
from qpu_backend.stores import access
from qpu_sdk.wire.principals import (
    KeyPage,
    KeyRequest,
    NewKey,
    PrincipalChange,
    PrincipalDetails,
    PrincipalDocument,
    PrincipalPage,
    PrincipalRequest,
)

if TYPE_CHECKING:
    from qpu_backend.domain.tenancy import TenantScope
    from qpu_backend.http.door import Door
    from qpu_backend.stores.access import PrincipalRow

router = APIRouter(prefix="/principals", tags=["principals"])


@router.post("", status_code=201)
def create(door: AtDoor, scope: ManagePrincipals, order: PrincipalRequest, response: Response) -> PrincipalDocument:
    """A new principal of the tenant, without keys and without limits of its own."""
    row = door.principals.create(own_keeper(scope), order.name, Role(order.role))
    response.headers["Location"] = f"/v1/principals/{row.id}"
    return _document(row)


@router.get("")
def list_principals(
    door: AtDoor,
    scope: ManagePrincipals,
    cursor: Annotated[str | None, Query(max_length=256)] = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
) -> PrincipalPage:
    """The tenant's principals, oldest first."""
    rows, following = door.principals.page(own_keeper(scope), cursor=cursor, limit=limit)
    return PrincipalPage(principals=[_document(row) for row in rows], next_cursor=following)


@router.get("/{principal_id}")
def look(door: AtDoor, scope: ManagePrincipals, principal_id: PrincipalId) -> PrincipalDetails:
    """A principal and its own limits."""
    return _details(door, scope, door.principals.get(own_keeper(scope), principal_id))


@router.patch("/{principal_id}")
def change(
    door: AtDoor, scope: ManagePrincipals, principal_id: PrincipalId, order: PrincipalChange
) -> PrincipalDetails:
    """Another role, locked out or let in again, other limits. What is not sent stays as it is.

    All of it is changed, at once, or nothing.
    """
    keeper = own_keeper(scope)
    role = None if order.role is None else Role(order.role)
    limits = limits_of(order)
    row = door.principals.change(keeper, principal_id, role=role, disabled=order.disabled, limits=limits)
    return _details(door, scope, row)


@router.post("/{principal_id}/keys", status_code=201)
def create_key(door: AtDoor, scope: ManagePrincipals, principal_id: PrincipalId, order: KeyRequest) -> NewKey:
    """A new key of a principal, shown this once."""
    expires_at_us = expiry(door, order.expires_at)
    keeper = own_keeper(scope)
    return new_key(*door.keys.create(keeper, principal_id, label=order.label, expires_at_us=expires_at_us))


@router.get("/{principal_id}/keys")
def list_keys(
    door: AtDoor,
    scope: ManagePrincipals,
    principal_id: PrincipalId,
    cursor: Annotated[str | None, Query(max_length=256)] = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
) -> KeyPage:
    """A principal's keys, newest first, those that have ended too; without the keys."""
    rows, following = door.keys.page(own_keeper(scope), principal_id, cursor=cursor, limit=limit)
    return KeyPage(keys=[key_document(row) for row in rows], next_cursor=following)


def _document(row: PrincipalRow) -> PrincipalDocument:
    return PrincipalDocument(
        id=row.id, name=row.name, role=row.role.value, disabled=row.disabled, created_at=wall(row.created_at_us)
    )


def _details(door: Door, scope: TenantScope, row: PrincipalRow) -> PrincipalDetails:
    tenant = _tenant_name(door, scope)
    policy = door.administration.policies(tenant).get(row.name, NOT_LIMITED)
    quotas = [quota_document(line) for _, line in door.administration.limits(tenant) if line.principal_id == row.id]
    return PrincipalDetails(**_document(row).model_dump(), quotas=quotas, policy=policy_document(policy))


def _tenant_name(door: Door, scope: TenantScope) -> str:
    with door.database.read() as connection:
        return access.read_tenant(connection, scope).name
