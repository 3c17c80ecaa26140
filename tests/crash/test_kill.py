"""The service is killed while it works, again and again: every accepted job ends exactly once, and is paid for once."""

from __future__ import annotations

import signal
import time

import pytest
from crash import Stage, play
from crash_house import House
from crash_strikes import POINTS, Met
from crash_verdict import judge
from faults import Moment
from sqlalchemy import func, select

from qpu_backend.stores import schema

MET = [met for met in Met if met is not Met.NOT_HERE]


def flawless(story):
    """Nothing was lost, nothing is there twice, and the strikes hit."""
    assert story.verdict.complaints == []
    assert story.orphans == 0
    assert story.missed == []
    assert story.verdict.jobs > 0
    assert story.kills >= len(story.recoveries_s) > 0


@pytest.mark.parametrize(
    ("kind", "moment"),
    [pytest.param("sqlite", Moment.AFTER, marks=pytest.mark.slow), ("postgresql", Moment.BEFORE)],
)
def test_a_service_that_dies_while_it_settles_settles_once(kind, moment):
    strike = next(point for point in POINTS if point.name == "settlement._settle_batch"), moment
    flawless(play(kind, lambda _: [strike], split=False, clients=2))


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("met", MET, ids=lambda met: met.value.replace(" ", "-"))
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_it_may_die_before_and_after_every_transaction_and_stage(kind, met):
    strikes = [(point, moment) for point in POINTS if point.met is met for moment in Moment]
    flawless(play(kind, lambda _: strikes, split=kind == "postgresql"))


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("split", [False, True], ids=["one-process", "several-processes"])
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_any_process_may_die_at_any_moment(kind, split):
    flawless(play(kind, lambda _: [None] * 12, split=split, seed=2))


@pytest.mark.slow
def test_sigterm_settles_what_runs_and_leaves_the_rest_to_the_next_life(tmp_path):
    house = House(tmp_path, "sqlite", split=False)
    try:
        stage = Stage(house, clients=2)
        stage.start()
        stage.recovered(0)
        (server,) = house.processes
        server.send(signal.SIGTERM)
        stage.recovered(time.time_ns() // 1000)
        stage.rest()
        assert server.codes == [0]
        assert judge(house, stage.clients).complaints == []
        with house.database.read() as connection:
            attempts, epoch = connection.execute(
                select(func.max(schema.batches.c.attempt), func.max(schema.batches.c.epoch))
            ).one()
        assert (attempts, epoch) == (1, 2)  # nothing was run again, by nobody
        assert house.end() == {server.name: 0}
        assert "Traceback" not in house.errors()
        assert "leaked" not in house.errors()
        assert house.census.close() == set()
    finally:
        house.close()
