"""The short way of the one request that comes more often than all others together: a submission.

FastAPI finds out anew for every request which route and which dependencies it is for, which costs more than to look a
key up. An ordinary ``POST`` gets the caller's scope, the raw body and the ``Idempotency-Key`` here directly. What is
not quite ordinary (no key, another scheme, a header twice) goes the usual way, and is refused or served there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from anyio import CapacityLimiter, to_thread
from anyio.lowlevel import RunVar
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.requests import Request

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from starlette.responses import Response
    from starlette.types import ASGIApp, ExceptionHandler, Receive, Scope, Send

    from qpu_backend.domain.tenancy import Permission, TenantScope
    from qpu_backend.http.door import Door

LONGEST_KEY: Final = 256
"""Characters of an idempotency key."""

_THREADS: Final = 40
"""Own ones: however many submissions wait to be admitted, every other request has its threads."""
_WANTED: Final = (b"authorization", b"idempotency-key")
_BEARER: Final = b"bearer "


class Shortcut:
    """Calls an endpoint past the routes; what it raises is answered as there."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        path: str,
        permission: Permission,
        endpoint: Callable[[Request, Door, TenantScope, bytes, str | None], Response],
        door: Door,
        handlers: Mapping[object, ExceptionHandler],
    ) -> None:
        """In front of an application.

        Args:
            app: that has the same endpoint as a route, for whatever is not ordinary.
            path: of the endpoint, which is asked by ``POST``.
            permission: that it wants of the caller's role.
            endpoint: called in a thread.
            door: to the service.
            handlers: of exceptions, as the application has them.
        """
        self._app = app
        self._path = path
        self._permission = permission
        self._endpoint = endpoint
        self._door = door
        self._short = ExceptionMiddleware(self._answer, handlers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        is_asked = scope["type"] == "http" and scope["path"] == self._path and scope["method"] == "POST"
        way = self._short if is_asked and _is_ordinary(scope) else self._app
        await way(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive, send)
        said, key = (request.headers.get(name) for name in ("authorization", "idempotency-key"))
        authenticator = self._door.authenticator
        caller = authenticator.granted(await authenticator.scope(str(said)[len(_BEARER) :].strip()), self._permission)
        raw = await request.body()
        response = await to_thread.run_sync(
            self._endpoint, request, self._door, caller, raw, key, limiter=_own_threads()
        )
        await response(scope, receive, send)


_limiter: Final = RunVar[CapacityLimiter]("submissions")


def _own_threads() -> CapacityLimiter:
    """Of the running loop."""
    try:
        return _limiter.get()
    except LookupError:
        limiter = CapacityLimiter(_THREADS)
        _limiter.set(limiter)
        return limiter


def _is_ordinary(scope: Scope) -> bool:
    """Whether a request has a bearer key, at most one idempotency key, and both well formed."""
    found: dict[bytes, bytes] = {}
    for name, value in scope["headers"]:
        if name in _WANTED:
            if name in found:
                return False
            found[name] = value
    said, key = (found.get(name) for name in _WANTED)
    named = key is None or 1 <= len(key) <= LONGEST_KEY
    if said is None or said[: len(_BEARER)].lower() != _BEARER:
        return False
    return named and bool(said[len(_BEARER) :].decode("latin-1").strip())
