"""Postprocessing: shots of slices → the result of a job, as bytes. Every shot is a real one; nothing is resampled.

Bits, IQ points or their means, or expectation values.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from qpu_backend.domain.observables import expectations
from qpu_backend.domain.privacy import told_loss
from qpu_sdk.wire.models import ProgramKind
from qpu_sdk.wire.results import ExpectationsOfPub, JobResult, PointsOfPub, Register, ShotsOfPub, encode_result

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from qpu_backend.domain.programs import Program
    from qpu_backend.physics.circuit import IsaCircuit
    from qpu_backend.pipeline.batching import Batch, Member
    from qpu_backend.pipeline.execution import MemberOutcome
    from qpu_sdk.wire.results import PubAnswer


def package(batch: Batch, member: Member, outcome: MemberOutcome) -> bytes:
    """The immutable result of one job of a batch."""
    return encode_result(result_of(batch, member, outcome))


def result_of(batch: Batch, member: Member, outcome: MemberOutcome) -> JobResult:
    """The same before it is packed."""
    program = member.program
    options = member.job.options
    pubs: Sequence[PubAnswer]
    if program.kind == "estimator":
        pubs = _expectations(program, _shots_of_executions(member, outcome))
    elif options["meas_level"] == 1:
        pubs = _acquired(program, _points_of_executions(member, outcome), averaged=options["meas_return"] == "avg")
    else:
        pubs = _measured(program, _shots_of_executions(member, outcome))
    metadata: dict[str, Any] = {
        "backend": member.job.backend,
        "calibration_id": batch.snapshot_id,
        "device_time_us": batch.device_start_us,
        "placement": list(member.region),
        "co_tenants": member.co_tenants,
        "crosstalk_loss": told_loss(member.crosstalk_loss),
        "seed": member.job.seed,
        "methods": sorted({_told_method(piece.method) for piece in outcome.slices}),
        "versions": outcome.fingerprint,
    }
    if member.caveats:
        metadata["warnings"] = list(member.caveats)
    return JobResult(member.job.id, ProgramKind(program.kind), tuple(pubs), metadata)


def _told_method(method: str) -> str:
    """The region engine is the exact mixed state too; that it was needed would tell of a neighbour."""
    return "density_matrix" if method == "region" else method


def _shots_of_executions(member: Member, outcome: MemberOutcome) -> list[NDArray[np.uint8]]:
    """Per execution, uint8 ``(shots, nbytes)``: its slices one after the other."""
    pieces: list[list[NDArray[np.uint8]]] = [[] for _ in member.program.executions]
    for execution, piece in zip(member.slice_executions, outcome.slices, strict=True):
        pieces[execution].append(piece.bits)
    return [parts[0] if len(parts) == 1 else np.concatenate(parts) for parts in pieces]


def _points_of_executions(member: Member, outcome: MemberOutcome) -> list[NDArray[np.complex64]]:
    """Per execution, complex64 ``(shots, num_clbits)``: its slices one after the other."""
    pieces: list[list[NDArray[np.complex64]]] = [[] for _ in member.program.executions]
    for execution, piece in zip(member.slice_executions, outcome.slices, strict=True):
        if piece.points is None:
            raise ValueError(f"a slice of {member.job.id} has bits where IQ points were asked for")
        pieces[execution].append(piece.points)
    return [parts[0] if len(parts) == 1 else np.concatenate(parts) for parts in pieces]


def _executions_of_pubs(program: Program) -> list[list[int]]:
    by_pub: list[list[int]] = [[] for _ in program.angles]
    for index, execution in enumerate(program.executions):
        by_pub[execution.pub].append(index)
    return by_pub


def _registers(circuit: IsaCircuit) -> tuple[Register, ...]:
    return tuple(Register(register.name, register.clbits) for register in circuit.registers)


def _measured(program: Program, shots: list[NDArray[np.uint8]]) -> list[ShotsOfPub]:
    pubs: list[ShotsOfPub] = []
    for indices in _executions_of_pubs(program):
        circuit = program.circuits[program.executions[indices[0]].circuit]
        bits = np.stack([shots[index] for index in indices])
        pubs.append(ShotsOfPub(bits=bits, num_clbits=circuit.num_clbits, registers=_registers(circuit)))
    return pubs


def _acquired(program: Program, points: list[NDArray[np.complex64]], *, averaged: bool) -> list[PointsOfPub]:
    pubs: list[PointsOfPub] = []
    for indices in _executions_of_pubs(program):
        circuit = program.circuits[program.executions[indices[0]].circuit]
        every = np.stack([points[index] for index in indices])
        shots = every.shape[1]
        if averaged:  # here, so that only the means travel; with double precision on the way
            every = every.mean(axis=1, dtype=np.complex128).astype(np.complex64)
        pubs.append(PointsOfPub(points=every, shots=shots, registers=_registers(circuit)))
    return pubs


def _expectations(program: Program, shots: list[NDArray[np.uint8]]) -> tuple[ExpectationsOfPub, ...]:
    measured: list[dict[tuple[int, int], NDArray[np.uint8]]] = [{} for _ in program.angles]
    for index, execution in enumerate(program.executions):
        measured[execution.pub][execution.binding, execution.basis] = shots[index]
    pubs: list[ExpectationsOfPub] = []
    for plan, bits in zip(program.plans, measured, strict=True):
        evs, stds = expectations(plan, bits)
        pubs.append(ExpectationsOfPub(evs=evs, stds=stds, shots=plan.shots, target_precision=plan.precision))
    return tuple(pubs)
