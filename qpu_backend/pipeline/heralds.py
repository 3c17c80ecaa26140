"""Heralds: hints of this process reach the other processes on the database, and theirs reach this one.

On PostgreSQL they are said aloud (LISTEN, NOTIFY), after the commit and from a thread of their own, so that no job
waits for it. On SQLite nobody needs to say anything: every process sees that another one has written, and reads the
new events. A hint that is lost costs the second after which everybody who waits looks anyway.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final, Protocol

from qpu_backend.pipeline.notices import QUEUE, UNHURRIED_S, job_topic, tenant_topic
from qpu_backend.stores import events
from qpu_backend.stores.changes import Channel, DataVersion, messages_of
from qpu_backend.stores.errors import DatabaseTrouble
from qpu_backend.stores.ids import new_id
from qpu_backend.telemetry.logs import logger

if TYPE_CHECKING:
    from collections.abc import Iterable

    from qpu_backend.domain.tenancy import SystemScope
    from qpu_backend.pipeline.notices import NoticeBoard
    from qpu_backend.stores.database import Database
    from qpu_backend.telemetry.metrics import Metrics

_LOOK_S: Final = 0.025
"""How often SQLite is asked while anybody waits."""
_IDLE_S: Final = 0.5
_GATHER_S: Final = 0.005
"""Hints of so long are said together."""
_AGAIN_S: Final = 0.5
_STOP_WITHIN_S: Final = 2.0
_UNHURRIED: Final = "~"

_log = logger("hints")


class Herald(Protocol):
    """What passes hints between processes."""

    def start(self) -> None:
        """From now on."""
        ...

    def stop(self) -> None:
        """Say what is left to say, and end."""
        ...


def herald_of(database: Database, scope: SystemScope, notices: NoticeBoard, metrics: Metrics) -> Herald:
    """The herald that suits the database."""
    if database.dialect == "sqlite":
        return WatchingHerald(database, scope, notices, metrics)
    return SpeakingHerald(database, notices, metrics)


class WatchingHerald:
    """SQLite: looks whether another process has written, and what."""

    def __init__(self, database: Database, scope: SystemScope, notices: NoticeBoard, metrics: Metrics) -> None:
        self._database = database
        self._scope = scope
        self._notices = notices
        self._metrics = metrics
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="hints", daemon=True)

    def start(self) -> None:
        """Look, from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more; what this process has written is seen by the others without it."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(_STOP_WITHIN_S)

    def _serve(self) -> None:
        while not self._stopping.is_set():
            version: DataVersion | None = None
            try:
                version = DataVersion(self._database)
                self._watch(version)
            except Exception as error:  # noqa: BLE001 - whatever it is, who waits looks by himself meanwhile
                self._metrics.hints_lost.inc()
                _log.warning("hints_lost", error=repr(error))
                self._stopping.wait(_AGAIN_S)
            finally:
                if version is not None:
                    version.close()

    def _watch(self, version: DataVersion) -> None:
        last: int | None = None  # told: nobody knows what was written before, or while nobody watched
        while not self._stopping.is_set():
            if not self._notices.wait_watched(_IDLE_S):
                last = None
                continue
            if last is None:
                last = self._newest()
                self._notices.receive_all()
            self._stopping.wait(_LOOK_S)
            if version.others_wrote():
                last = self._tell_since(last)

    def _newest(self) -> int:
        with self._database.read() as connection:
            return events.newest_row(connection, self._scope)

    def _tell_since(self, last: int) -> int:
        """Hints for every event after the last one that was told; the last one now."""
        with self._database.read() as connection:
            found = events.rows_since(connection, self._scope, last)
        ended = [event for event in found if event.state.final]
        self._notices.receive_all(QUEUE)  # a calibration, a booking or a free lease may be what was written
        self._notices.receive({job_topic(event.job_id) for event in ended} | {tenant_topic(e.tenant_id) for e in ended})
        running = {tenant_topic(event.tenant_id) for event in found if not event.state.final}
        self._notices.receive(running, within_s=UNHURRIED_S)
        return max((event.row for event in found), default=last)


class SpeakingHerald:
    """PostgreSQL: says what was posted here, and hears what others say."""

    def __init__(self, database: Database, notices: NoticeBoard, metrics: Metrics) -> None:
        self._database = database
        self._notices = notices
        self._metrics = metrics
        self._name = new_id("herald")
        self._lock = threading.Lock()
        self._unsaid: dict[str, bool] = {}
        self._news = threading.Event()
        self._stopping = threading.Event()
        self._saying = threading.Thread(target=self._say, name="hints-said", daemon=True)
        self._hearing = threading.Thread(target=self._hear, name="hints-heard", daemon=True)

    def start(self) -> None:
        """Say and hear, from now on."""
        self._notices.relay(self.take)
        self._saying.start()
        self._hearing.start()

    def stop(self) -> None:
        """Say what is left to say, and end."""
        self._notices.relay(None)
        self._stopping.set()
        self._news.set()
        if self._saying.is_alive():
            self._saying.join(_STOP_WITHIN_S)
        if self._hearing.is_alive():
            self._hearing.join(_STOP_WITHIN_S)

    def take(self, topics: Iterable[str], within_s: float) -> None:
        """Topics that were posted here. Never waits."""
        with self._lock:
            for topic in topics:
                self._unsaid[topic] = self._unsaid.get(topic, False) or not within_s
        self._news.set()

    def _say(self) -> None:
        channel: Channel | None = None
        while True:
            self._news.wait()
            ending = self._stopping.wait(_GATHER_S)
            self._news.clear()
            with self._lock:
                unsaid, self._unsaid = self._unsaid, {}
            lines = [topic if hurried else _UNHURRIED + topic for topic, hurried in unsaid.items()]
            try:
                if lines:
                    channel = channel or Channel(self._database, listening=False)
                    channel.say(messages_of(self._name, lines))
            except Exception as error:  # noqa: BLE001 - a hint: who waits looks by himself
                self._lose(channel, error)
                channel = None
            if ending or self._stopping.is_set():
                break
        if channel is not None:
            channel.close()

    def _hear(self) -> None:
        while not self._stopping.is_set():
            channel: Channel | None = None
            try:
                channel = Channel(self._database, listening=True)
                self._notices.receive_all()  # nobody knows what was said before
                while not self._stopping.is_set():
                    for message in channel.hear(_IDLE_S):
                        self._receive(message)
                channel.close()
            except Exception as error:  # noqa: BLE001 - as above
                self._lose(channel, error)

    def _receive(self, message: str) -> None:
        name, *lines = message.split("\n")
        if name == self._name:
            return
        self._notices.receive(line for line in lines if not line.startswith(_UNHURRIED))
        later = [line.removeprefix(_UNHURRIED) for line in lines if line.startswith(_UNHURRIED)]
        self._notices.receive(later, within_s=UNHURRIED_S)

    def _lose(self, channel: Channel | None, error: Exception) -> None:
        self._metrics.hints_lost.inc()
        cause = error if isinstance(error, DatabaseTrouble) else repr(error)
        _log.warning("hints_lost", error=str(cause))
        if channel is not None:
            channel.close()
        self._stopping.wait(_AGAIN_S)
