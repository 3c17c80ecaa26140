"""Invoices: what a tenant owes for a month, as JSON, CSV or a page, and the raw records behind every line.

Operators issue them, for everybody or one tenant.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.responses import StreamingResponse

from qpu_backend.domain.audit import by_principal
from qpu_backend.domain.invoices import LineKind, Month
from qpu_backend.http.auth import KeepBooks, ReadInvoices  # noqa: TC001 - FastAPI reads annotations at run time
from qpu_backend.http.documents import wall, wall_or_none
from qpu_backend.http.door import AtDoor  # noqa: TC001
from qpu_backend.http.invoice_page import CONTENT_SECURITY_POLICY, invoice_page
from qpu_backend.http.invoice_tables import invoice_csv, records_csv
from qpu_sdk.wire.invoices import (
    InvoiceDocument,
    InvoiceFormat,
    InvoiceLineDocument,
    InvoicePage,
    InvoiceRecord,
    InvoiceRecordPage,
    InvoiceSummary,
    IssueReport,
)

if TYPE_CHECKING:
    from qpu_backend.domain.invoices import Line
    from qpu_backend.pipeline.invoicing import Statement
    from qpu_backend.stores.invoice_records import RecordRow

router = APIRouter(prefix="/invoices", tags=["invoices"])
administration = APIRouter(prefix="/admin/invoices", tags=["administration"])

CSV: Final = "text/csv; charset=utf-8"
HTML: Final = "text/html; charset=utf-8"
_VARIES: Final = {"Vary": "Accept"}
_MOST_LINES: Final = 1_000_000
_NOT_JSON: Final[dict[str, Any]] = {"content": {"text/csv": {}, "text/html": {}}}


@router.get("")
def list_invoices(
    door: AtDoor,
    scope: ReadInvoices,
    cursor: Annotated[str | None, Query(max_length=256)] = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
) -> InvoicePage:
    """The tenant's invoices that were issued, the newest month first."""
    _, rows, following = door.invoicing.own_page(scope, cursor=cursor, limit=limit)
    return InvoicePage(
        invoices=[
            InvoiceSummary(
                id=row.id,
                month=row.month,
                issued_at=wall(row.issued_at_us),
                charged_micro=row.charged_micro,
                allowance_micro=row.allowance_micro,
                total_micro=row.total_micro,
            )
            for row in rows
        ],
        next_cursor=following,
    )


@router.get("/{month}", response_model=InvoiceDocument, responses={200: _NOT_JSON})
def read_invoice(
    door: AtDoor,
    scope: ReadInvoices,
    request: Request,
    response: Response,
    month: str,
    as_format: Annotated[InvoiceFormat | None, Query(alias="format")] = None,
) -> InvoiceDocument | Response:
    """The invoice of a month, or a preview where there is none yet: JSON, CSV or a page (``Accept`` or ``format``)."""
    document = invoice_document(door.invoicing.own(scope, Month.parse(month)))
    match as_format or _accepted(request):
        case "csv":
            return Response(invoice_csv(document), media_type=CSV, headers=_as_file(f"invoice-{document.month}.csv"))
        case "html":
            headers = {
                "Content-Security-Policy": CONTENT_SECURITY_POLICY,
                "X-Content-Type-Options": "nosniff",
                **_VARIES,
            }
            return Response(invoice_page(document), media_type=HTML, headers=headers)
        case _:
            response.headers.update(_VARIES)
            return document


@router.get("/{month}/lines/{number}/records", response_model=InvoiceRecordPage, responses={200: _NOT_JSON})
def read_records(
    door: AtDoor,
    scope: ReadInvoices,
    request: Request,
    response: Response,
    month: str,
    number: Annotated[int, Path(ge=1, le=_MOST_LINES)],
    cursor: Annotated[str | None, Query(max_length=256)] = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    as_format: Annotated[Literal["json", "csv"] | None, Query(alias="format")] = None,
) -> InvoiceRecordPage | Response:
    """The raw records that a line is the sum of: a page of them, or all of them as CSV."""
    wanted = Month.parse(month)
    line, rows, following = door.invoicing.own_records(scope, wanted, number, cursor=cursor, limit=limit)
    if (as_format or _accepted(request)) == "csv":
        everything = (record(line, row) for row in door.invoicing.all_own_records(scope, wanted, number))
        headers = _as_file(f"invoice-{wanted}-line-{number}.csv")
        return StreamingResponse(records_csv(everything), media_type=CSV, headers=headers)
    response.headers.update(_VARIES)
    return InvoiceRecordPage(
        line=line_document(line), records=[record(line, row) for row in rows], next_cursor=following
    )


@administration.post("/{month}")
def issue(
    door: AtDoor, scope: KeepBooks, month: str, tenant: Annotated[str | None, Query(max_length=64)] = None
) -> IssueReport:
    """Issue a month that is over, for every tenant of which anything was recorded, or for one. Again is the same."""
    done = door.invoicing.issue(Month.parse(month), actor=by_principal(scope.principal_id), tenant=tenant)
    return IssueReport(month=str(done.month), issued=done.new, issued_before=done.before, total_micro=done.total_micro)


# --- documents, for the command line too --------------------------------------------------------------------------


def invoice_document(statement: Statement) -> InvoiceDocument:
    """An invoice as its tenant sees it."""
    issued, invoice, month = statement.issued, statement.invoice, statement.month
    return InvoiceDocument(
        id=None if issued is None else issued.id,
        state="preview" if issued is None else "issued",
        tenant=statement.tenant.name,
        month=str(month),
        starts_at=wall(month.interval.start_us),
        ends_at=wall(month.interval.end_us),
        issued_at=wall_or_none(None if issued is None else issued.issued_at_us),
        lines=[line_document(line) for line in invoice.lines],
        charged_micro=invoice.charged_micro,
        allowance_micro=invoice.allowance_micro,
        total_micro=invoice.total_micro,
    )


def line_document(line: Line) -> InvoiceLineDocument:
    """A line as its tenant sees it."""
    return InvoiceLineDocument(
        number=line.number,
        kind=line.group.kind.value,
        device=line.group.device_id,
        lane=line.group.lane,
        price_book=line.group.price_book,
        records=line.records,
        shots=line.shots,
        device_us=line.device_us,
        amount_micro=line.amount_micro,
    )


def record(line: Line, row: RecordRow) -> InvoiceRecord:
    """A raw record of a line as its tenant sees it."""
    kind = line.group.kind
    if kind is LineKind.ALLOWANCE:
        raise ValueError("the allowance has no records")
    return InvoiceRecord(
        id=row.id,
        kind=kind.value,
        recorded_at=wall(row.at_us),
        principal_id=row.principal_id,
        job_id=row.job_id,
        device=row.device_id,
        lane=row.lane,
        price_book=row.price_book,
        outcome=row.outcome,
        shots=row.shots,
        device_us=row.device_us,
        footprint_qubits=row.footprint_qubits,
        held_us_qubits=row.held_cost,
        amount_micro=row.amount_micro,
        tags=row.tags or [],
    )


def _accepted(request: Request) -> InvoiceFormat:
    """What ``Accept`` asks for by name, the first of them; JSON for everything else."""
    for part in request.headers.get("Accept", "").split(","):
        match part.partition(";")[0].strip().lower():
            case "application/json":
                return "json"
            case "text/csv":
                return "csv"
            case "text/html":
                return "html"
            case _:
                continue
    return "json"


def _as_file(name: str) -> dict[str, str]:
    return {"Content-Disposition": f'attachment; filename="{name}"', "X-Content-Type-Options": "nosniff", **_VARIES}
