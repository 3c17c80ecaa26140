"""How expectation values are measured: grouping of Pauli terms into bases, and estimates with their errors from shots.

Terms that agree qubit by qubit are measured together in one basis (qubit-wise commutation). What is measured together
is correlated, so the error of an observable comes from the spread of its whole weighted sum over the shots of a basis;
different bases are independent and their variances add.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from qpu_backend.domain.errors import InvalidRequest, TooLarge

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from numpy.typing import NDArray

_LETTERS: Final = "IXYZ"
_CHUNK: Final = 1 << 22
"""Outcomes × terms handled at once."""


@dataclass(frozen=True, slots=True)
class PauliTerm:
    """``coefficient · P_{i} ⊗ P_{j} …``; ``paulis[k]`` (X, Y or Z) acts on the backend's qubit ``qubits[k]``."""

    paulis: str
    qubits: tuple[int, ...]
    coefficient: float


Observable = tuple[PauliTerm, ...]
"""A Hermitian sum of Pauli terms."""


@dataclass(frozen=True, slots=True)
class MeasurementBasis:
    """Which Pauli each measured qubit is measured in: ``paulis[k]`` on the backend's qubit ``qubits[k]``, ascending."""

    paulis: str
    qubits: tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class EstimationPlan:
    """How the expectation values of one pub follow from its shots.

    Attributes:
        pairs: ``(binding, observable)`` of each value asked for.
        precision: target standard error the shots were chosen for.
        shots: per binding and basis.
        first_clbit: qubit ``k`` of a basis is read into classical bit ``first_clbit + k`` of its circuit variant.
        constants: float64 ``(num_observables,)``: the identity's share of each.
        bases: what is measured.
        term_observable, term_basis: int32 ``(num_terms,)``, sorted by observable, then basis.
        term_weight: float64 ``(num_terms,)``.
        term_mask: uint8 ``(num_terms, n)``: bit ``k`` (of byte ``k // 8``): qubit ``k`` of the basis takes part.
    """

    pairs: tuple[tuple[int, int], ...]
    precision: float
    shots: int
    first_clbit: int
    constants: NDArray[np.float64]
    bases: tuple[MeasurementBasis, ...]
    term_observable: NDArray[np.int32]
    term_basis: NDArray[np.int32]
    term_weight: NDArray[np.float64]
    term_mask: NDArray[np.uint8]

    def bases_of(self, binding: int) -> tuple[int, ...]:
        """Bases that a binding must be run in: those its observables have terms in, at least one."""
        wanted = {observable for bound, observable in self.pairs if bound == binding}
        return tuple(sorted({basis for observable in wanted for basis, _ in self.terms_of(observable)})) or (0,)

    def terms_of(self, observable: int) -> Iterator[tuple[int, slice]]:
        """``(basis, terms)`` of one observable, by basis."""
        start, stop = np.searchsorted(self.term_observable, [observable, observable + 1]).tolist()
        while start < stop:
            basis = int(self.term_basis[start])
            end = start + int(np.searchsorted(self.term_basis[start:stop], basis + 1))
            yield basis, slice(start, end)
            start = end

    def means(self) -> dict[tuple[int, int], list[tuple[int, slice]]]:
        """``(observable, terms)`` of each mean that is taken of what a binding measures in a basis, each once."""
        terms_of = {observable: list(self.terms_of(observable)) for observable in {pair[1] for pair in self.pairs}}
        taken: dict[tuple[int, int], list[tuple[int, slice]]] = {}
        for binding, observable in dict.fromkeys(self.pairs):
            for basis, terms in terms_of[observable]:
                taken.setdefault((binding, basis), []).append((observable, terms))
        return taken

    def to_document(self) -> dict[str, Any]:
        """A plain structure of numbers, strings, lists and arrays."""
        return {
            "pairs": np.array(self.pairs, dtype=np.int32).reshape(-1, 2),
            "precision": self.precision,
            "shots": self.shots,
            "first_clbit": self.first_clbit,
            "constants": self.constants,
            "bases": [[basis.paulis, list(basis.qubits)] for basis in self.bases],
            "term_observable": self.term_observable,
            "term_basis": self.term_basis,
            "term_weight": self.term_weight,
            "term_mask": self.term_mask,
        }

    @classmethod
    def from_document(cls, document: dict[str, Any]) -> EstimationPlan:
        """Inverse of :meth:`to_document`."""
        pairs = tuple((binding, observable) for binding, observable in document["pairs"].tolist())
        bases = tuple(MeasurementBasis(paulis, tuple(qubits)) for paulis, qubits in document["bases"])
        fields: dict[str, Any] = {**document, "pairs": pairs, "bases": bases}
        return cls(**fields)


def plan_estimation(
    observables: Sequence[Observable],
    pairs: Sequence[tuple[int, int]],
    *,
    num_bindings: int,
    usable_qubits: AbstractSet[int],
    fallback_qubit: int,
    first_clbit: int,
    shots: int,
    precision: float,
    max_bases: int,
    field: str,
) -> EstimationPlan:
    """Group the terms of the observables that are asked for.

    Args:
        observables: of the pub.
        pairs: ``(binding, observable)``.
        num_bindings: of the pub.
        usable_qubits: backend qubits that an observable may name.
        fallback_qubit: what is measured when nothing needs to be: every pub runs at least once.
        first_clbit: classical bits that the circuit has already.
        shots: per binding and basis.
        precision: target standard error.
        max_bases: more are refused.
        field: the pub, for messages.

    Raises:
        InvalidRequest: an observable or a pair makes no sense.
        TooLarge: more bases than ``max_bases``.
    """
    _check_pairs(pairs, num_bindings, len(observables), field)
    asked = {observable for _, observable in pairs}
    constants = np.zeros(len(observables))
    weights: dict[tuple[int, PauliString], float] = {}
    for number in sorted(asked):
        for position, term in enumerate(observables[number]):
            string = _checked(term, usable_qubits, f"{field}.observables.{number}.terms.{position}")
            if string:
                weights[number, string] = weights.get((number, string), 0.0) + term.coefficient
            else:
                constants[number] += term.coefficient
    strings = list(dict.fromkeys(string for _, string in weights))
    bases, basis_of = group(strings, max_bases=max_bases, field=field)
    places = [{qubit: place for place, qubit in enumerate(basis.qubits)} for basis in bases]
    terms = sorted((number, basis_of[string], string) for number, string in weights)
    mask = np.zeros((len(terms), -(-max((len(basis.qubits) for basis in bases), default=0) // 8)), dtype=np.uint8)
    for row, (_, basis, string) in enumerate(terms):
        for qubit, _ in string:
            place = places[basis][qubit]
            mask[row, place // 8] |= 1 << place % 8
    return EstimationPlan(
        pairs=tuple(pairs),
        precision=precision,
        shots=shots,
        first_clbit=first_clbit,
        constants=constants,
        bases=bases or (MeasurementBasis("Z", (fallback_qubit,)),),
        term_observable=np.array([number for number, _, _ in terms], dtype=np.int32),
        term_basis=np.array([basis for _, basis, _ in terms], dtype=np.int32),
        term_weight=np.array([weights[number, string] for number, _, string in terms], dtype=np.float64),
        term_mask=mask,
    )


PauliString = tuple[tuple[int, str], ...]
"""``(qubit, letter)`` ascending, without identities."""


def group(
    strings: Sequence[PauliString], *, max_bases: int, field: str = "observables"
) -> tuple[tuple[MeasurementBasis, ...], dict[PauliString, int]]:
    """Distribute Pauli strings over bases that agree with them qubit by qubit: first fit, heaviest first.

    Returns:
        The bases, and the basis of each string.

    Raises:
        TooLarge: more than ``max_bases`` are needed.
    """
    qubits = sorted({qubit for string in strings for qubit, _ in string})
    column = {qubit: index for index, qubit in enumerate(qubits)}
    letters = np.zeros((0, len(qubits)), dtype=np.uint8)
    used = 0
    basis_of: dict[PauliString, int] = {}
    for string in sorted(strings, key=len, reverse=True):
        columns = [column[qubit] for qubit, _ in string]
        wanted = np.array([_LETTERS.index(letter) for _, letter in string], dtype=np.uint8)
        present = letters[:used, columns]
        fits = ((present == 0) | (present == wanted)).all(axis=1)
        basis = int(np.argmax(fits)) if fits.any() else used
        if basis == used:
            if used == max_bases:
                raise TooLarge("measurement bases", limit=max_bases, asked=used + 1, field=field)
            if used == len(letters):
                letters = np.concatenate([letters, np.zeros((max(16, used), len(qubits)), dtype=np.uint8)])
            used += 1
        letters[basis, columns] = wanted
        basis_of[string] = basis
    bases: list[MeasurementBasis] = []
    for row in letters[:used]:
        places = np.flatnonzero(row).tolist()
        bases.append(MeasurementBasis("".join(_LETTERS[row[k]] for k in places), tuple(qubits[k] for k in places)))
    return tuple(bases), basis_of


def expectations(
    plan: EstimationPlan, bits: Mapping[tuple[int, int], NDArray[np.uint8]]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Shots → estimates.

    Args:
        plan: of the pub.
        bits: per ``(binding, basis)``, uint8 ``(shots, nbytes)`` as in :class:`qpu_sdk.wire.results.ShotsOfPub`.

    Returns:
        ``(evs, stds)``, float64 ``(num_pairs,)`` each, in the order of ``plan.pairs``. ``stds`` are standard errors
        from the sample variance; a single shot has none, and its largest possible deviation Σ|weight| is reported.
    """
    evs = np.zeros(len(plan.pairs))
    variances = np.zeros(len(plan.pairs))
    by_binding: dict[int, list[int]] = {}
    for index, (binding, _) in enumerate(plan.pairs):
        by_binding.setdefault(binding, []).append(index)
    for binding, indices in by_binding.items():
        outcomes: dict[int, tuple[NDArray[np.float32], NDArray[np.int64]]] = {}
        for index in indices:
            observable = plan.pairs[index][1]
            evs[index] = plan.constants[observable]
            for basis, terms in plan.terms_of(observable):
                if basis not in outcomes:
                    outcomes[basis] = _outcomes(bits[binding, basis], plan.first_clbit, len(plan.bases[basis].qubits))
                mean, variance = _weighted_parity(*outcomes[basis], plan.term_mask[terms], plan.term_weight[terms])
                evs[index] += mean
                variances[index] += variance
    return evs, np.sqrt(variances)


def _outcomes(bits: NDArray[np.uint8], first: int, count: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Distinct outcomes of the measured qubits ``(num_outcomes, count)`` and how often each came."""
    measured = np.unpackbits(bits, axis=1, bitorder="little")[:, first : first + count]
    packed, counts = np.unique(np.packbits(measured, axis=1), axis=0, return_counts=True)
    return np.unpackbits(packed, axis=1, count=count).astype(np.float32), counts.astype(np.int64)


def weighted_parities(
    outcomes: NDArray[np.float32], mask: NDArray[np.uint8], weight: NDArray[np.float64]
) -> NDArray[np.float64]:
    """``Σ weight·(−1)^parity`` of each outcome.

    Args:
        outcomes: of the measured qubits, ``(num_outcomes, count)``.
        mask: of the terms, as in :class:`EstimationPlan`.
        weight: of the terms.
    """
    value = np.zeros(len(outcomes))
    step = max(1, _CHUNK // len(outcomes))
    for start in range(0, len(weight), step):
        members = np.unpackbits(mask[start : start + step], axis=1, bitorder="little", count=outcomes.shape[1])
        parity = (outcomes @ members.T.astype(np.float32)) % 2
        value += (1.0 - 2.0 * parity) @ weight[start : start + step]
    return value


def all_weighted_parities(count: int, mask: NDArray[np.uint8], weight: NDArray[np.float64]) -> NDArray[np.float64]:
    """The same of each of the 2ⁿ outcomes of ``count`` qubits, the first least significant: n steps for all terms."""
    members = np.unpackbits(mask, axis=1, bitorder="little", count=count).astype(np.int64)
    value = np.zeros(1 << count)
    np.add.at(value, members @ (1 << np.arange(count)), weight)
    for qubit in range(count):
        cube = value.reshape(-1, 2, 1 << qubit)
        value = np.stack([cube[:, 0] + cube[:, 1], cube[:, 0] - cube[:, 1]], axis=1).reshape(-1)
    return value


def _weighted_parity(
    outcomes: NDArray[np.float32], counts: NDArray[np.int64], mask: NDArray[np.uint8], weight: NDArray[np.float64]
) -> tuple[float, float]:
    """Mean of ``Σ weight·(−1)^parity`` over the shots, and the variance of that mean."""
    value = weighted_parities(outcomes, mask, weight)
    shots = int(counts.sum())
    mean = float(counts @ value) / shots
    if shots == 1:
        return mean, float(np.abs(weight).sum()) ** 2
    return mean, float(counts @ (value - mean) ** 2) / (shots - 1) / shots


def _check_pairs(pairs: Sequence[tuple[int, int]], num_bindings: int, num_observables: int, field: str) -> None:
    if not pairs:
        raise InvalidRequest("an estimator pub asks for no expectation value", field=f"{field}.pairs")
    for binding, observable in pairs:
        if not (0 <= binding < num_bindings and 0 <= observable < num_observables):
            raise InvalidRequest(
                f"the pair ({binding}, {observable}) is outside the {num_bindings} bindings and "
                f"{num_observables} observables of its pub",
                field=f"{field}.pairs",
            )


def _checked(term: PauliTerm, usable_qubits: AbstractSet[int], field: str) -> PauliString:
    if len(term.paulis) != len(term.qubits) or len(set(term.qubits)) != len(term.qubits):
        message = (
            f"a Pauli term needs one letter for each qubit, each once; got {term.paulis[:40]!r} on {term.qubits[:40]}"
        )
        raise InvalidRequest(message, field=field)
    if set(term.paulis) - set(_LETTERS[1:]):
        raise InvalidRequest(f"Pauli letters are X, Y and Z; got {term.paulis[:40]!r}", field=field)
    if not math.isfinite(term.coefficient):
        raise InvalidRequest(f"the coefficient of {term.paulis[:40]!r} is {term.coefficient}", field=field)
    for qubit in term.qubits:
        if qubit not in usable_qubits:
            raise InvalidRequest(f"an observable acts on qubit {qubit}, which the backend does not have", field=field)
    return tuple(sorted(zip(term.qubits, term.paulis, strict=True)))
