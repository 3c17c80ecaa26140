"""What the dispatcher sees of a queue whose front a quarantine holds back: the rest, however far behind it stands."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from qpu_backend.domain.footprint import Footprint
from qpu_backend.domain.quarantine import Quarantine
from qpu_backend.domain.rounds import Need
from qpu_backend.domain.views import DeviceView, QueuedJob
from qpu_backend.engines.catalogue import read_device
from qpu_backend.pipeline.lookout import _past_what_is_held_back

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

FEW, MANY = 40, 64
"""That are looked at of a tenant, and in all."""


@pytest.fixture(scope="module")
def chip() -> DeviceView:
    """With its first qubit in quarantine."""
    model, _ = read_device("falcon27")
    usable = (1 << 27) - 2
    return DeviceView("falcon27", model.topology, usable, {}, 1000, 250.0, quarantine=Quarantine.of([0], []))


def jobs(number: int, qubit: int, tenant: str = "ada", booking: str | None = None) -> list[QueuedJob]:
    footprint = Footprint(None, (qubit,), (), (1,), (qubit,), (0,), (Need(1, 10, 100),))
    one = QueuedJob("", tenant, 0, 1, 1, footprint, booking=booking)
    return [replace(one, id=f"{tenant}-{qubit}-{at:05}") for at in range(number)]


class Queue:
    """Read as the stores read it: no more of a tenant, and in all, than asked for, and what is booked beside it."""

    def __init__(self, queue: Sequence[QueuedJob], chip: DeviceView) -> None:
        self.queue = queue
        self.chip = chip

    def front(self, depth: int, without: Collection[str]) -> tuple[tuple[QueuedJob, ...], DeviceView, int | None]:
        counts, seen = Counter[str](), list[QueuedJob]()
        for job in self.queue:
            if job.id in without:
                continue
            if counts[job.tenant] < depth * FEW and (job.booking is not None or len(seen) < depth * MANY):
                counts[job.tenant] += 1
                seen.append(job)
        return tuple(seen), self.chip, None

    def seen(self) -> list[str]:
        (found, _, _), _ = _past_what_is_held_back(self.front)
        return [job.id for job in found]


def test_any_number_that_is_held_back_keeps_nobody_behind_from_running(chip: DeviceView) -> None:
    held, free = [jobs(2_500, 0, tenant) for tenant in ("ada", "bob", "eve")], jobs(3, 1, "joe")
    assert Queue([*held[0], *held[1], *held[2], *free], chip).seen() == [job.id for job in free]


def test_of_those_behind_no_more_are_seen_than_are_of_a_queue_without_a_quarantine(chip: DeviceView) -> None:
    ada, bob = jobs(50, 1, "ada"), jobs(50, 2, "bob")
    assert Queue([*jobs(100, 0), *ada, *bob], chip).seen() == [job.id for job in (*ada[:FEW], *bob[: MANY - FEW])]


def test_whoever_has_booked_the_device_is_seen_past_its_own_jobs_that_are_held_back(chip: DeviceView) -> None:
    others, held, own = jobs(100, 2, "bob"), jobs(400, 0, booking="bkg"), jobs(50, 1, booking="bkg")
    more = jobs(60, 3, "eve")
    seen = Queue([*others, *more, *held, *own], chip).seen()
    assert [job_id for job_id in seen if job_id.startswith("ada")] == [job.id for job in own[:FEW]]
    assert len(seen) == MANY + FEW


def test_the_sessions_of_those_that_are_held_back_are_told_wherever_they_were_met(chip: DeviceView) -> None:
    held = jobs(300, 0)
    held[0] = replace(held[0], session="near")
    held[-1] = replace(held[-1], session="far")
    free = replace(jobs(1, 1)[0], session="runs")
    (found, _, _), waiting = _past_what_is_held_back(Queue([*held, free], chip).front)
    assert (found, waiting) == ((free,), {"near", "far"})
