"""Booked windows and maintenance on the device's own clock: who runs in them, who waits, and when the device idles."""

from __future__ import annotations

import threading

import pytest

from qpu_backend.bootstrap import SYSTEM
from qpu_backend.domain.errors import PromiseRefused
from qpu_backend.pipeline.bookings import MAX_AHEAD_US, BookingRefused
from qpu_backend.stores import bookings
from qpu_backend.stores.errors import MissingRow

DEVICE = "eagle127"
S = 1_000_000
LONG_SHOTS = 60_000
"""About 17 s of device time: longer than the 10 s that others may have of an idle window."""


def named(lab, name):
    """A new tenant and its name."""
    return lab.tenant(name), name


def book(lab, *, in_s, for_s, tenant=None):
    return lab.service.bookings.book(DEVICE, in_us=round(in_s * S), for_us=round(for_s * S), tenant_name=tenant)


def spans(lab, *job_ids):
    """(start, end) in device time of the batch of each job."""
    found = {}
    for ran in lab.batches(*job_ids):
        for job_id in ran.job_ids:
            found[job_id] = (ran.batch.device_start_us, ran.batch.device_start_us + ran.batch.device_us)
    return [found[job_id] for job_id in job_ids]


def overlaps(span, row):
    return span[0] < row.ends_us and row.starts_us < span[1]


@pytest.fixture
def quiet(new_lab):
    """A service without neighbours' noise, whose device has no bookings."""
    return new_lab(device={"crosstalk": False, "drift": False, "quantum_s": 60.0})


# --- in a booked window -----------------------------------------------------------------------------------------------


def test_others_never_overlap_a_booked_window(quiet, make):
    (_, name), bob = named(quiet, "ada"), quiet.tenant()
    with quiet.queueing():
        theirs = [quiet.submit(bob, make.sample(make.ghz(), shots=LONG_SHOTS, isolation="exclusive")) for _ in range(4)]
        row = book(quiet, in_s=40, for_s=60, tenant=name)
    quiet.ended(*theirs)
    times = spans(quiet, *theirs)
    assert not any(overlaps(span, row) for span in times)
    starts = sorted(start for start, _ in times)
    assert starts[0] == 0
    assert starts[1] < row.starts_us
    assert starts[2] == row.ends_us, "the device idled until the window was over, and no longer"
    quiet.check_books()


def test_in_a_booked_window_its_owner_goes_first_whatever_the_tags_say(quiet, make):
    (ada, name), bob = named(quiet, "ada"), quiet.tenant()
    with quiet.queueing():
        theirs = [quiet.submit(bob, make.sample(make.ghz(), shots=100, isolation="exclusive")) for _ in range(3)]
        hers = [quiet.submit(ada, make.sample(make.ghz(), shots=LONG_SHOTS, isolation="exclusive")) for _ in range(3)]
        row = book(quiet, in_s=0, for_s=60, tenant=name)
    tags = {one.id: one.start_tag for one in quiet.rows(*theirs, *hers)}
    assert tags[hers[1]] > max(tags[job] for job in theirs)
    quiet.ended(*theirs, *hers)
    assert max(spans(quiet, *hers))[1] <= min(spans(quiet, *theirs))[0] < row.ends_us
    quiet.check_books()


def test_an_owners_job_may_begin_before_its_window_and_end_in_it(quiet, make):
    (ada, name), bob = named(quiet, "ada"), quiet.tenant()
    long = make.sample(make.ghz(), shots=LONG_SHOTS, isolation="exclusive")
    with quiet.queueing():
        theirs, hers = quiet.submit(bob, long), quiet.submit(ada, long)
        row = book(quiet, in_s=10, for_s=60, tenant=name)
    quiet.ended(theirs, hers)
    assert spans(quiet, hers)[0][0] == 0
    assert spans(quiet, theirs)[0][0] == row.ends_us


def test_an_idle_window_is_backfilled_by_short_jobs_only(quiet, make):
    quiet.tenant("ada")
    bob = quiet.tenant()
    row = book(quiet, in_s=0, for_s=60, tenant="ada")
    with quiet.queueing():
        long = quiet.submit(bob, make.sample(make.ghz(), shots=LONG_SHOTS, isolation="exclusive"))
        short = [quiet.submit(bob, make.sample(make.ghz(), shots=100, isolation="exclusive")) for _ in range(2)]
    quiet.ended(long, *short)
    for span in spans(quiet, *short):
        assert row.starts_us <= span[0] < span[1] <= row.ends_us
    ((start_us, _),) = spans(quiet, long)
    assert start_us == row.ends_us, "it starts when the window is over, not before and not later"


def test_the_owner_goes_first_however_many_are_before_it_in_the_queue(quiet, make):
    (ada, name), crowd = named(quiet, "ada"), [quiet.tenant() for _ in range(2)]
    book(quiet, in_s=0, for_s=600, tenant=name)
    with quiet.queueing():
        order = make.sample(make.ghz(), shots=LONG_SHOTS, isolation="exclusive")
        hers = [quiet.submit(ada, order) for _ in range(2)]
        theirs = [
            quiet.submit(each, make.sample(make.ghz(2), backend="eagle127:line-2", shots=1)) for each in crowd * 35
        ]
        last = quiet.rows(hers[1])[0].start_tag
        assert sum(one.start_tag < last for one in quiet.rows(*theirs)) == 70, "more than a view has"
    quiet.ended(*hers, *theirs)
    assert max(spans(quiet, *hers))[1] <= min(spans(quiet, *theirs))[0]


def test_a_long_simulation_of_the_owner_is_not_passed_by_short_ones_of_others(quiet, make):
    (ada, name), bob = named(quiet, "ada"), quiet.tenant()
    book(quiet, in_s=0, for_s=600, tenant=name)
    wide = make.sample(make.ghz(11), backend="eagle127:line-11", shots=1_000)
    with quiet.queueing():
        short = [quiet.submit(bob, make.sample(make.ghz(), shots=100, isolation="exclusive")) for _ in range(3)]
        long = quiet.submit(ada, wide)
        assert quiet.rows(long)[0].footprint["simulation_us"] > 2_000_000
    quiet.ended(long, *short)
    assert spans(quiet, long)[0][0] == 0


# --- maintenance ------------------------------------------------------------------------------------------------------


def test_maintenance_runs_nothing_and_the_clock_passes_over_it(quiet, make):
    bob = quiet.tenant()
    row = book(quiet, in_s=0, for_s=500)
    job = quiet.submit(bob)
    quiet.ended(job)
    assert spans(quiet, job)[0][0] == row.ends_us == 500 * S
    later = book(quiet, in_s=5, for_s=100)
    jobs = [quiet.submit(bob, make.sample(make.ghz(), shots=shots)) for shots in (100, LONG_SHOTS, 200, LONG_SHOTS)]
    quiet.ended(*jobs)
    assert not any(overlaps(span, later) for span in spans(quiet, *jobs))
    quiet.check_books()


def test_what_runs_when_maintenance_begins_is_not_cut_and_submissions_go_on(quiet, make):
    bob = quiet.tenant()
    quiet.workers.gate.clear()
    runs = quiet.submit(bob, make.sample(make.ghz(), shots=LONG_SHOTS))
    quiet.until("running", runs)
    row = book(quiet, in_s=0, for_s=50)
    waits = quiet.submit(bob, make.sample(make.ghz(), shots=100))
    assert row.starts_us == spans(quiet, runs)[0][1], "the device is busy until then"
    quiet.workers.gate.set()
    assert [one.state for one in quiet.ended(runs, waits)] == ["done", "done"]
    assert quiet.batches(runs)[0].batch.attempt == 1
    assert spans(quiet, waits)[0][0] == row.ends_us


def test_without_a_waiting_job_the_device_does_not_idle(quiet):
    book(quiet, in_s=0, for_s=100)
    quiet.dispatcher.wake()
    threading.Event().wait(0.3)
    assert quiet.device().device_time_us == 0


# --- what cannot be booked --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def office(either_lab):
    """A service that takes bookings and runs nothing, on each database."""
    either_lab.pause()
    either_lab.tenant(f"ada-{id(either_lab)}")
    return either_lab


def owner(lab):
    return f"ada-{id(lab)}"


def refusal(lab, **window):
    with pytest.raises(BookingRefused) as refused:
        book(lab, tenant=owner(lab), **window)
    return refused.value


def test_a_window_that_begins_in_the_past_has_no_length_or_no_end_is_refused(office):
    before = office.service.bookings.ahead(DEVICE)
    assert (refusal(office, in_s=-1, for_s=5).field, refusal(office, in_s=0, for_s=0).field) == ("in", "for")
    assert refusal(office, in_s=0, for_s=-5).field == "for"
    assert refusal(office, in_s=0, for_s=MAX_AHEAD_US / S + 1).field == "for"
    with pytest.raises(MissingRow, match="nobody"):
        book(office, in_s=0, for_s=5, tenant="nobody")
    with pytest.raises(MissingRow, match="albatross"):
        office.service.bookings.book("albatross", in_us=0, for_us=5)
    assert office.service.bookings.ahead(DEVICE) == before


def test_an_overlapping_window_is_refused_and_a_cancelled_one_frees_its_time(office):
    taken = book(office, in_s=100, for_s=50, tenant=owner(office))
    for in_s, for_s in ((100, 50), (90, 11), (149, 1), (120, 1), (50, 500)):
        assert taken.id in str(refusal(office, in_s=in_s, for_s=for_s))
    beside = [book(office, in_s=90, for_s=10), book(office, in_s=150, for_s=10)]
    _, rows = office.service.bookings.ahead(DEVICE)
    assert [(row.id, whose) for row, whose in rows] == [
        (beside[0].id, None),
        (taken.id, owner(office)),
        (beside[1].id, None),
    ]
    assert office.service.bookings.cancel(taken.id).id == taken.id
    again = book(office, in_s=100, for_s=50)
    with pytest.raises(BookingRefused, match="already"):
        office.service.bookings.cancel(taken.id)
    for row in (again, *beside):
        office.service.bookings.cancel(row.id)
    with pytest.raises(MissingRow, match="bkg_none"):
        office.service.bookings.cancel("bkg_none")


def test_two_who_book_the_same_window_at_once_do_not_both_get_it(office):
    answers = office.at_once([lambda: book(office, in_s=5000, for_s=10)] * 6)
    assert sum(not isinstance(answer, Exception) for answer in answers) == 1
    assert {type(answer) for answer in answers if isinstance(answer, Exception)} == {BookingRefused}
    office.service.bookings.cancel(next(a.id for a in answers if not isinstance(a, Exception)))


def test_a_window_that_is_over_is_not_cancelled(new_lab):
    lab = new_lab(started=False)
    row = book(lab, in_s=0, for_s=10)
    lab.service.calibration.pass_time(DEVICE, 10 * S)
    with pytest.raises(BookingRefused, match="over"):
        lab.service.bookings.cancel(row.id)
    assert lab.service.bookings.ahead(DEVICE) == (10 * S, [])


def test_a_cancelled_window_keeps_nobody_out(quiet, make):
    bob = quiet.tenant()
    with quiet.queueing():
        row = book(quiet, in_s=1, for_s=1000)
        job = quiet.submit(bob, make.sample(make.ghz(), shots=LONG_SHOTS))
        quiet.service.bookings.cancel(row.id)
    quiet.ended(job)
    assert spans(quiet, job)[0][0] == 0


# --- promises ---------------------------------------------------------------------------------------------------------


def promised(new_lab, promise_s):
    return new_lab(started=False, lanes={"standard": {}, "soon": {"promise_s": promise_s}})


def test_a_window_that_a_promised_start_could_meet_is_refused(new_lab, make):
    lab = promised(new_lab, 200)
    job = lab.submit(lab.tenant(), make.sample(make.ghz(), lane="soon"))
    with pytest.raises(BookingRefused, match=job) as refused:
        book(lab, in_s=210, for_s=100)
    assert refused.value.field == "in"
    book(lab, in_s=300, for_s=100)


def test_a_start_that_a_booked_window_could_delay_is_not_promised(new_lab, make):
    lab = promised(new_lab, 200)
    bob = lab.tenant()
    row = book(lab, in_s=210, for_s=100)
    with pytest.raises(PromiseRefused, match="booked window"):
        lab.submit(bob, make.sample(make.ghz(), lane="soon"))
    lab.service.bookings.cancel(row.id)
    book(lab, in_s=300, for_s=100)
    assert lab.rows(lab.submit(bob, make.sample(make.ghz(), lane="soon")))[0].start_by_us == 200 * S


# --- races ------------------------------------------------------------------------------------------------------------


def test_a_batch_that_was_planned_before_a_booking_is_planned_again(new_lab, make, monkeypatch):
    lab = new_lab(device={"crosstalk": False, "drift": False, "quantum_s": 60.0}, started=False)
    job = lab.submit(lab.tenant(), make.sample(make.ghz(), shots=LONG_SHOTS))
    look, made = lab.dispatcher._lookout.look, []

    def then_booked(*arguments):
        looked = look(*arguments)
        if not made:
            made.append(book(lab, in_s=1, for_s=100))
        return looked

    monkeypatch.setattr(lab.dispatcher._lookout, "look", then_booked)
    while lab.dispatcher.dispatch_once():
        pass
    lab.ended(job)
    assert spans(lab, job)[0][0] == made[0].ends_us


def test_a_device_does_not_idle_through_a_window_that_was_cancelled_meanwhile(new_lab, make, monkeypatch):
    lab = new_lab(device={"crosstalk": False, "drift": False}, started=False)
    row = book(lab, in_s=0, for_s=1000)
    job = lab.submit(lab.tenant(), make.sample(make.ghz()))
    look = lab.dispatcher._lookout.look

    def then_cancelled(*arguments):
        looked = look(*arguments)
        with lab.database.write() as connection:
            bookings.cancel_booking(connection, SYSTEM, row.id, now_us=0)
        return looked

    monkeypatch.setattr(lab.dispatcher._lookout, "look", then_cancelled)
    while lab.dispatcher.dispatch_once():
        pass
    lab.ended(job)
    assert spans(lab, job)[0][0] == 0


def test_a_device_whose_time_moved_meanwhile_does_not_idle_from_an_old_look(new_lab, make, monkeypatch):
    lab = new_lab(device={"crosstalk": False, "drift": False}, started=False)
    book(lab, in_s=0, for_s=100)
    lab.submit(lab.tenant(), make.sample(make.ghz()))
    look = lab.dispatcher._lookout.look

    def then_later(*arguments):
        looked = look(*arguments)
        lab.service.calibration.pass_time(DEVICE, 300 * S)
        return looked

    monkeypatch.setattr(lab.dispatcher._lookout, "look", then_later)
    assert lab.dispatcher.dispatch_once()
    assert lab.device().device_time_us == 300 * S
