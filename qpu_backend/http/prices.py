"""Price books: what is in force and announced, for everybody who may read usage; publishing them is the operator's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import APIRouter

from qpu_backend.domain.audit import by_principal
from qpu_backend.domain.pricing import PriceBook
from qpu_backend.http.auth import KeepBooks, ReadUsage  # noqa: TC001 - FastAPI reads annotations at run time
from qpu_backend.http.documents import micros, wall
from qpu_backend.http.door import AtDoor  # noqa: TC001
from qpu_sdk.wire.prices import PriceBookDocument, PriceBookRequest, PriceList

if TYPE_CHECKING:
    from qpu_backend.stores.money import DatedBook

router = APIRouter(tags=["prices"])

_MOST_ANNOUNCED = 100


@router.get("/prices")
def prices(door: AtDoor, scope: ReadUsage) -> PriceList:  # noqa: ARG001 - that there is one is the check
    """The price book in force, and those announced."""
    found = door.price_books.prices()
    announced = [_document(one) for one in found.announced[:_MOST_ANNOUNCED]]
    return PriceList(current=_document(found.current), announced=announced)


@router.post("/admin/prices", status_code=201)
def publish(door: AtDoor, scope: KeepBooks, order: PriceBookRequest) -> PriceBookDocument:
    """Announce a price book for a moment to come. It changes no other one, and nothing that was submitted before."""
    rates = order.model_dump(exclude={"name", "valid_from"})
    dated = door.price_books.publish(
        PriceBook.from_rates(order.name, rates),
        valid_from_us=micros(order.valid_from, "valid_from"),
        actor=by_principal(scope.principal_id),
    )
    return _document(dated)


def _document(dated: DatedBook) -> PriceBookDocument:
    return PriceBookDocument(name=dated.book.id, valid_from=wall(dated.valid_from_us), **dated.book.rates())
