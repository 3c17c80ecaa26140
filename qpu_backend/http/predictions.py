"""Predictions: what circuits may be expected to do, before they are sent."""

from __future__ import annotations

from fastapi import APIRouter

from qpu_backend.http.auth import SubmitJobs  # noqa: TC001 - FastAPI reads annotations at run time
from qpu_backend.http.door import AtDoor  # noqa: TC001
from qpu_sdk.wire.predictions import CircuitPrediction, PredictionList, PredictionRequest

router = APIRouter(prefix="/backends", tags=["backends"])


@router.post("/{name:backend}/predict")
def predict(door: AtDoor, scope: SubmitJobs, name: str, order: PredictionRequest) -> PredictionList:
    """Predicted success of each circuit where it would run, and what costs it; nothing is stored or billed."""
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
