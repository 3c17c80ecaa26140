"""The documents of the HTTP API, version 1: pydantic models, data only.

Units are in the names, money is integer micro-credits. ``…_at`` is wall time (aware UTC), ``device_time_us`` the
device's own clock. Servers refuse unknown request fields; clients ignore unknown response fields.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Literal

from pydantic import Base64Bytes, Field

from qpu_sdk.wire.documents import MAX_INTEGER, RequestDocument, ResponseDocument, SmallText
from qpu_sdk.wire.mitigation import Mitigation
from qpu_sdk.wire.shapes import PubShape

WIRE_VERSION = 1
"""The version this package writes."""

MIN_QPY_VERSION = 13
QPY_VERSION_READ = 18
"""The newest QPY the service reads: what the pinned Qiskit writes. A test compares the two."""
RESULT_MEDIA_TYPE = "application/vnd.qpu.result+msgpack"
"""What ``GET /jobs/{id}/result`` answers; :mod:`qpu_sdk.wire.results` has the layout."""

IDEMPOTENCY_HEADER = "Idempotency-Key"
REQUEST_ID_HEADER = "X-Request-Id"


class ProgramKind(StrEnum):
    """What the client asked to have computed."""

    CIRCUITS = "circuits"
    SAMPLER = "sampler"
    ESTIMATOR = "estimator"


class JobState(StrEnum):
    """``queued → running → done | failed | cancelled``; ``queued`` may also go straight to ``cancelled``."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def final(self) -> bool:
        return self in {JobState.DONE, JobState.FAILED, JobState.CANCELLED}


class BackendKind(StrEnum):
    """How a backend's qubits relate to the chip."""

    DEVICE = "device"
    """These physical qubits, pinned."""
    VIRTUAL = "virtual"
    """A shape without fixed qubits, relocated at dispatch."""


class Isolation(StrEnum):
    """How far others are kept away from the job."""

    SHARED = "shared"
    """As the device's policy says."""
    BUFFERED = "buffered"
    """An idle qubit all around."""
    CONFIDENTIAL = "confidential"
    """An idle qubit all around, and nobody else read in the same readout group."""
    EXCLUSIVE = "exclusive"
    """Alone on the device, and charged for all of it."""


# --- requests -----------------------------------------------------------------------------------------------------


class CircuitPayload(RequestDocument):
    """The circuits of a job, in one document.

    ``qpy+zlib``: zlib over QPY without metadata. ``qasm3``: a JSON list of OpenQASM 3 programs, UTF-8.
    """

    codec: Literal["qpy+zlib", "qasm3"] = "qpy+zlib"
    data: Base64Bytes


class BindingsArray(RequestDocument):
    """Parameter values of one pub: little-endian float64, C order, shape ``(num_bindings, num_parameters)``.

    The columns follow ``circuit.parameters``.
    """

    num_bindings: int = Field(ge=1)
    num_parameters: int = Field(ge=1)
    data: Base64Bytes


class PauliTerm(RequestDocument):
    """``coefficient · P_{i} ⊗ P_{j} …``; ``paulis[k]`` (X, Y or Z) acts on the backend's qubit ``qubits[k]``."""

    paulis: str = Field(pattern=r"^[XYZ]*$", max_length=4096)
    qubits: list[int]
    coefficient: float = Field(allow_inf_nan=False)


class Observable(RequestDocument):
    """A Hermitian sum of Pauli terms."""

    terms: list[PauliTerm] = Field(max_length=10_000)


class Pub(RequestDocument):
    """One primitive unified bloc: a circuit, its bindings, and shots or (for the estimator) observables and precision.

    For the estimator, entry ``(b, o)`` of ``pairs`` asks for observable ``o`` under binding ``b``; the client keeps the
    broadcast shape. For ``circuits`` programs there is exactly one pub per circuit, without bindings.
    """

    circuit: int = Field(ge=0, lt=2**31)
    shots: int | None = Field(default=None, ge=1)
    precision: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    bindings: BindingsArray | None = None
    observables: list[Observable] | None = None
    pairs: list[tuple[int, int]] | None = None


class JobOptions(RequestDocument):
    """How to run; nothing here changes what is computed.

    ``meas_level`` 2 asks for classified bits; 1, for programs of circuits, for the IQ points that bits are made of:
    those of every shot (``meas_return`` ``single``) or their mean (``avg``).
    """

    seed: int | None = Field(default=None, ge=0, le=MAX_INTEGER)
    memory: bool = False
    rep_delay_us: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    init_qubits: bool = True
    meas_level: Literal[1, 2] = 2
    meas_return: Literal["single", "avg"] = "single"
    layout: Literal["isa", "deferred"] = "isa"
    """``deferred``: the circuits are abstract, and the service compiles them for the virtual QPU: when the job is
    submitted, and again for the qubits where it runs. Observables then name the circuits' qubits."""
    isolation: Isolation = Isolation.SHARED
    lane: SmallText = "standard"
    """Class of service; a refusal names those that there are."""
    max_loss: float | None = Field(default=None, ge=0, le=1, allow_inf_nan=False)
    """Predicted success probability that the job gives up, against its best place on the empty chip, to run sooner."""
    session: SmallText | None = None
    """The session it is part of."""
    mitigation: Mitigation | None = None
    """What is done against errors; of samplers and estimators."""
    pub_shapes: list[PubShape] | None = Field(default=None, max_length=10_000)
    """What the result is to be shaped like; comes back in its metadata."""


class JobRequest(RequestDocument):
    """``POST /jobs``."""

    wire_version: Literal[1] = WIRE_VERSION
    backend: SmallText
    program: ProgramKind
    circuits: CircuitPayload
    pubs: list[Pub] = Field(min_length=1)
    options: JobOptions = Field(default_factory=JobOptions)  # an instance would build its schema with the class
    tags: list[SmallText] = Field(default=[], max_length=16)
    calibration_id: SmallText | None = None
    """The snapshot the circuits were transpiled against."""
    drift_policy: Literal["warn", "pin", "refuse"] = "warn"
    """If the device was calibrated since: ``warn`` checks the job against the newest snapshot and says so in an event;
    ``pin`` checks and reports it against its own, as long as the device still has all of its gates; ``refuse`` refuses.
    """
    max_cost_micro: int | None = Field(default=None, ge=0, le=MAX_INTEGER)
    quote: str | None = Field(default=None, min_length=1, max_length=2048)
    """Token of a quote for this job, whose price it then has."""


# --- responses ----------------------------------------------------------------------------------------------------


class Limits(ResponseDocument):
    """Every limit a client can check before it sends anything."""

    max_body_bytes: int
    max_circuits: int
    max_shots: int
    max_executions: int
    max_qubits: int
    max_clbits: int
    max_operations: int
    max_simulated_qubits: int
    max_simulation_s: float = 60.0
    max_result_bytes: int


class VersionInfo(ResponseDocument):
    """``GET /version``."""

    version: str
    wire_versions: list[int]
    min_qpy_version: int
    max_qpy_version: int
    limits: Limits


class BackendSummary(ResponseDocument):
    """One line of ``GET /backends``."""

    name: str
    device: str
    kind: BackendKind
    num_qubits: int
    description: str
    calibration_id: str
    pending_jobs: int
    operational: bool
    status_msg: str
    calibration_age_s: float | None = None
    """Of the device's own time."""


class BackendList(ResponseDocument):
    """``GET /backends``."""

    backends: list[BackendSummary]


class ReadoutClouds(ResponseDocument):
    """Where a qubit's IQ points are, and the line that tells them apart. Arbitrary units; points as ``(I, Q)``.

    A point reads 1 where ``axis · point > threshold``. The points of a qubit prepared in 0 (1) are normally distributed
    about ``centre_0`` (``centre_1``), with standard deviation ``sigma`` in every direction.
    """

    axis: tuple[float, float]
    threshold: float
    centre_0: tuple[float, float]
    centre_1: tuple[float, float]
    sigma: float


class QubitCalibration(ResponseDocument):
    """Measured properties of one qubit. ``None`` in :attr:`BackendDocument.qubits` marks an unusable one."""

    t1_us: float
    t2_us: float
    frequency_hz: float | None
    anharmonicity_hz: float | None
    prob_meas1_prep0: float
    prob_meas0_prep1: float
    readout_error: float
    readout_duration_ns: float
    readout: ReadoutClouds | None = None


class GateCalibration(ResponseDocument):
    """Measured properties of one gate in one direction; ``error`` is the average gate infidelity."""

    name: str
    qubits: list[int]
    error: float
    duration_ns: float


class BackendDocument(ResponseDocument):
    """``GET /backends/{name}``: topology and calibration, all a client needs to build a Target."""

    name: str
    device: str
    kind: BackendKind
    description: str
    num_qubits: int
    basis_gates: list[str]
    """Gates and instructions without control flow: ``rz sx x ecr id delay measure reset``."""
    control_flow: list[str]
    dt_ns: float
    granularity: int
    pulse_alignment: int
    acquire_alignment: int
    rep_delay_us: float
    rep_delay_range_us: tuple[float, float]
    overhead_s: float
    max_shots: int
    max_circuits: int
    max_simulated_qubits: int
    calibration_id: str
    calibrated_at: datetime
    device_time_us: int
    source: str
    qubits: list[QubitCalibration | None]
    gates: list[GateCalibration]
    regions: int | None = None
    """Virtual backends: on how many places of the device this shape fits; the numbers above are medians over them."""
    spread: dict[str, tuple[float, float]] | None = None
    """Virtual backends: 10th and 90th percentile over the regions, of gate error, readout error, T1 and T2."""

    def faulty_qubits(self) -> list[int]:
        """Qubits that are out of order; the name is the one that older tools ask ``backend.properties()`` for."""
        return [qubit for qubit, calibration in enumerate(self.qubits) if calibration is None]


class CalibrationEntry(ResponseDocument):
    """One line of ``GET /backends/{name}/calibrations``."""

    id: str
    number: int
    calibrated_at: datetime
    device_time_us: int


class CalibrationList(ResponseDocument):
    """``GET /backends/{name}/calibrations``, newest first."""

    calibrations: list[CalibrationEntry]


class WaitReason(ResponseDocument):
    """Why a job is not running yet, and our estimate of when it will."""

    message: str
    jobs_ahead: int
    start_in_s: float | None


class JobDocument(ResponseDocument):
    """``GET /jobs/{id}``: everything but the result."""

    id: str
    backend: str
    program: ProgramKind
    state: JobState
    created_at: datetime
    finished_at: datetime | None
    tags: list[str]
    num_circuits: int
    num_executions: int
    shots: int
    calibration_id: str | None
    """The snapshot the job ran with; before it ran, or with ``drift_policy`` ``pin``, the one it was transpiled for."""
    price_micro: int
    """What the job costs if it completes; exact, because the price depends only on the job."""
    quote_id: str | None = None
    estimated_device_s: float
    idempotency_key: str | None
    session: str | None = None
    error_code: str | None = None
    error_message: str | None = None
    legs: int = 1
    """How many batches the job takes: more than one if its device time is above the device's quantum."""
    legs_done: int = 0
    waiting: WaitReason | None = None
    replayed: bool = False
    """True when a submission was answered with a job that already existed."""


class JobPage(ResponseDocument):
    """``GET /jobs``, newest first."""

    jobs: list[JobDocument]
    next_cursor: str | None


class JobEvent(ResponseDocument):
    """One event of a job. ``seq`` is gap-free per job, ``cursor`` per tenant."""

    job_id: str
    seq: int
    cursor: int
    name: str
    state: JobState
    at: datetime
    device_time_us: int | None = None
    message: str | None = None


class EventPage(ResponseDocument):
    """``GET /jobs/{id}/events?wait=``: the long-poll face of the event stream."""

    events: list[JobEvent]
    final: bool


class Problem(ResponseDocument):
    """RFC 9457 problem document. ``code`` is stable; ``detail`` is for people; ``field`` names the offending input."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    field: str | None = None
    request_id: str | None = None
    retry_after_s: float | None = None
