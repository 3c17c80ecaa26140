"""Keys by their id: replaced and ended, by whose they are and by who manages its tenant's principals.

A key of somebody else, for who manages nobody, is as little there as one of another tenant.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from fastapi import APIRouter, Query

from qpu_backend.domain.errors import InvalidRequest
from qpu_backend.http.auth import Anybody  # noqa: TC001 - FastAPI reads annotations at run time
from qpu_backend.http.documents import micros, wall, wall_or_none
from qpu_backend.http.door import AtDoor  # noqa: TC001
from qpu_backend.http.paths import KeyId  # noqa: TC001
from qpu_backend.pipeline.keepers import own_keeper
from qpu_sdk.wire.principals import KeyDocument, KeyRotation, NewKey, RevokedKey

if TYPE_CHECKING:
    from datetime import datetime

    from qpu_backend.http.door import Door
    from qpu_backend.stores.access import KeyRow

router = APIRouter(prefix="/keys", tags=["principals"])


@router.post("/{key_id}/rotate", status_code=201)
def rotate(door: AtDoor, scope: Anybody, key_id: KeyId, order: KeyRotation) -> NewKey:
    """A new key in the place of this one, which works for ``grace_s`` longer; it expires when this one would have."""
    row, key = door.keys.rotate(own_keeper(scope), key_id, grace_us=round(1e6 * order.grace_s))
    return new_key(row, key)


@router.delete("/{key_id}")
def revoke(
    door: AtDoor, scope: Anybody, key_id: KeyId, successors: Annotated[Literal["revoke", "keep"], Query()] = "revoke"
) -> RevokedKey:
    """Revoke the key, and those that came of it by rotation; they stop within a second. A repeat changes nothing."""
    done = door.keys.revoke(own_keeper(scope), key_id, keep_successors=successors == "keep")
    return RevokedKey(**key_document(done.key).model_dump(), successors_revoked=list(done.successors))


def key_document(row: KeyRow) -> KeyDocument:
    """A key as its owner sees it later: without the key."""
    return KeyDocument(
        id=row.id,
        principal_id=row.principal_id,
        label=row.label,
        created_at=wall(row.created_at_us),
        expires_at=wall_or_none(row.expires_at_us),
        revoked_at=wall_or_none(row.revoked_at_us),
        replaces=row.replaces,
    )


def expiry(door: Door, moment: datetime | None) -> int | None:
    """When a key that is asked for ends; ``None``: never.

    Raises:
        InvalidRequest: it has ended already, or this is no moment.
    """
    if moment is None:
        return None
    expires_at_us = micros(moment, "expires_at")
    if expires_at_us <= door.clock.now_us():
        raise InvalidRequest("a key that has expired already opens nothing; name a later time", field="expires_at")
    return expires_at_us


def new_key(row: KeyRow, key: str) -> NewKey:
    """A key as it is shown once."""
    return NewKey(**key_document(row).model_dump(), key=key)
