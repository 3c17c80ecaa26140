"""What every operator's command begins with: where the service is, and its database for the length of the command."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.console import Console

from qpu_backend.bootstrap import (
    SYSTEM,
    open_auditor,
    open_bookings,
    open_calibration,
    open_database,
    open_plans,
    open_sealer,
    read_pepper,
)
from qpu_backend.domain.errors import DomainError
from qpu_backend.pipeline.administration import Administration
from qpu_backend.pipeline.bookings import BookingRefused
from qpu_backend.pipeline.clocks import SystemClock
from qpu_backend.pipeline.invoicing import Invoicing
from qpu_backend.pipeline.keys import Keys
from qpu_backend.pipeline.principals import Principals
from qpu_backend.pipeline.reconciling import Reconciling
from qpu_backend.stores.errors import StoreError
from qpu_backend.telemetry.logs import configure_logs

if TYPE_CHECKING:
    from collections.abc import Generator

    from qpu_backend.config import ServiceConfig
    from qpu_backend.pipeline.auditing import Auditor
    from qpu_backend.pipeline.bookings import Bookings
    from qpu_backend.pipeline.calibration import Calibration
    from qpu_backend.pipeline.plans import Plans
    from qpu_backend.stores.database import Database

ConfigFile = Annotated[Path | None, typer.Option("--config", help="TOML file; QPU_* variables override it.")]
DataFolder = Annotated[Path | None, typer.Option("--data", help="Folder of the service (database, pepper).")]
DatabaseUrl = Annotated[str | None, typer.Option("--database", help="SQLAlchemy URL; SQLite in the folder by default.")]

console: Final = Console()


@contextmanager
def opened(config: ServiceConfig, *, seals: bool = True) -> Generator[Database]:
    """A database for the length of one command; storage's refusals become one red line.

    Args:
        config: where the service is.
        seals: whether what the command leaves in the audit log is sealed when it ends, service or no service.
    """
    database = open_database(config)
    try:
        yield database
        if seals:
            with suppress(StoreError, OSError):  # done is done: a service seals it, or the next command
                open_sealer(config, database).seal()
    except (StoreError, DomainError) as error:
        console.print(f"[red]{error}[/]")
        raise typer.Exit(1) from error
    finally:
        database.close()


@contextmanager
def administration(config: ServiceConfig) -> Generator[Administration]:
    """Tenants, keys and devices of a service."""
    with opened(config) as database:
        yield Administration(database, SYSTEM, read_pepper(config), SystemClock())


@contextmanager
def calibration(config: ServiceConfig, device: str) -> Generator[Calibration]:
    """Calibrations of one device of a service."""
    with opened(config) as database:
        yield open_calibration(config, database, device)


@contextmanager
def principals(config: ServiceConfig) -> Generator[Principals]:
    """Principals of a service."""
    with opened(config) as database:
        yield Principals(database, SYSTEM, SystemClock())


@contextmanager
def keys(config: ServiceConfig) -> Generator[Keys]:
    """Keys of a service."""
    with opened(config) as database:
        yield Keys(database, SYSTEM, read_pepper(config), SystemClock())


@contextmanager
def invoicing(config: ServiceConfig) -> Generator[Invoicing]:
    """Invoices of a service. What comes of them, the command itself tells."""
    configure_logs("critical")
    with opened(config) as database:
        yield Invoicing(database, SYSTEM, SystemClock())


@contextmanager
def reconciling(config: ServiceConfig) -> Generator[Reconciling]:
    """The books of a service. What comes of them, the command itself tells."""
    configure_logs("critical")
    with opened(config) as database:
        yield Reconciling(database, SYSTEM, SystemClock())


@contextmanager
def auditor(config: ServiceConfig) -> Generator[Auditor]:
    """The audit log of a service, which stays as it is."""
    with opened(config, seals=False) as database:
        yield open_auditor(config, database)


@contextmanager
def plans(config: ServiceConfig) -> Generator[Plans]:
    """Plans of a service."""
    with opened(config) as database:
        yield open_plans(config, database)


@contextmanager
def bookings(config: ServiceConfig, device: str | None = None) -> Generator[Bookings]:
    """Bookings of one device of a service, or of all."""
    with opened(config) as database:
        try:
            yield open_bookings(config, database, device)
        except BookingRefused as error:
            console.print(f"[red]refused ({error.field}): {error}[/]")
            raise typer.Exit(1) from error


def device_time(us: int) -> str:
    """Device time for people."""
    days, rest = divmod(us // 1_000_000, 86_400)
    return f"{days} d {rest // 3600:02}:{rest // 60 % 60:02}:{rest % 60:02}"


def when(at_us: int | None) -> str:
    """Wall time for people, UTC; nothing where there is none."""
    return "" if at_us is None else datetime.fromtimestamp(at_us / 1e6, UTC).strftime("%Y-%m-%d %H:%M")
