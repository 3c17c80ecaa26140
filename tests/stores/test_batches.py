"""Batches: committed before they run, found again after a crash, ended once; and fair-queueing tags."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qpu_backend.stores import batches, blobs, fairness, job_states

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.stores.conftest import House


def test_a_batch_and_its_placements_come_back_in_order(house: House) -> None:
    ada, bob = house.tenant("ada"), house.tenant("bob")
    ids = [house.job(ada), house.job(bob), house.job(ada)]
    batch_id = house.batch(*ids)
    with house.database.read() as connection:
        [batch] = batches.running_batches(connection, house.system, "eagle127")
        assert batches.read_batch(connection, house.system, batch_id) == batch
        assert (batch.id, batch.state, batch.attempt, batch.explanation) == (
            batch_id,
            "running",
            1,
            ["head of the queue"],
        )
        placed = batches.placements_of(connection, house.system, batch_id)
    assert [row.job_id for row in placed] == ids
    assert placed[1].region == [5, 6, 7, 8, 9]
    assert placed[1].tenant_id == bob.tenant_id
    assert placed[1].crosstalk_loss == 0.0125


def test_a_tenant_sees_where_its_job_ran_last(house: House) -> None:
    scope = house.tenant("ada")
    job_id = house.job(scope)
    with house.database.read() as connection:
        assert batches.placement_of_job(connection, scope, job_id) is None
    first = house.batch(job_id)
    with house.database.write() as connection:
        assert batches.dissolve_batch(connection, house.system, first, finished_at_us=1)
        job_states.requeue_solo(connection, house.system, [job_id])
    second = house.batch(job_id)
    with house.database.read() as connection:
        placed = batches.placement_of_job(connection, scope, job_id)
        batch = batches.read_batch(connection, house.system, second)
    assert placed is not None
    assert batch is not None
    assert placed.placement.batch_id == second
    assert (placed.snapshot_id, placed.state, placed.attempt) == (batch.snapshot_id, "running", 1)


def test_a_batch_ends_once(house: House) -> None:
    scope = house.tenant("ada")
    done, given_up = house.batch(house.job(scope)), house.batch(house.job(scope))
    with house.database.write() as connection:
        assert batches.finish_batch(connection, house.system, done, finished_at_us=5)
        assert not batches.finish_batch(connection, house.system, done, finished_at_us=6)
        assert not batches.dissolve_batch(connection, house.system, done, finished_at_us=6)
        assert not batches.bump_attempt(connection, house.system, done, epoch=2, attempt=2, failures=1)
        assert batches.bump_attempt(connection, house.system, given_up, epoch=2, attempt=2, failures=1)
        assert batches.dissolve_batch(connection, house.system, given_up, finished_at_us=7)
        rows = [batches.read_batch(connection, house.system, each) for each in (done, given_up)]
        assert batches.running_batches(connection, house.system, "eagle127") == []
    assert [(row.state, row.epoch, row.attempt, row.failures, row.finished_at_us) for row in rows if row] == [
        ("done", 1, 1, 0, 5),
        ("dissolved", 2, 2, 1, 7),
    ]


def test_finish_tags_are_kept_for_each_device_and_tenant(house: House) -> None:
    ada, bob = house.tenant("ada"), house.tenant("bob")
    with house.database.write() as connection:
        queues = [("eagle127", ada.tenant_id, "standard"), ("eagle127", bob.tenant_id, "standard")]
        assert fairness.lock_finish_tags(connection, [ada, bob], queues) == dict.fromkeys(queues, 0)
        fairness.write_finish_tags(connection, [ada, bob], dict(zip(queues, (100, 7), strict=True)))
        assert fairness.lock_finish_tags(connection, [ada], queues[:1]) == {queues[0]: 100}
    with house.database.read() as connection:
        assert fairness.read_finish_tag(connection, ada, "eagle127", "standard") == 100
        assert fairness.read_finish_tag(connection, ada, "other", "standard") == 0
        assert fairness.finish_tags(connection, house.system, "eagle127") == {
            (ada.tenant_id, "standard"): 100,
            (bob.tenant_id, "standard"): 7,
        }


def test_concurrent_submissions_of_a_tenant_get_consecutive_tags(
    house: House, together: Callable[..., list[int]]
) -> None:
    scope = house.tenant("ada")

    def tag() -> int:
        with house.database.write() as connection:
            queue = ("eagle127", scope.tenant_id, "standard")
            start = fairness.lock_finish_tags(connection, [scope], [queue])[queue]
            fairness.write_finish_tags(connection, [scope], {queue: start + 10})
        return start

    assert sorted(together([tag] * 8)) == list(range(0, 80, 10))


def test_the_legs_of_a_job_are_where_they_were_settled(house: House) -> None:
    """A leg whose batch was given up ran again elsewhere: only what was settled counts, and only for its tenant."""
    ada, bob = house.tenant("ada"), house.tenant("bob")
    job_id = house.job(ada, legs={"legs_version": 1}, num_legs=3)

    def run(leg: int, *, settled: bool) -> str:
        batch_id = house.batch(job_id, leg=leg)
        with house.database.write() as connection:
            if not settled:
                batches.dissolve_batch(connection, house.system, batch_id, finished_at_us=9)
                job_states.requeue_solo(connection, house.system, [job_id])
                return batch_id
            [sha] = blobs.put_blobs(connection, [b"part %d" % leg])
            batches.keep_parts(connection, house.system, batch_id, {job_id: sha})
            batches.finish_batch(connection, house.system, batch_id, finished_at_us=9)
            going_on = job_states.Continuation(job_id, leg + 1, {}, 0, 1, 1, 0)
            job_states.continue_jobs(connection, house.system, [going_on])
        return batch_id

    first = run(0, settled=True)
    run(1, settled=False)
    second = run(1, settled=True)
    house.batch(job_id, leg=2)
    with house.database.read() as connection:
        placed = batches.legs_of_job(connection, ada, job_id)
        assert [(one.placement.leg, one.placement.batch_id) for one in placed] == [(0, first), (1, second)]
        assert batches.legs_of_job(connection, bob, job_id) == []
        parts = batches.parts_of_job(connection, house.system, job_id)
        bodies = blobs.get_blobs(connection, parts)
        assert [bodies[sha] for sha in parts] == [b"part 0", b"part 1"]
        last = batches.placement_of_job(connection, ada, job_id)
        assert last is not None
        assert (last.placement.leg, last.state) == (2, "running")
