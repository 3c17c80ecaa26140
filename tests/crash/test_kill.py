"""The server is killed while jobs run, again and again: every accepted job is done exactly once all the same."""

from __future__ import annotations

import random
import signal
import time

import pytest

from qpu_backend.domain.quota import Resource, Window

TENANTS = ("alice", "bob", "carol")
PLENTY = {(Resource.SHOTS, Window.DAY): 10**9}


def survive(server, clients, *, kills, jobs, bindings, seed):
    """Submit from three tenants, kill the server at random moments, and check everything in the end."""
    moments = random.Random(seed)  # noqa: S311 - not for secrets
    for name in TENANTS:
        server.administration.create_tenant(name, limits=PLENTY)
    orders = [
        [
            clients.sweep(10 * t + n, bindings=bindings, backend=("eagle127:line-5", "eagle127")[n % 3 == 2])
            for n in range(jobs)
        ]
        for t in range(len(TENANTS))
    ]
    for number, own in enumerate(orders):  # one of each tenant runs in several legs
        own.insert(1, clients.sweep(100 + number, bindings=3 * 800, backend="eagle127:line-5"))
    submitting = [clients.Client(server, name, own) for name, own in zip(TENANTS, orders, strict=True)]
    server.start()
    for client in submitting:
        client.start()
    for _ in range(kills):
        time.sleep(moments.uniform(0.2, 2.0))
        server.end(signal.SIGKILL)
        server.start()
    for client in submitting:
        client.join(90)
        assert client.failure is None
        assert not client.is_alive()
    accepted = {job_id: shots for client in submitting for job_id, shots in client.accepted.items()}
    assert len(accepted) == len(TENANTS) * (jobs + 1)
    deadline = time.monotonic() + 120
    while server.states() != {"done": len(accepted)}:
        assert time.monotonic() < deadline, server.states()
        assert set(server.states()) <= {"queued", "running", "done"}
        time.sleep(0.1)
    server.end(signal.SIGTERM)
    assert server.attempts() > 1, "no kill hit a running batch: the jobs are too short for this machine"
    server.check(accepted)
    assert server.most_legs() > 2


def test_a_killed_server_finishes_every_accepted_job_exactly_once(serving, clients):
    survive(serving(), clients, kills=3, jobs=6, bindings=400, seed=1)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
@pytest.mark.parametrize("seed", [2, 3])
def test_many_kills_on_either_database(serving, clients, kind, seed):
    survive(serving(kind), clients, kills=8, jobs=12, bindings=1000, seed=seed)


def test_sigterm_settles_what_runs_and_leaves_the_rest_in_the_queue(serving, clients):
    server = serving()
    server.administration.create_tenant("alice", limits=PLENTY)
    client = clients.Client(server, "alice", [clients.sweep(n, bindings=500, backend="eagle127") for n in range(8)])
    server.start()
    client.start()
    client.join(60)
    assert client.failure is None
    assert server.end(signal.SIGTERM) == 0
    assert "leaked" not in server.errors
    assert "Traceback" not in server.errors
    states = server.states()
    assert set(states) <= {"done", "queued"}
    assert states["done"] >= 1
    assert states["queued"] >= 1
    server.start()
    deadline = time.monotonic() + 60
    while server.states() != {"done": 8}:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert server.end(signal.SIGINT) == 0
    server.check(client.accepted)
