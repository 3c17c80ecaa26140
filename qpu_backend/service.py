"""A service that runs: its threads, and how they end. ``bootstrap.py`` puts it together."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from qpu_backend.engines.invalid_circuit import DecodingUnavailable
from qpu_backend.http.app import create_app
from qpu_backend.telemetry.logs import logger

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from concurrent.futures import Executor

    from fastapi import FastAPI

    from qpu_backend.engines.compiling_pool import CompilingPool
    from qpu_backend.engines.decoding_pool import DecodingPool
    from qpu_backend.http.door import Door
    from qpu_backend.pipeline.auditing import Sealer
    from qpu_backend.pipeline.dispatch import Dispatcher
    from qpu_backend.pipeline.heralds import Herald
    from qpu_backend.pipeline.recovery import Retrier
    from qpu_backend.pipeline.retention import Archivist
    from qpu_backend.pipeline.settlement import Settler


@dataclass(frozen=True, slots=True)
class Roles:
    """What of a service a process does.

    Attributes:
        answers: whether it answers requests.
        works: whether it dispatches, executes and settles.
        devices: for which devices; ``None``: for all.
        alone: whether no other process is on the database, so that there is nobody to tell.
    """

    answers: bool = True
    works: bool = True
    devices: frozenset[str] | None = None
    alone: bool = False

    def working_on(self, devices: Iterable[str]) -> list[str]:
        """Of these devices those that the process dispatches for, when it gets their lease."""
        return [name for name in devices if self.works and (self.devices is None or name in self.devices)]


EVERYTHING = Roles()


class Service:
    """A service over its parts: made by :func:`qpu_backend.bootstrap.build`, started and stopped once."""

    def __init__(
        self,
        *,
        door: Door,
        settler: Settler,
        dispatchers: Mapping[str, Dispatcher],
        decoding: DecodingPool,
        compiling: CompilingPool,
        executor: Executor,
        retrier: Retrier,
        sealer: Sealer,
        herald: Herald,
        archivist: Archivist,
        roles: Roles = EVERYTHING,
    ) -> None:
        self.door = door
        self.database = door.database
        self.administration = door.administration
        self.calibration = door.calibration
        self.bookings = door.bookings
        self.roles = roles
        self.stopping = False
        self.dispatchers = dispatchers
        self._settler = settler
        self._decoding = decoding
        self._compiling = compiling
        self._executor = executor
        self._retrier = retrier
        self._sealer = sealer
        self._herald = herald
        self._archivist = archivist
        self._log = logger("service")

    @cached_property
    def app(self) -> FastAPI:
        """The HTTP application; made where there are requests to answer."""
        return create_app(self.door)

    def start(self) -> None:
        """Serve queues and settle results, in threads, as far as that is this process's part."""
        if self.roles.answers:
            threading.Thread(target=self._warm_up, name="warm-up", daemon=True).start()
        if not self.roles.alone:
            self._herald.start()
        if self.dispatchers:
            self._settler.start()
            self._archivist.start()
        self._sealer.start()
        for dispatcher in self.dispatchers.values():
            dispatcher.start()
        self._log.info(
            "service_started",
            devices=list(self.dispatchers),
            answers=self.roles.answers,
            version=self.door.version,
        )

    def _warm_up(self) -> None:
        try:
            self._decoding.warm_up()
        except DecodingUnavailable:  # closed before it was warm, or out of processes: the first request will tell
            self._log.warning("decoding_not_warm")

    def hurry(self) -> None:
        """While it stops: wait for no batch any more; what is not finished is run again by the next holder."""
        for dispatcher in self.dispatchers.values():
            dispatcher.hurry()
        self._retrier.stop()  # first, so that no batch is blamed for what ends now
        self._executor.shutdown(wait=False, cancel_futures=True)

    def stop(self) -> None:
        """Drain: start no further batch, settle those that run, give the leases back, close everything."""
        self.stopping = True
        self.door.notices.close()
        for dispatcher in self.dispatchers.values():
            dispatcher.stop_serving()
        drained = [dispatcher.stop() for dispatcher in self.dispatchers.values()]
        self._retrier.stop()
        self._archivist.stop()
        self._settler.stop()
        self._sealer.stop()
        self._herald.stop()
        self._executor.shutdown(cancel_futures=not all(drained) or self.door.replays.busy)
        self._decoding.close()
        self._compiling.close()
        self.database.close()
        self._log.info("service_stopped")
