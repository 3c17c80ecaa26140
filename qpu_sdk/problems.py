"""The service's answer when it refuses or fails (RFC 9457) → the exception that it becomes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qpu_sdk.errors import (
    BackendNotFoundError,
    BodyTooLargeError,
    CalibrationDriftedError,
    CircuitTooLargeError,
    CostCapExceededError,
    ForbiddenError,
    IdempotencyConflictError,
    IllegalTransitionError,
    InvalidCircuitError,
    InvalidRequestError,
    IsolationRefusedError,
    JobCancelledError,
    JobFailedError,
    JobNotDoneError,
    LaneRefusedError,
    LimitExceededError,
    MonthNotOverError,
    NotFoundError,
    NotISAError,
    PromiseRefusedError,
    ProtocolError,
    QPUError,
    QueueFullError,
    QuotaExceededError,
    QuoteRefusedError,
    RateLimitedError,
    RefusedError,
    ReplayNotDoneError,
    ResultArchivedError,
    ServiceError,
    ServiceUnavailableError,
    SessionClosedError,
    SessionCostExceededError,
    SessionShareExceededError,
    SliceRefusedError,
    UnauthenticatedError,
    UnsupportedInstructionError,
)

if TYPE_CHECKING:
    from qpu_sdk.wire.models import Problem

_NAMED_BY_CODE: tuple[type[QPUError], ...] = (
    ServiceError,
    ServiceUnavailableError,
    UnauthenticatedError,
    ForbiddenError,
    NotFoundError,
    BackendNotFoundError,
    InvalidRequestError,
    InvalidCircuitError,
    UnsupportedInstructionError,
    NotISAError,
    LimitExceededError,
    BodyTooLargeError,
    CircuitTooLargeError,
    IdempotencyConflictError,
    QuotaExceededError,
    QueueFullError,
    RateLimitedError,
    LaneRefusedError,
    IsolationRefusedError,
    SliceRefusedError,
    PromiseRefusedError,
    SessionClosedError,
    SessionCostExceededError,
    SessionShareExceededError,
    CostCapExceededError,
    QuoteRefusedError,
    CalibrationDriftedError,
    JobNotDoneError,
    ReplayNotDoneError,
    JobFailedError,
    JobCancelledError,
    ResultArchivedError,
    IllegalTransitionError,
    MonthNotOverError,
)
EXCEPTION_OF_CODE: dict[str, type[QPUError]] = {
    **{error.code: error for error in _NAMED_BY_CODE},
    "method_not_allowed": ProtocolError,
    "quote_mismatch": QuoteRefusedError,
    "quote_invalid": QuoteRefusedError,
    "role_refused": ForbiddenError,
    "name_taken": InvalidRequestError,
    "lock_out": RefusedError,
    "key_ended": RefusedError,
    "key_replaced": RefusedError,
}
"""Every code a problem document may carry → the exception it becomes."""


_HINT_OF_CODE = {"idempotency_conflict": " (was the circuit transpiled again without `seed_transpiler`?)"}
"""What the service cannot know and a researcher may."""


def error_from_problem(problem: Problem, *, idempotency_key: str | None = None) -> QPUError:
    """The exception for a problem document; a code of a later version becomes :class:`ServiceError`."""
    error = EXCEPTION_OF_CODE.get(problem.code, ServiceError)(
        (problem.detail or problem.title) + _HINT_OF_CODE.get(problem.code, ""),
        status_code=problem.status,
        request_id=problem.request_id,
        idempotency_key=idempotency_key,
        field=problem.field,
        retry_after_s=problem.retry_after_s,
    )
    error.code = problem.code
    return error
