"""A circuit compiled again for its region runs only where that costs nobody anything."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from qpu_backend.domain.deferral import Choice, Deferral, laid_out
from qpu_backend.domain.observables import MeasurementBasis, PauliTerm
from qpu_backend.domain.programs import Program, PubSpec, expand, measured_in
from qpu_backend.domain.recompilation import Trial, better, choose, rebuilt
from qpu_backend.physics.circuit import ClassicalRegister, IsaCircuit, Op, operations
from qpu_sdk.wire.codec import pack, unpack

PLANNED_NS = 1_000
NONE = np.empty((1, 0))


def measuring(*measured: tuple[int, int], qubits=(3, 4, 5), then_x=False) -> IsaCircuit:
    """Measures local qubits into classical bits."""
    rows = [(Op.MEASURE, qubit, -1, clbit, -1, 0.0, -1) for qubit, clbit in measured]
    rows += [(Op.X, measured[0][0], -1, -1, -1, 0.0, -1)] if then_x else []
    return IsaCircuit(qubits, 2, (ClassicalRegister("c", (0, 1)),), operations(rows))


CIRCUIT = measuring((0, 0), (1, 1))
PLANNED = Trial(CIRCUIT, 900.0, False, 0.5)
DEFERRAL = Deferral("qpy+zlib", b"bytes", 7, (0,), (None,), (PLANNED_NS,))


ONCE = PubSpec(0, NONE, shots=100)


def program(circuits=(CIRCUIT,), pubs=(ONCE,), deferral=DEFERRAL) -> Program:
    limits = {"default_shots": 100, "default_precision": 0.1, "max_shots": 1000, "max_executions": 50}
    expanded = expand("sampler", circuits, pubs, usable_qubits=frozenset(range(8)), **limits)
    return replace(expanded, deferral=deferral)


def choice(compiled: Trial, planned: Trial = PLANNED, read=None, group=4) -> str:
    (chosen,) = choose(program(), [planned], [compiled], read, group)
    assert chosen.shape_success == pytest.approx(np.exp(-planned.loss))
    assert chosen.region_success == pytest.approx(np.exp(-compiled.loss))
    return chosen.on


def test_what_loses_no_more_and_lasts_no_longer_runs():
    assert choice(replace(PLANNED, loss=0.4)) == "region"
    assert choice(PLANNED) == "region"
    assert choice(replace(PLANNED, loss=0.500001)) == "shape"


def test_it_may_last_as_long_as_planned_or_as_the_other_would_there():
    better = replace(PLANNED, loss=0.1)
    assert choice(replace(better, duration_ns=1_000.0)) == "region"
    assert choice(replace(better, duration_ns=1_000.5)) == "shape"
    assert choice(replace(better, duration_ns=1_200.0), replace(PLANNED, duration_ns=1_200.0)) == "region"
    assert choice(replace(better, duration_ns=1_200.1), replace(PLANNED, duration_ns=1_200.0)) == "shape"


@pytest.mark.parametrize(
    ("other", "mid_circuit"),
    [
        (measuring((0, 0), (1, 1), qubits=(3, 4, 5, 6)), False),
        (measuring((0, 0), (1, 0)), False),
        (measuring((0, 0)), False),
        (measuring((0, 0), (1, 1), (2, 1)), False),
        (replace(CIRCUIT, num_clbits=3), False),
        (replace(CIRCUIT, registers=()), False),
        (CIRCUIT, True),
    ],
    ids=["more qubits", "other bits", "fewer bits", "a bit twice", "more bits", "other registers", "mid-circuit"],
)
def test_what_is_another_job_does_not_run(other, mid_circuit):
    assert choice(Trial(other, 900.0, mid_circuit, 0.1)) == "shape"
    assert choice(Trial(measuring((2, 1), (0, 0)), 900.0, False, 0.1)) == "region"


def test_no_more_qubits_of_a_readout_group_are_read_than_neighbours_were_weighed_with():
    elsewhere = Trial(measuring((1, 0), (2, 1)), 900.0, False, 0.1)  # physical 4 and 5: both of group 1
    planned = {0: 1, 1: 1}  # physical 3 and 4
    assert choice(elsewhere, read=planned) == "shape"
    assert choice(elsewhere, read={1: 2}) == "region"
    assert choice(elsewhere, read=None) == "region"
    assert choice(elsewhere, read=planned, group=0) == "region"


def test_circuits_are_chosen_one_by_one_by_their_shots():
    both = program((CIRCUIT, CIRCUIT), (PubSpec(1, NONE, shots=300), PubSpec(0, NONE, shots=100)))
    both = replace(both, deferral=replace(DEFERRAL, circuit_of=(1, 0), bindings=(None, None), planned_ns=(1000, 1000)))
    worse, fine = replace(PLANNED, loss=0.9), replace(PLANNED, loss=0.2)
    first, second = choose(both, [PLANNED] * 2, [fine, worse], None, 0)
    assert (first.on, second.on) == ("shape", "region")  # the first variant is that of the first pub: circuit 1
    with pytest.raises(ValueError, match="not deferred"):
        choose(replace(both, deferral=None), [PLANNED] * 2, [fine, worse], None, 0)


def test_a_circuit_of_no_pub_has_no_choice():
    lonely = program((CIRCUIT, CIRCUIT), (PubSpec(1, NONE, shots=100),), replace(DEFERRAL, circuit_of=(1,)))
    assert choose(lonely, [PLANNED], [PLANNED], None, 0)[0] == Choice("shape", None, None)


def test_the_better_of_two_is_what_runs_then_what_is_predicted():
    shape, region = Choice("shape", 0.5, 0.9), Choice("region", 0.5, 0.6)
    assert better(shape, region) is region
    assert better(region, shape) is region
    assert better(region, Choice("region", 0.5, 0.7)).region_success == 0.7
    assert better(Choice("shape", 0.5, None), shape) is shape
    assert better(region, replace(region)) is region


def test_bases_follow_the_layout_and_their_bits_stay():
    circuit = IsaCircuit((0, 1), 0, (), operations([(Op.SX, 0, -1, -1, -1, 0.0, -1)]))
    observable = (PauliTerm("XZ", (0, 2), 1.0),)
    spec = PubSpec(0, NONE, shots=10, observables=(observable,), pairs=((0, 0),))
    limits = {"default_shots": 100, "default_precision": 0.1, "max_shots": 1000, "max_executions": 50}
    everywhere = frozenset(range(8))
    made = expand("estimator", [circuit], [spec], usable_qubits=everywhere, layouts=[(4, 1, 0)], **limits)
    assert made.plans[0].bases == (MeasurementBasis("XZ", (0, 2)),)
    expected = measured_in(circuit, MeasurementBasis("XZ", (4, 0)))
    assert made.circuits[0].digest() == expected.digest()
    made = replace(made, deferral=DEFERRAL)
    again = rebuilt(made, [circuit], [(2, 1, 3)], [NONE])
    assert again.circuits[0].digest() == measured_in(circuit, MeasurementBasis("XZ", (2, 3))).digest()
    assert rebuilt(made, [circuit], [(2, 1, 3)], [NONE], chosen=()).circuits[0].digest() == expected.digest()
    assert laid_out(MeasurementBasis("XY", (0, 1)), (3, 2)) == MeasurementBasis("XY", (3, 2))


def test_angles_go_with_the_circuits_that_are_exchanged():
    two = program((CIRCUIT, CIRCUIT), (PubSpec(0, NONE, shots=1), PubSpec(1, NONE, shots=1)))
    two = replace(two, deferral=replace(DEFERRAL, circuit_of=(0, 1), bindings=(None, None), planned_ns=(1, 1)))
    theirs, table = measuring((2, 0), (1, 1)), np.ones((1, 3))
    mixed = rebuilt(two, [theirs, theirs], [(0,), (0,)], [table, table], chosen={1})
    assert [circuit.digest() for circuit in mixed.circuits] == [CIRCUIT.digest(), theirs.digest()]
    assert mixed.angles[0] is NONE
    assert mixed.angles[1] is table
    with pytest.raises(ValueError, match="not deferred"):
        rebuilt(replace(two, deferral=None), [theirs], [(0,)], [table])


def test_a_program_with_a_deferral_survives_storage():
    deferral = replace(DEFERRAL, bindings=(np.array([[0.5, 1.5]]),))
    stored = Program.from_document(unpack(pack(program(deferral=deferral).to_document())))
    assert stored.deferral is not None
    assert stored.deferral.bindings[0].tolist() == [[0.5, 1.5]]
    assert stored.deferral.to_document() | {"bindings": 0} == deferral.to_document() | {"bindings": 0}
    assert Program.from_document(unpack(pack(program(deferral=None).to_document()))).deferral is None
