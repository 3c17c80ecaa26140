"""How long a decision takes when very many jobs wait: the dispatcher's view from SQLite, and the plan.

Measured is what the dispatcher does before each batch: the query for the front of the queue (40 jobs of a tenant, 64 in
all), rows into values, and ``plan``. The rows are written in bulk, by no service. Used by ``scheduling.py``.
"""

from __future__ import annotations

import json
import sqlite3
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from sqlalchemy import JSON, BigInteger, Boolean, Integer

from qpu_backend.domain.fairshare import WEIGHT_UNIT, tag
from qpu_backend.domain.footprint import Footprint
from qpu_backend.domain.planning import plan
from qpu_backend.domain.tenancy import SystemScope
from qpu_backend.domain.views import QueuedJob, View
from qpu_backend.simulation.clock import PER_TENANT, VIEW
from qpu_backend.stores.database import Database
from qpu_backend.stores.jobs import queue_view
from qpu_backend.stores.migrations import history
from qpu_backend.stores.schema import jobs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qpu_backend.domain.views import DeviceView
    from qpu_backend.simulation.kinds import Kind

TENANTS = 1_000
DECISIONS = 40


def plan_scaling(sizes: Sequence[int], device: DeviceView, kinds: Sequence[Kind]) -> dict[str, dict[str, float]]:
    """For each number of waiting jobs: ms of the view, of the plan, and of both (medians).

    Args:
        sizes: numbers of waiting jobs.
        device: the chip.
        kinds: what the jobs run, in turn.
    """
    found: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory(prefix="qpu-scaling-") as folder:
        for size in sizes:
            path = Path(folder) / f"{size}.sqlite"
            database = Database.open(f"sqlite:///{path}", durable=False)
            history.migrate(database)
            _fill(path, size, device, kinds)
            found[str(size)] = _timed(database, device)
            database.close()
    return found


def _timed(database: Database, device: DeviceView) -> dict[str, float]:
    view_ms: list[float] = []
    plan_ms: list[float] = []
    for _ in range(DECISIONS):
        started = time.perf_counter()
        with database.read() as connection:
            rows = queue_view(connection, SystemScope("benchmark"), device.name, per_tenant=PER_TENANT, window=VIEW)
        front = tuple(
            QueuedJob(
                id=row.id,
                tenant=row.tenant_id,
                start_tag=row.start_tag,
                finish_tag=row.finish_tag,
                cost=row.fairness_cost,
                footprint=Footprint.from_document(dict(row.footprint)),
            )
            for row in rows
        )
        seen = time.perf_counter()
        plan(View(front, 0), device, 0)
        view_ms.append(1e3 * (seen - started))
        plan_ms.append(1e3 * (time.perf_counter() - seen))
    both = [view + decision for view, decision in zip(view_ms, plan_ms, strict=True)]
    return {"view_ms": median(view_ms), "plan_ms": median(plan_ms), "decision_ms": median(both)}


def _fill(path: Path, size: int, device: DeviceView, kinds: Sequence[Kind]) -> None:
    """Waiting jobs of so many tenants in turn, tagged as admission would tag them; nothing else is in the database."""
    names = [column.name for column in jobs.columns]
    plain = [_plain(column) for column in jobs.columns]
    finish: dict[str, int] = {}
    rows: list[tuple[Any, ...]] = []
    for number in range(size):
        kind = kinds[number % len(kinds)]
        tenant = f"tenant-{number % TENANTS:04d}"
        cost = kind.shape.usual_qubits_with_buffer * kind.own_us
        start, finish[tenant] = tag(0, finish.get(tenant, 0), cost, WEIGHT_UNIT)
        known = {
            "id": f"job-{number:08d}",
            "tenant_id": tenant,
            "device_id": device.name,
            "state": "queued",
            "footprint": json.dumps(kind.footprint.to_document()),
            "options": "{}",
            "start_tag": start,
            "finish_tag": finish[tenant],
            "fairness_cost": cost,
            "num_legs": 1,
            "num_executions": 1,
        }
        rows.append(tuple(known.get(name, value) for name, value in zip(names, plain, strict=True)))
    with sqlite3.connect(path) as connection:  # checks no foreign keys, unlike the service's own connections
        marks = ",".join("?" * len(names))
        connection.executemany(f"INSERT INTO jobs ({','.join(names)}) VALUES ({marks})", rows)  # noqa: S608
        connection.execute("ANALYZE")
    connection.close()


def _plain(column: Any) -> object:
    """Something that the column takes."""
    if column.nullable:
        return None
    if isinstance(column.type, JSON):
        return "[]"
    return 0 if isinstance(column.type, (BigInteger, Boolean, Integer)) else ""
