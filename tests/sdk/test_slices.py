"""A tenant's slice as a backend: found in the list, compiled for, run on, asked about."""

from __future__ import annotations

import pytest
from qiskit import QuantumCircuit, transpile

from qpu_sdk import QPUProvider
from qpu_sdk.errors import BackendNotFoundError, NotISAError, QPUError
from qpu_sdk.wire.paths import quoted_backend

QUBITS = list(range(19))


@pytest.fixture(scope="module")
def provider():
    slices = {"lab": {"tenant": "local", "qubits": QUBITS}}
    with QPUProvider.embedded(workers=1, devices={"eagle127": {"slices": slices, "crosstalk": False}}) as provider:
        yield provider


@pytest.fixture(scope="module")
def stranger(provider):
    with QPUProvider.connect(provider.service.url, provider.service.create_tenant("stranger")) as other:
        yield other


def ghz(num_qubits=5):
    circuit = QuantumCircuit(num_qubits)
    circuit.h(0)
    for qubit in range(num_qubits - 1):
        circuit.cx(qubit, qubit + 1)
    circuit.measure_all()
    return circuit


def used(circuit):
    return {circuit.find_bit(bit).index for instruction in circuit.data for bit in instruction.qubits}


def test_slices_are_in_the_list_of_their_tenant_and_names_lead_back(provider, stranger):
    listed = {backend.name for backend in provider.backends()}
    assert {"eagle127/lab", "eagle127/lab:line-5"} <= listed
    assert not any("/" in backend.name for backend in stranger.backends())
    for name in ("eagle127/lab", "eagle127/lab:line-5"):
        backend = provider.backend(name)
        assert backend.name == provider.backend(backend.name).name == backend.status().name == name
        assert backend.refresh() is False
        with pytest.raises(BackendNotFoundError):
            stranger.backend(name)
    assert {backend.name for backend in provider.backends(kind="device")} == {"eagle127", "eagle127/lab"}


def test_a_circuit_compiled_for_a_slice_uses_its_qubits_only_and_runs_there(provider):
    backend = provider.backend("eagle127/lab")
    for level in (0, 1, 3):
        compiled = transpile(ghz(9), backend, optimization_level=level, seed_transpiler=7)
        assert used(compiled) <= set(QUBITS)
    job = backend.run(compiled, shots=50)
    assert sum(job.result(60).get_counts().values()) == 50
    assert set(job.metering().placement) <= set(QUBITS)
    assert job.backend().name == provider.job(job.job_id()).backend().name == "eagle127/lab"
    assert [found.job_id() for found in provider.jobs(backend=backend)] == [job.job_id()]


def test_a_virtual_qpu_in_a_slice_is_placed_in_it(provider):
    backend = provider.backend("eagle127/lab:line-5")
    job = backend.run(transpile(ghz(), backend), shots=50)
    job.result(60)
    assert set(job.metering().placement) <= set(QUBITS)
    (prediction,) = backend.predict_success(transpile(ghz(), backend))
    assert set(prediction.region) <= set(QUBITS)


def test_the_rest_of_the_device_is_compiled_for_and_placed_without_the_slice(provider, stranger):
    device = stranger.backend("eagle127")
    compiled = transpile(ghz(9), device, optimization_level=1, seed_transpiler=7)
    assert not used(compiled) & set(QUBITS)
    theirs = transpile(ghz(9), provider.backend("eagle127/lab"), optimization_level=1, seed_transpiler=7)
    with pytest.raises(NotISAError):
        device.run(theirs)


def test_booked_windows_are_in_the_status(provider, stranger):
    bookings = provider.service.service.bookings
    row = bookings.book("eagle127", in_us=10**9, for_us=10**6, tenant_name="local")
    (mine,), (theirs,) = (each.backend("eagle127").status().windows for each in (provider, stranger))
    assert (mine.kind, mine.id, mine.starts_device_us) == ("yours", row.id, row.starts_us)
    assert (theirs.kind, theirs.id, theirs.ends_device_us) == ("booked", None, row.ends_us)
    bookings.cancel(row.id)


def test_a_slice_that_cannot_be_is_refused_by_its_field():
    for qubits, field in (([5, 500], r"devices\.eagle127\.slices\.lab\.qubits"), ([5, 5], r"lab\.qubits: qubit 5")):
        with pytest.raises(QPUError, match=field):
            QPUProvider.embedded(devices={"eagle127": {"slices": {"lab": {"tenant": "local", "qubits": qubits}}}})


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("eagle127", "eagle127"),
        ("eagle127:line-5", "eagle127%3Aline-5"),
        ("eagle127/lab", "eagle127/lab"),
        ("eagle127/lab:line-5", "eagle127/lab%3Aline-5"),
        ("a/../b", "a%2F..%2Fb"),
        ("../jobs", "..%2Fjobs"),
        ("a/", "a%2F"),
        ("a/b?c#d", "a/b%3Fc%23d"),
    ],
)
def test_the_slash_of_a_slice_stays_one_in_a_path_and_no_other_does(name, path):
    assert quoted_backend(name) == path
