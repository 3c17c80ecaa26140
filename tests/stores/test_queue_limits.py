"""A tenant's queue is limited over all devices and lanes, however many submissions come at once."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING

from sqlalchemy import event, update

from qpu_backend.domain.errors import QueueFull
from qpu_backend.pipeline import policing
from qpu_backend.stores import blobs, devices, fairness, jobs, new_jobs, policies
from qpu_backend.stores.schema import tenants

if TYPE_CHECKING:
    from conftest import House

DEVICES = ("eagle127", "other")
LIMIT = 3


def limited(house: House, limit: int):
    scope = house.tenant("ada")
    with house.database.write() as connection:
        devices.ensure_device(connection, house.system, "other", {"pacing": "asap"})
        connection.execute(update(tenants).where(tenants.c.id == scope.tenant_id).values(max_queued_jobs=limit))
    return scope


def test_submissions_for_several_devices_at_once_do_not_pass_the_limit_together(house: House) -> None:
    scope = limited(house, LIMIT)
    gate = threading.Barrier(2 * LIMIT)

    def submit(number: int) -> bool:
        device = DEVICES[number % 2]
        gate.wait()
        with house.database.write() as connection:
            standing = policies.read_standing(connection, scope)
            fairness.lock_finish_tags(connection, [scope], [(device, scope.tenant_id, f"lane {number}")])
            counts = policing.Counts([(scope, standing)])
            counts.read_queues(connection)
            try:
                counts.require(scope, standing, house.now_us)
            except QueueFull:
                return False
            (sha,) = blobs.put_blobs(connection, [f"program {number}".encode()])
            new_jobs.insert_job(connection, scope, replace(house.new_job(scope), program_sha=sha, device_id=device))
            return True

    with ThreadPoolExecutor(2 * LIMIT) as pool:
        admitted = list(pool.map(submit, range(2 * LIMIT)))
    assert sum(admitted) == LIMIT
    with house.database.read() as connection:
        assert jobs.count_unfinished(connection, scope) == LIMIT


def test_far_below_the_limit_one_statement_tells(house: House) -> None:
    scope = limited(house, 1000)
    asked: list[str] = []
    with house.database.write() as connection:
        standing = policies.read_standing(connection, scope)
        event.listen(connection, "before_cursor_execute", lambda *seen: asked.append(seen[2]))
        policing.Counts([(scope, standing)]).read_queues(connection)
    assert len(asked) == 1
