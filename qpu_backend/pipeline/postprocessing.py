"""Postprocessing: shots of slices → the result of a job, as bytes. Every shot is a real one; nothing is resampled.

The legs of a job are joined shot by shot; means and expectation values are those of all its shots together. Bits, IQ
points or their means, or expectation values.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from qpu_backend.domain.observables import expectations
from qpu_backend.domain.privacy import CoTenants, told_loss
from qpu_backend.pipeline.mitigated import mitigated
from qpu_sdk.wire.models import ProgramKind
from qpu_sdk.wire.results import ExpectationsOfPub, JobResult, PointsOfPub, Register, ShotsOfPub, encode_result

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from qpu_backend.domain.programs import Program
    from qpu_backend.physics.circuit import IsaCircuit
    from qpu_backend.pipeline.parts import Part
    from qpu_backend.stores.jobs import JobRow
    from qpu_sdk.wire.results import PubAnswer


def package(job: JobRow, program: Program, parts: Sequence[Part]) -> bytes:
    """The immutable result of a job, from what each of its legs measured, in order."""
    return encode_result(result_of(job, program, parts))


def result_of(job: JobRow, program: Program, parts: Sequence[Part]) -> JobResult:
    """The same before it is packed."""
    pubs: Sequence[PubAnswer]
    treatment = program.treatment
    if treatment is not None:
        pubs, told = mitigated(program, treatment, _shots_of_executions(program, parts), parts)
        metadata = _metadata(job, parts) | {"mitigation": told}
        return JobResult(job.id, ProgramKind(program.kind), tuple(pubs), metadata)
    if program.kind == "estimator":
        pubs = _expectations(program, _shots_of_executions(program, parts))
    elif job.options["meas_level"] == 1:
        points = _points_of_executions(job, program, parts)
        pubs = _acquired(program, points, averaged=job.options["meas_return"] == "avg")
    else:
        pubs = _measured(program, _shots_of_executions(program, parts))
    return JobResult(job.id, ProgramKind(program.kind), tuple(pubs), _metadata(job, parts))


def _metadata(job: JobRow, parts: Sequence[Part]) -> dict[str, Any]:
    """How it ran. Of a job of several legs: how the last one did, all their company, and ``legs`` with each of them."""
    last = parts[-1]
    loss = last.crosstalk_loss
    if len(parts) > 1:
        loss = sum(part.shots * part.crosstalk_loss for part in parts) / sum(part.shots for part in parts)
    metadata: dict[str, Any] = {
        "backend": job.backend,
        "calibration_id": last.calibration_id,
        "device_time_us": last.device_start_us,
        "placement": list(last.region),
        "co_tenants": max((CoTenants(part.co_tenants) for part in parts), key=list(CoTenants).index).value,
        "crosstalk_loss": told_loss(loss),
        "seed": job.seed,
        "methods": sorted({_told_method(piece.method) for part in parts for piece in part.slices}),
        "versions": last.fingerprint,
    }
    if warnings := list(dict.fromkeys(warning for part in parts for warning in part.caveats)):
        metadata["warnings"] = warnings
    if shapes := job.options.get("pub_shapes"):
        metadata["pub_shapes"] = shapes
    if last.choices:
        metadata["compiled"] = _compiled(last)
    if len(parts) > 1:
        metadata["legs"] = [
            {
                "shots": part.shots,
                "calibration_id": part.calibration_id,
                "device_time_us": part.device_start_us,
                "placement": list(part.region),
                "co_tenants": part.co_tenants,
                "crosstalk_loss": told_loss(part.crosstalk_loss),
                "versions": part.fingerprint,
            }
            | ({"compiled": _compiled(part)} if part.choices else {})
            for part in parts
        ]
    return metadata


def _compiled(part: Part) -> list[dict[str, Any]]:
    """For each abstract circuit, what it was compiled for, and the success predicted for it either way."""
    return [
        {"on": choice.on, "predicted_success": {"shape": choice.shape_success, "region": choice.region_success}}
        for choice in part.choices
    ]


def _told_method(method: str) -> str:
    """The region engine is the exact mixed state too; that it was needed would tell of a neighbour."""
    return "density_matrix" if method == "region" else method


def _shots_of_executions(program: Program, parts: Sequence[Part]) -> list[NDArray[np.uint8]]:
    """Per execution, uint8 ``(shots, nbytes)``: its slices one after the other, leg by leg."""
    pieces: list[list[NDArray[np.uint8]]] = [[] for _ in program.executions]
    for part in parts:
        for execution, piece in zip(part.executions, part.slices, strict=True):
            pieces[execution].append(piece.bits)
    return [found[0] if len(found) == 1 else np.concatenate(found) for found in pieces]


def _points_of_executions(job: JobRow, program: Program, parts: Sequence[Part]) -> list[NDArray[np.complex64]]:
    """Per execution, complex64 ``(shots, num_clbits)``: its slices one after the other, leg by leg."""
    pieces: list[list[NDArray[np.complex64]]] = [[] for _ in program.executions]
    for part in parts:
        for execution, piece in zip(part.executions, part.slices, strict=True):
            if piece.points is None:
                raise ValueError(f"a slice of {job.id} has bits where IQ points were asked for")
            pieces[execution].append(piece.points)
    return [found[0] if len(found) == 1 else np.concatenate(found) for found in pieces]


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
