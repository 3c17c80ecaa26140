"""The table of what is billed, in ``docs/explanation/money.md``, walked line by line over the whole service."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from legs import CUT, LARGE, LIMITS, large, stop_between_legs
from sqlalchemy import func, select

from qpu_backend.domain.errors import CostCapExceeded, InvalidRequest, QueueFull, QuotaExceeded
from qpu_backend.domain.jobs import JobState
from qpu_backend.domain.legs import Legs
from qpu_backend.domain.pricing import price
from qpu_backend.domain.seeds import derive_seed
from qpu_backend.stores import money
from qpu_backend.stores.schema_money import usage_records

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from qpu_backend.domain.tenancy import TenantScope

PAGE = Path(__file__).parents[2] / "docs" / "explanation" / "money.md"
RULE = re.compile(r"^\| (?!what happened)([^|-][^|]*) \| ([^|]*) \| ([^|]*) \|$", re.MULTILINE)
TABLE = {what: (shots, charged) for what, shots, charged in RULE.findall(PAGE.read_text(encoding="utf-8"))}
SHOTS = 300
POISON = 666


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def lab(request, tmp_path_factory, laboratories) -> Iterator[Any]:
    url = None
    if request.param == "postgresql":
        server = request.getfixturevalue("postgres")
        url = server.url(server.new_database(tables=True))
    prices = {"lane_percent": {"interactive": 150}}
    with laboratories(tmp_path_factory.mktemp("lab"), database=url, device=CUT, prices=prices) as shared:
        yield shared


def small(make: Any, **options: Any) -> Any:
    return make.sample(make.ghz(), shots=SHOTS, lane="interactive", **options)


def cancel(lab: Any, scope: TenantScope, job_id: str) -> None:
    lab.service.door.cancellation.cancel(scope, job_id)


def held_back(lab: Any, scope: TenantScope, order: Any) -> str:
    """A job whose batch runs, and does not get on."""
    lab.workers.gate.clear()
    job_id = lab.submit(scope, order)
    lab.until("running", job_id)
    return job_id


# --- every line: what happens, and how many legs of the job have run ------------------------------------------------


def completed(lab: Any, make: Any, scope: TenantScope) -> tuple[str, int]:
    return lab.submit(scope, small(make)), 1


def refused(lab: Any, make: Any, scope: TenantScope) -> None:
    with lab.queueing():
        orders = (
            (InvalidRequest, small(make, init_qubits=False)),
            (QuotaExceeded, make.sample(make.ghz(), make.ghz(), shots=60_000)),
            (CostCapExceeded, small(make).model_copy(update={"max_cost_micro": 1})),
        )
        for refusal, order in orders:
            with pytest.raises(refusal):
                lab.submit(scope, order)
        busy = lab.tenant(max_queued_jobs=1)
        waits = lab.submit(busy)
        with pytest.raises(QueueFull):
            lab.submit(busy)
        cancel(lab, busy, waits)


def cancelled_waiting(lab: Any, make: Any, scope: TenantScope) -> tuple[str, int]:
    with lab.queueing():
        job_id = lab.submit(scope, small(make))
        cancel(lab, scope, job_id)
    return job_id, 0


def cancelled_running(lab: Any, make: Any, scope: TenantScope) -> tuple[str, int]:
    job_id = held_back(lab, scope, small(make))
    cancel(lab, scope, job_id)
    lab.workers.gate.set()
    return job_id, 1


def cancelled_between_legs(lab: Any, make: Any, scope: TenantScope) -> tuple[str, int]:
    job_id = stop_between_legs(lab, scope, large(make, lane="interactive"))
    cancel(lab, scope, job_id)
    lab.resume()
    return job_id, 1


def cancelled_in_a_leg(lab: Any, make: Any, scope: TenantScope) -> tuple[str, int]:
    job_id = stop_between_legs(lab, scope, large(make, lane="interactive"))
    lab.workers.gate.clear()
    lab.resume()
    lab.until("running", job_id)
    cancel(lab, scope, job_id)
    lab.workers.gate.set()
    return job_id, 2


def cancelled_and_given_up(lab: Any, make: Any, scope: TenantScope) -> tuple[str, int]:
    lab.workers.gate.clear()
    lab.workers.poison = {POISON}
    other = lab.tenant()
    with lab.queueing():
        job_id, poison = lab.submit(scope, small(make)), lab.submit(other, make.sample(make.ghz(), seed=POISON))
    lab.until("running", job_id, poison)
    cancel(lab, scope, job_id)
    lab.workers.gate.set()
    lab.ended(job_id, poison)
    return job_id, 0


def failed(lab: Any, make: Any, scope: TenantScope) -> tuple[str, int]:
    lab.workers.poison = {POISON}
    return lab.submit(scope, small(make, seed=POISON)), 0


def failed_in_a_later_leg(lab: Any, make: Any, scope: TenantScope) -> tuple[str, int]:
    job_id = stop_between_legs(lab, scope, large(make, lane="interactive", seed=7))
    first_shot = Legs.from_document(dict(lab.rows(job_id)[0].legs)).leg(1).first_shot
    lab.workers.poison = {derive_seed(7, 0, 0, 0, first_shot)}
    lab.resume()
    return job_id, 0


def ran_again(lab: Any, make: Any, scope: TenantScope) -> tuple[str, int]:
    job_id = held_back(lab, scope, small(make))
    lab.workers.die()
    lab.workers.gate.set()
    return job_id, 1


CASES: dict[str, tuple[Callable[..., tuple[str, int] | None], JobState | None]] = {
    "it completed": (completed, JobState.DONE),
    "refused: the request, the quota, its own cap, a full queue": (refused, None),
    "cancelled while it waited": (cancelled_waiting, JobState.CANCELLED),
    "cancelled while its batch ran": (cancelled_running, JobState.CANCELLED),
    "cancelled between two legs": (cancelled_between_legs, JobState.CANCELLED),
    "cancelled while a leg ran": (cancelled_in_a_leg, JobState.CANCELLED),
    "cancelled, and then its batch was given up": (cancelled_and_given_up, JobState.CANCELLED),
    "failed: no simulation of it succeeds": (failed, JobState.FAILED),
    "failed in a later leg": (failed_in_a_later_leg, JobState.FAILED),
    "its worker died, and the batch ran again": (ran_again, JobState.DONE),
}
CHARGED = {"none": "nothing", "those": "their price", "all": "its price"}
"""The two columns say the same thing in two ways."""


def test_the_table_has_a_line_for_every_case_and_no_other():
    assert list(TABLE) == list(CASES)
    for shots, charged in TABLE.values():
        assert charged.startswith(CHARGED[re.split(r"\W", shots)[0]])


@pytest.mark.parametrize("what", CASES)
def test_a_job_is_billed_as_the_table_says(lab, make, what):
    happens, end = CASES[what]
    scope = lab.tenant(limits=LIMITS)
    lab.workers.poison = set()
    came_of_it = happens(lab, make, scope)
    with lab.database.read() as connection:
        book = money.current_price_book(connection, lab.service.door.clock.now_us())
        of_tenant = usage_records.c.tenant_id == scope.tenant_id
        records = connection.execute(select(func.count()).select_from(usage_records).where(of_tenant)).scalar_one()
    if came_of_it is None:
        assert records == 0
        charged_micro, shots = 0, 0
    else:
        job_id, legs = came_of_it
        (row,) = lab.ended(job_id)
        record = lab.usage(scope, job_id)
        assert (row.state, record.outcome) == (end, end)
        whole = (row.shots, row.device_us)
        used = (0, 0) if legs == 0 else whole if row.legs is None else Legs.from_document(dict(row.legs)).used(legs)
        assert (record.shots, record.device_us) == tuple(used)
        charged_micro = price(book, *used, row.footprint_qubits, "interactive") if legs else 0
        assert record.price_micro == charged_micro
        shots = record.shots
        in_words = "none" if not shots else "all" if shots == row.shots else "those"
        assert in_words == re.split(r"\W", TABLE[what][0])[0]
        assert row.shots in {SHOTS, LARGE}
    with lab.database.read() as connection:
        assert money.balance(connection, scope) == -charged_micro
    windows = lab.windows(scope)
    assert windows in ([], [("shots", 0, shots), ("spend_micro", 0, charged_micro)])
    assert windows or not shots
    lab.check_books()
