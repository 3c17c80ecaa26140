"""Server-sent events are read the same however the bytes are cut."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qpu_sdk.wire.sse import ServerSentEvent, parse_events

STREAM = (
    ": hello\n\n"
    'event: hello\nid: 3\ndata: {"cursor": 3}\n\n'
    ": heartbeat\n\n"
    "id: 4\r\nevent: job\r\ndata: line\u2028one\r\ndata: two\r\n\r\n"
    "retry: 10\n\n"
    "data: no name\n\n"
    "data: unfinished"
).encode()
EVENTS = [
    ServerSentEvent("hello", '{"cursor": 3}', "3"),
    ServerSentEvent("job", "line\u2028one\ntwo", "4"),
    ServerSentEvent("message", "no name", "4"),
]


@given(st.lists(st.integers(0, len(STREAM)), max_size=12))
def test_events_do_not_depend_on_how_bytes_are_cut(cuts):
    ends = [0, *sorted(cuts), len(STREAM)]
    chunks = [STREAM[start:end] for start, end in itertools.pairwise(ends)]
    assert list(parse_events(chunks)) == EVENTS


def test_a_line_without_end_is_refused():
    with pytest.raises(ValueError, match="does not end"):
        list(parse_events(b"x" * 100_000 for _ in range(20)))
