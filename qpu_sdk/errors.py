"""What can go wrong for a researcher, as one tree.

::

    QPUError (QiskitError)
    ├── CredentialsError                no service address or token was found, or the profile file is damaged
    ├── ServiceUnreachableError         no answer: wrong address, network, timeout                       retryable
    ├── ProtocolError                   the two sides do not speak the same API ("method_not_allowed")
    ├── ServiceError                    the service failed (code "internal", or one this version does not know)
    │   └── ServiceUnavailableError     "unavailable"                                                    retryable
    ├── UnauthenticatedError            "unauthenticated"
    ├── ForbiddenError                  "forbidden"
    ├── NotFoundError                   "not_found"
    │   └── BackendNotFoundError        "unknown_backend"           also QiskitBackendNotFoundError
    ├── InvalidRequestError             "invalid_request"
    │   ├── InvalidCircuitError         "invalid_circuit"
    │   │   ├── UnsupportedInstructionError "unsupported_instruction"
    │   │   └── NotISAError             "not_isa"
    │   ├── LimitExceededError          "limit_exceeded"
    │   │   ├── BodyTooLargeError       "body_too_large"
    │   │   └── CircuitTooLargeError    "circuit_too_large"
    │   └── IdempotencyConflictError    "idempotency_conflict"
    ├── RefusedError                    the request is fine, but not now or not at this price
    │   ├── QuotaExceededError          "quota_exceeded"
    │   ├── QueueFullError              "queue_full"                                                     retryable
    │   ├── LaneRefusedError            "lane_refused"
    │   ├── IsolationRefusedError       "isolation_refused"
    │   ├── SliceRefusedError           "slice_refused"
    │   ├── PromiseRefusedError         "promise_refused"
    │   ├── SessionClosedError          "session_closed"
    │   ├── SessionShareExceededError   "session_share_exceeded"
    │   ├── SessionCostExceededError    "session_cost_exceeded"
    │   ├── RateLimitedError            "rate_limited", or a proxy before the service said 429           retryable
    │   ├── CostCapExceededError        "cost_cap_exceeded"
    │   ├── QuoteRefusedError           "quote_expired", "quote_mismatch", "quote_invalid"
    │   ├── MonthNotOverError           "month_not_over"
    │   └── CalibrationDriftedError     "calibration_drifted"
    └── QPUJobError                     also JobError
        ├── JobNotDoneError             "job_not_done"
        ├── ReplayNotDoneError          "replay_not_done"
        ├── JobFailedError              "job_failed"
        ├── JobCancelledError           "job_cancelled"
        ├── ResultArchivedError         "result_archived"
        ├── IllegalTransitionError      "illegal_transition": the job is in no state for this
        └── QPUJobTimeoutError          the wait ended, the job goes on; also JobTimeoutError

What the client finds before it sends anything raises the class that the service would, with ``status_code`` ``None``.
"""

from __future__ import annotations

from qiskit.exceptions import QiskitError
from qiskit.providers.exceptions import JobError, JobTimeoutError, QiskitBackendNotFoundError


class QPUError(QiskitError):
    """Anything this SDK raises.

    Attributes:
        code: the stable name of what went wrong.
        status_code: HTTP status, ``None`` if the error was found on the client.
        request_id: what to quote to the operator.
        retryable: whether the same request may succeed later.
        retry_after_s: when, in seconds, if the service said so.
        idempotency_key: the key of the submission that failed; submit again with it and there is at most one job.
        field: the input that is at fault.
        in_doubt: whether the request may have had its effect although no answer says so.
    """

    code: str = "error"
    retryable: bool = False
    in_doubt: bool = False

    def __init__(
        self,
        message: str,
        *,
        status_code: int | None = None,
        request_id: str | None = None,
        idempotency_key: str | None = None,
        field: str | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)  # pyright: ignore[reportUnknownMemberType]  # Qiskit ships no types
        self.status_code = status_code
        self.request_id = request_id
        self.idempotency_key = idempotency_key
        self.field = field
        self.retry_after_s = retry_after_s


class CredentialsError(QPUError):
    """No service address or token was found, or the profile file is damaged."""

    code = "credentials"


class ServiceUnreachableError(QPUError):
    """There was no answer: wrong address, network down, or a timeout."""

    code = "unreachable"
    retryable = True


class ProtocolError(QPUError):
    """The answer is not one of this API."""

    code = "protocol"


class ServiceError(QPUError):
    """The service failed."""

    code = "internal"


class ServiceUnavailableError(ServiceError):
    """The service cannot answer at the moment."""

    code = "unavailable"
    retryable = True


class UnauthenticatedError(QPUError):
    """The key is missing, wrong, expired or revoked."""

    code = "unauthenticated"


class ForbiddenError(QPUError):
    """The key's role does not allow this."""

    code = "forbidden"


class NotFoundError(QPUError):
    """There is no such thing, or it belongs to another tenant."""

    code = "not_found"


class BackendNotFoundError(NotFoundError, QiskitBackendNotFoundError):
    """There is no such backend for this tenant."""

    code = "unknown_backend"


class InvalidRequestError(QPUError):
    """The input breaks the contract."""

    code = "invalid_request"


class InvalidCircuitError(InvalidRequestError):
    """A circuit cannot be read or run as it is."""

    code = "invalid_circuit"


class UnsupportedInstructionError(InvalidCircuitError):
    """A circuit uses an instruction that the backend does not have."""

    code = "unsupported_instruction"


class NotISAError(InvalidCircuitError):
    """A circuit uses qubits, or a direction of a gate, that the backend does not have: transpile it for the backend."""

    code = "not_isa"


class LimitExceededError(InvalidRequestError):
    """A published limit is exceeded."""

    code = "limit_exceeded"


class BodyTooLargeError(LimitExceededError):
    """The request has too many bytes."""

    code = "body_too_large"


class CircuitTooLargeError(LimitExceededError):
    """A circuit uses more qubits than can be simulated."""

    code = "circuit_too_large"


class IdempotencyConflictError(InvalidRequestError):
    """The idempotency key was already used for another job."""

    code = "idempotency_conflict"


class RefusedError(QPUError):
    """The request is fine, but not now or not at this price."""

    code = "refused"


class QuotaExceededError(RefusedError):
    """The quota of the tenant, or of the principal, does not cover the job."""

    code = "quota_exceeded"


class QueueFullError(RefusedError):
    """The queue takes no more jobs at the moment."""

    code = "queue_full"
    retryable = True


class LaneRefusedError(RefusedError):
    """There is no lane of that name that the tenant may use."""

    code = "lane_refused"


class IsolationRefusedError(RefusedError):
    """The policy of the tenant, or of the principal, does not leave this class of isolation open."""

    code = "isolation_refused"


class SliceRefusedError(RefusedError):
    """The tenant has the slice, but its policy does not leave it open to this principal."""

    code = "slice_refused"


class PromiseRefusedError(RefusedError):
    """The lane promises a start in time, and with what is promised already it could not be kept."""

    code = "promise_refused"


class SessionClosedError(RefusedError):
    """The session takes no jobs any more."""

    code = "session_closed"


class SessionShareExceededError(RefusedError):
    """The tenant's sessions hold as much of the device as they may."""

    code = "session_share_exceeded"


class SessionCostExceededError(RefusedError):
    """With this job the session would cost more than it may."""

    code = "session_cost_exceeded"


class RateLimitedError(RefusedError):
    """Submissions come faster than they may, says the service or something between here and it."""

    code = "rate_limited"
    retryable = True


class CostCapExceededError(RefusedError):
    """The job costs more than ``max_cost_micro``."""

    code = "cost_cap_exceeded"


class QuoteRefusedError(RefusedError):
    """The quote has expired, or is for another job, or is none of this tenant's: ``code`` says which."""

    code = "quote_expired"


class CalibrationDriftedError(RefusedError):
    """The device was calibrated again since the circuits were transpiled, and the job asked to be refused then."""

    code = "calibration_drifted"


class QPUJobError(QPUError, JobError):
    """Something is the matter with a job."""

    code = "job_error"


class JobNotDoneError(QPUJobError):
    """The job has no result yet."""

    code = "job_not_done"
    retryable = True


class ReplayNotDoneError(QPUJobError):
    """The replay is still being computed."""

    code = "replay_not_done"
    retryable = True


class JobFailedError(QPUJobError):
    """The job failed; it is not billed."""

    code = "job_failed"


class JobCancelledError(QPUJobError):
    """The job was cancelled."""

    code = "job_cancelled"


class ResultArchivedError(QPUJobError):
    """The service keeps results for a limited time, and this one's is over."""

    code = "result_archived"


class MonthNotOverError(RefusedError):
    """The invoices of a month are asked for before it has ended."""

    code = "month_not_over"


class IllegalTransitionError(QPUJobError):
    """The job is in no state for this."""

    code = "illegal_transition"


class QPUJobTimeoutError(QPUJobError, JobTimeoutError):
    """The wait ended before the job did. The job goes on."""

    code = "timeout"
    retryable = True
