"""``qpu device book …``: windows of a device's own time for one tenant, or for maintenance."""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.markup import escape

from qpu_backend.cli.devices import device_app
from qpu_backend.cli.opening import ConfigFile, DatabaseUrl, DataFolder, bookings, console, device_time
from qpu_backend.config import load_config
from qpu_backend.domain.audit import CLI

if TYPE_CHECKING:
    from qpu_backend.stores.bookings import BookingRow

__all__ = ["device_app"]

_LONGEST_NOTE: Final = 200


def _a_number(seconds: float) -> float:
    if not isfinite(seconds):
        raise typer.BadParameter("it must be a number of seconds of device time")
    return seconds


def _short_line(note: str) -> str:
    if len(note) > _LONGEST_NOTE or not (note.isprintable() or not note):
        raise typer.BadParameter(f"it must be one line of at most {_LONGEST_NOTE} characters")
    return note


_In = Annotated[float, typer.Option("--in", callback=_a_number, help="Seconds of device time until it begins.")]
_For = Annotated[float, typer.Option("--for", callback=_a_number, help="Seconds of device time that it lasts.")]
_Note = Annotated[str, typer.Option(callback=_short_line, help="For you; tenants do not see it.")]


@device_app.command("book")
def book_device(
    device: str,
    tenant: Annotated[str, typer.Option(help="Whose jobs go first, and may run at any length.")],
    in_s: _In,
    for_s: _For,
    note: _Note = "",
    config: ConfigFile = None,
    data: DataFolder = None,
    database: DatabaseUrl = None,
) -> None:
    """Book a window of device time for a tenant; while it has nothing to run, short jobs of others do."""
    with bookings(load_config(config, data=data, database=database), device) as office:
        row = office.book(device, in_us=_us(in_s), for_us=_us(for_s), tenant_name=tenant, note=note, actor=CLI)
    console.print(f"{row.id}: {device} is booked for {tenant}, {_span(row)}")


@device_app.command("maintain")
def maintain_device(
    device: str,
    in_s: _In,
    for_s: _For,
    note: _Note = "",
    config: ConfigFile = None,
    data: DataFolder = None,
    database: DatabaseUrl = None,
) -> None:
    """Keep a window of device time free of everybody's jobs; what runs ends before, submissions go on."""
    with bookings(load_config(config, data=data, database=database), device) as office:
        row = office.book(device, in_us=_us(in_s), for_us=_us(for_s), note=note, actor=CLI)
    console.print(f"{row.id}: {device} is under maintenance, {_span(row)}")


@device_app.command("bookings")
def list_bookings(
    device: str, config: ConfigFile = None, data: DataFolder = None, database: DatabaseUrl = None
) -> None:
    """The bookings of a device that are not over, by their start."""
    with bookings(load_config(config, data=data, database=database), device) as office:
        now_us, rows = office.ahead(device)
    console.print(f"{device} is at device time {device_time(now_us)}")
    for row, tenant in rows:
        span = f"{device_time(row.starts_us)} to {device_time(row.ends_us)}"
        console.print(f"{row.id}  {span}  {tenant or 'maintenance'}", soft_wrap=True)
        if row.note:
            console.print(f"    {escape(row.note)}")


@device_app.command("unbook")
def unbook_device(
    booking: Annotated[str, typer.Argument(help="Id of the booking.")],
    config: ConfigFile = None,
    data: DataFolder = None,
    database: DatabaseUrl = None,
) -> None:
    """Give a window back, also one that has begun."""
    with bookings(load_config(config, data=data, database=database)) as office:
        row = office.cancel(booking, actor=CLI)
    console.print(f"{booking} is cancelled; {row.device_id} is free {_span(row)}")


def _us(seconds: float) -> int:
    return round(1e6 * seconds)


def _span(row: BookingRow) -> str:
    return f"from device time {device_time(row.starts_us)} to {device_time(row.ends_us)}"
