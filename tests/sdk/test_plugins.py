"""The stages for Qiskit's compiler: where circuits are laid out, and when their gates are."""

from __future__ import annotations

import copy
import pickle
import warnings
from importlib.metadata import entry_points

import numpy as np
import pytest
from qiskit import QuantumCircuit, transpile
from qiskit.circuit.library import QFTGate
from qiskit.converters import circuit_to_dag
from qiskit.providers.fake_provider import GenericBackendV2
from qiskit.quantum_info import Operator, Statevector
from qiskit.transpiler import generate_preset_pass_manager

from qpu_sdk.plugins.chip import BUSY, Chip
from qpu_sdk.plugins.demand import Demand
from qpu_sdk.plugins.layout import CrosstalkLayoutStage
from qpu_sdk.plugins.places import best_place, loss_at
from qpu_sdk.plugins.scheduling import AlapStage
from qpu_sdk.target import build_target
from qpu_sdk.wire.crosstalk import CouplerZZ, CrosstalkDocument, SimultaneousGates


def _ghz(num_qubits):
    circuit = QuantumCircuit(num_qubits)
    circuit.h(0)
    for qubit in range(num_qubits - 1):
        circuit.cx(qubit, qubit + 1)
    circuit.measure_all()
    return circuit


def _used(circuit):
    """Physical qubits with gates on them."""
    return {circuit.find_bit(qubit).index for step in circuit.data for qubit in step.qubits if step.name != "barrier"}


def _crosstalk(document, zz=(), simultaneous=(), ordinary=1.0):
    return CrosstalkDocument(
        name=document.name,
        device=document.device,
        calibration_id=document.calibration_id,
        calibrated_at=document.calibrated_at,
        zz=[CouplerZZ(qubits=pair, zz_hz=hz) for pair, hz in zz],
        simultaneous=[SimultaneousGates(couplers=pair, ratio=ratio) for pair, ratio in simultaneous],
        ordinary_ratio=ordinary,
        readout_groups=[],
    )


def _laid_out(circuit, document, crosstalk=None, **options):
    target = build_target(document, lambda: (document, crosstalk))
    return transpile(circuit, target=target, layout_method="qpu_crosstalk", seed_transpiler=3, **options)


def test_both_stages_are_entry_points():
    assert entry_points(group="qiskit.transpiler.layout")["qpu_crosstalk"].load() is CrosstalkLayoutStage
    assert entry_points(group="qiskit.transpiler.scheduling")["qpu_alap"].load() is AlapStage


def test_a_coupler_of_strong_zz_is_avoided(line):
    for loud in ((0, 1), (3, 4)):
        circuit = QuantumCircuit(2)
        circuit.h([0, 1])
        circuit.cx(0, 1)
        circuit.x(0)
        for _ in range(20):
            circuit.sx(0)
        circuit.measure_all()
        laid = _laid_out(circuit, line, _crosstalk(line, zz=[(loud, 1e5)]), optimization_level=0)
        assert not _used(laid) & set(loud)  # neither inside nor out to a neighbour


def test_zz_within_a_place_is_no_neighbours(line):
    chip = Chip.of(line, _crosstalk(line, zz=[((0, 1), 1e5)]))
    circuit = QuantumCircuit(2)
    for _ in range(3):
        circuit.sx([0, 1])
    demand = Demand.of(circuit_to_dag(circuit), chip)
    inside, beside, away = demand._losses_to_neighbours(chip, np.array([[0, 1], [1, 2], [3, 4]]))
    assert inside == pytest.approx(0.0, abs=1e-15)
    assert beside > 1e-6
    assert away == 0.0


def test_couplers_that_neighbours_disturb_are_avoided(line):
    loud = [((pair), 11.0) for pair in [((0, 1), (2, 3)), ((1, 2), (3, 4))]]
    chip = Chip.of(line, _crosstalk(line, simultaneous=loud, ordinary=1.5))
    assert chip.beside[0, 1] == pytest.approx(BUSY * 10 * chip.edge[0, 1])
    assert chip.beside[1, 2] == pytest.approx(BUSY * 10 * chip.edge[1, 2])
    assert np.array_equal(chip.beside, chip.beside.T)
    without = Chip.of(line)
    assert not without.beside.any()
    assert not without.zz_per_ns2.any()


@pytest.mark.parametrize("better", [0, 2, 4])
def test_a_qubit_that_reads_better_is_preferred(line, better):
    qubits = [q.model_copy(update={"readout_error": 0.001 if i == better else 0.02}) for i, q in enumerate(line.qubits)]
    circuit = QuantumCircuit(1)
    circuit.x(0)
    circuit.measure_all()
    assert _used(_laid_out(circuit, line.model_copy(update={"qubits": qubits}))) == {better}


def test_a_broken_qubit_is_never_used(broken_line):
    assert _used(_laid_out(_ghz(4), broken_line)) == {0, 1, 2, 3}


def test_a_group_is_placed_beside_another(line):
    circuit = QuantumCircuit(4)
    circuit.cx(0, 1)
    circuit.cx(2, 3)
    circuit.measure_all()
    laid = _laid_out(circuit, line)
    assert len(_used(laid)) == 4
    assert laid.layout.routing_permutation() == list(range(5))


@pytest.mark.parametrize("level", [0, 1, 2, 3])
def test_what_is_laid_out_is_still_the_same_circuit(line, level):
    circuit = QuantumCircuit(4)
    circuit.h(range(4))
    circuit.append(QFTGate(4), range(4))  # fits nowhere on a line: it is routed, and moved
    laid = _laid_out(circuit, line, _crosstalk(line, zz=[((0, 1), 1e5)]), optimization_level=level)
    state = Statevector(laid)
    expected = Statevector(circuit)
    seen = state.probabilities(laid.layout.final_index_layout())
    assert np.allclose(seen, expected.probabilities(), atol=1e-9)
    assert all(step.name in {"rz", "sx", "x", "ecr", "barrier"} for step in laid.data)


def test_a_given_layout_is_kept(line):
    assert _laid_out(_ghz(2), line, initial_layout=[4, 3]).layout.initial_index_layout()[:2] == [4, 3]


def test_the_place_is_the_best_of_all_places(eagle):
    chip = Chip.of(eagle, _crosstalk(eagle, zz=[(edge, 1e4 * (1 + sum(edge) % 7)) for edge in Chip.of(eagle).edges]))
    demand = Demand.of(circuit_to_dag(_ghz(3)), chip)
    best = loss_at(demand, chip, best_place(demand, chip))
    coupled = {*chip.edges, *((b, a) for a, b in chip.edges)}
    everywhere = [(a, b, c) for a, b in coupled for b2, c in coupled if b == b2 and a != c]
    losses = [loss_at(demand, chip, np.array(place)) for place in everywhere]
    assert best == pytest.approx(min(losses))
    assert min(losses) < max(losses)


def test_waiting_qubits_and_the_times_that_they_wait_are_counted(line):
    chip = Chip.of(line)
    circuit = QuantumCircuit(3, 3)
    circuit.x(0)
    circuit.cx(0, 1)
    circuit.cx(1, 2)
    circuit.measure(range(3), range(3))
    demand = Demand.of(circuit_to_dag(circuit), chip)
    assert demand.idle_ns.tolist() == [660.0, 0.0, 0.0]
    assert demand.pulses.tolist() == [1, 0, 0]
    assert demand.measured.tolist() == [1, 1, 1]
    assert demand.pairs.tolist() == [[1, 2], [0, 1]]
    assert demand.windows[0, 1] == 1  # while 1 is in its echoed gate with 2
    assert demand.window_ns2[0, 1] == pytest.approx((0.6 * 660.0) ** 2)
    assert demand.windows[1, 2] == 0


@pytest.mark.parametrize(
    "elsewhere",
    [
        {"backend": GenericBackendV2(5, seed=1)},
        {"basis_gates": ["rz", "sx", "cx"], "coupling_map": [[0, 1], [1, 2]]},
    ],
    ids=["another backend", "overridden"],
)
def test_elsewhere_it_falls_back_and_says_so(elsewhere):
    with pytest.warns(UserWarning, match=r"qpu_crosstalk.*default layout"):
        laid = transpile(_ghz(3), layout_method="qpu_crosstalk", **elsewhere)
    assert laid.num_nonlocal_gates() >= 2


def test_a_copy_of_the_target_is_a_plain_one(line):
    target = build_target(line)
    assert target.published is not None
    for copied in (copy.deepcopy(target), pickle.loads(pickle.dumps(target))):  # noqa: S301 - our own
        assert copied.published is None
        assert copied.operation_names == target.operation_names


def test_on_our_backends_it_uses_the_published_crosstalk(device):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        stage = generate_preset_pass_manager(3, backend=device, layout_method="qpu_crosstalk", seed_transpiler=1)
        ours = stage.run(_ghz(5))
    theirs = transpile(_ghz(5), device, optimization_level=3, seed_transpiler=1)
    mine, default = device.predict_success([ours, theirs])
    assert mine.success > default.success
    published = device.crosstalk()
    assert device.target.published() == (device.document, published)
    assert len(published.zz) > 100


def test_several_circuits_at_once_and_virtual_backends_work_too(backend):
    laid = transpile([_ghz(3), _ghz(5)], backend, layout_method="qpu_crosstalk", scheduling_method="qpu_alap")
    assert all(circuit.num_qubits == backend.num_qubits for circuit in laid)
    assert sum(backend.run(laid, shots=50).result().get_counts(1).values()) == 50


# --- the schedule ----------------------------------------------------------------------------------------------------


def _aligned(document, step):
    return document.model_copy(update={"pulse_alignment": step, "acquire_alignment": 2 * step, "granularity": step})


@pytest.mark.parametrize("step", [1, 16])
def test_everything_is_as_late_as_it_can_be_and_aligned(line, step):
    document = _aligned(line, step)
    circuit = QuantumCircuit(3, 3)
    circuit.x(2)  # waits
    circuit.x(0)
    circuit.ecr(0, 1)
    circuit.measure(range(3), range(3))
    target = build_target(document)
    scheduled = transpile(circuit, target=target, scheduling_method="qpu_alap", optimization_level=0)
    starts = scheduled.op_start_times
    assert starts is not None
    begins = {}
    for start, placed in zip(starts, scheduled.data, strict=True):
        qubits = tuple(scheduled.find_bit(qubit).index for qubit in placed.qubits)
        begins[placed.name, qubits] = start
        if placed.name in {"x", "ecr"}:
            assert start % step == 0
        if placed.name == "measure":
            assert start % (2 * step) == 0
    one, two = round(60.0 / line.dt_ns), round(660.0 / line.dt_ns)
    for before, lasting, after in [
        (("x", (2,)), one, ("measure", (2,))),
        (("x", (0,)), one, ("ecr", (0, 1))),
        (("ecr", (0, 1)), two, ("measure", (0,))),
    ]:
        assert 0 <= begins[after] - begins[before] - lasting < 4 * step, (before, after)
    assert any(step.name == "delay" for step in scheduled.data)


def test_a_scheduled_circuit_is_the_same_circuit(line):
    circuit = QuantumCircuit(3)
    circuit.h(0)
    circuit.cx(0, 1)
    circuit.cx(1, 2)
    target = build_target(line)
    plain = transpile(circuit, target=target, seed_transpiler=1)
    scheduled = transpile(circuit, target=target, seed_transpiler=1, scheduling_method="qpu_alap")
    without = scheduled.copy_empty_like()
    for step in scheduled.data:
        if step.name != "delay":
            without.append(step)
    assert Operator(without).equiv(Operator(plain))


def test_without_a_clock_qiskits_own_schedule_is_tried():
    with pytest.warns(UserWarning, match=r"qpu_alap.*dt"):
        stage = generate_preset_pass_manager(
            1, basis_gates=["rz", "sx", "cx"], coupling_map=[[0, 1]], scheduling_method="qpu_alap"
        )
    assert stage.scheduling is not None
