"""How circuits look from next door: simulated in workers before a batch is committed, and remembered."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

from qpu_backend.engines.protocol import decode_profiles, join_tasks
from qpu_backend.engines.worker import run_profiles
from qpu_backend.pipeline.recent import Recent

if TYPE_CHECKING:
    from collections.abc import Sequence
    from concurrent.futures import Executor

    from qpu_backend.engines.protocol import ProfileTask
    from qpu_backend.physics.context import Profile

_REMEMBERED_BYTES: Final = 8 << 20
"""Of profiles."""


class Profiler:
    """Profiles circuits on an executor with so many workers. Safe to call from many threads."""

    def __init__(self, executor: Executor, workers: int) -> None:
        self._executor = executor
        self._workers = workers
        self._known: Recent[bytes, Profile] = Recent(_REMEMBERED_BYTES)

    def __call__(self, asked: Sequence[tuple[str, ProfileTask]]) -> list[Profile]:
        """One profile a task, in order; blocks until the workers have answered what is not remembered.

        Args:
            asked: the tenant whose circuit it is, and the task. Each tenant has answers of its own: how fast a batch
                starts must not tell what others have sent.

        Raises:
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
            (lane, self._executor.submit(run_profiles, join_tasks([missing[key] for key in lane])))
            for lane in lanes
            if lane
        ]
        for lane, call in calls:
            for key, profile in zip(lane, decode_profiles(call.result()), strict=True):
                profiles[key] = profile
                self._known.put(key, profile, _size(profile))
        return [profiles[key] for key in keys]


def _size(profile: Profile) -> int:
    return 256 + profile.final.nbytes + sum(3 * each.opens_ns.nbytes for each in profile.occupations.values())
