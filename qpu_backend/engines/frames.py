"""Length-prefixed messages over a stream socket: how the pool and its children talk."""

from __future__ import annotations

import struct
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import socket

_LENGTH: Final = struct.Struct("!Q")
_CHUNK: Final = 1 << 20


class FrameTooLarge(ValueError):
    """The other side announces more than it may send."""


def send_frame(connection: socket.socket, payload: bytes, *, deadline_s: float | None = None) -> None:
    """Send one message.

    Raises:
        TimeoutError: it was not all taken by ``deadline_s`` on the monotonic clock.
        OSError: the other side has gone.
    """
    _wait_no_longer_than(connection, deadline_s)
    connection.sendall(_LENGTH.pack(len(payload)) + payload)


def receive_frame(connection: socket.socket, max_bytes: int, *, deadline_s: float | None = None) -> bytes:
    """Receive one message.

    Raises:
        EOFError: the other side has gone.
        FrameTooLarge: it announces more than ``max_bytes``.
        TimeoutError: it was not complete by ``deadline_s`` on the monotonic clock.
    """
    (length,) = _LENGTH.unpack(receive_exactly(connection, _LENGTH.size, deadline_s=deadline_s))
    if length > max_bytes:
        raise FrameTooLarge(f"a frame of {length} bytes, at most {max_bytes} are allowed")
    return receive_exactly(connection, length, deadline_s=deadline_s)


def receive_exactly(connection: socket.socket, length: int, *, deadline_s: float | None = None) -> bytes:
    """Exactly so many bytes; raises like :func:`receive_frame`."""
    received = bytearray()
    while len(received) < length:
        _wait_no_longer_than(connection, deadline_s)
        piece = connection.recv(min(length - len(received), _CHUNK))
        if not piece:
            raise EOFError("the other side has closed the connection")
        received += piece
    return bytes(received)


def _wait_no_longer_than(connection: socket.socket, deadline_s: float | None) -> None:
    if deadline_s is None:
        return
    remaining_s = deadline_s - time.monotonic()
    if remaining_s <= 0:
        raise TimeoutError("the deadline has passed")
    connection.settimeout(remaining_s)
