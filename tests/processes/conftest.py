"""One service over several processes, as an operator runs it: `qpu serve`, `qpu serve --no-dispatch` and `qpu work`."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
import pytest
from postgres import Postgres
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from sqlalchemy import func, select

from qpu_backend.bootstrap import SYSTEM, open_database, read_pepper
from qpu_backend.config import load_config
from qpu_backend.domain.tenancy import Role
from qpu_backend.pipeline.administration import Administration
from qpu_backend.pipeline.clocks import SystemClock
from qpu_backend.stores import devices, reconciliation, schema, schema_access, schema_money
from qpu_sdk.wire.circuits import encode_bindings, encode_circuits
from qpu_sdk.wire.models import QPY_VERSION_READ, JobOptions, JobRequest, Pub

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_QPU = "from qpu_sdk.cli import main; main()"
DEVICE = "eagle127"
PATIENCE_S = 60.0


def until(there: Callable[[], Any], what: str = "it") -> Any:
    """Wait until something is the case; what it was."""
    deadline = time.monotonic() + PATIENCE_S
    while not (found := there()):
        assert time.monotonic() < deadline, f"{what} did not happen"
        time.sleep(0.02)
    return found


class Process:
    """A process of the service, which a test may end as it likes."""

    def __init__(self, words: list[str], log: Path) -> None:
        self._log = log
        with log.open("w", encoding="utf-8") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-c", _QPU, *words],
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env=os.environ | {"QPU_LOG_LEVEL": "info"},
            )
        self.url = ""

    def ready(self) -> Process:
        """Itself, once it says that it works."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line.startswith(("listening on ", "working on ")), (line, self.log())
        self.url = line.strip().removeprefix("listening on ")
        return self

    @property
    def pid(self) -> int:
        return self.process.pid

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def end(self, how: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal, and wait for the end; the exit code."""
        self.send(how)
        return self.wait()

    def wait(self) -> int:
        code = self.process.wait(PATIENCE_S)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return code

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.wait()

    def log(self) -> str:
        return self._log.read_text(encoding="utf-8")

    def told(self, event: str) -> list[dict[str, Any]]:
        """Events of that name in its log."""
        lines = [json.loads(line) for line in self.log().splitlines() if line.startswith("{") and line.endswith("}")]
        return [line for line in lines if line["event"] == event]


class Site:
    """A database, and the processes on it."""

    def __init__(self, folder: Path, url: str | None, cleanup: ExitStack) -> None:
        self._folder = folder
        self._cleanup = cleanup
        self._numbers = itertools.count(1)
        self._settings = folder / "qpu.toml"
        self._settings.write_text("workers = 1\ndecoders = 1\n[devices.eagle127]\nquantum_s = 2\n", encoding="utf-8")
        self.config = load_config(self._settings, data=folder, database=url)
        self.database = open_database(self.config)
        cleanup.callback(self.database.close)
        self.office = Administration(self.database, SYSTEM, read_pepper(self.config), SystemClock())
        self._principals: dict[str, str] = {}

    def start(self, command: str, *words: str) -> Process:
        """A process that has begun to start."""
        options = ["--config", str(self._settings), "--data", str(self._folder)]
        if self.config.database is not None:
            options += ["--database", self.config.database]
        if command == "serve":
            options += ["--port", "0"]
        process = Process([command, *options, *words], self._folder / f"{command}-{next(self._numbers)}.log")
        self._cleanup.callback(process.close)
        return process

    def api(self) -> Process:
        return self.start("serve", "--no-dispatch")

    def worker(self) -> Process:
        return self.start("work")

    def key(self, tenant: str) -> str:
        """A key of the tenant, who is new at first."""
        if tenant not in self._principals:
            self.office.create_tenant(tenant, **self._actor(self.office.create_tenant))
            self._principals[tenant] = self.office.create_key(
                tenant, role=Role.MEMBER, **self._actor(self.office.create_key)
            )
        return self._principals[tenant]

    @staticmethod
    def _actor(method: Any) -> dict[str, str]:
        return {"actor": "cli"} if "actor" in method.__kwdefaults__ else {}

    @contextmanager
    def client(self, process: Process, tenant: str) -> Iterator[httpx.Client]:
        headers = {"Authorization": f"Bearer {self.key(tenant)}"}
        with httpx.Client(base_url=process.url, headers=headers, timeout=90) as client:
            yield client

    # --- looking ---

    def states(self) -> dict[str, int]:
        """How many jobs are in which state."""
        query = select(schema.jobs.c.state, func.count()).group_by(schema.jobs.c.state)
        with self.database.read() as connection:
            return {str(state): int(count) for state, count in connection.execute(query)}

    def device(self) -> devices.DeviceRow:
        with self.database.read() as connection:
            row = devices.read_device(connection, DEVICE)
        assert row is not None
        return row

    def attempts(self) -> int:
        """How often the most repeated batch was run."""
        with self.database.read() as connection:
            return int(connection.execute(select(func.max(schema.batches.c.attempt))).scalar_one())

    def check(self, accepted: dict[str, int]) -> None:
        """Every accepted job is done once and billed once, and nothing is held back."""
        with self.database.read() as connection:
            rows = {row.id: str(row.state) for row in connection.execute(select(schema.jobs))}
            assert rows == dict.fromkeys(accepted, "done")
            usage = connection.execute(select(schema_money.usage_records.c.job_id, schema_money.usage_records.c.shots))
            assert sorted(tuple(row) for row in usage) == sorted(accepted.items())
            assert list(reconciliation.findings(connection, SYSTEM)) == []
            windows = connection.execute(select(schema_access.quota_windows)).all()
            assert [row.reserved for row in windows] == [0] * len(windows)
            ran = connection.execute(select(schema.batches)).all()
            assert {str(row.state) for row in ran} == {"done"}
            ends = connection.execute(
                select(schema.job_events.c.job_id).where(schema.job_events.c.name == "done")
            ).scalars()
            assert sorted(ends) == sorted(accepted)


def order(seed: int, *, bindings: int = 20) -> dict[str, Any]:
    """A job as JSON: half a millisecond for each binding."""
    theta = Parameter("t")
    circuit = QuantumCircuit(5, 5)
    circuit.sx(range(5))
    for a in range(4):
        circuit.ecr(a, a + 1)
        circuit.rz(theta, a)
        circuit.sx(a)
    circuit.measure(range(5), range(5))
    table = encode_bindings(np.linspace(0, 3, bindings).reshape(-1, 1))
    request = JobRequest(
        backend="eagle127:line-5",
        program="sampler",
        circuits=encode_circuits([circuit], QPY_VERSION_READ),
        pubs=[Pub(circuit=0, shots=10, bindings=table)],
        options=JobOptions(seed=seed),
    )
    return request.model_dump(mode="json")


class Waiting(threading.Thread):
    """A client that waits for a result."""

    def __init__(self, client: httpx.Client, job_id: str) -> None:
        super().__init__(daemon=True)
        self._client = client
        self._job_id = job_id
        self.answer: httpx.Response | None = None
        self.start()

    def run(self) -> None:
        self.answer = self._client.get(f"/v1/jobs/{self._job_id}/result", params={"wait": 60})


@pytest.fixture(scope="session")
def own_postgres() -> Iterator[Callable[..., Postgres]]:
    """Makes PostgreSQL servers that a test may stop and start again."""
    with ExitStack() as cleanup:

        def make(**settings: str) -> Postgres:
            server = Postgres(**settings)
            cleanup.callback(server.close)
            return server

        yield make


@pytest.fixture
def site(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Callable[..., Site]]:
    """Makes a site: ``site()`` on SQLite, ``site("postgresql")`` there, or at the address of a database."""
    with ExitStack() as cleanup:

        def make(kind: str = "sqlite") -> Site:
            url = None if kind == "sqlite" else kind
            if kind == "postgresql":
                server: Any = request.getfixturevalue("postgres")
                url = server.url(server.new_database(tables=True))
            return Site(tmp_path, url, cleanup)

        yield make


@pytest.fixture
def tools() -> Any:
    """What tests of processes need beside a site."""
    return Tools


def simulating(process: Process) -> list[int]:
    """Ids of the worker processes of a process."""
    children = Path(f"/proc/{process.pid}/task").glob("*/children")
    pids = [int(pid) for file in children for pid in file.read_text(encoding="ascii").split()]
    return [pid for pid in pids if b"--process-name" in Path(f"/proc/{pid}/cmdline").read_bytes()]


class Tools:
    """What needs no site."""

    simulating = staticmethod(simulating)

    PATIENCE_S = PATIENCE_S
    Waiting = Waiting
    order = staticmethod(order)
    until = staticmethod(until)
