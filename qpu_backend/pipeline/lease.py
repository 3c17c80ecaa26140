"""The lease on a device: who may dispatch and settle, with an epoch that fences off everybody who came before.

The holder renews it in a thread of its own. Every dispatch and settlement transaction compares the epoch in the
device row, so a holder that was paused past its time can compute, but not write.
"""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from qpu_backend.stores import devices
from qpu_backend.stores.errors import DatabaseTrouble
from qpu_backend.stores.ids import new_id
from qpu_backend.telemetry.logs import logger

if TYPE_CHECKING:
    from qpu_backend.domain.tenancy import SystemScope
    from qpu_backend.stores.database import Database
    from qpu_backend.telemetry.metrics import Metrics

LEASE_TTL_US = 5_000_000
_RENEW_EVERY_S = 1.5


class DeviceLease:
    """One process's claim on one device."""

    def __init__(self, database: Database, scope: SystemScope, device_id: str, metrics: Metrics) -> None:
        self._database = database
        self._scope = scope
        self._device_id = device_id
        self._identity = local_identity()
        self._metrics = metrics
        self._epoch: int | None = None
        self._sure_until_s = 0.0
        self._standing_by = False
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._log = logger("lease")

    @property
    def epoch(self) -> int | None:
        """The fencing epoch while the lease is held, otherwise None."""
        return self._epoch

    @property
    def sure_epoch(self) -> int | None:
        """The fencing epoch while nobody else can have taken the lease, otherwise None."""
        return self._epoch if time.monotonic() < self._sure_until_s else None

    def acquire(self) -> int | None:
        """Try to take the lease; returns its epoch, or None while somebody else holds it."""
        with self._database.read() as connection:
            free = devices.lease_is_free(
                connection,
                self._scope,
                self._device_id,
                self._identity,
                ttl_us=LEASE_TTL_US,
                local_alive=process_lives,
            )
        epoch = self._take() if free else None
        if epoch is None and not self._standing_by:
            self._log.info("lease_held_elsewhere", device=self._device_id)
        self._standing_by = epoch is None
        return epoch

    def _take(self) -> int | None:
        sure_until_s = time.monotonic() + LEASE_TTL_US / 1e6
        with self._database.write() as connection:
            epoch = devices.take_lease(
                connection,
                self._scope,
                self._device_id,
                self._identity,
                ttl_us=LEASE_TTL_US,
                local_alive=process_lives,
            )
        if epoch is not None:
            self._sure_until_s = sure_until_s
            self._epoch = epoch
            self._metrics.lease_held.labels(device=self._device_id).set(1)
            self._log.info("lease_taken", device=self._device_id, epoch=epoch)
            self._start_heartbeat()
        return epoch

    def lose(self) -> None:
        """Somebody else has the device: forget the epoch."""
        if self._epoch is not None:
            self._log.warning("lease_lost", device=self._device_id, epoch=self._epoch)
        self._epoch = None
        self._metrics.lease_held.labels(device=self._device_id).set(0)

    def release(self) -> None:
        """Give the lease back, so that the next holder need not wait for it to expire."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        if self._epoch is not None:
            try:
                with self._database.write() as connection:
                    devices.release_lease(connection, self._scope, self._device_id, epoch=self._epoch)
                self._log.info("lease_released", device=self._device_id, epoch=self._epoch)
            except Exception:  # noqa: BLE001 - it runs out by itself, and the rest must still be closed
                self._log.exception("lease_release_failed", device=self._device_id)
            self._epoch = None
            self._metrics.lease_held.labels(device=self._device_id).set(0)

    def _start_heartbeat(self) -> None:
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._beat, name=f"lease-{self._device_id}", daemon=True)
            self._thread.start()

    def _beat(self) -> None:
        while not self._stop.wait(_RENEW_EVERY_S):
            epoch = self._epoch
            if epoch is None:
                continue
            sure_until_s = time.monotonic() + LEASE_TTL_US / 1e6
            try:
                with self._database.write() as connection:
                    held = devices.renew_lease(
                        connection, self._scope, self._device_id, epoch=epoch, ttl_us=LEASE_TTL_US
                    )
            except DatabaseTrouble as trouble:
                self._log.warning("lease_renewal_postponed", device=self._device_id, trouble=trouble.code)
                continue
            except Exception:  # noqa: BLE001 - a database that does not answer now may answer before the lease ends
                self._log.exception("lease_renewal_failed", device=self._device_id)
                continue
            if held:
                self._sure_until_s = sure_until_s
            elif self._epoch == epoch:
                self.lose()


def local_identity() -> devices.LeaseHolder:
    """This process, told apart from any other that ever has its number."""
    pid = os.getpid()
    return devices.LeaseHolder(holder=new_id("worker"), boot_id=_boot_id(), pid=pid, pid_started=_started(pid) or "")


def process_lives(holder: devices.LeaseHolder) -> bool:
    """Whether the holder may still be alive; only a process of this machine and this boot can be known to be dead."""
    if holder.boot_id != _boot_id() or not holder.boot_id:
        return True
    if not _exists(holder.pid):
        return False
    started = _started(holder.pid)
    return started is None or (started != "" and started == (holder.pid_started or started))


def _boot_id() -> str:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"  # a process id means nothing in another container
    except OSError:
        return ""  # not Linux: leases of other processes run out instead


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # not ours to signal, but there
        return True
    return True


def _started(pid: int) -> str | None:
    """When the process was started, empty for a zombie; none where that is hidden, as other users' processes may be."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except OSError:
        return None
    state, *fields = stat.rpartition(")")[2].split()  # from field 3 on
    return "" if state in "ZX" else fields[18]  # field 22: start time in clock ticks since boot; a zombie is dead
