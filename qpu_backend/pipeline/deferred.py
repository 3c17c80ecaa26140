"""Deferred layouts at dispatch: a placed job's abstract circuits, compiled again for the qubits where they will run.

    placed job ──► the region as a device of its own ──limited child──► circuits ──► the better ones run

It may cost the batch a bounded time and nothing else. Whatever goes wrong, or does not come in time, the circuits that
the job was planned with run, relabelled; which ones did is told with the result.
"""

from __future__ import annotations

import time
from collections import Counter
from concurrent.futures import CancelledError
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from qpu_backend.domain import isa
from qpu_backend.domain.deferral import Choice
from qpu_backend.domain.footprint import Footprint
from qpu_backend.domain.recompilation import Trial, better, choose, rebuilt
from qpu_backend.engines.decoded import Compilation, DecodingRequest, PubBinding
from qpu_backend.engines.invalid_circuit import DecodingUnavailable, InvalidCircuit
from qpu_backend.physics.circuit import Op
from qpu_backend.physics.errors import NotCalibrated
from qpu_backend.physics.prediction import predict
from qpu_backend.physics.relocate import relocate
from qpu_backend.physics.timing import Durations, has_mid_circuit, schedule
from qpu_backend.pipeline.recent import Recent
from qpu_backend.telemetry.logs import logger

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from concurrent.futures import Future

    from qpu_backend.domain.deferral import Deferral
    from qpu_backend.domain.planning import Placement, Plan
    from qpu_backend.domain.programs import Program
    from qpu_backend.engines.compiling_pool import CompilingPool
    from qpu_backend.engines.decoded import Decoded
    from qpu_backend.pipeline.backends import Calibrated
    from qpu_backend.stores.jobs import JobRow

JOB_S: Final = 0.5
"""A job's circuits may take so long to compile where they run."""
BATCH_S: Final = 1.0
"""A batch waits so long for all of its jobs."""
ATTEMPTS: Final = 3
"""Seeds that are tried. The compiler knows gates, but not how much static ZZ their schedule catches, and in that its
answers differ: on a tee the best of three wins two to three times what one wins."""
MAX_OPERATIONS: Final = 5_000
"""Of all circuits of a job; above, it runs as it was planned: predicting takes the dispatcher some 20 µs each."""
MAX_VALUES: Final = 100_000
"""Parameter values of all bindings of a job; above, it runs as it was planned."""
_REMEMBERED_BYTES: Final = 8 << 20
_REMEMBERED_FAILURES: Final = 1_000
_AGAIN_AFTER_S: Final = 60.0
"""Circuits that could not be compiled in time are not tried again for so long."""

_Key = tuple[str, str, tuple[int, ...], str, int, bool]
"""Tenant, program, region, device, number of the calibration, whether alone."""


@dataclass(frozen=True, slots=True, eq=False)
class Compiled:
    """What a job with a deferred layout runs.

    Attributes:
        program: on the positions of its region.
        choices: for each abstract circuit, which compilation it is.
        attempts: the successful attempt for each, −1 for none: with program, region and calibration it says what runs.
    """

    program: Program
    choices: tuple[Choice, ...]
    attempts: tuple[int, ...]

    @classmethod
    def as_planned(cls, program: Program, trials: Sequence[Trial] | None = None) -> Compiled:
        """Every circuit relabelled, with its predicted success where that has been worked out."""
        sources = 0 if program.deferral is None else max(program.deferral.circuit_of) + 1
        choices = (Choice("shape", None, None),) * sources
        if trials is not None:
            itself = choose(program, trials, trials, None, 0)
            choices = tuple(replace(choice, on="shape", region_success=None) for choice in itself)
        return cls(program, choices, (-1,) * sources)


class Recompiler:
    """Compiles for the dispatcher of one device."""

    def __init__(self, pool: CompilingPool) -> None:
        """Nothing is compiled yet.

        Args:
            pool: the limited children.
        """
        self._pool = pool
        self._recent: Recent[_Key, Compiled] = Recent(_REMEMBERED_BYTES)
        self._failed_at_s: Recent[tuple[str, str], float] = Recent(_REMEMBERED_FAILURES)
        self._log = logger("deferred")

    def compile(
        self, plan: Plan, jobs: Mapping[str, JobRow], programs: Mapping[str, Program], calibrated: Calibrated
    ) -> dict[str, Compiled]:
        """What each job of a plan runs whose layout is deferred, by job.

        Args:
            plan: with the regions.
            jobs: the planned jobs by id.
            programs: theirs.
            calibrated: the device with its current calibration.
        """
        until_s = time.monotonic() + BATCH_S
        alone = len(plan.placements) == 1
        compiled: dict[str, Compiled] = {}
        asked: list[tuple[Placement, _Key, list[Future[Decoded]]]] = []
        for placement in plan.placements:
            job, program = jobs[placement.job_id], programs[placement.job_id]
            if program.deferral is None:
                continue
            key = (job.tenant_id, job.program_sha, placement.region, *_of(calibrated), alone)
            if (known := self._recent.get(key)) is not None:
                compiled[job.id] = known
            elif _too_large(program) or self._failed_lately(key):
                compiled[job.id] = Compiled.as_planned(program)
            else:
                asked.append((placement, key, []))
        for attempt in range(ATTEMPTS):  # one of each job before another of any
            for placement, _, futures in asked:
                if (deferral := programs[placement.job_id].deferral) is not None:
                    request = _request(deferral, placement.region, calibrated, attempt)
                    futures.append(self._pool.submit(request, within_s=JOB_S))
        for placement, key, futures in asked:
            job, program = jobs[placement.job_id], programs[placement.job_id]
            every = {attempt: self._answer(key, future, until_s) for attempt, future in enumerate(futures)}
            answers = {attempt: answer for attempt, answer in every.items() if answer is not None}
            one = compiled[job.id] = self._chosen(job, program, placement.region, calibrated, answers, alone=alone)
            if len(answers) == ATTEMPTS:
                self._recent.put(key, one, 1024 + sum(circuit.operations.nbytes for circuit in one.program.circuits))
        return compiled

    def _failed_lately(self, key: _Key) -> bool:
        failed_at_s = self._failed_at_s.get(key[:2])
        return failed_at_s is not None and time.monotonic() < failed_at_s + _AGAIN_AFTER_S

    def _answer(self, key: _Key, future: Future[Decoded], until_s: float) -> Decoded | None:
        """What a child made of the circuits, or nothing."""
        try:
            return future.result(timeout=max(0.0, until_s - time.monotonic()))
        except TimeoutError:  # the batch's time is up, whoever took it
            future.cancel()
        except InvalidCircuit as refusal:
            self._failed_at_s.put(key[:2], time.monotonic(), 1)
            self._log.info("circuits_not_compiled_again", tenant=key[0], reason=type(refusal).__name__)
        except (DecodingUnavailable, CancelledError):
            self._log.warning("compilers_unavailable")
        return None

    def _chosen(
        self,
        job: JobRow,
        program: Program,
        region: tuple[int, ...],
        calibrated: Calibrated,
        answers: Mapping[int, Decoded],
        *,
        alone: bool,
    ) -> Compiled:
        """The best compilation of each circuit.

        A job that uses what the device no longer offers is left to whoever prepares it to run.
        """
        try:
            planned = _trials(program, region, calibrated)
        except NotCalibrated:
            return Compiled.as_planned(program)
        group = calibrated.model.crosstalk.readout.group
        read = None if alone else _read(job, region, group)
        best = Compiled.as_planned(program, planned)
        for attempt, decoded in answers.items():
            try:
                isa.check(decoded.circuits, _isa_of(region, calibrated))
                candidate = rebuilt(program, decoded.circuits, decoded.layouts, decoded.angles)
                choices = choose(program, planned, _trials(candidate, region, calibrated), read, group)
            except Exception as error:  # noqa: BLE001 - only a child that is not honest any more answers so
                self._log.warning("compiled_circuits_refused", job=job.id, reason=type(error).__name__)
                continue
            kept = tuple(map(better, best.choices, choices))
            taken = {source for source, one in enumerate(kept) if one is choices[source] and one.on == "region"}
            changed = rebuilt(best.program, decoded.circuits, decoded.layouts, decoded.angles, taken)
            attempts = tuple(attempt if s in taken else before for s, before in enumerate(best.attempts))
            best = Compiled(changed, kept, attempts)
        return best


def _of(calibrated: Calibrated) -> tuple[str, int]:
    return calibrated.snapshot.device, calibrated.snapshot.number


def _too_large(program: Program) -> bool:
    deferral = program.deferral
    operations = sum(circuit.num_operations for circuit in program.circuits)
    return operations > MAX_OPERATIONS or (deferral is not None and deferral.num_values > MAX_VALUES)


def _request(deferral: Deferral, region: tuple[int, ...], calibrated: Calibrated, attempt: int) -> DecodingRequest:
    pubs = zip(deferral.circuit_of, deferral.bindings, strict=True)
    return DecodingRequest(
        codec=deferral.codec,
        data=deferral.data,
        pubs=tuple(PubBinding(circuit, values) for circuit, values in pubs),
        dt_ns=calibrated.model.timing.dt_ns,
        compilation=Compilation(
            calibrated.snapshot.part(region), calibrated.model.two_qubit_gate, deferral.seed + attempt
        ),
    )


def _isa_of(region: tuple[int, ...], calibrated: Calibrated) -> isa.IsaTarget:
    part = calibrated.snapshot.part(region)
    gate = calibrated.model.two_qubit_gate
    return isa.IsaTarget(
        num_qubits=part.num_qubits,
        basis=frozenset(Op),  # what is not calibrated there cannot be timed, and is refused for that
        edges={gate: frozenset((q[0], q[1]) for op, q in part.gates if op is gate)},
        usable_qubits=frozenset(range(part.num_qubits)),
        max_operations=2 * MAX_OPERATIONS,
    )


def _trials(program: Program, region: Sequence[int], calibrated: Calibrated) -> list[Trial]:
    """Each circuit of a program where it would run.

    Raises:
        NotCalibrated: the device does not offer one of its operations there.
        ValueError: there are far more of them than were planned.
    """
    snapshot = calibrated.snapshot
    durations = Durations.of(snapshot)
    if sum(circuit.num_operations for circuit in program.circuits) > 2 * MAX_OPERATIONS:
        raise ValueError("too many operations to predict")
    trials: list[Trial] = []
    for circuit in program.circuits:
        placed = relocate(circuit, region, snapshot)
        loss = predict(placed, snapshot, calibrated.model.crosstalk).loss
        trials.append(Trial(placed, schedule(placed, durations).duration_ns, has_mid_circuit(placed), loss))
    return trials


def _read(job: JobRow, region: tuple[int, ...], group: int) -> Counter[int] | None:
    """How many qubits of each readout group the planner has counted for a job."""
    if not group:
        return None
    measured = Footprint.from_document(dict(job.footprint)).measured
    return Counter(region[position] // group for position in measured)
