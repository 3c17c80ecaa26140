"""Clients for the load benchmark: prepared submissions over a few kept connections, and how long each took.

HTTP is spoken by hand here: a client library would take more of the two processors than the service that is measured.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_ACCEPTED = 202


@dataclass(frozen=True, slots=True)
class Submission:
    """One ``POST /v1/jobs``, ready to be sent."""

    key: str
    idempotency_key: str
    body: bytes

    def request(self) -> bytes:
        """The whole request."""
        head = (
            "POST /v1/jobs HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
            f"Authorization: Bearer {self.key}\r\nIdempotency-Key: {self.idempotency_key}\r\n"
            f"Content-Length: {len(self.body)}\r\n\r\n"
        )
        return head.encode() + self.body


@dataclass(frozen=True, slots=True)
class Answered:
    """What came of many submissions.

    Attributes:
        seconds: from the first to the last answer.
        latencies_s: of each, from when it was due to be sent: a client that waits for its turn waits, too.
        refused: answers that were not 202, by status.
    """

    seconds: float
    latencies_s: list[float]
    refused: dict[int, int]

    def followed_by(self, other: Answered) -> Answered:
        """Both, one after the other."""
        statuses = self.refused.keys() | other.refused.keys()
        refused = {status: self.refused.get(status, 0) + other.refused.get(status, 0) for status in statuses}
        return Answered(self.seconds + other.seconds, self.latencies_s + other.latencies_s, refused)


def submit_all(
    submissions: Sequence[Submission], ports: Sequence[int], *, connections: int, per_second: float | None
) -> Answered:
    """Send submissions, spread over the ports.

    Args:
        submissions: made before, so that making them takes no processor time from who answers them.
        ports: of the API processes on loopback.
        connections: to all of them together.
        per_second: an even pace; ``None``: as fast as they are answered.
    """
    return asyncio.run(_submit_all(submissions, ports, connections, per_second))


async def _submit_all(
    submissions: Sequence[Submission], ports: Sequence[int], connections: int, per_second: float | None
) -> Answered:
    latencies: list[float] = []
    refused: dict[int, int] = {}
    left = enumerate(submissions)
    started = time.perf_counter()

    async def serve(port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for number, one in left:
            due = time.perf_counter()
            if per_second is not None:
                due = started + number / per_second
                await asyncio.sleep(due - time.perf_counter())
            writer.write(one.request())
            status = await _status(reader)
            latencies.append(time.perf_counter() - due)
            if status != _ACCEPTED:
                refused[status] = refused.get(status, 0) + 1
        writer.close()

    await asyncio.gather(*(serve(ports[index % len(ports)]) for index in range(connections)))
    return Answered(time.perf_counter() - started, latencies, refused)


async def _status(reader: asyncio.StreamReader) -> int:
    """Read one answer whole; its status."""
    head = await reader.readuntil(b"\r\n\r\n")
    line, *fields = head.split(b"\r\n")
    length = next(int(field.split(b":")[1]) for field in fields if field.lower().startswith(b"content-length:"))
    await reader.readexactly(length)
    return int(line.split()[1])
