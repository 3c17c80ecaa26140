"""What errors cost: −ln of the chance that nothing goes wrong, from calibrated numbers.

Success is estimated as a product of *process* fidelities (arXiv 2311.05933): the average infidelity r that calibrations
publish is (d + 1)/d · r as a process, because a random state forgives some errors (quant-ph/0205035).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from qpu_backend.physics.channels import conditional_error
from qpu_backend.physics.circuit import TWO_QUBIT_GATES, IsaCircuit, Op
from qpu_backend.physics.exposure import Exposure
from qpu_backend.physics.timing import Durations, schedule, two_qubit_gates

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from qpu_backend.physics.context import Context
    from qpu_backend.physics.snapshot import Snapshot

_WORST_ERROR: Final = 1.0 - 1e-9
_ECHO: Final = 0.6
"""η in an echoed gate, for estimates."""


@dataclass(frozen=True, slots=True, eq=False)
class LogErrors:
    """−ln(1 − error) of everything on the device, by average infidelity; infinite where it is unusable.

    Built once per snapshot.

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


def process_loss(average_loss: NDArray[np.float64], num_qubits: int) -> NDArray[np.float64]:
    """−ln of average fidelities → −ln of process fidelities; what is infinite stays so."""
    dim = 2**num_qubits
    infidelity = np.minimum((dim + 1) / dim * -np.expm1(-average_loss), _WORST_ERROR)
    return np.where(np.isinf(average_loss), np.inf, -np.log1p(-infidelity))


def gate_loss(error: float, num_qubits: int) -> float:
    """−ln of the process fidelity of an operation of this average infidelity."""
    dim = 2**num_qubits
    return _log_error((dim + 1) / dim * error)


def readout_loss(error: float) -> float:
    """−ln of the chance that a measurement, or a start in |0⟩, is right."""
    return _log_error(error)


def idle_loss(time_ns: float, t1_us: float, t2_us: float) -> float:
    """−ln of the process fidelity of relaxation for a time: ``F = (1 + e^{−t/T1} + 2e^{−t/T2}) / 4``."""
    time_us = 1e-3 * time_ns
    return -math.log(0.25 * (1.0 + math.exp(-time_us / t1_us) + 2.0 * math.exp(-time_us / t2_us)))


def idle_rate(rate1_per_ns: NDArray[np.float64], rate2_per_ns: NDArray[np.float64]) -> NDArray[np.float64]:
    """Slope of :func:`idle_loss` at time 0, per ns."""
    return 0.25 * (rate1_per_ns + 2.0 * rate2_per_ns)


def added_loss(circuit: IsaCircuit, calibration: Snapshot, context: Context, exposure: Exposure | None = None) -> float:
    """How much −ln F of a placed circuit grows by its neighbours: a sum that another neighbour never lowers.

    Conditional errors count as what they add to the gates, ghosts as :meth:`Exposure.ghost_loss`, pulses next door as
    the chance of their flip and the process infidelity of their rotation, blurred readout as its mean.

    Args:
        circuit: on physical qubits.
        calibration: of the device.
        context: what the neighbours do to it.
        exposure: of the circuit, where it is known already.
    """
    added = 0.0
    if context.factors.size:
        for (code, q0, q1, *_), factor in zip(two_qubit_gates(circuit), context.factors.tolist(), strict=True):
            error = calibration.gate(Op(code), (circuit.qubits[q0], circuit.qubits[q1])).error
            added += gate_loss(conditional_error(error, factor), 2) - gate_loss(error, 2)
    if context.ghosts:
        exposed = exposure or Exposure(circuit, schedule(circuit, Durations.of(calibration)))
        added += sum(exposed.ghost_loss(ghost, _ECHO) for ghost in context.ghosts)
    for kick in context.kicks:
        added += kick.flip + math.sin(0.5 * kick.angle_rad) ** 2
    return added + 0.5 * float(context.readout.sum())


def _log_error(error: float) -> float:
    return float(-np.log1p(-min(error, _WORST_ERROR)))
