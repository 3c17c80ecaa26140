"""Rows → wire documents: what a tenant is shown of them, and nothing else."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from qpu_backend.domain.errors import InvalidRequest
from qpu_backend.domain.privacy import CoTenants, told_loss
from qpu_sdk.wire.models import (
    JobDocument,
    JobEvent,
    JobState,
    ProgramKind,
    WaitReason,
)
from qpu_sdk.wire.results import ExpectationsOfPub, PointsOfPub, QuasiOfBinding, Register, ShotsOfPub, decode_result
from qpu_sdk.wire.usage import MeteringRecord

if TYPE_CHECKING:
    from qpu_backend.pipeline.outlook import Outlook
    from qpu_backend.stores.batches import PlacedJob
    from qpu_backend.stores.events import EventRow
    from qpu_backend.stores.jobs import JobRow
    from qpu_backend.stores.money import UsageRow

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST: Final = datetime(9000, 1, 1, tzinfo=UTC)
"""What is told again must fit a calendar, in every time zone and some time later."""


def wall(at_us: int) -> datetime:
    """Stored wall time → aware UTC, exact to the microsecond."""
    return _EPOCH + timedelta(microseconds=at_us)


def wall_or_none(at_us: int | None) -> datetime | None:
    """Stored wall time, where there may be none."""
    return None if at_us is None else wall(at_us)


def micros(moment: datetime, field: str) -> int:
    """A moment that a client sent → wall time to store.

    Raises:
        InvalidRequest: it names no time zone, or is not between 1970 and 9000.
    """
    if moment.tzinfo is None:
        raise InvalidRequest(f"{field} must name its time zone, e.g. 2026-01-01T00:00:00Z", field=field)
    if not _EPOCH <= moment < _LATEST:
        raise InvalidRequest(f"{field} must lie between the years 1970 and 9000", field=field)
    return (moment - _EPOCH) // timedelta(microseconds=1)


def job_document(
    row: JobRow, *, replayed: bool = False, waits: Outlook | None = None, snapshot_id: str | None = None
) -> JobDocument:
    """A job as its tenant sees it."""
    waiting = None
    if waits is not None:
        waiting = WaitReason(message=waits.message, jobs_ahead=waits.ahead, start_in_s=waits.start_in_s)
    return JobDocument(
        id=row.id,
        backend=row.backend,
        program=ProgramKind(row.program),
        state=JobState(row.state),
        created_at=wall(row.created_at_us),
        finished_at=wall_or_none(row.finished_at_us),
        tags=list(row.tags),
        num_circuits=row.num_circuits,
        num_executions=row.num_executions,
        shots=row.shots,
        calibration_id=row.calibration_id if _pinned(row) else snapshot_id or row.calibration_id,
        price_micro=row.price_micro,
        quote_id=row.quote_id,
        estimated_device_s=row.device_us / 1e6,
        idempotency_key=row.idempotency_key,
        session=row.session_id,
        error_code=row.error_code,
        error_message=row.error_message,
        legs=row.num_legs,
        legs_done=row.num_legs if row.result_sha is not None else row.leg,
        waiting=waiting,
        replayed=replayed,
    )


def _pinned(row: JobRow) -> bool:
    return row.calibration_id is not None and row.options.get("drift_policy") == "pin"


def event_document(row: EventRow) -> JobEvent:
    """An event as its tenant sees it."""
    return JobEvent(
        job_id=row.job_id,
        seq=row.seq,
        cursor=row.cursor,
        name=row.name,
        state=JobState(row.state),
        at=wall(row.at_us),
        device_time_us=row.device_time_us,
        message=row.message,
    )


def metering_record(row: JobRow, usage: UsageRow | None, placement: PlacedJob | None) -> MeteringRecord:
    """What a job used: the usage record once there is one, otherwise what it will be."""
    return MeteringRecord(
        job_id=row.id,
        usage_id=None if usage is None else usage.id,
        state=JobState(row.state),
        shots=row.shots if usage is None else usage.shots,
        device_us=row.device_us if usage is None else usage.device_us,
        footprint_qubits=row.footprint_qubits if usage is None else usage.footprint_qubits,
        price_book=row.price_book if usage is None else usage.price_book,
        price_micro=row.price_micro if usage is None else usage.price_micro,
        quote_id=row.quote_id,
        lane=row.lane,
        simulator_cpu_us=0 if usage is None else usage.simulator_cpu_us,
        result_bytes=0 if usage is None else usage.result_bytes,
        placement=None if placement is None else list(placement.placement.region),
        co_tenants=None if placement is None else CoTenants(placement.placement.co_tenants).value,
        crosstalk_loss=None if placement is None else told_loss(placement.placement.crosstalk_loss or 0.0),
        calibration_id=None if placement is None else placement.snapshot_id,
        seed=row.seed,
        started_at=wall_or_none(row.started_at_us),
        finished_at=wall_or_none(row.finished_at_us),
    )


def result_as_json(body: bytes) -> dict[str, Any]:
    """A result for clients without MessagePack: hex counts over all classical bits, IQ points or expectation values."""
    result = decode_result(body)
    pubs: list[dict[str, Any]] = []
    for pub in result.pubs:
        if isinstance(pub, ShotsOfPub):
            counts = [_hex_counts(bits) for bits in pub.bits]
            quasi = [_hex_quasi(one) for one in pub.quasi]
            shots = {"counts": counts, "registers": _registers(pub.registers)}
            pubs.append(shots | {"quasi": quasi} if quasi else shots)
        elif isinstance(pub, PointsOfPub):
            points = np.stack([pub.points.real, pub.points.imag], axis=-1).tolist()
            pubs.append({"points": points, "shots": pub.shots, "registers": _registers(pub.registers)})
        else:
            pubs.append({"evs": pub.evs.tolist(), "stds": pub.stds.tolist(), "shots": pub.shots} | _mitigated(pub))
    return {"job_id": result.job_id, "program": result.program, "pubs": pubs, "metadata": result.metadata}


def _registers(registers: tuple[Register, ...]) -> list[dict[str, Any]]:
    return [{"name": register.name, "clbits": list(register.clbits)} for register in registers]


def _hex_quasi(found: QuasiOfBinding) -> dict[str, Any]:
    names = [hex(int.from_bytes(string.tobytes(), "little")) for string in found.strings]
    return {"values": dict(zip(names, found.values.tolist(), strict=True)), "overhead": found.overhead}


def _mitigated(pub: ExpectationsOfPub) -> dict[str, Any]:
    told: dict[str, Any] = {}
    if pub.overheads is not None:
        told["overheads"] = pub.overheads.tolist()
    if pub.evs_noise_factors is not None and pub.stds_noise_factors is not None:
        told["evs_noise_factors"] = pub.evs_noise_factors.tolist()
        told["stds_noise_factors"] = pub.stds_noise_factors.tolist()
        told["extrapolators"] = list(pub.extrapolators)
    return told


def _hex_counts(bits: np.ndarray[Any, np.dtype[np.uint8]]) -> dict[str, int]:
    values, counts = np.unique(bits, axis=0, return_counts=True)
    return {
        hex(int.from_bytes(value.tobytes(), "little")): int(count) for value, count in zip(values, counts, strict=True)
    }
