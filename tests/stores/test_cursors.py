"""Cursors say where a page ended, and nothing else is one."""

from __future__ import annotations

import base64

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from qpu_backend.stores.cursors import page_of, read_cursor, write_cursor
from qpu_backend.stores.errors import InvalidCursor


def encoded(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


@given(st.integers(0, 2**63 - 1), st.text(st.characters(min_codepoint=33, max_codepoint=126)))
def test_a_cursor_names_what_it_was_written_for(at_us: int, rest: str) -> None:
    assert read_cursor(write_cursor(at_us, f"job_{rest}"), "job_") == (at_us, f"job_{rest}")


@given(st.one_of(st.text(), st.binary().map(lambda some: base64.urlsafe_b64encode(some).decode().rstrip("="))))
@example("MS9qb2JfMR")  # decodes to 1/job_1 as MS9qb2JfMQ does
@example("9" * 5000)
def test_what_was_not_given_out_is_refused_and_what_was_is_the_only_spelling(cursor: str) -> None:
    try:
        place = read_cursor(cursor, "job_")
    except InvalidCursor:
        return
    assert write_cursor(*place) == cursor


@pytest.mark.parametrize(
    "text",
    [
        "1:job_1",
        "1/aud_1",
        "1/",
        "/job_1",
        "a/job_1",
        "-1/job_1",
        "01/job_1",
        "+1/job_1",
        " 1/job_1",
        "1_0/job_1",
        "\u0661/job_1",
        "1/job_\0",
        f"{2**63}/job_1",
        "9" * 5000 + "/job_1",
    ],
)
def test_a_place_where_no_page_of_this_list_ended_is_refused(text: str) -> None:
    assert read_cursor(encoded("1/job_1"), "job_") == (1, "job_1")
    with pytest.raises(InvalidCursor):
        read_cursor(encoded(text), "job_")


@given(st.lists(st.integers(), unique=True, max_size=20), st.integers(1, 5))
def test_pages_hold_everything_once_and_in_order(rows: list[int], limit: int) -> None:
    seen: list[int] = []
    following: str | None = ""
    while following is not None:
        begin = rows.index(int(following)) + 1 if following else 0
        page, following = page_of(rows[begin : begin + limit + 1], limit, str)
        assert len(page) == limit or following is None
        assert page or not rows
        seen += page
    assert seen == rows
