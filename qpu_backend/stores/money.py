"""Money: dated price books, immutable usage records, double-entry postings, and the balances of accounts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sqlalchemy import Connection, bindparam, func, insert, select
from sqlalchemy.exc import IntegrityError

from qpu_backend.domain.ledger import Transaction, tenant_account
from qpu_backend.domain.pricing import PriceBook
from qpu_backend.stores.database import is_duplicate
from qpu_backend.stores.errors import AlreadySettled, PriceBookChanged
from qpu_backend.stores.expressions import insert_ignoring
from qpu_backend.stores.rows import columns_of, parameters_of
from qpu_backend.stores.schema_money import postings, price_books, usage_records

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qpu_backend.domain.jobs import JobState
    from qpu_backend.domain.tenancy import SystemScope, TenantScope


@dataclass(frozen=True, slots=True)
class UsageRow:
    """What a job used and what it costs: a fact, never edited.

    Attributes:
        outcome: the final state of the job.
        device_us: stand-alone device time.
    """

    id: str
    tenant_id: str
    principal_id: str
    job_id: str
    batch_id: str | None
    device_id: str
    snapshot_id: str | None
    recorded_at_us: int
    outcome: JobState
    shots: int
    device_us: int
    footprint_qubits: int
    simulator_cpu_us: int
    result_bytes: int
    price_book: str
    price_micro: int
    tags: list[str]
    lane: str = "standard"


@dataclass(frozen=True, slots=True)
class UsageTotals:
    """Sums over usage records."""

    jobs: int
    shots: int
    device_us: int
    price_micro: int


@dataclass(frozen=True, slots=True)
class DatedBook:
    """A price book and the wall time from which it is in force."""

    book: PriceBook
    valid_from_us: int


# --- price books --------------------------------------------------------------------------------------------------


def ensure_price_book(connection: Connection, _scope: SystemScope, book: PriceBook, *, valid_from_us: int) -> None:
    """Store a price book if it is not there.

    Raises:
        PriceBookChanged: one of that id is there with other rates or another date.
    """
    values = {"id": book.id, "valid_from_us": valid_from_us, "rates": book.rates()}
    if connection.execute(_INSERT_BOOK, values).rowcount == 1:
        return
    row = connection.execute(_BOOK, {"id": book.id}).one()
    if (row.valid_from_us, PriceBook.from_rates(row.id, row.rates)) != (valid_from_us, book):
        raise PriceBookChanged(book.id)


def current_price_book(connection: Connection, now_us: int) -> PriceBook | None:
    """The price book in force at this wall time; ``None`` before the first."""
    row = connection.execute(_CURRENT_BOOK, {"now_us": now_us}).one_or_none()
    return None if row is None else PriceBook.from_rates(row.id, row.rates)


def read_price_book(connection: Connection, book_id: str) -> PriceBook | None:
    """The price book of that id."""
    row = connection.execute(_BOOK, {"id": book_id}).one_or_none()
    return None if row is None else PriceBook.from_rates(row.id, row.rates)


def list_price_books(connection: Connection) -> list[DatedBook]:
    """Every price book, in the order in which they come into force."""
    rows = connection.execute(_ALL_BOOKS)
    return [DatedBook(PriceBook.from_rates(row.id, row.rates), row.valid_from_us) for row in rows]


# --- facts --------------------------------------------------------------------------------------------------------


def insert_usage_records(connection: Connection, _scope: SystemScope, records: Sequence[UsageRow]) -> None:
    """Store what jobs used.

    Raises:
        AlreadySettled: one of the jobs has a record; the transaction is lost.
    """
    if not records:
        return
    try:
        connection.execute(_INSERT_USAGE, [_usage_parameters(record) for record in records])
    except IntegrityError as error:
        if is_duplicate(error):
            raise AlreadySettled("a job of this settlement has been metered before") from error
        raise


def insert_postings(
    connection: Connection, _scope: SystemScope, transactions: Sequence[Transaction], *, posted_at_us: int
) -> None:
    """Post transactions. That each sums to zero is a property of :class:`Transaction`.

    Raises:
        AlreadySettled: one of them has been posted before; the transaction is lost.
    """
    rows = [
        {
            "transaction_id": transaction.id,
            "account": posting.account,
            "tenant_id": transaction.tenant_id,
            "amount_micro": posting.amount_micro,
            "posted_at_us": posted_at_us,
        }
        for transaction in transactions
        for posting in transaction.postings
    ]
    if not rows:
        return
    try:
        connection.execute(_INSERT_POSTING, rows)
    except IntegrityError as error:
        if is_duplicate(error):
            raise AlreadySettled("a transaction of this settlement has been posted before") from error
        raise


# --- a tenant about itself ----------------------------------------------------------------------------------------


def usage_of_job(connection: Connection, scope: TenantScope, job_id: str) -> UsageRow | None:
    """What the tenant's job used; ``None`` before it is settled, and for a foreign job."""
    row = connection.execute(_USAGE_OF_JOB, {"job": job_id, "tenant": scope.tenant_id}).one_or_none()
    return None if row is None else UsageRow(*row)


def usage_totals(connection: Connection, scope: TenantScope, *, since_us: int) -> UsageTotals:
    """What the tenant's jobs used that were settled at or after this wall time."""
    row = connection.execute(_TOTALS, {"tenant": scope.tenant_id, "since": since_us}).one()
    return UsageTotals(*(int(value) for value in row))


def balance(connection: Connection, scope: TenantScope) -> int:
    """The tenant's account, micro-credits: top-ups minus charges."""
    values = {"tenant": scope.tenant_id, "account": tenant_account(scope.tenant_id)}
    return int(connection.execute(_BALANCE, values).scalar_one())


# --- the operator -------------------------------------------------------------------------------------------------


def trial_balance(connection: Connection, _scope: SystemScope) -> int:
    """The sum of all postings, micro-credits: zero."""
    return int(connection.execute(_TRIAL_BALANCE).scalar_one())


_usage_parameters: Final = parameters_of(UsageRow)
_INSERT_BOOK: Final = insert_ignoring(price_books)
_BOOK: Final = select(price_books).where(price_books.c.id == bindparam("id"))
_ALL_BOOKS: Final = select(price_books).order_by(price_books.c.valid_from_us, price_books.c.id)
_CURRENT_BOOK: Final = (
    select(price_books)
    .where(price_books.c.valid_from_us <= bindparam("now_us"))
    .order_by(price_books.c.valid_from_us.desc(), price_books.c.id.desc())
    .limit(1)
)
_INSERT_USAGE: Final = insert(usage_records)
_INSERT_POSTING: Final = insert(postings)
_USAGE_OF_JOB: Final = select(*columns_of(UsageRow, usage_records)).where(
    usage_records.c.job_id == bindparam("job"), usage_records.c.tenant_id == bindparam("tenant")
)
_TOTALS: Final = select(
    func.count(),
    func.coalesce(func.sum(usage_records.c.shots), 0),
    func.coalesce(func.sum(usage_records.c.device_us), 0),
    func.coalesce(func.sum(usage_records.c.price_micro), 0),
).where(usage_records.c.tenant_id == bindparam("tenant"), usage_records.c.recorded_at_us >= bindparam("since"))
_BALANCE: Final = select(func.coalesce(func.sum(postings.c.amount_micro), 0)).where(
    postings.c.tenant_id == bindparam("tenant"), postings.c.account == bindparam("account")
)
_TRIAL_BALANCE: Final = select(func.coalesce(func.sum(postings.c.amount_micro), 0))
