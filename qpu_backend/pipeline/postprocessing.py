"""Postprocessing: shots of slices → the result of a job, as bytes. Every shot is a real one; nothing is resampled."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from qpu_backend.domain.observables import expectations
from qpu_backend.domain.privacy import told_loss
from qpu_sdk.wire.models import ProgramKind
from qpu_sdk.wire.results import ExpectationsOfPub, JobResult, Register, ShotsOfPub, encode_result

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from qpu_backend.domain.programs import Program
    from qpu_backend.pipeline.batching import Batch, Member
    from qpu_backend.pipeline.execution import MemberOutcome


def package(batch: Batch, member: Member, outcome: MemberOutcome) -> bytes:
    """The immutable result of one job of a batch."""
    shots = _shots_of_executions(member, outcome)
    program = member.program
    if program.kind == "estimator":
        pubs: tuple[ShotsOfPub | ExpectationsOfPub, ...] = _expectations(program, shots)
    else:
        pubs = _measured(program, shots)
    metadata: dict[str, Any] = {
        "backend": member.job.backend,
        "calibration_id": batch.snapshot_id,
        "device_time_us": batch.device_start_us,
        "placement": list(member.region),
        "co_tenants": member.co_tenants,
        "crosstalk_loss": told_loss(member.crosstalk_loss),
        "seed": member.job.seed,
        "methods": sorted({piece.method for piece in outcome.slices}),
        "versions": outcome.fingerprint,
    }
    return encode_result(JobResult(member.job.id, ProgramKind(program.kind), pubs, metadata))


def _shots_of_executions(member: Member, outcome: MemberOutcome) -> list[NDArray[np.uint8]]:
    """Per execution, uint8 ``(shots, nbytes)``: its slices one after the other."""
    pieces: list[list[NDArray[np.uint8]]] = [[] for _ in member.program.executions]
    for execution, piece in zip(member.slice_executions, outcome.slices, strict=True):
        pieces[execution].append(piece.bits)
    return [parts[0] if len(parts) == 1 else np.concatenate(parts) for parts in pieces]


def _measured(program: Program, shots: list[NDArray[np.uint8]]) -> tuple[ShotsOfPub, ...]:
    by_pub: list[list[int]] = [[] for _ in program.angles]
    for index, execution in enumerate(program.executions):
        by_pub[execution.pub].append(index)
    pubs: list[ShotsOfPub] = []
    for indices in by_pub:
        circuit = program.circuits[program.executions[indices[0]].circuit]
        registers = tuple(Register(register.name, register.clbits) for register in circuit.registers)
        bits = np.stack([shots[index] for index in indices])
        pubs.append(ShotsOfPub(bits=bits, num_clbits=circuit.num_clbits, registers=registers))
    return tuple(pubs)


def _expectations(program: Program, shots: list[NDArray[np.uint8]]) -> tuple[ExpectationsOfPub, ...]:
    measured: list[dict[tuple[int, int], NDArray[np.uint8]]] = [{} for _ in program.angles]
    for index, execution in enumerate(program.executions):
        measured[execution.pub][execution.binding, execution.basis] = shots[index]
    pubs: list[ExpectationsOfPub] = []
    for plan, bits in zip(program.plans, measured, strict=True):
        evs, stds = expectations(plan, bits)
        pubs.append(ExpectationsOfPub(evs=evs, stds=stds, shots=plan.shots, target_precision=plan.precision))
    return tuple(pubs)
