"""A thousand tenants, fifty thousand waiting jobs, PostgreSQL, four API processes; and who gets the chip afterwards.

python benchmarks/load.py --json

Every submission is a whole one: a key is checked, a circuit that was never seen before is decoded in a limited child,
checked and priced, quota is reserved, the job enqueued and told in an event, durably. Only for the last part, in which
the backlog is worked off, simulation is replaced by zeros: what is measured there is who gets the chip, not physics.
"""

from __future__ import annotations

import argparse
import math
import os
import random
import subprocess
import sys
import tempfile
import time
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from pathlib import Path
from statistics import quantiles
from typing import TYPE_CHECKING, Any

import numpy as np
import psycopg
from load_clients import Submission, submit_all
from postgres import postgres_server
from qiskit import QuantumCircuit
from report import report
from sqlalchemy import func, select

from qpu_backend.bootstrap import SYSTEM, build, open_database, read_pepper
from qpu_backend.config import load_config
from qpu_backend.domain.keys import key_hmac, make_key
from qpu_backend.domain.quota import Resource, Window
from qpu_backend.domain.tenancy import Role
from qpu_backend.engines.protocol import RegionTask, SliceOutcome, TaskOutcome, WorkerReport, encode_report, split_tasks
from qpu_backend.engines.worker import run_tasks
from qpu_backend.physics.method import Method
from qpu_backend.stores import access, quota
from qpu_backend.stores.schema import jobs, placements
from qpu_sdk.wire.circuits import encode_circuits
from qpu_sdk.wire.models import QPY_VERSION_READ, JobOptions, JobRequest, Pub

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from qpu_backend.config import ServiceConfig

DEVICE = "eagle127"
SHOTS = 1000
APIS = 4
CONNECTIONS = 128
"""Of a thousand tenants so many ask at the same time, 32 of each process: it has threads for 40 submissions."""
PACED_CONNECTIONS = 32
"""Half the load needs no more."""
BARE_ROWS = 2_000
PACED_JOBS = 3_000
DRAIN_WITHIN_S = 600.0
"""A service that no longer works the backlog off must not hold the benchmark: what has run by then is reported."""
JAIN_AFTER = 4
"""Fairness is measured when so many jobs a tenant have run, on average: everybody still has jobs waiting."""


def main() -> None:
    """Fill the queue, then drain some of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--jobs", type=int, default=50_000, help="that wait in the end")
    parser.add_argument("--tenants", type=int, default=1_000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="qpu-load-") as folder, postgres_server() as url:
        config = load_config(data=Path(folder), database=url)
        keys = _tenants(config, arguments.tenants)
        rows_before = _bare_rows_per_s(url)
        with _apis(config) as (ports, pids):
            submissions = _submissions(keys)
            warming = [next(submissions) for _ in range(8 * APIS)]
            submit_all(warming, ports, connections=CONNECTIONS, per_second=None)
            rss_before = _rss_mb(pids)
            paced_jobs = min(PACED_JOBS, arguments.jobs // 4)
            at_once = [next(submissions) for _ in range(arguments.jobs - paced_jobs - len(warming))]
            paced = [next(submissions) for _ in range(paced_jobs)]
            middle, cpu_before_s = len(at_once) // 2, _cpu_s(pids)
            first = submit_all(at_once[:middle], ports, connections=CONNECTIONS, per_second=None)
            rss_middle = _rss_mb(pids)
            second = submit_all(at_once[middle:], ports, connections=CONNECTIONS, per_second=None)
            api_cpu_s = _cpu_s(pids) - cpu_before_s
            full = first.followed_by(second)
            submit_per_s = len(full.latencies_s) / full.seconds
            half = submit_all(paced, ports, connections=PACED_CONNECTIONS, per_second=submit_per_s / 2)
            rss_after = _rss_mb(pids)
        rows_after = _bare_rows_per_s(url)
        raw_insert_per_s = (rows_before + rows_after) / 2
        queued = _queued(config)
        drained = _drain(config, arguments.tenants)
        report(
            {
                "tenants": arguments.tenants,
                "queued": queued,
                "submit_per_s": submit_per_s,
                "submit_p99_ms": 1e3 * quantiles(half.latencies_s, n=100)[98],
                "submit_p99_ms_full_load": 1e3 * quantiles(full.latencies_s, n=100)[98],
                "api_cpu_ms": 1e3 * api_cpu_s / len(full.latencies_s),
                "refused": {**full.refused, **half.refused},
                "raw_insert_per_s": raw_insert_per_s,
                "ratio": submit_per_s / raw_insert_per_s,
                "rss_mb": max(rss_after),
                "rss_growth_mb": _growth(rss_before, rss_after),
                "rss_growth_second_half_mb": _growth(rss_middle, rss_after),
                **drained,
            },
            as_json=arguments.json,
        )


# --- the service under load ---------------------------------------------------------------------------------------


def _tenants(config: ServiceConfig, number: int) -> list[str]:
    """Tenants with a quota and a key each, in one transaction."""
    database, pepper, now_us = open_database(config), read_pepper(config), time.time_ns() // 1000
    keys = [make_key(os.urandom(32)) for _ in range(number)]
    with database.write() as connection:
        for index, key in enumerate(keys):
            tenant = access.create_tenant(connection, SYSTEM, name=f"tenant-{index:04d}", now_us=now_us)
            principal = access.create_principal(
                connection, SYSTEM, tenant_id=tenant.id, name="default", role=Role.MEMBER, now_us=now_us
            )
            access.insert_key(
                connection,
                SYSTEM,
                tenant_id=tenant.id,
                principal_id=principal.id,
                key_hmac=key_hmac(key, pepper),
                now_us=now_us,
            )
            quota.set_limit(
                connection, SYSTEM, tenant_id=tenant.id, resource=Resource.SHOTS, window=Window.DAY, amount=10**9
            )
    database.close()
    return keys


@contextmanager
def _apis(config: ServiceConfig) -> Generator[tuple[list[int], list[int]]]:
    """API processes without dispatch: nothing runs, everything waits. Their ports and process ids."""
    command = [sys.executable, "-c", "from qpu_sdk.cli import main; main()", "serve", "--no-dispatch", "--port", "0"]
    command += ["--data", str(config.data), "--database", config.database_url]
    environment = os.environ | {"QPU_LOG_LEVEL": "error"}
    processes = [
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)  # noqa: S603
        for _ in range(APIS)
    ]
    try:
        ports = [_port(process) for process in processes]
        yield ports, [process.pid for process in processes]
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait()


def _port(process: subprocess.Popen[str]) -> int:
    line = process.stdout.readline() if process.stdout is not None else ""
    if "listening on" not in line:
        raise RuntimeError(f"an API process did not start: {line!r}")
    return int(line.rsplit(":", 1)[1])


def _rss_mb(pids: list[int]) -> list[float]:
    """Resident memory of each process."""
    statuses = (Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines() for pid in pids)
    lines = (next(line for line in status if line.startswith("VmRSS")) for status in statuses)
    return [float(line.split()[1]) / 1024 for line in lines]


def _cpu_s(pids: list[int]) -> float:
    """Processor time of all of them, without that of their decoding children."""
    stats = (Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split() for pid in pids)
    return sum(int(stat[11]) + int(stat[12]) for stat in stats) / os.sysconf("SC_CLK_TCK")


def _growth(before: list[float], after: list[float]) -> float:
    """Of the process that grew most."""
    return max(late - early for early, late in zip(before, after, strict=True))


def _submissions(keys: list[str]) -> Iterator[Submission]:
    """For ever, of all tenants in turn; no two circuits are alike."""
    draw = random.Random(1)  # noqa: S311 - not a secret
    number = 0
    while True:
        for key in keys:
            number += 1
            yield Submission(key, f"load-{number}", _body(draw.uniform(-math.pi, math.pi)))


def _body(angle: float) -> bytes:
    """Two qubits of a virtual QPU, prepared and measured."""
    circuit = QuantumCircuit(2, 2)
    circuit.sx(0)
    circuit.rz(angle, 0)
    circuit.ecr(0, 1)
    circuit.sx(1)
    circuit.measure([0, 1], [0, 1])
    request = JobRequest(
        backend=f"{DEVICE}:line-2",
        program="circuits",  # pyright: ignore[reportArgumentType]
        circuits=encode_circuits([circuit], QPY_VERSION_READ),
        pubs=[Pub(circuit=0, shots=SHOTS)],
        options=JobOptions(),
    )
    return request.model_dump_json().encode()


def _bare_rows_per_s(url: str) -> float:
    """Commits of one row each, one after the other on one connection: what the database itself can do."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS bare (id bigserial PRIMARY KEY, body text)")
        started = time.perf_counter()
        for _ in range(BARE_ROWS):
            connection.execute("INSERT INTO bare (body) VALUES (%s)", ("a row",))
        return BARE_ROWS / (time.perf_counter() - started)


def _queued(config: ServiceConfig) -> int:
    database = open_database(config)
    with database.read() as connection:
        count = connection.execute(select(func.count()).select_from(jobs).where(jobs.c.state == "queued")).scalar_one()
    database.close()
    return int(count)


# --- who gets the chip --------------------------------------------------------------------------------------------


class Zeros(Executor):
    """Answers every simulation at once, with zeros."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """As a pool of workers would."""
        future: Future[Any] = Future()
        if fn is run_tasks:
            tasks = [RegionTask.from_bytes(record) for record in split_tasks(args[0])]
            future.set_result(encode_report(WorkerReport(tuple(map(_zeros, tasks)), {"engine": "zeros"})))
        else:
            try:
                future.set_result(fn(*args, **kwargs))
            except Exception as error:  # noqa: BLE001 - it belongs to who asked
                future.set_exception(error)
        return future


def _zeros(task: RegionTask) -> TaskOutcome:
    outcomes = [
        SliceOutcome(
            np.zeros((piece.shots, math.ceil(task.circuits[piece.circuit].num_clbits / 8)), np.uint8),
            Method.DENSITY_MATRIX,
        )
        for piece in task.slices
    ]
    return TaskOutcome(tuple(outcomes), 0)


def _drain(config: ServiceConfig, tenants: int) -> dict[str, float]:
    """Work the backlog off for a while. Jain's index of what each tenant got: 1 is everybody the same."""
    service = build(config, executor=Zeros())
    service.start()
    started = time.perf_counter()
    try:
        while (ran := _served(service.database)).size < tenants or ran.sum() < JAIN_AFTER * tenants:
            time.sleep(0.5)
            if time.perf_counter() - started > DRAIN_WITHIN_S:
                break
        seconds = time.perf_counter() - started
        with service.database.read() as connection:
            cost = func.sum(placements.c.fairness_cost)
            by_tenant = connection.execute(select(cost).group_by(placements.c.tenant_id)).scalars().all()
            batches = connection.execute(select(func.count(func.distinct(placements.c.batch_id)))).scalar_one()
    finally:
        service.stop()
    got = np.array([float(value) for value in by_tenant] + [0.0] * (tenants - len(by_tenant)))
    return {
        "fairness_jain": float(got.sum() ** 2 / (len(got) * (got**2).sum())),
        "drained_jobs": float(ran.sum()),
        "drained_per_s": float(ran.sum()) / seconds,
        "batches_per_s": batches / seconds,
    }


def _served(database: Any) -> np.ndarray[Any, Any]:
    """How many jobs of each tenant that has had any were placed."""
    with database.read() as connection:
        number = func.count(placements.c.job_id)
        counts = connection.execute(select(number).group_by(placements.c.tenant_id)).scalars().all()
    return np.array(counts, int)


if __name__ == "__main__":
    main()
