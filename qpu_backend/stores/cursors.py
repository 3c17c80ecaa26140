"""Pages of lists: where one ends, and the cursor from which the next goes on.

Rows are in order of time and id. The cursors of jobs and of the audit log hold both, in a form that nobody needs to
read; those of the shorter lists are the id of the last row.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Final, TypeVar

from sqlalchemy import BigInteger, String, bindparam, tuple_

from qpu_backend.stores.errors import InvalidCursor

if TYPE_CHECKING:
    from collections.abc import Callable

_Row = TypeVar("_Row")

CURSOR: Final = tuple_(bindparam("cursor_us", type_=BigInteger()), bindparam("cursor_id", type_=String()))
"""The place that a cursor names, for a statement to compare with."""


def page_of(rows: list[_Row], limit: int, cursor_of: Callable[[_Row], str]) -> tuple[list[_Row], str | None]:
    """The page, and the cursor of the next one, ``None`` on the last.

    Args:
        rows: one more than a page has, where there is one.
        limit: so many a page has.
        cursor_of: the cursor behind a row.
    """
    page = rows[:limit]
    return page, cursor_of(page[-1]) if len(rows) > limit else None


def write_cursor(at_us: int, row_id: str) -> str:
    """A place as a client carries it."""
    return base64.urlsafe_b64encode(f"{at_us}/{row_id}".encode()).decode().rstrip("=")


def read_cursor(cursor: str, prefix: str) -> tuple[int, str]:
    """The time and the id that a cursor names.

    Args:
        cursor: of :func:`write_cursor`.
        prefix: with which the ids of this list begin.

    Raises:
        InvalidCursor: it is none that was given out for such a list.
    """
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode()
        time, _, row_id = text.partition("/")
        at_us = int(time)
    except ValueError as error:
        raise InvalidCursor from error
    given_out = row_id.startswith(prefix) and row_id.isprintable() and 0 <= at_us < 2**63
    if not given_out or write_cursor(at_us, row_id) != cursor:
        raise InvalidCursor
    return at_us, row_id
