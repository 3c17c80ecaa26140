"""From a bearer key to a :class:`TenantScope`: the only place (beside bootstrap) that makes one."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.concurrency import run_in_threadpool

from qpu_backend.domain.keys import is_well_formed, key_hmac
from qpu_backend.domain.tenancy import Permission, PrincipalId, Role, TenantId, TenantScope
from qpu_backend.http.problems import ProblemError
from qpu_backend.stores import access

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from qpu_backend.pipeline.clocks import WallClock
    from qpu_backend.stores.database import Database

_REMEMBERED_S = 1.0
"""A key that was good may be believed for so long without asking the database: a revoked key stops within a second."""
_REMEMBERED_KEYS = 4096

_bearer = HTTPBearer(auto_error=False, scheme_name="ApiKey", description="An API key: `qpu_…`")


class Authenticator:
    """Turns keys into scopes, and remembers good ones for a second."""

    def __init__(self, database: Database, clock: WallClock, pepper: bytes) -> None:
        self._database = database
        self._clock = clock
        self._pepper = pepper
        self._lock = threading.Lock()
        self._remembered: dict[str, tuple[float, TenantScope]] = {}

    def remembered(self, key: str) -> TenantScope | None:
        """The scope of a key that was good a moment ago."""
        with self._lock:
            entry = self._remembered.get(key_hmac(key, self._pepper))
        return entry[1] if entry and entry[0] > time.monotonic() else None

    def scope_of(self, key: str) -> TenantScope:
        """The scope of a key.

        Raises:
            ProblemError: ``unauthenticated``; the sentence does not say whether the key ever existed.
        """
        row = None
        stored = key_hmac(key, self._pepper)
        if is_well_formed(key):
            with self._database.read() as connection:
                row = access.find_key(connection, stored)
        now_us = self._clock.now_us()
        if row is None or row.revoked_at_us is not None or row.disabled:
            raise ProblemError("unauthenticated", "this API key is not valid; make one with `qpu key create`")
        if row.expires_at_us is not None and row.expires_at_us <= now_us:
            raise ProblemError("unauthenticated", "this API key has expired; ask for a new one")
        scope = TenantScope(TenantId(row.tenant_id), PrincipalId(row.principal_id), Role(row.role))
        with self._lock:
            if len(self._remembered) >= _REMEMBERED_KEYS:
                self._remembered.clear()
            self._remembered[stored] = (time.monotonic() + _REMEMBERED_S, scope)
        return scope


def requires(permission: Permission) -> Callable[..., Coroutine[object, object, TenantScope]]:
    """A dependency: the caller's scope, if its role grants the permission."""

    async def authorised(
        request: Request, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
    ) -> TenantScope:
        if credentials is None:
            raise ProblemError("unauthenticated", "this route needs a key: send `Authorization: Bearer qpu_…`")
        authenticator: Authenticator = request.app.state.door.authenticator
        scope = authenticator.remembered(credentials.credentials)
        if scope is None:
            scope = await run_in_threadpool(authenticator.scope_of, credentials.credentials)
        if not scope.may(permission):
            raise ProblemError("forbidden", f"the role {scope.role} may not {permission.replace('_', ' ')}")
        return scope

    return authorised


ReadBackends = Annotated[TenantScope, Depends(requires(Permission.READ_BACKENDS))]
SubmitJobs = Annotated[TenantScope, Depends(requires(Permission.SUBMIT_JOBS))]
ReadJobs = Annotated[TenantScope, Depends(requires(Permission.READ_JOBS))]
CancelJobs = Annotated[TenantScope, Depends(requires(Permission.CANCEL_JOBS))]
ReadUsage = Annotated[TenantScope, Depends(requires(Permission.READ_USAGE))]
ReadMetrics = Annotated[TenantScope, Depends(requires(Permission.READ_METRICS))]
Operate = Annotated[TenantScope, Depends(requires(Permission.OPERATE))]
