"""The function that worker processes run: bytes in, bytes out, knowing nothing of the server.

Importing this module imports Aer (about a second): servers hand its name to an executor (`engines.executors.RUN_TASKS`)
and leave the import to the workers.
"""

from __future__ import annotations

import time
from typing import Final

import numpy as np
import qiskit
import qiskit_aer

from qpu_backend.engines.aer import ENGINE_VERSION, AerEngine
from qpu_backend.engines.protocol import (
    RegionTask,
    TaskOutcome,
    WorkerReport,
    encode_report,
    split_tasks,
)

FINGERPRINT: Final[dict[str, str]] = {
    "engine": ENGINE_VERSION,
    "numpy": np.__version__,
    "qiskit": qiskit.__version__,
    "qiskit_aer": qiskit_aer.__version__,
}
"""Counts are a function of the execution record and of these."""

_ENGINE: Final = AerEngine()


def run_tasks(payload: bytes) -> bytes:
    """Run every task of the payload.

    Args:
        payload: :func:`qpu_backend.engines.protocol.join_tasks` of execution records.

    Returns:
        :func:`qpu_backend.engines.protocol.encode_report` of a :class:`~qpu_backend.engines.protocol.WorkerReport`. A task
        that fails says so in its own outcome and leaves the others alone.
    """
    outcomes = tuple(_run_task(record) for record in split_tasks(payload))
    return encode_report(WorkerReport(outcomes, FINGERPRINT))


def warm_up(_: int = 0) -> dict[str, str]:
    """Load everything a first task would have to wait for; answers the fingerprint."""
    return FINGERPRINT


def _run_task(record: bytes) -> TaskOutcome:
    started_ns = time.process_time_ns()
    try:
        slices, failure = _ENGINE.run(RegionTask.from_bytes(record)), None
    except Exception as error:  # noqa: BLE001 - a worker serves many tenants: one task's failure is an answer, not a crash
        slices, failure = (), f"{type(error).__name__}: {error}"
    return TaskOutcome(slices, (time.process_time_ns() - started_ns) // 1000, failure)
