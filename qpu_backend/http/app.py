"""The HTTP application: routes under ``/v1``, size and identity of every request, problems for every error."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Final

from fastapi import FastAPI, HTTPException
from pydantic.json_schema import models_json_schema
from starlette.requests import ClientDisconnect

from qpu_backend.domain.tenancy import Permission
from qpu_backend.http import (
    admin_devices,
    admin_tenants,
    audit,
    crosstalk,
    devices,
    events,
    health,
    invoices,
    jobs,
    keys,
    me,
    operations,
    predictions,
    prices,
    principals,
    quotes,
    reconciliation,
    replays,
    results,
    sessions,
    usage,
)
from qpu_backend.http.problems import MEDIA_TYPE, crash_problem, install, problem
from qpu_backend.http.shortcut import Shortcut
from qpu_backend.telemetry.logs import logger
from qpu_sdk.wire.models import REQUEST_ID_HEADER, JobRequest, Problem
from qpu_sdk.wire.predictions import PredictionRequest

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from qpu_backend.http.door import Door

PREFIX = "/v1"
_VERSIONED: Final = (
    devices.router,
    crosstalk.router,
    predictions.router,
    quotes.router,
    jobs.router,
    results.router,
    replays.router,
    sessions.router,
    events.router,
    usage.router,
    prices.router,
    operations.router,
    audit.router,
    invoices.router,
    invoices.administration,
    reconciliation.router,
    me.router,
    principals.router,
    keys.router,
    admin_tenants.router,
    admin_devices.router,
    health.versioned,
)
ROUTERS: Final = (("", health.router), *((PREFIX, router) for router in _VERSIONED))
"""Every route, below its prefix; of two that match a path the first answers."""

_SMALL_BODY: Final = 64 * 1024
"""Bytes of a body without circuits. FastAPI reads and parses such a body before it asks who sent it."""
_CIRCUITS: Final = frozenset({f"{PREFIX}/jobs", f"{PREFIX}/quotes"})

_PROBLEM = {
    "description": "A problem document (RFC 9457)",
    "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
}


def create_app(door: Door) -> FastAPI:
    """The application over its parts; it starts and stops nothing."""
    app = FastAPI(
        title="qpu-sdk service",
        version=door.version,
        summary="Many tenants share one quantum processor.",
        docs_url=None,
        redoc_url=None,
        responses={"4XX": _PROBLEM, "5XX": _PROBLEM},
    )
    app.state.door = door
    for prefix, router in ROUTERS:
        app.include_router(router, prefix=prefix)
    install(app)
    app.add_middleware(
        Shortcut,
        path=f"{PREFIX}/jobs",
        permission=Permission.SUBMIT_JOBS,
        endpoint=jobs.submit,
        door=door,
        handlers=app.exception_handlers,
    )
    app.add_middleware(RequestGate, max_body_bytes=door.limits.max_body_bytes)
    _publish_schemas(app)
    return app


def _publish_schemas(app: FastAPI) -> None:
    """Add what FastAPI does not see: bodies with circuits, which are read raw, and problem documents."""
    generate = app.openapi

    def openapi() -> dict[str, object]:
        document = generate()
        schemas = document.setdefault("components", {}).setdefault("schemas", {})
        if "Problem" not in schemas:
            _, definitions = models_json_schema(
                [(JobRequest, "validation"), (PredictionRequest, "validation"), (Problem, "serialization")],
                ref_template="#/components/schemas/{model}",
            )
            schemas.update(definitions["$defs"])
        return document

    app.openapi = openapi  # type: ignore[method-assign]


def _carries_circuits(scope: Scope) -> bool:
    """Whether this is a route that reads its body itself, once it knows who asks."""
    path: str = scope["path"]
    predicts = path.startswith(f"{PREFIX}/backends/") and path.endswith("/predict")
    return scope["method"] == "POST" and (predicts or path in _CIRCUITS)


class RequestGate:
    """Gives every request an id, refuses bodies over the limit while they arrive, and turns a crash into a problem.

    The limit is the configured one where circuits are sent, and at most 64 KiB everywhere else.
    """

    def __init__(self, app: ASGIApp, max_body_bytes: int) -> None:
        self._app = app
        self._max_body_bytes = max_body_bytes
        self._log = logger("http")

    def _limit(self, scope: Scope) -> tuple[int, str]:
        """Bytes of this request's body, and what to do where it is larger."""
        if _carries_circuits(scope):
            return self._max_body_bytes, "split the job"
        return min(self._max_body_bytes, _SMALL_BODY), "only jobs, quotes and predictions may be longer"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = f"req_{uuid.uuid4().hex}"
        scope[REQUEST_ID_HEADER] = request_id
        started = False
        declared = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
        limit, advice = self._limit(scope)
        too_large = int(declared) > limit  # digits: the server has parsed the header
        received = 0
        detail = f"the body is larger than {limit} bytes; {advice}"

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > limit:
                raise HTTPException(413, detail)  # FastAPI makes "cannot be parsed" of every other exception
            return message

        async def stamped(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                message["headers"] = [*message["headers"], (REQUEST_ID_HEADER.lower().encode(), request_id.encode())]
            await send(message)

        try:
            if too_large:
                await problem("body_too_large", detail, request_id=request_id)(scope, receive, stamped)
            else:
                await self._app(scope, counted, stamped)
        except ClientDisconnect:
            self._log.info("client_left", request_id=request_id, path=scope["path"])
        except Exception:
            self._log.exception("request_failed", request_id=request_id, path=scope["path"])
            if started:
                raise
            await crash_problem(request_id)(scope, receive, stamped)
