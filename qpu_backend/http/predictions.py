"""Predictions: what circuits may be expected to do, before they are sent."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import Response  # noqa: TC002 - FastAPI reads annotations at run time
from pydantic import ValidationError

from qpu_backend.http.auth import SubmitJobs  # noqa: TC001 - FastAPI reads annotations at run time
from qpu_backend.http.door import AtDoor  # noqa: TC001
from qpu_backend.http.jobs import RawBody, body_of, malformed
from qpu_sdk.wire.predictions import CircuitPrediction, PredictionList, PredictionRequest

router = APIRouter(prefix="/backends", tags=["backends"])


@router.post("/{name:backend}/predict", response_model=PredictionList, openapi_extra=body_of("PredictionRequest"))
def predict(request: Request, door: AtDoor, scope: SubmitJobs, name: str, raw: RawBody) -> PredictionList | Response:
    """Predicted success of each circuit where it would run, and what costs it; nothing is stored or billed."""
    try:
        order = PredictionRequest.model_validate_json(raw)
    except ValidationError as error:
        return malformed(request, error)
    backend, predicted = door.predictor.predict(scope, name, order.circuits)
    return PredictionList(
        backend=str(backend.name),
        calibration_id=backend.calibrated.row.id,
        predictions=[
            CircuitPrediction(
                region=list(one.region),
                duration_ns=one.duration_ns,
                success=one.prediction.success,
                gates=one.prediction.gates,
                readout=one.prediction.readout,
                idling=one.prediction.idling,
                zz=one.prediction.zz,
                crosstalk=one.prediction.crosstalk,
            )
            for one in predicted
        ],
    )
