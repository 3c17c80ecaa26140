"""From shots of treated executions to answers: flips undone, randomisations joined, readout inverted, extrapolated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from qpu_backend.domain.assignment import Inverse, ReadoutErrors
from qpu_backend.domain.extrapolation import EXPONENTIAL, extrapolate
from qpu_backend.domain.observables import all_weighted_parities, weighted_parities
from qpu_backend.domain.treatments import MAX_MITIGATED_BITS, bits_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from qpu_backend.domain.mitigation import Treatment
    from qpu_backend.domain.observables import EstimationPlan
    from qpu_backend.domain.programs import Execution, Program

    Bits = NDArray[np.uint8]
    Floats = NDArray[np.float64]

SPREAD_OF: Final = 8
"""Randomisations from which on their spread is taken to be known; it is in the standard error then."""


@dataclass(frozen=True, slots=True, eq=False)
class Estimates:
    """Values of one pub, in the order of its pairs.

    Attributes:
        evs, stds: float64, ``(num_pairs,)``.
        overheads: what inverting readout multiplies a variance with at most, ``(num_pairs,)``; ``None`` where it is not
            inverted.
        evs_noise_factors, stds_noise_factors: ``(num_pairs, num_factors)``; ``None`` without extrapolation.
        extrapolators: the curve of each value; empty without.
    """

    evs: Floats
    stds: Floats
    overheads: Floats | None = None
    evs_noise_factors: Floats | None = None
    stds_noise_factors: Floats | None = None
    extrapolators: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Quasi:
    """Quasi-probabilities of observed strings of one binding.

    Attributes:
        strings: uint8, ``(m, num_bytes)``, bits as in a result.
        values: float64, ``(m,)``.
        overhead: ``‖A⁻¹‖₁²``.
    """

    strings: Bits
    values: Floats
    overhead: float


def unflipped(program: Program, treatment: Treatment, shots: Sequence[Bits]) -> list[Bits]:
    """The shots of each execution with its flips undone."""
    return [
        bits ^ treatment.flips[execution.circuit, : bits.shape[1]]
        for execution, bits in zip(program.executions, shots, strict=True)
    ]


class Readout:
    """The errors of readout that a job is mitigated with."""

    def __init__(
        self,
        program: Program,
        treatment: Treatment,
        shots: Sequence[Bits],
        published: Mapping[int, tuple[float, float]],
    ) -> None:
        """Count what the executions for it have measured.

        Args:
            program: of the job.
            treatment: its own.
            shots: of each execution, with flips undone: a 1 of a prepared circuit is an error.
            published: P(1|0) and P(0|1) by backend qubit, where these are used.
        """
        self._program = program
        self._treatment = treatment
        self._of: list[dict[int, tuple[NDArray[np.float64], NDArray[np.float64]]]] = []
        nothing = np.zeros(2)
        self._published = {qubit: (np.array(errors), nothing) for qubit, errors in published.items()}
        for number, qubits in enumerate(treatment.sets):
            wrong, total = np.zeros((len(qubits), 2)), np.zeros((len(qubits), 2))
            for index, execution in enumerate(program.executions):
                if treatment.factor_of[index] < 0 and execution.basis == number:
                    prepared = _columns(treatment.flips[execution.circuit][None], range(len(qubits)))[0]
                    read = _columns(shots[index], range(len(qubits)))
                    wrong[np.arange(len(qubits)), prepared] += read.sum(axis=0)
                    total[np.arange(len(qubits)), prepared] += len(read)
            errors = wrong / np.maximum(total, 1)
            variances = (wrong + 1) * (total - wrong + 1) / ((total + 2) ** 2 * (total + 3))  # of a Beta: never 0
            self._of.append({qubit: (errors[k], variances[k]) for k, qubit in enumerate(qubits)})

    def table(self) -> list[list[int | float]]:
        """``[qubit, P(1|0), P(0|1)]`` of every qubit; of one in several sets for each of them."""
        return [
            [qubit, float(errors[0]), float(errors[1])]
            for known in self._of or [self._published]
            for qubit, (errors, _) in sorted(known.items())
        ]

    def inverse(self, circuit: int, qubits: Sequence[int], outcomes: Bits) -> Inverse:
        """For bits that a circuit reads from these backend qubits."""
        place = int(self._treatment.set_of[circuit])
        known = [self._published] if place < 0 else self._of[place:]
        rows = [next(of_set[qubit] for of_set in known if qubit in of_set) for qubit in qubits]
        errors = np.array([errors for errors, _ in rows]).reshape(-1, 2)
        variances = np.array([variances for _, variances in rows]).reshape(-1, 2)
        symmetric = self._treatment.mitigation.twirls_readout
        return Inverse(outcomes, ReadoutErrors(errors, variances, symmetric))


def estimates(
    program: Program, treatment: Treatment, shots: Sequence[Bits], readout: Readout | None
) -> list[Estimates]:
    """What a treated estimator answers.

    Args:
        program: of the job.
        treatment: its own.
        shots: of each execution, with flips undone.
        readout: its errors, where they are inverted.
    """
    groups: dict[tuple[int, int], dict[tuple[int, int], list[int]]] = {}
    for index, execution in enumerate(program.executions):
        of_level = groups.setdefault((execution.pub, int(treatment.factor_of[index])), {})
        of_level.setdefault((execution.binding, execution.basis), []).append(index)
    answers: list[Estimates] = []
    for pub, plan in enumerate(program.plans):
        at = [
            _estimated(program, plan, groups[pub, factor], shots, readout)
            for factor in range(len(treatment.mitigation.factors))
        ]
        answers.append(at[0] if len(at) == 1 else _extrapolated(plan, treatment, at))
    return answers


def quasi(program: Program, readout: Readout, execution: Execution, bits: Bits) -> Quasi:
    """Quasi-probabilities of what a sampler's execution measured, flips undone and randomisations joined."""
    read = bits_of(program.circuits[execution.circuit])
    strings, counts = np.unique(bits, axis=0, return_counts=True)
    outcomes = _columns(strings, [clbit for clbit, _ in read])
    inverse = readout.inverse(execution.circuit, [qubit for _, qubit in read], outcomes)
    return Quasi(strings, inverse.quasi(counts / counts.sum()), inverse.overhead())


class _Sample:
    """What one binding measured in one basis at one level of noise: distinct outcomes, and how often each came."""

    def __init__(
        self, plan: EstimationPlan, basis: int, pieces: list[Bits], execution: Execution, readout: Readout | None
    ) -> None:
        self.plan = plan
        qubits = plan.bases[basis].qubits
        measured = [_columns(bits, range(plan.first_clbit, plan.first_clbit + len(qubits))) for bits in pieces]
        packed = np.packbits(np.concatenate(measured), axis=1)
        distinct, index = np.unique(packed, axis=0, return_inverse=True)
        self.outcomes = np.unpackbits(distinct, axis=1, count=len(qubits))
        stops = np.cumsum([len(piece) for piece in measured])[:-1]
        self.counts = np.stack(
            [np.bincount(part, minlength=len(distinct)) for part in np.split(index.reshape(-1), stops)]
        )
        self.inverse = None if readout is None else readout.inverse(execution.circuit, qubits, self.outcomes)
        self.overhead = 1.0 if self.inverse is None else self.inverse.overhead()
        total = self.counts.sum(axis=0)
        self.slopes = None if self.inverse is None else self.inverse.slopes(total / total.sum())

    def mean(self, terms: slice) -> tuple[float, float]:
        """Of a weighted sum of terms, and the variance of that mean."""
        plan = self.plan
        weight = plan.term_weight[terms]
        values = self._values(plan.term_mask[terms], weight)
        total = self.counts.sum(axis=0)
        shots = int(total.sum())
        counted = values if self.inverse is None else self.inverse.pulled_back(values)
        mean = float(total @ counted) / shots
        if shots == 1:
            return mean, self.overhead * float(np.abs(weight).sum()) ** 2
        variance = float(total @ (counted - mean) ** 2) / (shots - 1) / shots
        variance = max(variance, self._spread(counted, mean))
        if self.inverse is not None and self.slopes is not None:
            variance += float(self.inverse.variance_of_errors(self.slopes, values, counted).sum())
        return mean, variance

    def _values(self, mask: NDArray[np.uint8], weight: Floats) -> Floats:
        """Of each distinct outcome: of few bits with many terms by way of all outcomes."""
        m, n = self.outcomes.shape
        if n > MAX_MITIGATED_BITS or len(weight) * m <= n << n:
            return weighted_parities(self.outcomes.astype(np.float32), mask, weight)
        return all_weighted_parities(n, mask, weight)[self.outcomes.astype(np.int64) @ (1 << np.arange(n))]

    def _spread(self, counted: Floats, mean: float) -> float:
        """Variance of the mean by the means of the randomisations, which also differ by what they do to errors."""
        number = len(self.counts)
        if number < SPREAD_OF:
            return 0.0
        shots = self.counts.sum(axis=1)
        means = self.counts @ counted / shots
        share = shots / shots.sum()
        return float(share**2 @ (means - mean) ** 2) * number / (number - 1)


def _estimated(
    program: Program,
    plan: EstimationPlan,
    runs: Mapping[tuple[int, int], Sequence[int]],
    shots: Sequence[Bits],
    readout: Readout | None,
) -> Estimates:
    """Of one level of noise, whose executions are known by binding and basis; one sample is there at a time."""
    distinct = {pair: index for index, pair in enumerate(dict.fromkeys(plan.pairs))}
    evs = np.array([plan.constants[observable] for _, observable in distinct], dtype=np.float64)
    variances, overheads = np.zeros(len(distinct)), np.ones(len(distinct))
    for (binding, basis), means in sorted(plan.means().items()):
        run = runs[binding, basis]
        measured = _Sample(plan, basis, [shots[k] for k in run], program.executions[run[0]], readout)
        for observable, terms in means:
            mean, variance = measured.mean(terms)
            index = distinct[binding, observable]
            evs[index] += mean
            variances[index] += variance
            overheads[index] = max(overheads[index], measured.overhead)
    asked = [distinct[pair] for pair in plan.pairs]
    return Estimates(evs[asked], np.sqrt(variances[asked]), overheads[asked] if readout is not None else None)


def _extrapolated(plan: EstimationPlan, treatment: Treatment, at: Sequence[Estimates]) -> Estimates:
    zne = treatment.mitigation.extrapolation
    if zne is None:
        raise ValueError("several noise factors without an extrapolation")
    evs, stds = np.array([one.evs for one in at]), np.array([one.stds for one in at])
    constants = np.array([plan.constants[observable] for _, observable in plan.pairs])
    shift = constants if zne.extrapolator == EXPONENTIAL else np.zeros_like(constants)  # an identity does not decay
    found = extrapolate(zne.factors, evs - shift, stds, zne.extrapolator)
    overheads = [one.overheads for one in at if one.overheads is not None]
    return Estimates(
        evs=found.values + shift,
        stds=found.stds,
        overheads=np.max(overheads, axis=0) if overheads else None,
        evs_noise_factors=evs.T,
        stds_noise_factors=stds.T,
        extrapolators=found.curves,
    )


def _columns(bits: Bits, clbits: Sequence[int]) -> Bits:
    """Some classical bits of each shot, ``(shots, len(clbits))``."""
    return np.unpackbits(bits, axis=1, bitorder="little")[:, list(clbits)]
