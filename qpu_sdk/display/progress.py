"""Progress of a job that is waited for: its place in the queue and when it may start; in a terminal or a notebook.

It says nothing where nobody looks: not in a notebook, and output is no terminal.
"""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, Protocol

from qpu_sdk.display.cards import card, duration
from qpu_sdk.errors import QPUJobTimeoutError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from qpu_sdk.wire.models import JobDocument

REFRESH_S: Final = 5.0
"""How often a place in the queue is asked for; what happens to the job is told at once."""


class Waited(Protocol):
    """A job, as far as progress needs to know it."""

    @property
    def last_known(self) -> JobDocument:
        """The job as the service told it last."""
        ...

    def document(self) -> JobDocument:
        """The job as the service tells it now."""
        ...

    def wait_for_final_state(
        self, timeout: float | None = None, wait: float = 0.0, callback: Callable[..., object] | None = None
    ) -> None:
        """Block until it is final."""
        ...


def watch(job: Waited, timeout: float | None = None, *, refresh_s: float = REFRESH_S) -> None:
    """Wait for a job and show how it is doing.

    Args:
        job: which.
        timeout: in s; ``None`` waits for ever.
        refresh_s: how often its place in the queue is asked for.

    Raises:
        QPUJobTimeoutError: the time is over; the job goes on.
    """
    begun_at = time.monotonic()
    deadline = None if timeout is None else begun_at + timeout
    with _shown() as show:
        if show is None:
            job.wait_for_final_state(timeout)
            return
        while not (document := job.document()).state.final:
            show(document, time.monotonic() - begun_at)
            left_s = refresh_s if deadline is None else min(refresh_s, deadline - time.monotonic())
            try:
                job.wait_for_final_state(
                    max(0.0, left_s), callback=lambda *_: show(job.last_known, time.monotonic() - begun_at)
                )
            except QPUJobTimeoutError:
                if deadline is not None and time.monotonic() >= deadline:
                    raise
        show(document, time.monotonic() - begun_at)


def sentence(document: JobDocument) -> str:
    """How a job is doing, in one line."""
    if document.state.final:
        return f"{document.state}: {document.error_message}" if document.error_message else str(document.state)
    waiting = document.waiting
    if waiting is None:
        of_legs = f", part {document.legs_done + 1} of {document.legs}" if document.legs > 1 else ""
        return f"{document.state}{of_legs}"
    ahead = f"{waiting.jobs_ahead} before it" if waiting.jobs_ahead else "next"
    start = "" if waiting.start_in_s is None else f", starts in about {duration(waiting.start_in_s)}"
    return f"{document.state}, {ahead}{start}"


def part_done(document: JobDocument) -> float | None:
    """Share of its parts that are done; ``None`` for one that runs in one piece and is not final."""
    if document.state.final:
        return 1.0
    return document.legs_done / document.legs if document.legs > 1 else None


Show = Any
"""``show(document, elapsed_s)``, or ``None`` where nobody looks."""


@contextmanager
def _shown() -> Generator[Show]:
    if (display := _notebook()) is not None:
        yield _in_notebook(display)
    elif sys.stderr.isatty():
        with _in_terminal() as show:
            yield show
    else:
        yield None


def _notebook() -> Any:
    """What displays in the notebook we are in, if we are in one. IPython is not loaded for it."""
    ipython = sys.modules.get("IPython")
    shell: Any = None if ipython is None else ipython.get_ipython()
    if shell is None or not hasattr(shell, "kernel"):
        return None
    from IPython import display  # noqa: PLC0415 - it is there: the notebook runs in it

    return display


def _in_notebook(display: Any) -> Show:
    handle: Any = display.display(display.HTML(""), display_id=True)

    def show(document: JobDocument, elapsed_s: float) -> None:
        handle.update(display.HTML(progress_html(document, elapsed_s)))

    return show


def progress_html(document: JobDocument, elapsed_s: float) -> str:
    """A job that is waited for, as a card."""
    facts = {"": sentence(document), "waited": duration(elapsed_s)}
    if document.waiting is not None:
        facts["because"] = document.waiting.message
    return card(document.id, facts, state=str(document.state))


@contextmanager
def _in_terminal() -> Generator[Show]:
    from rich.console import Console  # noqa: PLC0415 - heavy, and only while somebody looks
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn  # noqa: PLC0415

    columns = (
        SpinnerColumn(),
        TextColumn("{task.fields[job]}"),
        BarColumn(bar_width=16),
        TextColumn("{task.description}"),
    )
    with Progress(*columns, TimeElapsedColumn(), console=Console(stderr=True)) as bar:
        task = bar.add_task("", total=None, job="")

        def show(document: JobDocument, elapsed_s: float) -> None:
            del elapsed_s  # the bar has a clock of its own
            part = part_done(document)
            total = None if part is None else 1.0
            bar.update(task, description=sentence(document), job=document.id, total=total, completed=part or 0.0)

        yield show
