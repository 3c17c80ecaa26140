"""What the shell offers at TAB: names of backends and ids of jobs, asked of the service; nothing if it takes long."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import typer  # noqa: TC002 - typer reads annotations at run time

from qpu_sdk.errors import QPUError
from qpu_sdk.patience import Patience

if TYPE_CHECKING:
    from collections.abc import Callable

    from qpu_sdk.provider import QPUProvider

_PATIENCE: Final = Patience(connect_s=1.0, read_s=1.5, write_s=1.0, attempts=1, retry_budget=0.0)
"""Somebody is at the keyboard."""
_MOST_JOBS: Final = 50


def complete_backend(context: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """Backends whose names begin like this, with what they are."""
    return _asked(
        context,
        lambda provider: [
            (one.name, f"{one.num_qubits} qubits, {one.pending_jobs} jobs waiting") for one in provider.summaries()
        ],
        incomplete,
    )


def complete_job(context: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """The newest jobs whose ids begin like this, with what became of them."""
    return _asked(
        context,
        lambda provider: [
            (one.job_id(), f"{one.last_known.state} on {one.last_known.backend}")
            for one in provider.jobs(limit=_MOST_JOBS)
        ],
        incomplete,
    )


def _asked(
    context: typer.Context, ask: Callable[[QPUProvider], list[tuple[str, str]]], incomplete: str
) -> list[tuple[str, str]]:
    from qpu_sdk.provider import QPUProvider  # noqa: PLC0415 - loads Qiskit, which most completions can do without

    try:
        with QPUProvider(profile=context.params.get("profile") or "default", patience=_PATIENCE) as provider:
            return [(name, what) for name, what in ask(provider) if name.startswith(incomplete)]
    except (QPUError, OSError):  # a prompt is no place for errors
        return []
