"""What running near each other is predicted to cost two jobs, cheap enough to rank regions by.

An estimate of the same mechanisms that :mod:`qpu_backend.physics.fidelity` adds up exactly once a batch is chosen:

* **ZZ** on each coupler between two regions: a busy neighbour is there half of the time, and a phase builds up over one
  window after the other, ``½ sin²(πζτ)`` each, on either side.
* **Readout** of qubits of one multiplexing group: ``a + ½b`` for each pair, on either side.

Which pairs of gates disturb each other (C1) is not published, and so not known here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from qpu_backend.physics.circuit import TWO_QUBIT_GATES, Op

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from qpu_backend.physics.device import Crosstalk
    from qpu_backend.physics.snapshot import Snapshot

_WINDOW_NS: Final = 100.0
"""Least time between operations that turn a phase round."""


@dataclass(frozen=True, slots=True, eq=False)
class Proximity:
    """Predicted −ln F of living next to each other.

    Attributes:
        zz_per_ns: float64, ``(N, N)``: per ns for which the circuits of both qubits run, on each coupler.
        readout: for each pair of qubits of one group that are read, one of either job.
        group: consecutive qubits in a multiplexing group; 0 for none.
        readout_ns: the part of a circuit's duration in which it is only read.
    """

    zz_per_ns: NDArray[np.float64]
    readout: float
    group: int
    readout_ns: float

    @classmethod
    def of(cls, snapshot: Snapshot, crosstalk: Crosstalk) -> Proximity:
        """From published numbers: ζ, durations, and the crosstalk that the device declares."""
        n = snapshot.num_qubits
        zz_per_ns = np.zeros((n, n))
        entangling = [gate.duration_ns for (op, _), gate in snapshot.gates.items() if op in TWO_QUBIT_GATES]
        pulses = [gate.duration_ns for (op, _), gate in snapshot.gates.items() if op is Op.SX]
        window_ns = max(_WINDOW_NS, float(np.median(entangling)) + 2.0 * float(np.median(pulses)))
        if crosstalk.zz.enabled:
            for (a, b), zz_hz in snapshot.zz_hz.items():
                angle = math.pi * crosstalk.zz.scale * zz_hz * crosstalk.zz.echo * window_ns * 1e-9
                zz_per_ns[a, b] = zz_per_ns[b, a] = 0.5 * math.sin(min(abs(angle), 0.5 * math.pi)) ** 2 / window_ns
        readout = crosstalk.readout
        durations = [properties.readout_duration_ns for properties in snapshot.qubits if properties is not None]
        return cls(
            zz_per_ns=zz_per_ns,
            readout=readout.scale * (readout.offset + 0.5 * readout.slope) if readout.enabled else 0.0,
            group=readout.group,
            readout_ns=float(np.median(durations)),
        )


class Neighbours:
    """Who is where while a batch is put together, and what that costs whom."""

    def __init__(self, proximity: Proximity) -> None:
        """Nobody is there."""
        self._rates = proximity
        n = len(proximity.zz_per_ns)
        self._running_ns = np.zeros(n)
        self._read = np.zeros(n // max(1, proximity.group) + 1)
        self._owner = np.full(n, -1)
        self._reader = np.full(n, -1)
        self._spare: list[float] = []
        self._success: list[float] = []

    def felt(self, regions: NDArray[np.int16], measured: Sequence[int], duration_ns: float) -> NDArray[np.float64]:
        """−ln F that those who are there add to a job in each of some regions; they lose as much to it.

        Args:
            regions: int16, ``(k, n)``.
            measured: positions that are read.
            duration_ns: of the job's longest circuit.

        Returns:
            float64, ``(k,)``.
        """
        if not self._spare:
            return np.zeros(len(regions))
        active_ns = max(0.0, duration_ns - self._rates.readout_ns)
        beside = np.einsum("uv,v->u", self._rates.zz_per_ns, np.minimum(active_ns, self._running_ns))
        if not self._rates.readout:
            return beside[regions].sum(axis=1)
        read = beside + self._rates.readout * np.repeat(self._read, self._rates.group)[: len(beside)]
        unread = [position for position in range(regions.shape[1]) if position not in measured]
        lost = read[regions[:, list(measured)] if unread else regions].sum(axis=1)
        return lost + beside[regions[:, unread]].sum(axis=1) if unread else lost

    def bears(self, region: Sequence[int], measured: Sequence[int], duration_ns: float) -> bool:
        """Whether nobody who is there would lose more than it accepts if a job came to a region."""
        harm = self._harm(region, measured, duration_ns)
        return all(self._success[owner] * -math.expm1(-lost) <= self._spare[owner] for owner, lost in harm.items())

    def settle(
        self, region: Sequence[int], measured: Sequence[int], duration_ns: float, spare: float, success: float
    ) -> None:
        """A job is there now.

        Args:
            region: its qubits.
            measured: positions that are read.
            duration_ns: of its longest circuit.
            spare: success probability that it may still lose to those who come later.
            success: predicted for it as things are.
        """
        for owner, lost in self._harm(region, measured, duration_ns).items():
            self._spare[owner] += self._success[owner] * math.expm1(-lost)
            self._success[owner] *= math.exp(-lost)
        number = len(self._spare)
        self._spare.append(spare)
        self._success.append(success)
        for qubit in region:
            self._owner[qubit] = number
            self._running_ns[qubit] = max(0.0, duration_ns - self._rates.readout_ns)
        if self._rates.group:
            for position in measured:
                self._reader[region[position]] = number
                self._read[region[position] // self._rates.group] += 1

    def _harm(self, region: Sequence[int], measured: Sequence[int], duration_ns: float) -> dict[int, float]:
        if not self._spare:
            return {}
        active_ns = max(0.0, duration_ns - self._rates.readout_ns)
        own = list(region)
        beside = np.minimum(active_ns, self._running_ns) * self._rates.zz_per_ns[own].sum(axis=0)
        harm: dict[int, float] = {}
        for qubit in np.flatnonzero(beside).tolist():
            owner = int(self._owner[qubit])
            harm[owner] = harm.get(owner, 0.0) + float(beside[qubit])
        if self._rates.readout:
            read = np.bincount([own[p] // self._rates.group for p in measured], minlength=len(self._read))
            for qubit in np.flatnonzero(self._reader >= 0).tolist():
                pairs = int(read[qubit // self._rates.group])
                if pairs:
                    owner = int(self._reader[qubit])
                    harm[owner] = harm.get(owner, 0.0) + self._rates.readout * pairs
        return harm
