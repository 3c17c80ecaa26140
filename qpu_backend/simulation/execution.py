"""Running the batches of a run through the physics, and what each job lost to its place and to its neighbours.

Every kind runs alone on the place that the planner would give it on the empty chip; then every job runs alone on its
place, and there beside its neighbours, with the same seed. Its fidelity is that of Hellinger, between counts and the
noiseless distribution, so

    first choice, alone ──placement loss──► its place, alone ──crosstalk loss──► its place, with neighbours

The device is as its snapshot says: drift is off. Expect a second or more for each batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from qpu_backend.domain.rounds import rounds_of
from qpu_backend.domain.seeds import derive_seed
from qpu_backend.engines.protocol import RegionTask, SliceSpec, decode_report, join_tasks
from qpu_backend.engines.worker import run_tasks
from qpu_backend.physics.neighbours import PlacedCircuit, context_of, near, needs_own_profile, own_start
from qpu_backend.physics.relocate import relocate
from qpu_backend.physics.snapshot import RegionNoise

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from qpu_backend.physics.circuit import IsaCircuit
    from qpu_backend.physics.context import Context, Profile
    from qpu_backend.simulation.batches import Seat
    from qpu_backend.simulation.clock import Run
    from qpu_backend.simulation.company import Profiles
    from qpu_backend.simulation.kinds import Chip


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one job got, as fidelities between 0 and 1.

    Attributes:
        isolated: alone, on its first choice of the empty chip.
        alone: alone, on its place.
        together: on its place, beside its neighbours.
    """

    job_id: str
    isolated: float
    alone: float
    together: float


def hellinger(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Hellinger fidelity of two distributions, (Σ √(p q))²."""
    return float(np.sqrt(one * other).sum() ** 2)


def execute(
    run: Run, chip: Chip, profiles: Profiles, progress: Callable[[int, int], None] | None = None
) -> list[Outcome]:
    """Run every job whose noiseless distribution is known, see :meth:`AbstractCircuit.ideal_distribution`.

    Args:
        run: the run.
        chip: the device.
        profiles: of circuits, for their neighbours.
        progress: told how many batches of how many are done.

    Raises:
        RuntimeError: the simulation of a job failed; says which and why.
    """
    kind_of = {job.id: run.kinds[job.kind] for job in run.workload.jobs}
    ideal = {name: kind.source.ideal_distribution() for name, kind in run.kinds.items()}
    isolated: dict[str, float] = {}
    outcomes: list[Outcome] = []
    for number, ran in enumerate(run.ran):
        seats = ran.batch.seats
        kinds = [kind_of[seat.job_id] for seat in seats]
        placed = [PlacedCircuit.of(seat.circuit, chip.snapshot, alone=len(seats) == 1) for seat in seats]
        looks = [profiles.of(kind, seat) for kind, seat in zip(kinds, seats, strict=True)]
        met = _contexts(seats, placed, looks, chip)
        for index, (seat, kind) in enumerate(zip(seats, kinds, strict=True)):
            expected = ideal[kind.name]
            if expected is None:
                continue
            if kind.name not in isolated:
                best = relocate(kind.circuit, kind.first_choice, chip.snapshot)
                own = PlacedCircuit.of(best, chip.snapshot, alone=True)
                isolated[kind.name] = _alone(seat, own, profiles.alone(best), expected, chip)
            alone = _alone(seat, placed[index], looks[index], expected, chip)
            together = alone
            if any(not _is_own(context) for context, _ in met[index]):
                together = _fidelity(seat, seat.circuit, met[index], expected, chip)
            outcomes.append(Outcome(seat.job_id, isolated[kind.name], alone, together))
        if progress is not None:
            progress(number + 1, len(run.ran))
    return outcomes


def _contexts(
    seats: Sequence[Seat], placed: Sequence[PlacedCircuit], looks: Sequence[Profile], chip: Chip
) -> list[list[tuple[Context, int]]]:
    """For every seat the contexts it meets, round by round, with their shots."""
    crosstalk, topology = chip.model.crosstalk, chip.model.topology
    qubits = [one.circuit.qubits for one in placed]
    touching = [
        {j for j, other in enumerate(qubits) if j != i and near(crosstalk, topology, own, other)}
        for i, own in enumerate(qubits)
    ]
    met: list[list[tuple[Context, int]]] = [[] for _ in seats]
    for one in rounds_of([seat.track for seat in seats]):
        running = {member.placement for member in one.members}
        for index in running:
            beside = [(placed[j], looks[j]) for j in sorted(touching[index] & running)]
            start = _start(placed[index], looks[index], chip)
            context = context_of(crosstalk, topology, chip.snapshot, placed[index], beside, start)
            met[index].append((context, one.repeat * one.shots))
    return met


def _start(placed: PlacedCircuit, look: Profile, chip: Chip) -> NDArray[np.float64]:
    """What the circuit's own last shot left in its qubits."""
    crosstalk = chip.model.crosstalk
    profile = look if needs_own_profile(crosstalk) else None
    return own_start(crosstalk, chip.snapshot, placed, chip.model.timing.rep_delay_us, profile)


def _is_own(context: Context) -> bool:
    """Whether a context is that of being alone."""
    return not (context.factors.size or context.ghosts or context.kicks or context.readout.any())


def _alone(seat: Seat, placed: PlacedCircuit, look: Profile, ideal: NDArray[np.float64], chip: Chip) -> float:
    start = _start(placed, look, chip)
    context = context_of(chip.model.crosstalk, chip.model.topology, chip.snapshot, placed, (), start)
    shots = sum(need.repeat * need.shots for need in seat.track.needs)
    return _fidelity(seat, placed.circuit, [(context, shots)], ideal, chip)


def _fidelity(
    seat: Seat, circuit: IsaCircuit, contexts: Sequence[tuple[Context, int]], ideal: NDArray[np.float64], chip: Chip
) -> float:
    """Fidelity of a circuit that runs so many shots in each context, with the job's seed."""
    seed = int(seat.job_id.rpartition("-")[2])
    task = RegionTask(
        circuits=(circuit,),
        angles=(np.zeros((1, 0)),),
        noise=RegionNoise.of(chip.snapshot, circuit.qubits, zz=chip.model.crosstalk.zz),
        slices=tuple(
            SliceSpec(0, 0, shots, derive_seed(seed, 0, 0, 0, part), part) for part, (_, shots) in enumerate(contexts)
        ),
        contexts=tuple(context for context, _ in contexts),
    )
    (outcome,) = decode_report(run_tasks(join_tasks([task.to_bytes()]))).tasks
    if outcome.failure is not None:
        raise RuntimeError(f"{seat.job_id} cannot be simulated: {outcome.failure}")
    counts = np.zeros(len(ideal))
    for part in outcome.slices:
        bits: NDArray[np.uint8] = np.unpackbits(part.bits, axis=1, bitorder="little")
        words = np.zeros(len(bits), dtype=np.int64)
        for place in range(bits.shape[1]):
            words |= bits[:, place].astype(np.int64) << place
        counts += np.bincount(words, minlength=len(ideal))[: len(ideal)]
    return hellinger(counts / counts.sum(), ideal)
