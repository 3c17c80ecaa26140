"""The ``qpu`` command. An installed server mounts its own commands by the entry point group ``qpu_sdk.commands``."""

from __future__ import annotations

import sys
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

import qpu_sdk
from qpu_sdk.credentials import Credentials, save_profile
from qpu_sdk.demo import run_demo
from qpu_sdk.errors import QPUError
from qpu_sdk.provider import QPUProvider
from qpu_sdk.wire.models import ProgramKind

if TYPE_CHECKING:
    from collections.abc import Iterable

    from qiskit.providers import JobStatus

    from qpu_sdk.job import QPUJob

app = typer.Typer(
    name="qpu", help="Use a shared quantum processor.", no_args_is_help=True, pretty_exceptions_enable=False
)
usage_app = typer.Typer(help="What you used, and what your quotas leave.")
app.add_typer(usage_app, name="usage", invoke_without_command=True)
_out = Console()

Profile = Annotated[str, typer.Option(help="Profile of qpu login.")]


def main() -> None:
    """Entry point of ``qpu``: commands of the client, those of an installed server, and errors as one line."""
    mount_commands()
    try:
        app()
    except QPUError as error:
        line = f"[bold red]{error.code}[/]: {escape(error.message)}"
        Console(stderr=True).print(line, highlight=False, soft_wrap=True)
        sys.exit(1)


def mount_commands() -> None:
    """Add the commands that other installed packages announce."""
    for point in entry_points(group="qpu_sdk.commands"):
        try:
            mount: Any = point.load()
        except ModuleNotFoundError as error:  # announced, but its dependencies are an extra that is not installed
            _mount_missing(point.name, error)
        else:
            mount(app)


def _mount_missing(name: str, error: ModuleNotFoundError) -> None:
    reason = str(error)

    def explain() -> None:
        raise QPUError(f'commands of the {name} need more packages: pip install "qpu-sdk[server]" ({reason})')

    app.command(name, help='Not installed: pip install "qpu-sdk[server]".', hidden=True)(explain)


@app.command()
def login(
    url: Annotated[str, typer.Option(prompt="Address of the service", help="https://…, or unix:/path.")],
    token: Annotated[str, typer.Option(prompt="Token", hide_input=True, help="Better leave it out: it is asked for.")],
    profile: Profile = "default",
) -> None:
    """Store address and token, after trying them."""
    with QPUProvider.connect(url, token) as provider:
        count = len(provider.summaries())
    path = save_profile(Credentials(url, token), profile)
    _out.print(f"{count} backends to use; stored as profile {profile!r} in {path}")


@app.command()
def backends(profile: Profile = "default") -> None:
    """List the backends you may use."""
    with QPUProvider(profile=profile) as provider:
        rows = [
            (
                s.name,
                str(s.kind),
                s.num_qubits,
                s.status_msg,
                s.pending_jobs,
                s.calibration_id,
                _age(s.calibration_age_s),
            )
            for s in provider.summaries()
        ]
    _table(("name", "kind", "qubits", "status", "waiting", "calibration", "age"), rows)


@app.command()
def jobs(
    state: Annotated[str | None, typer.Option(help="queued, running, done, failed or cancelled.")] = None,
    backend: Annotated[str | None, typer.Option()] = None,
    tag: Annotated[str | None, typer.Option()] = None,
    limit: Annotated[int, typer.Option(min=1)] = 20,
    profile: Profile = "default",
) -> None:
    """List your jobs, newest first."""
    with QPUProvider(profile=profile) as provider:
        found = provider.jobs(state=state, backend=backend, tag=tag, limit=limit)
        documents = [job.last_known for job in found]
    rows = [
        (
            d.id,
            d.backend,
            str(d.state),
            d.shots,
            f"{d.created_at:%m-%d %H:%M}",
            " ".join(d.tags),
        )
        for d in documents
    ]
    _table(("job", "backend", "state", "shots", "submitted", "tags"), rows)


@app.command()
def job(
    job_id: str,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until it is final.")] = False,
    cancel: Annotated[bool, typer.Option("--cancel", help="Cancel it.")] = False,
    counts: Annotated[bool, typer.Option("--counts", help="Print the counts of its circuits.")] = False,
    profile: Profile = "default",
) -> None:
    """Show a job: state, why it waits, events, metering."""
    with QPUProvider(profile=profile) as provider:
        found = provider.job(job_id)
        if cancel:
            _out.print("will be cancelled" if found.cancel() else "is final already: nothing to cancel")
        if wait or counts:
            found.wait_for_final_state(callback=_tell)
        document = found.document()
        _table(
            ("", ""), [(name, value) for name, value in document.model_dump(mode="json").items() if value is not None]
        )
        _table(("event", "at", "message"), [(e.name, f"{e.at:%H:%M:%S.%f}", e.message or "") for e in found.events()])
        if document.state.final:
            record = found.metering().model_dump(mode="json")
            _table(("metering", ""), [(name, value) for name, value in record.items() if value is not None])
        if counts:
            _print_counts(found)


@usage_app.callback(invoke_without_command=True)
def usage(context: typer.Context, profile: Profile = "default") -> None:
    """Show what you used, and what your quotas leave."""
    if context.invoked_subcommand is not None:
        return
    with QPUProvider(profile=profile) as provider:
        report = provider.usage()
    _out.print(
        f"{report.tenant}, since {report.since:%Y-%m-%d}: {report.jobs} jobs, {report.shots} shots, "
        f"{report.device_us / 1e6:.3f} s on devices, {report.price_micro / 1e6:.6f} credits; "
        f"balance {report.balance_micro / 1e6:.6f}"
    )
    rows = [
        (q.resource + (" (your own)" if q.principal else ""), q.window, q.limit, q.reserved, q.spent, q.free)
        for q in report.quotas
    ]
    _table(("quota", "per", "limit", "reserved", "spent", "free"), rows)


@app.command()
def demo(
    circuits: Annotated[
        Path | None, typer.Option(help="Folder with OpenQASM 2 files; by default examples/circuits, if it is there.")
    ] = None,
    picture: Annotated[Path, typer.Option(help="Where the picture of the chip goes.")] = Path("out/chip.png"),
) -> None:
    """Two tenants share one chip, in this terminal."""
    here = Path("examples/circuits")
    picture.parent.mkdir(parents=True, exist_ok=True)
    run_demo(circuits or (here if here.is_dir() else None), picture, _out)


@app.command()
def version(profile: Profile = "default") -> None:
    """Show the versions of this package and, if one is configured, of the service."""
    _out.print(f"qpu-sdk {qpu_sdk.__version__}")
    try:
        with QPUProvider(profile=profile) as provider:
            _out.print(f"service {provider.version().version}")
    except QPUError as error:
        _out.print(f"service: {error.message}", style="dim")


def _age(seconds: float | None) -> str:
    """Of device time, short."""
    if seconds is None:
        return ""
    hours = seconds / 3600
    return f"{hours:.1f} h" if hours < 48 else f"{hours / 24:.1f} d"


def _print_counts(job: QPUJob) -> None:
    match job.program:
        case ProgramKind.CIRCUITS:
            _out.print(job.result().get_counts())
        case ProgramKind.SAMPLER:
            for number, pub in enumerate(job.result()):
                for register, bits in pub.data.items():
                    for index in np.ndindex(bits.shape):
                        of_binding = f" binding {', '.join(map(str, index))}" if index else ""
                        _out.print(f"pub {number} {register}{of_binding}: {bits.get_counts(index)}")
        case ProgramKind.ESTIMATOR:
            _out.print("an estimator job has no counts, only expectation values and their errors")


def _tell(job_id: str, status: JobStatus, _job: object) -> None:
    _out.print(f"{job_id} {status.value}", style="dim")


def _table(columns: Iterable[str], rows: Iterable[Iterable[object]]) -> None:
    first, *others = columns
    # The first column names the row, so it is what one copies into the next command: never cut it.
    table = Table(Column(first, no_wrap=True), *others, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*(str(cell) for cell in row))
    _out.print(table)
