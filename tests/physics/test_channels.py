"""Channels are physical and Aer's own; crosstalk only ever makes them worse."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from qiskit.circuit.library import CPhaseGate, CXGate, CZGate, ECRGate, IGate, RZGate, RZZGate, SXGate, XGate
from qiskit.quantum_info import Operator, SuperOp, average_gate_fidelity
from qiskit_aer.noise import thermal_relaxation_error
from qiskit_aer.noise.device.models import _device_depolarizing_error, _device_thermal_relaxation_error

from qpu_backend.physics.channels import (
    UNITARIES,
    average_fidelity,
    conditional_error,
    error_channel,
    flip_channel,
    gate_channel,
    idle_channel,
    jump_channel,
    phase_diagonal,
    readout_matrix,
    rz_diagonal,
    rzz_diagonal,
    smear_diagonal,
    unitary_channel,
)
from qpu_backend.physics.circuit import Op
from qpu_backend.physics.snapshot import QubitProperties

AER_ATOL = 3e-8
"""Above T1, Aer turns relaxation into Kraus operators and drops those below 1e-8."""

QISKIT = {Op.ID: IGate(), Op.SX: SXGate(), Op.X: XGate(), Op.ECR: ECRGate(), Op.CX: CXGate(), Op.CZ: CZGate()}


@st.composite
def qubits(draw, count):
    def one() -> QubitProperties:
        t1_us = draw(st.floats(1, 1000))
        return QubitProperties(t1_us, t1_us * draw(st.floats(0.01, 2)), None, None, 0.1, 0.2, 1000.0)

    return tuple(one() for _ in range(count))


errors = st.floats(0, 1)
times = st.floats(0, 5000)
factors = st.floats(1, 30)


def aer_error(properties, error, time_ns):
    """Depolarising then relaxation, by Aer's own functions."""
    parameters = {q: (1e3 * p.t1_us, 1e3 * p.t2_us, None) for q, p in enumerate(properties)}
    operands = range(len(properties))
    relaxation = _device_thermal_relaxation_error(operands, time_ns, parameters, 0)
    depolarising = _device_depolarizing_error(operands, error, relaxation)
    parts = [part for part in (depolarising, relaxation) if part is not None]
    if not parts:
        return np.eye(16 if len(properties) == 2 else 4)
    return SuperOp(parts[0] if len(parts) == 1 else parts[0].compose(parts[1])).data


def tolerance(properties):
    return AER_ATOL if any(p.t2_us > p.t1_us for p in properties) else 1e-10


def assert_physical(channel):
    superop = SuperOp(channel)
    assert superop.is_cptp(atol=1e-7)


@pytest.mark.parametrize("op", sorted(UNITARIES))
def test_unitaries_are_qiskits(op):
    assert np.allclose(unitary_channel(UNITARIES[op]), SuperOp(QISKIT[op]).data, atol=1e-12)


@given(st.floats(-10, 10))
def test_rotations_are_qiskits(angle):
    assert np.allclose(np.diag(rz_diagonal(angle)), SuperOp(RZGate(angle)).data, atol=1e-12)
    assert np.allclose(np.diag(rzz_diagonal(angle)), SuperOp(RZZGate(angle)).data, atol=1e-12)


@given(st.integers(1, 2).flatmap(qubits), errors, times)
@settings(deadline=None, max_examples=60)
def test_gate_errors_are_aers(properties, error, time_ns):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = aer_error(properties, error, time_ns)
    assert np.allclose(error_channel(error, time_ns, properties), expected, atol=tolerance(properties))


@given(st.integers(1, 2).flatmap(qubits), errors, times, factors)
@settings(deadline=None, max_examples=60)
def test_gates_are_cptp_with_and_without_neighbours(properties, error, time_ns, factor):
    op = Op.SX if len(properties) == 1 else Op.ECR
    assert_physical(gate_channel(op, error, time_ns, properties, factor))
    if len(properties) == 1:
        assert_physical(gate_channel(Op.RESET, 0.0, time_ns, properties))


@given(qubits(1), times)
@settings(deadline=None)
def test_idling_is_aers_thermal_relaxation(properties, time_ns):
    (qubit,) = properties
    channel = idle_channel(qubit.t1_us, qubit.t2_us, time_ns)
    expected = SuperOp(thermal_relaxation_error(1e3 * qubit.t1_us, 1e3 * qubit.t2_us, time_ns)).data
    assert np.allclose(channel, expected, atol=tolerance(properties))
    half = idle_channel(qubit.t1_us, qubit.t2_us, time_ns / 2)
    assert np.allclose(half @ half, channel, atol=1e-12)


@given(st.integers(1, 2).flatmap(qubits), st.floats(0, 0.3), times)
@settings(deadline=None)
def test_a_gate_has_the_calibrated_infidelity_unless_relaxation_alone_costs_more(properties, error, time_ns):
    channel = error_channel(error, time_ns, properties)
    relaxation = 1 - average_fidelity(error_channel(0.0, time_ns, properties))
    infidelity = 1 - average_gate_fidelity(SuperOp(channel))
    assert infidelity == pytest.approx(max(error, relaxation), abs=1e-9)


@given(qubits(2), st.floats(0, 0.75), times, factors, factors)
@settings(deadline=None)
def test_a_larger_factor_never_lowers_the_infidelity(properties, error, time_ns, one, other):
    low, high = sorted((one, other))
    fidelities = [average_fidelity(error_channel(error, time_ns, properties, factor)) for factor in (1.0, low, high)]
    assert fidelities[0] + 1e-12 >= fidelities[1]
    assert fidelities[1] + 1e-12 >= fidelities[2]


@given(errors, factors)
def test_conditional_errors_stop_at_three_quarters_and_never_help(error, factor):
    worse = conditional_error(error, factor)
    assert error <= worse <= max(error, 0.75)
    assert conditional_error(error, 1.0) == error


def test_cached_channels_cannot_be_changed():
    with pytest.raises(ValueError, match="read-only"):
        idle_channel(100.0, 100.0, 50.0)[0, 0] = 2.0


def test_readout_rows_are_distributions():
    matrix = readout_matrix(QubitProperties(1, 1, None, None, 0.1, 0.3, 1))
    assert matrix.tolist() == [[0.9, 0.1], [0.3, 0.7]]


@given(st.floats(0, 1), st.floats(0, 1), st.floats(-2, 2), st.floats(-2, 2))
def test_what_neighbours_add_to_readout_leaves_probabilities(p10, p01, extra_10, extra_01):
    matrix = readout_matrix(QubitProperties(1, 1, None, None, p10, p01, 1), (extra_10, extra_01))
    assert matrix.sum(axis=1) == pytest.approx([1.0, 1.0])
    assert matrix[0, 1] == min(1.0, max(0.0, p10 + extra_10))
    assert matrix[1, 0] == min(1.0, max(0.0, p01 + extra_01))


@given(st.floats(-10, 10), st.floats(0, 1), st.floats(0, 1))
def test_channels_of_neighbours_are_physical_and_what_they_say(angle, one, other):
    assert np.allclose(np.diag(phase_diagonal(angle)), SuperOp(CPhaseGate(angle)).data, atol=1e-12)
    turned = np.diag([1.0, np.exp(1j * angle)])
    nothing = SuperOp(IGate())
    mixed = (1 - one) * nothing + one * SuperOp(Operator(turned))
    assert np.allclose(np.diag(smear_diagonal(one, angle)), mixed.data, atol=1e-12)
    assert np.allclose(flip_channel(one), ((1 - one) * nothing + one * SuperOp(XGate())).data, atol=1e-12)
    assert_physical(jump_channel(one, other))
