"""From the claims of a token whose signature is good to who logs in: which tenant, which principal, in which role.

The reason of a refusal is for the service's log. Whoever sent the token is told that it is not accepted, and no more.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, cast

from qpu_backend.domain.tenancy import Role

if TYPE_CHECKING:
    from collections.abc import Mapping

_TENANT_NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_LONGEST_NAME: Final = 128
_LATEST_S: Final = 1e12  # beyond every clock, and its microseconds are an integer of 64 bits


class LoginRefused(Exception):
    """The token is not accepted.

    Attributes:
        reason: a few words for the log; nothing of the token.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class LoginPolicy:
    """What the operator lets tokens say.

    Attributes:
        tenant_claim: the claim with the tenant's name.
        role_claim: the claim with the role; ``None``: tokens say nothing about it.
        roles: those with which a principal may come in by a token at all.
        create_principals: whether the first login of a subject makes its principal.
    """

    tenant_claim: str
    role_claim: str | None
    roles: frozenset[Role]
    create_principals: bool


@dataclass(frozen=True, slots=True)
class Login:
    """Who logs in.

    Attributes:
        tenant: its name.
        principal: its name: the subject.
        role: as the token says; ``None`` where tokens say nothing about it.
        issued_at_us: when the issuer said so, wall time.
    """

    tenant: str
    principal: str
    role: Role | None
    issued_at_us: int


def login_of(claims: Mapping[str, object], policy: LoginPolicy) -> Login:
    """Who logs in, by claims whose signature, issuer, audience and times have been checked.

    Raises:
        LoginRefused: a claim is missing, cannot be a name, or asks for a role that tokens may not give.
    """
    tenant = claims.get(policy.tenant_claim)
    if not isinstance(tenant, str) or _TENANT_NAME.fullmatch(tenant) is None:
        raise LoginRefused("no tenant in the claims")
    principal = claims.get("sub")
    if not (isinstance(principal, str) and 0 < len(principal) <= _LONGEST_NAME and principal.isprintable()):
        raise LoginRefused("no subject that can be a principal's name")
    role = None if policy.role_claim is None else _role(claims.get(policy.role_claim), policy)
    return Login(tenant, principal, role, _issued_at_us(claims.get("iat")))


def check_login_role(role: Role, policy: LoginPolicy) -> None:
    """A role with which a principal comes in by a token.

    Raises:
        LoginRefused: the operator's file does not name it.
    """
    if role not in policy.roles:
        raise LoginRefused("a role that tokens may not have")


def _issued_at_us(claim: object) -> int:
    if isinstance(claim, bool) or not isinstance(claim, int | float) or not 0 <= claim < _LATEST_S:
        raise LoginRefused("no time of issue")
    return int(claim * 1_000_000)


def _role(claim: object, policy: LoginPolicy) -> Role:
    """The one role of a claim: a word, or a list (of groups, say) with exactly one word that is a role."""
    words = cast("list[object]", claim) if isinstance(claim, list) else [claim]
    known = set(Role)
    roles = {Role(word) for word in words if isinstance(word, str) and word in known}
    if len(roles) != 1:
        raise LoginRefused("not exactly one role in the claims")
    (role,) = roles
    check_login_role(role, policy)
    return role
