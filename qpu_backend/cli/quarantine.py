"""``qpu device quarantine`` and ``qpu device release``: qubits and couplers out of service, and back."""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Final

import typer

from qpu_backend.bootstrap import open_quarantining
from qpu_backend.cli.bookings import device_app
from qpu_backend.cli.opening import ConfigFile, DatabaseUrl, DataFolder, console, opened
from qpu_backend.config import load_config
from qpu_backend.domain.audit import CLI
from qpu_backend.domain.quarantine import Quarantine
from qpu_backend.telemetry.logs import configure_logs

if TYPE_CHECKING:
    from collections.abc import Generator

    from qpu_backend.config import ServiceConfig
    from qpu_backend.pipeline.quarantining import Quarantining

__all__ = ["device_app"]

_COUPLER: Final = re.compile(r"([0-9]{1,6})-([0-9]{1,6})", re.ASCII)
_LONGEST_NOTE: Final = 256


def _a_line(note: str) -> str:
    if len(note) > _LONGEST_NOTE or not (note == "" or note.isprintable()):
        raise typer.BadParameter(f"it must be one line of at most {_LONGEST_NOTE} characters")
    return note


_Qubits = Annotated[list[int] | None, typer.Option("--qubit", min=0, help="With all of its couplers; may be repeated.")]
_Couplers = Annotated[list[str] | None, typer.Option("--coupler", help="Two qubits, e.g. 4-5; may be repeated.")]


@contextmanager
def _quarantining(config: ServiceConfig, device: str) -> Generator[Quarantining]:
    configure_logs("critical")  # what comes of it, the command itself tells
    with opened(config) as database:
        yield open_quarantining(config, database, device)


@device_app.command("quarantine")
def quarantine_parts(
    device: str,
    qubit: _Qubits = None,
    coupler: _Couplers = None,
    note: Annotated[str, typer.Option(callback=_a_line, help="For the audit log.")] = "",
    config: ConfigFile = None,
    data: DataFolder = None,
    database: DatabaseUrl = None,
) -> None:
    """Take qubits and couplers out of service; jobs that were for them wait. Names what is out where none is named."""
    what = _named(qubit, coupler)
    with _quarantining(load_config(config, data=data, database=database), device) as office:
        now = office.quarantine(device, what, note=note, actor=CLI) if what else office.now(device)
    console.print(_told(device, now))


@device_app.command("release")
def release_parts(
    device: str,
    qubit: _Qubits = None,
    coupler: _Couplers = None,
    config: ConfigFile = None,
    data: DataFolder = None,
    database: DatabaseUrl = None,
) -> None:
    """Take qubits and couplers back into service; everything, where none is named."""
    what = _named(qubit, coupler)
    with _quarantining(load_config(config, data=data, database=database), device) as office:
        now = office.release(device, what or None, actor=CLI)
    console.print(_told(device, now))


def _named(qubits: list[int] | None, couplers: list[str] | None) -> Quarantine:
    pairs: list[tuple[int, int]] = []
    for name in couplers or ():
        match = _COUPLER.fullmatch(name)
        if match is None:
            raise typer.BadParameter(f"{name!r} names no coupler; write its two qubits, e.g. 4-5")
        pairs.append((int(match[1]), int(match[2])))
    return Quarantine.of(qubits or (), pairs)


def _told(device: str, now: Quarantine) -> str:
    parts = [f"qubit {qubit}" for qubit in sorted(now.qubits)]
    parts += [f"coupler {a}-{b}" for a, b in sorted(now.couplers)]
    return f"{device}: out of service: {', '.join(parts) or 'nothing'}"
