"""Keys: made, replaced, revoked. Every change is in the audit log of its transaction.

Whoever has a key may replace it, so who has stolen one may too. A key therefore remembers in whose place it came, and
whoever revokes a key revokes all that came of it::

    K1 ──rotate──▶ K2 ──rotate──▶ K4        revoke K1: K2, K3 and K4 end with it
     └───rotate──▶ K3                       revoke K2: K4 ends with it, K1 and K3 stay

A key is rotated again (K3) only once all that came of it has ended: whoever asks a second time lost the answer, or is
not the one who asked first, and either way has to know of K2. The second one lives as long as the first would have.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from qpu_backend.domain.errors import NotFound
from qpu_backend.domain.keys import key_hmac, make_key
from qpu_backend.domain.principals import (
    KeyEnded,
    KeyReplaced,
    Standing,
    check_kept,
    check_live_keys,
    check_role,
    outgrows,
)
from qpu_backend.domain.tenancy import Role, TenantId
from qpu_backend.pipeline.keepers import Keeper, found, note, standings
from qpu_backend.stores import access, keys, principals, rates

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from sqlalchemy import Connection

    from qpu_backend.domain.rates import Rate
    from qpu_backend.domain.tenancy import SystemScope
    from qpu_backend.pipeline.clocks import WallClock
    from qpu_backend.stores.access import KeyRow, PrincipalRow
    from qpu_backend.stores.database import Database

GRACE_US: Final = 86_400_000_000
"""How long a key that was replaced goes on to work, where nothing else is said: a day."""


@dataclass(frozen=True, slots=True)
class Revoked:
    """What came of revoking a key.

    Attributes:
        key: as it is now.
        new: whether this call revoked it; a revoked key stays revoked since the first time.
        successors: ids of the keys that came of it and ended with it in this call, oldest first.
    """

    key: KeyRow
    new: bool
    successors: tuple[str, ...] = ()


class Keys:
    """The keys of principals, whoever keeps them."""

    def __init__(
        self,
        database: Database,
        scope: SystemScope,
        pepper: bytes,
        clock: WallClock,
        *,
        rate: Rate | None = None,
        administrators_have_tokens: bool = False,
    ) -> None:
        """Keys of a service.

        Args:
            database: the service's.
            scope: of the service.
            pepper: with which keys are hashed.
            clock: wall time.
            rate: how often a principal makes or replaces keys, for whomever; ``None``: as often as it likes.
            administrators_have_tokens: administrators of tenants come in without a key too.
        """
        self._administrators_have_tokens = administrators_have_tokens
        self._database = database
        self._scope = scope
        self._pepper = pepper
        self._clock = clock
        self._rate = rate

    def keeper_of(self, key_id: str, *, actor: str) -> Keeper:
        """Whoever runs the service, for the tenant that has this key.

        Raises:
            NotFound: nobody has it.
        """
        with self._database.read() as connection:
            tenant_id = keys.find_tenant_of_key(connection, self._scope, key_id)
        if tenant_id is None:
            raise NotFound("key", key_id)
        return Keeper(self._scope, TenantId(tenant_id), actor)

    def create(
        self, keeper: Keeper, principal_id: str, *, label: str = "", expires_at_us: int | None = None
    ) -> tuple[KeyRow, str]:
        """A new key of a principal. The key itself is in the answer and nowhere else.

        Raises:
            NotFound: the tenant has no such principal.
            RoleRefused: its role is not the tenant's to manage.
            TooLarge: it has as many live keys as its tenant may give it.
            RateLimited: the keeper makes keys faster than it may.
        """
        now_us = self._clock.now_us()
        with self._database.write() as connection:
            _checked(connection, keeper, principal_id, now_us)
            row, key = self._insert(connection, keeper, principal_id, label, expires_at_us, now_us)
            facts = {"principal": principal_id, "label": label, "expires_at_us": expires_at_us}
            note(connection, keeper, "key.created", row.id, facts, now_us)
        return row, key

    def page(
        self, keeper: Keeper, principal_id: str, *, cursor: str | None = None, limit: int = 100
    ) -> tuple[list[KeyRow], str | None]:
        """A page of a principal's keys, newest first, without the keys.

        Raises:
            NotFound: the tenant has no such principal, or it is another than one that manages nobody.
        """
        with self._database.read() as connection:
            if not keeper.reaches(principal_id):
                raise NotFound("principal", principal_id)
            found(connection, keeper, principal_id)
            return keys.page_of_keys(
                connection, keeper.scope, keeper.tenant_id, principal_id, cursor=cursor, limit=limit
            )

    def rotate(self, keeper: Keeper, key_id: str, *, grace_us: int = GRACE_US) -> tuple[KeyRow, str]:
        """A new key in the place of an old one, which works for a while longer.

        The new one lives as long as the old one would have without having been rotated.

        Args:
            keeper: who does it.
            key_id: the old key.
            grace_us: for how long the old key goes on to work; 0: it ends at once.

        Raises:
            NotFound: the tenant has no such key, or it is another's and the keeper manages nobody.
            KeyEnded: it is revoked or has expired.
            KeyReplaced: a key that came of it is valid.
            RoleRefused: the role of its principal is not the tenant's to manage.
            TooLarge: the principal has as many live keys as it may.
            RateLimited: the keeper makes keys faster than it may.
        """
        now_us = self._clock.now_us()
        with self._database.write() as connection:
            old = self._locked(connection, keeper, key_id, now_us, one_more=grace_us > 0)
            if old.ended(now_us):
                raise KeyEnded(old.id)
            heirs = keys.successors_of(connection, keeper.scope, keeper.tenant_id, old.id)
            if valid := [heir.id for heir in heirs if not heir.ended(now_us)]:
                raise KeyReplaced(old.id, valid[0])
            expires_at_us = _latest(key.expires_at_us for key in (old, *heirs))
            row, key = self._insert(
                connection, keeper, old.principal_id, old.label, expires_at_us, now_us, replaces=old.id
            )
            if grace_us > 0:
                keys.end_key(connection, keeper.scope, keeper.tenant_id, old.id, now_us + grace_us)
            else:
                keys.revoke_one(connection, keeper.scope, keeper.tenant_id, old.id, now_us)
            facts = {"principal": old.principal_id, "by": row.id, "grace_us": grace_us}
            note(connection, keeper, "key.rotated", old.id, facts, now_us)
        return row, key

    def revoke(self, keeper: Keeper, key_id: str, *, keep_successors: bool = False) -> Revoked:
        """Close the door for a key, and for all that came of it by rotation, within a second.

        Those that came of it end with it also where it had ended before: it may have ended because somebody else
        rotated it.

        Args:
            keeper: who does it.
            key_id: the key.
            keep_successors: close the door for this key alone.

        Raises:
            NotFound: the tenant has no such key, or it is another's and the keeper manages nobody.
            RoleRefused: the role of its principal is not the tenant's to manage.
            LockOut: nobody who manages the tenant's principals would have a key any more.
        """
        now_us = self._clock.now_us()
        with self._database.write() as connection:
            there = keys.get_key(connection, keeper.scope, keeper.tenant_id, key_id)
            before = self._administrators(connection, keeper, there.principal_id, now_us) if there else []
            key = self._locked(connection, keeper, key_id, now_us)
            revoked = revoke_with_successors(connection, keeper, key, now_us, keep_successors=keep_successors)
            if revoked.new or revoked.successors:
                check_kept(before, self._standings(connection, keeper, before, now_us))
        return revoked

    def revoke_all(self, keeper: Keeper, principal_id: str) -> int:
        """Close the door for every key of a principal, within a second. How many this call closed.

        Raises:
            NotFound: the tenant has no such principal.
            RoleRefused: its role is not the tenant's to manage.
        """
        now_us = self._clock.now_us()
        with self._database.write() as connection:
            before = self._administrators(connection, keeper, principal_id, now_us)
            _checked(connection, keeper, principal_id)
            closed = _close_keys(connection, keeper, principal_id, now_us)
            check_kept(before, self._standings(connection, keeper, before, now_us))
        return closed

    def _administrators(self, connection: Connection, keeper: Keeper, principal_id: str, now_us: int) -> list[Standing]:
        """The tenant's administrators, locked; none if this principal is none, or the tenant's rules do not bind."""
        if keeper.bound is None or found(connection, keeper, principal_id).role is not Role.TENANT_ADMIN:
            return []
        roster = principals.lock_roster(connection, keeper.scope, keeper.tenant_id)
        return [one for one in self._standings(connection, keeper, roster, now_us) if one.role is Role.TENANT_ADMIN]

    def _standings(
        self, connection: Connection, keeper: Keeper, roster: Collection[PrincipalRow | Standing], now_us: int
    ) -> list[Standing]:
        tokens = self._administrators_have_tokens
        return standings(connection, keeper, roster, now_us, administrators_have_tokens=tokens)

    def _insert(
        self,
        connection: Connection,
        keeper: Keeper,
        principal_id: str,
        label: str,
        expires_at_us: int | None,
        now_us: int,
        *,
        replaces: str | None = None,
    ) -> tuple[KeyRow, str]:
        if keeper.bound is not None and self._rate is not None:
            rates.count_key(connection, keeper.bound, self._rate, now_us)
        key = make_key(secrets.token_bytes(32))
        row = access.insert_key(
            connection,
            keeper.scope,
            tenant_id=keeper.tenant_id,
            principal_id=principal_id,
            key_hmac=key_hmac(key, self._pepper),
            now_us=now_us,
            expires_at_us=expires_at_us,
            label=label,
            replaces=replaces,
        )
        return row, key

    def _locked(
        self, connection: Connection, keeper: Keeper, key_id: str, now_us: int, *, one_more: bool = False
    ) -> KeyRow:
        """A key that this keeper may end or replace."""
        key = keys.get_key(connection, keeper.scope, keeper.tenant_id, key_id)
        if key is None or not keeper.reaches(key.principal_id):
            raise NotFound("key", key_id)
        _checked(connection, keeper, key.principal_id, now_us if one_more else None)
        return keys.get_key(connection, keeper.scope, keeper.tenant_id, key_id, lock=True) or key


def _latest(ends_us: Iterable[int | None]) -> int | None:
    """When a key was to expire, by itself and all that came of it: each rotation shortens one, and prolongs none."""
    known = [*ends_us]
    return None if None in known else max(end_us for end_us in known if end_us is not None)


def revoke_with_successors(
    connection: Connection, keeper: Keeper, key: KeyRow, now_us: int, *, keep_successors: bool = False
) -> Revoked:
    """Revoke a key and all that came of it, each with a row in the audit log; its principal is locked."""
    new = keys.revoke_one(connection, keeper.scope, keeper.tenant_id, key.id, now_us)
    if new:
        note(connection, keeper, "key.revoked", key.id, {"principal": key.principal_id}, now_us)
        key = replace(key, revoked_at_us=now_us)
    ended: list[str] = []
    heirs = [] if keep_successors else keys.successors_of(connection, keeper.scope, keeper.tenant_id, key.id)
    for heir in heirs:
        if not heir.ended(now_us) and keys.revoke_one(connection, keeper.scope, keeper.tenant_id, heir.id, now_us):
            facts = {"principal": heir.principal_id, "came_of": key.id}
            note(connection, keeper, "key.revoked", heir.id, facts, now_us)
            ended.append(heir.id)
    return Revoked(key, new, tuple(ended))


def close_outgrown_keys(connection: Connection, keeper: Keeper, before: PrincipalRow, role: Role, now_us: int) -> None:
    """Under a role that is not the tenant's to give, no key lives on that the tenant may have made before."""
    if outgrows(before.role, role):
        _close_keys(connection, keeper, before.id, now_us)


def _close_keys(connection: Connection, keeper: Keeper, principal_id: str, now_us: int) -> int:
    closed = keys.revoke_keys_of(connection, keeper.scope, keeper.tenant_id, principal_id, now_us)
    if closed:
        note(connection, keeper, "principal.keys_revoked", principal_id, {"keys": closed}, now_us)
    return closed


def _checked(
    connection: Connection, keeper: Keeper, principal_id: str, one_key_more_at_us: int | None = None
) -> PrincipalRow:
    """A principal whose keys this keeper may make and end: an operator's are nobody's of the tenant but its own.

    It is locked, before its keys: its role is the same one when they are stored.
    """
    row = found(connection, keeper, principal_id, lock=True)
    if keeper.bound is None:
        return row
    if keeper.bound.principal_id != row.id:
        check_role(row.role)
    if one_key_more_at_us is not None:
        check_live_keys(
            keys.count_live_keys(connection, keeper.scope, keeper.tenant_id, principal_id, one_key_more_at_us)
        )
    return row
