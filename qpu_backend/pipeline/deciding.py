"""Calls the planner, times it, and stops the device if it fails: an error in a decision must not repeat every second.

A stopped device keeps its backlog and takes submissions. The event ``planner_failed`` and the metric of that name are
to be alerted on; ``qpu device resume`` serves the queue again.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from qpu_backend.domain.planning import Plan, Wait, first_in_line, plan
from qpu_backend.stores import devices
from qpu_backend.telemetry.logs import logger

if TYPE_CHECKING:
    from qpu_backend.domain.tenancy import SystemScope
    from qpu_backend.domain.views import QueuedJob
    from qpu_backend.pipeline.lookout import Looked
    from qpu_backend.stores.database import Database
    from qpu_backend.telemetry.metrics import Metrics

STOPPED: Final = "stopped: the scheduler failed and its operator has been alerted; jobs stay queued"


class Decider:
    """Decides for one device."""

    def __init__(self, database: Database, scope: SystemScope, device_id: str, metrics: Metrics) -> None:
        self._database = database
        self._scope = scope
        self._device_id = device_id
        self._metrics = metrics
        self._log = logger("planning")

    def first(self, looked: Looked, epoch: int) -> QueuedJob | None:
        """The job that the device is offered first.

        Args:
            looked: what is seen.
            epoch: of the lease under which the device is served.
        """
        try:
            return first_in_line(looked.view, looked.device, looked.now_us)
        except Exception:  # noqa: BLE001 - whatever it is, the backlog must outlive it
            self._stop(looked, epoch)
            return None

    def decide(self, looked: Looked, epoch: int) -> Plan | Wait:
        """Plan the next batch.

        Args:
            looked: what is seen.
            epoch: of the lease under which the device is served.
        """
        started = time.perf_counter()
        try:
            return plan(looked.view, looked.device, looked.now_us)
        except Exception:  # noqa: BLE001 - whatever it is, the backlog must outlive it
            self._stop(looked, epoch)
            return Wait("the planner failed")
        finally:
            self._metrics.plan_seconds.labels(device=self._device_id).observe(time.perf_counter() - started)

    def _stop(self, looked: Looked, epoch: int) -> None:
        self._metrics.planner_failures.labels(device=self._device_id).inc()
        self._log.exception(
            "planner_failed",
            device=self._device_id,
            jobs=len(looked.view.jobs),
            view=looked.view.digest(),
            device_time_us=looked.now_us,
        )
        with self._database.write() as connection:
            devices.require_epoch(connection, self._device_id, epoch)
            devices.set_status(connection, self._scope, self._device_id, operational=False, status_msg=STOPPED)
