"""Abstract circuits with a deferred layout: compiled when they are submitted, and again where they run."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from orders.compiling import fourier, ghz, qiskit_of, scrambled, words_of
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from qiskit.quantum_info import SparseObservable, SparsePauliOp, Statevector

from qpu_backend.domain.errors import IdempotencyConflict, InvalidRequest
from qpu_backend.engines.invalid_circuit import InvalidBindings, MalformedCircuit, TooMuchDeclared
from qpu_backend.engines.protocol import RegionTask
from qpu_backend.physics.circuit import TWO_QUBIT_GATES
from qpu_backend.physics.prediction import predict
from qpu_backend.physics.relocate import relocate
from qpu_backend.pipeline.deferred import BATCH_S, Recompiler
from qpu_backend.pipeline.recovery import load
from qpu_backend.stores import blobs
from qpu_sdk.wire.circuits import encode_bindings, encode_observable
from qpu_sdk.wire.models import CircuitPayload, Pub
from qpu_sdk.wire.results import decode_result

LINE, TEE = "eagle127:line-5", "eagle127:tee-2-2-1"


def deferred(make, *circuits, backend=TEE, seed=5, **options):
    return make.sample(*circuits, backend=backend, layout="deferred", seed=seed, **options)


def record_of(lab, job_id):
    """What was executed."""
    (ran,) = lab.batches(job_id)
    (placement,) = [placement for placement in ran.placements if placement.job_id == job_id]
    with lab.database.read() as connection:
        return RegionTask.from_bytes(blobs.get_blob(connection, placement.record_sha)), placement, ran.batch


# --- a job from end to end -------------------------------------------------------------------------------------------


def test_a_job_runs_and_its_result_tells_which_compilation_ran(lab, make):
    scope = lab.tenant()
    job_id = lab.submit(scope, deferred(make, ghz(), fourier(), shots=[200, 300]))
    result = lab.result(job_id)
    record, placement, batch = record_of(lab, job_id)
    calibrated = lab.service.door.fleet.calibrated("eagle127")
    assert [pub.bits.shape[:2] for pub in result.pubs] == [(1, 200), (1, 300)]
    assert len(result.metadata["compiled"]) == 2
    for told, circuit in zip(result.metadata["compiled"], record.circuits, strict=True):
        ran = predict(circuit, calibrated.snapshot, calibrated.model.crosstalk).success
        assert told["predicted_success"][told["on"]] == pytest.approx(ran)
        assert set(circuit.qubits) <= set(placement.region)
        if told["on"] == "region":
            assert told["predicted_success"]["region"] >= told["predicted_success"]["shape"]
    assert "region" in {told["on"] for told in result.metadata["compiled"]}
    (row,) = lab.rows(job_id)
    usage = lab.usage(scope, job_id)
    assert usage is not None
    assert (usage.device_us, batch.device_us) == (row.device_us, row.device_us)  # as it was planned and priced
    lab.check_books()


def test_what_runs_on_the_region_does_what_the_abstract_circuit_does(lab, make):
    job_id = lab.submit(lab.tenant(), deferred(make, *(abstract := [ghz(), fourier(), scrambled(4, 2)]), shots=10))
    lab.ended(job_id)
    record, *_ = record_of(lab, job_id)
    for circuit, wanted in zip(record.circuits, abstract, strict=True):
        local = replace(circuit, qubits=tuple(range(circuit.num_qubits)))
        np.testing.assert_allclose(words_of(qiskit_of(local, circuit.num_qubits)), words_of(wanted), atol=1e-7)


def test_counts_are_those_of_the_circuit_as_far_as_its_success_goes(new_lab, make):
    lab = new_lab(device={"drift": False, "crosstalk": False})
    job_id = lab.submit(lab.tenant(), deferred(make, circuit := scrambled(4, 2, depth=2), shots=20_000))
    result = lab.result(job_id)
    (told,) = result.metadata["compiled"]
    bits = result.pubs[0].bits[0]
    counts = np.bincount(bits[:, 0], minlength=16) / len(bits)
    ideal = words_of(circuit)
    distance = 0.5 * np.abs(counts - ideal).sum()
    assert distance < 1 - told["predicted_success"][told["on"]] + 0.02
    assert distance < 0.5 * 0.5 * np.abs(np.roll(ideal, 1) - ideal).sum()


def test_a_parametric_circuit_runs_with_the_angles_of_its_bindings(lab, make):
    a = Parameter("a")
    circuit = QuantumCircuit(5, 5)
    for target in range(1, 5):
        circuit.crx(a + target, target, 0)
        circuit.ry(2 * a, target)
    circuit.measure(range(5), range(5))
    values = np.array([[0.4], [2.1]])
    pubs = [Pub(circuit=0, shots=10, bindings=encode_bindings(values))]
    job_id = lab.submit(lab.tenant(), deferred(make, circuit, pubs=pubs))
    lab.ended(job_id)
    record, *_ = record_of(lab, job_id)
    local = replace(record.circuits[0], qubits=tuple(range(record.circuits[0].num_qubits)))
    for row, angles in zip(values, record.angles[0], strict=True):
        expected = words_of(circuit.assign_parameters(row))
        np.testing.assert_allclose(words_of(qiskit_of(local, local.num_qubits, angles)), expected, atol=1e-7)


@pytest.mark.parametrize("seed", range(3))
def test_observables_follow_the_layout_of_whichever_compilation_runs(lab, make, seed):
    circuit = fourier(4).remove_final_measurements(inplace=False)
    operator = SparsePauliOp(["XXIZ", "IYZI", "ZZZZ", "IIIX", "ZIII"], [0.5, -1.0, 0.25, 0.75, 1.0])
    pub = Pub(circuit=0, precision=0.1, observables=[encode_observable(operator_as_sparse(operator))], pairs=[(0, 0)])
    order = deferred(make, circuit, pubs=[pub], program="estimator", seed=seed)
    scope = lab.tenant()
    job_id = lab.submit(scope, order)
    assert len(lab.result(job_id).metadata["compiled"]) == 1
    record, *_ = record_of(lab, job_id)
    with lab.database.read() as connection:
        backend = lab.service.door.fleet.backend(connection, TEE)
    program = lab.service.door.admission.prepare(scope, order, backend).analysis.program
    expected = check_bases(program, program.circuits, circuit)
    assert check_bases(program, record.circuits, circuit) == expected
    assert np.abs(expected).max() > 0.05


def check_bases(program, variants, circuit):
    """Each variant measures what its basis says of the abstract circuit's qubits; the expectation values."""
    (plan,), state = program.plans, Statevector(circuit)
    values = []
    for number, variant in enumerate(variants):
        (basis,) = {execution.basis for execution in program.executions if execution.circuit == number}
        letters = dict(zip(plan.bases[basis].qubits, plan.bases[basis].paulis, strict=True))
        pauli = SparsePauliOp("".join(letters.get(qubit, "I") for qubit in reversed(range(circuit.num_qubits))))
        values.append(state.expectation_value(pauli).real)
        local = replace(variant, qubits=tuple(range(variant.num_qubits)))
        words = words_of(qiskit_of(local, local.num_qubits))
        signs = [(-1) ** (word >> plan.first_clbit).bit_count() for word in range(len(words))]
        assert words @ signs == pytest.approx(values[-1], abs=1e-7)
    return values


def operator_as_sparse(operator):
    return SparseObservable.from_sparse_pauli_op(operator)


def test_a_replay_and_a_crash_repeat_what_ran(lab, make):
    scope = lab.tenant()
    job_id = lab.submit(scope, deferred(make, fourier(), shots=50))
    result = lab.result(job_id)
    (ran,) = lab.batches(job_id)
    with lab.database.read() as connection:  # as another process would run it after a crash
        (member,) = load(connection, lab.dispatcher._scope, ran.batch.id).members
    told = result.metadata["compiled"]
    assert [(one.on, one.shape_success, one.region_success) for one in member.choices] == [
        (one["on"], one["predicted_success"]["shape"], one["predicted_success"]["region"]) for one in told
    ]
    replays = lab.service.door.replays
    replay = replays.find(scope, job_id, without_neighbours=False)
    future = replays.start(replay)
    future.result()
    again = decode_result(replays.package(replay, future))
    assert again.metadata["replay"] == {"alone": False, "exact": True}
    assert again.metadata["compiled"] == told


def test_each_leg_tells_what_it_ran(new_lab, make):
    lab = new_lab(device={"quantum_s": 1.0, "drift": False})
    job_id = lab.submit(lab.tenant(), deferred(make, ghz(3), shots=8_000))
    result = lab.result(job_id)
    legs = result.metadata["legs"]
    assert len(legs) > 1
    assert all(len(leg["compiled"]) == 1 for leg in legs)
    assert result.pubs[0].bits.shape[1] == 8_000


# --- which compilation runs -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bench(lab):
    """Compiles a job for a region of a device with any numbers."""
    fleet, admission, scope = lab.service.door.fleet, lab.service.door.admission, lab.tenant()
    with lab.database.read() as connection:
        backend = fleet.backend(connection, LINE)
    region = tuple(backend.shape.table.regions[0].tolist())

    def bench(order, snapshot=None, *, region=region, others=0, recompiler=None):
        prepared = admission.prepare(scope, order, backend)
        program = prepared.analysis.program
        calibrated = replace(backend.calibrated, snapshot=snapshot or backend.calibrated.snapshot)
        job = SimpleNamespace(
            id="job",
            tenant_id=scope.tenant_id,
            program_sha=prepared.analysis.body.sha256,
            footprint=prepared.footprint.to_document(),
        )
        plain = SimpleNamespace(job_id="plain", region=(100, 101))
        placements = [SimpleNamespace(job_id="job", region=region), *[plain] * others]
        programs = {"job": program, "plain": replace(program, deferral=None)}
        recompiler = recompiler or Recompiler(lab.service._compiling)
        compiled = recompiler.compile(
            SimpleNamespace(placements=placements), {"job": job, "plain": job}, programs, calibrated
        )
        assert compiled.keys() == {"job"}
        return compiled["job"], program, calibrated

    return SimpleNamespace(compile=bench, region=region, snapshot=backend.calibrated.snapshot, backend=backend)


def pair():
    """Two qubits of five: there are four couplers to choose from."""
    circuit = QuantumCircuit(2, 2)
    circuit.h(0)
    for _ in range(5):
        circuit.cx(0, 1)
        circuit.rx(0.3, 0)
        circuit.ry(0.4, 1)
    circuit.measure([0, 1], [0, 1])
    return circuit


def with_bad_couplers(bench, program, region=None, *, error=0.2, slower_elsewhere=1.0):
    """The calibration with the couplers that a program was planned on spoiled, and the others of the region slower."""
    region = region or bench.region
    used = set()
    for circuit in program.circuits:
        for row in circuit.operations[np.isin(circuit.operations["code"], [int(op) for op in TWO_QUBIT_GATES])]:
            used.add(frozenset(region[circuit.qubits[int(row[name])]] for name in ("q0", "q1")))
    gates = dict(bench.snapshot.gates)
    for (op, qubits), gate in bench.snapshot.gates.items():
        if op in TWO_QUBIT_GATES and set(qubits) <= set(region):
            bad = frozenset(qubits) in used
            changed = (
                replace(gate, error=error) if bad else replace(gate, duration_ns=slower_elsewhere * gate.duration_ns)
            )
            gates[op, qubits] = changed
    return replace(bench.snapshot, gates=gates, number=bench.snapshot.number + 1 + int(10 * slower_elsewhere))


def test_where_the_planned_couplers_are_bad_it_runs_on_better_ones(bench, make):
    order = deferred(make, pair(), backend=LINE)
    _, program, _ = bench.compile(order)
    compiled, _, calibrated = bench.compile(order, with_bad_couplers(bench, program))
    (choice,) = compiled.choices
    assert choice.on == "region"
    assert choice.region_success > choice.shape_success + 0.3
    for circuits, predicted in ((program, choice.shape_success), (compiled.program, choice.region_success)):
        placed = relocate(circuits.circuits[0], bench.region, calibrated.snapshot)
        assert predict(placed, calibrated.snapshot, calibrated.model.crosstalk).success == pytest.approx(predicted)
    assert compiled.program.circuits[0].qubits != program.circuits[0].qubits


def test_observables_follow_a_circuit_to_better_couplers(bench, make):
    circuit = pair().remove_final_measurements(inplace=False)
    observable = encode_observable(operator_as_sparse(SparsePauliOp(["XY", "IZ", "ZI"], [1.0, 0.5, 0.3])))
    pub = Pub(circuit=0, precision=0.1, observables=[observable], pairs=[(0, 0)])
    order = deferred(make, circuit, backend=LINE, pubs=[pub], program="estimator")
    _, program, _ = bench.compile(order)
    compiled, *_ = bench.compile(order, with_bad_couplers(bench, program))
    assert compiled.choices[0].on == "region"
    assert compiled.program.circuits[0].qubits != program.circuits[0].qubits
    assert check_bases(program, compiled.program.circuits, circuit) == check_bases(program, program.circuits, circuit)


def test_what_would_last_longer_is_not_used_however_good(bench, make):
    order = deferred(make, pair(), backend=LINE)
    _, program, _ = bench.compile(order)
    compiled, *_ = bench.compile(order, with_bad_couplers(bench, program, slower_elsewhere=1.7))
    (choice,) = compiled.choices
    assert choice.on == "shape"
    assert choice.region_success > choice.shape_success
    assert compiled.program.circuits == program.circuits
    assert compiled.attempts == (-1,)


def test_beside_others_it_reads_no_more_of_a_group_than_was_planned(bench, make):
    order = deferred(make, pair(), backend=LINE)
    _, program, calibrated = bench.compile(order)
    group = calibrated.model.crosstalk.readout.group

    def read(region, pair):
        return Counter(region[position] // group for position in pair)

    planned = program.circuits[0].qubits
    elsewhere = [pair for pair in ((0, 1), (1, 2), (2, 3), (3, 4)) if pair != planned]
    regions = map(tuple, bench.backend.shape.table.regions.tolist())
    region = next(r for r in regions if not any(read(r, pair) <= read(r, planned) for pair in elsewhere))
    spoiled = with_bad_couplers(bench, program, region)
    alone, *_ = bench.compile(order, spoiled, region=region)
    beside, *_ = bench.compile(order, spoiled, region=region, others=1)
    assert (alone.choices[0].on, beside.choices[0].on) == ("region", "shape")


def test_what_was_compiled_is_remembered(bench, make, lab):
    order = deferred(make, fourier(), backend=LINE)
    recompiler = Recompiler(lab.service._compiling)
    first, *_ = bench.compile(order, recompiler=recompiler)
    again, *_ = bench.compile(order, recompiler=recompiler)
    assert again is first
    other, *_ = bench.compile(order, replace(bench.snapshot, number=99), recompiler=recompiler)
    assert other is not first


def test_a_job_too_long_to_predict_runs_as_planned(bench, make):
    compiled, program, _ = bench.compile(deferred(make, scrambled(5, 1, depth=130), backend=LINE))
    assert [(choice.on, choice.shape_success) for choice in compiled.choices] == [("shape", None)]
    assert compiled.program is program


# --- when compiling again goes wrong ----------------------------------------------------------------------------------


def test_a_compiler_that_hangs_is_cut_off_and_the_job_runs_as_planned(new_lab, make):
    lab = new_lab(device={"drift": False})
    lab.result(lab.submit(lab.tenant(), deferred(make, ghz(3), shots=10)))  # the compilers are warm
    pool = lab.service._compiling._pool
    scope = lab.tenant()
    with lab.queueing():
        job_id = lab.submit(scope, deferred(make, fourier(4), shots=50))
        child = pool._idle.get()
        stopped = (child.pid, pool._nursery._process.pid)
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)
        pool._idle.put(child)
        started = time.monotonic()
    try:
        result = lab.result(job_id)
        assert time.monotonic() - started < BATCH_S + 5.0
    finally:
        os.kill(stopped[1], signal.SIGCONT)
    (told,) = result.metadata["compiled"]
    assert told["on"] == "shape"
    assert told["predicted_success"]["region"] is None
    assert 0.0 < told["predicted_success"]["shape"] < 1.0
    after = lab.result(lab.submit(scope, deferred(make, scrambled(4, 1), shots=50)))
    assert after.metadata["compiled"][0]["predicted_success"]["region"] is not None


# --- refusals ---------------------------------------------------------------------------------------------------------


def test_qubits_that_are_fixed_cannot_be_deferred(lab, make):
    with pytest.raises(InvalidRequest, match="virtual QPU") as refused:
        lab.submit(lab.tenant(), deferred(make, ghz(3), backend="eagle127"))
    assert refused.value.field == "options.layout"


def test_circuits_that_cannot_be_compiled_are_refused_and_nothing_is_stored(lab, make):
    scope = lab.tenant()
    unbound = QuantumCircuit(1, 1)
    unbound.rx(Parameter("a"), 0)
    unbound.measure(0, 0)
    damaged = deferred(make, ghz(3)).model_copy(update={"circuits": CircuitPayload(data=b"bm9uc2Vuc2U=")})
    for order, error, field in (
        (deferred(make, ghz(7)), TooMuchDeclared, "circuits.data"),
        (deferred(make, unbound), InvalidBindings, "pubs.0.bindings"),
        (damaged, MalformedCircuit, "circuits.data"),
    ):
        with pytest.raises(error) as refused:
            lab.submit(scope, order)
        assert refused.value.field == field
    assert lab.windows(scope) == []


def test_an_observable_beyond_the_circuit_is_refused(lab, make):
    observable = encode_observable(operator_as_sparse(SparsePauliOp("ZIII")))
    pub = Pub(circuit=0, observables=[observable], pairs=[(0, 0)])
    circuit = ghz(3).remove_final_measurements(inplace=False)
    with pytest.raises(InvalidRequest) as refused:
        lab.submit(lab.tenant(), deferred(make, circuit, pubs=[pub], program="estimator"))
    assert refused.value.field.startswith("pubs.0.observables.0")


def test_an_idempotency_key_knows_abstract_circuits(lab, make):
    scope, order = lab.tenant(), deferred(make, fourier(4), shots=10)
    first = lab.submit(scope, order, key="k")
    assert lab.submit(scope, order.model_copy(update={"tags": ["again"]}), key="k") == first
    with pytest.raises(IdempotencyConflict):
        lab.submit(scope, deferred(make, ghz(4), shots=10), key="k")


def test_whatever_they_are_compiled_to(lab, bench, make):
    scope, admission, order = lab.tenant(), lab.service.door.admission, deferred(make, pair(), backend=LINE)
    once = admission.prepare(scope, order, bench.backend)
    used = set(once.analysis.program.circuits[0].qubits)
    gates = {
        (op, qubits): replace(gate, error=0.3) if op in TWO_QUBIT_GATES and set(qubits) == used else gate
        for (op, qubits), gate in bench.backend.snapshot.gates.items()
    }
    calibrated_since = replace(bench.backend, snapshot=replace(bench.backend.snapshot, gates=gates))
    again = admission.prepare(scope, order, calibrated_since)
    assert again.analysis.program.circuits[0].digest() != once.analysis.program.circuits[0].digest()
    assert again.canonical_digest == once.canonical_digest
