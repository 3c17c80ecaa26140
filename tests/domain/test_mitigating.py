"""Answers from shots that are known: flips undone, randomisations joined, readout inverted, noise extrapolated."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from spelled import row

from qpu_backend.domain import mitigating
from qpu_backend.domain.assignment import Inverse
from qpu_backend.domain.mitigating import Readout, estimates, quasi, unflipped
from qpu_backend.domain.mitigation import Extrapolation, Mitigation, Twirling
from qpu_backend.domain.mitigation import Readout as AskedReadout
from qpu_backend.domain.observables import PauliTerm, all_weighted_parities, expectations, weighted_parities
from qpu_backend.domain.programs import PubSpec, expand
from qpu_backend.domain.treatments import treat
from qpu_backend.physics.circuit import IsaCircuit, Op, operations

ERRORS = {3: (0.02, 0.08), 5: (0.05, 0.01)}
SILENT = dict.fromkeys(ERRORS, (0.0, 0.0))
TRUTH = np.array([0.5, 0.05, 0.05, 0.4])
"""Of qubit 3, the less significant, and qubit 5."""
ZZ = 0.8
SHOTS = 20_000


def treated(kind: Any = "estimator", pauli: str = "ZZ", **asked: Any) -> Any:
    circuit = IsaCircuit((3, 5), 0, (), operations([row(Op.ECR, 0, 1)]))
    observable = (PauliTerm(pauli, (3, 5)[: len(pauli)], 1.0), PauliTerm("", (), 2.0))
    pub = PubSpec(0, np.empty((1, 0)), SHOTS, observables=(observable,), pairs=((0, 0),))
    if kind == "sampler":
        rows = [row(Op.MEASURE, 0, clbit=0), row(Op.MEASURE, 1, clbit=1)]
        circuit, pub = IsaCircuit((3, 5), 2, (), operations(rows)), PubSpec(0, np.empty((1, 0)), SHOTS)
    limits: dict[str, Any] = {"default_shots": 1, "default_precision": 0.1, "max_shots": 10**6, "max_executions": 999}
    plain = expand(kind, [circuit], [pub], usable_qubits=frozenset(range(8)), **limits)
    return treat(plain, Mitigation(**asked), max_executions=999, max_shots=10**6)


def read(rng: Any, true: Any, errors: Any = ERRORS) -> Any:
    """Bits ``(shots, 2)`` of qubits 3 and 5 as they are read."""
    chances = np.stack([np.where(true[:, k], 1 - errors[q][1], errors[q][0]) for k, q in enumerate(sorted(errors))], 1)
    return rng.random(true.shape) < chances


def measured(program: Any, *, errors: Any = ERRORS, truths: Any = (TRUTH,), seed: int = 1) -> Any:
    """Shots of each execution: the truth of its noise factor, flipped as its circuit does, and read with errors."""
    rng = np.random.default_rng(seed)
    treatment, shots = program.treatment, []
    for index, execution in enumerate(program.executions):
        factor = treatment.factor_of[index]
        drawn = rng.choice(4, execution.shots, p=truths[factor]) if factor >= 0 else np.zeros(execution.shots, int)
        flips = np.unpackbits(treatment.flips[execution.circuit], bitorder="little", count=2)
        true = np.stack([drawn & 1, drawn >> 1], axis=1) ^ flips
        bits = program.circuits[execution.circuit].num_clbits
        shots.append(np.packbits(read(rng, true, errors)[:, :bits], axis=1, bitorder="little"))
    return shots


def answered(program: Any, published: Any = (), **how: Any) -> Any:
    shots = unflipped(program, program.treatment, measured(program, **how))
    asked = program.treatment.mitigation.readout
    readout = None if asked is None else Readout(program, program.treatment, shots, dict(published))
    return estimates(program, program.treatment, shots, readout)[0]


@pytest.mark.parametrize("measure", [False, True])
@pytest.mark.parametrize("source", ["executions", "snapshot"])
def test_errors_of_readout_are_taken_out_and_the_answer_tells_what_is_left(source, measure):
    twirling = Twirling(False, True, 16) if measure else None
    asked: dict[str, Any] = {"readout": AskedReadout(source, SHOTS), "twirling": twirling}
    published = ERRORS if source == "snapshot" else ()
    found = [answered(treated(**asked), published, seed=seed) for seed in range(12)]
    evs, stds = np.array([one.evs[0] for one in found]), np.array([one.stds[0] for one in found])
    plain = answered(treated(twirling=twirling))
    assert plain.evs[0] < 2 + ZZ - 0.1
    assert plain.overheads is None
    assert evs.mean() == pytest.approx(2 + ZZ, abs=0.006)
    assert 0.4 < evs.std() / stds.mean() < 1.8
    assert (stds > plain.stds[0]).all() or measure
    assert all(1.2 < one.overheads[0] < 2 for one in found)


def test_twirled_readout_is_inverted_by_the_mean_of_its_two_errors():
    twirling, readout = Twirling(False, True, 16), AskedReadout("snapshot", 1)
    made = treated(pauli="Z", twirling=twirling, readout=readout)
    evs = [answered(made, ERRORS, seed=seed).evs[0] for seed in range(8)]
    assert np.mean(evs) == pytest.approx(2 + TRUTH[0] + TRUTH[2] - TRUTH[1] - TRUTH[3], abs=0.012)


def test_errors_that_are_measured_are_those_that_there_are():
    program = treated(readout=AskedReadout("executions", 200_000))
    shots = unflipped(program, program.treatment, measured(program))
    table = Readout(program, program.treatment, shots, {}).table()
    assert [qubit for qubit, *_ in table] == [3, 5]
    for qubit, e0, e1 in table:
        assert (e0, e1) == pytest.approx(ERRORS[qubit], abs=0.003)


def test_without_errors_mitigation_changes_nothing():
    plain, careful = treated(), treated(readout=AskedReadout("snapshot", 1))
    bits = measured(plain, errors=SILENT)
    alike = estimates(careful, careful.treatment, bits, Readout(careful, careful.treatment, bits, SILENT))[0]
    evs, stds = expectations(plain.plans[0], {(0, 0): bits[0]})
    assert (alike.evs, alike.stds) == (pytest.approx(evs), pytest.approx(stds))
    assert alike.overheads == pytest.approx([1.0])


def test_joined_randomisations_are_the_same_estimate_as_one():
    made = treated(twirling=Twirling(False, True, 10))
    shots = unflipped(made, made.treatment, measured(made, errors=SILENT))
    joined = estimates(made, made.treatment, shots, None)[0]
    evs, _ = expectations(made.plans[0], {(0, 0): np.concatenate(shots)})
    assert joined.evs == pytest.approx(evs)
    assert joined.evs[0] == pytest.approx(2 + ZZ, abs=0.02)


def test_randomisations_that_disagree_are_in_the_standard_error():
    made = treated(twirling=Twirling(True, False, 16))
    even, odd = (np.full((SHOTS // 16, 1), bits, dtype=np.uint8) for bits in (0b00, 0b01))
    found = estimates(made, made.treatment, [odd if k % 2 else even for k in range(16)], None)[0]
    assert found.evs[0] == pytest.approx(2.0)
    assert found.stds[0] == pytest.approx(1 / np.sqrt(15))
    assert found.stds[0] > 10 / np.sqrt(SHOTS)


def test_levels_of_noise_lead_to_none():
    made = treated(extrapolation=Extrapolation((1, 3, 5), "exponential"))
    decay = [0.95 * np.exp(-0.1 * factor) for factor in (1, 3, 5)]
    truths = [np.array([1 + zz, 1 - zz, 1 - zz, 1 + zz]) / 4 for zz in decay]
    found = answered(made, errors=SILENT, truths=truths)
    assert found.evs_noise_factors[0] == pytest.approx([2 + zz for zz in decay], abs=0.03)
    assert found.evs[0] == pytest.approx(2.95, abs=4 * found.stds[0])
    assert found.stds[0] > found.stds_noise_factors[0, 0]
    assert found.extrapolators == ("exponential",)


def test_a_samplers_quasi_probabilities_are_those_before_readout():
    made = treated("sampler", readout=AskedReadout("executions", 100_000))
    shots = unflipped(made, made.treatment, measured(made))
    readout = Readout(made, made.treatment, shots, {})
    found = quasi(made, readout, made.executions[0], shots[0])
    values = dict(zip(found.strings[:, 0].tolist(), found.values.tolist(), strict=True))
    assert [values[string] for string in range(4)] == pytest.approx(TRUTH, abs=0.015)
    raw = np.bincount(shots[0][:, 0], minlength=4) / SHOTS
    assert np.abs(raw - TRUTH).max() > 0.03


def test_what_observables_of_one_sample_have_in_common_is_found_once(monkeypatch):
    counted = dict.fromkeys(("overhead", "slopes", "pulled_back"), 0)

    def counting(name: str) -> Any:
        real = getattr(Inverse, name)

        def call(self: Any, *args: Any) -> Any:
            counted[name] += 1
            return real(self, *args)

        return call

    for name in counted:
        monkeypatch.setattr(Inverse, name, counting(name))
    circuit = IsaCircuit((3, 5), 0, (), operations([row(Op.ECR, 0, 1)]))
    observables = tuple((PauliTerm("ZZ", (3, 5), 1.0 + k),) for k in range(5))
    pairs = tuple((0, k) for k in range(5))
    pub = PubSpec(0, np.empty((1, 0)), SHOTS, observables=observables, pairs=(*pairs, *reversed(pairs)))
    limits: dict[str, Any] = {"default_shots": 1, "default_precision": 0.1, "max_shots": 10**6, "max_executions": 999}
    plain = expand("estimator", [circuit], [pub], usable_qubits=frozenset(range(8)), **limits)
    asked = Mitigation(readout=AskedReadout("executions", SHOTS))
    found = answered(treat(plain, asked, max_executions=999, max_shots=10**6))
    assert counted == {"overhead": 1, "slopes": 1, "pulled_back": 5}
    assert found.evs == pytest.approx([ZZ * (1 + k) for k in (0, 1, 2, 3, 4, 4, 3, 2, 1, 0)], abs=0.15)
    assert found.stds / found.evs == pytest.approx(np.full(10, found.stds[0] / found.evs[0]))
    assert found.overheads == pytest.approx(np.full(10, found.overheads[0]))


@given(st.integers(1, 9), st.integers(1, 40), st.integers(0, 2**32))
def test_values_of_all_outcomes_are_those_of_each(count, terms, seed):
    rng = np.random.default_rng(seed)
    mask = np.packbits(rng.integers(2, size=(terms, count), dtype=np.uint8), axis=1, bitorder="little")
    weight = rng.normal(size=terms)
    outcomes = (np.arange(2**count)[:, None] >> np.arange(count) & 1).astype(np.float32)
    assert all_weighted_parities(count, mask, weight) == pytest.approx(weighted_parities(outcomes, mask, weight))


def test_many_terms_take_as_many_steps_as_there_are_bits(monkeypatch):
    qubits, rng = tuple(range(6)), np.random.default_rng(3)
    strings = ["".join(one) for one in itertools.product("IZ", repeat=6)][1:]
    terms = tuple(PauliTerm("Z" * s.count("Z"), tuple(q for q in qubits if s[q] == "Z"), rng.normal()) for s in strings)
    pub = PubSpec(0, np.empty((1, 0)), 4000, observables=(terms,), pairs=((0, 0),))
    limits: dict[str, Any] = {"default_shots": 1, "default_precision": 0.1, "max_shots": 10**6, "max_executions": 999}
    circuit = IsaCircuit(qubits, 0, (), operations([row(Op.SX, 0)]))
    plain = expand("estimator", [circuit], [pub], usable_qubits=frozenset(qubits), **limits)
    made: Any = treat(plain, Mitigation(twirling=Twirling(True, False, 2)), max_executions=999, max_shots=10**6)
    shots = [rng.integers(64, size=(2000, 1), dtype=np.uint8) for _ in range(2)]
    evs, stds = expectations(plain.plans[0], {(0, 0): np.concatenate(shots)})
    monkeypatch.setattr(mitigating, "weighted_parities", None)
    found = estimates(made, made.treatment, shots, None)[0]
    assert (found.evs, found.stds) == (pytest.approx(evs), pytest.approx(stds))
