"""What a request asks for: circuits decoded, checked, expanded and summarised; no database, no side effect.

    decode (limited child) → circuits as values → ISA check → executions → summaries → cost of simulating

Tenants submit the same circuits again and again (loops, averages, repeats), so the newest analyses are remembered.
Each tenant has answers of its own: how fast one is served must not tell what others have sent.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from qpu_backend.domain import isa, programs
from qpu_backend.domain.deferral import Deferral
from qpu_backend.domain.errors import CircuitTooLarge, InvalidRequest, TooLarge
from qpu_backend.domain.observables import PauliTerm
from qpu_backend.domain.treatments import treat
from qpu_backend.engines.decoded import Compilation, DecodingRequest, PubBinding
from qpu_backend.pipeline.asked import mitigation_of, seeded
from qpu_backend.pipeline.recent import Recent
from qpu_backend.stores.blobs import Blob, encode_blob
from qpu_sdk.wire.codec import pack
from qpu_sdk.wire.models import ProgramKind
from qpu_sdk.wire.results import BYTES_OF_A_QUASI_PROBABILITY

if TYPE_CHECKING:
    from qpu_backend.domain.programs import Program
    from qpu_backend.engines.compiling_pool import CompilingPool
    from qpu_backend.engines.decoding_pool import DecodingPool
    from qpu_backend.physics.circuit import IsaCircuit
    from qpu_backend.physics.timing import CircuitSummary
    from qpu_backend.pipeline.backends import Backend
    from qpu_sdk.wire.models import CircuitPayload, JobRequest, Limits, Pub

DEFAULT_SHOTS: Final = 1024
DEFAULT_PRECISION: Final = 1 / 64
"""Qiskit's default of ``BackendEstimatorV2``."""

SEED_BOUND: Final = 2**31
"""Of seeds of the compiler."""

REMEMBERED_BYTES: Final = 2 << 20
"""Of packed programs, whose values in memory are some ten times as large."""


@dataclass(frozen=True, slots=True, eq=False)
class Analysis:
    """A request's circuits and pubs as the service understands them.

    Attributes:
        backend: it is meant for, with the calibration it was checked against.
        program: what will be executed.
        body: the program as it is stored.
        summaries: of its circuits.
        simulation_us: processor time that simulating it is expected to take.
        digest: of the program kind, the circuits and the pubs as values.
    """

    backend: Backend
    program: Program
    body: Blob
    summaries: list[CircuitSummary]
    simulation_us: int
    digest: str


class Analyst:
    """Analyses requests. Safe to call from many threads."""

    def __init__(
        self, decoding: DecodingPool, compiling: CompilingPool, limits: Limits, programs: Recent[str, Program]
    ) -> None:
        """Nothing is decoded yet.

        Args:
            decoding: who decodes.
            compiling: who decodes and compiles circuits with a deferred layout.
            limits: the published ones.
            programs: where the dispatcher of this process looks before it reads a program from the database.
        """
        self._decoding = decoding
        self._compiling = compiling
        self._limits = limits
        self._programs = programs
        self._recent: Recent[bytes, Analysis] = Recent(REMEMBERED_BYTES)

    def analyse(self, tenant_id: str, order: JobRequest, backend: Backend) -> Analysis:
        """Understand a request, or refuse it.

        Raises:
            DomainError: what is wrong with the circuits or pubs.
        """
        key = _key(tenant_id, order)
        known = self._recent.get(key)
        if known is None or known.backend is not backend:
            known = self._analyse(order, backend)
            self._recent.put(key, known, known.body.size)
        self._programs.put(known.body.sha256, known.program, known.body.size)
        return known

    def read(self, payload: CircuitPayload, backend: Backend) -> tuple[IsaCircuit, ...]:
        """Circuits without pubs, whose parameters may be free, checked against the backend; not remembered.

        Raises:
            DomainError: what is wrong with the circuits.
        """
        request = DecodingRequest(payload.codec, payload.data, pubs=(), dt_ns=backend.model.timing.dt_ns)
        decoded = self._decoding.decode(request)
        isa.check(decoded.circuits, backend.isa, widths=decoded.widths)
        return decoded.circuits

    def _analyse(self, order: JobRequest, backend: Backend) -> Analysis:
        self._check_pubs(order)
        mitigation = mitigation_of(order)
        max_shots = min(self._limits.max_shots, backend.model.max_shots)
        request = DecodingRequest(
            codec=order.circuits.codec,
            data=order.circuits.data,
            pubs=tuple(PubBinding(pub.circuit, _values(pub, index)) for index, pub in enumerate(order.pubs)),
            dt_ns=backend.model.timing.dt_ns,
            compilation=_compilation(order, backend),
        )
        deferred = request.compilation is not None
        decoded = self._compiling.compile(request) if deferred else self._decoding.decode(request)
        angles = [(pub.circuit, table) for pub, table in zip(order.pubs, decoded.angles, strict=True)]
        isa.check(decoded.circuits, backend.isa, widths=decoded.widths, angles=angles)
        specs = [_pub_spec(pub, table) for pub, table in zip(order.pubs, decoded.angles, strict=True)]
        program = programs.expand(
            order.program.value,
            decoded.circuits,
            specs,
            usable_qubits=backend.isa.usable_qubits,
            default_shots=DEFAULT_SHOTS,
            default_precision=DEFAULT_PRECISION,
            max_shots=max_shots,
            max_executions=self._limits.max_executions,
            layouts=decoded.layouts,
        )
        digest = programs.content_digest(order.program.value, decoded.circuits, specs)
        if mitigation is not None:
            limits = {"max_executions": self._limits.max_executions, "max_shots": max_shots}
            program = treat(program, seeded(mitigation, order, digest), **limits)
        summaries = backend.summarise(program)
        self._check_result_size(program)
        simulation_us = backend.simulation_us(program, summaries)
        if simulation_us > 1e6 * self._limits.max_simulation_s:
            raise CircuitTooLarge.too_long(estimate_s=simulation_us / 1e6, limit_s=self._limits.max_simulation_s)
        if request.compilation is not None:
            digest = _of_abstract(order)
            program = replace(program, deferral=_deferral(request, request.compilation.seed, summaries))
        return Analysis(
            backend=backend,
            program=program,
            body=encode_blob(pack(program.to_document())),
            summaries=summaries,
            simulation_us=simulation_us,
            digest=digest,
        )

    def _check_pubs(self, order: JobRequest) -> None:
        for index, pub in enumerate(order.pubs):
            shots = pub.shots or 0
            if shots > self._limits.max_shots:
                raise TooLarge("shots", limit=self._limits.max_shots, asked=shots, field=f"pubs.{index}.shots")
            estimating = order.program is ProgramKind.ESTIMATOR
            if estimating != (pub.observables is not None and pub.pairs is not None):
                needs = "needs observables and pairs" if estimating else "takes no observables"
                raise InvalidRequest(f"a pub of a {order.program} program {needs}", field=f"pubs.{index}.observables")
            if pub.precision is not None and not estimating:
                raise InvalidRequest("precision belongs to estimator pubs", field=f"pubs.{index}.precision")

    def _check_result_size(self, program: Program) -> None:
        if program.kind == "estimator":
            return
        treatment = program.treatment
        quasi = BYTES_OF_A_QUASI_PROBABILITY if treatment is not None and treatment.mitigation.readout else 0
        own = [e for e in program.executions if e.pub < program.num_pubs]
        bytes_of = [-(-program.circuits[e.circuit].num_clbits // 8) for e in own]
        size = sum(e.shots * (n + (quasi and quasi + n)) for e, n in zip(own, bytes_of, strict=True))
        if size > self._limits.max_result_bytes:
            raise TooLarge("bytes of result", limit=self._limits.max_result_bytes, asked=size, field="pubs")


def _key(tenant_id: str, order: JobRequest) -> bytes:
    """Of everything that an analysis depends on, but the backend's calibration."""
    sha = hashlib.sha256()
    layout, mitigation = order.options.layout, order.options.mitigation
    seed = "" if layout == "isa" and mitigation is None else str(order.options.seed)
    against_errors = "" if mitigation is None else mitigation.model_dump_json()
    parts = (tenant_id, order.backend, order.program, order.circuits.codec, layout, seed, against_errors)
    for part in (*(text.encode() for text in parts), order.circuits.data, *(_of_pub(pub) for pub in order.pubs)):
        sha.update(b"%d:" % len(part))
        sha.update(part)
    return sha.digest()


def _compilation(order: JobRequest, backend: Backend) -> Compilation | None:
    if order.options.layout == "isa":
        return None
    asked = order.options.seed
    seed = int.from_bytes(hashlib.sha256(order.circuits.data).digest()[:4]) if asked is None else asked
    return Compilation(backend.snapshot, backend.model.two_qubit_gate, seed % SEED_BOUND)


def _deferral(request: DecodingRequest, seed: int, summaries: list[CircuitSummary]) -> Deferral:
    return Deferral(
        codec=request.codec,
        data=request.data,
        seed=seed,
        circuit_of=tuple(pub.circuit for pub in request.pubs),
        bindings=tuple(pub.values for pub in request.pubs),
        planned_ns=tuple(round(summary.duration_ns) for summary in summaries),
    )


def _of_abstract(order: JobRequest) -> str:
    """Of abstract circuits as they were sent: what they are compiled to changes with every calibration."""
    sha = hashlib.sha256(b"abstract-1")
    kind = f"{order.program};{order.circuits.codec}".encode()
    for part in (kind, order.circuits.data, *(_of_pub(pub) for pub in order.pubs)):
        sha.update(b"%d:" % len(part))
        sha.update(part)
    return sha.hexdigest()


def _of_pub(pub: Pub) -> bytes:
    return pub.model_dump_json().encode()


def _values(pub: Pub, index: int) -> np.ndarray[tuple[int, int], np.dtype[np.float64]] | None:
    if pub.bindings is None:
        return None
    shape = (pub.bindings.num_bindings, pub.bindings.num_parameters)
    if len(pub.bindings.data) != 8 * shape[0] * shape[1]:
        facts = f"{len(pub.bindings.data)} bytes are not float64 of shape {shape}"
        raise InvalidRequest(facts, field=f"pubs.{index}.bindings.data")
    return np.frombuffer(pub.bindings.data, dtype="<f8").reshape(shape)


def _pub_spec(pub: Pub, angles: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> programs.PubSpec:
    observables = tuple(
        tuple(PauliTerm(term.paulis, tuple(term.qubits), term.coefficient) for term in observable.terms)
        for observable in pub.observables or ()
    )
    return programs.PubSpec(
        circuit=pub.circuit,
        angles=angles,
        shots=pub.shots,
        precision=pub.precision,
        observables=observables,
        pairs=tuple(pub.pairs or ()),
    )
