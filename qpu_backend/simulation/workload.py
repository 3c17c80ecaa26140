"""Workloads: what is asked of a device, by whom and when. One JSON file; everything wrong with it is said by its field.

kinds      name → qubits, optionally the measured device time of one job alone and the shots of a job
queue      one entry a job, in order of submission: a kind, or {kind, tenant, arrival_s, lane, shots}
arrival_s  tenants  lanes     the same by column: one entry a job
weights    tenant → its share relative to others
shots      of every job that does not say; 4000 by default
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

if TYPE_CHECKING:
    from pathlib import Path

MAX_JOBS: Final = 200_000
MAX_BYTES: Final = 64 << 20
"""Of a workload file."""

Lane = Literal["interactive", "standard", "batch", "ci"]

LANE_FACTOR: Final[dict[str, float]] = {"interactive": 4.0, "standard": 1.0, "batch": 0.25, "ci": 0.5}
"""What a lane multiplies a tenant's weight by; the lanes of a tenant queue apart."""

_LONGEST_S: Final = 1e7
_DEFAULT_TENANT: Final = "tenant"

_Seconds = Annotated[float, Field(ge=0, le=_LONGEST_S, allow_inf_nan=False)]
_Name = Annotated[str, Field(min_length=1, max_length=100)]
_Shots = Annotated[int, Field(ge=1, le=100_000)]


class InvalidWorkload(ValueError):
    """A workload that cannot be simulated.

    Attributes:
        field: what is wrong with it, dotted.
    """

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field


class _Document(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class KindDocument(_Document):
    """What the jobs of a kind are."""

    qubits: int = Field(ge=1, le=1000)
    standalone_device_s: float | None = Field(default=None, gt=0, le=_LONGEST_S, allow_inf_nan=False)
    shots: _Shots | None = None


class JobDocument(_Document):
    """One job."""

    kind: str
    tenant: _Name | None = None
    arrival_s: _Seconds | None = None
    lane: Lane | None = None
    shots: _Shots | None = None


class WorkloadDocument(_Document):
    """The file."""

    source: str = ""
    device: str = ""
    note: str = ""
    shots: _Shots = 4000
    kinds: dict[_Name, KindDocument] = Field(min_length=1)
    queue: list[str | JobDocument] = Field(min_length=1, max_length=MAX_JOBS)
    arrival_s: list[_Seconds] | None = None
    tenants: list[_Name] | None = None
    lanes: list[Lane] | None = None
    weights: dict[_Name, Annotated[float, Field(gt=0, le=1e6, allow_inf_nan=False)]] = {}


@dataclass(frozen=True, slots=True)
class KindOfJob:
    """What jobs of a kind run.

    Attributes:
        name: of the kind.
        qubits: of a generated circuit; one that comes as a file has its own.
        shots: of a job.
        standalone_us: measured device time of one job alone, or ``None``.
    """

    name: str
    qubits: int
    shots: int
    standalone_us: int | None


@dataclass(frozen=True, slots=True)
class Job:
    """One job of a workload.

    Attributes:
        id: sorts in order of submission.
        kind: key of :attr:`Workload.kinds`.
        tenant: whose it is.
        lane: class of service.
        arrival_us: device time at which it is submitted.
    """

    id: str
    kind: str
    tenant: str
    lane: str
    arrival_us: int


@dataclass(frozen=True, slots=True)
class Workload:
    """What is asked of a device.

    Attributes:
        kinds: by name; the kinds of jobs that ask for other shots than their kind have names of their own.
        jobs: by arrival, then in order of submission.
        weights: of every tenant.
    """

    kinds: dict[str, KindOfJob]
    jobs: tuple[Job, ...]
    weights: dict[str, float]


def read_workload(path: Path) -> Workload:
    """Read a workload file.

    Raises:
        InvalidWorkload: names the file or the field.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise InvalidWorkload(str(path), f"is longer than {MAX_BYTES} bytes")
        document = json.loads(path.read_bytes())
    except OSError as error:
        raise InvalidWorkload(str(path), (error.strerror or "cannot be read").lower()) from error
    except (ValueError, RecursionError) as error:
        raise InvalidWorkload(str(path), f"is no JSON: {error}") from error
    return parse_workload(document)


def parse_workload(document: object) -> Workload:
    """A workload of a JSON document.

    Raises:
        InvalidWorkload: names the field.
    """
    try:
        read = WorkloadDocument.model_validate(document, strict=False)
    except ValidationError as error:
        first = min(error.errors(), key=lambda one: one["type"] == "string_type" and "queue" in one["loc"])
        raise InvalidWorkload(_dotted(first["loc"]), _sentence(first["msg"])) from None
    for name, column in (("arrival_s", read.arrival_s), ("tenants", read.tenants), ("lanes", read.lanes)):
        if column is not None and len(column) != len(read.queue):
            raise InvalidWorkload(name, f"has {len(column)} entries for a queue of {len(read.queue)} jobs")
    kinds = {
        name: KindOfJob(name, kind.qubits, kind.shots or read.shots, _us(kind.standalone_device_s))
        for name, kind in read.kinds.items()
    }
    jobs = tuple(_job(read, index, kinds) for index in range(len(read.queue)))
    tenants = {job.tenant for job in jobs}
    for tenant in read.weights:
        if tenant not in tenants:
            raise InvalidWorkload(f"weights.{tenant}", "no job is this tenant's")
    return Workload(
        kinds=kinds,
        jobs=tuple(sorted(jobs, key=lambda job: (job.arrival_us, job.id))),
        weights={tenant: read.weights.get(tenant, 1.0) for tenant in sorted(tenants)},
    )


def _job(read: WorkloadDocument, index: int, kinds: dict[str, KindOfJob]) -> Job:
    entry = read.queue[index]
    job = JobDocument(kind=entry) if isinstance(entry, str) else entry
    where = f"queue.{index}" if isinstance(entry, str) else f"queue.{index}.kind"
    if job.kind not in read.kinds:
        raise InvalidWorkload(where, f"kind {job.kind!r} is not among kinds")
    for name, column, own in (
        ("arrival_s", read.arrival_s, job.arrival_s),
        ("tenants", read.tenants, job.tenant),
        ("lanes", read.lanes, job.lane),
    ):
        if column is not None and own is not None:
            raise InvalidWorkload(f"queue.{index}", f"says what {name} says too")
    arrival_s = job.arrival_s if read.arrival_s is None else read.arrival_s[index]
    return Job(
        id=f"job-{index:06d}",
        kind=_kind_with_shots(job, kinds),
        tenant=(job.tenant if read.tenants is None else read.tenants[index]) or _DEFAULT_TENANT,
        lane=(job.lane if read.lanes is None else read.lanes[index]) or "standard",
        arrival_us=round(1e6 * (arrival_s or 0.0)),
    )


def _kind_with_shots(job: JobDocument, kinds: dict[str, KindOfJob]) -> str:
    """The job's kind; one with other shots is another kind, without a measured time."""
    kind = kinds[job.kind]
    if job.shots is None or job.shots == kind.shots:
        return job.kind
    name = f"{job.kind}@{job.shots}"
    kinds.setdefault(name, KindOfJob(job.kind, kind.qubits, job.shots, None))
    return name


def _us(seconds: float | None) -> int | None:
    return None if seconds is None else math.floor(1e6 * seconds)


def _dotted(location: tuple[int | str, ...]) -> str:
    """``queue.3.arrival_s``, without pydantic's names of the members of a union."""
    parts = [str(part) for part in location if part not in {"str", "JobDocument"}]
    return ".".join(parts) or "workload"


def _sentence(message: str) -> str:
    return message[:1].lower() + message[1:]
