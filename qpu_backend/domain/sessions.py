"""Sessions: a tenant's loop of jobs that keeps its region between them, for a price, a share of the chip and a time.

    open ──close──► closing ──its last job has ended────────────────────────────────► closed
      └──────── no job and no call for its TTL; its longest time, or its money, is over ──┘     between jobs only

The TTL is wall time; what it holds is device time. No clock and no store here: ``now_us`` is an argument.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from fractions import Fraction
from typing import TYPE_CHECKING, Final

from qpu_backend.domain.errors import InvalidRequest, RequestRefused, SessionClosed, SessionShareExceeded
from qpu_backend.domain.placement import misses
from qpu_backend.physics.topology import mask_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from qpu_backend.domain.pricing import PriceBook
    from qpu_backend.domain.views import DeviceView, Hold, QueuedJob

_SECOND_US: Final = 1_000_000


class SessionState(StrEnum):
    """Where a session is. The values are sent."""

    OPEN = "open"
    """It takes jobs."""
    CLOSING = "closing"
    """It takes none any more, and ends with its last one."""
    CLOSED = "closed"
    """It holds nothing, and has its price."""


@dataclass(frozen=True, slots=True)
class SessionPolicy:
    """How long sessions may last, wall time.

    Attributes:
        ttl_us: without a job or a call, where a session asks for nothing.
        max_ttl_us: at most, where it asks.
        max_length_us: from its opening to its end, however busy it is.
    """

    ttl_us: int
    max_ttl_us: int
    max_length_us: int


@dataclass(frozen=True, slots=True)
class Term:
    """How long one session lasts, wall time.

    Attributes:
        ttl_us: what a job or a call prolongs it to, from then on; 0 once it is closing.
        expires_at_us: when it ends if nothing happens, and no job of it is waiting or running.
        ends_at_us: nothing prolongs it beyond this.
        closed_at_us: when it ended.
    """

    ttl_us: int
    expires_at_us: int
    ends_at_us: int
    closed_at_us: int | None = None

    @classmethod
    def begin(
        cls, policy: SessionPolicy, now_us: int, ttl_us: int | None = None, max_time_us: int | None = None
    ) -> Term:
        """Of a session that is opened now.

        Args:
            policy: the service's.
            now_us: wall time.
            ttl_us: what it asks for.
            max_time_us: that it asks to last at most, from its opening.

        Raises:
            InvalidRequest: a TTL of nothing, or one beyond the service's; or it asks to last longer than any may.
        """
        longest_us = policy.max_length_us if max_time_us is None else max_time_us
        if not 0 < longest_us <= policy.max_length_us:
            most_s = policy.max_length_us / _SECOND_US
            raise InvalidRequest(
                f"a session lasts above 0 and up to {most_s:g} s, not {longest_us / _SECOND_US:g}", field="max_time_s"
            )
        ttl_us = policy.ttl_us if ttl_us is None else ttl_us
        if not 0 < ttl_us <= policy.max_ttl_us:
            most_s = policy.max_ttl_us / _SECOND_US
            raise InvalidRequest(
                f"a session lives above 0 and up to {most_s:g} s without a job or a call, not {ttl_us / _SECOND_US:g}",
                field="ttl_s",
            )
        ends_at_us = now_us + longest_us
        return cls(ttl_us, min(now_us + ttl_us, ends_at_us), ends_at_us)

    @property
    def state(self) -> SessionState:
        if self.closed_at_us is not None:
            return SessionState.CLOSED
        return SessionState.OPEN if self.ttl_us else SessionState.CLOSING

    def prolonged(self, now_us: int) -> Term:
        """After a job or a call."""
        return replace(self, expires_at_us=min(now_us + self.ttl_us, self.ends_at_us))

    def closing(self, now_us: int) -> Term:
        """After its tenant closed it."""
        return replace(self, ttl_us=0, expires_at_us=min(now_us, self.ends_at_us))

    def over(self, now_us: int, unfinished: int) -> bool:
        """Whether it ends now, or has. Never while a job of it waits or runs."""
        return self.closed_at_us is not None or (unfinished == 0 and self.expires_at_us <= now_us)

    def require_open(self, session_id: str, now_us: int, unfinished: int, *, field: str | None = None) -> None:
        """Refuse a job, or a call that would keep it alive, where it takes none any more.

        Raises:
            SessionClosed: says why.
        """
        if self.state is not SessionState.OPEN:
            raise SessionClosed(session_id, "it was closed" if self.ttl_us == 0 else "it has ended", field=field)
        if now_us >= self.ends_at_us:
            raise SessionClosed(session_id, "it has lasted as long as a session may", field=field)
        if self.over(now_us, unfinished):
            raise SessionClosed(session_id, f"nothing happened for {self.ttl_us / _SECOND_US:g} s", field=field)


# --- how much of the chip -------------------------------------------------------------------------------------------


def room(share: float, usable_qubits: int, held: Iterable[int]) -> int:
    """Qubits that one more session of a tenant may hold.

    Args:
        share: of the usable qubits, that all sessions of a tenant together may hold.
        usable_qubits: of the device.
        held: expected qubits of each open session of the tenant there.
    """
    return max(0, int(share * usable_qubits) - sum(held))


def require_share(device: str, share: float, usable_qubits: int, held: Sequence[int], asked: int) -> None:
    """Refuse a session that would take its tenant beyond its share.

    Raises:
        SessionShareExceeded: it would, or it asks for nothing at all because there is nothing left.
    """
    if not 0 < asked <= room(share, usable_qubits, held):
        limit = int(share * usable_qubits)
        raise SessionShareExceeded(device, limit=limit, held=sum(held), asked=asked)


# --- what it costs ------------------------------------------------------------------------------------------------


def price_of_hold(book: PriceBook, held_cost: int, lane: str) -> int:
    """Price of what a session held and nobody used, in micro-credits, rounded half-even once.

    Args:
        book: the one in force when it was opened.
        held_cost: µs · qubit.
        lane: of the session's jobs.
    """
    return book.in_lane(Fraction(held_cost * book.per_qubit_second_micro, _SECOND_US), lane)


class SessionCostExceeded(RequestRefused):
    """With this job the session would cost more than it may.

    Attributes:
        limit: that it may cost, in micro-credits.
        used: by its jobs, at their prices, and by what it held.
        asked: the price of this one.
    """

    code = "session_cost_exceeded"
    field = "options.session"

    def __init__(self, session: str, *, limit: int, used: int, asked: int) -> None:
        super().__init__(
            f"session {session} may cost {limit} micro-credits: its jobs and what it held take {used}, and this job "
            f"costs {asked}; open another"
        )
        self.limit = limit
        self.used = used
        self.asked = asked


def require_affordable(session_id: str, limit: int | None, used: int, price_micro: int) -> None:
    """Refuse a job that would take its session beyond what it may cost.

    Raises:
        SessionCostExceeded: it would.
    """
    if limit is not None and used + price_micro > limit:
        raise SessionCostExceeded(session_id, limit=limit, used=used, asked=price_micro)


# --- where --------------------------------------------------------------------------------------------------------


def in_force(hold: Hold, queued: Iterable[QueuedJob], device: DeviceView) -> bool:
    """Whether a session still holds its region: the chip has all of it, and its waiting jobs can run there.

    A calibration or a quarantine may have taken a qubit or a coupler of it, or a job on pinned qubits asks for others.
    The session then holds nothing, until its next job is placed elsewhere.

    Args:
        hold: the region.
        queued: waiting jobs, of anybody.
        device: the chip, with the places of the shapes of those jobs.
    """
    if hold.mask & ~device.usable_mask or device.quarantine.cuts(hold.mask):
        return False
    wanted = {
        (job.footprint.shape, () if job.footprint.shape else job.footprint.qubits, job.slice)
        for job in queued
        if job.session == hold.session
    }
    return all(_fits_inside(*each, hold.mask, device) for each in wanted)


def _fits_inside(
    shape: str | None, qubits: tuple[int, ...], slice_name: str | None, mask: int, device: DeviceView
) -> bool:
    allowed = mask & device.belongs_to(slice_name)
    if shape is None:
        return not mask_of(qubits) & ~allowed
    table = device.embeddings.get(shape)
    everything = (1 << device.topology.num_qubits) - 1
    return table is None or bool(misses(table.region_words, everything & ~allowed).any())


def clear_of(region: Sequence[int], holds: Iterable[Hold], device: DeviceView) -> bool:
    """Whether a session may keep this region: it is no part of what others hold, nor beside it where that matters.

    A job that has waited longer than the device's patience runs on what others hold, but that is not kept.
    """
    mask = mask_of(region)
    return not any(mask & (hold.mask | device.halo(hold.mask)) for hold in holds)
