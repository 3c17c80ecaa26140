# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# (Qiskit ships no types: what comes from it is unknown to the checker.)
"""What ``run`` and the primitives end in: a checked order becomes a request, or several where it is to be split."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from qpu_sdk.composite import TAGS_OF_A_PART, CompositeJob, submit_parts
from qpu_sdk.display.documents import ShownQuote
from qpu_sdk.errors import InvalidRequestError
from qpu_sdk.job import QPUJob
from qpu_sdk.splitting import Room, plan, seed_of_part
from qpu_sdk.wire.answers import shapes_to_send
from qpu_sdk.wire.circuits import encode_circuits
from qpu_sdk.wire.models import JobRequest, ProgramKind, Pub
from qpu_sdk.wire.quotes import QuoteDocument

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from qiskit.circuit import QuantumCircuit
    from qiskit.providers import BackendV2

    from qpu_sdk.connection import Connection
    from qpu_sdk.options import ExecutionOptions
    from qpu_sdk.quotes import Quote
    from qpu_sdk.splitting import Piece, Weight
    from qpu_sdk.validation import CircuitRules
    from qpu_sdk.wire.answers import PubOnClient
    from qpu_sdk.wire.models import BackendDocument, CircuitPayload

_MOST_TAGS = 16


@dataclass(frozen=True, slots=True)
class Order:
    """A checked program, ready to be sent.

    Attributes:
        program: what is asked for.
        circuits: the different ones; pubs name them by number.
        pubs: as they are sent.
        weights: what each of these takes.
        kept: what of the caller's pubs stays on the client.
        options: how to run.
        memory: whether a ``Result`` shows every shot.
    """

    program: ProgramKind
    circuits: Sequence[QuantumCircuit]
    pubs: Sequence[Pub]
    weights: Sequence[Weight]
    kept: Sequence[PubOnClient]
    options: ExecutionOptions
    memory: bool = False


@dataclass(frozen=True, slots=True)
class Desk:
    """Where orders are sent from: a backend as it is published, and the way to it."""

    document: BackendDocument
    connection: Connection
    rules: CircuitRules
    find_backend: Callable[[str], BackendV2]

    def encode(self, circuits: Sequence[QuantumCircuit]) -> CircuitPayload:
        """Circuits as the service reads them."""
        return encode_circuits(circuits, self.connection.version.max_qpy_version, self.document.dt_ns * 1e-9)

    def submit(self, order: Order) -> QPUJob:
        """Submit; as several jobs, if it is to be split and does not fit in one."""
        options = order.options
        parts = self._parts(order) if options.split else []
        if len(parts) <= 1:
            job = self.connection.submit(self.request(order), options.idempotency_key)
            return QPUJob(job, self.connection, find_backend=self.find_backend, pubs=order.kept, memory=order.memory)
        if len(options.job_tags or ()) > _MOST_TAGS - TAGS_OF_A_PART:
            raise InvalidRequestError(
                f"a job that is split has {TAGS_OF_A_PART} tags of its own, so at most "
                f"{_MOST_TAGS - TAGS_OF_A_PART} are left",
                field="job_tags",
            )
        cancel_rest = options.on_failure == "cancel_rest"
        documents = submit_parts(
            [
                self._request_of_part(order, number, part).model_copy(
                    update={"quote": _token(options, number, len(parts))}
                )
                for number, part in enumerate(parts)
            ],
            [part[0].begins for part in parts],
            self.connection,
            idempotency_key=options.idempotency_key,
            max_cost_micro=options.max_cost_micro,
            cancel_rest=cancel_rest,
        )
        return CompositeJob(
            documents,
            self.connection,
            find_backend=self.find_backend,
            pubs=order.kept,
            memory=order.memory,
            cancel_rest=cancel_rest,
        )

    def quote(self, order: Order) -> Quote:
        """What it would cost; of an order that is split, what all of its parts would."""
        parts = self._parts(order) if order.options.split else []
        requests = (
            [self.request(order, promised=False)]
            if len(parts) <= 1
            else [self._request_of_part(order, number, part) for number, part in enumerate(parts)]
        )
        return ShownQuote(
            tuple(
                self.connection.transport.post(
                    "/quotes", QuoteDocument, one.model_dump_json(exclude_none=True).encode()
                )
                for one in requests
            )
        )

    def request(self, order: Order, *, promised: bool = True) -> JobRequest:
        """The whole order as one job; ``promised``: at the price of its quote, if it has one."""
        options = order.options
        return JobRequest(
            backend=self.document.name,
            program=order.program,
            circuits=self.encode(order.circuits),
            pubs=list(order.pubs),
            options=options.wire(memory=order.memory).model_copy(update={"pub_shapes": shapes_to_send(order.kept)}),
            tags=list(options.job_tags or []),
            calibration_id=None if options.layout == "deferred" else self.document.calibration_id,
            drift_policy=options.drift_policy,
            max_cost_micro=options.max_cost_micro,
            quote=_token(options, 0, 1) if promised else None,
        )

    def _request_of_part(self, order: Order, number: int, part: Sequence[Piece]) -> JobRequest:
        used = sorted({piece.pub.circuit for piece in part})
        place = {circuit: index for index, circuit in enumerate(used)}
        options = order.options
        wire = options.wire(memory=order.memory)
        return JobRequest(
            backend=self.document.name,
            program=order.program,
            circuits=self.encode([order.circuits[circuit] for circuit in used]),
            pubs=[piece.pub.model_copy(update={"circuit": place[piece.pub.circuit]}) for piece in part],
            options=wire.model_copy(update={"seed": seed_of_part(wire.seed, number)}),
            tags=list(options.job_tags or []),
            calibration_id=None if options.layout == "deferred" else self.document.calibration_id,
            drift_policy=options.drift_policy,
        )

    def _parts(self, order: Order) -> list[list[Piece]]:
        limits = self.rules.limits
        room = Room(
            circuits=self.rules.max_circuits,
            shots=self.rules.max_shots,
            executions=limits.max_executions,
            result_bytes=limits.max_result_bytes,
            body_bytes=limits.max_body_bytes,
        )
        sizes = [len(self.encode([circuit]).data) * 4 // 3 for circuit in order.circuits]
        parts = plan(order.pubs, order.weights, sizes, room)
        if len(parts) > 1 and order.options.wire().mitigation is not None:
            raise InvalidRequestError(
                "a job with error mitigation is not split: its parts would be mitigated each for itself; send fewer "
                "pubs, bindings or shots at a time",
                field="split",
            )
        return parts


def _token(options: ExecutionOptions, part: int, parts: int) -> str | None:
    """The promise for a part.

    Raises:
        InvalidRequestError: there are as many promises as the quoted job had parts, and this one has another number.
    """
    if options.quote is None:
        return None
    tokens = (options.quote,) if isinstance(options.quote, str) else options.quote.tokens
    if len(tokens) != parts:
        raise InvalidRequestError(
            f"the quote is for a job in {len(tokens)} parts, and this one has {parts}: ask for another", field="quote"
        )
    return tokens[part]
