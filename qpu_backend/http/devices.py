"""Backends: the devices and the shapes on them, with topology, calibration and history."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Header, Query
from fastapi.responses import Response

from qpu_backend.domain.errors import NotFound, UnknownBackend
from qpu_backend.http.auth import ReadBackends  # noqa: TC001 - FastAPI reads annotations at run time
from qpu_backend.http.documents import wall
from qpu_backend.http.door import AtDoor, Door  # noqa: TC001
from qpu_backend.http.paths import CalibrationId  # noqa: TC001
from qpu_backend.http.preconditions import is_known
from qpu_backend.physics.circuit import Op
from qpu_backend.stores import devices, jobs, snapshots
from qpu_sdk.wire.models import (
    BackendDocument,
    BackendKind,
    BackendList,
    BackendStatus,
    BackendSummary,
    CalibrationEntry,
    CalibrationList,
    GateCalibration,
    QubitCalibration,
    ReadoutClouds,
)

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from qpu_backend.physics.readout import Clouds
    from qpu_backend.physics.snapshot import QubitProperties
    from qpu_backend.pipeline.fleet import Backend

router = APIRouter(prefix="/backends", tags=["backends"])

OFFERED_SHAPES = ("line-2", "line-3", "line-4", "line-5", "line-7", "line-10")
"""Shapes in the list of backends. Every ``line-2`` … ``line-20`` can be named."""

_NOT_MODIFIED: dict[int | str, dict[str, Any]] = {304: {"description": "You have it"}}


@router.get("")
def list_backends(door: AtDoor, _scope: ReadBackends) -> BackendList:
    """Every device and the usual shapes on it."""
    summaries: list[BackendSummary] = []
    with door.database.read() as connection:
        for device_id in door.fleet.device_ids:
            status = _status(door, connection, device_id)
            for name in (device_id, *(f"{device_id}:{shape}" for shape in OFFERED_SHAPES)):
                try:
                    backend = door.fleet.backend(connection, name)
                except UnknownBackend:  # a shape that this device has no place for
                    continue
                summaries.append(
                    BackendSummary(
                        name=name,
                        device=device_id,
                        kind=_kind(backend),
                        num_qubits=backend.snapshot.num_qubits,
                        description=_description(backend),
                        calibration_id=backend.calibrated.row.id,
                        pending_jobs=status.pending_jobs,
                        operational=status.operational,
                        status_msg=status.status_msg,
                        calibration_age_s=status.calibration_age_s,
                    )
                )
    return BackendList(backends=summaries)


@router.get("/{name}", response_model=BackendDocument, responses=_NOT_MODIFIED)
def describe(
    door: AtDoor, _scope: ReadBackends, name: str, if_none_match: Annotated[str | None, Header()] = None
) -> Response:
    """Topology and calibration: all a client needs to build a Target. The ETag changes with the calibration."""
    with door.database.read() as connection:
        backend = door.fleet.backend(connection, name)
    return _document_response(door, backend, if_none_match)


@router.get("/{name}/status")
def status(door: AtDoor, _scope: ReadBackends, name: str) -> BackendStatus:
    """Whether the device takes jobs, and how many wait."""
    with door.database.read() as connection:
        backend = door.fleet.backend(connection, name)
        return _status(door, connection, backend.device_id, name)


@router.get("/{name}/calibrations")
def calibrations(
    door: AtDoor,
    _scope: ReadBackends,
    name: str,
    before: Annotated[int | None, Query(ge=1, le=2**31 - 1)] = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
) -> CalibrationList:
    """Published snapshots of the device, newest first."""
    with door.database.read() as connection:
        backend = door.fleet.backend(connection, name)
        rows = snapshots.list_snapshots(connection, backend.device_id, before_number=before, limit=limit)
    return CalibrationList(
        calibrations=[
            CalibrationEntry(
                id=row.id, number=row.number, calibrated_at=wall(row.published_at_us), device_time_us=row.device_time_us
            )
            for row in rows
        ]
    )


@router.get("/{name}/calibrations/{calibration_id}", response_model=BackendDocument, responses=_NOT_MODIFIED)
def describe_as_of(
    door: AtDoor,
    _scope: ReadBackends,
    name: str,
    calibration_id: CalibrationId,
    if_none_match: Annotated[str | None, Header()] = None,
) -> Response:
    """The backend as it was published with one of its snapshots. Never changes."""
    with door.database.read() as connection:
        backend = door.fleet.backend(connection, name)
        row = snapshots.read_snapshot(connection, calibration_id)
        if row is None or row.device_id != backend.device_id:
            raise NotFound("calibration", calibration_id)
        then = door.fleet.past_backend(connection, backend.name, row)
    return _document_response(door, then, if_none_match)


def _document_response(door: Door, backend: Backend, if_none_match: str | None) -> Response:
    etag = '"' + hashlib.sha256(f"{backend.name}/{backend.calibrated.row.id}/{door.version}".encode()).hexdigest() + '"'
    headers = {"ETag": etag, "Cache-Control": "private, no-cache"}
    if is_known(etag, if_none_match):
        return Response(status_code=304, headers=headers)
    body = backend_document(backend, door.limits.max_shots, door.limits.max_circuits).model_dump_json()
    return Response(body, headers=headers, media_type="application/json")


def backend_document(backend: Backend, max_shots: int, max_circuits: int) -> BackendDocument:
    """A backend as it is published."""
    model, snapshot, timing = backend.model, backend.snapshot, backend.model.timing
    gates = [
        GateCalibration(name=_gate_name(op), qubits=list(qubits), error=gate.error, duration_ns=gate.duration_ns)
        for (op, qubits), gate in snapshot.gates.items()
    ]
    names = dict.fromkeys([*(_gate_name(op) for op in model.basis), "delay", "measure", "reset"])
    return BackendDocument(
        name=str(backend.name),
        device=backend.device_id,
        kind=_kind(backend),
        description=_description(backend),
        num_qubits=snapshot.num_qubits,
        basis_gates=list(names),
        control_flow=["if_else"],
        dt_ns=timing.dt_ns,
        granularity=timing.granularity,
        pulse_alignment=timing.pulse_alignment,
        acquire_alignment=timing.acquire_alignment,
        rep_delay_us=timing.rep_delay_us,
        rep_delay_range_us=timing.rep_delay_range_us,
        overhead_s=timing.overhead_s,
        max_shots=min(max_shots, model.max_shots),
        max_circuits=min(max_circuits, model.max_circuits),
        max_simulated_qubits=backend.max_simulated_qubits,
        calibration_id=backend.calibrated.row.id,
        calibrated_at=wall(backend.calibrated.row.published_at_us),
        device_time_us=backend.calibrated.row.device_time_us,
        source=model.source,
        qubits=[
            None if qubit is None else _qubit(qubit, snapshot.clouds(q)) for q, qubit in enumerate(snapshot.qubits)
        ],
        gates=gates,
        regions=None if backend.shape is None else backend.shape.regions,
        spread=None if backend.shape is None else backend.shape.spread,
    )


def _qubit(qubit: QubitProperties, clouds: Clouds) -> QubitCalibration:
    return QubitCalibration(
        t1_us=qubit.t1_us,
        t2_us=qubit.t2_us,
        frequency_hz=qubit.frequency_hz,
        anharmonicity_hz=qubit.anharmonicity_hz,
        prob_meas1_prep0=qubit.prob_meas1_prep0,
        prob_meas0_prep1=qubit.prob_meas0_prep1,
        readout_error=qubit.readout_error,
        readout_duration_ns=qubit.readout_duration_ns,
        readout=ReadoutClouds(
            axis=_iq(clouds.discriminator.axis),
            threshold=clouds.discriminator.threshold,
            centre_0=_iq(clouds.centre_0),
            centre_1=_iq(clouds.centre_1),
            sigma=clouds.discriminator.sigma,
        ),
    )


def _iq(point: complex) -> tuple[float, float]:
    return point.real, point.imag


def _gate_name(op: Op) -> str:
    return Op(op).name.lower()


def _kind(backend: Backend) -> BackendKind:
    return BackendKind.DEVICE if backend.shape is None else BackendKind.VIRTUAL


def _description(backend: Backend) -> str:
    if backend.shape is None:
        return backend.model.description
    return (
        f"A {backend.shape.name} without fixed qubits, placed at dispatch on one of {backend.shape.regions} regions of "
        f"{backend.device_id}; the calibration is the median over them."
    )


def _status(door: Door, connection: Connection, device_id: str, name: str | None = None) -> BackendStatus:
    row = devices.read_device(connection, device_id)
    if row is None:
        raise UnknownBackend(device_id)
    calibration = door.fleet.refresh(connection, row).row
    return BackendStatus(
        name=name or device_id,
        operational=row.operational,
        status_msg=row.status_msg,
        pending_jobs=jobs.count_queued(connection, door.system, device_id),
        calibration_id=calibration.id,
        device_time_us=row.device_time_us,
        calibrated_at=wall(calibration.published_at_us),
        calibration_age_s=(row.device_time_us - calibration.device_time_us) / 1e6,
    )
