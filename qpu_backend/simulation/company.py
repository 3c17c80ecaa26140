"""What neighbours do to a job, predicted: no circuit is simulated beside another one.

How a circuit looks from next door is worked out once a kind, alone on its best place, and carried to wherever it runs;
the contexts and what they cost are then those of the service.
"""

from __future__ import annotations

from math import exp
from typing import TYPE_CHECKING

import numpy as np

from qpu_backend.engines.protocol import ProfileTask, decode_profiles, join_tasks
from qpu_backend.engines.worker import run_profiles
from qpu_backend.physics.context import Profile
from qpu_backend.physics.fidelity import added_loss
from qpu_backend.physics.neighbours import PlacedCircuit, context_of, near
from qpu_backend.physics.relocate import relocate
from qpu_backend.physics.snapshot import RegionNoise
from qpu_backend.simulation.kinds import success

if TYPE_CHECKING:
    from qpu_backend.physics.circuit import IsaCircuit
    from qpu_backend.simulation.batches import Seat
    from qpu_backend.simulation.clock import Run
    from qpu_backend.simulation.kinds import Chip, Kind


def crosstalk_losses(run: Run, chip: Chip, profiles: Profiles) -> list[float]:
    """For each job, in the order in which they ran, by how much its neighbours are predicted to lower its success."""
    kind_of = {job.id: run.kinds[job.kind] for job in run.workload.jobs}
    crosstalk, topology = chip.model.crosstalk, chip.model.topology
    lost: list[float] = []
    for ran in run.ran:
        alone = len(ran.batch.seats) == 1
        placed = [PlacedCircuit.of(seat.circuit, chip.snapshot, alone=alone) for seat in ran.batch.seats]
        looks = [] if alone else [profiles.of(kind_of[seat.job_id], seat) for seat in ran.batch.seats]
        for index, own in enumerate(placed):
            beside = [
                (other, looks[number])
                for number, other in enumerate(placed)
                if number != index and near(crosstalk, topology, own.circuit.qubits, other.circuit.qubits)
            ]
            added = 0.0
            if beside:
                context = context_of(crosstalk, topology, chip.snapshot, own, beside, np.zeros(0))
                added = added_loss(own.circuit, chip.snapshot, context)
            lost.append(success(own.circuit, chip.snapshot) * (1.0 - exp(-added)))
    return lost


class Profiles:
    """How circuits look from next door, each worked out when it is first asked for."""

    def __init__(self, chip: Chip) -> None:
        self._chip = chip
        self._known: dict[str, Profile] = {}

    def of(self, kind: Kind, seat: Seat) -> Profile:
        """All qubits of a circuit in its place: carried there from the kind's best place if it is the same circuit."""
        if len(seat.region) != len(kind.best_region) or seat.circuit.num_qubits != kind.circuit.num_qubits:
            return self.alone(seat.circuit)
        used = kind.circuit.qubits
        there = sorted(used, key=lambda position: kind.best_region[position])
        here = sorted(used, key=lambda position: seat.region[position])
        if tuple(seat.region[position] for position in here) != seat.circuit.qubits:
            return self.alone(seat.circuit)
        known = self.alone(relocate(kind.circuit, kind.best_region, self._chip.snapshot))
        local = [there.index(position) for position in here]
        occupations = {index: known.occupations[of] for index, of in enumerate(local)}
        return Profile(occupations, known.final[local])

    def alone(self, circuit: IsaCircuit) -> Profile:
        """The same, of a circuit in place."""
        key = circuit.digest()
        if key not in self._known:
            noise = RegionNoise.of(self._chip.snapshot, circuit.qubits, zz=self._chip.model.crosstalk.zz)
            task = ProfileTask(circuit, np.zeros((1, 0)), noise, np.zeros(0), tuple(range(circuit.num_qubits)))
            (self._known[key],) = decode_profiles(run_profiles(join_tasks([task.to_bytes()])))
        return self._known[key]
