"""From a bearer key or token to a :class:`TenantScope`: the only place (beside bootstrap) that makes one."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.concurrency import run_in_threadpool

from qpu_backend.domain.keys import KEY_LENGTH, PREFIX, is_well_formed, key_hmac
from qpu_backend.domain.logins import LoginRefused, login_of
from qpu_backend.domain.tenancy import Permission, PrincipalId, Role, TenantId, TenantScope
from qpu_backend.http.lookups import Lookups
from qpu_backend.http.problems import ProblemError
from qpu_backend.stores import access
from qpu_backend.stores.errors import DatabaseTrouble
from qpu_backend.telemetry.logs import logger

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping, Sequence

    from jwt import PyJWK

    from qpu_backend.http.oidc import Issuer
    from qpu_backend.pipeline.clocks import WallClock
    from qpu_backend.pipeline.logins import Logins
    from qpu_backend.pipeline.refusals import Refusals
    from qpu_backend.stores.database import Database

_REMEMBERED_S = 1.0
"""A key that was good may be believed for so long without asking the database: a revoked key stops within a second."""
_REMEMBERED_KEYS = 4096

_LONGEST = 8192
"""Characters of a key or token that are looked at; a token with more is none of ours."""
_BAD_TOKEN = "this token is not accepted; log in again, and if that does not help, ask who runs the service"  # noqa: S105

_bearer = HTTPBearer(
    auto_error=False, scheme_name="ApiKey", description="An API key, `qpu_…`, or a token of the service's issuer"
)


class Authenticator:
    """Turns keys and tokens into scopes, and remembers good ones for a second.

    A key or token is remembered by its HMAC, never itself, and from the moment before the database was asked.
    """

    def __init__(
        self,
        database: Database,
        clock: WallClock,
        pepper: bytes,
        *,
        refusals: Refusals | None = None,
        issuer: Issuer | None = None,
        logins: Logins | None = None,
    ) -> None:
        self._database = database
        self._clock = clock
        self._pepper = pepper
        self._refusals = refusals
        self._tokens = (issuer, logins) if issuer is not None and logins is not None else None
        self._lock = threading.Lock()
        self._lookups = Lookups(self._look_up)
        self._remembered: dict[str, tuple[float, TenantScope]] = {}
        self._log = logger("http")

    async def scope(self, credentials: str) -> TenantScope:
        """The scope of an API key or of a token.

        Raises:
            ProblemError: ``unauthenticated``; ``unavailable``: the issuer of tokens does not answer.
        """
        if len(credentials) > _LONGEST:
            self._refuse("too_long")
            raise ProblemError("unauthenticated", "what follows `Bearer` is too long to be a key or a token")
        scope = self.remembered(credentials)
        if scope is not None:
            return scope
        if self._tokens is None or credentials.startswith(PREFIX):
            return await self._lookups.ask(credentials)
        issuer, logins = self._tokens
        try:
            key = await issuer.key_of(credentials)
            return await run_in_threadpool(self._scope_of_token, credentials, key, issuer, logins)
        except LoginRefused as refusal:
            self._refuse("token")
            self._log.info("token_refused", reason=refusal.reason)
            raise ProblemError("unauthenticated", _BAD_TOKEN) from None

    def granted(self, scope: TenantScope, permission: Permission) -> TenantScope:
        """The scope, if its role grants the permission; what it does not grant is counted with the refused keys.

        Raises:
            ProblemError: ``forbidden``.
        """
        if not scope.may(permission):
            if self._refusals is not None:
                self._refusals.note("forbidden", self._clock.now_us())
            raise ProblemError("forbidden", f"the role {scope.role} may not {permission.replace('_', ' ')}")
        return scope

    def remembered(self, key: str) -> TenantScope | None:
        """The scope of a key or token that was good a moment ago."""
        with self._lock:
            entry = self._remembered.get(key_hmac(key, self._pepper))
        return entry[1] if entry and entry[0] > time.monotonic() else None

    def _remember(self, stored: str, since: float, scope: TenantScope) -> None:
        with self._lock:
            if len(self._remembered) >= _REMEMBERED_KEYS:
                self._remembered.clear()
            self._remembered[stored] = (since + _REMEMBERED_S, scope)

    def _scope_of_token(self, token: str, key: PyJWK, issuer: Issuer, logins: Logins) -> TenantScope:
        since = time.monotonic()
        entry = logins.enter(login_of(issuer.claims(token, key), logins.policy))
        scope = TenantScope(entry.tenant_id, entry.principal_id, entry.role)
        self._remember(key_hmac(token, self._pepper), since, scope)
        return scope

    def _refuse(self, reason: str, row: access.KeyOwner | None = None) -> None:
        """Count a refusal, for the audit log."""
        if self._refusals is not None:
            self._refusals.note(reason, self._clock.now_us(), None if row is None else row.key_id)

    def scope_of(self, key: str) -> TenantScope:
        """The scope of a key.

        Raises:
            ProblemError: ``unauthenticated``; the sentence does not say whether the key ever existed.
        """
        (scope,) = self._look_up([key])
        if isinstance(scope, Exception):
            raise scope
        return scope

    def _look_up(self, keys: Sequence[str]) -> list[TenantScope | Exception]:
        """The scope of each of some keys, or why it has none."""
        since = time.monotonic()
        stored = {key: key_hmac(key, self._pepper) for key in keys if len(key) == KEY_LENGTH and is_well_formed(key)}
        owners: dict[str, access.KeyOwner] = {}
        if stored:
            with self._database.look() as connection:
                owners = access.find_keys(connection, stored.values())
        now_us = self._clock.now_us()
        return [self._scope_of_key(stored.get(key, ""), owners, since, now_us) for key in keys]

    def _scope_of_key(
        self, stored: str, owners: Mapping[str, access.KeyOwner], since: float, now_us: int
    ) -> TenantScope | Exception:
        row = owners.get(stored)
        if row is None or not row.valid(now_us):
            self._refuse(_why_refused(row), row)
        if row is None or row.revoked_at_us is not None or row.disabled:
            return ProblemError("unauthenticated", "this API key is not valid; make one with `qpu key create`")
        if row.expires_at_us is not None and row.expires_at_us <= now_us:
            return ProblemError("unauthenticated", "this API key has expired; ask for a new one")
        scope = TenantScope(TenantId(row.tenant_id), PrincipalId(row.principal_id), Role(row.role))
        self._remember(stored, since, scope)
        return scope


def _why_refused(row: access.KeyOwner | None) -> str:
    if row is None:
        return "unknown"
    if row.revoked_at_us is not None:
        return "revoked"
    return "disabled" if row.disabled else "expired"


async def _authenticated(
    request: Request, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
) -> TenantScope:
    if credentials is None:
        raise ProblemError("unauthenticated", "this route needs a key: send `Authorization: Bearer qpu_…`")
    return await _authenticator(request).scope(credentials.credentials)


def _authenticator(request: Request) -> Authenticator:
    return request.app.state.door.authenticator


async def still_lets_in(request: Request, scope: TenantScope) -> bool:
    """Whether the key or token of a request that goes on for long still opens the door for the same scope.

    Trouble of the database or of an issuer shuts nobody out.
    """
    credentials = request.headers.get("authorization", "").partition(" ")[2].strip()
    try:
        return await _authenticator(request).scope(credentials) == scope
    except ProblemError as problem:
        return problem.code != "unauthenticated"
    except DatabaseTrouble:
        return True


Anybody = Annotated[TenantScope, Depends(_authenticated)]
"""Every principal, whatever its role."""


def requires(permission: Permission) -> Callable[..., Coroutine[object, object, TenantScope]]:
    """A dependency: the caller's scope, if its role grants the permission."""

    async def authorised(request: Request, scope: Anybody) -> TenantScope:
        return _authenticator(request).granted(scope, permission)

    return authorised


ReadBackends = Annotated[TenantScope, Depends(requires(Permission.READ_BACKENDS))]
SubmitJobs = Annotated[TenantScope, Depends(requires(Permission.SUBMIT_JOBS))]
ReadJobs = Annotated[TenantScope, Depends(requires(Permission.READ_JOBS))]
CancelJobs = Annotated[TenantScope, Depends(requires(Permission.CANCEL_JOBS))]
ReadUsage = Annotated[TenantScope, Depends(requires(Permission.READ_USAGE))]
ReadMetrics = Annotated[TenantScope, Depends(requires(Permission.READ_METRICS))]
ReadAudit = Annotated[TenantScope, Depends(requires(Permission.READ_AUDIT))]
Administer = Annotated[TenantScope, Depends(requires(Permission.ADMINISTER))]
Operate = Annotated[TenantScope, Depends(requires(Permission.OPERATE))]
ManagePrincipals = Annotated[TenantScope, Depends(requires(Permission.MANAGE_PRINCIPALS))]
ReadInvoices = Annotated[TenantScope, Depends(requires(Permission.READ_INVOICES))]
KeepBooks = Annotated[TenantScope, Depends(requires(Permission.KEEP_BOOKS))]
