"""The price of a job that is being submitted: under the book in force, or as it was quoted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from qpu_backend.domain import pricing
from qpu_backend.domain.errors import CostCapExceeded
from qpu_backend.domain.quotes import Quote, QuoteInvalid, sign, verify
from qpu_backend.stores import money
from qpu_backend.stores.errors import MissingRow

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from qpu_backend.domain.pricing import PriceBook
    from qpu_backend.domain.tenancy import TenantScope
    from qpu_sdk.wire.models import JobRequest


@dataclass(frozen=True, slots=True)
class Work:
    """What the price of a job follows from, beside its lane.

    Attributes:
        digest: the canonical one of what is to be run.
        shots: of the whole job.
        device_us: its stand-alone device time.
        footprint_qubits: that nobody else can use meanwhile.
    """

    digest: str
    shots: int
    device_us: int
    footprint_qubits: int


@dataclass(frozen=True, slots=True)
class Priced:
    """What a job will be charged if it completes.

    Attributes:
        price_book: under which, now or when it was quoted.
        price_micro: micro-credits.
        quote_id: of the quote that it was submitted with.
    """

    price_book: str
    price_micro: int
    quote_id: str | None = None


class Pricing:
    """Prices jobs, and knows its own quotes again. Safe to call from many threads."""

    def __init__(self, quote_key: bytes) -> None:
        self._quote_key = quote_key

    def price(
        self,
        connection: Connection,
        scope: TenantScope,
        order: JobRequest,
        work: Work,
        now_us: int,
        book: PriceBook | None = None,
    ) -> Priced:
        """What the job costs: what it was quoted, where it comes with a quote.

        Args:
            connection: to the price books.
            scope: whose job it is.
            order: with its lane, its cap, and the token of a quote.
            work: what it takes.
            now_us: wall time.
            book: in force then, where it was read before in the same transaction.

        Raises:
            QuoteInvalid, QuoteMismatch, QuoteExpired: the quote does not hold for this job now.
            CostCapExceeded: it is above the request's own cap, quoted or not.
        """
        if order.quote is not None:
            priced = self._quoted(connection, scope, order.quote, work.digest, now_us)
        else:
            book = book or money.current_price_book(connection, now_us)
            if book is None:  # pragma: no cover - bootstrap publishes one
                raise MissingRow("price book", "in force now")
            price_micro = pricing.price(book, work.shots, work.device_us, work.footprint_qubits, order.options.lane)
            priced = Priced(book.id, price_micro)
        if order.max_cost_micro is not None and priced.price_micro > order.max_cost_micro:
            raise CostCapExceeded(price_micro=priced.price_micro, cap_micro=order.max_cost_micro)
        return priced

    def sign(self, quote: Quote) -> str:
        """The token of a quote."""
        return sign(quote, self._quote_key)

    def _quoted(self, connection: Connection, scope: TenantScope, token: str, digest: str, now_us: int) -> Priced:
        quote = verify(token, self._quote_key, scope.tenant_id)
        quote.require(digest, now_us)
        if money.read_price_book(connection, quote.price_book) is None:
            raise QuoteInvalid  # of another database under the same pepper
        return Priced(quote.price_book, quote.price_micro, quote.id)
