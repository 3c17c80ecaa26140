"""A laboratory: a real service without its HTTP door, with workers that a test can hold back and end."""

from __future__ import annotations

import itertools
import threading
import time
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from qiskit import QuantumCircuit
from sqlalchemy import select
from togetherness import at_once
from warm import put_tables
from workers import Workers

from qpu_backend.bootstrap import SYSTEM, build, tenant_scope
from qpu_backend.config import DeviceSection, load_config
from qpu_backend.domain.tenancy import Role
from qpu_backend.engines.catalogue import read_device
from qpu_backend.stores import (
    access,
    batches,
    blobs,
    devices,
    events,
    jobs,
    money,
    reconciliation,
    schema,
    schema_access,
    schema_money,
)
from qpu_backend.telemetry.logs import configure_logs
from qpu_sdk.wire.circuits import encode_circuits
from qpu_sdk.wire.models import QPY_VERSION_READ, JobOptions, JobRequest, Pub
from qpu_sdk.wire.results import decode_result

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from concurrent.futures import Executor
    from pathlib import Path

    import numpy as np

    from qpu_backend.domain.tenancy import TenantScope
    from qpu_backend.pipeline.clocks import WallClock
    from qpu_backend.service import Service
    from qpu_backend.stores.batches import BatchRow, PlacementRow
    from qpu_backend.stores.jobs import JobRow
    from qpu_sdk.wire.results import JobResult

DEVICE = "eagle127"
LINE = "eagle127:line-5"
_PATIENCE_S = 60.0


def _until(there: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while not there():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@dataclass(frozen=True)
class Ran:
    """A batch and who was in it."""

    batch: BatchRow
    placements: list[PlacementRow]

    @property
    def job_ids(self) -> list[str]:
        return [placement.job_id for placement in self.placements]


class Lab:
    """A service to work with, and what an operator can see of it."""

    def __init__(self, service: Service, workers: Workers) -> None:
        self.service = service
        self.workers = workers
        self.database = service.database
        self.dispatcher = service.dispatchers[DEVICE]
        self._numbers = itertools.count(1)

    def tenant(self, name: str | None = None, **policy: Any) -> TenantScope:
        """A new tenant with one principal."""
        name = name or f"tenant-{next(self._numbers)}-{threading.get_native_id()}-{time.monotonic_ns()}"
        row = self.service.administration.create_tenant(name, **policy)
        with self.database.write() as connection:
            principal = access.create_principal(
                connection, SYSTEM, tenant_id=row.id, name="ada", role=Role.MEMBER, now_us=0
            )
        return tenant_scope(row.id, principal.id)

    def submit(self, scope: TenantScope, order: JobRequest | None = None, key: str | None = None) -> str:
        """Admit a job; its id."""
        order = order or sample(ghz())
        row, _ = self.service.door.admission.admit(scope, order, order.model_dump_json().encode(), key)
        return row.id

    def pause(self) -> None:
        self.service.administration.set_operational(DEVICE, operational=False, status_msg="paused")

    def resume(self) -> None:
        self.service.administration.set_operational(DEVICE, operational=True, status_msg="active")
        self.dispatcher.wake()

    @contextmanager
    def queueing(self) -> Iterator[None]:
        """Jobs submitted in the block wait for each other and are planned together."""
        self.pause()
        try:
            yield
        finally:
            self.resume()

    def idle(self) -> None:
        """Wait until every answer of the workers has been dealt with."""
        _until(lambda: not self.workers.busy() and not self.dispatcher._inflight)

    def until(self, state: str, *job_ids: str) -> list[JobRow]:
        """The jobs, once each is in this state or final."""
        _until(lambda: all(row.state == state or row.state.final for row in self.rows(*job_ids)))
        return self.rows(*job_ids)

    def ended(self, *job_ids: str) -> list[JobRow]:
        """The jobs, once they are final."""
        return self.until("done", *job_ids)

    def settle(self) -> None:
        """Wait until nothing is unfinished."""
        unfinished = select(schema.jobs.c.id).where(schema.jobs.c.state.in_(["queued", "running"]))
        with self.database.read() as connection:
            self.ended(*connection.execute(unfinished).scalars().all())

    def at_once(self, functions: Sequence[Callable[[], Any]]) -> list[Any]:
        """Run functions in a thread each; what each returned or raised, in order."""
        return at_once(functions)

    def rows(self, *job_ids: str) -> list[JobRow]:
        """The jobs now."""
        with self.database.read() as connection:
            found = jobs.read_jobs(connection, SYSTEM, job_ids)
        return [found[job_id] for job_id in job_ids]

    def result(self, job_id: str) -> JobResult:
        """The result of a job that is done."""
        (row,) = self.ended(job_id)
        assert row.result_sha is not None, (row.state, row.error_message)
        with self.database.read() as connection:
            return decode_result(blobs.get_blob(connection, row.result_sha))

    def shots(self, job_id: str) -> list[np.ndarray]:
        """The measured bits of each pub."""
        return [pub.bits for pub in self.result(job_id).pubs]

    def batches(self, *job_ids: str) -> list[Ran]:
        """Batches that held any of these jobs (all batches when none is named), oldest first."""
        with self.database.read() as connection:
            rows = batches.recent_batches(connection, SYSTEM, DEVICE, limit=10_000)
            ran = [Ran(row, batches.placements_of(connection, SYSTEM, row.id)) for row in reversed(rows)]
        return [one for one in ran if not job_ids or set(job_ids) & set(one.job_ids)]

    def usage(self, scope: TenantScope, job_id: str) -> money.UsageRow | None:
        """What was metered for a job."""
        with self.database.read() as connection:
            return money.usage_of_job(connection, scope, job_id)

    def events(self, scope: TenantScope, job_id: str) -> list[str]:
        """The names of a job's events, after their numbers were checked."""
        with self.database.read() as connection:
            found = events.read_job_events(connection, scope, job_id)
        assert [event.seq for event in found] == list(range(1, len(found) + 1))
        return [event.name for event in found]

    def device(self) -> devices.DeviceRow:
        """The device's row."""
        with self.database.read() as connection:
            device = devices.read_device(connection, DEVICE)
        assert device is not None
        return device

    def windows(self, scope: TenantScope) -> list[tuple[str, int, int]]:
        """(resource, reserved, spent) of the tenant's quota windows."""
        table = schema_access.quota_windows
        columns = (table.c.resource, table.c.reserved, table.c.spent)
        with self.database.read() as connection:
            rows = connection.execute(select(*columns).where(table.c.tenant_id == scope.tenant_id))
            return sorted(tuple(row) for row in rows)

    def check_books(self) -> None:
        """Jobs, usage records and postings agree, and a job that has ended holds nothing back."""
        with self.database.read() as connection:
            assert list(reconciliation.findings(connection, SYSTEM)) == []
            unfinished = schema.jobs.c.state.in_(["queued", "running"])
            if connection.execute(select(schema.jobs.c.id).where(unfinished)).first() is None:
                table = schema_access.quota_windows
                assert connection.execute(select(table).where(table.c.reserved != 0)).first() is None
            final = connection.execute(select(schema.jobs.c.id).where(~unfinished)).scalars().all()
            metered = connection.execute(select(schema_money.usage_records.c.job_id)).scalars().all()
            assert sorted(final) == sorted(metered)


def ghz(num_qubits: int = 5, qubits: Sequence[int] | None = None, width: int | None = None) -> QuantumCircuit:
    """Entangles a line of qubits with the device's own gates, and measures it."""
    line = list(qubits or range(num_qubits))
    circuit = QuantumCircuit(width or num_qubits, len(line))
    circuit.sx(line)
    for a, b in itertools.pairwise(line):
        circuit.ecr(*(directed(a, b) if width else (a, b)))
        circuit.rz(0.3, b)
        circuit.sx(b)
    circuit.measure(line, range(len(line)))
    return circuit


def pinned(*qubits: int) -> QuantumCircuit:
    """As :func:`ghz`, on these qubits of the chip."""
    return ghz(qubits=qubits, width=127)


@cache
def _directions() -> set[tuple[int, int]]:
    _, snapshot = read_device(DEVICE)
    return {qubits for _, qubits in snapshot.gates if len(qubits) == 2}


def directed(a: int, b: int) -> tuple[int, int]:
    """The direction in which the chip couples two qubits."""
    return (a, b) if (a, b) in _directions() else (b, a)


def sample(
    *circuits: QuantumCircuit,
    backend: str = LINE,
    shots: int | Sequence[int] = 100,
    pubs: list[Pub] | None = None,
    program: str = "sampler",
    **options: Any,
) -> JobRequest:
    """An order for samples of each circuit."""
    each = [shots] * len(circuits) if isinstance(shots, int) else shots
    return JobRequest(
        backend=backend,
        program=program,
        circuits=encode_circuits(circuits, QPY_VERSION_READ),
        pubs=pubs or [Pub(circuit=index, shots=number) for index, number in enumerate(each)],
        options=JobOptions(**options),
    )


@contextmanager
def laboratory(
    folder: Path,
    *,
    database: str | None = None,
    device: Mapping[str, Any] | None = None,
    clock: WallClock | None = None,
    started: bool = True,
    max_inflight: int = 2,
    executor: Executor | None = None,
    **settings: Any,
) -> Iterator[Lab]:
    """A service in this folder for the length of the block; on workers of the test where no executor is given."""
    config = load_config(
        data=folder,
        database=database,
        workers=2,
        decoders=1,
        max_inflight=max_inflight,
        devices={DEVICE: DeviceSection(**(device or {}))},
        **settings,
    )
    configure_logs("critical")
    if database is None:
        put_tables(folder / "qpu.sqlite")
    workers = Workers()
    service = build(config, durable=False, clock=clock, executor=executor or workers)
    if started:
        service.start()
    else:
        service._settler.start()
    try:
        yield Lab(service, workers)
    finally:
        workers.gate.set()
        service.stop()


@pytest.fixture(scope="module")
def laboratories() -> Callable[..., AbstractContextManager[Lab]]:
    return laboratory  # for longer than a test


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A running service that the stories of a module share, on SQLite."""
    with laboratory(tmp_path_factory.mktemp("lab")) as shared:
        yield shared


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def either_lab(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A running service that the stories of a module share, on each database."""
    folder = tmp_path_factory.mktemp("lab")
    url = None
    if request.param == "postgresql":
        server: Any = request.getfixturevalue("postgres")
        url = server.url(server.new_database(tables=True))
    with laboratory(folder, database=url) as shared:
        yield shared


@pytest.fixture
def new_lab(tmp_path: Path) -> Iterator[Callable[..., Lab]]:
    """Starts services that a test may break: ``new_lab("a", device={…})``, each in a folder of its own."""
    with ExitStack() as cleanup:

        def start(name: str = "lab", **settings: Any) -> Lab:
            return cleanup.enter_context(laboratory(tmp_path / name, **settings))

        yield start


@pytest.fixture(scope="session")
def make() -> SimpleNamespace:
    """The makers of circuits and orders: ``make.sample(make.ghz())``."""
    return SimpleNamespace(ghz=ghz, pinned=pinned, sample=sample, directed=directed)
