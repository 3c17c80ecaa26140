"""Backends: the devices, the tenant's slices of them and the shapes on both, with topology, calibration and history."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Header, Query
from fastapi.responses import Response

from qpu_backend.domain.errors import NotFound, UnknownBackend
from qpu_backend.domain.privacy import told_windows
from qpu_backend.http.auth import ReadBackends  # noqa: TC001 - FastAPI reads annotations at run time
from qpu_backend.http.documents import wall
from qpu_backend.http.door import AtDoor, Door  # noqa: TC001
from qpu_backend.http.paths import CalibrationId  # noqa: TC001
from qpu_backend.http.preconditions import is_known
from qpu_backend.physics.circuit import Op
from qpu_backend.stores import bookings, devices, jobs, snapshots
from qpu_sdk.wire.models import (
    BackendDocument,
    BackendKind,
    BackendList,
    BackendSummary,
    CalibrationEntry,
    CalibrationList,
    GateCalibration,
    QubitCalibration,
    ReadoutClouds,
)
from qpu_sdk.wire.status import BackendStatus, DeviceWindow

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from qpu_backend.domain.tenancy import TenantScope
    from qpu_backend.physics.readout import Clouds
    from qpu_backend.physics.snapshot import QubitProperties
    from qpu_backend.pipeline.backends import Backend
    from qpu_backend.stores.devices import DeviceRow

router = APIRouter(prefix="/backends", tags=["backends"])

OFFERED_SHAPES = (
    *("line-2", "line-3", "line-4", "line-5", "line-7", "line-10"),
    *("tee-1-1-1", "tee-2-2-1", "tee-2-2-2", "eye-1-1-1-1-1", "ring-12"),  # what a heavy-hex lattice is made of
    *("grid-2-2", "grid-2-3"),
)
"""Shapes in the list of backends, of devices where they fit; the others of :mod:`qpu_backend.domain.shapes` by name."""

_SUBMISSIONS = "jobs may be submitted, and wait"
_WINDOWS_TOLD = 100

_NOT_MODIFIED: dict[int | str, dict[str, Any]] = {304: {"description": "You have it"}}


@router.get("")
def list_backends(door: AtDoor, scope: ReadBackends) -> BackendList:
    """Every device, the slices of it that are this tenant's, and the usual shapes on each."""
    summaries: list[BackendSummary] = []
    with door.database.read() as connection:
        for device_id in door.fleet.device_ids:
            status = _status(door, connection, scope, device_id)
            slices = [f"{device_id}/{name}" for name in door.fleet.slices_of(connection, device_id, scope)]
            for name in (each for place in (device_id, *slices) for each in (place, *_shapes_on(place))):
                try:
                    backend = door.fleet.backend(connection, name, scope)
                except UnknownBackend:  # a shape that has no place there
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


@router.get("/{name:backend}", response_model=BackendDocument, responses=_NOT_MODIFIED)
def describe(
    door: AtDoor, scope: ReadBackends, name: str, if_none_match: Annotated[str | None, Header()] = None
) -> Response:
    """Topology and calibration: all a client needs to build a Target. The ETag changes with the calibration."""
    with door.database.read() as connection:
        backend = door.fleet.backend(connection, name, scope)
    return _document_response(door, backend, if_none_match)


@router.get("/{name:backend}/status")
def status(door: AtDoor, scope: ReadBackends, name: str) -> BackendStatus:
    """Whether the device takes jobs, how many wait, and when it is booked."""
    with door.database.read() as connection:
        backend = door.fleet.backend(connection, name, scope)
        return _status(door, connection, scope, backend.device_id, name)


@router.get("/{name:backend}/calibrations")
def calibrations(
    door: AtDoor,
    scope: ReadBackends,
    name: str,
    before: Annotated[int | None, Query(ge=1, le=2**31 - 1)] = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
) -> CalibrationList:
    """Published snapshots of the device, newest first."""
    with door.database.read() as connection:
        backend = door.fleet.backend(connection, name, scope)
        rows = snapshots.list_snapshots(connection, backend.device_id, before_number=before, limit=limit)
    return CalibrationList(
        calibrations=[
            CalibrationEntry(
                id=row.id, number=row.number, calibrated_at=wall(row.published_at_us), device_time_us=row.device_time_us
            )
            for row in rows
        ]
    )


@router.get("/{name:backend}/calibrations/{calibration_id}", response_model=BackendDocument, responses=_NOT_MODIFIED)
def describe_as_of(
    door: AtDoor,
    scope: ReadBackends,
    name: str,
    calibration_id: CalibrationId,
    if_none_match: Annotated[str | None, Header()] = None,
) -> Response:
    """The backend as it was published with one of its snapshots. Never changes."""
    with door.database.read() as connection:
        backend = door.fleet.backend(connection, name, scope)
        row = snapshots.read_snapshot(connection, calibration_id)
        if row is None or row.device_id != backend.device_id:
            raise NotFound("calibration", calibration_id)
        then = door.fleet.past_backend(connection, backend.name, row)
    return _document_response(door, then, if_none_match)


def _document_response(door: Door, backend: Backend, if_none_match: str | None) -> Response:
    place = backend.calibrated.mask_of_place(backend.name)  # changes with the slices of the device
    facts = f"{backend.name}/{backend.calibrated.row.id}/{door.version}/{place:x}"
    etag = '"' + hashlib.sha256(facts.encode()).hexdigest() + '"'
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
    if backend.shape is not None:
        return (
            f"The shape {backend.shape.name} without fixed qubits, placed at dispatch on one of "
            f"{backend.shape.regions} regions of {backend.name.place}; the calibration is the median over them."
        )
    if backend.name.slice is not None:
        qubits = len(backend.isa.usable_qubits)
        return f"{qubits} qubits of {backend.device_id} that only your jobs use, numbered as on the device."
    return backend.model.description


def _shapes_on(place: str) -> list[str]:
    return [f"{place}:{shape}" for shape in OFFERED_SHAPES]


def _status(
    door: Door, connection: Connection, scope: TenantScope, device_id: str, name: str | None = None
) -> BackendStatus:
    row = devices.read_device(connection, device_id)
    if row is None:
        raise UnknownBackend(device_id)
    calibration, now_us = door.fleet.refresh(connection, row).row, row.device_time_us
    booked = bookings.bookings_ahead(connection, door.system, device_id, device_time_us=now_us)
    own = bookings.own_bookings_ahead(connection, scope, device_id, device_time_us=now_us) if booked else []
    windows = told_windows([one.window for one in booked], {one.id for one in own})
    maintained = bool(windows) and windows[0].kind == "maintenance" and windows[0].starts_us <= now_us
    return BackendStatus(
        name=name or device_id,
        operational=row.operational,
        status_msg=_said(row, maintained=maintained),
        windows=tuple(
            DeviceWindow(kind=one.kind, starts_device_us=one.starts_us, ends_device_us=one.ends_us, id=one.id)
            for one in windows[:_WINDOWS_TOLD]
        ),
        pending_jobs=jobs.count_queued(connection, door.system, device_id),
        calibration_id=calibration.id,
        device_time_us=row.device_time_us,
        calibrated_at=wall(calibration.published_at_us),
        calibration_age_s=(row.device_time_us - calibration.device_time_us) / 1e6,
    )


def _said(device: DeviceRow, *, maintained: bool) -> str:
    """What tenants are told of the device's state: nothing that is closed refuses a job."""
    if not device.operational:
        return f"{device.status_msg}; {_SUBMISSIONS}"
    return f"under maintenance; {_SUBMISSIONS}" if maintained else device.status_msg
