# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownParameterType=false
# (Qiskit ships no types: what comes from it is unknown to the checker.)
"""What a circuit asks of the qubits that it is laid out on: gates, measurements, waiting, and who waits beside whom."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from qpu_sdk.plugins.chip import TAKEN

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from qiskit.dagcircuit import DAGCircuit

    from qpu_sdk.plugins.chip import Chip

_ENTANGLERS: Final = {"cx": 1, "cz": 1, "ecr": 1, "cy": 1, "ch": 1, "swap": 3}
_ENTANGLERS_OF_OTHERS: Final = 2
"""Two-qubit gates of the device that another one takes: two for rotations, at most three."""
_PULSES: Final = {
    "rz": 0,
    "z": 0,
    "s": 0,
    "sdg": 0,
    "t": 0,
    "tdg": 0,
    "p": 0,
    "id": 1,
    "x": 1,
    "sx": 1,
    "sxdg": 1,
    "h": 1,
}
_PULSES_OF_OTHERS: Final = 2
_NO_GATES: Final = frozenset({"barrier", "delay", "measure", "reset"})


@dataclass(frozen=True, slots=True, eq=False)
class Demand:
    """By qubit of the circuit, ``n`` of them.

    Attributes:
        pairs: which are coupled by gates, ``(k, 2)``.
        gates: how many two-qubit gates of the device each of these takes, ``(k,)``.
        pulses: one-qubit gates with a pulse, ``(n,)``.
        measured: measurements, ``(n,)``.
        idle_ns: time waited between its first operation and its last, ``(n,)``.
        windows: for how many times on end two qubits are both awake and not turned, ``(n, n)``, ``a < b``.
        window_ns2: mean square of how long these last, ``(n, n)``.
        awake_ns2: the sum of these squares for a qubit beside one that is awake all the time, ``(n,)``.
    """

    pairs: NDArray[np.intp]
    gates: NDArray[np.float64]
    pulses: NDArray[np.float64]
    measured: NDArray[np.float64]
    idle_ns: NDArray[np.float64]
    windows: NDArray[np.float64]
    window_ns2: NDArray[np.float64]
    awake_ns2: NDArray[np.float64]

    @classmethod
    def of(cls, dag: DAGCircuit, chip: Chip) -> Demand:
        """Of a circuit before it is translated, with the durations that are usual on a chip."""
        counting = _Counting(dag, chip)
        for node in reversed(list(dag.topological_op_nodes())):
            counting.add(node)
        return counting.demand()

    def losses(self, chip: Chip, places: NDArray[np.intp]) -> NDArray[np.float64]:
        """What the circuit is expected to lose at each place.

        Args:
            chip: with these qubits.
            places: physical qubit of each qubit of the circuit, ``(p, n)``.

        Returns:
            float64, ``(p,)``.
        """
        waiting = chip.idle_per_ns[places] @ self.idle_ns
        total = chip.one[places] @ self.pulses + chip.readout[places] @ self.measured + waiting
        for (a, b), count in zip(self.pairs.tolist(), self.gates.tolist(), strict=True):
            here = places[:, a], places[:, b]
            total += count * (chip.edge[here] + chip.beside[here])
        for a, b in np.argwhere(self.windows):
            square = self.window_ns2[a, b] * chip.zz_per_ns2[places[:, a], places[:, b]]
            total -= 0.375 * self.windows[a, b] * np.expm1(-2.0 * square)  # ¾ sin² of a phase: ½ at most, on average
        return total + self._losses_to_neighbours(chip, places)

    def _losses_to_neighbours(self, chip: Chip, places: NDArray[np.intp]) -> NDArray[np.float64]:
        """ZZ on the couplers that lead out of each place, as often as there is somebody."""
        total = np.zeros(len(places))
        awake = np.flatnonzero(self.awake_ns2).tolist()
        for a in awake:
            outside = chip.zz_per_ns2.sum(axis=1)[places[:, a]]
            for b in awake:
                outside -= chip.zz_per_ns2[places[:, a], places[:, b]]
            total += 0.75 * TAKEN * self.awake_ns2[a] * outside
        return total


class _Counting:
    """One pass over a circuit from its end, every operation as late as it can be; lives only inside :meth:`Demand.of`.

    Times are ns before the end.
    """

    def __init__(self, dag: DAGCircuit, chip: Chip) -> None:
        self._index = {qubit: index for index, qubit in enumerate(dag.qubits)}
        self._chip = chip
        n = len(self._index)
        self._gates: dict[tuple[int, int], int] = {}
        self._pulses, self._measured, self._busy_ns = np.zeros(n), np.zeros(n), np.zeros(n)
        self._free_ns = np.zeros(n)
        self._woken_ns = np.zeros(n)
        self._turned_ns: list[list[float]] = [[] for _ in range(n)]
        self._entangled_ns: list[list[tuple[float, float, int]]] = [[] for _ in range(n)]

    def add(self, node: Any) -> None:
        qubits = [self._index[qubit] for qubit in node.qargs]
        closes_ns = max((self._free_ns[qubit] for qubit in qubits), default=0.0)
        lasts_ns, parts = 0.0, 1
        if node.name not in _NO_GATES and len(qubits) == 2:
            count = _ENTANGLERS.get(node.name, _ENTANGLERS_OF_OTHERS)
            pair = (min(qubits), max(qubits))
            self._gates[pair] = self._gates.get(pair, 0) + count
            lasts_ns, parts = count * self._chip.edge_ns, count
            for qubit, other in (pair, pair[::-1]):
                self._entangled_ns[qubit].append((closes_ns, closes_ns + lasts_ns, other))
        elif node.name not in _NO_GATES and len(qubits) == 1:
            pulses = _PULSES.get(node.name, _PULSES_OF_OTHERS)
            self._pulses[qubits[0]] += pulses
            lasts_ns = pulses * self._chip.one_ns
        elif node.name == "measure":
            self._measured[qubits] += 1
        for qubit in qubits:
            self._free_ns[qubit] = closes_ns + lasts_ns
            if lasts_ns:
                self._busy_ns[qubit] += lasts_ns
                self._woken_ns[qubit] = closes_ns + lasts_ns
                self._turned_ns[qubit] += np.linspace(closes_ns, closes_ns + lasts_ns, parts + 1).tolist()

    def demand(self) -> Demand:
        windows, window_ns2 = self._windows()
        return Demand(
            pairs=np.array(list(self._gates), dtype=np.intp).reshape(-1, 2),
            gates=np.array(list(self._gates.values()), dtype=np.float64),
            pulses=self._pulses,
            measured=self._measured,
            idle_ns=self._woken_ns - self._busy_ns,
            windows=windows,
            window_ns2=window_ns2,
            awake_ns2=np.array([self._awake_ns2(qubit) for qubit in range(len(self._index))]),
        )

    def _windows(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Between two operations on either qubit, phase builds up undisturbed; in a gate of the two it does not."""
        n = len(self._index)
        windows, window_ns2 = np.zeros((n, n)), np.zeros((n, n))
        used = np.flatnonzero(self._woken_ns).tolist()
        for number, a in enumerate(used):
            for b in used[number + 1 :]:
                both_ns = min(self._woken_ns[a], self._woken_ns[b])
                inner = [t for t in (*self._turned_ns[a], *self._turned_ns[b]) if 0.0 < t < both_ns]
                bounds = np.array(sorted({0.0, *inner, both_ns}))
                lasting = np.diff(bounds) * self._exposed(a, b, 0.5 * (bounds[1:] + bounds[:-1]))
                windows[a, b] = np.count_nonzero(lasting)
                window_ns2[a, b] = float(np.sum(lasting**2)) / max(1.0, windows[a, b])
        return windows, window_ns2

    def _awake_ns2(self, qubit: int) -> float:
        awake_ns = float(self._woken_ns[qubit])
        bounds = np.array(sorted({0.0, awake_ns, *(t for t in self._turned_ns[qubit] if t < awake_ns)}))
        return float(np.sum((np.diff(bounds) * self._exposed(qubit, -1, 0.5 * (bounds[1:] + bounds[:-1]))) ** 2))

    def _exposed(self, a: int, b: int, moments_ns: NDArray[np.float64]) -> NDArray[np.float64]:
        """How far ZZ between two qubits acts at some moments: not in their own gate, less in an echoed one.

        A ``b`` below 0 is a stranger.
        """
        share = np.ones(len(moments_ns))
        for qubit, other in ((a, b), (b, a)) if b >= 0 else ((a, b),):
            for closes_ns, opens_ns, partner in self._entangled_ns[qubit]:
                during = (closes_ns < moments_ns) & (moments_ns < opens_ns)
                share[during] *= 0.0 if partner == other else self._chip.echo
        return share


def groups(demand: Demand, num_qubits: int) -> list[list[int]]:
    """Qubits of the circuit that gates join, each group in an order in which every qubit touches one before it.

    Args:
        demand: of the circuit.
        num_qubits: how many it has; those that nothing is done to are left out.

    Returns:
        Largest first.
    """
    joined: dict[int, list[int]] = {qubit: [] for qubit in range(num_qubits)}
    for a, b in demand.pairs.tolist():
        joined[a].append(b)
        joined[b].append(a)
    left = [qubit for qubit in range(num_qubits) if joined[qubit] or demand.pulses[qubit] or demand.measured[qubit]]
    found: list[list[int]] = []
    seen: set[int] = set()
    for first in sorted(left, key=lambda qubit: -len(joined[qubit])):
        if first not in seen:
            found.append(_reached(first, joined, seen))  # noqa: PERF401 - what is seen grows with each
    return sorted(found, key=len, reverse=True)


def _reached(first: int, joined: dict[int, list[int]], seen: set[int]) -> list[int]:
    order = [first]
    seen.add(first)
    for qubit in order:
        fresh = sorted(set(joined[qubit]) - seen)
        seen.update(fresh)
        order += fresh
    return order
