"""Circuits, bindings and observables survive the wire, and nothing else goes with them."""

from __future__ import annotations

import json
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from qiskit import QuantumCircuit, qpy, transpile
from qiskit.circuit import Annotation, Parameter, ParameterVector
from qiskit.primitives.containers.bindings_array import BindingsArray
from qiskit.quantum_info import SparseObservable, SparsePauliOp

from qpu_sdk.target import build_target
from qpu_sdk.wire.circuits import (
    binding_table,
    decode_bindings,
    decode_circuits,
    encode_bindings,
    encode_circuits,
    encode_observable,
)
from qpu_sdk.wire.errors import MalformedPayload, UnsupportedCircuit
from qpu_sdk.wire.models import CircuitPayload


def _bell() -> QuantumCircuit:
    circuit = QuantumCircuit(2, 2, name="bell", metadata={"key": (1, object()), (2, 3): "tuple key"})
    circuit.sx(0)
    circuit.ecr(0, 1)
    circuit.measure([0, 1], [0, 1])
    return circuit


def test_circuits_come_back_equal_with_their_names():
    back = decode_circuits(encode_circuits([_bell(), _bell()], qpy.QPY_VERSION))
    assert [circuit.name for circuit in back] == ["bell", "bell"]
    assert back[0] == _bell()


@pytest.mark.parametrize("version", [13, 16, qpy.QPY_VERSION])
def test_metadata_stays_even_that_of_nested_blocks(version):
    inner = QuantumCircuit(1, metadata={"secret": "inner"})
    inner.x(0)
    circuit = _bell()
    circuit.if_test((circuit.clbits[0], 1), inner, [0], [])
    raw = zlib.decompress(encode_circuits([circuit], version).data)
    assert b"secret" not in raw
    assert b"tuple key" not in raw
    assert circuit.metadata[2, 3] == "tuple key"  # and the caller's circuit is untouched
    assert decode_circuits(encode_circuits([circuit], version))[0].metadata == {}


def test_the_transpiler_layout_stays(eagle):
    isa = transpile(_bell(), target=build_target(eagle), seed_transpiler=1)
    back = decode_circuits(encode_circuits([isa], qpy.QPY_VERSION))[0]
    assert back.layout is None
    assert isa.layout is not None


@pytest.mark.parametrize("version", [13, 15, 17, 99])
def test_qpy_is_written_at_the_newest_version_both_know(version):
    raw = zlib.decompress(encode_circuits([_bell()], version).data)
    assert raw[6] == min(version, qpy.QPY_VERSION)


def test_a_service_too_old_for_this_qiskit_is_refused():
    with pytest.raises(UnsupportedCircuit, match="QPY"):
        encode_circuits([_bell()], 12)


def test_a_circuit_with_annotations_does_not_go_up():
    class Note(Annotation):
        namespace = "test.note"

    circuit = QuantumCircuit(1)
    with circuit.box(annotations=[Note()]):
        circuit.x(0)
    with pytest.raises(UnsupportedCircuit):
        encode_circuits([circuit], qpy.QPY_VERSION)


def test_a_payload_survives_json():
    payload = encode_circuits([_bell()], qpy.QPY_VERSION)
    assert CircuitPayload.model_validate_json(payload.model_dump_json()).data == payload.data
    assert json.loads(payload.model_dump_json())["codec"] == "qpy+zlib"


def test_bytes_that_are_no_circuits_are_refused():
    payload = encode_circuits([_bell()], qpy.QPY_VERSION)
    broken = payload.model_copy(update={"data": payload.data[:-10]})
    with pytest.raises(MalformedPayload):
        decode_circuits(broken)


@given(st.integers(1, 4), st.integers(1, 5), st.randoms(use_true_random=False))
def test_bindings_come_back_bit_for_bit(num_bindings, num_parameters, random):
    table = np.array([[random.uniform(-10, 10) for _ in range(num_parameters)] for _ in range(num_bindings)])
    assert np.array_equal(decode_bindings(encode_bindings(table)), table)


def test_bindings_that_do_not_fill_their_shape_are_refused():
    bindings = encode_bindings(np.ones((2, 3))).model_copy(update={"num_bindings": 3})
    with pytest.raises(MalformedPayload):
        decode_bindings(bindings)


def test_columns_follow_the_order_of_the_circuits_parameters():
    vector, alone = ParameterVector("v", 11), Parameter("a")
    circuit = QuantumCircuit(1)
    for parameter in reversed([*vector, alone]):
        circuit.rz(parameter, 0)
    values = BindingsArray({tuple(vector): np.arange(22.0).reshape(2, 11), alone: np.array([100.0, 200.0])})
    table = binding_table(circuit, values)
    assert [parameter.name for parameter in circuit.parameters][:3] == ["a", "v[0]", "v[1]"]
    assert table[0].tolist() == [100.0, *range(11)]
    assert table[1].tolist() == [200.0, *range(11, 22)]


_LABELS = st.text(alphabet="IXYZ01+-rl", min_size=3, max_size=3)


@given(st.dictionaries(_LABELS, st.floats(-2, 2).filter(lambda c: abs(c) > 0.01), min_size=1, max_size=4))
def test_an_observable_keeps_its_matrix_also_with_projectors(terms):
    observable = SparseObservable.from_list(list(terms.items()))
    wire = encode_observable(observable)
    rebuilt = SparsePauliOp.from_sparse_list(
        [(term.paulis, term.qubits, term.coefficient) for term in wire.terms], num_qubits=3
    )
    expected = SparsePauliOp.from_sparse_observable(observable)
    assert np.allclose(rebuilt.to_matrix(), expected.to_matrix())


def test_the_identity_has_a_term_without_qubits():
    (term,) = encode_observable(SparseObservable.identity(3)).terms
    assert (term.paulis, term.qubits, term.coefficient) == ("", [], 1.0)


def test_projectors_on_too_many_qubits_are_refused_before_they_are_expanded():
    with pytest.raises(UnsupportedCircuit, match="Pauli terms"):
        encode_observable(SparseObservable.from_label("0" * 60))


def test_every_delay_travels_in_whole_samples_because_qpy_forgets_units():
    inner = QuantumCircuit(1, 1)
    inner.delay(2, 0, unit="us")
    circuit = QuantumCircuit(1, 1)
    circuit.delay(3, 0, unit="us")
    circuit.delay(7, 0, unit="dt")
    circuit.measure(0, 0)
    circuit.if_else((circuit.clbits[0], 1), inner, None, [0], [0])
    (back,) = decode_circuits(encode_circuits([circuit], qpy.QPY_VERSION, dt_s=0.5e-9))
    delays = [one.operation for one in back.data if one.name == "delay"]
    nested = back.data[-1].operation.blocks[0].data[0].operation
    assert [(int(one.duration), one.unit) for one in (*delays, nested)] == [(6000, "dt"), (7, "dt"), (4000, "dt")]
    assert circuit.data[0].operation.unit == "us"


def test_a_delay_in_seconds_is_refused_where_the_sample_time_is_unknown():
    circuit = QuantumCircuit(1)
    circuit.delay(3, 0, unit="us")
    with pytest.raises(UnsupportedCircuit, match="dt"):
        encode_circuits([circuit], qpy.QPY_VERSION)
