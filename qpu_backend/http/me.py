"""Who asks: the principal behind a key or token, what it may do, and its own keys."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from qpu_backend.domain.tenancy import PERMISSIONS
from qpu_backend.http.auth import Anybody  # noqa: TC001 - FastAPI reads annotations at run time
from qpu_backend.http.door import AtDoor  # noqa: TC001
from qpu_backend.http.keys import key_document
from qpu_backend.http.limits import policy_document
from qpu_backend.http.usage import quota_documents
from qpu_backend.pipeline.keepers import own_keeper
from qpu_backend.stores import policies, quota
from qpu_sdk.wire.principals import KeyPage, Me

router = APIRouter(prefix="/me", tags=["principals"])


@router.get("")
def me(door: AtDoor, scope: Anybody) -> Me:
    """The tenant, the principal, its role and what that grants, and what limits it."""
    now_us = door.clock.now_us()
    principal = door.principals.get(own_keeper(scope), scope.principal_id)
    with door.database.read() as connection:
        standing = policies.read_standing(connection, scope)
        lines = quota.read_lines(connection, scope, now_us)
    return Me(
        tenant=standing.tenant.name,
        principal=principal.name,
        principal_id=principal.id,
        role=scope.role.value,
        permissions=sorted(PERMISSIONS[scope.role]),
        limits=door.limits,
        quotas=quota_documents(lines, now_us),
        policy=policy_document(standing.policies.principal),
    )


@router.get("/keys")
def own_keys(
    door: AtDoor,
    scope: Anybody,
    cursor: Annotated[str | None, Query(max_length=256)] = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
) -> KeyPage:
    """The principal's own keys, newest first, those that have ended too."""
    rows, following = door.keys.page(own_keeper(scope), scope.principal_id, cursor=cursor, limit=limit)
    return KeyPage(keys=[key_document(row) for row in rows], next_cursor=following)
