"""The pool of limited children that read clients' circuits: the server itself never decodes a byte of them.

A child has no environment, no descriptor but its socket, a bounded address space and two seconds a request. One that
dies or oversteps is a refusal for the request it was serving, and is replaced. No Qiskit is imported on this side.
"""

from __future__ import annotations

import queue
import socket
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Self

from qpu_backend.engines.decoded import Decoded, DecodingLimits, DecodingRequest, encode_request, read_answer
from qpu_backend.engines.frames import FrameTooLarge, receive_frame, send_frame
from qpu_backend.engines.invalid_circuit import DecodingFailed, DecodingUnavailable, InvalidCircuit
from qpu_backend.engines.nursery import Child, Nursery
from qpu_backend.engines.untrusted import check_qpy_header, inflate, read_qasm3

if TYPE_CHECKING:
    from types import TracebackType

_PATIENCE_S: Final = 15.0
"""How long a request waits for a free child."""


class DecodingPool:
    """Warm children, handed out one request at a time. Safe to call from several threads."""

    def __init__(
        self, size: int = 2, limits: DecodingLimits | None = None, *, compiling: bool = False, started: bool = True
    ) -> None:
        """Start the zygote; it is warm about a second later, which the first request waits for.

        Args:
            size: children, so requests decoded at the same time.
            limits: the published limits on circuits.
            compiling: whether children are warm for requests with a ``compilation`` too, which takes some seconds.
            started: whether to start it now; otherwise the first request does.
        """
        if size < 1:
            raise ValueError("a decoding pool needs at least one child")
        self._limits = limits or DecodingLimits()
        self._nursery = Nursery(
            wall_s=self._limits.wall_s, memory_bytes=self._limits.memory_bytes, compiling=compiling, started=started
        )
        self._idle: queue.LifoQueue[Child | None] = queue.LifoQueue()
        self._size = size
        self._closed = False
        for _ in range(size):
            self._idle.put(None)

    @property
    def max_qpy_version(self) -> int:
        """The newest QPY that the children read; waits until the zygote is warm."""
        return self._nursery.max_qpy_version

    def warm_up(self) -> None:
        """Wait until every child is there, so that no request pays for it.

        Raises:
            DecodingUnavailable: no child could be started.
        """
        children = [self._acquire() for _ in range(self._size)]
        for child in children:
            self._idle.put(child)

    def decode(self, request: DecodingRequest, *, within_s: float | None = None) -> Decoded:
        """Bytes → circuits and angle tables.

        Args:
            request: what a client sent.
            within_s: how long it may wait for a child, and how long it may then take, where that is less than usual.

        Raises:
            InvalidCircuit: the circuits are refused; see :mod:`qpu_backend.engines.invalid_circuit`.
            DecodingUnavailable: no child could be started.
        """
        checked: bytes | list[str]
        if request.codec == "qasm3":
            checked = read_qasm3(request.data, self._limits)
        else:
            checked = inflate(request.data, self._limits)
            check_qpy_header(checked, self._limits, self.max_qpy_version)
        frame = encode_request(request, checked, self._limits)
        child = self._acquire(_PATIENCE_S if within_s is None else within_s)
        fit = False
        try:
            decoded = read_answer(self._exchange(child, frame, within_s), request, self._limits)
            fit = True
        except InvalidCircuit as refusal:
            fit = not isinstance(refusal, DecodingFailed)
            raise
        finally:
            self._release(child, fit=fit)
        return decoded

    def close(self) -> None:
        """End the children. Further requests raise :class:`DecodingUnavailable`."""
        self._closed = True
        with suppress(queue.Empty):
            while True:
                child = self._idle.get_nowait()
                if child is not None:
                    child.connection.close()
        for _ in range(self._size):
            self._idle.put(None)  # whoever waits wakes up and sees that the pool is closed
        self._nursery.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _exchange(self, child: Child, frame: bytes, within_s: float | None) -> bytes:
        wall_s = self._limits.wall_s if within_s is None else min(within_s, self._limits.wall_s)
        deadline_s = time.monotonic() + wall_s
        try:
            send_frame(child.connection, frame, deadline_s=deadline_s)
            return receive_frame(child.connection, self._limits.max_answer_bytes, deadline_s=deadline_s)
        except TimeoutError:
            raise DecodingFailed(f"the circuits take longer than {wall_s:g} s to decode") from None
        except (OSError, EOFError):
            raise DecodingFailed("the circuits made the decoder end: too much memory or time, or damaged") from None
        except FrameTooLarge:
            raise DecodingFailed("the circuits are larger than the limits once decoded") from None

    def _acquire(self, patience_s: float = _PATIENCE_S) -> Child:
        try:
            child = self._idle.get(timeout=patience_s)
        except queue.Empty:
            raise DecodingUnavailable("every decoder is busy; try again in some seconds") from None
        if child is not None and not self._closed and _is_alive(child):
            return child
        try:
            if child is not None:
                self._nursery.bury(child)
            if self._closed:
                raise DecodingUnavailable("the decoding pool is closed")  # noqa: TRY301 - the place goes back below
            return self._nursery.fork()
        except BaseException:
            self._idle.put(None)
            raise

    def _release(self, child: Child, *, fit: bool) -> None:
        child.served += 1
        successor: Child | None = None
        try:
            if self._closed:
                child.connection.close()
            elif fit and child.served < self._limits.requests_per_child:
                successor = child
            else:
                self._nursery.bury(child)
                with suppress(DecodingUnavailable):  # then whoever needs it tries again, and is told
                    successor = self._nursery.fork()
        finally:
            self._idle.put(successor)


def _is_alive(child: Child) -> bool:
    """Whether an idle child still holds its end: silence is life, an end of file or stray bytes are not."""
    child.connection.settimeout(0)
    try:
        child.connection.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False
