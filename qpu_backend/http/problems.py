"""RFC 9457 problem documents: the one place where an error meets an HTTP status."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

from starlette.responses import Response

from qpu_backend.domain.errors import DomainError
from qpu_sdk.wire.models import REQUEST_ID_HEADER, Problem

if TYPE_CHECKING:
    from fastapi import FastAPI, Request

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
    "unauthenticated": (401, "No valid key"),
    "forbidden": (403, "The role does not allow this"),
    "not_found": (404, "There is no such thing"),
    "unknown_backend": (404, "There is no such backend"),
    "method_not_allowed": (405, "The route does not take this method"),
    "idempotency_conflict": (409, "The idempotency key belongs to another submission"),
    "calibration_drifted": (409, "The device was calibrated since the circuits were transpiled"),
    "illegal_transition": (409, "The job is in no state for this"),
    "job_not_done": (409, "The job has no result yet"),
    "job_failed": (409, "The job failed"),
    "job_cancelled": (409, "The job was cancelled"),
    "quota_exceeded": (429, "The quota is used up"),
    "rate_limited": (429, "Too many requests"),
    "queue_full": (503, "The queue is full"),
    "unavailable": (503, "The service cannot do this now"),
    "internal": (500, "The service failed"),
}
"""Every code a client can meet."""

_BY_STATUS: Final = {
    401: "unauthenticated",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    413: "body_too_large",
}


class ProblemError(Exception):
    """A refusal that only the HTTP door can have: who asks, what they sent, what does not exist."""

    def __init__(self, code: str, detail: str, *, field: str | None = None, retry_after_s: float | None = None) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.field = field
        self.retry_after_s = retry_after_s


def problem(
    code: str,
    detail: str,
    *,
    field: str | None = None,
    retry_after_s: float | None = None,
    request_id: str | None = None,
) -> Response:
    """The problem document of a code, with ``Retry-After`` where waiting helps."""
    status, title = STATUS[code]
    document = Problem(
        type=f"urn:qpu-sdk:problem:{code}",
        title=title,
        status=status,
        detail=detail,
        code=code,
        field=field,
        request_id=request_id,
        retry_after_s=retry_after_s,
    )
    headers = {} if retry_after_s is None else {"Retry-After": str(max(1, round(retry_after_s)))}
    if status == STATUS["unauthenticated"][0]:
        headers["WWW-Authenticate"] = "Bearer"
    return Response(document.model_dump_json(), status, headers, MEDIA_TYPE)


def install(app: FastAPI) -> None:
    """Answer every error of this app with a problem document."""
    from fastapi.exceptions import RequestValidationError  # noqa: PLC0415 - keeps this module loadable without FastAPI
    from starlette.exceptions import HTTPException  # noqa: PLC0415

    app.add_exception_handler(DomainError, _domain)
    app.add_exception_handler(ProblemError, _door)
    app.add_exception_handler(RequestValidationError, _validation)
    app.add_exception_handler(HTTPException, _starlette)


def request_id(request: Request) -> str | None:
    """The id under which this request is logged."""
    return request.scope.get(REQUEST_ID_HEADER)


async def _domain(request: Request, error: Exception) -> Response:
    if not isinstance(error, DomainError):
        raise error
    return problem(
        error.code,
        str(error),
        field=getattr(error, "field", None),
        retry_after_s=getattr(error, "retry_after_s", None),
        request_id=request_id(request),
    )


async def _door(request: Request, error: Exception) -> Response:
    if not isinstance(error, ProblemError):
        raise error
    return problem(
        error.code, error.detail, field=error.field, retry_after_s=error.retry_after_s, request_id=request_id(request)
    )


async def _validation(request: Request, error: Exception) -> Response:
    errors = error.errors()  # pyright: ignore[reportAttributeAccessIssue, reportUnknownVariableType, reportUnknownMemberType]
    return validation_problem(errors, request_id(request))  # pyright: ignore[reportUnknownArgumentType]


def validation_problem(errors: list[dict[str, object]], request_id: str | None = None) -> Response:
    """The problem of a request that pydantic refused; it names the first offending field and never echoes its value."""
    first = errors[0] if errors else {"loc": (), "msg": "malformed"}
    location = cast("tuple[object, ...]", first["loc"])
    field = ".".join(str(part) for part in location if part not in {"body", "query", "path", "header"})
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    return problem(
        "invalid_request", f"{field or 'body'}: {first['msg']}{more}", field=field or None, request_id=request_id
    )


async def _starlette(request: Request, error: Exception) -> Response:
    status = getattr(error, "status_code", 500)
    code = _BY_STATUS.get(status, "invalid_request" if status < 500 else "internal")
    return problem(code, str(getattr(error, "detail", "")) or STATUS[code][1], request_id=request_id(request))
