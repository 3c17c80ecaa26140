"""Rates: how often one may submit, by the generic cell rate algorithm (ITU-T I.371), as a function over one number.

A rate of so many a minute is a spacing ``T``, and a burst of ``b`` may come at once. All that is remembered is when the
next submission would be due if they came evenly spaced, its *arrival*. One that comes early is admitted as long as the
arrival is at most ``(b - 1) · T`` away, and moves it on by ``T``::

    now ──────┬──────────────┬───▶ arrival          admitted: now ≥ arrival - (b - 1) · T
              └─ retry_at_us └─ (b - 1) · T earlier than the arrival

So at most ``b`` are admitted at once and ``b + t / T`` in any time ``t``. A refusal changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from qpu_backend.domain.errors import Exhausted

if TYPE_CHECKING:
    from collections.abc import Mapping

_MINUTE_US: Final = 60_000_000


class RateLimited(Exhausted):
    """Submissions come faster than they may.

    Attributes:
        per_minute: how many may come in a minute.
        burst: how many of them at once.
        principal: whether it is the limit of the principal, not of its tenant as a whole.
        attempts: whether what is refused counts as well.
        keys: whether it is API keys that are counted.
        retry_at_us: when the next one is admitted.
    """

    code = "rate_limited"

    def __init__(
        self,
        *,
        per_minute: int,
        burst: int,
        principal: bool,
        retry_at_us: int,
        now_us: int,
        attempts: bool = False,
        keys: bool = False,
    ) -> None:
        whose = "you" if principal else "all of your tenant together"
        wait_s = max(0, retry_at_us - now_us) / 1e6
        what = "submit {} jobs, quotes and predictions, refused ones included," if attempts else "submit {} jobs"
        what = "make or rotate {} keys" if keys else what
        super().__init__(
            f"{whose} may {what.format(per_minute)} a minute, and at most {burst} at once; try again in {wait_s:.3g} s"
            + ("" if keys else ", or put more circuits into one job")
        )
        self.per_minute = per_minute
        self.burst = burst
        self.principal = principal
        self.attempts = attempts
        self.keys = keys
        self.retry_at_us = retry_at_us


@dataclass(frozen=True, slots=True)
class Rate:
    """How often one may submit.

    Attributes:
        per_minute: submissions a minute in the long run, ≥ 1.
        burst: that may come at once, ≥ 1.
        principal: whether it is the limit of a principal, not of a tenant as a whole.
        attempts: whether it counts what is refused as well, and quotes and predictions.
        keys: whether it counts API keys that are made or replaced, and no submissions.
    """

    per_minute: int
    burst: int
    principal: bool = False
    attempts: bool = False
    keys: bool = False

    def __post_init__(self) -> None:
        if self.per_minute < 1 or self.burst < 1:
            raise ValueError(f"a rate admits at least one: {self}")

    @property
    def spacing_us(self) -> int:
        """Between two submissions in the long run; rounded up, so never more often than the rate."""
        return -(-_MINUTE_US // self.per_minute)


def admit(rate: Rate, arrival_at_us: int, now_us: int) -> int:
    """One submission more.

    An arrival further ahead than a full burst can have moved it means that the clock has stepped back, or that the
    rate has changed: then one is admitted, and the next is due as after a full burst. So nobody waits for longer than
    one spacing, however far the clock stepped.

    Args:
        rate: how often.
        arrival_at_us: what the submission before left; 0 before the first.
        now_us: wall time.

    Returns:
        The new arrival, to be remembered.

    Raises:
        RateLimited: it comes too early; nothing changed.
    """
    spacing_us = rate.spacing_us
    early_us = (rate.burst - 1) * spacing_us
    ahead_us = max(arrival_at_us - now_us, 0)
    if ahead_us > early_us + spacing_us:
        ahead_us = early_us
    if ahead_us > early_us:
        raise RateLimited(
            per_minute=rate.per_minute,
            burst=rate.burst,
            principal=rate.principal,
            attempts=rate.attempts,
            keys=rate.keys,
            retry_at_us=arrival_at_us - early_us,
            now_us=now_us,
        )
    return now_us + ahead_us + spacing_us


def admit_all(rates: Mapping[str, Rate], arrivals: Mapping[str, int], now_us: int) -> dict[str, int]:
    """One submission more, under every rate or under none.

    Args:
        rates: those that apply, by whom they are of.
        arrivals: what the submission before left, of those that have had one.
        now_us: wall time.

    Returns:
        The new arrivals.

    Raises:
        RateLimited: of the rate that stands in the way longest, so that ``retry_at_us`` can be believed.
    """
    moved: dict[str, int] = {}
    refusals: list[RateLimited] = []
    for whose, rate in rates.items():
        try:
            moved[whose] = admit(rate, arrivals.get(whose, 0), now_us)
        except RateLimited as refusal:
            refusals.append(refusal)
    if refusals:
        raise max(refusals, key=lambda one: one.retry_at_us or 0)
    return moved
