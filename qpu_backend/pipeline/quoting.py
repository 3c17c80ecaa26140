"""Quotes: what a job would cost, and the promise that it does for a while. Nothing is stored, reserved or queued.

A quote passes every check that a submission passes which does not depend on what else is there at the moment (quotas, a
full queue, the start that a lane promises): what a tenant may not submit, it is not quoted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from qpu_backend.domain import fairshare
from qpu_backend.domain.errors import InvalidRequest, UnknownBackend
from qpu_backend.domain.quotes import Quote
from qpu_backend.pipeline.enqueueing import require_undrifted
from qpu_backend.pipeline.outlook import estimate_s
from qpu_backend.pipeline.sessions import require_joinable
from qpu_backend.stores import devices, fairness, jobs
from qpu_backend.stores.ids import new_id
from qpu_backend.stores.pace import read_pace

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from qpu_backend.domain.tenancy import SystemScope, TenantScope
    from qpu_backend.pipeline.admission import Admission
    from qpu_backend.pipeline.clocks import WallClock
    from qpu_backend.pipeline.pricing import Pricing
    from qpu_backend.stores.database import Database
    from qpu_backend.stores.devices import DeviceRow
    from qpu_sdk.wire.models import JobRequest


@dataclass(frozen=True, slots=True)
class Offer:
    """A quote and what it follows from.

    Attributes:
        quote: what is promised.
        token: the same, signed.
        footprint_qubits: that nobody else could use meanwhile.
        start_in_s: estimate of the wait, wall time; ``None`` where there is nothing to go by.
    """

    quote: Quote
    token: str
    footprint_qubits: int
    start_in_s: float | None


class Quoting:
    """Quotes jobs. Safe to call from many threads."""

    def __init__(
        self,
        *,
        database: Database,
        admission: Admission,
        pricing: Pricing,
        system: SystemScope,
        clock: WallClock,
        life_us: int,
    ) -> None:
        self._database = database
        self._admission = admission
        self._pricing = pricing
        self._system = system
        self._clock = clock
        self._life_us = life_us

    def quote(self, scope: TenantScope, order: JobRequest, size: int) -> Offer:
        """Price a job, without a trace.

        Args:
            scope: whose it would be.
            order: the job.
            size: of the request, bytes.

        Raises:
            DomainError: it could not be submitted, or costs more than its own cap.
        """
        if order.quote is not None:
            raise InvalidRequest("a quote is asked for without one", field="quote")
        prepared = self._admission.check(scope, order, size)
        work, now_us = prepared.work, self._clock.now_us()
        with self._database.read() as connection:
            device = devices.read_device(connection, prepared.analysis.backend.device_id)
            if device is None:
                raise UnknownBackend(order.backend)
            require_undrifted(order, device)
            priced = self._pricing.price(connection, scope, order, work, now_us)
            if order.options.session is not None:
                require_joinable(
                    connection,
                    scope,
                    order.options.session,
                    backend=order.backend,
                    qubits=prepared.session_qubits(),
                    lane=order.options.lane,
                    price_micro=priced.price_micro,
                    now_us=now_us,
                )
            start_in_s = self._start_in_s(connection, scope, device, order.options.lane)
        quote = Quote(
            id=new_id("quo"),
            tenant_id=scope.tenant_id,
            price_book=priced.price_book,
            digest=work.digest,
            price_micro=priced.price_micro,
            device_us=work.device_us,
            shots=work.shots,
            expires_at_us=now_us + self._life_us,
        )
        return Offer(quote, self._pricing.sign(quote), work.footprint_qubits, start_in_s)

    def _start_in_s(self, connection: Connection, scope: TenantScope, device: DeviceRow, lane: str) -> float | None:
        """As a waiting job is told it, for one that would be queued now."""
        if not device.operational:
            return None
        previous = fairness.read_finish_tag(connection, scope, device.id, lane)
        start_tag, _ = fairshare.tag(device.virtual_time, previous, cost=1, weight=1)  # a start depends on neither
        ahead = jobs.count_before(connection, self._system, device.id, start_tag=start_tag, job_id=new_id("job"))
        return estimate_s(ahead, read_pace(connection, device.id))
