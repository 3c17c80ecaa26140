"""Jobs with mitigation from order to bill: prices follow from executions, answers are declared, records run again."""

from __future__ import annotations

import itertools
import threading
from types import SimpleNamespace

import numpy as np
import pytest
from legs import CUT, QUIET
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter

from qpu_backend.domain.errors import IdempotencyConflict, InvalidRequest, TooLarge
from qpu_backend.engines.protocol import RegionTask
from qpu_backend.pipeline import settlement
from qpu_backend.pipeline.replays import Replays
from qpu_backend.stores import blobs
from qpu_sdk.wire.circuits import encode_bindings
from qpu_sdk.wire.mitigation import Mitigation
from qpu_sdk.wire.models import Observable, PauliTerm, Pub
from qpu_sdk.wire.results import decode_result, encode_result

LEARNED = {"measure": {"source": "executions", "shots": 1000}}
PUBLISHED = {"measure": {"source": "snapshot"}}
TWIRLED = {"twirling": {"enable_gates": True, "enable_measure": True, "num_randomizations": 4}}
PULSED = {"dynamical_decoupling": {}}
FOLDED = {"zne": {"noise_factors": [1, 3, 5]}}
ALL = LEARNED | TWIRLED | PULSED | FOLDED


def estimated(make, *, backend="eagle127:line-5", shots=400, bindings=None, **options):
    """⟨ZZ⟩ and ⟨X⟩ of a pair, turned by a parameter where there are bindings."""
    circuit = QuantumCircuit(127 if backend == "eagle127" else 5)
    circuit.sx([0, 1])
    if bindings is not None:
        circuit.rz(Parameter("t"), 0)
    circuit.ecr(*(make.directed(0, 1) if backend == "eagle127" else (0, 1)))
    circuit.sx(0)
    observables = [
        Observable(terms=[PauliTerm(paulis="ZZ", qubits=[0, 1], coefficient=1.0)]),
        Observable(terms=[PauliTerm(paulis="X", qubits=[0], coefficient=1.0)]),
    ]
    table = None if bindings is None else encode_bindings(np.asarray(bindings, dtype=float).reshape(-1, 1))
    pairs = list(itertools.product(range(1 if bindings is None else len(bindings)), range(2)))
    pub = Pub(circuit=0, shots=shots, bindings=table, observables=observables, pairs=pairs)
    return make.sample(circuit, backend=backend, program="estimator", pubs=[pub], **{"seed": 12, **options})


class Mitigated:
    """As much of a batch as a settler looks at before it packages."""

    id = "one"
    members = (SimpleNamespace(program=SimpleNamespace(treatment=True)),)


def asked(**mitigation):
    return Mitigation.model_validate(mitigation)


def quoted(lab, scope, order):
    return lab.service.door.quoting.quote(scope, order, len(order.model_dump_json())).quote


def replayed(lab, scope, job_id):
    replays = lab.service.door.replays
    found = replays.find(scope, job_id, without_neighbours=False)
    future = replays.start(found)
    future.exception(timeout=60)
    return decode_result(Replays.package(found, future))


@pytest.mark.parametrize(
    ("mitigation", "executions", "shots"),
    [
        ({}, 2, 800),
        (PULSED, 2, 800),
        (PUBLISHED, 2, 800),
        (LEARNED, 4, 2800),
        (TWIRLED, 8, 800),
        (FOLDED, 6, 2400),
        (ALL, 26, 4400),
    ],
)
def test_a_quote_is_the_price_and_both_follow_from_what_is_run(lab, make, mitigation, executions, shots):
    scope = lab.tenant()
    order = estimated(make, mitigation=asked(**mitigation) if mitigation else None)
    quote, plain = quoted(lab, scope, order), quoted(lab, scope, estimated(make))
    job_id = lab.submit(scope, order)
    (row,) = lab.ended(job_id)
    assert row.state == "done", row.error_message
    assert (row.num_executions, row.shots, row.num_circuits) == (executions, shots, 1)
    record = lab.usage(scope, job_id)
    assert quote.price_micro == row.price_micro == record.price_micro
    assert (quote.device_us, quote.shots) == (row.device_us, row.shots) == (record.device_us, record.shots)
    assert (quote.price_micro > 1.05 * plain.price_micro) == (shots > 800)


@pytest.mark.parametrize("backend", ["eagle127", "eagle127:line-5"])
@pytest.mark.parametrize("mitigation", [ALL, PUBLISHED | PULSED])
def test_a_record_runs_again_to_the_same_mitigated_answer(lab, make, backend, mitigation):
    scope = lab.tenant()
    job_id = lab.submit(scope, estimated(make, backend=backend, bindings=[0.1, 0.7], mitigation=asked(**mitigation)))
    result, again = lab.result(job_id), replayed(lab, scope, job_id)
    assert again.metadata["replay"] == {"alone": False, "exact": True}
    assert [encode_result(type(one)(one.job_id, one.program, one.pubs)) for one in (result, again)].count(
        encode_result(type(result)(result.job_id, result.program, result.pubs))
    ) == 2
    assert again.metadata["mitigation"] == result.metadata["mitigation"]


def test_a_result_declares_what_was_done(lab, make):
    result = lab.result(lab.submit(lab.tenant(), estimated(make, mitigation=asked(**ALL))))
    told = result.metadata["mitigation"]
    assert told["twirling"] == {"enable_gates": True, "enable_measure": True, "seed": 12}
    assert told["dynamical_decoupling"] == {"sequence_type": "XX"}
    assert told["zne"] == {"amplifier": "gate_folding", "noise_factors": [1, 3, 5], "extrapolator": "linear"}
    measure = told["measure"]
    assert (measure["method"], measure["source"], measure["shots"], measure["executions"]) == (
        "m3",
        "executions",
        1000,
        2,
    )
    assert [qubit for qubit, *_ in measure["errors"]] == [0, 1]
    assert all(0 <= error < 0.3 for _, *errors in measure["errors"] for error in errors)
    (pub,) = result.pubs
    assert pub.evs_noise_factors.shape == pub.stds_noise_factors.shape == (2, 3)
    assert pub.extrapolators == ("linear", "linear")
    assert (pub.overheads > 1).all()
    plain = lab.result(lab.submit(lab.tenant(), estimated(make)))
    assert "mitigation" not in plain.metadata
    assert (plain.pubs[0].overheads, plain.pubs[0].evs_noise_factors) == (None, None)


def published_where_it_ran(lab, result):
    """Errors of readout by the backend's qubits 0 and 1."""
    with lab.database.read() as connection:
        backend = lab.service.door.admission._fleet.backend(connection, "eagle127", lab.tenant())
    qubits = result.metadata["placement"][:2] if ":" in result.metadata["backend"] else [0, 1]
    found = [backend.calibrated.snapshot.qubit(qubit) for qubit in qubits]
    return [[qubit, one.prob_meas1_prep0, one.prob_meas0_prep1] for qubit, one in enumerate(found)]


def test_published_errors_are_those_of_the_qubits_where_it_ran(lab, make):
    result = lab.result(lab.submit(lab.tenant(), estimated(make, mitigation=asked(**PUBLISHED))))
    assert result.metadata["mitigation"]["measure"]["errors"] == published_where_it_ran(lab, result)


def test_raw_bits_stay_true_and_quasi_probabilities_come_beside_them(lab, make):
    order = make.sample(make.ghz(3), shots=600, seed=4)
    careful = order.model_copy(update={"options": order.options.model_copy(update={"mitigation": asked(**PUBLISHED)})})
    plain, mitigated = (lab.result(lab.submit(lab.tenant(), one)).pubs[0] for one in (order, careful))
    assert np.array_equal(plain.bits, mitigated.bits)  # the same shots of the same seed
    (quasi,) = mitigated.quasi
    assert quasi.values.sum() == pytest.approx(1.0)
    assert quasi.strings[:, 0].tolist() == np.unique(plain.bits).tolist()
    assert quasi.overhead > 1
    assert plain.quasi == ()


def test_twirled_readout_is_flipped_back(lab, make):
    circuit = QuantumCircuit(5, 3)
    circuit.x(0)
    circuit.measure([0, 1, 2], [0, 1, 2])
    twirl = asked(twirling={"enable_measure": True, "num_randomizations": 8})
    result = lab.result(lab.submit(lab.tenant(), make.sample(circuit, shots=803, seed=3, mitigation=twirl)))
    bits = result.pubs[0].bits
    assert bits.shape == (1, 803, 1)
    assert np.mean(bits[0, :, 0] == 0b001) > 0.75


def test_without_idle_windows_decoupling_changes_nothing(lab, make):
    circuit = QuantumCircuit(5, 2)
    circuit.sx([0, 1])
    circuit.ecr(0, 1)
    circuit.measure([0, 1], [0, 1])
    order = make.sample(circuit, shots=500, seed=9)
    pulsed = order.model_copy(update={"options": order.options.model_copy(update={"mitigation": asked(**PULSED)})})
    plain, same = (lab.result(lab.submit(lab.tenant(), one)).pubs[0].bits for one in (order, pulsed))
    assert np.array_equal(plain, same)


def test_the_same_seed_gives_the_same_mitigated_answer_and_no_seed_the_same_twirls(new_lab, make):
    lab = new_lab("still", device=QUIET)
    first, again, other = (
        lab.result(lab.submit(lab.tenant(), estimated(make, seed=seed, mitigation=asked(**ALL)))) for seed in (5, 5, 6)
    )
    assert np.array_equal(first.pubs[0].evs, again.pubs[0].evs)
    assert not np.array_equal(first.pubs[0].evs, other.pubs[0].evs)
    free = [estimated(make, seed=None, mitigation=asked(**TWIRLED)) for _ in range(2)]
    assert len({lab.rows(lab.submit(lab.tenant(), order))[0].program_sha for order in free}) == 1


def test_a_mitigated_job_runs_in_legs(new_lab, make):
    lab = new_lab("legs", device=CUT)
    order = estimated(make, backend="eagle127", shots=3000, mitigation=asked(**(FOLDED | TWIRLED | PUBLISHED)))
    scope = lab.tenant()
    job_id = lab.submit(scope, order)
    result = lab.result(job_id)
    assert lab.rows(job_id)[0].num_legs > 1
    assert len(result.metadata["legs"]) == lab.rows(job_id)[0].num_legs
    errors = result.metadata["mitigation"]["measure"]["errors"]
    assert np.array(errors) == pytest.approx(np.array(published_where_it_ran(lab, result)))  # the same in every leg
    assert replayed(lab, scope, job_id).metadata["replay"]["exact"]


def test_mitigation_is_part_of_what_a_job_is(lab, make):
    scope = lab.tenant()
    job_id = lab.submit(scope, estimated(make, mitigation=asked(**PULSED)), key="one")
    assert lab.submit(scope, estimated(make, mitigation=asked(**PULSED)), key="one") == job_id
    for other in (asked(dynamical_decoupling={"sequence_type": "XY4"}), None):
        with pytest.raises(IdempotencyConflict):
            lab.submit(scope, estimated(make, mitigation=other), key="one")


@pytest.mark.parametrize(
    ("mitigation", "changes", "refusal", "field"),
    [
        ({"zne": {"noise_factors": [0.5, 1]}}, {}, InvalidRequest, "zne.noise_factors"),
        ({"zne": {"noise_factors": [1, 2]}}, {}, InvalidRequest, "zne.noise_factors"),
        ({"zne": {"noise_factors": [1, 3], "extrapolator": "quadratic"}}, {}, InvalidRequest, "zne.noise_factors"),
        ({"twirling": {"enable_gates": True, "num_randomizations": 401}}, {}, InvalidRequest, "twirling.num_rand"),
        (
            {"twirling": {"enable_gates": True, "shots_per_randomization": 500}},
            {},
            InvalidRequest,
            "twirling.shots_per",
        ),
        ({"measure": {"shots": 10**6}}, {}, TooLarge, "measure.shots"),
        ({"twirling": {"enable_gates": True, "num_randomizations": 9000}}, {"shots": 20_000}, TooLarge, ""),
    ],
)
def test_what_makes_no_sense_is_refused_and_leaves_no_trace(lab, make, mitigation, changes, refusal, field):
    scope = lab.tenant()
    extra = FOLDED if refusal is TooLarge and "twirling" in mitigation else {}
    with pytest.raises(refusal) as refused:
        lab.submit(scope, estimated(make, mitigation=asked(**mitigation, **extra), **changes), key="once")
    assert refused.value.field.startswith(f"options.mitigation.{field}".rstrip("."))
    lab.submit(scope, estimated(make), key="once")


@pytest.mark.parametrize(
    ("program", "mitigation", "options", "field"),
    [
        ("circuits", PULSED, {}, "options.mitigation"),
        ("sampler", FOLDED, {}, "options.mitigation.zne"),
        ("sampler", PULSED, {"layout": "deferred"}, "options.mitigation"),
    ],
)
def test_what_a_program_cannot_have_is_refused(lab, make, program, mitigation, options, field):
    order = make.sample(make.ghz(), program=program, mitigation=asked(**mitigation), **options)
    with pytest.raises(InvalidRequest) as refused:
        lab.submit(lab.tenant(), order)
    assert refused.value.field == field


def test_every_execution_draws_with_a_seed_of_its_own(lab, make):
    job_id = lab.submit(lab.tenant(), estimated(make, bindings=[0.1, 0.7], mitigation=asked(**ALL)))
    lab.result(job_id)
    (placement,) = (one for ran in lab.batches(job_id) for one in ran.placements if one.job_id == job_id)
    with lab.database.read() as connection:
        task = RegionTask.from_bytes(blobs.get_blob(connection, placement.record_sha))
    assert len({part.seed for part in task.slices}) == len(task.slices) == 50


def test_the_same_circuits_with_other_mitigation_are_understood_anew(lab, make):
    scope = lab.tenant()
    order = estimated(make)
    executions = []
    for mitigation in (FOLDED, PULSED, {"zne": {"noise_factors": [1, 3]}}):
        options = order.options.model_copy(update={"mitigation": asked(**mitigation)})
        job_id = lab.submit(scope, order.model_copy(update={"options": options}))
        executions.append(lab.rows(job_id)[0].num_executions)
    assert executions == [6, 2, 4]


def test_twirling_that_is_off_is_no_mitigation(lab, make):
    off = asked(twirling={"num_randomizations": 7})
    row = lab.ended(lab.submit(lab.tenant(), make.sample(make.ghz(), mitigation=off)))[0]
    assert (row.num_executions, row.state) == (1, "done")
    assert "mitigation" not in lab.result(row.id).metadata


def test_a_process_ends_though_mitigation_is_at_work(monkeypatch):
    monkeypatch.setattr(settlement, "_STOP_WITHIN_S", 0.05)
    begun, go_on, packaged = threading.Event(), threading.Event(), []

    def busy(_, outcome):
        packaged.append(outcome)
        begun.set()
        assert go_on.wait(60)
        return []  # packaged: it is not done again where it is settled, if that thread is still there

    monkeypatch.setattr(settlement.Settler, "_package", busy)
    parts = ("database", "scope", "clock", "notices", "metrics", "retry", "finished")
    settler = settlement.Settler(**dict.fromkeys(parts))
    first, second = (SimpleNamespace(error=None, batch=Mitigated(), members=()) for _ in range(2))
    settler.start()
    settler.take(first)
    settler.take(second)
    assert begun.wait(60)
    stopping = threading.Thread(target=settler.stop, daemon=True)
    stopping.start()
    stopping.join(20)
    try:
        assert not stopping.is_alive()
        assert all(thread.daemon for thread in threading.enumerate() if thread.name.startswith("mitigation"))
    finally:
        go_on.set()
    settler._packaging.join(60)
    assert packaged == [first]  # the next holder of the lease has the other one
