"""Randomised benchmarking by qiskit-experiments: alone it finds the published errors per gate, beside neighbours more.

The pair's job and the neighbours' wait for each other and run in one batch. The pair's replay without them has the same
circuits on the same qubits with the same seeds.
"""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from qiskit import QuantumCircuit
from qiskit_experiments.framework import ExperimentData
from qiskit_experiments.library import StandardRB

from qpu_sdk import QPUProvider

pytestmark = pytest.mark.slow

PAIR = (62, 63)
AROUND = ((60, 61), (65, 64))
"""Another tenant's ECR gates: 61 is next to 62, and 64 is next to 63."""
LENGTHS = (1, 15, 40, 80, 160)
SAMPLES = 8
RUN = {"shots": 10_000, "seed_simulator": 3, "backend_run": True}
ONE_BATCH = {"buffer": 0, "drift": False, "max_loss": 1, "quantum_s": 3600}
"""Neighbours touch whatever it costs, long jobs are not cut, and the first snapshot stays the truth."""
SIGMAS = 3
MARGIN = 0.05
"""For what the fit counts as gate errors and the snapshot does not: the pair's ZZ and waiting between its ECR gates."""
CLEARLY = 1.25
"""Times the published error; further from it than an agreement may be."""


@pytest.fixture(scope="module")
def acme():
    """On a chip where neighbours touch, and whose first snapshot stays the truth."""
    with QPUProvider.embedded(devices={"eagle127": ONE_BATCH}) as provider:
        yield provider


@pytest.fixture(scope="module")
def initech(acme):
    with QPUProvider.connect(acme.service.url, acme.service.create_tenant("initech")) as provider:
        yield provider


@pytest.fixture(scope="module")
def device(acme):
    return acme.backend("eagle127")


@pytest.fixture(scope="module")
def single(device):
    """The benchmarks of both qubits, each alone on the chip."""
    lengths = (1, 300, 800, 1500, 3000)
    return {qubit: fitted(benchmark((qubit,), lengths, device).run(**RUN)) for qubit in PAIR}


@pytest.fixture(scope="module")
def pair(acme, initech, device, single):
    """The benchmark of the pair as it ran beside its neighbours, and without them."""
    experiment = benchmark(PAIR, LENGTHS, device)
    experiment.analysis.set_options(epg_1_qubit=pd.concat(single.values()))
    acme.service.pause("eagle127")
    ran = experiment.run(**RUN)
    noise = [busy(layers=2 * (length + 1)) for _ in range(SAMPLES) for length in LENGTHS]
    initech.backend("eagle127").run(noise, shots=RUN["shots"], seed_simulator=5)
    acme.service.resume("eagle127")
    beside = fitted(ran)
    (job,) = ran.jobs()
    assert job.metering().co_tenants == "1-3"
    replayed = ExperimentData(experiment=experiment)
    for counts, point in zip(job.replay(alone=True).get_counts(), ran.data(), strict=True):
        replayed.add_data({"counts": counts, "metadata": point["metadata"]})
    return {"beside": beside, "alone": fitted(experiment.analysis.run(replayed))}


def benchmark(qubits, lengths, device):
    """Each length with sequences of its own, so that the scatter about the fit is its uncertainty."""
    return StandardRB(qubits, lengths, device, num_samples=SAMPLES, seed=1, full_sampling=True)


def busy(layers):
    """ECR gates without a pause, between one-qubit gates at random."""
    qubits = sorted(qubit for edge in AROUND for qubit in edge)
    generator = np.random.default_rng(7)
    circuit = QuantumCircuit(127, len(qubits))
    for _ in range(layers):
        for qubit, flips in zip(qubits, generator.random(len(qubits)) < 0.5, strict=True):
            (circuit.x if flips else circuit.sx)(qubit)
        for edge in AROUND:
            circuit.ecr(*edge)
    circuit.measure(qubits, range(len(qubits)))
    return circuit


def fitted(data):
    data.block_for_results(timeout=240)
    assert data.status().value != "error", data.errors()
    return data.analysis_results(dataframe=True)


def error_per(gate, results):
    """With its uncertainty."""
    (row,) = results[results.name == f"EPG_{gate}"].itertuples()
    assert row.quality == "good"
    return row.value.nominal_value, row.value.std_dev


def agrees(value, deviation, published):
    return abs(value - published) < SIGMAS * deviation + MARGIN * published


@pytest.mark.parametrize("qubit", PAIR)
def test_a_qubit_alone_has_the_published_error_per_gate(device, single, qubit):
    assert agrees(*error_per("sx", single[qubit]), device.target["sx"][qubit,].error)


def test_a_pair_alone_has_the_published_error_per_gate(device, pair):
    assert agrees(*error_per("ecr", pair["alone"]), device.target["ecr"][PAIR].error)


def test_a_pair_beside_busy_neighbours_has_clearly_more(device, pair):
    (beside, deviation), (alone, of_alone) = (error_per("ecr", pair[place]) for place in ("beside", "alone"))
    assert beside - alone > SIGMAS * math.hypot(deviation, of_alone)
    assert beside - SIGMAS * deviation > CLEARLY * device.target["ecr"][PAIR].error
