"""``layout="deferred"`` as a researcher uses it: circuits that nobody has transpiled."""

from __future__ import annotations

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from qiskit.quantum_info import SparsePauliOp

from qpu_sdk import EstimatorV2, SamplerV2
from qpu_sdk.errors import (
    InvalidCircuitError,
    InvalidRequestError,
    LimitExceededError,
    NotISAError,
    UnsupportedInstructionError,
)
from qpu_sdk.options import RunOptions


@pytest.fixture(scope="module")
def virtual(shared_provider):
    return shared_provider.backend("eagle127:tee-2-2-1")


def star(num_qubits=4):
    circuit = QuantumCircuit(num_qubits, name="star", metadata={"kept": 1})
    circuit.h(0)
    for target in range(1, num_qubits):
        circuit.cx(0, target)
    circuit.measure_all()
    return circuit


def test_an_untranspiled_circuit_runs(virtual):
    result = virtual.run(star(), shots=400, seed_simulator=3, layout="deferred").result()
    counts = result.get_counts(0)
    assert sum(counts.values()) == 400
    assert counts["0000"] + counts["1111"] > 250
    assert result.results[0].header["name"] == "star"
    with pytest.raises(UnsupportedInstructionError):
        virtual.run(star(), shots=400)


def test_a_sampler_runs_untranspiled_circuits_with_parameters(virtual):
    a = Parameter("a")
    circuit = QuantumCircuit(3)
    circuit.rx(a, 0)
    circuit.cx(0, 2)
    circuit.measure_all()
    sampler = SamplerV2(virtual, options={"layout": "deferred", "seed_simulator": 1})
    job = sampler.run([(circuit, [[0.0], [np.pi]], 200)])
    bits = job.result()[0].data.meas
    assert bits.get_counts((0,)).get("000", 0) > 150
    assert bits.get_counts((1,)).get("101", 0) > 130
    (told,) = job.result().metadata["execution"]["compiled"]
    assert told["on"] in {"region", "shape"}


def test_an_estimator_takes_observables_of_the_circuit_as_it_was_written(virtual):
    circuit = QuantumCircuit(4)
    circuit.x(3)
    circuit.h(0)
    circuit.cx(0, 2)
    estimator = EstimatorV2(virtual, options={"layout": "deferred", "seed_simulator": 1})
    operators = [SparsePauliOp("ZIII"), SparsePauliOp("IZII"), SparsePauliOp("IXIX"), SparsePauliOp("IIZI")]
    values = estimator.run([(circuit, operators)], precision=0.03).result()[0].data.evs
    np.testing.assert_allclose(values, [-1.0, 0.0, 1.0, 1.0], atol=0.2)


def test_fixed_qubits_and_other_layouts_are_refused_before_anything_is_sent(shared_provider, virtual):
    with pytest.raises(InvalidRequestError, match="virtual QPU") as refused:
        shared_provider.backend("eagle127").run(star(), layout="deferred")
    assert refused.value.field == "layout"
    with pytest.raises(InvalidRequestError, match="'isa' or 'deferred'") as refused:
        virtual.run(star(), layout="later")
    assert refused.value.field == "layout"
    assert RunOptions().wire().layout == "isa"


def test_limits_and_loose_ends_are_still_checked_here(virtual):
    with pytest.raises(NotISAError, match="7 qubits"):
        virtual.run(star(7), layout="deferred")
    loose = QuantumCircuit(1, 1)
    loose.rx(Parameter("a"), 0)
    loose.measure(0, 0)
    with pytest.raises(InvalidCircuitError, match="unbound parameters: a"):
        virtual.run(loose, layout="deferred")
    with pytest.raises(LimitExceededError):
        virtual.run(star(), shots=10**9, layout="deferred")


def test_what_the_service_cannot_compile_it_names(virtual):
    endless = QuantumCircuit(1, 1)
    with endless.while_loop((endless.clbits[0], 0)):
        endless.measure(0, 0)
    with pytest.raises(InvalidCircuitError, match="while_loop"):
        virtual.run(endless, layout="deferred")
