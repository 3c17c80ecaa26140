"""Hints between processes: two services on one database, each as if it were another process."""

from __future__ import annotations

import time

import pytest

from qpu_backend.bootstrap import SYSTEM, open_database
from qpu_backend.config import load_config
from qpu_backend.domain.jobs import JobState
from qpu_backend.pipeline import dispatch, heralds
from qpu_backend.pipeline import lease as lease_module
from qpu_backend.pipeline.heralds import herald_of
from qpu_backend.pipeline.notices import NoticeBoard, job_topic, queue_topic, tenant_topic
from qpu_backend.stores.changes import messages_of
from qpu_backend.telemetry.metrics import Metrics

NEVER_S = 600.0
SOON_S = 30.0


@pytest.fixture(params=["sqlite", "postgresql"])
def pair(request, new_lab):
    """Who holds the lease, and who stands by."""
    url = None
    if request.param == "postgresql":
        server = request.getfixturevalue("postgres")
        url = server.url(server.new_database(tables=True))
    holder = new_lab("shared", database=url)
    until(lambda: holder.dispatcher.lease.epoch)
    return holder, new_lab("shared", database=url)


def until(there):
    deadline = time.monotonic() + SOON_S
    while not there():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_a_job_that_another_process_takes_is_started_without_waiting_for_the_next_look(monkeypatch, pair):
    holder, other = pair
    scope = other.tenant()
    holder.ended(holder.submit(scope))
    monkeypatch.setattr(dispatch, "_REREAD_S", NEVER_S)
    holder.ended(holder.submit(scope))  # from now on its dispatcher waits for hints only
    assert [row.state for row in other.ended(*(other.submit(scope) for _ in range(3)))] == [JobState.DONE] * 3


def test_who_waits_in_one_process_hears_of_what_another_one_settles(pair):
    holder, other = pair
    scope = other.tenant()
    holder.workers.gate.clear()
    job_id = other.submit(scope)
    board = other.service.door.notices
    holder.until("running", job_id)
    with board.watch(job_topic(job_id)) as ended, board.watch(tenant_topic(scope.tenant_id)) as events:
        ended.clear()
        events.clear()
        holder.workers.gate.set()
        assert ended.wait(SOON_S)
        assert events.wait(SOON_S)
    assert other.rows(job_id)[0].state is JobState.DONE


def test_a_cancellation_through_another_process_ends_what_was_known_to_be_unfinished(pair):
    holder, other = pair
    scope = holder.tenant()
    holder.pause()
    job_id = holder.submit(scope)
    board = holder.service.door.notices
    assert board.is_unfinished(scope.tenant_id, job_id)
    other.service.door.cancellation.cancel(scope, job_id)
    with board.watch(job_topic(job_id)):  # somebody waits
        until(lambda: not board.is_unfinished(scope.tenant_id, job_id))


def test_a_job_that_another_process_settles_is_not_thought_unfinished(pair):
    other = pair[1]
    scope = other.tenant()
    other.pause()
    job_id = other.submit(scope)
    assert not other.service.door.notices.is_unfinished(scope.tenant_id, job_id)


def test_what_is_known_of_a_job_is_worth_nothing_once_the_lease_may_be_somebody_elses(monkeypatch, new_lab):
    monkeypatch.setattr(lease_module, "_RENEW_EVERY_S", NEVER_S)
    lab = new_lab()
    until(lambda: lab.dispatcher.lease.epoch)
    scope = lab.tenant()
    lab.pause()
    job_id = lab.submit(scope)
    board = lab.service.door.notices
    assert board.is_unfinished(scope.tenant_id, job_id)
    lab.dispatcher.lease._sure_until_s = time.monotonic()  # it could not be renewed in time
    assert lab.dispatcher.lease.epoch is not None
    assert not board.is_unfinished(scope.tenant_id, job_id)


def test_a_lease_that_was_away_for_a_while_makes_nothing_known():
    """Meanwhile another process had it, and may have ended the job."""
    epochs = {"chip": 3}
    board = NoticeBoard(epochs.get)
    board.admitted("tenant", "job", "chip")
    assert board.is_unfinished("tenant", "job")
    assert not board.is_unfinished("another tenant", "job")
    epochs["chip"] = 5
    assert not board.is_unfinished("tenant", "job")


class Listening(NoticeBoard):
    """Remembers what it hears."""

    def __init__(self):
        super().__init__()
        self.heard = set()

    def receive(self, topics, *, within_s=0.0):
        topics = list(topics)
        self.heard |= set(topics)
        super().receive(topics, within_s=within_s)


def test_a_herald_hears_others_and_not_itself(postgres, tmp_path):
    database = open_database(load_config(data=tmp_path, database=postgres.url(postgres.new_database(tables=True))))
    boards = [Listening(), Listening()]
    heralds = [herald_of(database, SYSTEM, board, Metrics()) for board in boards]
    for herald in heralds:
        herald.start()
    try:
        until(lambda: boards[0].post(["from one"]) or boards[1].heard)
        until(lambda: boards[1].post(["from two"]) or boards[0].heard)
        boards[1].post(["last"], within_s=1)
        until(lambda: "last" in boards[0].heard)
        assert boards[0].heard == {"from two", "last"}
        assert boards[1].heard == {"from one"}
    finally:
        for herald in heralds:
            herald.stop()
        database.close()


def test_who_passes_hints_on_may_end_while_one_is_posted():
    heard = []

    class Board(NoticeBoard):
        """Its herald ends right after it was looked at."""

        reads = 0

        @property
        def _relay(self):
            self.reads += 1
            return (lambda topics, _: heard.append(topics)) if self.reads == 1 else None

        @_relay.setter
        def _relay(self, relay):
            pass

    Board().post(["topic"])
    assert heard == [["topic"]]


def test_after_an_idle_spell_who_comes_is_told_to_look_and_not_of_everything_since(monkeypatch, tmp_path):
    database = open_database(load_config(data=tmp_path))
    monkeypatch.setattr(heralds, "_IDLE_S", 0.01)
    told = []
    monkeypatch.setattr(heralds.events, "rows_since", lambda *args: told.append(args) or [])
    newest = []
    monkeypatch.setattr(heralds.events, "newest_row", lambda *_: newest.append(len(newest)) or newest[-1])
    idle = []

    class Counting(NoticeBoard):
        def wait_watched(self, seconds):
            watched = super().wait_watched(seconds)
            idle.extend([] if watched else [seconds])
            return watched

    board = Counting({"chip": 1}.get)
    herald = herald_of(database, SYSTEM, board, Metrics())
    herald.start()
    try:
        for spell in range(1, 4):
            board.admitted("tenant", "job", "chip")
            with board.watch(tenant_topic("tenant")) as hint:
                assert hint.wait(SOON_S)
            assert len(newest) == spell
            assert not board.is_unfinished("tenant", "job")  # it may have ended while nobody looked
            idle.clear()
            until(lambda: len(idle) > 1)
    finally:
        herald.stop()
        database.close()
    assert not told


@pytest.mark.parametrize("count", [0, 1, 160, 1000])
def test_however_many_topics_there_are_they_go_into_messages_that_fit(count):
    topics = [queue_topic(f"device_{number:032x}") for number in range(count)]
    messages = messages_of("herald", topics)
    assert all(len(message.encode()) < 8000 for message in messages)
    assert [line for message in messages for line in message.split("\n")[1:]] == topics
    assert {message.split("\n")[0] for message in messages} <= {"herald"}
