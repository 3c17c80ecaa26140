"""Price books, published for a moment to come and never changed. What jobs were priced with stays in force for them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from qpu_backend.domain.errors import InvalidRequest
from qpu_backend.stores import audit, money
from qpu_backend.stores.errors import MissingRow
from qpu_backend.stores.money import DatedBook

if TYPE_CHECKING:
    from collections.abc import Collection

    from qpu_backend.domain.pricing import PriceBook
    from qpu_backend.domain.tenancy import SystemScope
    from qpu_backend.pipeline.clocks import WallClock
    from qpu_backend.stores.database import Database


@dataclass(frozen=True, slots=True)
class Prices:
    """Every price book, by whether it was, is or will be in force; each in that order."""

    past: tuple[DatedBook, ...]
    current: DatedBook
    announced: tuple[DatedBook, ...]


class PriceBooks:
    """Reads and publishes price books. Safe to call from many threads."""

    def __init__(self, database: Database, scope: SystemScope, clock: WallClock, lanes: Collection[str]) -> None:
        """Lanes are those that a book may name."""
        self._database = database
        self._scope = scope
        self._clock = clock
        self._lanes = frozenset(lanes)

    def prices(self) -> Prices:
        """Every price book.

        Raises:
            MissingRow: none is in force; the service has never been started.
        """
        now_us = self._clock.now_us()
        with self._database.read() as connection:
            books = money.list_price_books(connection)
        begun = [one for one in books if one.valid_from_us <= now_us]
        if not begun:
            raise MissingRow("price book", "in force now (start the service once)")
        return Prices(tuple(begun[:-1]), begun[-1], tuple(books[len(begun) :]))

    def publish(self, book: PriceBook, *, valid_from_us: int, actor: str) -> DatedBook:
        """Announce a price book. Told again as it is, it is the same one.

        Raises:
            InvalidRequest: it would begin in the past or together with another, there is another one of that name, or
                it names a lane that there is not.
        """
        now_us = self._clock.now_us()
        if unknown := sorted(book.lane_percent.keys() - self._lanes):
            known = ", ".join(sorted(self._lanes))
            raise InvalidRequest(f"there is no lane {unknown[0]!r}: the lanes are {known}", field="lane_percent")
        dated = DatedBook(book, valid_from_us)
        with self._database.write() as connection:
            books = money.list_price_books(connection)
            if dated in books:
                return dated
            if book.id in {one.book.id for one in books}:
                message = f"there is a price book {book.id!r}, and price books never change; use another name"
                raise InvalidRequest(message, field="name")
            if valid_from_us <= now_us:
                message = "the moment from which it would be in force has passed; name one to come"
                raise InvalidRequest(message, field="valid_from")
            if valid_from_us >= _END_US:
                raise InvalidRequest("that is further ahead than dates go; name a year before 9999", field="valid_from")
            if valid_from_us in {one.valid_from_us for one in books}:
                message = f"another price book is in force from {_moment(valid_from_us)}; name another moment"
                raise InvalidRequest(message, field="valid_from")
            money.ensure_price_book(connection, self._scope, book, valid_from_us=valid_from_us)
            audit.append(
                connection,
                self._scope,
                actor=actor,
                action="price_book.published",
                subject=book.id,
                tenant_id=None,
                facts={"valid_from_us": valid_from_us, **book.rates()},
                now_us=now_us,
            )
        return dated


_END_US: Final = 253_370_764_800_000_000
"""9999-01-01, UTC: what is before has a date in every time zone."""


def _moment(at_us: int) -> str:
    return f"{datetime.fromtimestamp(at_us // 1_000_000, UTC):%Y-%m-%d %H:%M:%S} UTC"
