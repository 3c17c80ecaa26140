"""A batch as a list of rounds: what runs beside what, for how many shots, and how long that takes.

In a round each placement runs at most one circuit, all with equal shots, and the repetition period is the longest of
them:

    placement 0   |e0 e0 e0 e0 e0|e1 e1|            needs: 5 shots, 2 shots
    placement 1   |e0 e0|e1 e1|e2 e2|e3 e3|         needs: 4 × 2 shots
    rounds        |  2  |  2  |1|1|1|1|             an execution longer than its round goes on in the next one

Every placement starts at shot 0 and never pauses, so the rounds depend on the order of executions only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

MAX_ROUNDS: Final = 1024
"""A job whose executions line up so badly with the others' that a batch would need more entries waits for another
one."""


class Need(NamedTuple):
    """``repeat`` executions in a row, each of ``shots`` shots of a circuit that lasts ``duration_ns``."""

    repeat: int
    shots: int
    duration_ns: int


class Member(NamedTuple):
    """Who takes part in a round: execution ``execution`` of placement ``placement``.

    In a round that is repeated, its ``k``-th repetition runs execution ``execution + k·step``; ``step`` is 0 where one
    long execution goes on through all of them.
    """

    placement: int
    execution: int
    step: int


@dataclass(frozen=True, slots=True)
class Round:
    """``repeat`` rounds of the same form.

    Attributes:
        repeat: how many times, ≥ 1.
        shots: of each repetition.
        duration_ns: of the longest circuit.
        period_ns: from one shot to the next: the largest ``rep_delay + duration`` of the members.
        members: by ascending placement.
    """

    repeat: int
    shots: int
    duration_ns: int
    period_ns: int
    members: tuple[Member, ...]

    @property
    def time_ns(self) -> int:
        return self.repeat * self.shots * self.period_ns


@dataclass(frozen=True, slots=True)
class Track:
    """What one placement runs, in order: executions numbered from 0.

    Attributes:
        needs: the executions, run-length encoded.
        rep_delay_ns: idle time it wants before each shot.
    """

    needs: tuple[Need, ...]
    rep_delay_ns: int


@dataclass(slots=True)
class _Cursor:
    """How far one track has come."""

    track: Track
    need: int = 0
    done: int = 0
    execution: int = 0
    left: int = 0

    def __post_init__(self) -> None:
        self.left = self.track.needs[0].shots

    def repeats(self, shots: int) -> int:
        """How many equal rounds of ``shots`` this track can go through without changing its part in them."""
        if self.left > shots:
            return self.left // shots
        need = self.track.needs[self.need]
        return need.repeat - self.done if need.shots == shots else 1

    def advance(self, shots: int, repeat: int) -> bool:
        """Go through ``repeat`` rounds; false when nothing is left to run."""
        if self.left > shots:
            self.left -= shots * repeat
            finished = int(self.left == 0)
        else:
            self.left = 0
            finished = repeat
        if self.left:
            return True
        self.execution += finished
        self.done += finished
        if self.done == self.track.needs[self.need].repeat:
            self.need += 1
            self.done = 0
            if self.need == len(self.track.needs):
                return False
        self.left = self.track.needs[self.need].shots
        return True


def rounds_of(tracks: Sequence[Track]) -> Iterator[Round]:
    """The rounds of a batch whose placement ``i`` runs ``tracks[i]``, run-length encoded, in order."""
    active = [(index, _Cursor(track)) for index, track in enumerate(tracks) if track.needs]
    while active:
        shots = min(cursor.left for _, cursor in active)
        repeat = min(cursor.repeats(shots) for _, cursor in active)
        members: list[Member] = []
        duration_ns = period_ns = 0
        still: list[tuple[int, _Cursor]] = []
        for index, cursor in active:
            length = cursor.track.needs[cursor.need].duration_ns
            duration_ns = max(duration_ns, length)
            period_ns = max(period_ns, length + cursor.track.rep_delay_ns)
            members.append(Member(index, cursor.execution, int(repeat > 1 and cursor.left == shots)))
            if cursor.advance(shots, repeat):
                still.append((index, cursor))
        yield Round(repeat, shots, duration_ns, period_ns, tuple(members))
        active = still


def unrolled(rounds: Iterable[Round]) -> Iterator[Round]:
    """The same rounds one by one: every ``repeat`` is 1."""
    for one in rounds:
        for k in range(one.repeat):
            members = tuple(Member(m.placement, m.execution + k * m.step, 0) for m in one.members)
            yield Round(1, one.shots, one.duration_ns, one.period_ns, members)


# --- time ---------------------------------------------------------------------------------------------------------

Profile = tuple[tuple[int, int], ...]
"""Repetition period along a batch: ``(shots, period_ns)`` stretches in order. Boundaries between executions are
gone."""


def profile_of(track: Track) -> Profile:
    """The profile of one placement alone."""
    stretches: list[tuple[int, int]] = []
    for repeat, shots, duration_ns in track.needs:
        _extend(stretches, repeat * shots, duration_ns + track.rep_delay_ns)
    return tuple(stretches)


def merged(a: Profile, b: Profile) -> Profile:
    """The profile of both at once: at every shot the longer period."""
    stretches: list[tuple[int, int]] = []
    i = j = done_a = done_b = 0
    while i < len(a) and j < len(b):
        left_a, left_b = a[i][0] - done_a, b[j][0] - done_b
        shots = min(left_a, left_b)
        _extend(stretches, shots, max(a[i][1], b[j][1]))
        i, done_a = (i + 1, 0) if shots == left_a else (i, done_a + shots)
        j, done_b = (j + 1, 0) if shots == left_b else (j, done_b + shots)
    for rest, start, done in ((a, i, done_a), (b, j, done_b)):
        for k in range(start, len(rest)):
            _extend(stretches, rest[k][0] - (done if k == start else 0), rest[k][1])
    return tuple(stretches)


def _extend(stretches: list[tuple[int, int]], shots: int, period_ns: int) -> None:
    if stretches and stretches[-1][1] == period_ns:
        stretches[-1] = (stretches[-1][0] + shots, period_ns)
    else:
        stretches.append((shots, period_ns))


def batch_us(overhead_us: int, profile: Profile) -> int:
    """``t_batch = overhead + Σ shots · (rep_delay + max T)``, rounded up to a whole µs once."""
    return overhead_us - (-sum(shots * period_ns for shots, period_ns in profile) // 1000)


def stand_alone_us(overhead_us: int, rep_delay_ns: int, needs: tuple[Need, ...]) -> int:
    """Device time of a job that is alone in a batch, µs: what is quoted, metered and priced."""
    return batch_us(overhead_us, profile_of(Track(needs, rep_delay_ns)))
