"""``qpu backends`` and ``qpu backend NAME``: what there is to run on."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from qpu_sdk.cli.output import AsJson, BackendName, Profile, out, write_json, write_table
from qpu_sdk.cli.root import app
from qpu_sdk.provider import QPUProvider


class Shown(StrEnum):
    """What the colour of a qubit says."""

    READOUT = "readout_error"
    T1 = "t1_us"
    T2 = "t2_us"


@app.command()
def backends(profile: Profile = "default", as_json: AsJson = False) -> None:
    """List the backends you may use."""
    with QPUProvider(profile=profile) as provider:
        found = provider.summaries()
    if as_json:
        write_json({"backends": found})
        return
    write_table(
        ("name", "kind", "qubits", "status", "waiting", "calibration", "age"),
        [
            (
                one.name,
                one.kind,
                one.num_qubits,
                one.status_msg,
                one.pending_jobs,
                one.calibration_id,
                _age(one.calibration_age_s),
            )
            for one in found
        ],
    )


@app.command()
def backend(
    name: BackendName,
    qubits: Annotated[Shown, typer.Option(help="What the colour of a qubit says.")] = Shown.READOUT,
    crosstalk: Annotated[bool, typer.Option("--crosstalk", help="Its crosstalk instead.")] = False,
    profile: Profile = "default",
    as_json: AsJson = False,
) -> None:
    """Show a backend: its state, its medians, and the map of its errors."""
    with QPUProvider(profile=profile) as provider:
        found = provider.backend(name)
        if crosstalk:
            if as_json:
                write_json(found.crosstalk())
            else:
                out.print(found.draw_crosstalk("text"))
            return
        status = found.status()
        document = found.document
    if as_json:
        write_json({"backend": document, "status": status})
        return
    write_table(
        ("backend", document.name),
        [
            ("kind", document.kind),
            ("state", f"{status.status_msg}, {status.pending_jobs} jobs waiting"),
            ("instructions", " ".join(document.basis_gates)),
            ("at most", f"{document.max_circuits} circuits, {document.max_shots} shots each"),
            ("calibration", f"{document.calibration_id}, {document.calibrated_at:%Y-%m-%d %H:%M} UTC"),
        ],
    )
    out.print(found.draw("text", qubits=qubits.value))


def _age(seconds: float | None) -> str:
    """Of device time, short."""
    if seconds is None:
        return ""
    hours = seconds / 3600
    return f"{hours:.1f} h" if hours < 48 else f"{hours / 24:.1f} d"
