"""Virtual QPUs of all shapes as a researcher meets them: listed, named, compiled for, run, and refused."""

from __future__ import annotations

import pytest
from qiskit import QuantumCircuit, transpile

from qpu_sdk import QPUProvider, SamplerV2
from qpu_sdk.errors import BackendNotFoundError

LINES = ("line-2", "line-3", "line-4", "line-5", "line-7", "line-10")
BRANCHED = ("tee-1-1-1", "tee-2-2-1", "tee-2-2-2", "eye-1-1-1-1-1", "ring-12")
TEE = {(0, 1), (0, 3), (0, 5), (1, 2), (3, 4)}


@pytest.fixture(scope="module")
def provider():
    with QPUProvider.embedded(devices={"eagle127": {}, "grid20": {}, "line5": {}}) as service:
        yield service


@pytest.mark.parametrize(
    ("device", "shapes"),
    [
        ("eagle127", (*LINES, *BRANCHED)),
        ("grid20", (*LINES, *BRANCHED, "grid-2-2", "grid-2-3")),
        ("line5", LINES[:4]),
    ],
)
def test_a_device_lists_the_usual_shapes_that_fit_on_it(provider, device, shapes):
    listed = [summary.name for summary in provider.summaries() if summary.device == device]
    assert listed == [device, *(f"{device}:{shape}" for shape in shapes)]


def test_backends_are_found_by_size_whatever_their_shape(provider):
    sizes = {backend.name: backend.num_qubits for backend in provider.backends(min_num_qubits=6, kind="virtual")}
    assert min(sizes.values()) == 6
    assert {"eagle127:tee-2-2-1", "grid20:grid-2-3", "eagle127:eye-1-1-1-1-1", "grid20:line-7"} <= sizes.keys()
    assert not any(name.startswith("line5:") for name in sizes)
    assert provider.least_busy(4, kind="virtual").name == "eagle127:line-4"
    assert provider.least_busy(6, kind="virtual").name == "eagle127:tee-2-2-1"
    assert provider.least_busy(11, kind="virtual").name == "eagle127:ring-12"
    assert provider.least_busy(13).name == "grid20"


def test_a_shape_that_is_not_listed_is_found_by_its_name(provider):
    name = "eagle127:tee-4-3-1"
    assert name not in {summary.name for summary in provider.summaries()}
    assert provider.backend(name).num_qubits == 9
    assert [backend.name for backend in provider.backends(name)] == [name]
    assert provider.backends(name, min_num_qubits=10) == []
    assert provider.backends(name, kind="device") == []
    assert provider.backends("line5:tee-4-3-1") == []


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("line5:line-20", "line-20 fits nowhere on line5: the longest line there is line-5; did you mean line5:line-"),
        ("eagle127:grid-2-2", "grid-2-2 fits nowhere on eagle127: there is no grid on it; did you mean "),
        ("eagle127:tee-1-2-2", "the name of this shape is tee-2-2-1; did you mean eagle127:tee-2-2-"),
        ("eagle127:cross-1-1-1-1", "shapes are line-N, tee-A-B-C, eye-A-B-M-C-D, ring-N and grid-R-C"),
    ],
)
def test_what_is_no_shape_or_fits_nowhere_is_refused_with_the_reason(provider, name, message):
    with pytest.raises(BackendNotFoundError) as refusal:
        provider.backend(name)
    assert f"there is no backend {name!r}: " in refusal.value.message
    assert message in refusal.value.message


def test_the_coupling_of_a_virtual_qpu_is_that_of_its_shape(provider):
    one_way, both_ways = (provider.backend(f"{device}:tee-2-2-1") for device in ("eagle127", "grid20"))
    assert set(one_way.coupling_map.get_edges()) == TEE
    assert set(both_ways.coupling_map.get_edges()) == TEE | {(b, a) for a, b in TEE}
    assert one_way.document.regions == 99
    assert "tee-2-2-1" in one_way.description


def test_a_circuit_runs_on_a_tee_without_swaps(provider):
    backend = provider.backend("eagle127:tee-2-2-1")
    circuit = QuantumCircuit(6)
    circuit.h(0)
    for a, b in sorted(TEE):
        circuit.cx(a, b)
    circuit.measure_all()
    isa = transpile(circuit, backend, initial_layout=range(6), seed_transpiler=1)
    assert isa.count_ops()["ecr"] == len(TEE)
    job = SamplerV2(backend, options={"seed_simulator": 3}).run([isa], shots=2000)
    counts = job.result()[0].data.meas.get_counts()
    assert {outcome for outcome, count in counts.items() if count > 500} == {"000000", "111111"}
    region = job.metering().placement
    edges = {tuple(sorted(pair)) for pair in provider.backend("eagle127").coupling_map.get_edges()}
    assert all(tuple(sorted((region[a], region[b]))) in edges for a, b in TEE)
