"""RFC 9457 problem documents: the one place where an error meets an HTTP status.

Rules and circuits are refused with codes of their own; what storage and physics can raise is told under one of these.
A sentence of the server's own trouble (a damaged blob, a wrong schema) is for its log and never leaves it.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, cast

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from qpu_backend.domain.errors import DomainError
from qpu_backend.engines.invalid_circuit import DecodingUnavailable, InvalidCircuit
from qpu_backend.physics.errors import NotCalibrated, PhysicsError
from qpu_backend.physics.errors import TooLarge as BeyondSimulation
from qpu_backend.stores.errors import (
    DatabaseBusy,
    DatabaseFull,
    DatabaseGone,
    IdempotencyKeyTaken,
    InvalidCursor,
    NameTaken,
    StoreError,
)
from qpu_backend.telemetry.logs import logger
from qpu_sdk.wire.models import REQUEST_ID_HEADER, Problem

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fastapi import FastAPI, Request

    from qpu_backend.pipeline.clocks import WallClock

MEDIA_TYPE: Final = "application/problem+json"

STATUS: Final[dict[str, tuple[int, str]]] = {
    "invalid_request": (422, "The request does not follow the contract"),
    "invalid_circuit": (422, "The circuits cannot be read"),
    "unsupported_instruction": (422, "A circuit uses an instruction this service does not run"),
    "not_isa": (422, "A circuit is not in the backend's instructions"),
    "circuit_too_large": (422, "A circuit is too large to be simulated"),
    "limit_exceeded": (422, "The request exceeds a published limit"),
    "body_too_large": (413, "The request body is too large"),
    "cost_cap_exceeded": (422, "The job would cost more than its cap"),
    "quote_invalid": (422, "The quote is none of this tenant's"),
    "quote_mismatch": (422, "The quote is for another job"),
    "quote_expired": (409, "The quote has expired"),
    "unauthenticated": (401, "No valid key"),
    "forbidden": (403, "The role does not allow this"),
    "role_refused": (403, "The role is not the tenant's to give"),
    "name_taken": (409, "There is one of that name already"),
    "lock_out": (409, "Nobody would be left to manage the tenant"),
    "key_ended": (409, "The key is revoked or has expired"),
    "key_replaced": (409, "The key was rotated already"),
    "not_found": (404, "There is no such thing"),
    "unknown_backend": (404, "There is no such backend"),
    "method_not_allowed": (405, "The route does not take this method"),
    "idempotency_conflict": (409, "The idempotency key belongs to another submission"),
    "lane_refused": (403, "The tenant may not use this lane"),
    "isolation_refused": (403, "The policy does not allow this isolation"),
    "slice_refused": (403, "The policy does not allow this slice"),
    "calibration_drifted": (409, "The device was calibrated since the circuits were transpiled"),
    "illegal_transition": (409, "The job is in no state for this"),
    "session_closed": (409, "The session is over"),
    "month_not_over": (409, "The month is not over"),
    "job_not_done": (409, "The job has no result yet"),
    "replay_not_done": (409, "The replay is still being computed"),
    "job_failed": (409, "The job failed"),
    "job_cancelled": (409, "The job was cancelled"),
    "result_archived": (410, "The service does not hold it any more"),
    "quota_exceeded": (429, "The quota is used up"),
    "rate_limited": (429, "Submissions come too fast"),
    "promise_refused": (409, "The start that the lane promises could not be kept"),
    "session_cost_exceeded": (422, "The session may not cost more"),
    "session_share_exceeded": (429, "The sessions hold as much as they may"),
    "queue_full": (503, "The queue is full"),
    "unavailable": (503, "The service cannot do this now"),
    "internal": (500, "The service failed"),
}
"""Every code a client can meet."""

_TOLD_AS: Final[dict[type[Exception], str]] = {
    InvalidCursor: "invalid_request",
    NameTaken: "name_taken",
    DatabaseBusy: "unavailable",
    DatabaseFull: "unavailable",
    DatabaseGone: "unavailable",
    IdempotencyKeyTaken: "unavailable",  # and its job is not there: the same again finds it, or makes it
    NotCalibrated: "not_isa",
    BeyondSimulation: "circuit_too_large",
}
"""Errors of storage and physics that are not the service's own fault; every other one of theirs is ``internal``."""

_FIELD_OF: Final[dict[type[Exception], str]] = {
    InvalidCursor: "cursor",
    NameTaken: "name",
    NotCalibrated: "circuits",
    BeyondSimulation: "circuits",
}

_TRY_AGAIN_S: Final[dict[str, float]] = {"queue_full": 1.0, "unavailable": 1.0}
"""When to come back, where the error itself does not know."""

_BY_STATUS: Final = {
    401: "unauthenticated",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    413: "body_too_large",
}

_MAX_FIELD: Final = 128
_MAX_DETAIL: Final = 1000
"""Names that a client sent may stand in a sentence; a problem is not an echo."""

_log = logger("http")


class ProblemError(Exception):
    """A refusal that only the HTTP door can have: who asks, what they sent, what does not exist."""

    def __init__(self, code: str, detail: str, *, field: str | None = None, retry_after_s: float | None = None) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.field = field
        self.retry_after_s = retry_after_s


def code_of(error: Exception) -> str:
    """The code under which an error is told; always one of :data:`STATUS`."""
    code = _TOLD_AS.get(type(error))
    if code is None and isinstance(error, DomainError | InvalidCircuit | DecodingUnavailable | ProblemError):
        code = error.code
    return code if code in STATUS else "internal"


def problem(
    code: str,
    detail: str,
    *,
    field: str | None = None,
    retry_after_s: float | None = None,
    request_id: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """The problem document of a code, with ``Retry-After`` where waiting helps."""
    status, title = STATUS[code]
    document = Problem(
        type=f"urn:qpu-sdk:problem:{code}",
        title=title,
        status=status,
        detail=_short(detail, _MAX_DETAIL),
        code=code,
        field=None if field is None else _short(field, _MAX_FIELD),
        request_id=request_id,
        retry_after_s=retry_after_s,
    )
    sent = dict(headers or {})
    if retry_after_s is not None:
        sent["Retry-After"] = str(max(1, math.ceil(retry_after_s)))
    if status == STATUS["unauthenticated"][0]:
        sent["WWW-Authenticate"] = "Bearer"
    return Response(document.model_dump_json(), status, sent, MEDIA_TYPE)


def install(app: FastAPI) -> None:
    """Answer every error of this app with a problem document."""
    for kind in (DomainError, InvalidCircuit, DecodingUnavailable, StoreError, PhysicsError, ProblemError):
        app.add_exception_handler(kind, _refused)
    app.add_exception_handler(RequestValidationError, _validation)
    app.add_exception_handler(HTTPException, _starlette)


def request_id(request: Request) -> str | None:
    """The id under which this request is logged."""
    return request.scope.get(REQUEST_ID_HEADER)


def crash_problem(request_id: str | None) -> Response:
    """The answer when the service itself failed: what happened stands in the log, under the id."""
    return problem(
        "internal", f"the service failed; tell the operator the request id {request_id}", request_id=request_id
    )


async def _refused(request: Request, error: Exception) -> Response:
    code, number = code_of(error), request_id(request)
    if code == "internal":
        _log.exception("request_failed", request_id=number, path=request.scope["path"], exc_info=error)
        return crash_problem(number)
    return problem(
        code,
        str(error),
        field=_FIELD_OF.get(type(error), getattr(error, "field", None)),
        retry_after_s=_retry_after_s(request, error, code),
        request_id=number,
    )


def _retry_after_s(request: Request, error: Exception, code: str) -> float | None:
    if isinstance(error, ProblemError):
        return error.retry_after_s
    retry_at_us = error.retry_at_us if isinstance(error, DomainError) else None
    if retry_at_us is not None:
        clock: WallClock = request.app.state.door.clock
        return max(0.0, (retry_at_us - clock.now_us()) / 1e6)
    return _TRY_AGAIN_S.get(code)


async def _validation(request: Request, error: Exception) -> Response:
    errors = error.errors()  # pyright: ignore[reportAttributeAccessIssue, reportUnknownVariableType, reportUnknownMemberType]
    return validation_problem(errors, request_id(request))  # pyright: ignore[reportUnknownArgumentType]


def validation_problem(errors: list[dict[str, object]], request_id: str | None = None) -> Response:
    """The problem of a request that pydantic refused; it names the first offending field and never echoes its value."""
    first = errors[0] if errors else {"loc": (), "msg": "malformed"}
    location = cast("tuple[object, ...]", first["loc"])
    places = location[1:] if location[:1] and location[0] in {"body", "query", "path", "header"} else location
    field = _short(".".join(str(part) for part in places), _MAX_FIELD)
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    return problem(
        "invalid_request", f"{field or 'body'}: {first['msg']}{more}", field=field or None, request_id=request_id
    )


async def _starlette(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    status = error.status_code
    code = _BY_STATUS.get(status, "invalid_request" if status < 500 else "internal")
    return problem(code, str(error.detail) or STATUS[code][1], request_id=request_id(request), headers=error.headers)


def _short(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"
