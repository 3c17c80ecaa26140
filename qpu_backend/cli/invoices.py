"""``qpu invoice …``: issue the invoices of a month that is over, and look at one."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - typer reads annotations at run time
from typing import TYPE_CHECKING, Annotated

import typer

from qpu_backend.cli.opening import ConfigFile, DatabaseUrl, DataFolder, console, invoicing
from qpu_backend.config import load_config
from qpu_backend.domain.audit import CLI
from qpu_backend.domain.errors import InvalidRequest
from qpu_backend.domain.invoices import Month
from qpu_backend.http.invoice_page import invoice_page
from qpu_backend.http.invoice_tables import invoice_csv, records_csv
from qpu_backend.http.invoices import invoice_document, record
from qpu_sdk.wire.invoices import InvoiceFormat  # noqa: TC001 - typer reads annotations at run time

if TYPE_CHECKING:
    from collections.abc import Iterable

invoice_app = typer.Typer(help="Invoices: what a tenant owes for a month.", no_args_is_help=True)


def _month(text: str) -> Month:
    try:
        return Month.parse(text)
    except InvalidRequest as error:
        raise typer.BadParameter(str(error)) from error


MonthArgument = Annotated[Month, typer.Argument(parser=_month, metavar="MONTH", help="Of UTC, e.g. 2026-11.")]


@invoice_app.command("issue")
def issue_invoices(
    month: MonthArgument,
    tenant: Annotated[str | None, typer.Option(help="Only this tenant's.")] = None,
    config: ConfigFile = None,
    data: DataFolder = None,
    database: DatabaseUrl = None,
) -> None:
    """Close a month that is over: an invoice for every tenant of which anything was recorded. Again is the same."""
    with invoicing(load_config(config, data=data, database=database)) as office:
        done = office.issue(month, actor=CLI, tenant=tenant)
    console.print(
        f"{done.month}: {done.new} invoices issued, {done.before} were there before; "
        f"{done.total_micro / 1e6:.6f} credits in all"
    )


@invoice_app.command("show")
def show_invoice(
    tenant: str,
    month: MonthArgument,
    as_format: Annotated[InvoiceFormat, typer.Option("--format", help="csv: a row a line; html: a page.")] = "json",
    line: Annotated[int | None, typer.Option(min=1, help="The raw records of this line, as CSV.")] = None,
    output: Annotated[Path | None, typer.Option(help="A file instead of the terminal.")] = None,
    config: ConfigFile = None,
    data: DataFolder = None,
    database: DatabaseUrl = None,
) -> None:
    """A tenant's invoice, or a preview where there is none yet; or the raw records of one of its lines."""
    with invoicing(load_config(config, data=data, database=database)) as office:
        statement = office.of_tenant(tenant, month)
        if line is not None:
            rows = office.records_of_tenant(statement, line)
            summed = statement.invoice.lines[line - 1]
            _write(records_csv(record(summed, row) for row in rows), output)
            return
    document = invoice_document(statement)
    match as_format:
        case "csv":
            _write([invoice_csv(document)], output)
        case "html":
            _write([invoice_page(document)], output)
        case _:
            _write([document.model_dump_json(indent=2), "\n"], output)


def _write(pieces: Iterable[str], output: Path | None) -> None:
    if output is None:
        for piece in pieces:
            typer.echo(piece, nl=False)
        return
    try:
        with output.open("w", encoding="utf-8", newline="") as out:
            out.writelines(pieces)
    except OSError as error:
        console.print(f"[red]cannot write {output}: {error.strerror}[/]")
        raise typer.Exit(1) from error
    console.print(f"wrote {output}")
