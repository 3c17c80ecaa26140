"""What a service is struck with: every point of its code at which it can die, and deaths at random moments."""

from __future__ import annotations

import os
import random
import re
import signal
import time
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Final

from faults import Armed, Moment

if TYPE_CHECKING:
    from collections.abc import Iterator

    from crash_house import House

_WITHIN_S: Final = 20.0
_PRICES: Final = """\
[prices]
name = "book-{n}"
per_shot_micro = {n}
per_device_second_micro = 1
per_qubit_second_micro = 1
minimum_micro = 1
"""


class Met(StrEnum):
    """When the service comes to a point."""

    AT_WORK = "at work"
    """While clients submit, cancel and hold sessions."""
    AT_START = "at start"
    """So does whoever takes over what was running."""
    AT_THE_END = "at the end"
    """When it is told to end."""
    BY_COMMAND = "by command"
    """In the process of an operator's command."""
    SOON_AFTER_A_COMMAND = "soon after a command"
    """In the service itself, or before that at the end of the command."""
    NOT_HERE = "not here"
    """Only in circumstances that these runs do not have; the point says which."""


@dataclass(frozen=True, slots=True)
class Point:
    """A transaction, by ``module.function`` of who opens it, or another named stage.

    Attributes:
        command: an operator's, that leads to it; ``{n}`` is a number that was not used before, ``{year}`` one
            to come, ``{key}``, ``{booking}``, ``{prices}`` and ``{tenant}`` are things made for it.
        passages: at most so many are waited for.
        why: it is not met here.
    """

    name: str
    met: Met = Met.AT_WORK
    command: str = ""
    passages: int = 1
    why: str = ""


def _command(name: str, command: str) -> Point:
    return Point(name, Met.BY_COMMAND, command)


def _not_here(name: str, why: str) -> Point:
    return Point(name, Met.NOT_HERE, why=why)


TRANSACTIONS: Final = (
    Point("enqueueing._enqueue", passages=3),
    _command("administration.change_tenant", "tenant disable {tenant}"),
    _command("administration.create_key_of", "key create alice"),
    _command("administration.create_tenant", "tenant create extra-{n}"),
    _command("administration._put_limits", "quota set alice shots hour 900{n}000000"),
    _command("administration.set_operational", "device resume eagle127"),
    _not_here("auditing._note_refusals", "about once a minute at most"),
    Point("auditing._seal_some", Met.SOON_AFTER_A_COMMAND, "quota set alice shots hour 800{n}000000"),
    _command("bookings.book", "device maintain eagle127 --in {n}00000 --for 0.5"),
    _command("bookings.cancel", "device unbook {booking}"),
    _command("calibration.calibrate", "device calibrate eagle127"),
    _command("calibration.pass_time", "device pass eagle127 --hours 0.01"),
    Point("cancellation.cancel"),
    Point("commitment.commit_batch", passages=3),
    _not_here("commitment.commit_idling", "needs jobs that a booking keeps waiting"),
    _command("crediting._once", "tenant credit alice 1000 --reason test --reference credit-{n}"),
    _not_here("deciding._stop", "needs an error in the planner"),
    _not_here("dispatch._fail", "needs a job that cannot be placed or prepared any more"),
    Point("history.migrate", Met.AT_START),
    _not_here("invoicing._issue", "needs a month that is over"),
    _not_here("keys.create", "by HTTP only; by command it is administration.create_key_of"),
    _command("keys.revoke", "key revoke {key}"),
    _command("keys.revoke_all", "principal revoke alice spare"),
    _command("keys.rotate", "key rotate {key}"),
    Point("lease._beat", passages=2),
    Point("lease._take", Met.AT_START),
    Point("lease.release", Met.AT_THE_END),
    _not_here("logins._create", "needs an OpenID issuer"),
    _not_here("logins._follow", "needs an OpenID issuer"),
    Point("policies.publish", Met.AT_START),
    _command("price_books.publish", "price publish {prices} --valid-from {year}-01-01"),
    _command("principals.change", "principal enable alice default"),
    _command("principals.create", "principal create alice extra-{n}"),
    _command("quarantining._change", "device quarantine eagle127 --coupler 125-126"),
    Point("recovery.run_again", Met.AT_START),
    _not_here("retention._forget", "needs jobs that ended days ago"),
    Point("sessions._expire"),
    _not_here("sessions._give_up", "needs a batch of jobs of which one has failed"),
    Point("sessions.close"),
    Point("sessions.open"),
    Point("sessions.touch"),
    Point("settlement._settle_batch", passages=3),
)
"""Every transaction of the service. A test compares them with its code."""

STAGES: Final = (
    Point("execution.submit", passages=3),
    Point("worker.run_tasks", passages=3),
    Point("settlement.take", passages=3),
    Point("http.answer", passages=3),
)

POINTS: Final = TRANSACTIONS + STAGES


@dataclass(frozen=True, slots=True)
class Struck:
    """What one strike did.

    Attributes:
        what: in words.
        kills_us: when each process was killed, wall time; empty when the point was not met in time.
    """

    what: str
    kills_us: tuple[int, ...]


class Striker:
    """Kills processes of a house, at points and at random.

    Attributes:
        credited_micro: to tenants, by commands that died and were given again.
    """

    def __init__(self, house: House, seed: int) -> None:
        self._house = house
        self._draw = random.Random(seed)  # noqa: S311 - not a secret
        self._number = 0
        self.credited_micro = 0

    def programme(self, strikes: int) -> Iterator[tuple[Point, Moment] | None]:
        """Every point, before and after, in an order of its own, and as often something at random (``None``)."""
        moments = [(point, moment) for point in POINTS for moment in Moment if point.met is not Met.NOT_HERE]
        waiting: list[tuple[Point, Moment]] = []
        for number in range(strikes):
            if number % 2:
                yield None
                continue
            if not waiting:
                waiting = self._draw.sample(moments, len(moments))
            yield waiting.pop()

    # --- at a point ------------------------------------------------------------------------------------------------

    def at(self, point: Point, moment: Moment) -> Struck:
        """Have whoever comes to the point die there."""
        what = f"{point.name} {moment}"
        time.sleep(self._draw.uniform(0.0, 0.3))  # not always in step with what ended the last recovery
        match point.met:
            case Met.AT_WORK:
                armed = self._armed(point, moment)
                kills = (self._fired(armed),)
            case Met.AT_START:
                kills = self._in_the_next_life(point, moment)
            case Met.AT_THE_END:
                armed = self._armed(point, moment)
                self._house.dispatching.send(signal.SIGTERM)
                kills = (self._fired(armed, within_s=40.0),)
            case Met.BY_COMMAND:
                kills = (self._by_command(point, moment),)
            case Met.SOON_AFTER_A_COMMAND:
                words = self._filled(point.command)
                armed = self._armed(point, moment)
                self._house.run(*words)  # which may come to the point before the service does, and die of it
                kills = (self._fired(armed),)
            case Met.NOT_HERE:
                kills = ()
        return Struck(what, tuple(at_us for at_us in kills if at_us is not None))

    def _armed(self, point: Point, moment: Moment) -> Armed:
        return Armed(self._house.faults, point.name, moment, self._draw.randint(1, point.passages))

    def _fired(self, armed: Armed, within_s: float = _WITHIN_S) -> int | None:
        deadline = time.monotonic() + within_s
        while armed.fired_at_us() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        armed.disarm()
        return armed.fired_at_us()

    def _in_the_next_life(self, point: Point, moment: Moment) -> tuple[int | None, ...]:
        """Killed, and killed again where its successor begins."""
        kills: list[int | None] = []
        for _ in range(3):  # nothing ran, so that nothing was to be run again
            armed = self._armed(point, moment)
            kills.append(self.kill(self._house.dispatching.pid))
            kills.append(self._fired(armed))
            if kills[-1] is not None:
                break
        return tuple(kills)

    def _by_command(self, point: Point, moment: Moment) -> int | None:
        """The command dies, and is given again: that it had its effect already is told, and nothing else is wrong."""
        words = self._filled(point.command)
        armed = self._armed(point, moment)
        if self._house.run(*words).returncode != -signal.SIGKILL:
            armed.disarm()
            return armed.fired_at_us()
        again = self._house.run(*words)
        if again.returncode not in ({0} if moment is Moment.BEFORE else {0, 1}) or "Traceback" in again.stderr:
            raise RuntimeError(f"qpu {' '.join(words)} after {point.name} {moment}: {again.stdout} {again.stderr}")
        return armed.fired_at_us()

    def _filled(self, command: str) -> list[str]:
        self._number += 1
        key = booking = prices = ""
        tenant = f"idle-{self._number}"
        if "{tenant}" in command:
            self._done("tenant", "create", tenant)
        if "{key}" in command or "spare" in command:
            self._done("key", "create", "alice", "--principal", "spare")
            key = re.findall(r"key_\w+", self._done("key", "list", "alice"))[-1]
        if "{booking}" in command:
            start = str(1000 * self._number)
            booking = re.findall(r"bkg_\w+", self._done("device", "maintain", "eagle127", "--in", start, "--for", "1"))[
                -1
            ]
        if "{prices}" in command:
            prices = str(self._house.faults / "prices.toml")
            Path(prices).write_text(_PRICES.format(n=self._number), encoding="utf-8")
        if "{n}" in command and command.startswith("tenant credit"):
            self.credited_micro += 1000
        made = {"key": key, "booking": booking, "prices": prices, "tenant": tenant}
        return command.format(n=self._number, year=2100 + self._number, **made).split()

    def _done(self, *words: str) -> str:
        done = self._house.run(*words)
        if done.returncode:
            raise RuntimeError(f"qpu {' '.join(words)}: {done.stdout} {done.stderr}")
        return done.stdout

    # --- at random -------------------------------------------------------------------------------------------------

    def at_random(self) -> Struck:
        """Kill one process, or two that need each other, at no moment in particular."""
        house, draw = self._house, self._draw
        time.sleep(draw.uniform(0.0, 0.7))
        victims = ["service", "service", "worker", "worker", "decoder"]
        if house.postgres is not None:
            victims += ["database", "database", "backend", "both"]
        what = draw.choice(victims)
        match what:
            case "worker":
                kills = [self.kill(self._one_of(house.below("loky")))]
            case "decoder":
                kills = [self.kill(self._one_of(house.below("zygote")))]
            case "database":
                kills = [self.kill(house.store.pid)]
            case "backend":
                kills = [self.kill(self._one_of(house.backends()))]
            case "both":
                kills = [self.kill(house.store.pid), self.kill(self._one_of([p.pid for p in house.processes]))]
            case _:
                kills = [self.kill(self._one_of([p.pid for p in house.processes]))]
        return Struck(what, tuple(at_us for at_us in kills if at_us is not None))

    def _one_of(self, pids: list[int] | list[int | None]) -> int | None:
        return self._draw.choice(pids) if pids else None

    def kill(self, pid: int | None) -> int | None:
        """When it was killed; ``None`` if it was not there."""
        if pid is None:
            return None
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
            return time.time_ns() // 1000
        return None
