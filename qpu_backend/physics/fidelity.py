"""Predicted loss of success probability, −ln F, of a circuit on every candidate region at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from qpu_backend.physics.channels import conditional_error
from qpu_backend.physics.circuit import TWO_QUBIT_GATES, IsaCircuit, Op
from qpu_backend.physics.timing import CircuitSummary, two_qubit_gates

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from qpu_backend.physics.snapshot import Snapshot

_WORST_ERROR: Final = 1.0 - 1e-9


@dataclass(frozen=True, slots=True, eq=False)
class LogErrors:
    """−ln(1 − error) of everything on the device; infinite where it is unusable. Built once per snapshot.

    Attributes:
        edge: float64, ``(N, N)``: two-qubit gate from row to column. Where only the other direction is calibrated it
            includes the four ``sx`` that turn the gate.
        sx: float64, ``(N,)``: one-qubit gate.
        readout: float64, ``(N,)``: measurement.
        rate1_per_ns: float64, ``(N,)``: 1/T1.
        rate2_per_ns: float64, ``(N,)``: 1/T2.
    """

    edge: NDArray[np.float64]
    sx: NDArray[np.float64]
    readout: NDArray[np.float64]
    rate1_per_ns: NDArray[np.float64]
    rate2_per_ns: NDArray[np.float64]

    @classmethod
    def of(cls, snapshot: Snapshot) -> LogErrors:
        """Tables of a snapshot."""
        n = snapshot.num_qubits
        sx, readout = np.full(n, np.inf), np.full(n, np.inf)
        rate1, rate2 = np.full(n, np.inf), np.full(n, np.inf)
        for q in snapshot.usable_qubits:
            properties = snapshot.qubit(q)
            sx[q] = _log_error(snapshot.gate(Op.SX, (q,)).error)
            readout[q] = _log_error(properties.readout_error)
            rate1[q], rate2[q] = 1e-3 / properties.t1_us, 1e-3 / properties.t2_us
        direct = np.full((n, n), np.inf)
        for (op, qubits), gate in snapshot.gates.items():
            if op in TWO_QUBIT_GATES:
                direct[qubits] = min(direct[qubits], _log_error(gate.error))
        turned = direct.T + 2.0 * (sx[:, None] + sx[None, :])
        return cls(np.minimum(direct, turned), sx, readout, rate1, rate2)

    def score(self, summary: CircuitSummary, embeddings: NDArray[np.int16]) -> NDArray[np.float64]:
        """−ln F of a circuit on each candidate: gates, measurements, and relaxation while idle.

        Args:
            summary: of the circuit, on a backend of ``n`` qubits.
            embeddings: ``(k, n)``: physical qubit of each backend qubit.

        Returns:
            float64, ``(k,)``; infinite where the circuit cannot run.
        """
        places = embeddings[:, list(summary.qubits)].astype(np.intp)
        loss = np.zeros(len(places))
        for (a, b), count in summary.edge_counts:
            loss += count * self.edge[places[:, a], places[:, b]]
        for local, count in enumerate(summary.sx_counts.tolist()):
            if count:
                loss += count * self.sx[places[:, local]]
        for local in summary.measured:
            loss += self.readout[places[:, local]]
        for local, idle_ns in enumerate(summary.idle_ns.tolist()):
            if idle_ns > 0:
                loss += idle_loss(idle_ns, self.rate1_per_ns[places[:, local]], self.rate2_per_ns[places[:, local]])
        return loss


def idle_loss(
    time_ns: float, rate1_per_ns: NDArray[np.float64], rate2_per_ns: NDArray[np.float64]
) -> NDArray[np.float64]:
    """−ln of the average fidelity of relaxation for a time: ``F = ½ + (e^{−t/T1} + 2e^{−t/T2})/6``."""
    fidelity = 0.5 + (np.exp(-time_ns * rate1_per_ns) + 2.0 * np.exp(-time_ns * rate2_per_ns)) / 6.0
    return -np.log(fidelity)


def added_loss(circuit: IsaCircuit, calibration: Snapshot, factors: NDArray[np.float64]) -> float:
    """How much −ln F of a placed circuit grows by conditional errors: Σ ln(1 − r) − ln(1 − r′) over two-qubit gates.

    Args:
        circuit: on physical qubits.
        calibration: of the device.
        factors: one for each gate of :func:`qpu_backend.physics.timing.two_qubit_gates`.
    """
    added = 0.0
    for (code, q0, q1, *_), factor in zip(two_qubit_gates(circuit), factors.tolist(), strict=True):
        error = calibration.gate(Op(code), (circuit.qubits[q0], circuit.qubits[q1])).error
        added += _log_error(conditional_error(error, factor)) - _log_error(error)
    return added


def _log_error(error: float) -> float:
    return float(-np.log1p(-min(error, _WORST_ERROR)))
