"""From a plan to a batch that can be committed: circuits in place, contexts, seeds, one record a placement.

A record holds everything a rerun or a replay needs. It is committed before it runs, so what a batch means never
depends on what happens to it later. Executions of a job that meet the same context in several rounds are one slice
with one seed: with crosstalk off, counts depend on nobody else.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp
from typing import TYPE_CHECKING

import numpy as np

from qpu_backend.domain.privacy import co_tenants
from qpu_backend.domain.rounds import unrolled
from qpu_backend.domain.seeds import derive_seed
from qpu_backend.engines.protocol import NO_FACTORS, RegionTask, SliceSpec
from qpu_backend.physics.crosstalk import conditional_factors, physical_windows
from qpu_backend.physics.errors import NotCalibrated
from qpu_backend.physics.fidelity import added_loss
from qpu_backend.physics.relocate import relocate
from qpu_backend.physics.snapshot import RegionNoise
from qpu_backend.physics.timing import Durations, summarise

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from qpu_backend.domain.planning import Placement, Plan
    from qpu_backend.domain.programs import Program
    from qpu_backend.domain.rounds import Member as RoundMember
    from qpu_backend.domain.rounds import Round
    from qpu_backend.physics.circuit import IsaCircuit
    from qpu_backend.physics.device import DeviceModel
    from qpu_backend.physics.snapshot import Snapshot
    from qpu_backend.stores.jobs import JobRow


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
    """

    job: JobRow
    program: Program
    region: tuple[int, ...]
    record: bytes
    slice_executions: tuple[int, ...]
    co_tenants: str
    crosstalk_loss: float
    fairness_cost: int


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
    circuits: tuple[IsaCircuit, ...]
    exposed: tuple[NDArray[np.float64], ...]
    acting: tuple[NDArray[np.float64], ...]


Contexts = dict[int, dict[bytes, tuple["NDArray[np.float64]", int]]]
"""Execution → each distinct context (its factors) and the shots that run in it, in order of appearance."""


def assemble(
    plan: Plan, jobs: Mapping[str, JobRow], bodies: Mapping[str, Program], model: DeviceModel, snapshot: Snapshot
) -> tuple[Member, ...]:
    """Execution records for every placement of a plan, in its order.

    Args:
        plan: what the planner chose.
        jobs: the planned jobs by id.
        bodies: their programs by id.
        model: the device.
        snapshot: its current calibration.

    Raises:
        Unplaceable: a job uses what the device no longer offers.
    """
    placed: list[_Placed] = []
    for placement in plan.placements:
        try:
            placed.append(_placed(placement, jobs[placement.job_id], bodies[placement.job_id], model, snapshot))
        except NotCalibrated as error:  # a coupler that a calibration took after the job was admitted
            raise Unplaceable(placement.job_id) from error
    contexts = _contexts(placed, plan.rounds, model)
    return tuple(_member(index, placed, contexts[index], snapshot) for index in range(len(placed)))


def _placed(placement: Placement, job: JobRow, program: Program, model: DeviceModel, snapshot: Snapshot) -> _Placed:
    where = range(model.num_qubits) if job.footprint["shape"] is None else placement.region
    circuits = tuple(relocate(circuit, where, snapshot) for circuit in program.circuits)
    summaries = [summarise(circuit, Durations.of(snapshot)) for circuit in circuits]
    itself = range(model.num_qubits)
    return _Placed(
        placement=placement,
        job=job,
        program=program,
        circuits=circuits,
        exposed=tuple(physical_windows(summary, itself) for summary in summaries),
        acting=tuple(physical_windows(summary, itself, acting=True) for summary in summaries),
    )


def _contexts(placed: Sequence[_Placed], rounds: Iterable[Round], model: DeviceModel) -> list[Contexts]:
    contexts: list[Contexts] = [{} for _ in placed]
    touching = _touching(placed, model)
    known: dict[_Meeting, NDArray[np.float64]] = {}
    for one in unrolled(rounds) if any(touching) else rounds:
        running = {member.placement: member for member in one.members}
        for index, member in running.items():
            meeting = _meeting(placed, index, running, touching[index])
            if meeting not in known:
                known[meeting] = _factors(placed, meeting, model)
            factors = known[meeting]
            for execution in _executions(member, one.repeat):
                met = contexts[index].setdefault(execution, {})
                shots = met.get(factors.tobytes(), (factors, 0))[1]
                repeats = 1 if member.step else one.repeat
                met[factors.tobytes()] = (factors, shots + repeats * one.shots)
    return contexts


_Meeting = tuple[int, int, tuple[tuple[int, int], ...]]
"""Placement, its circuit, and the (placement, circuit) of each neighbour beside it."""


def _meeting(placed: Sequence[_Placed], index: int, running: dict[int, RoundMember], touching: set[int]) -> _Meeting:
    def circuit(at: int) -> int:
        return placed[at].program.executions[running[at].execution].circuit

    if not touching:
        return index, 0, ()
    return index, circuit(index), tuple((other, circuit(other)) for other in sorted(touching & running.keys()))


def _executions(member: RoundMember, repeat: int) -> range:
    return (
        range(member.execution, member.execution + repeat)
        if member.step
        else range(member.execution, member.execution + 1)
    )


def _touching(placed: Sequence[_Placed], model: DeviceModel) -> list[set[int]]:
    """For each placement, the others whose regions are neighbours on the chip."""
    masks = [sum(1 << qubit for qubit in one.placement.region) for one in placed]
    around = [model.topology.neighbour_mask(mask) for mask in masks]
    return [{j for j, mask in enumerate(masks) if j != i and mask & around[i]} for i in range(len(masks))]


def _factors(placed: Sequence[_Placed], meeting: _Meeting, model: DeviceModel) -> NDArray[np.float64]:
    index, variant, neighbours = meeting
    if not neighbours:
        return NO_FACTORS
    acting = [placed[other].acting[circuit] for other, circuit in neighbours]
    factors = conditional_factors(model.crosstalk, model.topology, placed[index].exposed[variant], acting)
    return NO_FACTORS if bool(np.all(factors == 1.0)) else factors


def _member(
    index: int,
    placed: Sequence[_Placed],
    contexts: Contexts,
    snapshot: Snapshot,
) -> Member:
    one = placed[index]
    program = one.program
    circuit_at: dict[tuple[int, int], int] = {}
    slices: list[SliceSpec] = []
    slice_executions: list[int] = []
    for number, execution in enumerate(program.executions):
        circuit = circuit_at.setdefault((execution.pub, execution.circuit), len(circuit_at))
        for part, (factors, shots) in enumerate(contexts[number].values()):
            seed = derive_seed(one.job.seed, execution.pub, execution.binding, execution.basis, part)
            slices.append(SliceSpec(circuit, execution.binding, shots, seed, factors))
            slice_executions.append(number)
    region = {qubit for circuit in one.circuits for qubit in circuit.qubits}
    task = RegionTask(
        circuits=tuple(one.circuits[variant] for _, variant in circuit_at),
        angles=tuple(program.angles[pub] for pub, _ in circuit_at),
        noise=RegionNoise.of(snapshot, region),
        slices=tuple(slices),
    )
    return Member(
        job=one.job,
        program=program,
        region=one.placement.region,
        record=task.to_bytes(),
        slice_executions=tuple(slice_executions),
        co_tenants=co_tenants(one.job.tenant_id, [other.job.tenant_id for other in placed]),
        crosstalk_loss=_crosstalk_loss(one, contexts, snapshot),
        fairness_cost=one.placement.fairness_cost,
    )


def _crosstalk_loss(one: _Placed, contexts: Contexts, snapshot: Snapshot) -> float:
    """Predicted success probability alone minus the same beside the neighbours, averaged over shots."""
    lost = 0.0
    total = 0
    for number, met in contexts.items():
        circuit = one.circuits[one.program.executions[number].circuit]
        for factors, shots in met.values():
            total += shots
            if factors.size:
                lost += shots * (1.0 - exp(-added_loss(circuit, snapshot, factors)))
    return exp(-one.placement.loss) * lost / total if total else 0.0
