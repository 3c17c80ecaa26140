"""Channels in the Pauli basis are the superoperators of channels.py, written differently."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from qiskit.quantum_info import PTM, SuperOp

from qpu_backend.physics.channels import (
    error_channel,
    flip_channel,
    gate_channel,
    idle_channel,
    jump_channel,
    phase_diagonal,
    rz_diagonal,
    rzz_diagonal,
    smear_diagonal,
)
from qpu_backend.physics.circuit import Op
from qpu_backend.physics.snapshot import QubitProperties
from qpu_backend.physics.transfer import (
    diagonal_transfer,
    error_transfer,
    flip_transfer,
    gate_transfer,
    pauli_transfer,
    phase_transfer,
    relaxation,
    rzz_transfer,
    smear,
)

angles = st.floats(-10, 10)
chances = st.floats(0, 1)


@st.composite
def qubits(draw, count):
    def one() -> QubitProperties:
        t1_us = draw(st.floats(1, 1000))
        return QubitProperties(t1_us, t1_us * draw(st.floats(0.01, 3)), None, None, 0.1, 0.2, 1000.0)

    return tuple(one() for _ in range(count))


@given(st.integers(0, 2**32), st.integers(1, 2))
def test_the_transfer_matrix_of_a_channel_is_qiskits(seed, num_qubits):
    rng = np.random.default_rng(seed)
    kraus = [rng.normal(size=(2**num_qubits,) * 2) + 1j * rng.normal(size=(2**num_qubits,) * 2) for _ in range(3)]
    channel = sum(np.kron(operator.conj(), operator) for operator in kraus)
    assert np.allclose(pauli_transfer(channel), PTM(SuperOp(channel)).data)


@pytest.mark.parametrize("op", [Op.ID, Op.SX, Op.X, Op.RESET, Op.ECR, Op.CX, Op.CZ])
@given(st.data())
@settings(max_examples=15)
def test_gates_and_errors_are_those_of_channels(op, data):
    count = 2 if op in {Op.ECR, Op.CX, Op.CZ} else 1
    arguments = (
        data.draw(st.floats(0, 0.5)),
        data.draw(st.just(0.0) | st.floats(0, 5000)),
        data.draw(qubits(count)),
        data.draw(st.floats(1, 30)),
    )
    assert np.allclose(gate_transfer(op, *arguments), pauli_transfer(gate_channel(op, *arguments)), atol=1e-12)
    assert np.allclose(error_transfer(*arguments), pauli_transfer(error_channel(*arguments)), atol=1e-12)


@given(angles, chances, qubits(1), st.floats(0, 1e6))
def test_what_is_diagonal_or_relaxes_is_a_coherence_and_a_share_that_stays(angle, chance, properties, time_ns):
    (qubit,) = properties
    pairs = [
        (np.exp(1j * angle), 1.0, np.diag(rz_diagonal(angle))),
        (smear(chance, angle), 1.0, np.diag(smear_diagonal(chance, angle))),
        (*relaxation(qubit, time_ns), idle_channel(qubit.t1_us, qubit.t2_us, time_ns)),
    ]
    for coherence, stay, channel in pairs:
        assert np.allclose(diagonal_transfer(coherence, stay), pauli_transfer(channel), atol=1e-12)
    # one after the other is the product of both
    (first, kept, _), (second, stayed, _) = pairs[0], pairs[2]
    product = diagonal_transfer(second, stayed) @ diagonal_transfer(first, kept)
    assert np.allclose(product, diagonal_transfer(first * second, kept * stayed), atol=1e-12)


@given(angles, chances)
def test_rotations_of_two_and_flips_are_those_of_channels(angle, chance):
    assert np.allclose(phase_transfer(angle), pauli_transfer(np.diag(phase_diagonal(angle))), atol=1e-12)
    assert np.allclose(rzz_transfer(angle), pauli_transfer(np.diag(rzz_diagonal(angle))), atol=1e-12)
    assert np.allclose(flip_transfer(chance), pauli_transfer(flip_channel(chance)), atol=1e-12)


@given(chances, chances, chances)
def test_a_jump_is_a_stochastic_matrix_on_a_bit(stays, rises, before):
    after = pauli_transfer(jump_channel(stays, rises)) @ [1.0, 0.3, -0.2, 1.0 - 2.0 * before]
    assert after == pytest.approx([1.0, 0.0, 0.0, 1.0 - 2.0 * (before * stays + (1.0 - before) * rises)], abs=1e-12)


def test_a_matrix_asked_for_twice_is_the_same_and_cannot_be_changed():
    assert phase_transfer(0.5 * math.pi) is phase_transfer(0.5 * math.pi)
    with pytest.raises(ValueError, match="read-only"):
        phase_transfer(0.5)[0, 0] = 2.0
