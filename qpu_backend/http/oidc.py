"""Bearer tokens of an OpenID Connect issuer: which key signs one, and what it then says. Nothing here knows tenants.

What the header of a token says is believed for one thing only: which of the issuer's published keys to try, with which
of the algorithms that the operator allows. Everything else in it (``jku``, ``jwk``, ``x5u``) is ignored.
This module is loaded only where tokens are configured.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import jwt

from qpu_backend.domain.logins import LoginRefused
from qpu_backend.http.issuer_keys import IssuerKeys, IssuerSilent, fetch_keys
from qpu_backend.http.problems import ProblemError

if TYPE_CHECKING:
    from jwt import PyJWK

LONGEST_TOKEN: Final = 8192
_TYPES: Final = frozenset({"jwt", "at+jwt", "application/at+jwt"})
"""Of a token that lets in; one that announces a logout, say, does not."""
_REQUIRED: Final = ["exp", "iat", "iss", "aud", "sub"]


@dataclass(frozen=True, slots=True)
class IssuerSettings:
    """Whose tokens are accepted, and how.

    Attributes:
        issuer: as in ``iss``, exactly.
        audience: what ``aud`` must be or contain.
        jwks_url: where the issuer's keys are; ``None``: where its own configuration says.
        algorithms: asymmetric ones.
        leeway_s: how far clocks may differ.
        keys_live_s: how long its keys are believed without asking again.
        refetch_s: how often it is asked at most.
    """

    issuer: str
    audience: str
    jwks_url: str | None
    algorithms: frozenset[str]
    leeway_s: float
    keys_live_s: float
    refetch_s: float


class Issuer:
    """One issuer of tokens."""

    def __init__(self, settings: IssuerSettings) -> None:
        self._settings = settings
        self._keys = IssuerKeys(
            partial(fetch_keys, settings.issuer, settings.jwks_url, settings.algorithms),
            live_s=settings.keys_live_s,
            refetch_s=settings.refetch_s,
        )

    async def key_of(self, token: str) -> PyJWK:
        """The issuer's key that the token says it is signed with; its claims are nothing yet.

        Raises:
            LoginRefused: it is no token that this issuer can have signed.
            ProblemError: ``unavailable``: the issuer does not answer.
        """
        if len(token) > LONGEST_TOKEN or not token.isascii():
            raise LoginRefused("too long, or not text")
        try:
            header = jwt.get_unverified_header(token)
        except (jwt.exceptions.PyJWTError, ValueError, RecursionError) as error:
            raise LoginRefused("no token") from error
        algorithm, key_id, kind = header.get("alg"), header.get("kid"), header.get("typ", "jwt")
        if not isinstance(algorithm, str) or algorithm not in self._settings.algorithms:
            raise LoginRefused("an algorithm that is not allowed")
        if "crit" in header or not isinstance(kind, str) or kind.lower() not in _TYPES:
            raise LoginRefused("a header that is not understood")
        if not isinstance(key_id, str):
            raise LoginRefused("no id of a key")
        try:
            key = await self._keys.find((key_id, algorithm))
        except IssuerSilent:
            sentence = "tokens cannot be checked now, because their issuer does not answer; API keys work"
            raise ProblemError("unavailable", sentence, retry_after_s=self._settings.refetch_s) from None
        if key is None:
            raise LoginRefused("a key that the issuer does not have")
        return key

    def claims(self, token: str, key: PyJWK) -> dict[str, Any]:
        """What a token says, after its signature, issuer, audience and times have been checked.

        Raises:
            LoginRefused: one of them is wrong.
        """
        try:
            return jwt.decode(
                token,
                key,
                algorithms=[key.algorithm_name],
                audience=self._settings.audience,
                issuer=self._settings.issuer,
                leeway=self._settings.leeway_s,
                options={"require": _REQUIRED, "enforce_minimum_key_length": True},
            )
        except (jwt.exceptions.PyJWTError, ValueError, TypeError, OverflowError, RecursionError) as error:
            raise LoginRefused(type(error).__name__) from error
