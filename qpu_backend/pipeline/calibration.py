"""Calibrating a device, and letting its time pass: what an operator does, beside the running service.

An attempt is one transaction under the lock of the device's row. It moves the device's clock on by what calibrating
takes, measures the truth of that moment, and publishes a numbered snapshot, or records why there is none. Batches that
run are not touched: their device time was theirs when they were committed. A batch planned against the snapshot or the
clock from before is planned again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from qpu_backend.domain.audit import SERVICE
from qpu_backend.physics.calibration import CalibrationFailed, duration_us, measure
from qpu_backend.stores import audit, blobs, calibrations, devices, snapshots
from qpu_backend.stores.calibrations import CalibrationRow
from qpu_backend.stores.errors import MissingRow
from qpu_backend.telemetry.logs import logger
from qpu_sdk.wire.codec import pack

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Connection

    from qpu_backend.domain.tenancy import SystemScope
    from qpu_backend.physics.snapshot import Snapshot
    from qpu_backend.pipeline.backends import Calibrated
    from qpu_backend.pipeline.clocks import WallClock
    from qpu_backend.pipeline.fleet import Fleet
    from qpu_backend.stores.database import Database


@dataclass(frozen=True, slots=True, eq=False)
class Attempt:
    """What came of calibrating.

    Attributes:
        row: the attempt as it is kept.
        before: the snapshot that was current before.
        after: the one that is now; ``None`` when the attempt failed, and ``before`` still is.
    """

    row: CalibrationRow
    before: Snapshot
    after: Snapshot | None


class Calibration:
    """Calibrates devices. Safe to call from many threads and processes."""

    def __init__(self, database: Database, scope: SystemScope, fleet: Fleet, clock: WallClock) -> None:
        self._database = database
        self._scope = scope
        self._fleet = fleet
        self._clock = clock
        self._log = logger("calibration")

    def calibrate(self, device_id: str, *, actor: str = SERVICE) -> Attempt:
        """Measure a device and publish what was measured, or fail and publish nothing. Takes device time either way.

        Raises:
            MissingRow: there is no such device.
        """
        with self._database.write() as connection:
            device, current = self._locked(connection, device_id)
            takes_us = duration_us(current.model)
            ends_us = device.device_time_us + takes_us
            drift = self._fleet.drift(device_id)
            number = snapshots.next_snapshot_number(connection, self._scope, device_id)
            now_us = self._clock.now_us()
            truth = drift.truth(ends_us, ends_us)
            found = measure(truth, drift.secret, number, device_time_us=ends_us, measured_at_us=now_us)
            self._advance(connection, device, ends_us)
            if isinstance(found, CalibrationFailed):
                row = CalibrationRow(device_id, ends_us, takes_us, now_us, None, found.reason)
            else:
                (sha,) = blobs.put_blobs(connection, [pack(found.to_document())])
                published = snapshots.publish_snapshot(
                    connection,
                    self._scope,
                    device_id=device_id,
                    number=number,
                    published_at_us=now_us,
                    device_time_us=ends_us,
                    blob_sha=sha,
                    out_of_service=current.row.out_of_service,
                )
                row = CalibrationRow(device_id, ends_us, takes_us, now_us, published.id)
            calibrations.record_calibration(connection, self._scope, row)
            facts = {"snapshot": row.snapshot_id, "failure": row.failure, "device_time_us": ends_us}
            self._note(connection, actor, "device.calibrated", device_id, facts)
        if isinstance(found, CalibrationFailed):
            self._log.warning("calibration_failed", device=device_id, reason=found.reason)
            return Attempt(row, current.snapshot, None)
        self._log.info("snapshot_published", device=device_id, number=number, snapshot=row.snapshot_id)
        return Attempt(row, current.snapshot, current.quarantine.taken_from(found))

    def history(self, device_id: str, *, limit: int = 20) -> list[tuple[CalibrationRow, int | None]]:
        """Attempts, newest first, each with the number of the snapshot it published.

        Raises:
            MissingRow: there is no such device.
        """
        with self._database.read() as connection:
            if devices.read_device(connection, device_id) is None:
                raise MissingRow("device", device_id)
            return calibrations.list_calibrations(connection, self._scope, device_id, limit=limit)

    def pass_time(self, device_id: str, us: int, *, actor: str = SERVICE) -> int:
        """Let a device idle for so many µs of its own time; it cannot go back.

        Returns:
            Its device time now.

        Raises:
            MissingRow: there is no such device.
            ClockReversed: the time is negative.
        """
        with self._database.write() as connection:
            device = devices.lock_device(connection, self._scope, device_id)
            self._advance(connection, device, device.device_time_us + us)
            facts = {"from_us": device.device_time_us, "passed_us": us}
            self._note(connection, actor, "device.time_passed", device_id, facts)
        self._log.info("device_time_passed", device=device_id, passed_us=us)
        return device.device_time_us + us

    def _locked(self, connection: Connection, device_id: str) -> tuple[devices.DeviceRow, Calibrated]:
        device = devices.lock_device(connection, self._scope, device_id)
        if device_id not in self._fleet.device_ids:
            raise MissingRow("device", device_id)
        return device, self._fleet.refresh(connection, device)

    def _note(
        self, connection: Connection, actor: str, action: str, device_id: str, facts: Mapping[str, object]
    ) -> None:
        audit.append(
            connection,
            self._scope,
            actor=actor,
            action=action,
            subject=device_id,
            tenant_id=None,
            facts=facts,
            now_us=self._clock.now_us(),
        )

    def _advance(self, connection: Connection, device: devices.DeviceRow, to_us: int) -> None:
        devices.advance_clock(
            connection, self._scope, device.id, device_time_us=to_us, virtual_time=device.virtual_time
        )
