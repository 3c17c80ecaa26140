# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownParameterType=false
# (Qiskit ships no types: what comes from it is unknown to the checker.)
"""A device or a virtual QPU as Qiskit sees it: ``BackendV2`` with a full ``Target``, and ``run``.

The calibration that ``target`` shows stays the same until :meth:`QPUBackend.refresh`; its id goes with every job, so
the service knows what the circuits were transpiled against.
"""

from __future__ import annotations

import copy
import threading
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self, cast

from qiskit.providers import BackendV2
from qiskit.providers.options import Options

from qpu_sdk.connection import OfThisProcess
from qpu_sdk.display.faces import DrawnBackend
from qpu_sdk.errors import InvalidRequestError, NotFoundError, QPUError
from qpu_sdk.options import ExecutionOptions, RunOptions
from qpu_sdk.readout import Discriminator
from qpu_sdk.session import Batch, Session
from qpu_sdk.splitting import Weight
from qpu_sdk.submission import Desk, Order
from qpu_sdk.target import build_target
from qpu_sdk.validation import CircuitRules, as_list, check_measured, check_no_branches
from qpu_sdk.wire.answers import PubOnClient, circuit_header
from qpu_sdk.wire.crosstalk import CrosstalkDocument
from qpu_sdk.wire.models import BackendDocument, CalibrationList, ProgramKind, Pub
from qpu_sdk.wire.paths import quoted, quoted_backend
from qpu_sdk.wire.predictions import PredictionList, PredictionRequest
from qpu_sdk.wire.results import BYTES_OF_A_POINT
from qpu_sdk.wire.status import BackendStatus

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from qiskit.circuit import QuantumCircuit
    from qiskit.transpiler import Target

    from qpu_sdk.connection import Connection
    from qpu_sdk.job import QPUJob
    from qpu_sdk.quotes import Quote
    from qpu_sdk.wire.predictions import CircuitPrediction


@dataclass(frozen=True, slots=True)
class BackendConfiguration:
    """The few constants that tools from before ``BackendV2`` still ask for. Times are in s."""

    backend_name: str
    backend_version: str
    num_qubits: int
    n_qubits: int
    basis_gates: list[str]
    coupling_map: list[list[int]]
    max_shots: int
    max_experiments: int
    dt: float
    default_rep_delay: float
    rep_delay_range: tuple[float, float]
    meas_levels: tuple[int, ...] = (1, 2)
    simulator: bool = False
    local: bool = False
    memory: bool = True
    conditional: bool = True


class AioBackend:
    """A backend, awaited: ``backend.aio``. Its methods are those of the backend itself."""

    def __init__(self, backend: QPUBackend) -> None:
        """Made by ``backend.aio``."""
        aside = backend.connection.aside
        self.run = aside(backend.run)
        self.status = aside(backend.status)
        self.refresh = aside(backend.refresh)
        self.session = aside(backend.session)
        self.batch = aside(backend.batch)
        self.predict_success = aside(backend.predict_success)


class QPUBackend(DrawnBackend, OfThisProcess, BackendV2):  # pyright: ignore[reportUntypedBaseClass]
    """One backend of the service. Made by ``provider.backend(name)``."""

    def __init__(self, document: BackendDocument, connection: Connection, *, provider: object = None) -> None:
        """Made by the provider.

        Args:
            document: topology and calibration.
            connection: to the service.
            provider: what ``backend.provider`` answers.
        """
        super().__init__(
            provider=provider,
            name=document.name,
            description=document.description,
            backend_version=connection.version.version,
        )
        self._connection = connection
        self._document = document
        self._etag: str | None = None
        self._lock = threading.Lock()
        self._target: Target | None = None
        self._rules: CircuitRules | None = None

    def __repr__(self) -> str:
        calibrated = f"{self.calibration_id} of {self._document.calibrated_at:%Y-%m-%d %H:%M} UTC"
        return f"<QPUBackend {self.name!r}: {self.num_qubits} qubits, calibration {calibrated}>"

    def __deepcopy__(self, memo: dict[int, object]) -> Self:
        """A backend with its own options on the same connection: tools copy backends to change options."""
        twin = copy.copy(self)
        twin._options = copy.deepcopy(self._options, memo)  # noqa: SLF001
        return twin

    # --- what it is ------------------------------------------------------------------------------------------------

    @property
    def document(self) -> BackendDocument:
        """Topology and calibration as published."""
        return self._document

    @property
    def connection(self) -> Connection:
        return self._connection

    @property
    def aio(self) -> AioBackend:
        """The same, to be awaited: ``job = await backend.aio.run(circuit)``."""
        return AioBackend(self)

    @property
    def calibration_id(self) -> str:
        """The calibration that ``target`` shows."""
        return self._document.calibration_id

    @property
    def target(self) -> Target:  # pyright: ignore[reportIncompatibleMethodOverride]
        """What the compiler may use, by this backend's calibration."""
        if self._target is None:
            with self._lock:
                self._target = build_target(self._document, self._published)
        return self._target

    @property
    def max_circuits(self) -> int:  # pyright: ignore[reportIncompatibleMethodOverride]
        return min(self._document.max_circuits, self._connection.version.limits.max_circuits)

    @property
    def rules(self) -> CircuitRules:
        """What a circuit must keep to; prepared once per calibration."""
        if self._rules is None:
            self._rules = CircuitRules.of(self._document, self._connection.version.limits)
        return self._rules

    def configuration(self) -> BackendConfiguration:
        """The constants that older tools ask for."""
        document = self._document
        edges = sorted({tuple(gate.qubits) for gate in document.gates if len(gate.qubits) == 2})
        return BackendConfiguration(
            backend_name=document.name,
            backend_version=self.backend_version or "",
            num_qubits=document.num_qubits,
            n_qubits=document.num_qubits,
            basis_gates=list(document.basis_gates),
            coupling_map=[list(edge) for edge in edges],
            max_shots=self.rules.max_shots,
            max_experiments=self.max_circuits,
            dt=document.dt_ns * 1e-9,
            default_rep_delay=document.rep_delay_us * 1e-6,
            rep_delay_range=(document.rep_delay_range_us[0] * 1e-6, document.rep_delay_range_us[1] * 1e-6),
        )

    # --- how it is doing -------------------------------------------------------------------------------------------

    def status(self) -> BackendStatus:
        """Whether it takes jobs, how many are waiting, and how old its newest calibration is, now."""
        return self._connection.transport.get(self._path("/status"), BackendStatus)

    def crosstalk(self) -> CrosstalkDocument:
        """What neighbours on the chip do to each other, as measured: ZZ, gates that disturb each other, readout."""
        return self._connection.transport.get(self._path("/crosstalk"), CrosstalkDocument)

    def _published(self) -> tuple[BackendDocument, CrosstalkDocument | None]:
        """For stages of the compiler, which can do without the crosstalk."""
        try:
            return self._document, self.crosstalk()
        except QPUError as error:
            warnings.warn(f"the crosstalk of {self.name} is not known: {error.message}", stacklevel=2)
            return self._document, None

    def refresh(self) -> bool:
        """Take over the newest calibration.

        Returns:
            Whether there was a newer one. Circuits transpiled before may then need it again.
        """
        document, etag = self._connection.transport.get_if_changed(self._path(), BackendDocument, self._etag)
        if document is None:
            return False
        changed = document.calibration_id != self._document.calibration_id
        with self._lock:
            self._document, self._etag = document, etag
            self._target = self._rules = self._coupling_map = None
        return changed

    def properties(self, when: datetime | None = None) -> BackendDocument:
        """Topology and calibration as they were published at ``when``.

        Args:
            when: a time; of this machine's zone where it names none. ``None`` for what ``target`` shows.

        Raises:
            NotFoundError: no calibration is that old.
        """
        if when is None:
            return self._document
        when = when.astimezone()
        before: int | None = None
        while True:  # newest first, page by page
            page = self._connection.transport.get(
                self._path("/calibrations"), CalibrationList, {"before": before}
            ).calibrations
            for entry in page:
                if entry.calibrated_at <= when:
                    path = self._path(f"/calibrations/{quoted(entry.id)}")
                    return self._connection.transport.get(path, BackendDocument)
            if not page:
                raise NotFoundError(f"{self.name} has no calibration from before {when.isoformat()}")
            before = page[-1].number

    def target_history(self, when: datetime) -> Target:
        """The ``Target`` as it was at ``when``: of the newest calibration that had been published then.

        Raises:
            NotFoundError: no calibration is that old.
        """
        return build_target(self.properties(when))

    def discriminator(self, qubit: int) -> Discriminator:
        """What makes bits of a qubit's IQ points (``meas_level=1``), as calibrated.

        Args:
            qubit: of this backend.

        Raises:
            NotFoundError: there is no such qubit, it is unusable, or the service does not tell.
        """
        calibration = self._document.qubits[qubit] if 0 <= qubit < self._document.num_qubits else None
        if calibration is None or calibration.readout is None:
            raise NotFoundError(f"{self.name} has no discriminator of qubit {qubit}")
        return Discriminator.of(calibration.readout)

    # --- running ---------------------------------------------------------------------------------------------------

    @classmethod
    def _default_options(cls) -> Options:  # pyright: ignore[reportIncompatibleMethodOverride]
        return Options(**{name: value for name, value in RunOptions().items() if name != "idempotency_key"})

    def run(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, run_input: QuantumCircuit | Sequence[QuantumCircuit], **options: Any
    ) -> QPUJob:
        """Submit circuits and return as soon as the service has admitted them.

        Args:
            run_input: a circuit or several, transpiled for this backend unless ``layout="deferred"``.
            **options: see :class:`~qpu_sdk.options.RunOptions`; ``None`` means the default. An option that does not
                exist here is ignored with a warning, so code written for other backends runs.

        Raises:
            InvalidRequestError: before anything is sent, or by the service; see :mod:`qpu_sdk.errors`.
        """
        return self.submit(self._ordered(run_input, options))

    def _ordered(self, run_input: QuantumCircuit | Sequence[QuantumCircuit], options: dict[str, Any]) -> Order:
        circuits = as_list(run_input, "circuit", "circuits")
        chosen = self._chosen(options)
        rules = self.rules_for(chosen)
        rules.check_circuits(circuits, parametric=False, layout=chosen.layout)
        check_measured(circuits)
        rules.check_shots(chosen.shots, "shots")
        if chosen.meas_level == 1:
            check_no_branches(circuits)
            num_points = chosen.shots * sum(circuit.num_clbits for circuit in circuits)
            rules.check_size(len(circuits), BYTES_OF_A_POINT * num_points, of="the IQ points of all shots")
        else:
            result_bytes = chosen.shots * sum((circuit.num_clbits + 7) // 8 for circuit in circuits)
            rules.check_size(len(circuits), result_bytes)
        weight = Weight.of_points if chosen.meas_level == 1 else Weight.of_bits
        return Order(
            ProgramKind.CIRCUITS,
            circuits,
            [Pub(circuit=index, shots=int(chosen.shots)) for index in range(len(circuits))],
            [weight(int(chosen.shots), circuit.num_clbits) for circuit in circuits],
            [PubOnClient(metadata=circuit.metadata, header=circuit_header(circuit)) for circuit in circuits],
            chosen,
            memory=chosen.memory,
        )

    def session(self, **asked: Any) -> Session:
        """Open a session: jobs one after the other on the same qubits, which nobody else gets in between.

        Args:
            **asked: ``max_time``, ``max_cost``, ``ttl_s``, ``max_qubits``, ``on_failure``: see :class:`Session`.

        Raises:
            SessionShareExceededError: the tenant's sessions hold as much of the device as they may.
        """
        return Session(self, **asked)

    def batch(self, **asked: Any) -> Batch:
        """Open a batch: jobs that belong together and hold nothing between them.

        Args:
            **asked: ``max_time``, ``max_cost``, ``ttl_s``, ``on_failure``: see :class:`Batch`.
        """
        return Batch(self, **asked)

    def predict_success(self, circuits: QuantumCircuit | Sequence[QuantumCircuit]) -> list[CircuitPrediction]:
        """What circuits may be expected to do here, before they are sent: free, and nothing is stored.

        It follows from the calibration of now, on the qubits that the circuits name; on a virtual backend, on the
        region where they would run together if nobody else were on the chip. ``success`` estimates the probability
        that a shot comes out right, and the other fields are its parts, −ln of what each cause leaves. Parameters may
        be free.

        Args:
            circuits: one or several, transpiled for this backend.

        Raises:
            InvalidRequestError: before anything is sent, or by the service; see :mod:`qpu_sdk.errors`.
        """
        several = as_list(circuits, "circuit", "circuits")
        self.rules.check_circuits(several, parametric=True)
        request = PredictionRequest(circuits=self._desk.encode(several)).model_dump_json().encode()
        return self._connection.transport.post(self._path("/predict"), PredictionList, request).predictions

    def quote(self, run_input: QuantumCircuit | Sequence[QuantumCircuit], **options: Any) -> Quote:
        """What :meth:`run` would cost, and when it would start; nothing is submitted or stored."""
        return self.quoted(self._ordered(run_input, options))

    def quoted(self, order: Order) -> Quote:
        """What a checked program would cost. What every ``quote`` ends in."""
        return self._desk.quote(order)

    def submit(self, order: Order) -> QPUJob:
        """Submit a checked program. What ``run`` and the primitives end in."""
        return self._desk.submit(order)

    def rules_for(self, options: ExecutionOptions) -> CircuitRules:
        """What a circuit must keep to; without the limits of a job where more is split into several."""
        return self.rules.without_limits_of_a_job() if options.split else self.rules

    @property
    def _desk(self) -> Desk:
        return Desk(self._document, self._connection, self.rules, lambda _: self)

    def _chosen(self, options: dict[str, Any]) -> RunOptions:
        known = RunOptions.names()
        for name in sorted(options.keys() - known):
            warnings.warn(f"{self.name} has no run option {name!r}; it is ignored", UserWarning, stacklevel=4)
        chosen = RunOptions()
        for name, value in {**dict(cast("Options", self._options)), **options}.items():
            if name in known and value is not None:
                setattr(chosen, name, value)
        return chosen

    def _path(self, rest: str = "") -> str:
        return f"/backends/{quoted_backend(self._document.name)}{rest}"


def chosen_backend(primitive: str, backend: object, mode: object) -> tuple[QPUBackend, Session | None]:
    """The backend that a primitive was given, as ``backend`` or, in the field's other spelling, as ``mode``.

    A session is one too, with the session beside its backend.

    Raises:
        InvalidRequestError: it was given none of this SDK, or two.
    """
    if backend is not None and mode is not None:
        raise InvalidRequestError(f"{primitive} takes backend or mode, not both: they are the same", field="backend")
    given = mode if backend is None else backend
    session = given if isinstance(given, Session) else None
    if session is not None:
        given = session.backend()
    if not isinstance(given, QPUBackend):
        raise InvalidRequestError(
            f"{primitive} needs a backend of this SDK: provider.backend('eagle127:line-5'); "
            f"got a {type(given).__name__}",
            field="backend",
        )
    return given, session
