"""Trouble that passes: a locked or full database and missing workers cost time, and neither a job nor an attempt."""

from __future__ import annotations

import sqlite3
import time
from concurrent.futures import Future
from contextlib import contextmanager
from threading import Thread

import pytest
from sqlalchemy import text

from qpu_backend.bootstrap import SYSTEM
from qpu_backend.domain.jobs import JobState
from qpu_backend.engines.worker import run_profiles
from qpu_backend.pipeline.recovery import MAX_FAILURES, run_again
from qpu_backend.stores import database as database_module
from qpu_backend.stores.errors import DatabaseBusy, DatabaseFull

_NO_ROOM = """
CREATE FUNCTION no_room() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = 'disk_full'; END $$;
CREATE TRIGGER no_room BEFORE INSERT ON blobs FOR EACH ROW EXECUTE FUNCTION no_room();
"""
NEIGHBOURS = 6
"""So many jobs on one chip meet each other."""


def until(there):
    deadline = time.monotonic() + 60
    while not there():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def value(lab, name, **labels):
    return lab.service.door.metrics.registry.get_sample_value(name, labels) or 0


def paused(lab):
    return value(lab, "qpu_dispatch_paused", device="eagle127")


@contextmanager
def locked(folder):
    """Somebody else holds the write lock."""
    other = sqlite3.connect(folder / "lab" / "qpu.sqlite", isolation_level=None, timeout=30)
    other.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        other.execute("ROLLBACK")
        other.close()


@contextmanager
def full(lab):
    """SQLite has a limit of its own: the file may not grow. PostgreSQL is made to say what it says on a full disk."""
    if lab.database.dialect == "postgresql":
        with lab.database.write() as connection:
            connection.execute(text(_NO_ROOM))
        yield
        with lab.database.write() as connection:
            connection.execute(text("DROP FUNCTION no_room CASCADE"))
        return
    with lab.database.write() as connection:
        pages = connection.execute(text("PRAGMA page_count")).scalar_one()
        before = connection.execute(text("PRAGMA max_page_count")).scalar_one()
        connection.execute(text(f"PRAGMA max_page_count = {pages}"))
    yield
    with lab.database.write() as connection:
        connection.execute(text(f"PRAGMA max_page_count = {before}"))


def test_a_locked_database_keeps_nothing_from_being_finished(monkeypatch, tmp_path, new_lab):
    monkeypatch.setattr(database_module, "BUSY_TIMEOUT_S", 0.2)
    lab = new_lab()
    scope = lab.tenant()
    lab.workers.gate.clear()
    job_id = lab.submit(scope)
    lab.until("running", job_id)
    with locked(tmp_path):
        with pytest.raises(DatabaseBusy):
            lab.submit(scope)
        lab.workers.gate.set()
        until(lambda: not lab.workers.busy() and value(lab, "qpu_database_trouble_total", kind="database_busy") > 2)
        assert lab.rows(job_id)[0].state is JobState.RUNNING  # reading goes on
        assert lab.database.trouble is not None
    lab.ended(job_id)
    assert lab.batches(job_id)[0].batch.attempt == 1  # what it had measured was kept, and nobody was blamed
    assert [row.state for row in lab.ended(lab.submit(scope))] == [JobState.DONE]
    assert lab.database.trouble is None
    lab.check_books()


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_full_disk_pauses_the_device_until_there_is_room(request, new_lab, make, kind):
    url = None
    if kind == "postgresql":
        server = request.getfixturevalue("postgres")
        url = server.url(server.new_database(tables=True))
    lab = new_lab(database=url, max_inflight=1)
    scope = lab.tenant()
    lab.workers.gate.clear()
    running = lab.submit(scope, make.sample(make.ghz(), shots=20_000, memory=True))
    lab.until("running", running)
    waiting = [lab.submit(scope, make.sample(make.pinned(0, 1), backend="eagle127", seed=n)) for n in range(3)]
    with full(lab):
        refused = 0
        for number in range(50):
            try:
                waiting.append(lab.submit(scope, make.sample(make.ghz(), seed=number)))
            except DatabaseFull:
                refused += 1
        assert refused
        lab.workers.gate.set()
        until(
            lambda: not lab.workers.busy() and value(lab, "qpu_database_trouble_total", kind="database_full") > refused
        )
        assert lab.rows(running)[0].state is JobState.RUNNING
    rows = lab.ended(running, *waiting)
    assert [row.state for row in rows] == [JobState.DONE] * len(rows)
    assert {ran.batch.attempt for ran in lab.batches()} == {1}
    until(lambda: not paused(lab))
    lab.check_books()


def test_a_service_can_stop_while_the_database_is_locked(monkeypatch, tmp_path, new_lab):
    monkeypatch.setattr(database_module, "BUSY_TIMEOUT_S", 0.2)
    lab = new_lab()
    lab.workers.gate.clear()
    job_id = lab.submit(lab.tenant())
    lab.until("running", job_id)
    with locked(tmp_path):
        lab.workers.gate.set()
        until(lambda: not lab.workers.busy())
        lab.service.hurry()
        lab.service.stop()
    again = new_lab()
    assert [row.state for row in again.ended(job_id)] == [JobState.DONE]
    again.check_books()


def test_while_one_waits_for_the_lock_others_are_refused_at_once(monkeypatch, tmp_path, new_lab):
    monkeypatch.setattr(database_module, "BUSY_TIMEOUT_S", 250.0)  # longer than this test may take
    monkeypatch.setattr(database_module, "_STUCK_S", 0.0)
    lab = new_lab(started=False)
    scope = lab.tenant()
    with locked(tmp_path):
        patient = Thread(target=lab.submit, args=(scope,))
        patient.start()
        until(lambda: lab.database._begins_s is not None and lab.database._writers.pool.checkedout())
        with pytest.raises(DatabaseBusy):
            lab.submit(scope)
    patient.join(60)
    assert not patient.is_alive()
    lab.dispatcher.dispatch_once()
    lab.settle()
    lab.check_books()


def test_workers_that_cannot_be_started_are_nobodys_fault(monkeypatch, new_lab):
    monkeypatch.setattr("qpu_backend.pipeline.recovery._ASK_AGAIN_S", 0.01)
    lab = new_lab()
    submit, refused = lab.workers.submit, iter(range(2 * MAX_FAILURES))

    def out_of_processes(*args):
        if next(refused, None) is not None:
            raise BlockingIOError("Resource temporarily unavailable")
        return submit(*args)

    monkeypatch.setattr(lab.workers, "submit", out_of_processes)
    (row,) = lab.ended(lab.submit(lab.tenant()))
    assert row.state is JobState.DONE
    assert lab.batches(row.id)[0].batch.attempt == 1
    assert value(lab, "qpu_workers_refused_total") == 2 * MAX_FAILURES


@pytest.mark.parametrize("hurried", [False, True])
def test_a_profile_that_never_comes_does_not_keep_a_service_from_ending(monkeypatch, new_lab, hurried):
    lab = new_lab()
    submit, asked = lab.workers.submit, []

    def never(fn, *args):
        if fn is not run_profiles:
            return submit(fn, *args)
        asked.append(fn)
        return Future()

    monkeypatch.setattr(lab.workers, "submit", never)
    scope = lab.tenant()
    with lab.queueing():
        jobs = [lab.submit(scope) for _ in range(NEIGHBOURS)]
    until(lambda: asked)
    if hurried:
        lab.service.hurry()
    lab.service.stop()
    again = new_lab()
    assert [row.state for row in again.ended(*jobs)] == [JobState.DONE] * NEIGHBOURS
    again.check_books()


def test_a_thread_that_cannot_be_started_for_a_profile_makes_nobody_a_suspect(monkeypatch, new_lab):
    lab = new_lab()
    monkeypatch.setattr("qpu_backend.pipeline.dispatch._REREAD_S", 0.01)
    submit, refusals = lab.workers.submit, iter(range(3))

    def out_of_threads(fn, *args):
        if fn is run_profiles and next(refusals, None) is not None:
            raise RuntimeError("can't start new thread")
        return submit(fn, *args)

    monkeypatch.setattr(lab.workers, "submit", out_of_threads)
    scope = lab.tenant()
    with lab.queueing():
        jobs = [lab.submit(scope) for _ in range(NEIGHBOURS)]
    assert [row.state for row in lab.ended(*jobs)] == [JobState.DONE] * NEIGHBOURS
    assert next(refusals, None) is None
    assert len(lab.batches(*jobs)) == 1  # together, as planned


def test_failures_are_counted_across_processes_and_each_once(new_lab):
    lab = new_lab(started=False)
    lab.workers.gate.clear()
    job_id = lab.submit(lab.tenant())
    lab.dispatcher.dispatch_once()
    batch = lab.batches(job_id)[0].batch

    def again(failed):
        return run_again(lab.database, SYSTEM, batch.id, batch.device_id, batch.epoch, 1, failed=failed)

    assert again(None).attempt == 2  # taken over
    assert again(2).attempt == 3
    assert again(2).attempt == 4  # the database was told, and did not answer: it is told once more
    assert again(4).attempt == 5
    assert lab.batches(job_id)[0].batch.failures == MAX_FAILURES - 1
    assert again(5) is None
    assert lab.rows(job_id)[0].state is JobState.FAILED
