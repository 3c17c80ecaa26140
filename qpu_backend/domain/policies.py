"""Policies: what a tenant, and what one of its principals may ask for.

    DomainError
    └── RequestRefused
        ├── IsolationRefused    the job asks for a class of isolation that is not open to it
        └── SliceRefused        the job names a slice that is not open to it

A policy only narrows. That of a principal stands beside that of its tenant, and both apply. What is not set is not
limited; amounts per hour, day and month are quotas (``quota.py``).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Final, get_args

from qpu_backend.domain.errors import InvalidRequest, QueueFull, RequestRefused, TooLarge
from qpu_backend.domain.rates import Rate
from qpu_backend.domain.views import IsolationClass

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from qpu_backend.domain.lanes import Lane

ISOLATION_CLASSES: Final[tuple[str, ...]] = get_args(IsolationClass)
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)
_LARGEST: Final = 2**31 - 1


class IsolationRefused(RequestRefused):
    """The job asks for a class of isolation that is not open to it.

    Attributes:
        isolation: what was asked for.
        open_to: what may be asked for.
    """

    code = "isolation_refused"
    field = "options.isolation"

    def __init__(self, isolation: str, open_to: list[str]) -> None:
        offered = ", ".join(open_to) or "none at all"
        super().__init__(f"you may not ask for isolation {isolation!r}; open to you: {offered}")
        self.isolation = isolation
        self.open_to = open_to


class SliceRefused(RequestRefused):
    """The job names a slice of its tenant that is not open to this principal.

    Attributes:
        slice: what was asked for.
    """

    code = "slice_refused"
    field = "backend"

    def __init__(self, name: str) -> None:
        super().__init__(
            f"your tenant has a slice {name!r}, but you may not use it; ask your tenant's administrator, or submit to "
            "the device itself"
        )
        self.slice = name


@dataclass(frozen=True, slots=True)
class Policy:
    """What may be asked for; ``None`` is not limited.

    Attributes:
        max_queued_jobs: jobs that have not ended.
        max_running_jobs: jobs that run at the same time; the others wait. A job that was promised its start counts, and
            runs in time nevertheless.
        max_circuits: of one job.
        max_body_bytes: of one submission.
        submissions_per_minute: in the long run.
        burst: submissions that may come at once; a minute's worth where only the rate is set.
        lanes: names of those open to it.
        isolation: classes of it that may be asked for.
        slices: names of those open to it, of the tenant's.
    """

    max_queued_jobs: int | None = None
    max_running_jobs: int | None = None
    max_circuits: int | None = None
    max_body_bytes: int | None = None
    submissions_per_minute: int | None = None
    burst: int | None = None
    lanes: tuple[str, ...] | None = None
    isolation: tuple[str, ...] | None = None
    slices: tuple[str, ...] | None = None

    def rate(self, *, principal: bool) -> Rate | None:
        """How often one may submit."""
        per_minute = self.submissions_per_minute
        if per_minute is None:
            return None
        return Rate(per_minute, per_minute if self.burst is None else self.burst, principal=principal)

    def with_field(self, name: str, value: int | tuple[str, ...] | None) -> Policy:
        """The same policy with another value of one field; ``None`` lifts it.

        Raises:
            InvalidRequest: there is no such field, or this is no value for it.
        """
        if name not in POLICY_FIELDS:
            raise InvalidRequest(f"a policy has no {name!r}; it has {', '.join(POLICY_FIELDS)}", field=name[:64])
        if value is None:
            checked = None
        elif name in LISTS:
            checked = _checked_names(name, value)
        else:
            checked = _checked_number(name, value)
        changes: dict[str, Any] = {name: checked}
        return replace(self, **changes)


POLICY_FIELDS: Final = tuple(field.name for field in fields(Policy))
LISTS: Final = ("lanes", "isolation", "slices")
"""The fields that hold names."""
_ZERO_MEANS_NONE_AT_ALL: Final = ("max_queued_jobs", "max_running_jobs")

NOT_LIMITED: Final = Policy()


@dataclass(frozen=True, slots=True)
class Policies:
    """What applies to one principal: its tenant's policy and its own."""

    tenant: Policy = NOT_LIMITED
    principal: Policy = NOT_LIMITED

    def _each(self) -> Iterator[tuple[str, Policy]]:
        if self.tenant is not NOT_LIMITED:
            yield "your tenant's policy", self.tenant
        if self.principal is not NOT_LIMITED:
            yield "your own policy", self.principal

    def open_lanes(self, lanes: Mapping[str, Lane]) -> Mapping[str, Lane]:
        """Of some lanes, those that both policies leave open."""
        for _, policy in self._each():
            if policy.lanes is not None:
                lanes = {name: lane for name, lane in lanes.items() if name in policy.lanes}
        return lanes

    def require_isolation(self, isolation: str) -> None:
        """Refuse a class of isolation that one of them does not leave open.

        Raises:
            IsolationRefused: it is not.
        """
        open_to = list(ISOLATION_CLASSES)
        for _, policy in self._each():
            if policy.isolation is not None:
                open_to = [name for name in open_to if name in policy.isolation]
        if isolation not in open_to:
            raise IsolationRefused(isolation, open_to)

    def require_slice(self, name: str | None) -> None:
        """Refuse a slice that one of them does not leave open; ``None`` is no slice.

        Raises:
            SliceRefused: it is not.
        """
        if name is not None and any(
            policy.slices is not None and name not in policy.slices for _, policy in self._each()
        ):
            raise SliceRefused(name)

    def require_bytes(self, size: int) -> None:
        """Refuse a submission of more bytes than one of them allows.

        Raises:
            TooLarge: it has more.
        """
        for whose, policy in self._each():
            if policy.max_body_bytes is not None and size > policy.max_body_bytes:
                raise TooLarge(f"bytes of a submission, by {whose}", limit=policy.max_body_bytes, asked=size)

    def require_circuits(self, number: int) -> None:
        """Refuse a job of more circuits than one of them allows.

        Raises:
            TooLarge: it has more.
        """
        for whose, policy in self._each():
            if policy.max_circuits is not None and number > policy.max_circuits:
                what = f"circuits of a job, by {whose}"
                raise TooLarge(what, limit=policy.max_circuits, asked=number, field="circuits")

    def require_queued(self, unfinished: int) -> None:
        """Refuse another job of a principal that has as many unfinished ones as it may.

        Raises:
            QueueFull: it has.
        """
        limit = self.principal.max_queued_jobs
        if limit is not None and unfinished >= limit:
            raise QueueFull(limit=limit, queued=unfinished)

    def rates(self, principal_id: str) -> dict[str, Rate]:
        """The rates that apply, by whom they are of: '' the tenant."""
        both = {"": self.tenant.rate(principal=False), principal_id: self.principal.rate(principal=True)}
        return {whose: rate for whose, rate in both.items() if rate is not None}


def _checked_number(name: str, value: int | tuple[str, ...]) -> int:
    least = 0 if name in _ZERO_MEANS_NONE_AT_ALL else 1
    if isinstance(value, tuple) or not least <= value <= _LARGEST:
        raise InvalidRequest(f"{name} is a whole number from {least} to {_LARGEST}", field=name)
    return value


def _checked_names(name: str, value: int | tuple[str, ...]) -> tuple[str, ...]:
    if isinstance(value, int):
        raise InvalidRequest(f"{name} is a list of names", field=name)
    known = ISOLATION_CLASSES if name == "isolation" else None
    for one in value:
        if (one not in known) if known is not None else (_NAME.fullmatch(one) is None):
            hint = f"one of {', '.join(known)}" if known is not None else "letters, digits, dots, _ and -"
            raise InvalidRequest(f"{one[:64]!r} in {name} is no name for it: {hint}", field=name)
    return tuple(sorted(set(value)))
