"""How the service measures observables: Pauli terms in as few bases as first fit finds, heaviest first.

The same rule as the service's, so that the client can count what an estimate will take before it asks for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from qpu_sdk.wire.models import Observable

PauliString = tuple[tuple[int, str], ...]
"""``(qubit, letter)`` ascending, without identities."""


def strings_of(observable: Observable) -> dict[PauliString, float]:
    """The terms that have to be measured, with their coefficients; the constant is none of them."""
    weights: dict[PauliString, float] = {}
    for term in observable.terms:
        string = tuple(sorted(zip(term.qubits, term.paulis, strict=True)))
        if string:
            weights[string] = weights.get(string, 0.0) + term.coefficient
    return weights


def grouped(strings: Iterable[PauliString]) -> list[list[PauliString]]:
    """Terms that are measured together: they agree qubit by qubit.

    Returns:
        For each basis, its terms.
    """
    bases: list[dict[int, str]] = []
    members: list[list[PauliString]] = []
    for string in sorted(dict.fromkeys(strings), key=len, reverse=True):
        for letters, group in zip(bases, members, strict=True):
            if all(letters.get(qubit, letter) == letter for qubit, letter in string):
                letters.update(string)
                group.append(string)
                break
        else:
            bases.append(dict(string))
            members.append([string])
    return members


def num_bases(observables: Sequence[Observable]) -> int:
    """How many bases measure all of these under one binding; at least one, for the circuit runs even for a constant."""
    return max(1, len(grouped(string for observable in observables for string in strings_of(observable))))
