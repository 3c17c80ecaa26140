"""Large jobs, and a device that cuts them into legs of a second."""

from __future__ import annotations

import time

from qpu_backend.domain.jobs import JobState
from qpu_backend.domain.quota import Resource, Window
from qpu_backend.stores import batches

QUIET = {"crosstalk": False, "drift": False}
CUT = {**QUIET, "quantum_s": 1}
"""A second of device time: a little less than four thousand shots."""
LIMITS = {(Resource.SHOTS, Window.DAY): 100_000, (Resource.SPEND_MICRO, Window.DAY): 10**9}
LARGE = 9_000


def large(make, *, shots=LARGE, seed=1, **options):
    """Three legs on five qubits of the chip."""
    return make.sample(make.pinned(0, 1, 2, 3, 4), backend="eagle127", shots=shots, seed=seed, **options)


def until(there, lab):
    deadline = time.monotonic() + 60
    while not there():
        assert time.monotonic() < deadline, lab.batches()
        time.sleep(0.005)


def stop_between_legs(lab, scope, order):
    """Submit a job, and close the device while its first leg runs."""
    lab.workers.gate.clear()
    job_id = lab.submit(scope, order)
    lab.until("running", job_id)
    lab.pause()
    lab.workers.gate.set()
    until(lambda: lab.rows(job_id)[0].state is JobState.QUEUED, lab)
    assert lab.rows(job_id)[0].leg == 1
    return job_id


def legs_of(lab, scope, job_id):
    with lab.database.read() as connection:
        return batches.legs_of_job(connection, scope, job_id)
