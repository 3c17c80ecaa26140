"""Predictions: what circuits may be expected to do where they would run, from the published calibration alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from qpu_backend.domain.errors import TooLarge, UnknownBackend
from qpu_backend.domain.floor import Floor
from qpu_backend.domain.programs import Execution, Program
from qpu_backend.domain.views import QueuedJob
from qpu_backend.physics.prediction import Prediction, predict
from qpu_backend.physics.relocate import relocate
from qpu_backend.physics.timing import Durations, schedule
from qpu_backend.stores import policies

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qpu_backend.domain.tenancy import TenantScope
    from qpu_backend.physics.circuit import IsaCircuit
    from qpu_backend.pipeline.analysis import Analyst
    from qpu_backend.pipeline.attempts import Attempts
    from qpu_backend.pipeline.backends import Backend
    from qpu_backend.pipeline.clocks import WallClock
    from qpu_backend.pipeline.fleet import Fleet
    from qpu_backend.stores.database import Database
    from qpu_sdk.wire.models import CircuitPayload

MAX_OPERATIONS: Final = 20_000
"""Of all circuits of a request, bodies of ``if_else`` included: predicting takes the server some 20 µs each."""


@dataclass(frozen=True, slots=True)
class Predicted:
    """A circuit in its place.

    Attributes:
        region: physical qubits; see :class:`qpu_sdk.wire.predictions.CircuitPrediction`.
        duration_ns: of the circuit there.
        prediction: what it loses there.
    """

    region: tuple[int, ...]
    duration_ns: float
    prediction: Prediction


class Predictor:
    """Predicts for tenants. Safe to call from many threads."""

    def __init__(
        self, database: Database, fleet: Fleet, analyst: Analyst, attempts: Attempts, clock: WallClock
    ) -> None:
        self._database = database
        self._fleet = fleet
        self._analyst = analyst
        self._attempts = attempts
        self._clock = clock

    def predict(self, scope: TenantScope, name: str, payload: CircuitPayload) -> tuple[Backend, list[Predicted]]:
        """The backend with its calibration of now, and one prediction a circuit.

        Circuits of a backend without fixed qubits are predicted for the region where they would run together if nobody
        else were on the chip.

        Raises:
            RateLimited: too many have been asked for lately.
            UnknownBackend: no such backend that this tenant may use.
            InvalidCircuit: the circuits cannot be read.
            DomainError: they are not in the backend's instructions, or too long.
        """
        with self._database.read() as connection:
            self._attempts.count(scope, policies.read_standing(connection, scope).policies, self._clock.now_us())
            backend = self._fleet.backend(connection, name, scope)
        circuits = self._analyst.read(payload, backend)
        asked = sum(circuit.num_operations for circuit in circuits)
        if asked > MAX_OPERATIONS:
            raise TooLarge("operations to predict", limit=MAX_OPERATIONS, asked=asked, field="circuits")
        region = None if backend.shape is None else _best_region(backend, circuits)
        return backend, [_predicted(backend, circuit, region) for circuit in circuits]


def _best_region(backend: Backend, circuits: Sequence[IsaCircuit]) -> tuple[int, ...]:
    """Where the planner would place a job of these circuits on the empty chip."""
    program = Program(
        kind="circuits",
        circuits=tuple(circuits),
        angles=tuple(np.zeros((1, circuit.num_slots)) for circuit in circuits),
        executions=tuple(Execution(index, index, 0, 0, 1) for index in range(len(circuits))),
    )
    footprint = backend.footprint(program, backend.summarise(program), None)
    shape = backend.shape
    device = backend.calibrated.device_view({} if shape is None else {shape.name: shape.table})
    job = QueuedJob(id="", tenant="", start_tag=0, finish_tag=0, cost=1, footprint=footprint)
    site = Floor(device).site(job, must=True)
    if isinstance(site, str):  # pragma: no cover - a shape that fits nowhere is no backend
        raise UnknownBackend(str(backend.name), "no region of the device is usable now")
    return site.region


def _predicted(backend: Backend, circuit: IsaCircuit, region: tuple[int, ...] | None) -> Predicted:
    calibration = backend.calibrated.snapshot
    placed = relocate(circuit, range(calibration.num_qubits) if region is None else region, calibration)
    return Predicted(
        region=placed.qubits if region is None else region,
        duration_ns=schedule(placed, Durations.of(calibration)).duration_ns,
        prediction=predict(placed, calibration, backend.model.crosstalk),
    )
