"""Predicted success of a placed circuit, with what costs it: a product of independent chances, read off its schedule.

    −ln(success) = gates + readout + idling + zz + crosstalk

Success is that a shot comes out as it would without noise; each part is a product of process fidelities
(:mod:`qpu_backend.physics.fidelity`). It assumes that whatever goes wrong changes the outcome, and that errors do not
cancel: right for circuits whose qubits are anything on the way (mirror circuits), too dark for states that a mechanism
cannot hurt.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, pi
from typing import TYPE_CHECKING

from qpu_backend.physics.circuit import Op
from qpu_backend.physics.context import NO_CONTEXT
from qpu_backend.physics.exposure import Exposure, phase_loss
from qpu_backend.physics.fidelity import added_loss, gate_loss, idle_loss, readout_loss
from qpu_backend.physics.program import Step, noisy_program
from qpu_backend.physics.snapshot import RegionNoise
from qpu_backend.physics.timing import Durations, schedule

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from qpu_backend.physics.circuit import IsaCircuit
    from qpu_backend.physics.context import Context
    from qpu_backend.physics.device import Crosstalk
    from qpu_backend.physics.program import Happening
    from qpu_backend.physics.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a circuit loses, as −ln of the chance that nothing of the kind goes wrong.

    Attributes:
        gates: errors of gates, as calibrated.
        readout: errors of measurements, and qubits that start a shot in 1.
        idling: relaxation of qubits that wait.
        zz: static ZZ between qubits of the circuit.
        crosstalk: what the neighbours add.
    """

    gates: float
    readout: float
    idling: float
    zz: float
    crosstalk: float

    @property
    def loss(self) -> float:
        """−ln(success)."""
        return self.gates + self.readout + self.idling + self.zz + self.crosstalk

    @property
    def success(self) -> float:
        """Predicted probability that a shot comes out right."""
        return exp(-self.loss)


def predict(
    circuit: IsaCircuit, calibration: Snapshot, crosstalk: Crosstalk, context: Context = NO_CONTEXT
) -> Prediction:
    """Predict the success of a circuit where it is placed.

    Waiting and ZZ follow the circuit's own schedule: relaxation in each gap, and ¾ sin²(φ/2) for every window of
    :class:`~qpu_backend.physics.exposure.Exposure`. Of an ``if_else`` the branch that loses more counts.

    Args:
        circuit: on physical qubits.
        calibration: of the device.
        crosstalk: of the device; its static ZZ acts inside a circuit too.
        context: what the neighbours do.

    Raises:
        NotCalibrated: the device does not offer one of the operations.
    """
    noise = RegionNoise.of(calibration, circuit.qubits)
    tally = _Tally(circuit, noise)
    tally.add(noisy_program(circuit, noise))
    exposure = Exposure(circuit, schedule(circuit, Durations.of(calibration)))
    return Prediction(
        gates=tally.gates,
        readout=tally.readout + sum(readout_loss(excited) for excited in context.start.tolist()),
        idling=tally.idling,
        zz=_zz_loss(exposure, RegionNoise.of(calibration, circuit.qubits, zz=crosstalk.zz), circuit.qubits),
        crosstalk=added_loss(circuit, calibration, context, exposure),
    )


def _zz_loss(exposure: Exposure, noise: RegionNoise, physical: Sequence[int]) -> float:
    local = {q: index for index, q in enumerate(physical)}
    return sum(
        phase_loss(2e-9 * pi * zz_hz * window_ns)
        for (a, b), zz_hz in noise.zz_hz.items()
        if a in local and b in local
        for window_ns in exposure.windows_ns(local[a], local[b], noise.zz_echo).tolist()
    )


class _Tally:
    """Losses of one pass over a program; lives only inside :func:`predict`."""

    def __init__(self, circuit: IsaCircuit, noise: RegionNoise) -> None:
        self.gates = self.readout = self.idling = 0.0
        self._circuit = circuit
        self._noise = noise

    @property
    def loss(self) -> float:
        return self.gates + self.readout + self.idling

    def add(self, happenings: Iterable[Happening]) -> None:
        for happening in happenings:
            if isinstance(happening, Step):
                self._step(happening)

    def _step(self, step: Step) -> None:
        match step.op:
            case Op.IF:
                self._worse_branch(step)
            case Op.DELAY:
                here = self._noise.qubit(self._circuit.qubits[step.qubits[0]])
                self.idling += idle_loss(step.value, here.t1_us, here.t2_us)
            case Op.MEASURE:
                self.readout += readout_loss(self._noise.qubit(self._circuit.qubits[step.qubits[0]]).readout_error)
            case _:
                self.gates += gate_loss(step.gate.error, len(step.qubits))

    def _worse_branch(self, step: Step) -> None:
        branches: list[_Tally] = []
        for body in step.branches or ():
            branches.append(_Tally(self._circuit, self._noise))
            branches[-1].add(body)
        worse = max(branches, key=lambda branch: branch.loss)
        self.gates += worse.gates
        self.readout += worse.readout
        self.idling += worse.idling
