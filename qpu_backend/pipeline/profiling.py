"""How circuits look from next door: simulated in workers before a batch is committed, and remembered."""

from __future__ import annotations

import hashlib
import threading
from concurrent.futures import wait
from typing import TYPE_CHECKING, Final

from qpu_backend.engines.executors import ExecutorShutDown, ask
from qpu_backend.engines.protocol import decode_profiles, join_tasks
from qpu_backend.engines.worker import run_profiles
from qpu_backend.pipeline.recent import Recent

if TYPE_CHECKING:
    from collections.abc import Sequence
    from concurrent.futures import Executor, Future

    from qpu_backend.engines.protocol import ProfileTask
    from qpu_backend.physics.context import Profile

_REMEMBERED_BYTES: Final = 8 << 20
"""Of profiles."""
_LOOK_S: Final = 0.1


class Profiler:
    """Profiles circuits on an executor with so many workers. Safe to call from many threads."""

    def __init__(self, executor: Executor, workers: int) -> None:
        self._executor = executor
        self._workers = workers
        self._known: Recent[bytes, Profile] = Recent(_REMEMBERED_BYTES)
        self._stopping = threading.Event()
        self._gave_up = False

    @property
    def gave_up(self) -> bool:
        """Whether workers may still be at something that nobody waits for any more."""
        return self._gave_up

    def stop(self) -> None:
        """Wait for no more answers: what they were for has not been committed, and is planned again."""
        self._stopping.set()

    def __call__(self, asked: Sequence[tuple[str, ProfileTask]]) -> list[Profile]:
        """One profile a task, in order; blocks until the workers have answered what is not remembered.

        Args:
            asked: the tenant whose circuit it is, and the task. Each tenant has answers of its own: how fast a batch
                starts must not tell what others have sent.

        Raises:
            ExecutorShutDown: the executor takes no more calls, or nobody waits for it any more.
            WorkersUnreachable: there are no workers now.
            Exception: whatever ended the workers, or a circuit that its region does not offer.
        """
        records = [task.to_bytes() for _, task in asked]
        keys = [
            hashlib.sha256(f"{tenant};".encode() + record).digest()
            for (tenant, _), record in zip(asked, records, strict=True)
        ]
        profiles = {key: known for key in keys if (known := self._known.get(key)) is not None}
        missing = {key: record for key, record in zip(keys, records, strict=True) if key not in profiles}
        lanes = [list(missing)[lane :: self._workers] for lane in range(self._workers)]
        calls = [
            (lane, ask(self._executor, run_profiles, join_tasks([missing[key] for key in lane])))
            for lane in lanes
            if lane
        ]
        for lane, call in calls:
            for key, profile in zip(lane, decode_profiles(self._answer(call)), strict=True):
                profiles[key] = profile
                self._known.put(key, profile, _size(profile))
        return [profiles[key] for key in keys]

    def _answer(self, call: Future[bytes]) -> bytes:
        while not wait((call,), _LOOK_S).done:
            if self._stopping.is_set():
                self._gave_up = True
                raise ExecutorShutDown
        return call.result()


def _size(profile: Profile) -> int:
    return 256 + profile.final.nbytes + sum(3 * each.opens_ns.nbytes for each in profile.occupations.values())
