"""A job's record runs again: the same shots, or those it would have had alone; free, and telling nothing of others."""

from __future__ import annotations

import itertools
import time
from concurrent.futures.process import BrokenProcessPool

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from sqlalchemy import update

from qpu_backend.domain.errors import IllegalTransition, NotFound
from qpu_backend.engines import aer
from qpu_backend.engines.protocol import RegionTask
from qpu_backend.pipeline.replays import Replay, ReplayFailed, Replays, ReplaysBusy
from qpu_backend.stores import blobs, schema
from qpu_sdk.wire.circuits import encode_bindings
from qpu_sdk.wire.codec import pack
from qpu_sdk.wire.models import Observable, PauliTerm, Pub
from qpu_sdk.wire.results import decode_result, encode_result

SHARING = {"buffer": 0, "drift": False}
"""Neighbours touch, and the device is the same at every time."""


def replayed(lab, scope, job_id, *, alone=False):
    replays = lab.service.door.replays
    found = replays.find(scope, job_id, without_neighbours=alone)
    future = replays.start(found)
    future.exception(timeout=60)
    return decode_result(Replays.package(found, future))


def same_shots(one, other):
    return encode_result(type(one)(one.job_id, one.program, one.pubs)) == encode_result(
        type(one)(one.job_id, one.program, other.pubs)
    )


def busy(make, qubits, layers=6):
    """Gates all the time."""
    circuit = QuantumCircuit(127, len(qubits))
    for _ in range(layers):
        circuit.sx(qubits)
        for a, b in itertools.pairwise(qubits):
            circuit.ecr(*make.directed(a, b))
    circuit.measure(qubits, range(len(qubits)))
    return circuit


def swept(make):
    """A circuit with a parameter, on pinned qubits, under three bindings."""
    theta = Parameter("t")
    circuit = QuantumCircuit(127, 2)
    circuit.sx([0, 1])
    circuit.rz(theta, 0)
    circuit.ecr(*make.directed(0, 1))
    circuit.sx([0, 1])
    circuit.measure([0, 1], [0, 1])
    pub = Pub(circuit=0, shots=200, bindings=encode_bindings(np.linspace(0, 2, 3).reshape(-1, 1)))
    return make.sample(circuit, backend="eagle127", pubs=[pub], seed=11)


def estimated(make):
    """⟨Z₀Z₁⟩ and ⟨X₀⟩ of a pinned pair."""
    circuit = make.pinned(0, 1)
    circuit.remove_final_measurements()
    observables = [
        Observable(terms=[PauliTerm(paulis="ZZ", qubits=[0, 1], coefficient=1.0)]),
        Observable(terms=[PauliTerm(paulis="X", qubits=[0], coefficient=1.0)]),
    ]
    pub = Pub(circuit=0, precision=0.05, observables=observables, pairs=[(0, 0), (0, 1)])
    return make.sample(circuit, backend="eagle127", program="estimator", pubs=[pub], seed=12)


def ordered(make):
    """One job of each kind of program, all on qubits 0 and 1 (and 2)."""
    return {
        "sampler": swept(make),
        "estimator": estimated(make),
        "circuits": make.sample(make.pinned(0, 1, 2), backend="eagle127", program="circuits", shots=400, seed=13),
    }


def beside_others(lab, make, order, seed=5, layers=6):
    """The job runs beside two neighbours that touch it, of which one ends before it."""
    mine = lab.tenant()
    with lab.queueing():
        job_id = lab.submit(mine, order)
        for qubits, shots in (((3, 4), 150), ((14, 18), 4000)):
            other = make.sample(busy(make, qubits, layers), backend="eagle127", shots=shots, seed=seed)
            lab.submit(lab.tenant(), other)
    lab.settle()
    (ran,) = lab.batches(job_id)
    assert len(ran.job_ids) == 3
    return mine, job_id


def record_of(lab, job_id):
    (placement,) = (one for ran in lab.batches(job_id) for one in ran.placements if one.job_id == job_id)
    with lab.database.read() as connection:
        return blobs.get_blob(connection, placement.record_sha)


@pytest.fixture
def sharing(new_lab):
    return new_lab("sharing", device=SHARING)


@pytest.mark.parametrize("kind", ["sampler", "estimator", "circuits"])
def test_a_replay_gives_every_shot_again_and_alone_those_of_a_job_that_was_alone(new_lab, make, kind):
    shared, lonely = new_lab("shared", device=SHARING), new_lab("lonely", device=SHARING)
    mine, job_id = beside_others(shared, make, ordered(make)[kind])
    result = shared.result(job_id)
    again = replayed(shared, mine, job_id)
    assert same_shots(again, result)
    assert again.metadata == result.metadata | {"replay": {"alone": False, "exact": True}}

    hermit = lonely.tenant()
    by_itself = lonely.submit(hermit, ordered(make)[kind])
    expected = lonely.result(by_itself)
    alone = replayed(shared, mine, job_id, alone=True)
    assert same_shots(alone, expected)
    assert not same_shots(alone, result)
    assert result.metadata["co_tenants"] == "1-3"
    assert alone.metadata["replay"] == {"alone": True, "exact": True}
    differing = {"replay", "calibration_id"}
    told = {name: value for name, value in alone.metadata.items() if name not in differing}
    assert told == {name: value for name, value in expected.metadata.items() if name not in differing}


def test_the_record_alone_is_the_record_of_a_job_that_was_alone_byte_for_byte(new_lab, make):
    shared, lonely = new_lab("shared", device=SHARING), new_lab("lonely", device=SHARING)
    mine, job_id = beside_others(shared, make, ordered(make)["circuits"])
    by_itself = lonely.submit(lonely.tenant(), ordered(make)["circuits"])
    lonely.ended(by_itself)
    assert len(RegionTask.from_bytes(record_of(shared, job_id)).slices) > 1  # a neighbour ended before it
    found = shared.service.door.replays.find(mine, job_id, without_neighbours=True)
    assert isinstance(found, Replay)
    assert found.records == [record_of(lonely, by_itself)]


def test_replays_alone_are_the_same_bytes_whoever_the_neighbours_were(new_lab, make):
    told = []
    order = make.sample(make.pinned(0, 1, 2), backend="eagle127", program="circuits", shots=20_000, seed=13)
    for name, seed, layers in (("one", 5, 6), ("another", 99, 2)):
        lab = new_lab(name, device=SHARING)
        mine, job_id = beside_others(lab, make, order, seed, layers)
        alone = replayed(lab, mine, job_id, alone=True)
        metadata = alone.metadata | {"calibration_id": "of this world"}
        told.append((lab.result(job_id), encode_result(type(alone)("job", alone.program, alone.pubs, metadata))))
    assert told[0][1] == told[1][1]
    assert not same_shots(told[0][0], told[1][0])  # the neighbours were felt


def test_a_replay_costs_nothing_and_changes_nothing(sharing, make):
    mine, job_id = beside_others(sharing, make, ordered(make)["circuits"])

    def facts():
        (row,) = sharing.rows(job_id)
        return (
            sharing.device(),
            row,
            sharing.usage(mine, job_id),
            sharing.windows(mine),
            sharing.events(mine, job_id),
            len(sharing.batches()),
        )

    before = facts()
    replayed(sharing, mine, job_id)
    replayed(sharing, mine, job_id, alone=True)
    assert facts() == before
    sharing.check_books()


def test_foreign_jobs_are_not_found_and_jobs_without_a_result_have_no_replay(sharing, make):
    mine, job_id = beside_others(sharing, make, ordered(make)["circuits"])
    replays = sharing.service.door.replays
    with pytest.raises(NotFound):
        replays.find(sharing.tenant(), job_id, without_neighbours=True)
    with sharing.queueing():
        waiting = sharing.submit(mine, make.sample(make.ghz()))
        found = replays.find(mine, waiting, without_neighbours=False)
        assert not isinstance(found, Replay)
        assert found.state == "queued"


def test_what_is_being_computed_is_joined_what_was_is_remembered_and_the_rest_waits_its_turn(sharing, make):
    mine, job_id = beside_others(sharing, make, ordered(make)["circuits"])
    theirs = sharing.tenant()
    other = sharing.submit(theirs, make.sample(make.ghz(), shots=50))
    sharing.settle()
    replays = sharing.service.door.replays
    one, twin = (replays.find(mine, job_id, without_neighbours=True) for _ in range(2))
    stranger = replays.find(theirs, other, without_neighbours=False)
    sharing.workers.gate.clear()
    running = replays.start(one)
    assert replays.busy
    assert replays.start(twin) is running
    with pytest.raises(ReplaysBusy):
        replays.start(replays.find(mine, job_id, without_neighbours=False))
    with pytest.raises(ReplaysBusy):
        replays.start(stranger)
    sharing.workers.gate.set()
    answer = running.result(timeout=60)
    while replays.busy:
        time.sleep(0.001)
    sharing.workers.gate.clear()
    assert replays.start(twin).result(timeout=0) == answer
    sharing.workers.gate.set()
    assert replays.start(stranger).result(timeout=60) != answer


def test_a_replay_by_other_software_says_that_it_is_not_exact(sharing, make, monkeypatch):
    mine, job_id = beside_others(sharing, make, ordered(make)["circuits"])
    monkeypatch.setitem(aer.FINGERPRINT, "numpy", "another")
    for alone in (False, True):
        assert replayed(sharing, mine, job_id, alone=alone).metadata["replay"] == {"alone": alone, "exact": False}


def test_a_record_of_an_earlier_release_is_refused(sharing, make):
    mine, job_id = beside_others(sharing, make, ordered(make)["circuits"])
    with sharing.database.write() as connection:
        (sha,) = blobs.put_blobs(connection, [pack({"task_version": 1})])
        table = schema.placements
        connection.execute(update(table).where(table.c.job_id == job_id).values(record_sha=sha))
    with pytest.raises(IllegalTransition, match="earlier release"):
        sharing.service.door.replays.find(mine, job_id, without_neighbours=False)


def test_a_worker_that_dies_fails_the_replay_and_not_the_next_one(sharing, make):
    mine, job_id = beside_others(sharing, make, ordered(make)["circuits"])
    replays = sharing.service.door.replays
    found = replays.find(mine, job_id, without_neighbours=False)
    sharing.workers.gate.clear()
    future = replays.start(found)
    sharing.workers.die()
    sharing.workers.gate.set()
    assert isinstance(future.exception(timeout=60), BrokenProcessPool)
    with pytest.raises(ReplayFailed):
        Replays.package(found, future)
    assert replayed(sharing, mine, job_id).metadata["replay"]["exact"]
