"""The only place where parts are put together: configuration in, a service out."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from importlib.metadata import version
from typing import TYPE_CHECKING

from qpu_backend.config import DeviceSection
from qpu_backend.domain.logins import LoginPolicy
from qpu_backend.domain.quotes import quote_key
from qpu_backend.domain.rates import Rate
from qpu_backend.domain.sessions import SessionPolicy
from qpu_backend.domain.tenancy import PrincipalId, Role, SystemScope, TenantId, TenantScope
from qpu_backend.engines.cluster import ClusterExecutor
from qpu_backend.engines.cluster_address import LOCAL, ClusterAddress
from qpu_backend.engines.compiling_pool import CompilingPool
from qpu_backend.engines.decoded import DecodingLimits
from qpu_backend.engines.decoding_pool import DecodingPool
from qpu_backend.engines.executors import local_executor
from qpu_backend.engines.on_demand import OnDemandExecutor
from qpu_backend.http.auth import Authenticator
from qpu_backend.http.door import Door
from qpu_backend.pipeline.administration import Administration
from qpu_backend.pipeline.admission import Admission
from qpu_backend.pipeline.analysis import REMEMBERED_BYTES, Analyst
from qpu_backend.pipeline.attempts import Attempts
from qpu_backend.pipeline.audit_heads import HeadFile
from qpu_backend.pipeline.auditing import Auditor, Sealer
from qpu_backend.pipeline.bookings import Bookings
from qpu_backend.pipeline.calibration import Calibration
from qpu_backend.pipeline.cancellation import Cancellation
from qpu_backend.pipeline.clocks import SystemClock, WallClock
from qpu_backend.pipeline.deferred import Recompiler
from qpu_backend.pipeline.dispatch import Dispatcher
from qpu_backend.pipeline.enqueueing import Enqueueing
from qpu_backend.pipeline.execution import Execution
from qpu_backend.pipeline.fleet import Fleet
from qpu_backend.pipeline.heralds import herald_of
from qpu_backend.pipeline.invoicing import Invoicing
from qpu_backend.pipeline.keys import Keys
from qpu_backend.pipeline.lease import DeviceLease
from qpu_backend.pipeline.logins import Logins
from qpu_backend.pipeline.notices import NoticeBoard
from qpu_backend.pipeline.plans import Plans
from qpu_backend.pipeline.predicting import Predictor
from qpu_backend.pipeline.price_books import PriceBooks
from qpu_backend.pipeline.pricing import Pricing
from qpu_backend.pipeline.principals import Principals
from qpu_backend.pipeline.profiling import Profiler
from qpu_backend.pipeline.quarantining import Quarantining
from qpu_backend.pipeline.quoting import Quoting
from qpu_backend.pipeline.recent import Recent
from qpu_backend.pipeline.reconciling import Reconciling
from qpu_backend.pipeline.recovery import Retrier
from qpu_backend.pipeline.refusals import Refusals
from qpu_backend.pipeline.replays import Replays
from qpu_backend.pipeline.retention import Archivist
from qpu_backend.pipeline.sessions import Sessions
from qpu_backend.pipeline.settlement import Settler
from qpu_backend.policies import lane, model_of, publish
from qpu_backend.service import EVERYTHING, Roles, Service
from qpu_backend.stores import devices
from qpu_backend.stores.database import Database
from qpu_backend.stores.ids import new_id
from qpu_backend.stores.migrations.history import migrate
from qpu_backend.telemetry.logs import logger
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


def read_audit_key(config: ServiceConfig) -> bytes:
    """The secret that seals the audit log; made once as the pepper is, and never in the database."""
    return _secret(config.audit_key_file)


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
    config: ServiceConfig,
    *,
    durable: bool = True,
    clock: WallClock | None = None,
    executor: Executor | None = None,
    roles: Roles = EVERYTHING,
) -> Service:
    """Put a service together. Nothing runs before :meth:`Service.start`.

    Args:
        config: what the operator set.
        durable: whether a committed transaction survives a power cut.
        clock: where wall time comes from; the machine's by default.
        executor: where circuits are simulated; by default what the configuration says. The service shuts it down.
        roles: what of the service this process does; by default all of it.

    Raises:
        ClusterRefused: it is to be simulated on a cluster that cannot be used as things are set up here.
    """
    metrics = Metrics()
    clock = clock or SystemClock(stepped_back=metrics.clock_steps_back.inc)
    database = open_database(config, durable=durable)
    database.observe_trouble(lambda trouble: metrics.database_trouble.labels(kind=trouble.code).inc())
    pepper = read_pepper(config)
    models = {name: model_of(name, section) for name, section in config.devices.items()}
    publish(database, SYSTEM, config, {name: (model, snapshot) for name, (model, _, snapshot) in models.items()}, clock)

    limits = config.limits.published()
    leases = {name: DeviceLease(database, SYSTEM, name, metrics) for name in roles.working_on(config.devices)}
    notices = NoticeBoard(lambda device_id: leases[device_id].sure_epoch if device_id in leases else None)
    fleet = _fleet(config, {name: (model, policy) for name, (model, policy, _) in models.items()})
    decoding_limits = DecodingLimits(
        max_inflated_bytes=4 * limits.max_body_bytes,
        max_circuits=limits.max_circuits,
        max_qubits=limits.max_qubits,
        max_clbits=limits.max_clbits,
        max_operations=limits.max_operations,
    )
    decoding = DecodingPool(config.decoders, decoding_limits, started=roles.answers)
    compiling = CompilingPool(config.decoders, decoding_limits)
    recent_programs: Recent[str, Program] = Recent(REMEMBERED_BYTES)
    executor = executor or (_executor(config) if leases else OnDemandExecutor(lambda: _executor(config)))
    execution = Execution(executor, config.workers, refused=metrics.workers_refused.inc)
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
    for name, lease in leases.items():
        dispatchers[name] = Dispatcher(
            database=database,
            scope=SYSTEM,
            device_id=name,
            fleet=fleet,
            lease=lease,
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
    pricing = Pricing(quote_key(pepper))
    lanes = {name: lane(name, section) for name, section in config.lanes.items()}
    attempts = Attempts(Rate(config.limits.attempts_per_minute, config.limits.attempts_burst))
    admission = Admission(
        database=database,
        fleet=fleet,
        analyst=analyst,
        attempts=attempts,
        limits=limits,
        lanes=lanes,
        enqueueing=Enqueueing(database=database, fleet=fleet, pricing=pricing, system=SYSTEM, clock=clock),
        clock=clock,
        notices=notices,
        metrics=metrics,
    )
    quoting = Quoting(
        database=database,
        admission=admission,
        pricing=pricing,
        system=SYSTEM,
        clock=clock,
        life_us=round(1e6 * config.quotes.life_s),
    )
    key_rate = Rate(config.limits.keys_per_minute, config.limits.keys_burst, principal=True, keys=True)
    tokens = config.oidc is not None and Role.TENANT_ADMIN in config.oidc.roles
    refusals = Refusals()
    door = Door(
        database=database,
        fleet=fleet,
        admission=admission,
        quoting=quoting,
        price_books=PriceBooks(database, SYSTEM, clock, lanes),
        cancellation=Cancellation(database, SYSTEM, notices, clock),
        replays=Replays(database, executor, at_once=max(1, config.workers // 2)),
        predictor=Predictor(database, fleet, analyst, attempts, clock),
        sessions=sessions,
        invoicing=Invoicing(database, SYSTEM, clock),
        reconciling=Reconciling(database, SYSTEM, clock, metrics),
        administration=Administration(database, SYSTEM, pepper, clock, key_rate=key_rate),
        calibration=Calibration(database, SYSTEM, fleet, clock),
        bookings=Bookings(database, SYSTEM, fleet, clock),
        quarantining=Quarantining(database, SYSTEM, fleet, clock),
        principals=Principals(database, SYSTEM, clock, administrators_have_tokens=tokens),
        keys=Keys(database, SYSTEM, pepper, clock, rate=key_rate, administrators_have_tokens=tokens),
        authenticator=_authenticator(config, database, clock, pepper, refusals),
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
        door=door,
        settler=settler,
        dispatchers=dispatchers,
        decoding=decoding,
        compiling=compiling,
        executor=executor,
        retrier=retrier,
        sealer=open_sealer(config, database, clock=clock, refusals=refusals, durable=durable),
        archivist=open_archivist(config, database, clock=clock),
        herald=herald_of(database, SYSTEM, notices, metrics),
        roles=roles,
    )


def _authenticator(
    config: ServiceConfig, database: Database, clock: WallClock, pepper: bytes, refusals: Refusals
) -> Authenticator:
    """The door for API keys, and for tokens where an issuer is configured; only then is anything of it loaded."""
    if config.oidc is None:
        return Authenticator(database, clock, pepper, refusals=refusals)
    from qpu_backend.http.oidc import Issuer, IssuerSettings  # noqa: PLC0415 - and cryptography with it

    section = config.oidc
    settings = IssuerSettings(
        issuer=section.issuer,
        audience=section.audience,
        jwks_url=section.jwks_url,
        algorithms=frozenset(section.algorithms),
        leeway_s=section.leeway_s,
        keys_live_s=section.keys_live_s,
        refetch_s=section.refetch_s,
    )
    policy = LoginPolicy(section.tenant_claim, section.role_claim, section.roles, section.create_principals)
    logins = Logins(database, SYSTEM, clock, policy)
    return Authenticator(database, clock, pepper, refusals=refusals, issuer=Issuer(settings), logins=logins)


def _executor(config: ServiceConfig) -> Executor:
    """Worker processes on this machine, or a cluster."""
    if config.executor == LOCAL:
        return local_executor(config.workers)
    log = logger("cluster")

    def tell(event: str, **facts: object) -> None:
        (log.info if event == "cluster_connected" else log.warning)(event, **facts)

    return ClusterExecutor(ClusterAddress.parse(config.executor), tell=tell)


def open_calibration(config: ServiceConfig, database: Database, device_id: str) -> Calibration:
    """For a command beside a service or without one: the device with the options the service was last started with."""
    return Calibration(database, SYSTEM, _fleet_as_started(config, database, device_id), SystemClock())


def open_quarantining(config: ServiceConfig, database: Database, device_id: str) -> Quarantining:
    """For a command beside a service or without one: the device with the options the service was last started with."""
    return Quarantining(database, SYSTEM, _fleet_as_started(config, database, device_id), SystemClock())


def open_bookings(config: ServiceConfig, database: Database, device_id: str | None = None) -> Bookings:
    """For a command beside a service or without one: the devices with the options it was last started with."""
    return Bookings(database, SYSTEM, _fleet_as_started(config, database, device_id), SystemClock())


def open_auditor(config: ServiceConfig, database: Database) -> Auditor:
    """For a command beside a service or without one: reads and verifies the audit log."""
    return Auditor(database, SYSTEM, read_audit_key(config), SystemClock())


def open_sealer(
    config: ServiceConfig,
    database: Database,
    *,
    clock: WallClock | None = None,
    refusals: Refusals | None = None,
    durable: bool = True,
) -> Sealer:
    """What seals the audit log of a service; it seals by itself once it is started."""
    heads = HeadFile(config.audit_heads_file, durable=durable)
    return Sealer(database, SYSTEM, read_audit_key(config), heads, clock or SystemClock(), refusals)


def open_archivist(config: ServiceConfig, database: Database, *, clock: WallClock | None = None) -> Archivist:
    """What archives the ended jobs of a service; it does so by itself once it is started."""
    return Archivist(
        database,
        SYSTEM,
        clock or SystemClock(),
        config.retention.rule(),
        config.archive_folder,
        at_once=config.retention.at_once,
    )


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
