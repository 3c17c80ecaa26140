"""What an operator can set: one versioned TOML file, overridden by ``QPU_*`` environment variables."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from qpu_backend.domain.backends import SLICE_NAME
from qpu_backend.domain.retention import Retention
from qpu_backend.domain.slices import RESERVED_NAMES
from qpu_backend.domain.tenancy import Role
from qpu_backend.domain.views import MAX_LOSS
from qpu_backend.engines.cluster_address import LOCAL, ClusterAddress
from qpu_backend.http.addresses import checked_address
from qpu_sdk.wire.models import MAX_INTEGER, Limits, SmallText
from qpu_sdk.wire.prices import Percent, Rate

SignatureAlgorithm = Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class CrosstalkSection(_Section):
    """Strength of each mechanism: 1 as published or typical, 0 switches it off.

    Attributes:
        conditional: C1, two-qubit gates beside certain others; multiplies every ``ρ − 1``.
        zz: C2, static ZZ, inside a region too; multiplies every ζ.
        drive: C3, pulses seen by qubits near them; multiplies the spilled amplitude.
        readout: C4, qubits read together in one group.
        reset: C5, what the shot before has left.
    """

    conditional: float = Field(default=1.0, ge=0)
    zz: float = Field(default=1.0, ge=0)
    drive: float = Field(default=1.0, ge=0)
    readout: float = Field(default=1.0, ge=0)
    reset: float = Field(default=1.0, ge=0)


class SliceSection(_Section):
    """Qubits of a device that only one tenant's jobs use.

    Attributes:
        tenant: name of the tenant. Until there is one of that name nobody uses them.
        qubits: physical qubits; no other slice of the device has them.
    """

    tenant: str = Field(min_length=1, max_length=64)
    qubits: tuple[Annotated[int, Field(ge=0)], ...] = Field(min_length=1)


SliceName = Annotated[str, Field(pattern=f"^{SLICE_NAME}$")]


class DeviceSection(_Section):
    """One device and its policy.

    Attributes:
        buffer: idle qubits kept around every region. 1 suits fixed couplers (Eagle), 0 tunable ones (Heron).
        stretch: a neighbour may last this fraction longer than the job that heads the batch.
        batch_jobs: at most so many jobs share a batch.
        session_share: how much of the usable qubits all sessions of one tenant together may hold.
        hold_patience_s: a job that is next and has waited so long may use what sessions hold.
        quantum_s: device time that the shots of a job may take in a batch; a job that needs more runs in several.
        max_loss: success probability that a job gives up at most, against its best place on the empty chip, to run now.
        crosstalk: what circuits do to each other, and how strongly; ``false`` switches all of it off.
        drift: whether the device changes between calibrations; without, it is its first snapshot for ever.
        drift_scale: multiplies how far it does.
        backfill_s: device time that a batch of others may last in a booked window whose owner has nothing to run.
        slices: qubits that belong to one tenant, by the name that follows the device's: ``acme`` in ``eagle127/acme``.
    """

    buffer: Literal[0, 1] = 1
    stretch: float = Field(default=0.5, ge=0)
    session_share: float = Field(default=0.25, gt=0, le=1)
    hold_patience_s: float = Field(default=60.0, ge=0)
    batch_jobs: int = Field(default=40, ge=1, le=64)
    quantum_s: float = Field(default=30.0, ge=1, le=3600)
    max_loss: float = Field(default=MAX_LOSS, ge=0, le=1)
    crosstalk: CrosstalkSection = CrosstalkSection()
    drift: bool = True
    drift_scale: float = Field(default=1.0, ge=0, le=10)
    backfill_s: float = Field(default=10.0, ge=0, le=3600)
    slices: dict[SliceName, SliceSection] = {}

    @field_validator("slices")
    @classmethod
    def _disjoint(cls, value: dict[str, SliceSection]) -> dict[str, SliceSection]:
        owners: dict[int, str] = {}
        for name, section in value.items():
            if name in RESERVED_NAMES:
                raise ValueError(f"{name}: a slice cannot be called {', '.join(sorted(RESERVED_NAMES))}")
            for qubit in section.qubits:
                if qubit in owners:
                    also = "twice" if owners[qubit] == name else f"here and in {owners[qubit]}"
                    raise ValueError(f"{name}.qubits: qubit {qubit} is {also}; it can belong to one slice, once")
                owners[qubit] = name
        return value

    @field_validator("crosstalk", mode="before")
    @classmethod
    def _all_or_nothing(cls, value: object) -> object:
        if isinstance(value, bool):
            return dict.fromkeys(CrosstalkSection.model_fields, float(value))
        return value


class LaneSection(_Section):
    """A class of service.

    Attributes:
        weight: share relative to a lane of 100.
        promise_s: device time within which a job is promised to start; one that could not be kept is refused. Not below
            the longest batch of the device, or nothing can be promised.
        tenants: names of those who may use it; everybody where nothing is said.
    """

    weight: int = Field(default=100, ge=1, le=10_000)
    promise_s: float | None = Field(default=None, gt=0)
    tenants: frozenset[str] | None = None


class SessionsSection(_Section):
    """How long sessions may last, wall time.

    Attributes:
        ttl_s: without a job or a call, where a session asks for nothing.
        max_ttl_s: the longest that it may ask for.
        max_length_s: from its opening on it takes jobs for so long, however busy it is.
    """

    ttl_s: float = Field(default=300.0, gt=0)
    max_ttl_s: float = Field(default=3600.0, gt=0)
    max_length_s: float = Field(default=28_800.0, gt=0, le=1e7)

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if not self.ttl_s <= self.max_ttl_s <= self.max_length_s:
            raise ValueError("ttl_s, max_ttl_s and max_length_s must be in ascending order")
        return self


class LimitsSection(_Section):
    """What one submission may ask for. Published at ``GET /version`` and checked on both sides, but for the rates.

    Attributes:
        attempts_per_minute: jobs, quotes and predictions of one principal, refused ones included; of one whose
            submissions are limited, ten for each submission.
        attempts_burst: of them at once.
        keys_per_minute: API keys that one principal makes or rotates, for whomever.
        keys_burst: of them at once.
    """

    max_body_bytes: int = 16 * 1024 * 1024
    max_circuits: int = 300
    max_shots: int = 100_000
    max_executions: int = 20_000
    max_qubits: int = 1_000
    max_clbits: int = 10_000
    max_operations: int = 200_000
    max_simulated_qubits: int = 20
    max_simulation_s: float = 60.0
    max_result_bytes: int = 256 * 1024 * 1024
    attempts_per_minute: int = Field(default=3_000, ge=1, le=1_000_000)
    attempts_burst: int = Field(default=2_000, ge=1, le=1_000_000)
    keys_per_minute: int = Field(default=10, ge=1, le=1_000_000)
    keys_burst: int = Field(default=100, ge=1, le=1_000_000)

    def published(self) -> Limits:
        """The document clients read."""
        return Limits.model_validate(self.model_dump(include=set(Limits.model_fields)))


class PriceSection(_Section):
    """The first price book, in micro-credits; later ones are published (``qpu price publish``), and none ever changes.

    Attributes:
        lane_percent: what a lane multiplies by, in percent; 100 for one that is not named.
        free_micro_per_month: of what a tenant is charged in a month, given back on its invoice.
    """

    name: SmallText = "2026-01"
    per_shot_micro: Rate = 10
    per_device_second_micro: Rate = 100_000
    per_qubit_second_micro: Rate = 20_000
    minimum_micro: Rate = 1_000
    lane_percent: dict[str, Percent] = {}
    free_micro_per_month: int = Field(default=0, ge=0, le=MAX_INTEGER)


class OidcSection(_Section):
    """An OpenID Connect issuer whose bearer tokens let in, beside API keys.

    Attributes:
        issuer: its address, exactly as in the tokens' ``iss``; https (plain http on loopback only).
        audience: what the tokens' ``aud`` must be or contain.
        jwks_url: where its keys are; by default what ``<issuer>/.well-known/openid-configuration`` says.
        algorithms: of signatures that are accepted; never a shared secret, never none.
        tenant_claim: the claim with the tenant's name; the tenant must exist.
        role_claim: the claim with the role. Without one a principal is made a member and keeps the role it has here.
        roles: with which a principal may come in by a token.
        create_principals: whether the first login of a subject makes its principal.
        leeway_s: how far clocks may differ.
        keys_live_s: how long the issuer's keys are believed without asking again.
        refetch_s: how often the issuer is asked at most.
    """

    issuer: str
    audience: str = Field(min_length=1)
    jwks_url: str | None = None
    algorithms: tuple[SignatureAlgorithm, ...] = Field(default=("RS256", "ES256"), min_length=1)
    tenant_claim: str = Field(default="tenant", min_length=1)
    role_claim: str | None = Field(default=None, min_length=1)
    roles: frozenset[Role] = Field(default=frozenset({Role.MEMBER, Role.TENANT_ADMIN}), min_length=1)
    create_principals: bool = True
    leeway_s: float = Field(default=30.0, ge=0, le=60)
    keys_live_s: float = Field(default=300.0, ge=1, le=3600)
    refetch_s: float = Field(default=10.0, ge=1, le=300)

    @field_validator("issuer", "jwks_url")
    @classmethod
    def _safe(cls, value: str | None) -> str | None:
        return None if value is None else checked_address(value)


class QuotesSection(_Section):
    """Promised prices.

    Attributes:
        life_s: how long one holds, wall time.
    """

    life_s: float = Field(default=900.0, gt=0, le=30 * 86_400)


class AuditSection(_Section):
    """The audit log's seals.

    Attributes:
        heads: file of the signed heads; by default ``audit_heads`` in ``data``. Best where nobody of the database can
            write.
        key: file of the key that seals; by default ``audit_key`` in ``data``, made at the first start. Every process on
            one database needs the same.
    """

    heads: Path | None = None
    key: Path | None = None


class RetentionSection(_Section):
    """How long what belongs to ended jobs stays in the database; wall time, from a job's end.

    Attributes:
        results_days: results, programs and execution records; for ever where nothing is said.
        records_days: execution records, which only replays need; with the results where nothing is said.
        archive: folder of the archive files; ``archive`` in ``data`` by default.
        at_once: jobs in one transaction.
    """

    results_days: float | None = Field(default=None, ge=0, le=36_500)
    records_days: float | None = Field(default=None, ge=0, le=36_500)
    archive: Path | None = None
    at_once: int = Field(default=20, ge=1, le=1000)

    def rule(self) -> Retention:
        """The rule, in µs."""
        return Retention(_days_us(self.results_days), _days_us(self.records_days))


def _days_us(days: float | None) -> int | None:
    return None if days is None else round(days * 86_400e6)


_LANES = {
    "interactive": LaneSection(weight=400),
    "standard": LaneSection(),
    "ci": LaneSection(),
    "batch": LaneSection(weight=25),
}


class ServiceConfig(_Section):
    """The whole configuration.

    Attributes:
        data: folder of the service: database (if SQLite), key pepper, batch log.
        database: SQLAlchemy URL; by default ``qpu.sqlite`` in ``data``.
        workers: simulation processes; with a cluster, how many of them a batch is shared out to.
        executor: where circuits are simulated: ``local``, or a Dask scheduler as ``dask://host:port`` on this machine
            or ``dask+tls://host:port`` anywhere.
        decoders: processes that decode client bytes.
        max_inflight: batches of one device that may be simulated at the same time.
        heartbeat_s: how often a silent event stream says that it is alive.
        drift_seed: what the hidden course of the devices follows from, for experiments that must repeat. By default a
            secret, made at the first start and kept in ``data``: who knows it knows the truth.
        lanes: classes of service. A file that names any replaces them all; ``standard`` is where jobs go that ask for
            none, and has to be there.
    """

    version: Literal[1] = 1
    data: Path
    database: str | None = None
    host: str = "127.0.0.1"
    port: int = Field(default=8127, ge=0, le=65535)
    workers: int = Field(default=2, ge=1, le=256)
    executor: str = LOCAL
    decoders: int = Field(default=2, ge=1, le=64)
    max_inflight: int = Field(default=2, ge=1, le=16)
    heartbeat_s: float = Field(default=15.0, ge=1, le=40)  # clients give a silent stream up after 45 s
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    drift_seed: str | None = Field(default=None, min_length=1, repr=False)
    devices: dict[str, DeviceSection] = {"eagle127": DeviceSection()}
    lanes: dict[str, LaneSection] = _LANES
    sessions: SessionsSection = SessionsSection()
    limits: LimitsSection = LimitsSection()
    prices: PriceSection = PriceSection()
    quotes: QuotesSection = QuotesSection()
    audit: AuditSection = AuditSection()
    retention: RetentionSection = RetentionSection()
    oidc: OidcSection | None = None

    @field_validator("executor")
    @classmethod
    def _reachable(cls, value: str) -> str:
        if value != LOCAL:
            ClusterAddress.parse(value)
        return value

    @field_validator("lanes")
    @classmethod
    def _has_standard(cls, value: dict[str, LaneSection]) -> dict[str, LaneSection]:
        if "standard" not in value:
            raise ValueError("a lane 'standard' is needed: jobs go there that ask for none")
        return value

    @model_validator(mode="after")
    def _prices_lanes(self) -> Self:
        if unknown := sorted(self.prices.lane_percent.keys() - self.lanes.keys()):
            raise ValueError(f"prices.lane_percent: there is no lane {unknown[0]!r}")
        return self

    @property
    def database_url(self) -> str:
        return self.database or f"sqlite:///{self.data / 'qpu.sqlite'}"

    @property
    def pepper_file(self) -> Path:
        return self.data / "pepper"

    @property
    def audit_key_file(self) -> Path:
        return self.audit.key or self.data / "audit_key"

    @property
    def audit_heads_file(self) -> Path:
        return self.audit.heads or self.data / "audit_heads"

    @property
    def archive_folder(self) -> Path:
        return self.retention.archive or self.data / "archive"

    @property
    def drift_seed_file(self) -> Path:
        return self.data / "drift_seed"


_ENVIRONMENT = ("data", "database", "host", "port", "workers", "executor", "decoders", "log_level")


def default_data_folder() -> Path:
    """``$XDG_DATA_HOME/qpu-sdk``, by default in ``~/.local/share``."""
    base = os.environ.get("XDG_DATA_HOME") or str(Path.home() / ".local" / "share")
    return Path(base) / "qpu-sdk"


def load_config(file: Path | None = None, **overrides: object) -> ServiceConfig:
    """File < environment < explicit arguments (those that are not None).

    Raises:
        pydantic.ValidationError: a setting is unknown or out of range; the message names it.
    """
    settings: dict[str, object] = {"data": default_data_folder()}
    if file is not None:
        settings |= tomllib.loads(file.read_text(encoding="utf-8"))
    for name in _ENVIRONMENT:
        value = os.environ.get(f"QPU_{name.upper()}")
        if value is not None:
            settings[name] = value
    settings |= {name: value for name, value in overrides.items() if value is not None}
    return ServiceConfig.model_validate(settings)
