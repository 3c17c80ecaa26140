"""A tenant's principals, for who manages them: made, listed, changed, limited, and given keys.

The rules are in ``domain/principals.py``; what is audited is in ``pipeline/principals.py``.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Query, Response

from qpu_backend.domain.errors import InvalidRequest
from qpu_backend.domain.policies import LISTS, NOT_LIMITED
from qpu_backend.domain.principals import check_role
from qpu_backend.domain.quota import Resource, Window, require_limit
from qpu_backend.domain.tenancy import Role
from qpu_backend.http.auth import ManagePrincipals  # noqa: TC001 - FastAPI reads annotations at run time
from qpu_backend.http.documents import micros, wall
from qpu_backend.http.door import AtDoor  # noqa: TC001
from qpu_backend.http.keys import key_document, new_key
from qpu_backend.http.paths import PrincipalId  # noqa: TC001
from qpu_backend.pipeline.principals import own_keeper
from qpu_backend.stores import access
from qpu_sdk.wire.principals import (
    KeyPage,
    KeyRequest,
    NewKey,
    PolicyDocument,
    PrincipalChange,
    PrincipalDetails,
    PrincipalDocument,
    PrincipalPage,
    PrincipalQuota,
    PrincipalRequest,
)

if TYPE_CHECKING:
    from qpu_backend.domain.policies import Policy
    from qpu_backend.domain.quota import Line
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

    Everything is checked before anything is changed.
    """
    keeper = own_keeper(scope)
    row = door.principals.get(keeper, principal_id)
    policy = {} if order.policy is None else order.policy.model_dump(exclude_unset=True)
    values = {name: tuple(value) if name in LISTS and value is not None else value for name, value in policy.items()}
    if order.quotas or values:
        check_role(row.role)
    for quota in order.quotas:
        require_limit(quota.amount or 0, quota.burst)
    for name, value in values.items():
        NOT_LIMITED.with_field(name, value)
    row = door.principals.change(
        keeper, principal_id, role=None if order.role is None else Role(order.role), disabled=order.disabled
    )
    tenant = _tenant_name(door, scope)
    for quota in order.quotas:
        door.administration.set_limit(
            tenant,
            Resource(quota.resource),
            Window(quota.window),
            quota.amount,
            principal=row.name,
            burst=quota.burst,
            actor=keeper.actor,
        )
    for name, value in values.items():
        door.administration.set_policy(tenant, name, value, principal=row.name, actor=keeper.actor)
    return _details(door, scope, row)


@router.post("/{principal_id}/keys", status_code=201)
def create_key(door: AtDoor, scope: ManagePrincipals, principal_id: PrincipalId, order: KeyRequest) -> NewKey:
    """A new key of a principal, shown this once."""
    expires_at_us = None
    if order.expires_at is not None:
        expires_at_us = micros(order.expires_at, "expires_at")
        if expires_at_us <= door.clock.now_us():
            raise InvalidRequest("a key that has expired already opens nothing; name a later time", field="expires_at")
    keeper = own_keeper(scope)
    return new_key(*door.principals.create_key(keeper, principal_id, label=order.label, expires_at_us=expires_at_us))


@router.get("/{principal_id}/keys")
def list_keys(
    door: AtDoor,
    scope: ManagePrincipals,
    principal_id: PrincipalId,
    cursor: Annotated[str | None, Query(max_length=256)] = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
) -> KeyPage:
    """A principal's keys, newest first, those that have ended too; without the keys."""
    rows, following = door.principals.keys(own_keeper(scope), principal_id, cursor=cursor, limit=limit)
    return KeyPage(keys=[key_document(row) for row in rows], next_cursor=following)


def policy_document(policy: Policy) -> PolicyDocument:
    """A policy as whom it limits sees it."""
    return PolicyDocument.model_validate(asdict(policy))


def quota_document(line: Line) -> PrincipalQuota:
    """A quota in the window of now."""
    return PrincipalQuota(
        resource=line.resource.value,
        window=line.window.value,
        amount=line.amount,
        burst=line.burst,
        reserved=line.reserved,
        spent=line.spent,
        free=line.free,
    )


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
