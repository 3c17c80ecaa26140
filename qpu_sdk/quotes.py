"""A quote as a researcher holds it: what a job, or all parts of a split one, would cost, with the right to pay that."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    from qpu_sdk.wire.quotes import QuoteDocument


@dataclass(frozen=True, slots=True)
class Quote:
    """What it would cost. Run the same with ``quote=`` before it expires, and it costs that.

    Attributes:
        documents: as the service gave them: one, or one for each part of a split job.
    """

    documents: tuple[QuoteDocument, ...]

    @property
    def price(self) -> float:
        """In credits."""
        return self.price_micro / 1e6

    @property
    def price_micro(self) -> int:
        """In micro-credits, exact: what is charged if it completes."""
        return sum(document.price_micro for document in self.documents)

    @property
    def device_s(self) -> float:
        """Device time in s."""
        return sum(document.device_us for document in self.documents) / 1e6

    @property
    def shots(self) -> int:
        """Of all circuits together."""
        return sum(document.shots for document in self.documents)

    @property
    def start_in_s(self) -> float | None:
        """Estimate of the wait, were it submitted now; ``None`` where there is nothing to go by."""
        return self.documents[0].start_in_s

    @property
    def expires_at(self) -> datetime:
        """Until when the price holds."""
        return min(document.expires_at for document in self.documents)

    @property
    def ids(self) -> tuple[str, ...]:
        """What ``job.metering().quote_id`` will say, of each part."""
        return tuple(document.id for document in self.documents)

    @property
    def tokens(self) -> tuple[str, ...]:
        """What proves the prices, of each part."""
        return tuple(document.token for document in self.documents)
