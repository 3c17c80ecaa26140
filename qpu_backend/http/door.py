"""What the routes may touch, in one value: put together by bootstrap, read by every route."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from fastapi import Depends, Request

if TYPE_CHECKING:
    from qpu_backend.domain.tenancy import SystemScope
    from qpu_backend.http.auth import Authenticator
    from qpu_backend.pipeline.administration import Administration
    from qpu_backend.pipeline.admission import Admission
    from qpu_backend.pipeline.bookings import Bookings
    from qpu_backend.pipeline.calibration import Calibration
    from qpu_backend.pipeline.cancellation import Cancellation
    from qpu_backend.pipeline.clocks import WallClock
    from qpu_backend.pipeline.fleet import Fleet
    from qpu_backend.pipeline.invoicing import Invoicing
    from qpu_backend.pipeline.keys import Keys
    from qpu_backend.pipeline.notices import NoticeBoard
    from qpu_backend.pipeline.predicting import Predictor
    from qpu_backend.pipeline.price_books import PriceBooks
    from qpu_backend.pipeline.principals import Principals
    from qpu_backend.pipeline.quarantining import Quarantining
    from qpu_backend.pipeline.quoting import Quoting
    from qpu_backend.pipeline.reconciling import Reconciling
    from qpu_backend.pipeline.replays import Replays
    from qpu_backend.pipeline.sessions import Sessions
    from qpu_backend.stores.database import Database
    from qpu_backend.telemetry.metrics import Metrics
    from qpu_sdk.wire.models import Limits


@dataclass(frozen=True, slots=True)
class Door:
    """The parts of a service that answer requests."""

    database: Database
    fleet: Fleet
    admission: Admission
    authenticator: Authenticator
    notices: NoticeBoard
    clock: WallClock
    limits: Limits
    metrics: Metrics
    max_qpy_version: int
    version: str
    cancellation: Cancellation
    replays: Replays
    predictor: Predictor
    quoting: Quoting
    price_books: PriceBooks
    sessions: Sessions
    invoicing: Invoicing
    reconciling: Reconciling
    administration: Administration
    calibration: Calibration
    bookings: Bookings
    quarantining: Quarantining
    principals: Principals
    keys: Keys
    system: SystemScope
    heartbeat_s: float = 15.0
    """Silence on an event stream is broken after so long, so that proxies and clients know it lives."""


async def _door(request: Request) -> Door:
    return request.app.state.door


AtDoor = Annotated["Door", Depends(_door)]
