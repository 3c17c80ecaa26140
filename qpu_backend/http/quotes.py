"""Quotes: what a job would cost, and a token under which it does."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import Response  # noqa: TC002 - FastAPI reads annotations at run time
from pydantic import ValidationError

from qpu_backend.http.auth import SubmitJobs  # noqa: TC001 - FastAPI reads annotations at run time
from qpu_backend.http.documents import wall
from qpu_backend.http.door import AtDoor  # noqa: TC001
from qpu_backend.http.jobs import OF_A_JOB_REQUEST, RawBody, malformed
from qpu_sdk.wire.models import JobRequest
from qpu_sdk.wire.quotes import QuoteDocument

router = APIRouter(prefix="/quotes", tags=["quotes"])


@router.post("", response_model=QuoteDocument, openapi_extra=OF_A_JOB_REQUEST)
def quote(request: Request, door: AtDoor, scope: SubmitJobs, raw: RawBody) -> QuoteDocument | Response:
    """What this job would cost; nothing is stored. Submitted with the token before it expires, it costs that."""
    try:
        order = JobRequest.model_validate_json(raw)
    except ValidationError as error:
        return malformed(request, error)
    offer = door.quoting.quote(scope, order, len(raw))
    promised = offer.quote
    return QuoteDocument(
        id=promised.id,
        token=offer.token,
        backend=order.backend,
        price_micro=promised.price_micro,
        price_book=promised.price_book,
        lane=order.options.lane,
        shots=promised.shots,
        device_us=promised.device_us,
        footprint_qubits=offer.footprint_qubits,
        start_in_s=offer.start_in_s,
        expires_at=wall(promised.expires_at_us),
    )
