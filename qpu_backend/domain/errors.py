"""Everything the rules can refuse, as one tree. Nothing here knows HTTP; ``http/problems.py`` has the status table.

    DomainError
    ├── RequestRefused              what was sent cannot be run as it stands; sending it again will not help
    │   ├── InvalidRequest          a value is wrong: ``field`` names it
    │   │   └── CircuitRefused      a circuit is not one this backend can run (family: domain/isa.py)
    │   │       └── CircuitTooLarge no simulation method reaches it, or not in the time allowed
    │   ├── TooLarge                a published limit is passed
    │   ├── CostCapExceeded         the price is above the cap that the request, or its session (sessions.py), set
    │   ├── CalibrationDrifted      the device was calibrated since the circuits were transpiled, and the request minds
    │   ├── IdempotencyConflict     the same idempotency key came with another body
    │   └── LaneRefused             no such lane, or none for this tenant (by policy also: domain/policies.py)
    ├── Unauthenticated             no key, or one that is not valid now
    ├── PermissionDenied            the principal's role does not grant it
    ├── NotFound                    nothing of that name that this tenant may see
    │   └── UnknownBackend
    ├── Exhausted                   fine as it stands, but not now (submitted too often: domain/rates.py)
    │   ├── QuotaExceeded
    │   ├── QueueFull
    │   ├── PromiseRefused          the lane promises a start that could not be kept
    │   └── SessionShareExceeded    the tenant's sessions hold as much of the device as they may
    ├── IllegalTransition           the job's state does not allow it
    └── SessionClosed               the session takes no jobs any more

Each class has a stable ``code``; instances carry the facts as attributes, and a sentence a physicist can act on.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, ClassVar, Self

if TYPE_CHECKING:
    from collections.abc import Iterator


class DomainError(Exception):
    """A rule of the service says no.

    Attributes:
        code: stable, snake_case; clients branch on it.
        field: path of the offending input in the request, e.g. ``pubs[2].shots``, or ``None``.
        retry_at_us: wall time (µs since 1970, UTC) from which trying again can succeed, or ``None``.
    """

    code: ClassVar[str] = "refused"
    field: str | None = None
    retry_at_us: int | None = None


# --- the request cannot be run as it stands -----------------------------------------------------------------------


class RequestRefused(DomainError):
    """What was sent cannot be run as it stands."""

    code = "request_refused"


class InvalidRequest(RequestRefused):
    """A value of the request is wrong."""

    code = "invalid_request"

    def __init__(self, message: str, *, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field


class CircuitRefused(InvalidRequest):
    """A circuit is not one this backend can run.

    Attributes:
        circuit: index of the circuit in the request, or ``None`` when the payload as a whole is meant.
    """

    code = "invalid_circuit"

    def __init__(self, message: str, *, circuit: int | None = None, field: str | None = None) -> None:
        named = field if field is not None else "circuits" if circuit is None else f"circuits[{circuit}]"
        super().__init__(message, field=named)
        self.circuit = circuit


class CircuitTooLarge(CircuitRefused):
    """The noisy simulation does not reach the circuits, or would take too long for them.

    Attributes:
        limit: qubits, or seconds.
    """

    code = "circuit_too_large"

    def __init__(self, message: str, *, limit: float, circuit: int | None = None) -> None:
        super().__init__(message, circuit=circuit)
        self.limit = limit

    @classmethod
    def too_wide(cls, circuit: int, num_qubits: int, limit: int) -> Self:
        """A circuit with more qubits than any method reaches."""
        message = (
            f"circuit {circuit} uses {num_qubits} qubits and the noisy simulation of such a circuit reaches {limit}; "
            "use fewer qubits or cut the circuit"
        )
        return cls(message, limit=limit, circuit=circuit)

    @classmethod
    def too_long(cls, *, estimate_s: float, limit_s: float) -> Self:
        """Circuits that can be simulated, but not in the time the service allows a job."""
        message = (
            f"simulating this job would take about {estimate_s:.0f} s and the limit is {limit_s:.0f} s; "
            "above 10 qubits the time grows with shots · gates · 2^qubits: use fewer of them, or several jobs"
        )
        return cls(message, limit=limit_s)


class TooLarge(RequestRefused):
    """The request passes a published limit."""

    code = "limit_exceeded"

    def __init__(self, what: str, *, limit: int, asked: int, field: str | None = None) -> None:
        super().__init__(f"{what}: {asked} is above the limit of {limit}")
        self.what = what
        self.limit = limit
        self.asked = asked
        self.field = field


class CostCapExceeded(RequestRefused):
    """The job would cost more than the request allows."""

    code = "cost_cap_exceeded"
    field = "max_cost_micro"

    def __init__(self, *, price_micro: int, cap_micro: int) -> None:
        super().__init__(
            f"the job costs {price_micro} micro-credits, more than its own cap of {cap_micro}; "
            "raise max_cost_micro or ask for fewer shots"
        )
        self.price_micro = price_micro
        self.cap_micro = cap_micro


class CalibrationDrifted(RequestRefused):
    """The device has been calibrated since the circuits were transpiled, and the request minds.

    Attributes:
        transpiled: the calibration the circuits were transpiled against.
        current: the one of now.
        reason: why it could not be pinned to its own calibration, if it asked for that.
    """

    code = "calibration_drifted"
    field = "calibration_id"

    def __init__(self, *, transpiled: str, current: str, reason: str | None = None) -> None:
        but = "" if reason is None else f", and the job cannot be pinned to the former: {reason}"
        super().__init__(
            f"the circuits were transpiled against calibration {transpiled} and the device is at {current} now{but}; "
            "transpile again, or submit with drift_policy='warn'"
        )
        self.transpiled = transpiled
        self.current = current
        self.reason = reason


class IdempotencyConflict(RequestRefused):
    """The idempotency key has already been used for another job."""

    code = "idempotency_conflict"

    def __init__(self, key: str) -> None:
        super().__init__(
            f"the idempotency key {key!r} already belongs to a job with another body; "
            "use a new key for a new job, or send the same body to get the same job"
        )
        self.key = key


class LaneRefused(RequestRefused):
    """There is no lane of that name that the tenant may use.

    Attributes:
        lane: what was asked for.
        lanes: what there is for this tenant.
    """

    code = "lane_refused"
    field = "options.lane"

    def __init__(self, lane: str, lanes: list[str]) -> None:
        offered = ", ".join(lanes) or "none at all"
        super().__init__(f"you may not use a lane {lane!r}; open to you: {offered}")
        self.lane = lane
        self.lanes = lanes


# --- who asks ---------------------------------------------------------------------------------------------------


class Unauthenticated(DomainError):
    """The request carries no API key that is valid now."""

    code = "unauthenticated"

    def __init__(self, message: str = "no valid API key: send it as 'Authorization: Bearer qpu_…'") -> None:
        super().__init__(message)


class PermissionDenied(DomainError):
    """The principal is known, but its role does not grant this."""

    code = "forbidden"

    def __init__(self, permission: str) -> None:
        super().__init__(f"your role does not grant {permission!r}; ask your tenant's administrator")
        self.permission = permission


class NotFound(DomainError):
    """There is nothing of that name that this tenant may see. Somebody else's job looks exactly like no job."""

    code = "not_found"

    def __init__(self, what: str, name: str) -> None:
        super().__init__(f"there is no {what} {name!r}")
        self.what = what
        self.name = name


class UnknownBackend(NotFound):
    """There is no backend of that name."""

    code = "unknown_backend"
    field = "backend"

    def __init__(self, name: str, reason: str | None = None) -> None:
        super().__init__("backend", name)
        self.reason = reason
        if reason is not None:
            self.args = (f"there is no backend {name!r}: {reason}",)


# --- not now ---------------------------------------------------------------------------------------------------


class Exhausted(DomainError):
    """The request is fine, but there is no room for it now."""

    code = "exhausted"


class QuotaExceeded(Exhausted):
    """The quota of the tenant, or of the principal, does not cover the request.

    Attributes:
        resource: ``shots``, ``device_us`` or ``spend_micro``.
        window: ``hour``, ``day`` or ``month``.
        limit: the quota of this window.
        free: what is left of it now.
        asked: what the request needs.
        principal: whether it is the principal's own quota.
        retry_at_us: start of the next window that would do, or ``None`` when even an untouched one would not.
    """

    code = "quota_exceeded"

    def __init__(
        self,
        *,
        resource: str,
        window: str,
        limit: int,
        free: int,
        asked: int,
        retry_at_us: int | None,
        principal: bool = False,
    ) -> None:
        if retry_at_us is None:
            advice = "no window is large enough; split the job or ask for a larger quota"
        else:
            moment = datetime.fromtimestamp(retry_at_us // 1_000_000, tz=UTC)
            advice = f"a new {window} begins at {moment:%Y-%m-%d %H:%M:%S} UTC"
        of = f"your own {limit}" if principal else str(limit)
        super().__init__(f"the job needs {asked} {resource}, but {free} of {of} are free this {window}; {advice}")
        self.resource = resource
        self.window = window
        self.limit = limit
        self.free = free
        self.asked = asked
        self.principal = principal
        self.retry_at_us = retry_at_us


class QueueFull(Exhausted):
    """The tenant has as many unfinished jobs as it may have."""

    code = "queue_full"

    def __init__(self, *, limit: int, queued: int) -> None:
        super().__init__(f"{queued} jobs are waiting or running and {limit} is the limit; wait for some to finish")
        self.limit = limit
        self.queued = queued


class PromiseRefused(Exhausted):
    """The lane promises a start in time, and with what is promised already it could not be kept.

    Attributes:
        lane: the lane.
        within_s: device time within which it promises a start.
        reason: what stands in the way.
    """

    code = "promise_refused"
    field = "options.lane"

    def __init__(self, lane: str, *, within_s: float, reason: str) -> None:
        super().__init__(
            f"lane {lane!r} promises a start within {within_s:g} s of device time, and that could not be kept: "
            f"{reason}; submit later, or in a lane that promises nothing"
        )
        self.lane = lane
        self.within_s = within_s
        self.reason = reason


class SessionShareExceeded(Exhausted):
    """One session more would hold more of the device than a tenant's sessions may.

    Attributes:
        limit: qubits that all sessions of a tenant may hold on the device.
        held: by those that are open.
        asked: by this one.
    """

    code = "session_share_exceeded"
    field = "backend"

    def __init__(self, device: str, *, limit: int, held: int, asked: int) -> None:
        super().__init__(
            f"this session would hold {asked} qubits of {device}, idle ones around it included; your sessions may hold "
            f"{limit} and hold {held} now; close one of them, or take a smaller backend"
        )
        self.limit = limit
        self.held = held
        self.asked = asked


# --- not in this state --------------------------------------------------------------------------------------------


class IllegalTransition(DomainError):
    """The job's state does not allow what was asked.

    Attributes:
        state: the state the job is in.
        asked: the transition that was asked for.
    """

    code = "illegal_transition"

    def __init__(self, *, state: str, asked: str) -> None:
        super().__init__(f"a job that is {state} cannot be asked to {asked}")
        self.state = state
        self.asked = asked


class SessionClosed(DomainError):
    """The session takes no jobs any more.

    Attributes:
        session: its id.
        reason: why.
    """

    code = "session_closed"

    def __init__(self, session: str, reason: str, *, field: str | None = None) -> None:
        super().__init__(f"session {session} is over: {reason}; open another")
        self.session = session
        self.reason = reason
        self.field = field


def every_error(root: type[DomainError] = DomainError) -> Iterator[type[DomainError]]:
    """The tree below and including ``root``, depth first: what the tables at the edges must cover."""
    yield root
    for child in root.__subclasses__():
        yield from every_error(child)
