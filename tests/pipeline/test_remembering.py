"""What a tenant repeats is analysed once, and only as long as that is the same question."""

from __future__ import annotations

from concurrent.futures import Executor, Future

import numpy as np
import pytest

from qpu_backend.domain.errors import DomainError
from qpu_backend.domain.jobs import JobState
from qpu_backend.engines.decoding_pool import DecodingPool
from qpu_backend.engines.protocol import ProfileTask
from qpu_backend.physics.circuit import IsaCircuit, Op, operations
from qpu_backend.physics.snapshot import QubitProperties, RegionNoise
from qpu_backend.pipeline.profiling import Profiler
from qpu_backend.pipeline.recent import Recent
from qpu_sdk.wire.models import Pub


@pytest.fixture
def decoded(monkeypatch):
    """Every request that a child decoded."""
    requests = []
    decode = DecodingPool.decode
    monkeypatch.setattr(
        DecodingPool, "decode", lambda pool, request: (requests.append(request), decode(pool, request))[1]
    )
    return requests


def test_a_repeat_is_decoded_once_and_is_a_job_of_its_own(new_lab, make, decoded):
    lab = new_lab()
    scope = lab.tenant()
    circuit = make.ghz()
    order = make.sample(circuit, seed=7)
    first = lab.submit(scope, order)
    lab.ended(first)  # so that the second gets the same place, and with the same seed the same counts
    second = lab.submit(scope, order)
    other_options = lab.submit(scope, make.sample(circuit, seed=8, isolation="exclusive"))
    assert len(decoded) == 1
    assert len({first, second, other_options}) == 3
    assert all(row.state is JobState.DONE for row in lab.ended(first, second, other_options))
    a, b, c = (lab.shots(job_id)[0].tolist() for job_id in (first, second, other_options))
    assert a == b != c
    lab.check_books()


def test_another_question_is_analysed_anew(new_lab, make, decoded):
    lab = new_lab()
    scope = lab.tenant()
    circuit = make.ghz()
    orders = [
        make.sample(circuit),
        make.sample(circuit, shots=101),
        make.sample(circuit, circuit),
        make.sample(make.ghz(4)),
        make.sample(circuit, program="circuits"),
        make.sample(circuit, backend="eagle127:line-6"),
        make.sample(circuit, pubs=[Pub(circuit=0, shots=100), Pub(circuit=0, shots=100)]),
    ]
    for order in orders:
        try:
            lab.submit(scope, order)
        except DomainError as refusal:  # a refusal is not remembered either
            with pytest.raises(type(refusal)):
                lab.submit(scope, order)
            decoded.pop()
    assert len(decoded) == len(orders)
    lab.submit(lab.tenant(), orders[0])  # nobody is served faster because of what somebody else has sent
    assert len(decoded) == len(orders) + 1


def test_memory_is_bounded_by_size():
    memory: Recent[str, str] = Recent(10)
    memory.put("a", "A", 6)
    memory.put("b", "B", 4)
    assert (memory.get("a"), memory.get("b")) == ("A", "B")
    memory.put("c", "C", 4)  # "a" was asked for the longest ago
    assert (memory.get("a"), memory.get("b"), memory.get("c")) == (None, "B", "C")
    memory.put("d", "D", 11)
    assert memory.get("d") is None
    assert memory.get("b") == "B"


def test_a_profile_is_remembered_for_the_tenant_whose_circuit_it_is():
    calls = []

    class Counting(Executor):
        def submit(self, fn, /, *args):
            calls.append(args)
            answer = Future()
            answer.set_result(fn(*args))
            return answer

    qubit = QubitProperties(200.0, 150.0, None, None, 0.01, 0.02, 1000.0)
    circuit = IsaCircuit((3,), 1, (), operations([(int(Op.MEASURE), 0, -1, 0, -1, 0.0, -1)]))
    task = ProfileTask(circuit, np.zeros((1, 0)), RegionNoise({3: qubit}, {}), np.zeros(0), (0,))
    profiler = Profiler(Counting(), 1)
    for tenant, asked_so_far in (("alice", 1), ("alice", 1), ("bob", 2)):
        (profile,) = profiler([(tenant, task)])
        assert profile.final.tolist() == [0.0]
        assert len(calls) == asked_so_far
