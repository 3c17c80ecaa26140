"""Searching the tenant's jobs: filters in a researcher's words, and pages fetched as they are needed."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Final, TypeVar

from qpu_sdk.errors import InvalidRequestError
from qpu_sdk.wire.models import JobDocument, JobPage, JobState, ProgramKind

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from qpu_sdk.connection import Connection

ChoiceT = TypeVar("ChoiceT", bound=StrEnum)

_PAGE: Final = 100


def filters_of(
    *,
    state: str | Sequence[str] | None = None,
    backend: object = None,
    tag: str | Sequence[str] | None = None,
    session: object = None,
    program: str | None = None,
    created_after: datetime | None = None,
    created_before: datetime | None = None,
) -> Mapping[str, object]:
    """Filters as the service reads them.

    Raises:
        InvalidRequestError: there is no such state or program, or a time is none.
    """
    return {
        "state": [one_of(JobState, each, "state") for each in _several(state)],
        "backend": getattr(backend, "name", backend),
        "tag": _several(tag),
        "session": getattr(session, "session_id", session),
        "program": one_of(ProgramKind, program, "program"),
        "created_after": _moment(created_after, "created_after"),
        "created_before": _moment(created_before, "created_before"),
    }


def documents(
    connection: Connection, filters: Mapping[str, object], *, limit: int | None = None
) -> Iterator[JobDocument]:
    """The jobs that fit, newest first; a page is fetched when its first job is asked for.

    A job that is submitted meanwhile is not among them; none comes twice.
    """
    cursor: str | None = None
    left = limit
    while left is None or left > 0:
        size = _PAGE if left is None else min(_PAGE, left)
        page = connection.transport.get("/jobs", JobPage, {**filters, "cursor": cursor, "limit": size})
        yield from page.jobs
        left = None if left is None else left - len(page.jobs)
        cursor = page.next_cursor
        if cursor is None:
            return


def one_of(kind: type[ChoiceT], value: str | None, field: str) -> ChoiceT | None:
    """A word as the choice that it is.

    Raises:
        InvalidRequestError: it is none; the message names those that there are.
    """
    if value is None:
        return None
    try:
        return kind(value)
    except ValueError:
        allowed = ", ".join(kind)
        raise InvalidRequestError(f"there is no {field} {value!r}; it is one of {allowed}", field=field) from None


def _several(value: str | Sequence[str] | None) -> list[str]:
    if value is None:
        return []
    return [value] if isinstance(value, str) else list(value)


def _moment(value: object, field: str) -> str | None:
    """A time, of this machine's zone where it names none, in UTC."""
    if value is None:
        return None
    if not isinstance(value, datetime):
        raise InvalidRequestError(f"{field} is a datetime, not {value!r}", field=field)
    return value.astimezone().isoformat()
