"""Other processes: a forked child goes on with what it inherited; pickling is refused with the way to go."""

from __future__ import annotations

import copy
import multiprocessing
import pickle
import time

import pytest
from qiskit import QuantumCircuit

from qpu_sdk import QPUProvider, SamplerV2

_GUARD_S = 60.0
"""After that long the child hangs; it needs about a second."""


@pytest.fixture
def flip():
    circuit = QuantumCircuit(1, 1)
    circuit.x(0)
    circuit.measure(0, 0)
    return circuit


def _in_forked_child(work):
    """What ``work()`` gives in a forked child, or fails the test."""
    forking = multiprocessing.get_context("fork")
    ours, theirs = forking.Pipe(duplex=False)
    child = forking.Process(target=lambda: theirs.send(work()))
    child.start()
    theirs.close()
    try:
        assert ours.poll(_GUARD_S), "the child hangs"
        return ours.recv()
    finally:
        child.kill()
        child.join()


def test_a_forked_child_goes_on_with_provider_backend_and_job(qpu_service, flip):
    with QPUProvider.connect(qpu_service.url, qpu_service.token) as provider:
        backend = provider.backend("eagle127:line-2")
        SamplerV2(backend).run([flip], shots=10).result(60)  # the parent's stream of events is open now
        inherited = backend.run(flip, shots=30)

        def work():
            fresh = SamplerV2(backend).run([flip], shots=20)
            return sum(fresh.result()[0].data.c.get_counts().values()), sum(inherited.result().get_counts().values())

        assert _in_forked_child(work) == (20, 30)
        assert sum(SamplerV2(backend).run([flip], shots=40).result(60)[0].data.c.get_counts().values()) == 40


def test_a_child_listens_on_a_stream_of_its_own(shared_provider, backend, flip):
    backend.run(flip, shots=1).wait_for_final_state(60)
    while not backend.connection.events.open():
        time.sleep(0.01)

    def work():
        inherited = backend.connection.events.open()
        shared_provider.job(backend.run(flip, shots=1).job_id()).wait_for_final_state(60)
        return inherited, backend.connection.events.open()

    assert _in_forked_child(work) == (False, True)


def test_a_child_that_closes_does_not_stop_the_service_of_its_parent(tmp_path):
    class Service:
        closed = 0

        def close(self):
            self.closed += 1

    service = Service()
    provider = QPUProvider.connect(f"unix:{tmp_path / 'none'}", "t")
    provider.service = service

    def work():
        provider.close()
        return service.closed

    assert _in_forked_child(work) == 0
    provider.close()
    assert service.closed == 1


def test_pickling_names_the_way_to_go_and_copies_stay(qpu_provider, backend, flip):
    job = backend.run(flip, shots=5)
    for thing in (qpu_provider, backend, job):
        with pytest.raises(TypeError, match=r"provider\.job\(id\)"):
            pickle.dumps(thing)
        twin = copy.copy(thing)
        assert type(twin) is type(thing)
        assert twin.__dict__ == thing.__dict__
    assert copy.deepcopy(backend).connection is backend.connection
