"""Taking qubits and couplers of a device out of service and back into it: what an operator does, beside the service.

Each change publishes a snapshot of its own: the numbers of the last calibration, without what is out of service. No
device time passes. A batch planned against the snapshot from before is planned again, and running ones end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qpu_backend.domain.audit import SERVICE
from qpu_backend.domain.errors import InvalidRequest
from qpu_backend.domain.quarantine import IN_SERVICE, Quarantine
from qpu_backend.stores import audit, devices, snapshots
from qpu_backend.stores.errors import MissingRow
from qpu_backend.telemetry.logs import logger

if TYPE_CHECKING:
    from qpu_backend.domain.tenancy import SystemScope
    from qpu_backend.pipeline.clocks import WallClock
    from qpu_backend.pipeline.fleet import Fleet
    from qpu_backend.stores.database import Database


class Quarantining:
    """Quarantines of devices. Safe to call from many threads and processes."""

    def __init__(self, database: Database, scope: SystemScope, fleet: Fleet, clock: WallClock) -> None:
        self._database = database
        self._scope = scope
        self._fleet = fleet
        self._clock = clock
        self._log = logger("quarantine")

    def now(self, device_id: str) -> Quarantine:
        """What is out of service on a device.

        Raises:
            MissingRow: there is no such device.
        """
        with self._database.read() as connection:
            device = devices.read_device(connection, device_id)
            if device is None:
                raise MissingRow("device", device_id)
            current = snapshots.read_snapshot(connection, device.snapshot_id or "")
        return IN_SERVICE if current is None else Quarantine.from_document(current.out_of_service)

    def quarantine(self, device_id: str, what: Quarantine, *, note: str = "", actor: str = SERVICE) -> Quarantine:
        """Take qubits and couplers out of service; what is out already stays out.

        Returns:
            All that is out of service now.

        Raises:
            InvalidRequest: nothing is named, the device does not have it, or no qubit would be left.
            MissingRow: there is no such device.
        """
        if not what:
            raise InvalidRequest("name a qubit or a coupler", field="qubits")
        return self._change(device_id, what, note, actor, back=False)

    def release(self, device_id: str, what: Quarantine | None = None, *, actor: str = SERVICE) -> Quarantine:
        """Take qubits and couplers back into service, by default all; jobs that waited for them keep their place.

        Returns:
            All that is out of service still.

        Raises:
            InvalidRequest: the device does not have it.
            MissingRow: there is no such device.
        """
        return self._change(device_id, what, "", actor, back=True)

    def _change(self, device_id: str, what: Quarantine | None, note: str, actor: str, *, back: bool) -> Quarantine:
        with self._database.write() as connection:
            device = devices.lock_device(connection, self._scope, device_id)
            if device_id not in self._fleet.device_ids:
                raise MissingRow("device", device_id)
            current = self._fleet.refresh(connection, device)
            before = current.quarantine
            what = before if what is None else what
            what.require_on(current.model.topology)
            after = before - what if back else before | what
            if after == before:
                return before
            if not after.taken_from(self._fleet.measured(connection, current.row)).usable_qubits:
                raise InvalidRequest("no qubit would be left; pause the device instead", field="qubits")
            now_us = self._clock.now_us()
            published = snapshots.publish_snapshot(
                connection,
                self._scope,
                device_id=device_id,
                number=snapshots.next_snapshot_number(connection, self._scope, device_id),
                published_at_us=now_us,
                device_time_us=current.row.device_time_us,  # of the measurement: nothing was measured since
                blob_sha=current.row.blob_sha,
                out_of_service=after.to_document() if after else None,
            )
            changed = before - after if back else after - before
            audit.append(
                connection,
                self._scope,
                actor=actor,
                action="device.released" if back else "device.quarantined",
                subject=device_id,
                tenant_id=None,
                facts={**changed.to_document(), "note": note, "snapshot": published.id},
                now_us=now_us,
            )
        self._log.info("quarantine_changed", device=device_id, out_of_service=after.to_document())
        return after
