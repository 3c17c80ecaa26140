"""Server-sent events: bytes as they arrive → events. Pure parsing; who reads the bytes is somebody else's business."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_MAX_BUFFER = 1_000_000
"""Bytes one event may have: a stream that never ends a line is not a stream of events."""


@dataclass(frozen=True, slots=True)
class ServerSentEvent:
    """One message of a stream; ``id`` is what a client resumes from."""

    name: str
    data: str
    id: str | None


def parse_events(chunks: Iterable[bytes]) -> Iterator[ServerSentEvent]:
    r"""Chunks of any size → events. Comments (heartbeats) and unknown fields are skipped.

    Lines end in LF or CRLF only: ``str.splitlines`` would also cut at U+2028 inside JSON text.

    Raises:
        ValueError: a line longer than any event of ours, or bytes that are not UTF-8.
    """
    name, data, event_id = "message", list[str](), None
    for line in _lines(chunks):
        if not line:
            if data:
                yield ServerSentEvent(name, "\n".join(data), event_id)
            name, data = "message", []
            continue
        key, _, value = line.partition(":")
        value = value.removeprefix(" ")
        match key:
            case "event":
                name = value
            case "data":
                data.append(value)
            case "id":
                event_id = value
            case _:  # a comment, "retry", or a field of a later version
                pass


def _lines(chunks: Iterable[bytes]) -> Iterator[str]:
    rest = b""
    for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            yield line.removesuffix(b"\r").decode()
        if len(rest) > _MAX_BUFFER:
            raise ValueError("a line of the event stream does not end")
