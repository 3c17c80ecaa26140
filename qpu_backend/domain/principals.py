"""Who may make whom what: the roles that a tenant gives away itself, and a tenant that is never locked out by its own.

    RequestRefused
    └── RoleRefused     the role is not the tenant's to give, or the principal has one that is not
    DomainError
    ├── LockOut         nobody would be left who manages the tenant's principals
    ├── KeyEnded        the key opens nothing any more
    └── KeyReplaced     the key was rotated, and what came of it is valid

Whoever runs the service is not bound by these rules: a tenant that is locked out asks there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from qpu_backend.domain.errors import DomainError, RequestRefused, TooLarge
from qpu_backend.domain.tenancy import PrincipalId, Role

if TYPE_CHECKING:
    from collections.abc import Iterable

GRANTABLE: Final = frozenset({Role.MEMBER, Role.TENANT_ADMIN, Role.BILLING, Role.AUDITOR})
"""What a tenant gives its own principals. An operator reaches across tenants: only who runs the service makes one."""

MAX_LIVE_KEYS: Final = 20
"""Of one principal, made by its tenant."""

MAX_PRINCIPALS: Final = 10_000
"""Of one tenant, whoever makes them, the disabled ones too."""


class RoleRefused(RequestRefused):
    """The role is not the tenant's to give, or to manage.

    Attributes:
        role: which.
    """

    code = "role_refused"
    field = "role"

    def __init__(self, role: Role) -> None:
        super().__init__(f"the role {role} is not your tenant's to give or to manage; ask who runs the service")
        self.role = role


class LockOut(DomainError):
    """The change would leave nobody who manages the tenant's principals, or shut the door behind its author."""

    code = "lock_out"


class KeyEnded(DomainError):
    """The key is revoked or has expired.

    Attributes:
        key: its id.
    """

    code = "key_ended"

    def __init__(self, key: str) -> None:
        super().__init__(f"{key} is revoked or has expired: nothing can be done with it any more; make a new key")
        self.key = key


class KeyReplaced(DomainError):
    """The key was rotated before, and a key that came of it is valid.

    Attributes:
        key: its id.
        successor: the id of the oldest valid key that came of it.
    """

    code = "key_replaced"

    def __init__(self, key: str, successor: str) -> None:
        super().__init__(
            f"{key} was rotated already: use {successor}, which came of it, or, if you never got that, revoke it and "
            f"rotate again"
        )
        self.key = key
        self.successor = successor


@dataclass(frozen=True, slots=True)
class Standing:
    """What a principal is at the moment.

    Attributes:
        id: which.
        role: its role.
        disabled: whether it is shut out.
        enters: whether it has a way in: a key that lives, or tokens of an issuer.
    """

    id: PrincipalId
    role: Role
    disabled: bool
    enters: bool = True

    @property
    def manages(self) -> bool:
        """Whether it can manage its tenant's principals, as one of the tenant's own."""
        return self.role is Role.TENANT_ADMIN and not self.disabled and self.enters


def check_role(role: Role) -> None:
    """A role that a tenant gives, or whose bearer it manages.

    Raises:
        RoleRefused: it does not.
    """
    if role not in GRANTABLE:
        raise RoleRefused(role)


def outgrows(before: Role, after: Role) -> bool:
    """Whether a new role is too much for the keys of the old one: the tenant made them, and does not give that role."""
    return before in GRANTABLE and after not in GRANTABLE


def check_change(roster: Iterable[Standing], author: PrincipalId, after: Standing) -> None:
    """A change of one principal by a principal of the same tenant.

    Args:
        roster: the tenant's principals as they are, locked until the change is stored.
        author: who makes it.
        after: the principal as it would be; one of the roster.

    Raises:
        RoleRefused: its role, before or after, is not the tenant's.
        LockOut: it would disable its author, or leave a tenant that has an administrator without one.
    """
    before = {one.id: one for one in roster}
    check_role(before[after.id].role)
    check_role(after.role)
    if after.disabled and not before[after.id].disabled and after.id == author:
        raise LockOut("you cannot disable yourself; another administrator of your tenant can")
    stays = after.manages or any(one.manages for one in before.values() if one.id != after.id)
    if before[after.id].manages and not stays:
        raise LockOut("your tenant would have no administrator any more; make another principal one first")


def check_kept(before: Iterable[Standing], after: Iterable[Standing]) -> None:
    """Keys are closed by a principal of the same tenant.

    Args:
        before: principals of the tenant as they are, locked until the change is stored.
        after: the same ones without these keys.

    Raises:
        LockOut: a tenant that has an administrator would be left without one that has a way in.
    """
    if any(one.manages for one in before) and not any(one.manages for one in after):
        raise LockOut("no administrator of your tenant would have a key any more; make another key first")


def check_principals(number: int) -> None:
    """One principal more, for a tenant that has so many.

    Raises:
        TooLarge: it has as many as it may.
    """
    if number >= MAX_PRINCIPALS:
        raise TooLarge("principals of a tenant", limit=MAX_PRINCIPALS, asked=number + 1)


def check_live_keys(live: int) -> None:
    """One key more, for a principal that has so many live ones.

    Raises:
        TooLarge: it has as many as it may.
    """
    if live >= MAX_LIVE_KEYS:
        raise TooLarge("keys of a principal that are valid at the same time", limit=MAX_LIVE_KEYS, asked=live + 1)
