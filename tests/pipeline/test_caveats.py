"""A circuit that outlives the device's coherence runs, and its result says so."""

from __future__ import annotations

import pytest
from qiskit import QuantumCircuit

from qpu_backend.engines.catalogue import read_device
from qpu_backend.pipeline.recovery import load

QUBIT = 12
_, SNAPSHOT = read_device("eagle127")
SHORTEST_US = min(SNAPSHOT.qubit(QUBIT).t1_us, SNAPSHOT.qubit(QUBIT).t2_us)


def waiting(times, qubit=QUBIT):
    """Waits for so many times the shortest coherence time of the qubit."""
    circuit = QuantumCircuit(127, 1)
    circuit.x(qubit)
    circuit.delay(8 * round(times * SHORTEST_US * 250), qubit)  # a sample is 0.5 ns
    circuit.measure(qubit, 0)
    return circuit


@pytest.mark.parametrize("program", ["circuits", "sampler"])
def test_only_circuits_that_are_too_long_are_warned_of(lab, make, program):
    circuits = [waiting(9.5), waiting(25.0)]
    scope = lab.tenant()
    job_id = lab.submit(scope, make.sample(*circuits, backend="eagle127", program=program, shots=20))
    (warning,) = lab.result(job_id).metadata["warnings"]
    assert warning.startswith("circuit 1 lasts " if program == "circuits" else "the circuit of pub 1 lasts ")
    assert f"25 times the T{1 if SNAPSHOT.qubit(QUBIT).t1_us <= SNAPSHOT.qubit(QUBIT).t2_us else 2}" in warning
    assert f"of qubit {QUBIT}" in warning
    (ran,) = lab.batches(job_id)
    with lab.database.read() as connection:  # as another process would run it after a crash
        (member,) = load(connection, lab.dispatcher._scope, ran.batch.id).members
    assert list(member.caveats) == [warning]


def test_an_ordinary_circuit_has_no_warnings(lab, make):
    job_id = lab.submit(lab.tenant(), make.sample(make.ghz(), shots=20))
    assert "warnings" not in lab.result(job_id).metadata


def test_many_warnings_are_counted_and_a_replay_repeats_them(lab, make):
    scope = lab.tenant()
    order = make.sample(*[waiting(20.0 + number) for number in range(8)], backend="eagle127", shots=5)
    job_id = lab.submit(scope, order)
    told = lab.result(job_id).metadata["warnings"]
    assert len(told) == 6
    assert told[-1] == "and 3 more circuits that last too long"
    replays = lab.service.door.replays
    found = replays.find(scope, job_id, without_neighbours=True)
    assert list(found.members[0].caveats) == told
