"""The only place where parts are put together: configuration in, a service out."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from importlib.metadata import version
from typing import TYPE_CHECKING

from qpu_backend.config import DeviceSection
from qpu_backend.domain.sessions import SessionPolicy
from qpu_backend.domain.tenancy import PrincipalId, Role, SystemScope, TenantId, TenantScope
from qpu_backend.engines.compiling_pool import CompilingPool
from qpu_backend.engines.decoded import DecodingLimits
from qpu_backend.engines.decoding_pool import DecodingPool
from qpu_backend.engines.executors import local_executor
from qpu_backend.http.auth import Authenticator
from qpu_backend.http.door import Door
from qpu_backend.pipeline.administration import Administration
from qpu_backend.pipeline.admission import Admission
from qpu_backend.pipeline.analysis import REMEMBERED_BYTES, Analyst
from qpu_backend.pipeline.bookings import Bookings
from qpu_backend.pipeline.calibration import Calibration
from qpu_backend.pipeline.cancellation import Cancellation
from qpu_backend.pipeline.clocks import SystemClock, WallClock
from qpu_backend.pipeline.deferred import Recompiler
from qpu_backend.pipeline.dispatch import Dispatcher
from qpu_backend.pipeline.execution import Execution
from qpu_backend.pipeline.fleet import Fleet
from qpu_backend.pipeline.lease import DeviceLease
from qpu_backend.pipeline.notices import NoticeBoard
from qpu_backend.pipeline.plans import Plans
from qpu_backend.pipeline.predicting import Predictor
from qpu_backend.pipeline.profiling import Profiler
from qpu_backend.pipeline.recent import Recent
from qpu_backend.pipeline.recovery import Retrier
from qpu_backend.pipeline.replays import Replays
from qpu_backend.pipeline.sessions import Sessions
from qpu_backend.pipeline.settlement import Settler
from qpu_backend.policies import lane, model_of, publish
from qpu_backend.service import Service
from qpu_backend.stores import devices
from qpu_backend.stores.database import Database
from qpu_backend.stores.ids import new_id
from qpu_backend.stores.migrations.history import migrate
from qpu_backend.telemetry.metrics import Metrics
from qpu_sdk.wire.models import QPY_VERSION_READ

if TYPE_CHECKING:
    from collections.abc import Mapping
    from concurrent.futures import Executor
    from pathlib import Path

    from qpu_backend.config import ServiceConfig
    from qpu_backend.domain.programs import Program
    from qpu_backend.physics.device import DeviceModel
    from qpu_backend.pipeline.backends import DevicePolicy

SYSTEM = SystemScope("service")


def open_database(config: ServiceConfig, *, durable: bool = True) -> Database:
    """The service's database, migrated to this release."""
    config.data.mkdir(mode=0o700, parents=True, exist_ok=True)
    database = Database.open(config.database_url, durable=durable)
    migrate(database)
    return database


def read_pepper(config: ServiceConfig) -> bytes:
    """The secret under which API keys are hashed; made once, readable by the service alone."""
    return _secret(config.pepper_file)


def read_drift_secret(config: ServiceConfig) -> bytes:
    """What the hidden course of every device follows from: as configured, or made once as the pepper is."""
    return _secret(config.drift_seed_file) if config.drift_seed is None else config.drift_seed.encode()


def _secret(file: Path) -> bytes:
    """32 random bytes, the same ones for every process that ever asks."""
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not file.exists():
        draft = file.with_name(f"{file.name}.{new_id('draft')}")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as out:
            out.write(secrets.token_bytes(32))
        with suppress(FileExistsError):  # another process was faster: its secret counts
            os.link(draft, file)
        draft.unlink()
    return file.read_bytes()


def build(
    config: ServiceConfig, *, durable: bool = True, clock: WallClock | None = None, executor: Executor | None = None
) -> Service:
    """Put a service together. Nothing runs before :meth:`Service.start`.

    Args:
        config: what the operator set.
        durable: whether a committed transaction survives a power cut.
        clock: where wall time comes from; the machine's by default.
        executor: where circuits are simulated; by default worker processes on this machine. The service shuts it down.
    """
    clock = clock or SystemClock()
    database = open_database(config, durable=durable)
    pepper = read_pepper(config)
    models = {name: model_of(name, section) for name, section in config.devices.items()}
    publish(database, SYSTEM, config, {name: (model, snapshot) for name, (model, _, snapshot) in models.items()}, clock)

    limits = config.limits.published()
    notices, metrics = NoticeBoard(), Metrics()
    fleet = _fleet(config, {name: (model, policy) for name, (model, policy, _) in models.items()})
    decoding_limits = DecodingLimits(
        max_inflated_bytes=4 * limits.max_body_bytes,
        max_circuits=limits.max_circuits,
        max_qubits=limits.max_qubits,
        max_clbits=limits.max_clbits,
        max_operations=limits.max_operations,
    )
    decoding = DecodingPool(config.decoders, decoding_limits)
    compiling = CompilingPool(config.decoders, decoding_limits)
    recent_programs: Recent[str, Program] = Recent(REMEMBERED_BYTES)
    executor = executor or local_executor(config.workers)
    execution = Execution(executor, config.workers)
    profiler = Profiler(executor, config.workers)
    dispatchers: dict[str, Dispatcher] = {}
    retrier = Retrier(database, SYSTEM, clock, notices, dispatchers)
    settler = Settler(
        database=database,
        scope=SYSTEM,
        clock=clock,
        notices=notices,
        metrics=metrics,
        retry=retrier.retry,
        finished=retrier.finished,
    )
    sessions = Sessions(
        database=database,
        scope=SYSTEM,
        fleet=fleet,
        clock=clock,
        notices=notices,
        policy=SessionPolicy(
            ttl_us=round(1e6 * config.sessions.ttl_s),
            max_ttl_us=round(1e6 * config.sessions.max_ttl_s),
            max_length_us=round(1e6 * config.sessions.max_length_s),
        ),
    )
    for name in config.devices:
        dispatchers[name] = Dispatcher(
            database=database,
            scope=SYSTEM,
            device_id=name,
            fleet=fleet,
            lease=DeviceLease(database, SYSTEM, name, metrics),
            run=lambda batch: execution.submit(batch, settler.take),
            clock=clock,
            notices=notices,
            metrics=metrics,
            max_inflight=config.max_inflight,
            programs=recent_programs,
            profile=profiler,
            recompiler=Recompiler(compiling),
            sessions=sessions,
        )
    analyst = Analyst(decoding, compiling, limits, recent_programs)
    door = Door(
        database=database,
        fleet=fleet,
        admission=Admission(
            database=database,
            fleet=fleet,
            analyst=analyst,
            limits=limits,
            lanes={name: lane(name, section) for name, section in config.lanes.items()},
            system=SYSTEM,
            clock=clock,
            notices=notices,
            metrics=metrics,
        ),
        cancellation=Cancellation(database, SYSTEM, notices, clock),
        replays=Replays(database, executor, at_once=max(1, config.workers // 2)),
        predictor=Predictor(database, fleet, analyst),
        sessions=sessions,
        authenticator=Authenticator(database, clock, pepper),
        notices=notices,
        clock=clock,
        limits=limits,
        metrics=metrics,
        max_qpy_version=QPY_VERSION_READ,
        version=version("qpu-sdk"),
        system=SYSTEM,
        heartbeat_s=config.heartbeat_s,
    )
    return Service(
        database=database,
        administration=Administration(database, SYSTEM, pepper, clock),
        calibration=Calibration(database, SYSTEM, fleet, clock),
        bookings=Bookings(database, SYSTEM, fleet, clock),
        door=door,
        settler=settler,
        dispatchers=dispatchers,
        decoding=decoding,
        compiling=compiling,
        executor=executor,
        retrier=retrier,
    )


def open_calibration(config: ServiceConfig, database: Database, device_id: str) -> Calibration:
    """For a command beside a service or without one: the device with the options the service was last started with."""
    return Calibration(database, SYSTEM, _fleet_as_started(config, database, device_id), SystemClock())


def open_bookings(config: ServiceConfig, database: Database, device_id: str | None = None) -> Bookings:
    """For a command beside a service or without one: the devices with the options it was last started with."""
    return Bookings(database, SYSTEM, _fleet_as_started(config, database, device_id), SystemClock())


def open_plans(config: ServiceConfig, database: Database) -> Plans:
    """For a command beside a service or without one: the plans of every device it was last started with."""
    return Plans(database, SYSTEM, _fleet_as_started(config, database))


def _fleet_as_started(config: ServiceConfig, database: Database, only: str | None = None) -> Fleet:
    with database.read() as connection:
        rows = [row for row in devices.list_devices(connection) if only in {None, row.id}]
    models: dict[str, tuple[DeviceModel, DevicePolicy]] = {}
    for row in rows:
        options = {name: value for name, value in row.model.items() if name in DeviceSection.model_fields}
        models[row.id] = model_of(row.id, DeviceSection.model_validate(options))[:2]
    return _fleet(config, models)


def tenant_scope(tenant_id: str, principal_id: str, role: Role = Role.MEMBER) -> TenantScope:
    """A scope for the service's own tools and tests; requests get theirs from ``http/auth.py``."""
    return TenantScope(TenantId(tenant_id), PrincipalId(principal_id), role)


def _fleet(config: ServiceConfig, models: Mapping[str, tuple[DeviceModel, DevicePolicy]]) -> Fleet:
    return Fleet(
        models,
        max_clbits=config.limits.max_clbits,
        max_operations=config.limits.max_operations,
        max_simulated_qubits=config.limits.max_simulated_qubits,
        drift_secret=read_drift_secret(config),
    )
