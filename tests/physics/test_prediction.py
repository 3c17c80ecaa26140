"""Predicted success: the product formula, cause by cause. Simulations check it in tests/engines/test_prediction.py."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from qpu_backend.physics.channels import average_fidelity, depolarizing_channel, relaxation_channel
from qpu_backend.physics.circuit import Conditional, IsaCircuit, Op, operations
from qpu_backend.physics.context import Context, Ghost, Kick
from qpu_backend.physics.device import NO_CROSSTALK
from qpu_backend.physics.errors import NotCalibrated
from qpu_backend.physics.fidelity import gate_loss, idle_loss, idle_rate, process_loss
from qpu_backend.physics.prediction import predict
from qpu_backend.physics.relocate import relocate


def row(op, a=-1, b=-1, *, clbit=-1, value=0.0, aux=-1):
    return (int(op), a, b, clbit, -1, value, aux)


def on(qubits, rows, num_clbits=1, **fields):
    return IsaCircuit(tuple(qubits), num_clbits, (), operations(rows), **fields)


def process_fidelity(channel):
    return np.trace(channel).real / channel.shape[0]


def left(error, num_qubits):
    dim = 2**num_qubits
    return 1 - (dim + 1) / dim * error


@pytest.mark.parametrize("num_qubits", [1, 2])
def test_losses_of_gates_and_waiting_are_process_fidelities(num_qubits):
    channel = depolarizing_channel(0.03, num_qubits)
    error = 1 - average_fidelity(channel)
    fidelity = process_fidelity(channel)
    assert math.exp(-gate_loss(error, num_qubits)) == pytest.approx(fidelity)
    assert np.exp(-process_loss(np.array([-math.log1p(-error), np.inf]), num_qubits)).tolist() == pytest.approx(
        [fidelity, 0]
    )
    assert math.exp(-idle_loss(700.0, 150.0, 90.0)) == pytest.approx(
        process_fidelity(relaxation_channel(150.0, 90.0, 700.0))
    )
    slope = idle_rate(np.array([1e-3 / 150.0]), np.array([1e-3 / 90.0]))[0]
    assert idle_loss(0.1, 150.0, 90.0) == pytest.approx(0.1 * slope, rel=1e-4)


def test_success_is_the_product_of_what_each_cause_leaves(eagle):
    _, real = eagle
    circuit = on((62, 72), [row(Op.SX, 0), row(Op.ECR, 0, 1), row(Op.MEASURE, 0, clbit=0)])
    found = predict(circuit, real, NO_CROSSTALK)
    gates = left(real.gate(Op.ECR, (62, 72)).error, 2) * left(real.gate(Op.SX, (62,)).error, 1)
    assert math.exp(-found.gates) == pytest.approx(gates)
    assert math.exp(-found.readout) == pytest.approx(1 - real.qubit(62).readout_error)
    waits = real.qubit(62).readout_duration_ns  # qubit 72 is not measured, and idles until the common end
    assert found.idling == pytest.approx(idle_loss(waits, real.qubit(72).t1_us, real.qubit(72).t2_us))
    assert (found.zz, found.crosstalk) == (0.0, 0.0)
    assert found.success == pytest.approx(math.exp(-found.gates - found.readout - found.idling))


def test_a_gate_turned_round_costs_its_four_sx(eagle):
    _, real = eagle
    circuit = on((0, 1), [row(Op.ECR, 0, 1), row(Op.MEASURE, 0, clbit=0)])
    direct, turned = (predict(relocate(circuit, place, real), real, NO_CROSSTALK) for place in ((62, 72), (72, 62)))
    four = 2 * sum(gate_loss(real.gate(Op.SX, (q,)).error, 1) for q in (62, 72))
    assert turned.gates - direct.gates == pytest.approx(four)
    with pytest.raises(NotCalibrated):
        predict(on((0, 126), [row(Op.ECR, 0, 1)]), real, NO_CROSSTALK)


def test_waiting_beside_an_excited_partner_costs_zz_and_waiting_in_zero_costs_nothing(eagle):
    model, real = eagle
    first, second = ([row(Op.SX, q), row(Op.DELAY, q, value=2000.0), row(Op.SX, q)] for q in (0, 1))
    both, one, none = on((62, 72), [*first, *second]), on((62, 72), [*first, row(Op.SX, 1)]), on((62, 72), first[1:])
    zz = [predict(circuit, real, model.crosstalk).zz for circuit in (both, one, none)]
    angle = 2e-9 * math.pi * real.zz_hz[62, 72] * (2000.0 + 60.0)
    assert zz[0] == pytest.approx(0.75 * math.sin(angle / 2) ** 2)
    assert zz[1:] == [0.0, 0.0]
    off = replace(model.crosstalk, zz=replace(model.crosstalk.zz, enabled=False))
    assert predict(both, real, off).zz == 0.0
    assert predict(none, real, model.crosstalk).idling == 0.0


def test_of_a_branch_the_worse_one_counts(eagle):
    _, real = eagle
    bad = operations([row(Op.ECR, 0, 1)] * 3)
    one = Conditional((0,), 1, operations([row(Op.SX, 0)]), bad)
    circuit = on((62, 72), [row(Op.MEASURE, 0, clbit=0), row(Op.IF, aux=0)], conditionals=(one,))
    found = predict(circuit, real, NO_CROSSTALK)
    assert found.gates == pytest.approx(3 * gate_loss(real.gate(Op.ECR, (62, 72)).error, 2))


def test_neighbours_and_a_start_that_is_not_zero_are_told_apart(eagle):
    model, real = eagle
    circuit = on((62, 72), [row(Op.SX, 0), row(Op.ECR, 0, 1), row(Op.SX, 0), row(Op.MEASURE, 0, clbit=0)])
    alone = predict(circuit, real, model.crosstalk)
    excited = predict(circuit, real, model.crosstalk, Context(start=np.array([0.02, 0.0])))
    assert excited.readout - alone.readout == pytest.approx(-math.log(0.98))
    ghost = Ghost(np.array([3000.0]), 0.5, np.ones(1), np.zeros(1), np.zeros(1, bool), ((0, 60e3),))
    context = Context(
        factors=np.array([1.5]), ghosts=(ghost,), kicks=(Kick(0, 1000.0, 0.1, 0.01),), readout=np.full((2, 2), 0.01)
    )
    beside = predict(circuit, real, model.crosstalk, context)
    assert beside.crosstalk > 0.01
    assert replace(beside, crosstalk=0.0) == alone
    assert beside.success == pytest.approx(alone.success * math.exp(-beside.crosstalk))
