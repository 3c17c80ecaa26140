"""What the neighbours do to one circuit of one placement, as channels on its own qubits: nothing of theirs is in it.

A neighbour's qubit acts through ZZ by its excitation alone. Seen from here it is a *ghost*: a classical bit that starts
excited with some probability and jumps with given probabilities at given times::

    ghost   ──p₀──┬─────p₁─────┬──p₂──┤ end      opens_ns = (…, …, …), before the common end, descending
                  ╰ stays/rises ╯
    own u   ─[sx]─●──[ ecr ]───●──[ measure ]    ● a phase η·2πζτ where both are 1

Times are ns before the end of the round, to which all circuits are aligned. Qubits are local ones of the circuit.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

NO_FACTORS: Final[NDArray[np.float64]] = np.ones(0)
"""No conditional errors: every factor is exactly 1."""

_KICK: Final = np.dtype([("qubit", "<i2"), ("at_ns", "<f8"), ("angle_rad", "<f8"), ("flip", "<f8")])


@dataclass(frozen=True, slots=True, eq=False)
class Ghost:
    """One neighbouring qubit.

    Attributes:
        opens_ns: float64, ``(k,)``: when each interval opens, descending; the last one closes at 0.
        start: probability of 1 in the first interval.
        stays: float64, ``(k,)``: P(1 | 1) on entering an interval; entry 0 is 1.
        rises: float64, ``(k,)``: P(1 | 0) on entering an interval; entry 0 is 0.
        echoed: bool, ``(k,)``: whether the neighbour is in an echoed gate, so that η is less than 1.
        couplings: local qubit and ζ in Hz of each coupler to the ghost, scale applied.
        independent: without memory: each window draws a new bit (when there are too many ghosts).
    """

    opens_ns: NDArray[np.float64]
    start: float
    stays: NDArray[np.float64]
    rises: NDArray[np.float64]
    echoed: NDArray[np.bool_]
    couplings: tuple[tuple[int, float], ...]
    independent: bool = False

    def excited(self) -> NDArray[np.float64]:
        """Probability of 1 in each interval, ``(k,)``."""
        chance = np.empty(len(self.opens_ns))
        now = self.start
        for interval, (stays, rises) in enumerate(zip(self.stays.tolist(), self.rises.tolist(), strict=True)):
            if interval:
                now = now * stays + (1.0 - now) * rises
            chance[interval] = now
        return chance


@dataclass(frozen=True, slots=True)
class Kick:
    """C3 on one own qubit: what a neighbour's pulse leaves, applied when that pulse begins.

    Attributes:
        qubit: local.
        at_ns: before the end.
        angle_rad: of a Z rotation.
        flip: probability of a bit flip.
    """

    qubit: int
    at_ns: float
    angle_rad: float
    flip: float


@dataclass(frozen=True, slots=True, eq=False)
class Context:
    """Everything the rest of the chip does to a circuit.

    Attributes:
        factors: C1: float64, ``(num_two_qubit_gates,)`` in the order of
            :func:`qpu_backend.physics.timing.two_qubit_gates`, or empty for "none".
        ghosts: C2.
        kicks: C3, by time: ``at_ns`` descending.
        readout: C4: float64, ``(n, 2)``: added to P(1|0) and P(0|1) of each local qubit, or ``(0, 2)`` for "nothing".
        start: C5: float64, ``(n,)``: probability that a local qubit starts a shot in 1, or empty for "never".
    """

    factors: NDArray[np.float64] = field(default_factory=lambda: NO_FACTORS)
    ghosts: tuple[Ghost, ...] = ()
    kicks: tuple[Kick, ...] = ()
    readout: NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 2)))
    start: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))

    @property
    def num_exact_ghosts(self) -> int:
        """Ghosts that keep their memory: what an exact simulation pays for."""
        return sum(not ghost.independent for ghost in self.ghosts)

    @property
    def num_demoted(self) -> int:
        """Ghosts without memory: an approximation, counted in the job's metadata."""
        return len(self.ghosts) - self.num_exact_ghosts

    @property
    def is_nothing(self) -> bool:
        """Whether the circuit runs as if alone."""
        return not (self.factors.size or self.ghosts or self.kicks or self.readout.any() or self.start.any())

    def extra_readout(self, qubit: int) -> tuple[float, float]:
        """What is added to P(1|0) and P(0|1) of a local qubit."""
        return (float(self.readout[qubit, 0]), float(self.readout[qubit, 1])) if len(self.readout) else (0.0, 0.0)

    def to_document(self) -> dict[str, Any]:
        """A plain, canonical structure of numbers and arrays; equal contexts give equal structures."""
        return {
            "factors": self.factors,
            "ghosts": [
                [
                    g.opens_ns,
                    g.start,
                    g.stays,
                    g.rises,
                    g.echoed.astype("u1"),
                    list(map(list, g.couplings)),
                    g.independent,
                ]
                for g in self.ghosts
            ],
            "kicks": np.array([(k.qubit, k.at_ns, k.angle_rad, k.flip) for k in self.kicks], dtype=_KICK),
            "readout": self.readout,
            "start": self.start,
        }

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Context:
        """Inverse of :meth:`to_document`."""
        return cls(
            factors=document["factors"],
            ghosts=tuple(
                Ghost(
                    opens_ns=opens_ns,
                    start=start,
                    stays=stays,
                    rises=rises,
                    echoed=echoed.astype(bool),
                    couplings=tuple((int(q), float(zz_hz)) for q, zz_hz in couplings),
                    independent=independent,
                )
                for opens_ns, start, stays, rises, echoed, couplings, independent in document["ghosts"]
            ),
            kicks=tuple(Kick(*row) for row in document["kicks"].tolist()),
            readout=document["readout"],
            start=document["start"],
        )


NO_CONTEXT: Final = Context()
"""Nobody else is on the chip."""


@dataclass(frozen=True, slots=True, eq=False)
class Occupation:
    """How excited one qubit of a circuit is, over time, when the circuit runs alone.

    Attributes:
        opens_ns: float64, ``(k,)``, before the end, descending: the qubit's own operations cut its time into intervals.
        excited: float64, ``(k,)``: p_k = ⟨n⟩ in the interval.
        both: float64, ``(k − 1,)``: C_k = P(n_k = 1 and n_{k+1} = 1), within the Fréchet bounds.
    """

    opens_ns: NDArray[np.float64]
    excited: NDArray[np.float64]
    both: NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Profile:
    """A circuit as its neighbours feel it, averaged over some of its bindings.

    Attributes:
        occupations: of the local qubits that were asked for.
        final: float64, ``(n,)``: ⟨n⟩ of every local qubit at its end.
    """

    occupations: Mapping[int, Occupation]
    final: NDArray[np.float64]

    def to_document(self) -> dict[str, Any]:
        """A plain structure of numbers and arrays."""
        return {
            "occupations": [[q, o.opens_ns, o.excited, o.both] for q, o in sorted(self.occupations.items())],
            "final": self.final,
        }

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Profile:
        """Inverse of :meth:`to_document`."""
        return cls({q: Occupation(*rest) for q, *rest in document["occupations"]}, document["final"])
