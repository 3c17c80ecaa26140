"""Books after a month that was invoiced, and some days of the next: everything that leaves something in them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from holding import closed, opened
from legs import CUT, LIMITS, large, stop_between_legs

from qpu_backend.bootstrap import SYSTEM
from qpu_backend.domain.invoices import Month
from qpu_backend.pipeline.crediting import Crediting

if TYPE_CHECKING:
    from qpu_backend.domain.tenancy import TenantScope
    from qpu_backend.pipeline.clocks import HandDrivenClock

MONTH = Month(2027, 1)
START_US = MONTH.interval.start_us + 86_400_000_000
FREE_MICRO = 20_000
SETTINGS: dict[str, Any] = {"device": CUT, "prices": {"free_micro_per_month": FREE_MICRO}}
GRACE_S = 600


def work(lab: Any, scope: TenantScope, make: Any) -> dict[str, str]:
    """Jobs that end in every way, and a session that holds something: their ids, by what became of them."""
    cancel = lab.service.door.cancellation.cancel
    session = opened(lab, scope)
    first = lab.submit(scope, make.sample(make.ghz(), shots=50, session=session))
    lab.ended(first)
    lab.workers.poison = {666}
    with lab.queueing():
        done = lab.submit(scope, make.sample(make.ghz(), shots=300, lane="batch").model_copy(update={"tags": ["=1+1"]}))
        failed = lab.submit(scope, make.sample(make.ghz(), seed=666))
        cancelled = lab.submit(scope, make.sample(make.ghz(), shots=30))
        cancel(scope, cancelled)
    lab.ended(done, failed)
    lab.workers.poison = set()
    whole = lab.submit(scope, large(make))
    lab.ended(whole)
    partial = stop_between_legs(lab, scope, large(make, seed=2))
    cancel(scope, partial)
    lab.resume()
    lab.ended(partial)
    assert closed(lab, scope, session).price_micro
    return {
        "done": done,
        "failed": failed,
        "cancelled": cancelled,
        "whole": whole,
        "partial": partial,
        "session": session,
    }


def book_a_month(lab: Any, clock: HandDrivenClock, make: Any) -> dict[str, TenantScope]:
    """Ada, who has limits, does everything in a month; bob has one job of two refunded. Then the month is over."""
    ada, bob = lab.tenant("ada", limits=LIMITS), lab.tenant("bob")
    work(lab, ada, make)
    pair = [lab.submit(bob, make.sample(make.ghz(), shots=2000)) for _ in range(2)]
    lab.ended(*pair)
    office = Crediting(lab.database, SYSTEM, clock)
    office.credit("ada", 10**9, reason="test", actor="test")
    office.refund(lab.usage(bob, pair[0]).id, reason="test", actor="test")
    clock.advance(seconds=(MONTH.interval.end_us - clock.now_us()) / 1e6 + GRACE_S)
    return {"ada": ada, "bob": bob}
