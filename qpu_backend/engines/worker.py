"""The functions that worker processes run: bytes in, bytes out, knowing nothing of the server.

The server hands :func:`run_tasks` and :func:`run_profiles` to an executor by name. Importing this module is cheap and
does not load Aer; the first call in a worker does.
"""

from __future__ import annotations

import time

from qpu_backend.engines.protocol import (
    Engine,
    ProfileTask,
    RegionTask,
    TaskOutcome,
    WorkerReport,
    encode_profiles,
    encode_report,
    split_tasks,
)


def run_tasks(payload: bytes) -> bytes:
    """Run every task of the payload.

    Args:
        payload: :func:`qpu_backend.engines.protocol.join_tasks` of execution records.

    Returns:
        :func:`~qpu_backend.engines.protocol.encode_report` of a :class:`~qpu_backend.engines.protocol.WorkerReport`. A
        task that fails says so in its own outcome and leaves the others alone.
    """
    engine, fingerprint = _engine()
    outcomes = tuple(_run_task(engine, record) for record in split_tasks(payload))
    return encode_report(WorkerReport(outcomes, fingerprint))


def run_profiles(payload: bytes) -> bytes:
    """Simulate circuits alone, as their neighbours feel them.

    Args:
        payload: :func:`qpu_backend.engines.protocol.join_tasks` of :class:`~qpu_backend.engines.protocol.ProfileTask`.

    Returns:
        :func:`~qpu_backend.engines.protocol.encode_profiles`, one profile a task, in order.

    Raises:
        NotCalibrated: a circuit uses what its region does not offer.
    """
    from qpu_backend.engines.profiling import profile_of  # noqa: PLC0415 - as below: the server does not need it

    return encode_profiles([profile_of(ProfileTask.from_bytes(record)) for record in split_tasks(payload)])


def _engine() -> tuple[Engine, dict[str, str]]:
    # Aer is heavy (about a second) and holds the GIL while it simulates: it belongs in workers only, so it is not
    # imported by the module that the server imports.
    from qpu_backend.engines.aer import FINGERPRINT  # noqa: PLC0415
    from qpu_backend.engines.region import ChoosingEngine  # noqa: PLC0415

    return ChoosingEngine(), FINGERPRINT


def _run_task(engine: Engine, record: bytes) -> TaskOutcome:
    started_ns = time.process_time_ns()
    slices, failure = (), None
    try:
        slices = engine.run(RegionTask.from_bytes(record))
    except Exception as error:  # noqa: BLE001 - one task's failure is an answer: the others' tenants wait
        failure = f"{type(error).__name__}: {error}"
    return TaskOutcome(slices, (time.process_time_ns() - started_ns) // 1000, failure)
