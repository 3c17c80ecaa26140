"""The children that compile circuits with a deferred layout: a pool of their own, started when first needed.

Warming a compiler takes seconds that decoding should not wait for, and a circuit that is slow to compile where it runs
must not hold up those who submit.
"""

from __future__ import annotations

import threading
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

from qpu_backend.engines.decoding_pool import DecodingPool
from qpu_backend.engines.invalid_circuit import DecodingUnavailable

if TYPE_CHECKING:
    from qpu_backend.engines.decoded import Decoded, DecodingLimits, DecodingRequest


class CompilingPool:
    """Decodes and compiles, each request in a limited child. Safe to call from several threads."""

    def __init__(self, size: int, limits: DecodingLimits | None = None) -> None:
        """Nothing is started yet.

        Args:
            size: children, so requests compiled at the same time.
            limits: the published limits on circuits, and what a child may use.
        """
        self._size = size
        self._limits = limits
        self._lock = threading.Lock()
        self._pool: DecodingPool | None = None
        self._closed = False
        self._threads = ThreadPoolExecutor(size, thread_name_prefix="compiling")

    def compile(self, request: DecodingRequest, *, within_s: float | None = None) -> Decoded:
        """Compile the circuits of a request that says for what.

        Args:
            request: with a ``compilation``.
            within_s: how long it may wait for a child, and how long it may then take, where that is less than usual.

        Raises:
            InvalidCircuit: the circuits are refused; see :mod:`qpu_backend.engines.invalid_circuit`.
            DecodingUnavailable: no child could be started.
        """
        return self._started().decode(request, within_s=within_s)

    def submit(self, request: DecodingRequest, *, within_s: float) -> Future[Decoded]:
        """The same beside the caller, who need not wait for it."""
        try:
            return self._threads.submit(self.compile, request, within_s=within_s)
        except RuntimeError:
            refused: Future[Decoded] = Future()
            refused.set_exception(DecodingUnavailable("the compilers are closed"))
            return refused

    def close(self) -> None:
        """End the children. Further requests raise :class:`DecodingUnavailable`."""
        with self._lock:
            self._closed = True
            pool = self._pool
        self._threads.shutdown(wait=False, cancel_futures=True)
        if pool is not None:
            pool.close()

    def _started(self) -> DecodingPool:
        with self._lock:
            if self._closed:
                raise DecodingUnavailable("the compilers are closed")
            if self._pool is None:
                self._pool = DecodingPool(self._size, self._limits, compiling=True)
            return self._pool
