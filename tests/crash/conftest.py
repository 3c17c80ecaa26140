"""A server as an operator runs it: a process of its own that a test may kill, and its clients over HTTP."""

from __future__ import annotations

import itertools
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from sqlalchemy import func, select

from qpu_backend.bootstrap import SYSTEM, open_database, read_pepper
from qpu_backend.config import load_config
from qpu_backend.engines.protocol import decode_report, join_tasks
from qpu_backend.engines.worker import run_tasks
from qpu_backend.pipeline.administration import Administration
from qpu_backend.pipeline.clocks import SystemClock
from qpu_backend.pipeline.execution import MemberOutcome
from qpu_backend.pipeline.parts import Part
from qpu_backend.pipeline.postprocessing import package
from qpu_backend.pipeline.recovery import load
from qpu_backend.stores import blobs, money, schema, schema_access, schema_money
from qpu_sdk.wire.circuits import encode_bindings, encode_circuits
from qpu_sdk.wire.models import QPY_VERSION_READ, JobOptions, JobRequest, Pub

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from qpu_backend.stores.database import Database

_SERVE = "from qpu_sdk.cli import main; main()"
_PATIENCE_S = 60.0


class Server:
    """`qpu serve` on a port that stays the same, in a process that can be killed and started again."""

    def __init__(self, folder: Path, database_url: str | None) -> None:
        settings = folder / "qpu.toml"
        settings.write_text("[devices.eagle127]\nquantum_s = 2\n", encoding="utf-8")
        self.config = load_config(settings, data=folder, database=database_url)
        self._settings = settings
        self.database: Database = open_database(self.config)
        self.administration = Administration(self.database, SYSTEM, read_pepper(self.config), SystemClock())
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port: int = probe.getsockname()[1]
        self.process: subprocess.Popen[str] | None = None
        self.errors = ""
        self._file = folder / "stderr"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start, and return when it says that it listens."""
        command = [sys.executable, "-c", _SERVE, "serve", "--config", str(self._settings)]
        command += ["--data", str(self.config.data), "--port", str(self.port)]
        if self.config.database is not None:
            command += ["--database", self.config.database]
        with self._file.open("w", encoding="utf-8") as errors:
            self.process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=errors, text=True, env=os.environ | {"QPU_LOG_LEVEL": "error"}
            )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert f"listening on {self.url}" in line, (line, self._file.read_text(encoding="utf-8"))

    def end(self, how: signal.Signals) -> int:
        """Send a signal, wait for the end, and check that nothing it started is left."""
        process = self.process
        assert process is not None
        started = _descendants(process.pid)
        process.send_signal(how)
        code = process.wait(_PATIENCE_S)
        assert process.stdout is not None
        process.stdout.close()
        self.process = None
        self.errors = self._file.read_text(encoding="utf-8")
        deadline = time.monotonic() + 15
        while left := [one for one in started if _born(one[0]) == one[1]]:
            assert time.monotonic() < deadline, f"orphans of the server: {left}"
            time.sleep(0.05)
        return code

    def close(self) -> None:
        if self.process is not None:
            self.end(signal.SIGKILL)
        self.database.close()

    # --- looking ---

    def states(self) -> dict[str, int]:
        """How many jobs are in which state."""
        query = select(schema.jobs.c.state, func.count()).group_by(schema.jobs.c.state)
        with self.database.read() as connection:
            return {str(state): int(count) for state, count in connection.execute(query)}

    def attempts(self) -> int:
        """How often the most repeated batch was run."""
        with self.database.read() as connection:
            return int(connection.execute(select(func.max(schema.batches.c.attempt))).scalar_one())

    def most_legs(self) -> int:
        """Of any job."""
        with self.database.read() as connection:
            return int(connection.execute(select(func.max(schema.jobs.c.num_legs))).scalar_one())

    def check(self, accepted: dict[str, int]) -> None:
        """Every accepted job is done once, billed once, and its result is what its record gives when it runs again."""
        with self.database.read() as connection:
            rows = {row.id: row for row in connection.execute(select(schema.jobs))}
            assert {job_id: row.state for job_id, row in rows.items()} == dict.fromkeys(accepted, "done")
            usage = connection.execute(
                select(schema_money.usage_records.c.job_id, schema_money.usage_records.c.shots)
            ).all()
            assert sorted(usage) == sorted(accepted.items())
            assert money.reconcile(connection, SYSTEM).clean
            windows = connection.execute(select(schema_access.quota_windows)).all()
            assert [row.reserved for row in windows] == [0] * len(windows)
            assert sum(row.spent for row in windows) == sum(accepted.values())
            device = connection.execute(select(schema.devices)).one()
            ran = connection.execute(select(schema.batches).order_by(schema.batches.c.device_start_us)).all()
            assert {row.state for row in ran} == {"done"}
            assert sum(row.device_us for row in ran) == device.device_time_us
            for earlier, later in itertools.pairwise(ran):
                assert later.device_start_us == earlier.device_start_us + earlier.device_us
            parts: dict[str, list[Part]] = {job_id: [] for job_id in rows}
            for row in ran:
                batch = load(connection, SYSTEM, row.id)
                report = decode_report(run_tasks(join_tasks([member.record for member in batch.members])))
                for member, task in zip(batch.members, report.tasks, strict=True):
                    legs = parts[member.job.id]
                    assert member.leg == len(legs)  # each once, in order
                    outcome = MemberOutcome(task.slices, task.cpu_us, task.failure, report.fingerprint)
                    legs.append(Part.of(batch, member, outcome))
                    if member.last:
                        stored = blobs.get_blob(connection, rows[member.job.id].result_sha)
                        assert package(member.job, member.program, legs) == stored
            assert {job_id: len(legs) for job_id, legs in parts.items()} == {
                job_id: row.num_legs for job_id, row in rows.items()
            }
        self._check_events({job_id: row.num_legs for job_id, row in rows.items()})

    def _check_events(self, num_legs: dict[str, int]) -> None:
        table = schema.job_events
        with self.database.read() as connection:
            told: dict[str, list[str]] = {}
            for row in connection.execute(select(table).order_by(table.c.job_id, table.c.seq)):
                told.setdefault(row.job_id, []).append(row.name)
        for job_id, names in told.items():
            assert names == ["admitted", *["running", "leg_done"] * (num_legs[job_id] - 1), "running", "done"], told


class Client(threading.Thread):
    """A tenant that submits jobs one after the other, each until there is an answer, under its idempotency key."""

    def __init__(self, server: Server, name: str, orders: list[JobRequest]) -> None:
        super().__init__(name=name, daemon=True)
        key = server.administration.create_key(name)
        self._http = httpx.Client(base_url=server.url, headers={"Authorization": f"Bearer {key}"}, timeout=10)
        self._orders = orders
        self.accepted: dict[str, int] = {}
        self.failure: BaseException | None = None

    def run(self) -> None:
        try:
            for number, order in enumerate(self._orders):
                document = self._submit(order.model_dump_json(), f"{self.name}-{number}")
                self.accepted[document["id"]] = document["shots"]
        except BaseException as error:  # noqa: BLE001 - the test looks at it
            self.failure = error

    def _submit(self, body: str, key: str) -> dict[str, Any]:
        deadline = time.monotonic() + _PATIENCE_S
        while time.monotonic() < deadline:
            try:
                answer = self._http.post("/v1/jobs", content=body, headers={"Idempotency-Key": key})
            except httpx.TransportError:
                time.sleep(0.05)
                continue
            if answer.status_code == 202:
                return answer.json()
            assert answer.status_code == 503, answer.text
            time.sleep(0.05)
        raise AssertionError("the server does not come back")


def sweep(seed: int, *, bindings: int, backend: str = "eagle127:line-5") -> JobRequest:
    """A job of many executions: half a millisecond each."""
    theta = Parameter("t")
    circuit = QuantumCircuit(5 if ":" in backend else 127, 5)
    circuit.sx(range(5))
    for a in range(4):
        circuit.ecr(*((a, a + 1) if ":" in backend else (a + 1, a)))
        circuit.rz(theta, a)
        circuit.sx(a)
    circuit.measure(range(5), range(5))
    table = encode_bindings(np.linspace(0, 3, bindings).reshape(-1, 1))
    return JobRequest(
        backend=backend,
        program="sampler",
        circuits=encode_circuits([circuit], QPY_VERSION_READ),
        pubs=[Pub(circuit=0, shots=10, bindings=table)],
        options=JobOptions(seed=seed),
    )


def _descendants(pid: int) -> list[tuple[int, str]]:
    """(pid, birth) of every process below this one."""
    parents: dict[int, list[int]] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            fields = _stat(int(folder.name))
            if fields:
                parents.setdefault(int(fields[1]), []).append(int(folder.name))
    found: list[tuple[int, str]] = []
    waiting: queue.SimpleQueue[int] = queue.SimpleQueue()
    waiting.put(pid)
    while not waiting.empty():
        for child in parents.get(waiting.get(), []):
            found.append((child, _born(child)))
            waiting.put(child)
    return found


def _stat(pid: int) -> list[str]:
    """Fields of /proc/pid/stat from the third on; empty when there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return []


def _born(pid: int) -> str:
    """When a process started; empty when it is gone or a zombie."""
    fields = _stat(pid)
    return "" if not fields or fields[0] in "ZX" else fields[19]


@pytest.fixture
def serving(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Callable[..., Server]]:
    """Makes servers that have not been started: ``serving()`` on SQLite, ``serving("postgresql")`` there."""
    with ExitStack() as cleanup:

        def make(kind: str = "sqlite") -> Server:
            url = None
            if kind == "postgresql":
                postgres: Any = request.getfixturevalue("postgres")
                url = postgres.url(postgres.new_database())
            server = Server(tmp_path, url)
            cleanup.callback(server.close)
            return server

        yield make


@pytest.fixture
def clients() -> Any:
    """Makes clients and orders."""
    return Clients


class Clients:
    """``clients.Client`` and ``clients.sweep``."""

    Client = Client
    sweep = staticmethod(sweep)
