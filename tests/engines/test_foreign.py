"""Any BackendV2 becomes a device: numbers are kept, gaps are assumed and noted, what cannot be simulated is named."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest
from qiskit.circuit import Delay, Gate, IfElseOp, Measure, Parameter, Reset
from qiskit.circuit.library import (
    CCXGate,
    CXGate,
    CZGate,
    ECRGate,
    RXGate,
    RZGate,
    RZZGate,
    SXGate,
    XGate,
    XXPlusYYGate,
    iSwapGate,
)
from qiskit.providers import BackendV2, Options, QubitProperties
from qiskit.providers.fake_provider import GenericBackendV2
from qiskit.transpiler import InstructionProperties, Target
from qiskit_ibm_runtime.fake_provider import FakeBrisbane, FakeHanoiV2

from qpu_backend.engines.catalogue import read_device
from qpu_backend.engines.foreign import ASSUMED_READOUT_NS, ASSUMED_T1_US, describe_backend, from_backend
from qpu_backend.physics.catalog.compose import catalogue_text
from qpu_backend.physics.catalog.parse import parse_device
from qpu_backend.physics.circuit import Op
from qpu_backend.physics.errors import InvalidDevice, InvalidSnapshot

LINE = [[0, 1], [1, 2], [2, 3]]
GOOD = InstructionProperties(duration=5e-8, error=1e-3)
PAIR = InstructionProperties(duration=3e-7, error=1e-2)
ANGLE = Parameter("t")


class Lab(BackendV2):
    """A backend of three qubits in a row, from whatever instructions a test gives it."""

    def __init__(self, instructions=(), *, num_qubits=3, without=(), **target) -> None:
        super().__init__(name="Lab 3", backend_version="1.2")
        self._target = Target(num_qubits=num_qubits, **target)
        one = {(q,): GOOD for q in range(num_qubits or 0)}
        usual = {
            "rz": (RZGate(ANGLE), dict.fromkeys(one, InstructionProperties(duration=0.0, error=0.0))),
            "sx": (SXGate(), one),
            "x": (XGate(), one),
            "cx": (CXGate(), {(0, 1): PAIR, (1, 2): PAIR}),
            "measure": (Measure(), dict.fromkeys(one, InstructionProperties(duration=9e-7, error=0.02))),
        }
        given = {gate.name: (gate, places) for gate, places in instructions}
        for name, (gate, places) in (usual | given).items():
            if name not in without and (num_qubits or places is None):
                self._target.add_instruction(gate, places)

    @property
    def target(self):
        return self._target

    @property
    def max_circuits(self):
        return 7

    @classmethod
    def _default_options(cls) -> Options:
        return Options()

    def run(self, run_input, **options):
        raise NotImplementedError


def refused(backend, **options):
    with pytest.raises(InvalidDevice) as refusal:
        from_backend(backend, **options)
    return refusal.value


def noted(model, *words):
    return any(all(word in note for word in words) for note in model.notes)


def everywhere(gate, num_qubits=3, properties=GOOD):
    return gate, {(q,): properties for q in range(num_qubits)}


@pytest.mark.parametrize(("kind", "name"), [(FakeBrisbane, "eagle127"), (FakeHanoiV2, "falcon27")])
def test_a_backend_of_the_catalogue_gives_the_same_numbers(kind, name):
    model, snapshot = from_backend(kind(), name)
    ours, calibrated = read_device(name)
    assert (model.topology, model.basis, model.two_qubit_gate) == (ours.topology, ours.basis, ours.two_qubit_gate)
    assert model.timing.dt_ns == pytest.approx(ours.timing.dt_ns, rel=1e-14)
    assert replace(model.timing, dt_ns=ours.timing.dt_ns) == ours.timing
    assert (model.coupler, model.crosstalk) == (ours.coupler, ours.crosstalk)
    assert snapshot.gates.keys() == calibrated.gates.keys()
    for key, gate in calibrated.gates.items():
        assert snapshot.gates[key].error == gate.error
        assert snapshot.gates[key].duration_ns == pytest.approx(gate.duration_ns, rel=1e-14)
    for found, known in zip(snapshot.qubits, calibrated.qubits, strict=True):
        assert found.t1_us == pytest.approx(known.t1_us, rel=1e-14)
        assert found.t2_us == pytest.approx(known.t2_us, rel=1e-14)
        assert found.frequency_hz == pytest.approx(known.frequency_hz, rel=1e-14)
        assert found.anharmonicity_hz == pytest.approx(known.anharmonicity_hz, rel=1e-14)
        assert (found.prob_meas1_prep0, found.prob_meas0_prep1) == (known.prob_meas1_prep0, known.prob_meas0_prep1)
    assert set(snapshot.zz_hz.values()) == {60e3}
    assert noted(model, "ZZ", "every coupler", "assumed")
    assert snapshot.measured_at_us == calibrated.measured_at_us


def test_a_generic_backend_keeps_its_errors_and_splits_readout_evenly():
    backend = GenericBackendV2(4, coupling_map=LINE, seed=3)
    model, snapshot = from_backend(backend)
    assert (model.name, model.num_qubits, model.topology.edges) == ("generic_backend_4q", 4, ((0, 1), (1, 2), (2, 3)))
    for q in range(4):
        published = backend.target["measure"][q,]
        qubit = snapshot.qubit(q)
        assert qubit.prob_meas1_prep0 == qubit.prob_meas0_prep1 == published.error
        assert qubit.readout_duration_ns == pytest.approx(1e9 * published.duration)
        assert qubit.t1_us == pytest.approx(1e6 * backend.target.qubit_properties[q].t1)
        assert snapshot.gate(Op.SX, (q,)).error == backend.target["sx"][q,].error
    assert snapshot.gate(Op.CX, (1, 2)).error == backend.target["cx"][1, 2].error
    assert noted(model, "split of the readout error: even")


def test_a_backend_without_any_numbers_becomes_a_device_without_noise_and_says_so():
    model, snapshot = from_backend(GenericBackendV2(3, noise_info=False), "plain")
    qubit = snapshot.qubit(1)
    assert (qubit.t1_us, qubit.t2_us, qubit.frequency_hz) == (ASSUMED_T1_US, 2 * ASSUMED_T1_US, None)
    assert (qubit.readout_error, qubit.readout_duration_ns) == (0.0, ASSUMED_READOUT_NS)
    assert snapshot.gate(Op.CX, (0, 1)).error == snapshot.gate(Op.X, (0,)).error == 0.0
    assert snapshot.gate(Op.CX, (0, 1)).duration_ns == 300.0
    assert snapshot.gate(Op.RZ, (0,)).duration_ns == 0.0
    for words in (
        ("T1", "assumed"),
        ("T2", "assumed"),
        ("frequency",),
        ("readout error: 0 assumed",),
        ("duration of cx: 300 ns assumed",),
        ("error of sx: 0 assumed",),
    ):
        assert noted(model, *words), words


def test_gaps_are_filled_one_by_one_and_named_by_their_qubits():
    lab = Lab(
        [(SXGate(), {(0,): GOOD, (1,): None, (2,): InstructionProperties(error=2e-3)})],
        qubit_properties=[
            QubitProperties(t1=1e-4, t2=8e-5, frequency=5e9),
            QubitProperties(t1=None, t2=8e-5),
            QubitProperties(t1=1e-4, t2=math.inf),
        ],
    )
    model, snapshot = from_backend(lab)
    assert model.name == "lab-3"
    assert [q.t1_us for q in snapshot.qubits] == pytest.approx([100.0, ASSUMED_T1_US, 100.0])
    assert [q.t2_us for q in snapshot.qubits] == pytest.approx([80.0, 80.0, 200.0])
    assert [q.frequency_hz for q in snapshot.qubits] == [5e9, None, None]
    assert [(snapshot.gate(Op.SX, (q,)).error, snapshot.gate(Op.SX, (q,)).duration_ns) for q in range(3)] == [
        (1e-3, pytest.approx(50.0)),
        (0.0, 50.0),
        (2e-3, 50.0),
    ]
    assert noted(model, "T1", "(1)")
    assert noted(model, "T2", "(2)")
    assert noted(model, "error of sx", "(1)")
    assert noted(model, "duration of sx", "(1, 2)")
    assert noted(model, "frequency", "(1, 2)")
    assert model.max_circuits == 7
    assert "1.2" in model.source


def test_without_dt_one_is_assumed():
    model, _ = from_backend(Lab())
    assert model.timing.dt_ns == 1.0
    assert noted(model, "dt is not published")
    dated, _ = from_backend(Lab(dt=0.5e-9, granularity=16))
    assert (dated.timing.dt_ns, dated.timing.granularity) == (0.5, 16)
    assert not noted(dated, "dt is not published")


@pytest.mark.parametrize("gate", ["sx", "x", "rz", "measure"])
def test_a_qubit_that_lacks_a_gate_is_out_of_order(gate):
    places = {(0,): GOOD, (1,): GOOD}
    instruction = {"sx": SXGate(), "x": XGate(), "rz": RZGate(ANGLE), "measure": Measure()}[gate]
    model, snapshot = from_backend(Lab([(instruction, places)]))
    assert snapshot.usable_qubits == (0, 1)
    assert (model.num_qubits, model.topology.edges) == (3, ((0, 1), (1, 2)))
    assert (Op.CX, (1, 2)) not in snapshot.gates
    assert noted(model, "nusable", "2")


def test_an_edge_that_is_absent_is_no_coupler_and_a_failed_one_is_out_of_order():
    ring = {(0, 1): PAIR, (1, 2): PAIR, (0, 2): InstructionProperties(duration=3e-7, error=1.0)}
    model, snapshot = from_backend(Lab([(CXGate(), ring)]))
    assert model.topology.edges == ((0, 1), (0, 2), (1, 2))
    assert snapshot.usable_edges == ((0, 1), (1, 2))
    assert noted(model, "Calibration failed", "cx on 0→2")


def test_an_unknown_two_qubit_gate_is_refused_by_name():
    refusal = refused(Lab([(iSwapGate(), {(0, 1): PAIR, (1, 2): PAIR})], without=["cx"]))
    assert refusal.field == "target.iswap"
    assert "cx" in refusal.reason
    partly = Lab([(CXGate(), {(0, 1): PAIR}), (XXPlusYYGate(ANGLE), {(0, 1): PAIR, (2, 1): PAIR})])
    assert refused(partly).field == "target.xx_plus_yy"
    assert "[1, 2]" in refused(partly).reason


def test_unknown_gates_beside_known_ones_are_left_out_and_noted():
    lab = Lab(
        [
            (iSwapGate(), {(0, 1): PAIR}),
            everywhere(RXGate(ANGLE)),
            (CCXGate(), {(0, 1, 2): None}),
            (RZZGate(0.3), {(0, 1): PAIR}),  # of one angle: not the family
            everywhere(Gate("u9", 1, [])),
            everywhere(Delay(ANGLE)),
            everywhere(Reset()),
        ]
    )
    lab.target.add_instruction(IfElseOp, name="if_else")
    model, snapshot = from_backend(lab)
    assert noted(model, "Left out", "ccx, iswap, rx, rzz, u9")
    assert {op for op, _ in snapshot.gates} == {Op.RZ, Op.SX, Op.X, Op.CX, Op.RESET}


@pytest.mark.parametrize("name", ["rz", "sx", "x", "measure"])
def test_a_backend_without_a_necessary_gate_is_refused_by_name(name):
    refusal = refused(Lab([everywhere(RXGate(ANGLE))], without=[name]))
    assert refusal.field == f"target.{name}"
    assert "is missing" in refusal.reason


@pytest.mark.parametrize("num_qubits", [0, None])
def test_a_backend_without_qubits_is_refused(num_qubits):
    assert refused(Lab(num_qubits=num_qubits)).field == "num_qubits"


def test_one_qubit_is_a_device():
    model, snapshot = from_backend(Lab(num_qubits=1, without=["cx"]), "one")
    assert (model.num_qubits, model.topology.edges, snapshot.usable_qubits) == (1, (), (0,))


def test_operations_without_qubits_are_on_all_of_them():
    lab = Lab([(SXGate(), None), (CZGate(), None), (Measure(), None)], without=["cx"])
    model, snapshot = from_backend(lab)
    assert model.topology.edges == ((0, 1), (0, 2), (1, 2))
    assert snapshot.gate(Op.SX, (2,)).error == 0.0
    assert snapshot.gate(Op.CZ, (2, 0)).duration_ns == 300.0


def test_the_kind_of_coupler_follows_from_the_gate_unless_it_is_given():
    places = {(0, 1): PAIR, (1, 2): PAIR}
    for gate, without, kind, zz_hz in (
        (CZGate(), ["cx"], "tunable", 4e3),
        (ECRGate(), ["cx"], "fixed", 60e3),
        (RZZGate(ANGLE), [], "fixed", 60e3),
    ):
        model, snapshot = from_backend(Lab([(gate, places)], without=without))
        assert (model.coupler, set(snapshot.zz_hz.values())) == (kind, {zz_hz})
        assert noted(model, "Couplers are assumed", kind)
    model, snapshot = from_backend(Lab(), coupler="tunable")
    assert (model.coupler, model.crosstalk.drive.rabi_2q_hz) == ("tunable", 0.0)
    assert not noted(model, "Couplers are assumed")
    assert refused(Lab(), coupler="rubber").field == "coupler"


@pytest.mark.parametrize("name", ["", "Eagle", "eagle 127", "eagle:line-5", "1eagle", "e" * 64])
def test_a_name_that_no_tenant_could_type_is_refused(name):
    assert refused(Lab(), name=name).field == "name"


WRONG = [
    ([everywhere(SXGate(), properties=InstructionProperties(duration=50.0, error=1e-3))], "gates[sx 0].duration_ns"),
    ([everywhere(XGate(), properties=InstructionProperties(duration=5e-8, error=math.nan))], "gates[x 0].error"),
    ([everywhere(XGate(), properties=InstructionProperties(duration=5e-8, error=-0.1))], "gates[x 0].error"),
    ([(CXGate(), {(0, 1): InstructionProperties(3e-7, 1.2), (1, 2): PAIR})], "gates[cx 0,1].error"),
    ([everywhere(Measure(), properties=InstructionProperties(1e-6, 1.5))], "qubits[0].prob_meas1_prep0"),
    ([(CXGate(), {(0, 1): InstructionProperties(3e-7, 1.0), (1, 2): InstructionProperties(3e-7, 1.0)})], "gates"),
]


@pytest.mark.parametrize(("instructions", "field"), WRONG)
def test_numbers_no_device_has_are_refused_by_name(instructions, field):
    with pytest.raises(InvalidSnapshot) as refusal:
        from_backend(Lab(instructions))
    assert refusal.value.field == field


def test_coherence_times_in_microseconds_are_refused():
    with pytest.raises(InvalidSnapshot, match="it looks like microseconds taken for seconds"):
        from_backend(Lab(qubit_properties=[QubitProperties(t1=100.0, t2=80.0)] * 3))


def test_a_backend_can_be_written_to_a_file_and_read_again():
    backend = GenericBackendV2(4, coupling_map=LINE, seed=3)
    text = catalogue_text(describe_backend(backend, "mine"))
    assert parse_device(json.loads(text)) == from_backend(backend, "mine")
