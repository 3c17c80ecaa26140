"""``qpu jobs`` and ``qpu job ID``: what was submitted, and what became of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

from qpu_sdk.cli.output import AsJson, Backend, JobId, Profile, out, write_json, write_table
from qpu_sdk.cli.root import app
from qpu_sdk.errors import InvalidRequestError
from qpu_sdk.provider import QPUProvider
from qpu_sdk.wire.models import ProgramKind

if TYPE_CHECKING:
    from qiskit.providers import JobStatus

    from qpu_sdk.job import QPUJob


@app.command()
def jobs(
    state: Annotated[str | None, typer.Option(help="queued, running, done, failed or cancelled.")] = None,
    backend: Backend = None,
    tag: Annotated[str | None, typer.Option(help="Only with this tag.")] = None,
    session: Annotated[str | None, typer.Option(help="Only of this session or batch.")] = None,
    limit: Annotated[int, typer.Option(min=1)] = 20,
    profile: Profile = "default",
    as_json: AsJson = False,
) -> None:
    """List your jobs, newest first."""
    with QPUProvider(profile=profile) as provider:
        found = provider.jobs(state=state, backend=backend, tag=tag, session=session, limit=limit)
        documents = [job.last_known for job in found]
    if as_json:
        write_json({"jobs": documents})
        return
    write_table(
        ("job", "backend", "state", "shots", "submitted", "tags"),
        [(d.id, d.backend, d.state, d.shots, f"{d.created_at:%m-%d %H:%M}", " ".join(d.tags)) for d in documents],
    )


@app.command()
def job(
    job_id: JobId,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until it is final.")] = False,
    cancel: Annotated[bool, typer.Option("--cancel", help="Cancel it.")] = False,
    counts: Annotated[bool, typer.Option("--counts", help="Print the counts of its circuits.")] = False,
    draw: Annotated[bool, typer.Option("--draw", help="Draw where it ran.")] = False,
    profile: Profile = "default",
    as_json: AsJson = False,
) -> None:
    """Show a job: state, why it waits, events, metering."""
    with QPUProvider(profile=profile) as provider:
        found = provider.job(job_id)
        cancelled = found.cancel() if cancel else None
        if cancelled is not None and not as_json:
            out.print("will be cancelled" if cancelled else "is final already: nothing to cancel")
        if wait or counts:
            _wait(found, quiet=as_json)
        document = found.document()
        record = found.metering() if document.state.final else None
        if as_json:
            told: dict[str, Any] = {"job": document, "events": found.events(), "metering": record}
            if cancelled is not None:
                told["cancelled"] = cancelled
            if counts:
                told["counts"] = counts_of(found)
            write_json(told)
            return
        write_table(("", ""), _facts(document.model_dump(mode="json")))
        events = [(e.name, f"{e.at:%H:%M:%S.%f}", e.message or "") for e in found.events()]
        write_table(("event", "at", "message"), events)
        if record is not None:
            write_table(("metering", ""), _facts(record.model_dump(mode="json")))
        if draw:
            out.print(found.draw("text"))
        if counts:
            print_counts(found)


def counts_of(job: QPUJob) -> list[dict[str, Any]]:
    """Counts by pub, register and binding.

    Raises:
        InvalidRequestError: it is an estimator's.
    """
    match job.program:
        case ProgramKind.CIRCUITS:
            result = job.result()
            return [{"pub": number, "counts": result.get_counts(number)} for number in range(len(result.results))]
        case ProgramKind.SAMPLER:
            return [
                {"pub": number, "register": register, "binding": list(index), "counts": bits.get_counts(index)}
                for number, pub in enumerate(job.result())
                for register, bits in pub.data.items()
                for index in np.ndindex(bits.shape)
            ]
        case ProgramKind.ESTIMATOR:
            raise InvalidRequestError("an estimator job has no counts, only expectation values and their errors")


def print_counts(job: QPUJob) -> None:
    """The same for people."""
    if job.program is ProgramKind.ESTIMATOR:
        out.print("an estimator job has no counts, only expectation values and their errors")
        return
    for one in counts_of(job):
        of_binding = f" binding {', '.join(map(str, one['binding']))}" if one.get("binding") else ""
        of_register = f" {one['register']}" if "register" in one else ""
        out.print(f"pub {one['pub']}{of_register}{of_binding}: {one['counts']}")


def _wait(job: QPUJob, *, quiet: bool) -> None:
    """With progress on a terminal, a line for each event elsewhere, and nothing for a program."""
    if quiet:
        job.wait_for_final_state()
    elif out.is_terminal:
        job.wait(progress=True)
    else:
        job.wait_for_final_state(callback=_tell)


def _tell(job_id: str, status: JobStatus, _job: object) -> None:
    out.print(f"{job_id} {status.value}", style="dim")


def _facts(document: dict[str, object]) -> list[tuple[str, object]]:
    return [(name, value) for name, value in document.items() if value is not None]
