"""Results become what Qiskit's own tools hold: checked against Aer and against Qiskit's containers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from qiskit import ClassicalRegister, QuantumCircuit, QuantumRegister
from qiskit_aer import AerSimulator

from qpu_sdk.wire.answers import (
    PubOnClient,
    circuit_header,
    hex_memory,
    register_bits,
    shapes_to_send,
    to_estimator_result,
    to_result,
    to_sampler_result,
)
from qpu_sdk.wire.errors import MalformedPayload
from qpu_sdk.wire.models import ProgramKind
from qpu_sdk.wire.results import ExpectationsOfPub, JobResult, Register, ShotsOfPub

if TYPE_CHECKING:
    from qiskit.result import Result


def _pack(rows: list[list[int]]) -> np.ndarray:
    """Rows of classical bits (bit 0 first) → packed little-endian bytes, shape (shots, num_bytes)."""
    return np.packbits(np.array(rows, dtype=np.uint8), axis=-1, bitorder="little")


def _result(program: ProgramKind, *pubs: object) -> JobResult:
    return JobResult(job_id="job_1", program=program, pubs=pubs, metadata={"seed": 7})


def _as_qiskit(result: JobResult, *pubs: PubOnClient, memory: bool = True) -> Result:
    return to_result(result, pubs, backend_name="b", backend_version="1", memory=memory, date=None)


@given(st.integers(1, 70), st.integers(1, 5), st.randoms(use_true_random=False))
def test_hex_memory_is_the_integer_of_the_classical_bits(num_clbits, shots, random):
    rows = [[random.randint(0, 1) for _ in range(num_clbits)] for _ in range(shots)]
    expected = [hex(sum(bit << place for place, bit in enumerate(row))) for row in rows]
    assert hex_memory(_pack(rows)) == expected


@given(st.data())
def test_a_register_gets_its_own_bits_wherever_they_lie(data):
    num_clbits = data.draw(st.integers(1, 20))
    clbits = tuple(data.draw(st.permutations(range(num_clbits))))[: data.draw(st.integers(1, num_clbits))]
    rows = data.draw(
        st.lists(st.lists(st.integers(0, 1), min_size=num_clbits, max_size=num_clbits), min_size=1, max_size=4)
    )
    bits = register_bits(_pack(rows)[None], clbits, num_clbits, ())
    expected = ["".join(str(row[clbit]) for clbit in reversed(clbits)) for row in rows]
    assert bits.num_bits == len(clbits)
    assert bits.get_bitstrings() == expected


def test_the_result_of_run_reads_like_aers():
    circuit = QuantumCircuit(
        QuantumRegister(2, "q"),
        ClassicalRegister(1, "c"),
        ClassicalRegister(2, "d"),
        name="two",
        metadata={"t": (1, 2)},
    )
    circuit.x(0)
    circuit.measure([0, 1], [0, 2])
    circuit.measure(0, 1)
    aer = AerSimulator().run(circuit, shots=3, memory=True).result()
    shots = ShotsOfPub(_pack([[1, 1, 0]] * 3)[None], 3, (Register("c", (0,)), Register("d", (1, 2))))
    ours = _as_qiskit(_result(ProgramKind.CIRCUITS, shots), PubOnClient(header=circuit_header(circuit)))
    assert ours.results[0].header == aer.results[0].header
    assert ours.data(0) == aer.data(0)
    assert ours.get_counts() == aer.get_counts() == {"01 1": 3}
    assert ours.get_memory() == aer.get_memory()
    assert ours.results[0].shots == 3
    assert ours.success
    assert ours.results[0].header["metadata"]["t"] == (1, 2)


def test_memory_is_left_out_unless_asked_for():
    shots = ShotsOfPub(_pack([[1]])[None], 1, (Register("c", (0,)),))
    assert set(_as_qiskit(_result(ProgramKind.CIRCUITS, shots), memory=False).data(0)) == {"counts"}


def test_a_circuit_without_classical_bits_has_no_counts_as_with_aer():
    circuit = QuantumCircuit(1)
    aer = AerSimulator().run(circuit, shots=2, memory=True).result()
    shots = ShotsOfPub(np.zeros((1, 2, 0), np.uint8), 0, ())
    assert _as_qiskit(_result(ProgramKind.CIRCUITS, shots)).data(0) == aer.data(0)


def test_a_sampler_pub_keeps_its_shape_and_metadata():
    bits = np.arange(24, dtype=np.uint8).reshape(6, 4, 1) % 4
    shots = ShotsOfPub(bits, 2, (Register("meas", (0, 1)),))
    kept = PubOnClient(shape=(2, 3), metadata={("a", 1): 2})
    result = to_sampler_result(_result(ProgramKind.SAMPLER, shots), [kept])
    assert result[0].data.shape == (2, 3)
    assert result[0].data.meas.num_shots == 4
    assert result[0].data.meas[1, 2].get_int_counts() == {0: 1, 1: 1, 2: 1, 3: 1}
    assert result[0].metadata == {"shots": 4, "circuit_metadata": {("a", 1): 2}}
    assert result.metadata["version"] == 2


def test_repeats_of_a_circuit_without_parameters_become_one_pub_again():
    parts = [ShotsOfPub(np.full((1, 5, 1), value, np.uint8), 1, (Register("c", (0,)),)) for value in (0, 1)]
    result = to_sampler_result(_result(ProgramKind.SAMPLER, *parts), [PubOnClient(shape=(2,), copies=2)])
    assert result[0].data.c[0].get_counts() == {"0": 5}
    assert result[0].data.c[1].get_counts() == {"1": 5}


def test_expectation_values_return_to_the_broadcast_shape():
    answer = ExpectationsOfPub(np.array([0.1, 0.2, 0.3]), np.array([1e-2, 2e-2, 3e-2]), 100, 0.1)
    kept = PubOnClient(shape=(2, 2), expand=np.array([0, 2, 1, 0]), metadata={"m": 1})
    (pub,) = to_estimator_result(_result(ProgramKind.ESTIMATOR, answer), [kept])
    assert pub.data.evs.tolist() == [[0.1, 0.3], [0.2, 0.1]]
    assert pub.data.stds.tolist() == [[0.01, 0.03], [0.02, 0.01]]
    assert pub.metadata == {"target_precision": 0.1, "shots": 100, "circuit_metadata": {"m": 1}}


def test_a_job_fetched_later_has_flat_results_without_metadata():
    shots = ShotsOfPub(np.zeros((3, 2, 1), np.uint8), 1, (Register("c", (0,)),))
    (pub,) = to_sampler_result(_result(ProgramKind.SAMPLER, shots), ())
    assert pub.data.shape == (3,)
    assert pub.metadata["circuit_metadata"] == {}


def test_shots_are_not_taken_for_expectation_values():
    shots = ShotsOfPub(np.zeros((1, 2, 1), np.uint8), 1, (Register("c", (0,)),))
    with pytest.raises(MalformedPayload):
        to_estimator_result(_result(ProgramKind.ESTIMATOR, shots), ())


@pytest.mark.parametrize(
    ("shape", "copies", "expand", "answers"),
    [
        ((2, 3), 1, None, [6]),
        ((1,), 1, None, [1]),
        ((2, 2), 4, None, [1, 1, 1, 1]),
        ((0, 2), 1, None, [0]),
    ],
)
def test_shapes_that_were_sent_are_those_of_a_job_fetched_later(shape, copies, expand, answers):
    sent = shapes_to_send([PubOnClient(shape=shape, copies=copies, expand=expand)])
    pubs = tuple(ShotsOfPub(np.zeros((n, 5, 1), np.uint8), 1, (Register("c", (0,)),)) for n in answers)
    metadata = {"seed": 1, "pub_shapes": [one.model_dump(mode="json") for one in sent]}
    result = to_sampler_result(JobResult("job", ProgramKind.SAMPLER, pubs, metadata), ())
    assert result[0].data.c.shape == shape
    assert result.metadata["execution"] == {"seed": 1}


def test_expectation_values_of_a_job_fetched_later_are_in_their_places():
    expand = np.array([2, 0, 1, 1])
    (sent,) = shapes_to_send([PubOnClient(shape=(2, 2), expand=expand)])
    answer = ExpectationsOfPub(np.array([0.1, 0.2, 0.3]), np.array([1.0, 2.0, 3.0]), 10, 0.1)
    told = {"pub_shapes": [sent.model_dump(mode="json")]}
    data = to_estimator_result(JobResult("job", ProgramKind.ESTIMATOR, (answer,), told), ())[0].data
    assert data.evs.tolist() == [[0.3, 0.1], [0.2, 0.2]]
    assert data.stds.tolist() == [[3.0, 1.0], [2.0, 2.0]]


@pytest.mark.parametrize(
    "told",
    [
        [{"shape": [4]}],  # another size
        [{"shape": [3], "copies": 2}],
        [{"shape": [2], "expand": [0, 3]}],  # beyond the answer
        [{"shape": [3]}, {"shape": [3]}],
        [{"shape": "any"}],
        [],
    ],
)
def test_shapes_that_do_not_fit_leave_a_result_flat(told):
    pub = ShotsOfPub(np.zeros((3, 5, 1), np.uint8), 1, (Register("c", (0,)),))
    result = to_sampler_result(JobResult("job", ProgramKind.SAMPLER, (pub,), {"pub_shapes": told}), ())
    assert result[0].data.c.shape == (3,)


def test_shapes_that_go_without_saying_are_not_sent():
    assert shapes_to_send([PubOnClient(shape=()), PubOnClient(shape=(7,), expand=np.arange(7))]) is None
    assert shapes_to_send([PubOnClient(shape=(2, 5000), expand=np.arange(10_000))]) is None
