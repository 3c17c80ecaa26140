"""The whole service inside one process: what ``QPUProvider.embedded()`` starts, with nothing to run beside it.

It is the same application over the same contract as a remote one, on SQLite, behind a Unix socket in a folder of mode
0700 (where there are no such sockets: a random port on 127.0.0.1). ``path=None`` is a private service that is gone
when it is closed; a path is durable, and a second process on the same path becomes a client of the first.
"""

from __future__ import annotations

import atexit
import json
import os
import shutil
import socket
import tempfile
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from qpu_backend.bootstrap import build
from qpu_backend.config import LOCAL, DeviceSection, load_config
from qpu_backend.domain.quota import Resource, Window
from qpu_backend.domain.tenancy import Role
from qpu_backend.engines.executors import local_executor
from qpu_backend.engines.faulty import FaultyExecutor
from qpu_backend.pipeline.clocks import MovableClock
from qpu_backend.service import Roles
from qpu_backend.serving import HttpServer, ServerThread
from qpu_backend.telemetry.logs import configure_logs

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from qpu_backend.service import Service

try:
    import fcntl
except ImportError:  # Windows: no lock, so one process a path is the caller's promise
    fcntl = None

_FACTS = "service.json"
_OTHER_STARTS_WITHIN_S = 30.0
_LOOK_AGAIN_S = 0.05
_SAME_EVERY_TIME = "embedded"
"""Drift seed of a service without a folder: the same program gets the same device every time."""
_LOCAL = "local"
_OPERATOR = "operator"


@dataclass(frozen=True, slots=True)
class _Bench:
    """What of a private service a test may turn."""

    clock: MovableClock
    workers: FaultyExecutor


class EmbeddedService:
    """A service of this process, or a handle on that of another process on the same path.

    Attributes:
        url: where it listens: ``unix:/…/api.sock`` or ``http://127.0.0.1:port``.
        token: API key of the tenant ``local``.
        operator_token: API key of a principal that may look at everybody.
    """

    def __init__(
        self, facts: Mapping[str, str], service: Service | None, cleanup: ExitStack, bench: _Bench | None = None
    ) -> None:
        self.url = facts["url"]
        self.token = facts["token"]
        self.operator_token = facts["operator_token"]
        self.service = service
        self._cleanup = cleanup
        self._bench = bench
        self._closed = False
        self._owner_pid = os.getpid()
        atexit.register(self.close)

    def __repr__(self) -> str:
        owner = "" if self.service else ", owned by another process"
        return f"<EmbeddedService {self.url}{owner}>"

    @classmethod
    def start(
        cls,
        path: str | os.PathLike[str] | None = None,
        *,
        workers: int | None = None,
        devices: Mapping[str, Mapping[str, Any]] | None = None,
        drift_seed: str | None = None,
        log_level: str = "error",
    ) -> EmbeddedService:
        """Start a service, or find the one that already runs on this path.

        Args:
            path: folder of a durable service; ``None`` for a private temporary one.
            workers: simulation processes; by default the number of cores, at most 4.
            devices: device name → settings of :class:`qpu_backend.config.DeviceSection`; by default ``eagle127``.
            drift_seed: how the devices drift; by default a secret of the path, and without a path always the same.
            log_level: events at or above it go to standard error.
        """
        with ExitStack() as cleanup:
            if path is None:
                data = Path(tempfile.mkdtemp(prefix="qpu-embedded-"))
                cleanup.callback(shutil.rmtree, data, ignore_errors=True)
            else:
                data = Path(path).expanduser().resolve()
                data.mkdir(mode=0o700, parents=True, exist_ok=True)
                lock = _lock_or_facts(data)
                if isinstance(lock, dict):
                    return cls(lock, None, cleanup.pop_all())
                cleanup.callback(lock.close)
            configure_logs(log_level)
            config = load_config(
                data=data,
                workers=min(4, os.cpu_count() or 1) if workers is None else workers,
                drift_seed=_SAME_EVERY_TIME if path is None and drift_seed is None else drift_seed,
                devices=None
                if devices is None
                else {name: DeviceSection(**section) for name, section in devices.items()},
            )
            bench = None
            if path is None and config.executor == LOCAL:
                bench = _Bench(MovableClock(), FaultyExecutor(local_executor(config.workers)))
            service = build(
                config,
                durable=path is not None,
                clock=None if bench is None else bench.clock,
                executor=None if bench is None else bench.workers,
                roles=Roles(alone=True),
            )
            cleanup.callback(service.stop)
            url, stop_http = _listen(service)
            cleanup.callback(stop_http)
            service.start()
            facts = {"url": url, **_keys(service, data)}
            if path is not None:
                _write_private(data / _FACTS, json.dumps(facts))
                cleanup.callback((data / _FACTS).unlink, missing_ok=True)
            return cls(facts, service, cleanup.pop_all(), bench)

    def create_tenant(
        self,
        name: str,
        *,
        weight: int = 100,
        max_queued_jobs: int = 1000,
        shots_per_day: int | None = None,
        device_seconds_per_day: float | None = None,
        spend_micro_per_month: int | None = None,
    ) -> str:
        """A new tenant, and an API key for it.

        Raises:
            RuntimeError: the service belongs to another process; make tenants there.
        """
        service = self._own()
        asked = {
            (Resource.SHOTS, Window.DAY): shots_per_day,
            (Resource.DEVICE_US, Window.DAY): None
            if device_seconds_per_day is None
            else round(1e6 * device_seconds_per_day),
            (Resource.SPEND_MICRO, Window.MONTH): spend_micro_per_month,
        }
        limits = {key: amount for key, amount in asked.items() if amount is not None}
        service.administration.create_tenant(name, weight=weight, max_queued_jobs=max_queued_jobs, limits=limits)
        return service.administration.create_key(name)

    def pause(self, device: str, why: str = "paused by the operator") -> None:
        """Start no further batch on a device; what runs ends, submissions go on."""
        self._own().administration.set_operational(device, operational=False, status_msg=why)

    def resume(self, device: str) -> None:
        """Serve a device's queue again."""
        service = self._own()
        service.administration.set_operational(device, operational=True, status_msg="active")
        service.dispatchers[device].wake()

    def calibrate(self, device: str) -> bool:
        """Calibrate a device now; it takes minutes of device time and none of yours. Whether it succeeded."""
        service = self._own()
        published = service.calibration.calibrate(device).after is not None
        service.dispatchers[device].wake()
        return published

    def pass_time(self, device: str, *, hours: float) -> None:
        """Let a device idle for so many hours of its own time: it drifts, and nobody waits."""
        self._own().calibration.pass_time(device, round(3.6e9 * hours))

    def advance(self, *, seconds: float) -> None:
        """Put the wall clock of a private service forward: keys, quotes and sessions run out, quota windows begin.

        Raises:
            RuntimeError: the service is not a private one.
        """
        self._private().clock.advance(seconds=seconds)
        for dispatcher in self._own().dispatchers.values():
            dispatcher.wake()

    def lose_workers(self, runs: int = 1) -> None:
        """Let the workers of a private service die in the next runs of batches; 0 lets them live.

        A batch is run again, and after three failures its jobs are tried one by one; a job that fails even so has
        failed.

        Raises:
            RuntimeError: the service is not a private one.
        """
        self._private().workers.lose(runs)

    def _private(self) -> _Bench:
        self._own()
        if self._bench is None:
            raise RuntimeError(
                "only a private service, without a path and with its own workers, can be put to the test"
            )
        return self._bench

    def _own(self) -> Service:
        if self.service is None:
            raise RuntimeError("this service runs in another process: use it there, or the `qpu` command")
        return self.service

    def close(self) -> None:
        """Stop the service: what runs is settled, a temporary one leaves nothing behind. Safe to call twice."""
        if self._closed or os.getpid() != self._owner_pid:  # a forked child leaves the service to its parent
            return
        self._closed = True
        atexit.unregister(self.close)
        self._cleanup.close()


def _listen(service: Service) -> tuple[str, Callable[[], object]]:
    if not hasattr(socket, "AF_UNIX"):
        thread = ServerThread(HttpServer(service))
        thread.start()
        return f"http://127.0.0.1:{thread.port}", thread.stop
    folder = Path(tempfile.mkdtemp(prefix="qpu-"))  # mode 0700; short, because a socket's path has at most 107 bytes
    thread = ServerThread(HttpServer(service, uds=folder / "api.sock"))
    thread.start()

    def stop() -> None:
        thread.stop()
        shutil.rmtree(folder, ignore_errors=True)

    return f"unix:{folder / 'api.sock'}", stop


def _keys(service: Service, data: Path) -> dict[str, str]:
    """Keys of the tenant ``local``; a durable service keeps those it made at first."""
    stored = data / "keys.json"
    if stored.exists():
        return json.loads(stored.read_text(encoding="utf-8"))
    service.administration.create_tenant(_LOCAL, max_queued_jobs=100_000)
    keys = {
        "token": service.administration.create_key(_LOCAL),
        "operator_token": service.administration.create_key(_LOCAL, principal=_OPERATOR, role=Role.OPERATOR),
    }
    _write_private(stored, json.dumps(keys))
    return keys


def _lock_or_facts(data: Path) -> TextIO | dict[str, str]:
    """The lock of a durable folder, or, when another process holds it, where that one listens.

    Raises:
        RuntimeError: the other process does not get its service going.
    """
    deadline = time.monotonic() + _OTHER_STARTS_WITHIN_S
    while time.monotonic() < deadline:
        lock = _lock(data)
        if lock is not None:
            (data / _FACTS).unlink(missing_ok=True)  # of a process that was killed
            return lock
        with suppress(FileNotFoundError):  # it is starting, or has just ended
            return json.loads((data / _FACTS).read_text(encoding="utf-8"))
        time.sleep(_LOOK_AGAIN_S)
    raise RuntimeError(f"another process has locked {data}, but no service is running there; end it and try again")


def _lock(data: Path) -> TextIO | None:
    """The lock of a durable folder, or None when another process holds it."""
    file = (data / "service.lock").open("w", encoding="utf-8")
    if fcntl is not None:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            return None
    return file


def _write_private(file: Path, text: str) -> None:
    draft = file.with_suffix(".draft")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as out:
        out.write(text)
    draft.replace(file)
