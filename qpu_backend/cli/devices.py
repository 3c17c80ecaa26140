"""``qpu device …``."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.box import SIMPLE_HEAD
from rich.table import Column, Table

from qpu_backend.cli.opening import (
    ConfigFile,
    DatabaseUrl,
    DataFolder,
    administration,
    calibration,
    console,
    device_time,
    when,
)
from qpu_backend.config import load_config
from qpu_backend.domain.audit import CLI
from qpu_backend.physics.circuit import Op

if TYPE_CHECKING:
    from qpu_backend.physics.snapshot import Snapshot

_LONGEST_IDLE_HOURS: Final = 100_000

device_app = typer.Typer(help="Devices: what is shared.", no_args_is_help=True)


def _idle_hours(hours: float) -> float:
    if not 0 < hours <= _LONGEST_IDLE_HOURS:
        raise typer.BadParameter(
            f"it must be more than 0 and at most {_LONGEST_IDLE_HOURS}; device time never goes back"
        )
    return hours


@device_app.command("list")
def list_devices(config: ConfigFile = None, data: DataFolder = None, database: DatabaseUrl = None) -> None:
    """Every device, its clock and its state."""
    table = Table("device", "state", "device time s", Column("calibration", no_wrap=True), box=SIMPLE_HEAD)
    with administration(load_config(config, data=data, database=database)) as office:
        for device in office.devices():
            seconds = f"{device.device_time_us / 1e6:.1f}"
            table.add_row(device.id, device.status_msg, seconds, device.snapshot_id or "none")
    console.print(table)


@device_app.command("pause")
def pause_device(
    device: str,
    why: Annotated[str, typer.Option(help="What tenants are told.")] = "paused by the operator",
    config: ConfigFile = None,
    data: DataFolder = None,
    database: DatabaseUrl = None,
) -> None:
    """Start no further batch on a device; what runs ends, submissions go on."""
    with administration(load_config(config, data=data, database=database)) as office:
        office.set_operational(device, operational=False, status_msg=why, actor=CLI)
    console.print(f"{device} is paused")


@device_app.command("resume")
def resume_device(
    device: str, config: ConfigFile = None, data: DataFolder = None, database: DatabaseUrl = None
) -> None:
    """Serve a device's queue again."""
    with administration(load_config(config, data=data, database=database)) as office:
        office.set_operational(device, operational=True, status_msg="active", actor=CLI)
    console.print(f"{device} is served again")


@device_app.command("calibrate")
def calibrate_device(
    device: str, config: ConfigFile = None, data: DataFolder = None, database: DatabaseUrl = None
) -> None:
    """Measure a device and publish the snapshot. Takes minutes of device time; a running service goes on meanwhile."""
    with calibration(load_config(config, data=data, database=database), device) as bench:
        attempt = bench.calibrate(device, actor=CLI)
    then = device_time(attempt.row.device_time_us)
    if attempt.after is None:
        console.print(f"[red]calibration of {device} failed at device time {then}: {attempt.row.failure}[/]")
        raise typer.Exit(1)
    table = Table("median", "before", "now", box=SIMPLE_HEAD)
    for (name, before), (_, now) in zip(_medians(attempt.before), _medians(attempt.after), strict=True):
        table.add_row(name, before, now)
    console.print(table)
    taken = f"it took {attempt.row.device_us / 6e7:.1f} min"
    console.print(
        f"{device}: calibration {attempt.after.number} ({attempt.row.snapshot_id}), device time {then}; {taken}"
    )


@device_app.command("history")
def device_history(
    device: str,
    limit: Annotated[int, typer.Option(min=1)] = 20,
    config: ConfigFile = None,
    data: DataFolder = None,
    database: DatabaseUrl = None,
) -> None:
    """Calibrations of a device, failed ones too, newest first."""
    table = Table("number", "device time", "ended (UTC)", "calibration", box=None, pad_edge=False)
    with calibration(load_config(config, data=data, database=database), device) as bench:
        for row, number in bench.history(device, limit=limit):
            of_failure = f"failed: {row.failure}"
            then = device_time(row.device_time_us)
            table.add_row(str(number or ""), then, when(row.ended_at_us), row.snapshot_id or of_failure)
    console.print(table)


@device_app.command("pass")
def passdevice_time(
    device: str,
    hours: Annotated[float, typer.Option(callback=_idle_hours, help="Of device time; the device idles.")],
    config: ConfigFile = None,
    data: DataFolder = None,
    database: DatabaseUrl = None,
) -> None:
    """Let a device idle: its clock moves on, it drifts, and its calibration ages. There is no way back."""
    with calibration(load_config(config, data=data, database=database), device) as bench:
        now_us = bench.pass_time(device, round(3.6e9 * hours), actor=CLI)
    console.print(f"{device} is at device time {device_time(now_us)}")


def _medians(snapshot: Snapshot) -> list[tuple[str, str]]:
    qubits = [snapshot.qubit(q) for q in snapshot.usable_qubits]
    two_qubit = [gate.error for (_, operands), gate in snapshot.gates.items() if len(operands) == 2]
    return [
        ("T1", f"{median(qubit.t1_us for qubit in qubits):.1f} µs"),
        ("T2", f"{median(qubit.t2_us for qubit in qubits):.1f} µs"),
        ("readout error", f"{median(qubit.readout_error for qubit in qubits):.2e}"),
        ("sx error", f"{median(snapshot.gate(Op.SX, (q,)).error for q in snapshot.usable_qubits):.2e}"),
        ("two-qubit error", f"{median(two_qubit):.2e}" if two_qubit else "none"),
        ("usable qubits, gates", f"{len(qubits)}, {len(two_qubit)}"),
    ]
