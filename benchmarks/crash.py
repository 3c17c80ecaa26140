"""A service is killed hundreds of times while it works, at every point of its code: nothing is lost or billed twice.

python benchmarks/crash.py --json
"""

from __future__ import annotations

import argparse
import math
import signal
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from crash_clients import Client
from crash_house import House
from crash_strikes import Striker, Struck
from crash_verdict import Verdict, judge
from report import report
from sqlalchemy import func, select
from sqlalchemy.exc import SQLAlchemyError

from qpu_backend.bootstrap import SYSTEM, read_pepper
from qpu_backend.domain.quota import Resource, Window
from qpu_backend.pipeline.administration import Administration
from qpu_backend.pipeline.clocks import SystemClock
from qpu_backend.stores import schema
from qpu_backend.stores.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from crash_strikes import Point
    from faults import Moment

DATABASES = ("sqlite", "postgresql")
TENANTS = ("alice", "bob", "carol")
BACKLOG = 8
"""Clients submit while fewer jobs wait or run; until the service has recovered, twice as many."""
RECOVERED_WITHIN_S = 300.0
SLOW_S = 10.0
REST_WITHIN_S = 300.0
PLENTY = {(Resource.SHOTS, Window.MONTH): 10**12, (Resource.SPEND_MICRO, Window.DAY): 10**15}


@dataclass(slots=True)
class Story:
    """What a run did and what came of it.

    Attributes:
        kills: processes that were killed.
        missed: points that nobody came to in time.
        recoveries_s: from each strike's last kill until a submission that was sent after it had been accepted, and a
            batch settled after it.
        orphans: processes that outlived who had started them.
    """

    kind: str
    kills: int = 0
    missed: list[str] = field(default_factory=list)
    recoveries_s: list[tuple[float, str]] = field(default_factory=list)
    verdict: Verdict = field(default_factory=Verdict)
    orphans: int = 0
    seconds: float = 0.0

    @property
    def p95_recovery_s(self) -> float:
        """Of all recoveries; 0 when there were none."""
        times = sorted(seconds for seconds, _ in self.recoveries_s)
        return times[math.ceil(0.95 * len(times)) - 1] if times else 0.0


class Stage:
    """A house with clients at work in it."""

    def __init__(self, house: House, *, clients: int = 4, seed: int = 1) -> None:
        self.house = house
        self._recovering = False
        self._unfinished_jobs = 0
        self._counted_s = 0.0
        office = Administration(house.database, SYSTEM, read_pepper(house.config), SystemClock())
        for name in TENANTS:
            office.create_tenant(name, limits=PLENTY)
        names = [TENANTS[number % len(TENANTS)] for number in range(clients)]
        self.clients = [
            Client(house.urls, f"{name}-{number}", office.create_key(name), seed=seed + number, may_submit=self._may)
            for number, name in enumerate(names)
        ]
        self.striker = Striker(house, seed)

    def _may(self) -> bool:
        if time.monotonic() > self._counted_s + 0.2:
            self._counted_s = time.monotonic()
            with suppress(SQLAlchemyError, StoreError):  # away: who asks will see
                self._unfinished_jobs = self._unfinished()
        return self._unfinished_jobs < (2 if self._recovering else 1) * BACKLOG

    def start(self) -> None:
        """Open the house, and have the clients work."""
        self.house.start()
        for client in self.clients:
            client.start()

    def recovered(self, killed_us: int) -> float:
        """Seconds from a kill until the service has both accepted and settled something that came after it.

        Raises:
            RuntimeError: it does not.
        """
        self._recovering = True
        deadline = time.monotonic() + RECOVERED_WITHIN_S
        while True:
            self._alive()
            accepted_us = self._accepted_after(killed_us)
            settled_us = self._settled_after(killed_us)
            if accepted_us is not None and settled_us is not None:
                break
            if time.monotonic() > deadline:
                what = f"accepted {accepted_us}, settled {settled_us}; {self.house.errors()}"
                raise RuntimeError(f"no recovery within {RECOVERED_WITHIN_S} s of {killed_us}: {what}")
            time.sleep(0.03)
        self._recovering = False
        return (max(accepted_us, settled_us) - killed_us) / 1e6

    def rest(self) -> None:
        """No client submits any more, and every job has ended."""
        for client in self.clients:
            client.stop()
        for client in self.clients:
            client.join(REST_WITHIN_S)
        self._alive()
        deadline = time.monotonic() + REST_WITHIN_S
        while left := self._unfinished():
            if time.monotonic() > deadline:
                raise RuntimeError(f"{left} jobs do not end: {self.house.errors()}")
            time.sleep(0.1)

    def _alive(self) -> None:
        for client in self.clients:
            if client.failure is not None:
                raise RuntimeError(f"client {client.name} stopped") from client.failure

    def _accepted_after(self, at_us: int) -> int | None:
        """When the first request was answered that was sent after this."""
        answered = [answered for one in self.clients for sent, answered in list(one.accepted_us) if sent > at_us]
        return min(answered, default=None)

    def _settled_after(self, at_us: int) -> int | None:
        """When the first batch after this was settled."""
        batches = schema.batches.c
        first = select(func.min(batches.finished_at_us)).where(batches.state == "done", batches.finished_at_us > at_us)
        return self.house.read(lambda connection: connection.execute(first).scalar_one())

    def _unfinished(self) -> int:
        question = select(func.count()).where(schema.jobs.c.state.in_(["queued", "running"]))
        with self.house.database.read() as connection:
            return int(connection.execute(question).scalar_one())


def play(
    kind: str,
    strikes: Callable[[Striker], Iterable[tuple[Point, Moment] | None]],
    *,
    split: bool,
    clients: int = 4,
    seed: int = 1,
    tell: Callable[[str], None] = lambda _: None,
) -> Story:
    """A whole run: work, strikes, rest, verdict.

    Args:
        kind: of the database.
        strikes: where; ``None`` is somewhere at random.
        split: over several processes.
        clients: at work.
        seed: of everything that is drawn.
        tell: what happens, as it happens.
    """
    story, began_s = Story(kind), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="qpu-crash-") as folder:
        house = House(Path(folder), kind, split=split)
        try:
            stage = Stage(house, clients=clients, seed=seed)
            stage.start()
            stage.recovered(0)
            for number, where in enumerate(strikes(stage.striker)):
                struck = _strike(stage, where, story)
                recovery_s = stage.recovered(struck.kills_us[-1])
                story.kills += len(struck.kills_us)
                story.recoveries_s.append((recovery_s, struck.what))
                tell(f"{kind} {number + 1}: {struck.what}, recovered after {recovery_s:.2f} s")
                if recovery_s > SLOW_S:
                    tell(f"{sum(len(process.codes) for process in house.processes)} deaths so far; {house.errors()}")
            stage.rest()
            story.verdict = judge(house, stage.clients, credited_micro=stage.striker.credited_micro)
            for name, code in house.end().items():
                if code != 0:
                    story.verdict.left_over.append(f"{name} ended with {code}")
            story.orphans = len(house.census.close())
            tell(
                f"{kind}: {story.kills} kills, {story.verdict.jobs} jobs; {story.verdict.complaints or 'nothing wrong'}"
            )
        finally:
            house.close()
    story.seconds = time.monotonic() - began_s
    return story


def _strike(stage: Stage, where: tuple[Point, Moment] | None, story: Story) -> Struck:
    """At the point; at random where nobody came to it."""
    if where is not None:
        struck = stage.striker.at(*where)
        if struck.kills_us:
            return struck
        story.missed.append(struck.what)
    while not (struck := stage.striker.at_random()).kills_us:
        time.sleep(0.05)  # what was to be killed was dead already
    return struck


def figures(stories: list[Story]) -> dict[str, object]:
    """Of all runs together."""
    found = [story.verdict for story in stories]
    slowest = max((one for story in stories for one in story.recoveries_s), default=(0.0, ""))
    every = sorted(seconds for story in stories for seconds, _ in story.recoveries_s)
    found_in_all: dict[str, object] = {
        "kills": sum(story.kills for story in stories),
        "jobs": sum(verdict.jobs for verdict in found),
        "lost": sum(len(verdict.lost) for verdict in found),
        "duplicated": sum(len(verdict.duplicated) for verdict in found),
        "billed_twice": sum(len(verdict.billed_twice) for verdict in found),
        "reconcile_delta": sum(verdict.reconcile_delta for verdict in found),
        "p95_recovery_s": every[math.ceil(0.95 * len(every)) - 1] if every else 0.0,
        "max_recovery_s": slowest[0],
        "slowest": slowest[1],
        "wrong": sum(len(verdict.wrong) for verdict in found),
        "left_over": sum(len(verdict.left_over) for verdict in found),
        "audit": sum(len(verdict.audit) for verdict in found),
        "orphans": sum(story.orphans for story in stories),
        "missed": sum(len(story.missed) for story in stories),
        "seconds": sum(story.seconds for story in stories),
    }
    return found_in_all | {
        f"{story.kind}.{name}": value
        for story in stories
        for name, value in (
            ("kills", story.kills),
            ("jobs", story.verdict.jobs),
            ("p95_recovery_s", story.p95_recovery_s),
        )
    }


def main() -> None:
    """Kill as often as asked, on the databases that were named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--kills", type=int, default=220, help="at least so many, on all databases together")
    parser.add_argument("--database", choices=(*DATABASES, "both"), default="both")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that nothing it started is left
    kinds = DATABASES if arguments.database == "both" else (arguments.database,)
    strikes = math.ceil(arguments.kills / len(kinds))
    stories = [
        play(
            kind,
            lambda striker: striker.programme(strikes),
            split=kind == "postgresql",
            seed=arguments.seed,
            tell=lambda line: print(time.strftime("%X"), line, file=sys.stderr, flush=True),
        )
        for kind in kinds
    ]
    for story in stories:
        for complaint in story.verdict.complaints:
            print(f"{story.kind}: {complaint}")
        for name in story.missed:
            print(f"{story.kind}: nobody came to {name} in time")
    report(figures(stories), as_json=arguments.json)


if __name__ == "__main__":
    main()
