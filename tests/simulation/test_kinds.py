"""What a kind is compiled to: times that are true, successes that are what the snapshot says."""

from __future__ import annotations

import math

import numpy as np
import pytest

from qpu_backend.domain.rounds import Need, stand_alone_us
from qpu_backend.engines.transpiling import AbstractCircuit, target_of
from qpu_backend.physics.circuit import Op
from qpu_backend.physics.relocate import relocate
from qpu_backend.simulation.circuits import generated
from qpu_backend.simulation.kinds import candidate_shapes, compile_kind, success, timed
from qpu_backend.simulation.laboratory import compile_kinds
from qpu_backend.simulation.workload import InvalidWorkload, parse_workload


def compiled(chip, kind="cat_state_n4", qubits=4, shapes=None, shots=1000, standalone_us=None):
    source = AbstractCircuit(generated(kind, qubits))
    return compile_kind(chip, kind, source, shapes or candidate_shapes(qubits), shots, standalone_us)


def test_success_is_the_product_over_gates_and_measurements(falcon):
    kind = compiled(falcon)
    snapshot = falcon.snapshot
    region = kind.best_region
    expected = 1.0
    circuit = relocate(kind.circuit, region, snapshot)
    for code, q0, q1, *_ in circuit.operations.tolist():
        match Op(code):
            case Op.CX:
                expected *= 1 - snapshot.gate(Op.CX, (circuit.qubits[q0], circuit.qubits[q1])).error
            case Op.SX | Op.X as op:
                expected *= 1 - snapshot.gate(op, (circuit.qubits[q0],)).error
            case Op.MEASURE:
                expected *= 1 - snapshot.qubit(circuit.qubits[q0]).readout_error
    assert success(circuit, snapshot) == pytest.approx(expected)
    assert kind.best_esp == pytest.approx(expected)


def test_the_best_place_is_the_best_of_all(falcon):
    kind = compiled(falcon)
    everywhere = [
        success(relocate(kind.circuit, tuple(row), falcon.snapshot), falcon.snapshot)
        for row in kind.shape.table.regions.tolist()
    ]
    assert kind.best_esp == pytest.approx(max(everywhere))


def test_the_worse_branch_counts(falcon):
    text = (
        'OPENQASM 3.0; include "stdgates.inc"; qubit[2] q; bit[2] c;'
        "h q[0]; c[0] = measure q[0]; if (c[0]) { cx q[0], q[1]; cx q[1], q[0]; cx q[0], q[1]; } c[1] = measure q[1];"
    )
    without = text.replace("if (c[0]) { cx q[0], q[1]; cx q[1], q[0]; cx q[0], q[1]; } ", "")
    shape = falcon.shape("line-2")
    target = target_of(shape.snapshot, falcon.model.two_qubit_gate)
    branched, plain = (AbstractCircuit(each).compile(target, 1) for each in (text, without))
    snapshot = shape.snapshot
    assert success(branched, snapshot) < 0.99 * success(plain, snapshot)


@pytest.mark.parametrize("measured_us", [2_000_001, 2_900_000, 3_004_000, 60_000_000])
def test_a_measured_time_is_the_time_alone(falcon, measured_us):
    kind = compiled(falcon, shots=4000, standalone_us=measured_us)
    assert kind.own_us == pytest.approx(measured_us, abs=5)  # a shot is a whole number of ns
    (need,) = kind.footprint.needs
    assert (need.repeat, need.shots) == (1, 4000)


def test_without_a_measured_time_it_is_the_time_models(falcon):
    kind = compiled(falcon, shots=1000)
    (need,) = kind.footprint.needs
    delay_ns = round(1000 * falcon.model.timing.rep_delay_us)
    assert kind.own_us == stand_alone_us(falcon.overhead_us, delay_ns, (need,))
    assert kind.footprint.rep_delay_ns is None


def test_a_circuit_keeps_its_own_length_where_the_measured_time_allows_it(falcon):
    assert timed(falcon, 5_000, 1000, 3_000_000) == ((Need(1, 1000, 5_000),), 995_000)
    assert timed(falcon, 5_000, 1000, 2_001_000) == ((Need(1, 1000, 1_000),), 0)
    with pytest.raises(ValueError, match="overhead of falcon27"):
        timed(falcon, 5_000, 1000, 2_000_000)


def test_another_shape_than_the_line_must_be_worth_it(eagle):
    star = "".join(f"cx q[0],q[{k}]; rx(0.3) q[0];" for k in (1, 2, 3) * 4)
    text = f'OPENQASM 2.0; include "qelib1.inc"; qreg q[4]; creg c[4]; h q; {star} measure q -> c;'
    found = compile_kind(eagle, "star", AbstractCircuit(text), candidate_shapes(4), 1000, None)
    assert found.shape.name == "tee-1-1-1"
    assert compiled(eagle).shape.name == "line-4"


def test_candidates_are_the_line_and_every_tee_and_grid_of_that_size():
    assert candidate_shapes(1) == candidate_shapes(2) == ("line-2",)
    assert set(candidate_shapes(6)) == {"line-6", "tee-3-1-1", "tee-2-2-1", "grid-2-3"}


def test_compiling_twice_gives_the_same(falcon):
    one, other = compiled(falcon), compiled(falcon)
    assert one.circuit.digest() == other.circuit.digest()
    assert one.footprint == other.footprint


@pytest.mark.parametrize(
    ("kind", "field", "says"),
    [
        ({"qubits": 25}, "kinds.a_n1.qubits", "no shape of 25 qubits fits on falcon27"),
        ({"qubits": 3, "standalone_device_s": 1.5}, "kinds.a_n1.standalone_device_s", "overhead"),
    ],
)
def test_jobs_that_the_device_cannot_run_are_refused_by_their_field(falcon, kind, field, says):
    workload = parse_workload({"kinds": {"a_n1": kind}, "queue": ["a_n1"]})
    with pytest.raises(InvalidWorkload, match=says) as refused:
        compile_kinds(workload, falcon)
    assert refused.value.field == field


def test_files_come_before_generated_circuits_and_bring_their_own_size(falcon, tmp_path):
    (tmp_path / "qft_n4.qasm").write_text(generated("cat_state_n3", 3))
    workload = parse_workload({"kinds": {"qft_n4": {"qubits": 4}}, "queue": ["qft_n4"]})
    kind = compile_kinds(workload, falcon, tmp_path)["qft_n4"]
    assert kind.shape.name == "line-3"
    np.testing.assert_allclose(kind.source.ideal_distribution()[[0, 7]], 0.5)
    assert compile_kinds(workload, falcon)["qft_n4"].source.num_qubits == 4


def test_a_file_that_is_no_circuit_is_refused_by_its_kind(falcon, tmp_path):
    (tmp_path / "qft_n4.qasm").write_text("no circuit at all")
    workload = parse_workload({"kinds": {"qft_n4": {"qubits": 4}}, "queue": ["qft_n4"]})
    with pytest.raises(InvalidWorkload, match=r"^kinds\.qft_n4: it cannot be read as OpenQASM"):
        compile_kinds(workload, falcon, tmp_path)


def test_the_worst_prediction_is_finite(falcon):
    kind = compiled(falcon, "dnn_n5", 5)
    assert 0 < kind.best_esp < 1
    assert math.isfinite(float(kind.shape.table.score(kind.footprint).max()))
