"""Every device of the catalogue is served: it transpiles, runs pinned and as a line, and gives what was asked for."""

from __future__ import annotations

import math

import pytest
from qiskit import QuantumCircuit, qasm3, transpile
from qiskit.circuit import Parameter

from qpu_backend.engines.catalogue import device_names
from qpu_sdk import QPUProvider, SamplerV2
from qpu_sdk.errors import NotISAError

GATES = {
    "eagle127": {"ecr"},
    "heron156": {"cz", "rzz"},
    "falcon27": {"cx"},
    "grid20": {"cz"},
    "line5": {"cx"},
}
SHOTS = 2000


@pytest.fixture(scope="module")
def provider():
    with QPUProvider.embedded(workers=1, devices={name: {} for name in GATES}) as found:
        yield found


def ghz(num_qubits):
    circuit = QuantumCircuit(num_qubits)
    circuit.h(0)
    for q in range(num_qubits - 1):
        circuit.cx(q, q + 1)
    circuit.measure_all()
    return circuit


def counts(backend, circuit, **options):
    job = SamplerV2(backend, options={"seed_simulator": 7}).run([circuit], shots=SHOTS, **options)
    return job.result()[0].data.meas.get_counts()


def test_the_table_of_this_test_is_the_catalogue():
    assert set(GATES) == set(device_names())


@pytest.mark.parametrize("level", [0, 3])
@pytest.mark.parametrize("shape", ["", ":line-4"])
@pytest.mark.parametrize("name", GATES)
def test_a_ghz_state_is_one_on_every_device(provider, name, shape, level):
    backend = provider.backend(name + shape)
    isa = transpile(ghz(4), backend, optimization_level=level, seed_transpiler=11)
    two_qubit = {item.operation.name for item in isa.data if item.operation.num_qubits == 2} - {"barrier"}
    assert two_qubit
    assert two_qubit <= GATES[name]
    found = counts(backend, isa)
    assert found["0000"] + found["1111"] > 0.7 * SHOTS
    assert min(found["0000"], found["1111"]) > 0.25 * SHOTS


@pytest.mark.parametrize("name", ["heron156", "line5"])
def test_the_same_circuit_as_openqasm_gives_the_same_counts(provider, name):
    backend = provider.backend(f"{name}:line-3")
    isa = transpile(ghz(3), backend, optimization_level=1, seed_transpiler=11)
    again = qasm3.loads(qasm3.dumps(isa))
    assert counts(backend, transpile(again, backend, optimization_level=0)) == counts(backend, isa)


def test_an_rzz_turns_by_its_angle_and_one_outside_the_bounds_is_refused(provider):
    backend = provider.backend("heron156:line-2")
    angle = Parameter("θ")
    circuit = QuantumCircuit(2)
    circuit.sx(0)  # on the equator, rzz by θ beside |0⟩ is rz by θ
    circuit.rzz(angle, 0, 1)
    circuit.rz(math.pi / 2, 0)
    circuit.sx(0)
    circuit.measure_all()
    isa = transpile(circuit, backend, optimization_level=0, initial_layout=[0, 1])
    sampler = SamplerV2(backend, options={"seed_simulator": 7})
    ones = {}
    for value in (0.0, math.pi / 4, math.pi / 2):
        result = sampler.run([(isa, [value])], shots=SHOTS).result()[0].data.meas.get_counts()
        ones[value] = sum(count for bits, count in result.items() if bits[-1] == "1") / SHOTS
    for value, share in ones.items():
        assert share == pytest.approx(0.5 - 0.5 * math.sin(value), abs=0.06)
    with pytest.raises(NotISAError, match="outside 0 to π/2"):
        sampler.run([(isa, [-0.1])], shots=10)
    folded = transpile(circuit.assign_parameters([-0.1]), backend, initial_layout=[0, 1])
    assert sum(sampler.run([folded], shots=10).result()[0].data.meas.get_counts().values()) == 10


def test_what_is_out_of_order_is_not_offered(provider):
    target = provider.backend("heron156").target
    assert not any(146 in pair for pair in target["cz"])
    assert (146,) not in target["sx"]
    assert (77, 85) in target["cz"]
    assert (77, 85) not in target["rzz"]
    falcon = provider.backend("falcon27").target
    assert (8, 5) in falcon["cx"]
    assert (5, 8) not in falcon["cx"]
