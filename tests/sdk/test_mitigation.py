"""Mitigation as a researcher asks for it: options that are checked at once, and answers closer to the ideal."""

from __future__ import annotations

import numpy as np
import pytest
from qiskit import QuantumCircuit, transpile
from qiskit.circuit import Parameter
from qiskit.quantum_info import SparsePauliOp
from qiskit.result import QuasiDistribution

from qpu_sdk import EstimatorOptions, EstimatorV2, RunOptions, SamplerOptions, SamplerV2
from qpu_sdk.errors import InvalidRequestError

SEEDS = (1, 2, 3)
QUBITS = range(5)
READOUT = {"resilience": {"measure_mitigation": True}}
PUBLISHED = {"resilience": {"measure_mitigation": True, "measure_noise_learning": {"source": "snapshot"}}}
TWIRLED_READOUT = {"twirling": {"enable_measure": True, "num_randomizations": 8}, **READOUT}


# --- options


def test_options_are_nested_groups_of_runtimes_names():
    options = EstimatorOptions()
    options.twirling.enable_gates = True
    options.twirling = {"enable_measure": True, "num_randomizations": 16}
    options.dynamical_decoupling.enable = True
    options.dynamical_decoupling.sequence_type = "XY4"
    options.resilience = {"zne_mitigation": True, "zne": {"noise_factors": (1, 3), "extrapolator": "exponential"}}
    asked = options.wire().mitigation
    assert asked.model_dump() == {
        "twirling": {
            "enable_gates": False,
            "enable_measure": True,
            "num_randomizations": 16,
            "shots_per_randomization": None,
        },
        "dynamical_decoupling": {"sequence_type": "XY4"},
        "measure": None,
        "zne": {"noise_factors": [1.0, 3.0], "extrapolator": "exponential"},
    }
    assert dict(options.resilience.zne) == {"noise_factors": (1, 3), "extrapolator": "exponential"}
    assert options["twirling"]["num_randomizations"] == 16
    assert len(options.twirling) == 4


@pytest.mark.parametrize("options", [EstimatorOptions, SamplerOptions])
def test_nothing_is_done_unless_it_is_asked_for(options):
    assert options().wire().mitigation is None
    assert options.coerce({"twirling": {"num_randomizations": 4}}).wire().mitigation is None


def test_a_copy_of_options_has_groups_of_its_own():
    options = EstimatorOptions.coerce({"twirling": {"enable_gates": True}})
    copy = EstimatorOptions.coerce(options)
    copy.twirling.enable_gates = False
    copy.resilience.zne.noise_factors = [1, 5]
    assert options.twirling.enable_gates
    assert tuple(options.resilience.zne.noise_factors) == (1, 3, 5)


@pytest.mark.parametrize(
    ("given", "field", "words"),
    [
        ({"twirling": {"gates": True}}, "twirling.gates", "it has enable_gates, enable_measure"),
        ({"twirling": {"enable_gates": 1}}, "twirling.enable_gates", "True or False"),
        ({"twirling": {"num_randomizations": 0}}, "twirling.num_randomizations", "1 to 10000"),
        ({"twirling": {"shots_per_randomization": 1.5}}, "twirling.shots_per_randomization", "1 or more"),
        ({"twirling": True}, "twirling", "a dict of its options"),
        ({"dynamical_decoupling": {"sequence_type": "XpXm"}}, "dynamical_decoupling.sequence_type", "'XX' or 'XY4'"),
        ({"resilience": {"zne": {"noise_factors": [1, 2]}}}, "resilience.zne.noise_factors", "odd"),
        ({"resilience": {"zne": {"noise_factors": [0.5, 3]}}}, "resilience.zne.noise_factors", "odd"),
        ({"resilience": {"zne": {"noise_factors": [1]}}}, "resilience.zne.noise_factors", "2 to 10"),
        ({"resilience": {"zne": {"noise_factors": 3}}}, "resilience.zne.noise_factors", "2 to 10"),
        ({"resilience": {"zne": {"noise_factors": [3, 3]}}}, "resilience.zne.noise_factors", "once"),
        ({"resilience": {"zne": {"extrapolator": "cubic"}}}, "resilience.zne.extrapolator", "'quadratic'"),
        (
            {"resilience": {"measure_noise_learning": {"source": "guess"}}},
            "resilience.measure_noise_learning.source",
            "'snapshot'",
        ),
        (
            {"resilience": {"measure_noise_learning": {"shots": 0}}},
            "resilience.measure_noise_learning.shots",
            "1 or more",
        ),
    ],
)
def test_a_wrong_option_is_refused_at_once_with_what_there_is(given, field, words):
    with pytest.raises(InvalidRequestError, match=words) as refused:
        EstimatorOptions.coerce(given)
    assert refused.value.field == field


@pytest.mark.parametrize("name", ["zne_mitigation", "zne"])
def test_a_sampler_says_where_extrapolation_is(name):
    with pytest.raises(InvalidRequestError, match="EstimatorV2") as refused:
        SamplerOptions.coerce({"resilience": {name: True}})
    assert refused.value.field == f"resilience.{name}"


def test_circuits_take_none_of_it():
    with pytest.raises(InvalidRequestError, match="no option 'resilience'"):
        RunOptions.coerce({"resilience": {"measure_mitigation": True}})


# --- what it does, on a device with everything that is wrong with one


def estimate(backend, circuit, observable, seed=1, **options):
    job = EstimatorV2(backend, options={"seed_simulator": seed, "default_precision": 0.01, **options}).run(
        [(circuit, observable)]
    )
    return job.result(120)[0]


def errors(backend, circuit, observable, ideal, *choices):
    """For each choice of options, how far each seed's estimate is from the ideal, of 10 000 shots a basis."""
    return [
        np.array([abs(float(estimate(backend, circuit, observable, seed, **one).data.evs) - ideal) for seed in SEEDS])
        for one in choices
    ]


def test_readout_mitigation_takes_most_of_the_error_of_readout(backend):
    circuit = QuantumCircuit(5)
    circuit.x(QUBITS)
    observable = SparsePauliOp.from_sparse_list([("Z", [q], 1.0) for q in QUBITS], 5)
    plain, *careful = errors(backend, circuit, observable, -5.0, {}, READOUT, PUBLISHED, TWIRLED_READOUT)
    assert plain.min() > 0.05
    for mitigated in careful:
        assert mitigated.mean() < 0.5 * plain.mean()
        assert (mitigated < plain).all()


@pytest.mark.parametrize("sequence", ["XX", "XY4"])
def test_decoupling_undoes_what_waiting_neighbours_do_to_each_other(backend, sequence):
    circuit = QuantumCircuit(5)
    circuit.h([0, 1, 2])
    circuit.barrier()
    for qubit in range(3):
        circuit.delay(4, qubit, unit="us")
    circuit.barrier()
    native = transpile(circuit, backend, initial_layout=list(QUBITS), optimization_level=0)
    observable = SparsePauliOp.from_sparse_list([("X", [q], 1.0) for q in range(3)], 5)
    pulsed = {"dynamical_decoupling": {"enable": True, "sequence_type": sequence}}
    plain, decoupled = errors(backend, native, observable, 3.0, {}, pulsed)
    assert plain.min() > 0.6
    assert (decoupled < 0.4 * plain).all()


@pytest.fixture(scope="module")
def entangled(backend):
    """Four qubits in a GHZ state, and stabilisers of it: ideally 4."""
    circuit = QuantumCircuit(4)
    circuit.h(0)
    for qubit in range(3):
        circuit.cx(qubit, qubit + 1)
    native = transpile(circuit, backend, initial_layout=[0, 1, 2, 3], seed_transpiler=1)
    stabilisers = SparsePauliOp.from_list([("ZZII", 1), ("IIZZ", 1), ("ZIIZ", 1), ("XXXX", 1)])
    return native, stabilisers.apply_layout(native.layout)


@pytest.mark.parametrize("extrapolator", ["linear", "exponential"])
def test_extrapolation_gets_closer_and_says_how(backend, entangled, extrapolator):
    zne = {"resilience": {"zne_mitigation": True, "zne": {"extrapolator": extrapolator}}}
    plain, extrapolated = errors(backend, *entangled, 4.0, {}, zne)
    assert plain.min() > 0.25
    assert (extrapolated < 0.8 * plain).all()
    result = estimate(backend, *entangled, **zne)
    told = result.metadata["resilience"]["zne"]
    assert told["evs_noise_factors"].shape == told["stds_noise_factors"].shape == (3,)
    assert (np.diff(told["evs_noise_factors"]) < 0).all()
    assert told["extrapolator"] == extrapolator
    assert result.data.stds > told["stds_noise_factors"][0]


def test_all_of_it_together_is_better_than_nothing(backend, entangled):
    everything = {
        "twirling": {"enable_gates": True, "enable_measure": True, "num_randomizations": 8},
        "dynamical_decoupling": {"enable": True},
        "resilience": {"measure_mitigation": True, "zne_mitigation": True},
    }
    plain, mitigated = errors(backend, *entangled, 4.0, {}, everything)
    assert (mitigated < 0.6 * plain).all()


def test_bound_parameters_and_shapes_go_through_all_of_it(backend):
    circuit = QuantumCircuit(2)
    circuit.rx(Parameter("t"), 0)
    circuit.cx(0, 1)
    native = transpile(circuit, backend, initial_layout=[0, 1], seed_transpiler=1)
    observables = [
        [SparsePauliOp(name).apply_layout(native.layout)] for name in ("ZZ", "IZ")
    ]  # against three angles: a shape of (2, 3)
    angles = np.array([0.0, 1.0, np.pi])
    options = {
        "twirling": {"enable_gates": True, "num_randomizations": 4},
        "resilience": {"measure_mitigation": True, "zne_mitigation": True, "zne": {"noise_factors": [1, 3]}},
        "dynamical_decoupling": {"enable": True},
    }
    result = (
        EstimatorV2(backend, options={"seed_simulator": 3, **options})
        .run([(native, observables, angles)])
        .result(60)[0]
    )
    expected = np.stack([np.ones(3), np.cos(angles)])
    assert result.data.evs == pytest.approx(expected, abs=0.15)
    told = result.metadata["resilience"]
    assert told["zne"]["evs_noise_factors"].shape == (2, 3, 2)
    assert told["measure_mitigation"]["overhead"].shape == told["zne"]["extrapolator"].shape == (2, 3)


def test_a_sampler_keeps_its_counts_and_adds_quasi_distributions(backend):
    circuit = QuantumCircuit(5, 3)
    circuit.x([0, 1, 2])
    circuit.measure([0, 1, 2], [0, 1, 2])
    plain, careful = (
        SamplerV2(backend, options={"seed_simulator": 5, **options}).run([circuit], shots=2000).result(60)[0]
        for options in ({}, READOUT)
    )
    assert plain.data.c.get_counts() == careful.data.c.get_counts()
    assert "resilience" not in plain.metadata
    (quasi,) = careful.metadata["resilience"]["quasi_distributions"]
    assert isinstance(quasi, QuasiDistribution)
    assert sum(quasi.values()) == pytest.approx(1.0)
    missing = 1 - plain.data.c.get_counts()["111"] / 2000
    assert abs(1 - quasi[0b111]) < 0.5 * missing
    assert 0 < quasi.stddev_upper_bound < 0.05


def test_mitigation_costs_what_it_runs(backend, entangled):
    costs = {}
    for name, options in {
        "nothing": {},
        "pulses": {"dynamical_decoupling": {"enable": True}},
        "published": PUBLISHED,
        "three factors": {"resilience": {"zne_mitigation": True}},
    }.items():
        job = EstimatorV2(backend, options={"seed_simulator": 1, "default_precision": 0.02, **options}).run([entangled])
        job.result(60)
        costs[name] = job.metering().price_micro
    assert costs["nothing"] == costs["pulses"] == costs["published"]
    assert 1.8 < costs["three factors"] / costs["nothing"] < 3.2
