"""From a plan to a batch that can be committed: circuits in place, contexts, seeds, one record a placement.

A record holds everything a rerun or a replay needs. It is committed before it runs, so what a batch means never
depends on what happens to it later. Executions of a job that meet the same context in several rounds are one slice
with one seed: with crosstalk off, counts depend on nobody else. Of a job that runs in legs, a batch has one leg.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from math import exp
from typing import TYPE_CHECKING, Final

from qpu_backend.domain.decoupling import decoupled
from qpu_backend.domain.footprint import Footprint
from qpu_backend.domain.legs import Leg, Legs, whole
from qpu_backend.domain.privacy import co_tenants
from qpu_backend.domain.seeds import derive_seed
from qpu_backend.domain.treatments import bits_of
from qpu_backend.engines.protocol import RegionTask, SliceSpec
from qpu_backend.physics.errors import NotCalibrated
from qpu_backend.physics.exposure import Exposure
from qpu_backend.physics.fidelity import added_loss
from qpu_backend.physics.neighbours import PlacedCircuit
from qpu_backend.physics.readout import discriminators_of
from qpu_backend.physics.relocate import relocate
from qpu_backend.physics.snapshot import RegionNoise
from qpu_backend.physics.timing import Durations, schedule
from qpu_backend.pipeline.caveats import caveats
from qpu_backend.pipeline.contexts import Met, contexts_of
from qpu_backend.pipeline.recent import Recent

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from qpu_backend.domain.deferral import Choice
    from qpu_backend.domain.planning import Placement, Plan
    from qpu_backend.domain.programs import Execution, Program
    from qpu_backend.engines.protocol import ProfileTask
    from qpu_backend.physics.context import Profile
    from qpu_backend.physics.device import DeviceModel
    from qpu_backend.physics.drift import Truth
    from qpu_backend.physics.snapshot import Snapshot
    from qpu_backend.pipeline.deferred import Compiled
    from qpu_backend.stores.jobs import JobRow


REMEMBERED_BYTES: Final = 2 << 20
"""Of circuits in place."""

InPlace = Recent[tuple[str, str, tuple[int, ...], str, int, bool, tuple[int, ...]], tuple[PlacedCircuit, ...]]
"""Tenant, program, qubits, device, number of the calibration, whether alone, attempts of a deferred layout → its
circuits, relocated and timed."""


class Unplaceable(Exception):
    """A job was admitted for something that the device no longer offers."""

    def __init__(self, job_id: str) -> None:
        super().__init__(f"job {job_id} uses what the device no longer offers")
        self.job_id = job_id


@dataclass(frozen=True, slots=True, eq=False)
class Member:
    """One job of a batch.

    Attributes:
        job: the row as it was when the batch was planned.
        program: what it runs.
        region: physical qubit of each of its region qubits.
        record: bytes of its :class:`~qpu_backend.engines.protocol.RegionTask`.
        slice_executions: which execution of the program each slice of the record belongs to.
        co_tenants: how many other tenants share the batch: ``0``, ``1-3`` or ``4+``.
        crosstalk_loss: predicted loss of success probability to neighbours.
        fairness_cost: µs · qubit it occupied.
        ghosts: neighbouring qubits it feels by ZZ, in its worst context, and how many of them had to lose their memory.
        caveats: warnings that go with its result.
        leg: number of the leg of the job that runs here.
        choices: of a job with a deferred layout: which compilation each of its circuits is.
        readout: of a job whose readout is mitigated by the published calibration: ``(backend qubit, P(1|0), P(0|1))``.
    """

    job: JobRow
    program: Program
    region: tuple[int, ...]
    record: bytes
    slice_executions: tuple[int, ...]
    co_tenants: str
    crosstalk_loss: float
    fairness_cost: int
    ghosts: tuple[int, int] = (0, 0)
    caveats: tuple[str, ...] = ()
    leg: int = 0
    choices: tuple[Choice, ...] = ()
    readout: tuple[tuple[int, float, float], ...] = ()

    @property
    def last(self) -> bool:
        """Whether the job is over when this has run."""
        return self.leg + 1 == self.job.num_legs


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Placements that share the device at the same time, as committed."""

    id: str
    device_id: str
    epoch: int
    attempt: int
    snapshot_id: str
    device_start_us: int
    device_us: int
    members: tuple[Member, ...]


@dataclass(frozen=True, slots=True, eq=False)
class _Placed:
    """A placement with its circuits where they will run."""

    placement: Placement
    job: JobRow
    program: Program
    circuits: tuple[PlacedCircuit, ...]
    noise: RegionNoise
    leg: Leg
    choices: tuple[Choice, ...]

    @property
    def executions(self) -> tuple[Execution, ...]:
        first = self.leg.first_execution
        return self.program.executions[first : first + self.leg.num_executions]

    @property
    def tenant_id(self) -> str:
        return self.job.tenant_id

    @property
    def region(self) -> tuple[int, ...]:
        return self.placement.region


def assemble(
    plan: Plan,
    jobs: Mapping[str, JobRow],
    bodies: Mapping[str, Program],
    model: DeviceModel,
    snapshot: Snapshot,
    truth: Truth,
    profile: Callable[[Sequence[tuple[str, ProfileTask]]], Sequence[Profile]],
    in_place: InPlace,
    compiled: Mapping[str, Compiled] | None = None,
) -> tuple[Member, ...]:
    """Execution records for every placement of a plan, in its order.

    Args:
        plan: what the planner chose.
        jobs: the planned jobs by id.
        bodies: their programs by id.
        model: the device.
        snapshot: its current calibration, by which circuits are placed and timed.
        truth: what the device is now: what is simulated.
        profile: simulates circuits alone, for what their neighbours feel of them.
        in_place: remembers programs where they ran lately.
        compiled: by job what it runs whose layout is deferred.

    Raises:
        Unplaceable: a job uses what the device no longer offers.
    """
    placed: list[_Placed] = []
    alone = len(plan.placements) == 1
    for placement in plan.placements:
        try:
            job, program = jobs[placement.job_id], bodies[placement.job_id]
            own = (compiled or {}).get(job.id)
            placed.append(_placed(placement, job, program, own, model, snapshot, truth, in_place, alone=alone))
        except NotCalibrated as error:  # a coupler that a calibration took after the job was admitted
            raise Unplaceable(placement.job_id) from error
    met = contexts_of(placed, plan.rounds, model, truth.snapshot, profile)
    return tuple(_member(index, placed, met[index], snapshot) for index in range(len(placed)))


def _placed(
    placement: Placement,
    job: JobRow,
    program: Program,
    compiled: Compiled | None,
    model: DeviceModel,
    snapshot: Snapshot,
    truth: Truth,
    in_place: InPlace,
    *,
    alone: bool,
) -> _Placed:
    where = tuple(range(model.num_qubits)) if job.footprint["shape"] is None else placement.region
    program = program if compiled is None else compiled.program
    own = () if compiled is None else compiled.attempts
    key = (job.tenant_id, job.program_sha, where, snapshot.device, snapshot.number, alone, own)
    circuits = in_place.get(key)
    if circuits is None:
        run = [relocate(circuit, where, snapshot) for circuit in program.circuits]
        if program.treatment is not None and (sequence := program.treatment.mitigation.decoupling) is not None:
            step_ns = model.timing.pulse_step_ns
            run = [decoupled(circuit, Durations.of(snapshot), sequence, step_ns) for circuit in run]
        circuits = tuple(PlacedCircuit.of(circuit, snapshot, alone=alone) for circuit in run)
        in_place.put(key, circuits, sum(1024 + placed.circuit.operations.nbytes for placed in circuits))
    region = {qubit for placed in circuits for qubit in placed.circuit.qubits}
    noise = RegionNoise.of(truth.snapshot, region, zz=model.crosstalk.zz, detuning_hz=truth.detuning_hz)
    if job.options.get("meas_level", 2) == 1:
        noise = replace(noise, discriminators=discriminators_of(snapshot.device, where, region))
    leg = _leg_of(job)
    choices = () if compiled is None else compiled.choices
    return _Placed(placement, job, program, circuits, noise, leg, choices)


def _leg_of(job: JobRow) -> Leg:
    if job.legs is None:
        return whole(Footprint.from_document(dict(job.footprint)))
    return Legs.from_document(dict(job.legs)).leg(job.leg)


def _member(index: int, placed: Sequence[_Placed], met: Met, snapshot: Snapshot) -> Member:
    one = placed[index]
    program = one.program
    level = one.job.options.get("meas_level", 2)
    circuit_at: dict[tuple[int, int], int] = {}
    slices: list[SliceSpec] = []
    slice_executions: list[int] = []
    for number, execution in enumerate(one.executions):
        circuit = circuit_at.setdefault((execution.pub, execution.circuit), len(circuit_at))
        place = one.leg.first_execution + number
        # The legs before it had at most a slice a shot of this execution, so no two slices of a job have one number.
        first = one.leg.first_shot_of(place)
        for part, (context, shots) in enumerate(met.shots[number].items(), first):
            which = (execution.pub, execution.binding, execution.basis, part, execution.turn)
            seed = derive_seed(one.job.seed, *which)
            slices.append(SliceSpec(circuit, execution.binding, shots, seed, context, level))
            slice_executions.append(place)
    task = RegionTask(
        circuits=tuple(one.circuits[variant].circuit for _, variant in circuit_at),
        angles=tuple(program.angles[pub] for pub, _ in circuit_at),
        noise=one.noise,
        slices=tuple(slices),
        contexts=met.contexts,
    )
    return Member(
        job=one.job,
        program=program,
        region=one.placement.region,
        record=task.to_bytes(),
        slice_executions=tuple(slice_executions),
        co_tenants=co_tenants(one.job.tenant_id, [other.job.tenant_id for other in placed]),
        crosstalk_loss=_crosstalk_loss(one, met, snapshot),
        fairness_cost=one.placement.fairness_cost,
        ghosts=max((len(context.ghosts), context.num_demoted) for context in met.contexts),
        caveats=caveats(program, one.circuits, snapshot),
        leg=one.job.leg,
        choices=one.choices,
        readout=_published_readout(one, snapshot),
    )


def _published_readout(one: _Placed, snapshot: Snapshot) -> tuple[tuple[int, float, float], ...]:
    """Errors of the qubits that the job reads, where it asks for the published ones."""
    treatment = one.program.treatment
    if treatment is None or treatment.mitigation.readout is None or treatment.mitigation.readout.source != "snapshot":
        return ()
    qubits = sorted({qubit for circuit in one.program.circuits for _, qubit in bits_of(circuit)})
    pinned = one.job.footprint["shape"] is None
    read = [snapshot.qubit(qubit if pinned else one.region[qubit]) for qubit in qubits]
    return tuple((q, found.prob_meas1_prep0, found.prob_meas0_prep1) for q, found in zip(qubits, read, strict=True))


def _crosstalk_loss(one: _Placed, met: Met, snapshot: Snapshot) -> float:
    """Predicted success probability alone minus the same beside the neighbours, averaged over shots."""

    @cache
    def exposure(number: int) -> Exposure:
        circuit = one.circuits[number].circuit
        return Exposure(circuit, schedule(circuit, Durations.of(snapshot)))

    @cache
    def added(number: int, context: int) -> float:
        around = met.contexts[context]
        exposed = exposure(number) if around.ghosts else None
        return added_loss(one.circuits[number].circuit, snapshot, around, exposed)

    lost = 0.0
    total = 0
    for number, contexts in met.shots.items():
        for context, shots in contexts.items():
            total += shots
            lost += shots * (1.0 - exp(-added(one.executions[number].circuit, context)))
    return exp(-one.placement.loss) * lost / total if total else 0.0
