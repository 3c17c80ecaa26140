"""A service that runs: its threads, and how they end. ``bootstrap.py`` puts it together."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from qpu_backend.engines.invalid_circuit import DecodingUnavailable
from qpu_backend.http.app import create_app
from qpu_backend.telemetry.logs import logger

if TYPE_CHECKING:
    from collections.abc import Mapping
    from concurrent.futures import Executor

    from qpu_backend.engines.compiling_pool import CompilingPool
    from qpu_backend.engines.decoding_pool import DecodingPool
    from qpu_backend.http.door import Door
    from qpu_backend.pipeline.administration import Administration
    from qpu_backend.pipeline.bookings import Bookings
    from qpu_backend.pipeline.calibration import Calibration
    from qpu_backend.pipeline.dispatch import Dispatcher
    from qpu_backend.pipeline.recovery import Retrier
    from qpu_backend.pipeline.settlement import Settler
    from qpu_backend.stores.database import Database


class Service:
    """A service over its parts: made by :func:`qpu_backend.bootstrap.build`, started and stopped once."""

    def __init__(
        self,
        *,
        database: Database,
        administration: Administration,
        calibration: Calibration,
        bookings: Bookings,
        door: Door,
        settler: Settler,
        dispatchers: Mapping[str, Dispatcher],
        decoding: DecodingPool,
        compiling: CompilingPool,
        executor: Executor,
        retrier: Retrier,
    ) -> None:
        self.database = database
        self.administration = administration
        self.calibration = calibration
        self.bookings = bookings
        self.door = door
        self.app = create_app(door)
        self.dispatchers = dispatchers
        self._settler = settler
        self._decoding = decoding
        self._compiling = compiling
        self._executor = executor
        self._retrier = retrier
        self._log = logger("service")

    def start(self) -> None:
        """Serve queues and settle results, in threads."""
        threading.Thread(target=self._warm_up, name="warm-up", daemon=True).start()
        self._settler.start()
        for dispatcher in self.dispatchers.values():
            dispatcher.start()
        self._log.info("service_started", devices=list(self.dispatchers), version=self.door.version)

    def _warm_up(self) -> None:
        try:
            self._decoding.warm_up()
        except DecodingUnavailable:  # closed before it was warm, or out of processes: the first request will tell
            self._log.warning("decoding_not_warm")

    def stop(self) -> None:
        """Drain: start no further batch, settle those that run, give the leases back, close everything."""
        self.door.notices.close()
        for dispatcher in self.dispatchers.values():
            dispatcher.stop_serving()
        drained = [dispatcher.stop() for dispatcher in self.dispatchers.values()]
        self._retrier.stop()
        self._settler.stop()
        self._executor.shutdown(cancel_futures=not all(drained) or self.door.replays.busy)
        self._decoding.close()
        self._compiling.close()
        self.database.close()
        self._log.info("service_stopped")
