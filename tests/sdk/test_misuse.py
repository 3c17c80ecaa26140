"""Mistakes that everybody makes once: refused, mostly before anything is sent, in one sentence that says what to do."""

from __future__ import annotations

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.circuit import ClassicalRegister, Clbit, Parameter, QuantumRegister, Qubit

from qpu_sdk import EstimatorV2, QPUProvider, SamplerV2
from qpu_sdk.errors import InvalidCircuitError, InvalidRequestError, QPUError
from qpu_sdk.validation import check_measured


@pytest.fixture
def turned():
    circuit = QuantumCircuit(1, 1)
    circuit.rz(Parameter("theta") + Parameter("phi"), 0)
    circuit.measure(0, 0)
    return circuit


@pytest.mark.parametrize("primitive", [SamplerV2, EstimatorV2])
def test_a_primitive_needs_one_backend_of_this_sdk(primitive, backend):
    assert primitive(mode=backend).backend is backend
    with pytest.raises(InvalidRequestError, match=r"needs a backend of this SDK.*got a str") as caught:
        primitive("eagle127:line-5")
    assert caught.value.field == "backend"
    assert primitive.__name__ in caught.value.message
    with pytest.raises(InvalidRequestError, match="got a NoneType"):
        primitive()
    with pytest.raises(InvalidRequestError, match="not both"):
        primitive(backend, mode=backend)


@pytest.mark.parametrize(
    "pub",
    [(None, 0), (None, 1.5), (np.zeros((50, 1000)),), (), (np.zeros(3),)],
    ids=["no shots", "half a shot", "a huge array of a wrong shape", "unbound", "wrong shape"],
)
def test_what_qiskit_refuses_in_a_sampler_pub_is_named_shortly(backend, turned, pub):
    values, *shots = pub or (None,)
    good = (turned, [0.1, 0.2])
    bad = (turned, [0.1, 0.2] if shots else values, *shots)
    with pytest.raises(InvalidRequestError, match=r"pubs\[1\]: .") as caught:
        SamplerV2(backend).run([good, bad])
    assert caught.value.field == "pubs[1]"
    assert len(caught.value.message) < 250
    assert "\n" not in caught.value.message
    assert "0. 0. 0. 0." not in caught.value.message


def test_what_qiskit_refuses_in_an_estimator_pub_is_named_shortly(backend):
    circuit = QuantumCircuit(5)
    for bad in ((circuit, "ZZZZZ", [], -0.1), (circuit, "ZZ"), (circuit, "????"), (circuit,), circuit, 7, "circuit"):
        with pytest.raises(InvalidRequestError, match=r"pubs\[0\]: .") as caught:
            EstimatorV2(backend).run([bad])
        assert len(caught.value.message) < 250
    with pytest.raises(InvalidRequestError, match=r"pubs\[0\]"):
        EstimatorV2(backend).run([(circuit, "ZZZZZ")], precision=-1)


def test_nothing_to_run_is_an_invalid_request(backend):
    for run in (backend.run, SamplerV2(backend).run, EstimatorV2(backend).run):
        for nothing in (None, 5, []):
            with pytest.raises(InvalidRequestError):
                run(nothing)


def test_a_circuit_that_measures_nothing_is_not_sent(backend, turned):
    bound = turned.assign_parameters([0.1, 0.2])
    silent = QuantumCircuit(1, 1)
    silent.x(0)
    for run in (backend.run, SamplerV2(backend).run):
        with pytest.raises(InvalidCircuitError, match="measures nothing") as caught:
            run([bound, silent])
        assert caught.value.field == "circuits[1]"


def test_a_measurement_inside_a_branch_is_one():
    circuit = QuantumCircuit(1, 2)
    circuit.measure(0, 0)
    with circuit.if_test((circuit.clbits[0], 1)):
        circuit.measure(0, 1)
    branch = circuit.copy_empty_like()
    branch.append(circuit.data[1])
    check_measured([branch])


def test_a_classical_bit_without_register_has_no_place_in_a_samplers_result(backend):
    loose = QuantumCircuit([Qubit()], [Clbit()])
    loose.measure(0, 0)
    mixed = QuantumCircuit(QuantumRegister(1), ClassicalRegister(1, "c"), [Clbit()])
    mixed.measure(0, 0)
    for circuit in (loose, mixed):
        with pytest.raises(InvalidCircuitError, match="1 of its classical bits are in no register"):
            SamplerV2(backend).run([circuit])
        # Hexadecimal: Qiskit's get_counts() loses shots where bits are in no register, on Aer too.
        assert sum(backend.run(circuit, shots=3).result(60).data(0)["counts"].values()) == 3


def test_a_state_or_kind_that_does_not_exist_names_those_that_do(shared_provider):
    with pytest.raises(
        InvalidRequestError, match="'foo'; it is one of queued, running, done, failed, cancelled"
    ) as state:
        shared_provider.jobs(state="foo")
    assert state.value.field == "state"
    for find in (shared_provider.backends, shared_provider.least_busy):
        with pytest.raises(InvalidRequestError, match="'foo'; it is one of device, virtual") as kind:
            find(kind="foo")
        assert kind.value.field == "kind"


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"worker": 2}, "unexpected keyword argument 'worker'"),
        ({"devices": {"eagle127": {"bufer": 0}}}, "bufer"),
        ({"devices": {"osprey": {}}}, "osprey"),
        ({"workers": "many"}, "workers"),
    ],
)
def test_settings_that_the_embedded_service_refuses_are_one_sentence(settings, reason):
    with pytest.raises(QPUError, match=reason) as caught:
        QPUProvider.embedded(**settings)
    assert caught.value.message.startswith("the embedded service does not start: ")
    assert caught.value.__cause__ is not None


def test_a_folder_that_cannot_be_made_is_an_error_of_ours(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(QPUError, match="does not start") as caught:
        QPUProvider.embedded(tmp_path / "file" / "below")
    assert isinstance(caught.value.__cause__, OSError)
