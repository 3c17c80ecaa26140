"""A Dask cluster behind :class:`concurrent.futures.Executor`: the same calls as on this machine, elsewhere.

One thread speaks with the cluster: it connects, sends, and hears answers. While there is no cluster (its scheduler is
gone, or it has no worker) calls are held for a moment, in case it comes back, and then given back as
:class:`~qpu_backend.engines.executors.WorkersUnreachable`: nobody's fault, to be asked again. Dask itself runs nothing
again; a call whose worker died is given back as broken, like on this machine.
"""

# Dask ships no types for its client.
# pyright: reportUnknownVariableType=false, reportUnknownMemberType=false, reportUnknownArgumentType=false

from __future__ import annotations

import logging
import queue
import threading
import time
from concurrent.futures import BrokenExecutor, Executor, Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, ParamSpec, Protocol, TypeVar

from typing_extensions import override

from qpu_backend.engines.cluster_workers import REFUSALS, deaths_are_ours, gatekeeper, required_versions
from qpu_backend.engines.executors import CALL_LIMIT_S, ExecutorShutDown, WorkersUnreachable, limited

if TYPE_CHECKING:
    from collections.abc import Callable

    from qpu_backend.engines.cluster_address import ClusterAddress

_Arguments = ParamSpec("_Arguments")
_Answer = TypeVar("_Answer")

_LOOK_S: Final = 0.5
"""How often a silent cluster is looked at."""
_CLOSE_WITHIN_S: Final = 20.0
"""What is given up need not wait for a network that does not answer."""
_PATIENCE_S: Final = 5.0
"""How long a call is held while there is nobody to run it."""


class ClusterRefused(Exception):
    """This cluster cannot be used as things are set up here; the message says what to do."""


class Tell(Protocol):
    """Who is told what becomes of the cluster: a logger's method."""

    def __call__(self, event: str, **facts: object) -> object:
        """Something happened."""
        ...


@dataclass(slots=True, eq=False)
class _Call:
    """A call somebody made."""

    answer: Future[Any]
    work: Callable[..., Any]
    arguments: tuple[Any, ...]
    keywords: dict[str, Any]
    since_s: float


@dataclass(frozen=True, slots=True)
class _Answered:
    """A call came back, or is lost with the cluster."""

    call: _Call


@dataclass(frozen=True, slots=True)
class _Close:
    """No more calls will come.

    Attributes:
        at_once: those that run are given up.
    """

    at_once: bool


class ClusterExecutor(Executor):
    """The workers of a Dask cluster."""

    def __init__(
        self, address: ClusterAddress, *, tell: Tell, call_limit_s: float = CALL_LIMIT_S, connect_s: float = 3.0
    ) -> None:
        """Begin to connect; does not wait for it.

        Args:
            address: of the scheduler.
            tell: hears when the cluster is there, is gone, and which workers are refused.
            call_limit_s: a call that takes longer ends its worker.
            connect_s: how long the scheduler may take to answer.

        Raises:
            ClusterRefused: Dask is not installed here, or TLS is asked for without a certificate.
        """
        self._address = address
        self._tell = tell
        self._call_limit_s = call_limit_s
        self._connect_s = connect_s
        self._security = _security(address)
        self._lock = threading.Lock()
        self._closed = False
        self._news: queue.SimpleQueue[_Call | _Answered | _Close] = queue.SimpleQueue()
        self._held: dict[_Call, None] = {}
        self._sent: dict[_Call, Future[Any]] = {}
        self._closing: _Close | None = None
        self._alone_since_s: float | None = None
        self._thread = threading.Thread(target=self._serve, name="cluster", daemon=True)
        self._thread.start()

    @override
    def submit(
        self, fn: Callable[_Arguments, _Answer], /, *args: _Arguments.args, **kwargs: _Arguments.kwargs
    ) -> Future[_Answer]:
        """Run ``fn`` on a worker; ``fn`` must be a top-level function of this package.

        Raises:
            ExecutorShutDown: after :meth:`shutdown`.
        """
        call = _Call(Future(), fn, args, kwargs, time.monotonic())
        with self._lock:
            if self._closed:
                raise ExecutorShutDown
            self._news.put(call)
        return call.answer

    @override
    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Leave the cluster, which lives on. What no worker has taken is cancelled, with ``cancel_futures`` all."""
        with self._lock:
            self._closed = True
            self._news.put(_Close(cancel_futures))
        if wait:
            self._thread.join(_CLOSE_WITHIN_S if cancel_futures else None)

    # --- the thread that speaks with the cluster -------------------------------------------------------------------

    def _serve(self) -> None:
        told = None
        while not self._finished():
            try:
                client = self._connect()
            except Exception as error:  # noqa: BLE001 - whatever stands between us and the cluster: try again
                if told != repr(error):
                    told = repr(error)
                    self._tell("cluster_unreachable", address=self._address.for_dask(), error=told)
                self._hear(_LOOK_S)
                self._give_back_held()
                continue
            told = None
            try:
                self._work_with(client)
            except Exception as error:  # noqa: BLE001 - a client that breaks is a lost one
                self._tell("cluster_lost", address=self._address.for_dask(), error=repr(error))
            finally:
                self._give_back_sent()
                with suppress(Exception):
                    client.close(timeout=self._connect_s)
        for call in self._held:
            call.answer.cancel()

    def _finished(self) -> bool:
        return self._closing is not None and (self._closing.at_once or not self._sent)

    def _connect(self) -> Any:
        """A client of the cluster, whose scheduler and workers know what is expected of them."""
        from distributed import Client  # noqa: PLC0415 - optional: the extra qpu-sdk[cluster]

        for name in ("distributed", "distributed.client"):  # we tell of outages, once each, without a trace
            logging.getLogger(name).setLevel(logging.CRITICAL)
        client: Any = Client(
            self._address.for_dask(),
            timeout=self._connect_s,
            set_as_default=False,
            security=self._security,
            name="qpu-sdk",
        )
        try:
            client.subscribe_topic(REFUSALS, self._hear_refusal)
            client.run_on_scheduler(deaths_are_ours())
            client.register_plugin(gatekeeper(required_versions()))
        except BaseException:
            client.close(timeout=self._connect_s)
            raise
        return client

    def _hear_refusal(self, event: tuple[float, dict[str, Any]]) -> None:
        _, facts = event
        self._tell("cluster_worker_refused", worker=str(facts["worker"]), reason=str(facts["message"]))

    def _work_with(self, client: Any) -> None:
        """Send calls and hear answers until this cluster is lost, or nobody wants anything of it any more."""
        executor = client.get_executor(pure=False, retries=0)
        seen = client.scheduler_info()
        scheduler, look_again_s = seen["id"], 0.0
        self._tell("cluster_connected", address=self._address.for_dask(), workers=len(seen["workers"]))
        while not self._finished():
            if client.status != "running" or seen["id"] != scheduler:
                self._tell("cluster_lost", address=self._address.for_dask(), error="the scheduler is gone")
                return
            if seen["workers"]:
                self._alone_since_s = None
                for call in list(self._held):
                    self._send(executor, call)
            else:
                self._wait_for_workers()
            self._hear(_LOOK_S)
            if time.monotonic() > look_again_s:
                seen = client.scheduler_info()
                look_again_s = time.monotonic() + _LOOK_S
        for call, sent in self._sent.items():  # given up: nobody waits for them any more
            call.answer.cancel()
            sent.cancel()
        self._sent.clear()

    def _send(self, executor: Executor, call: _Call) -> None:
        if call.answer.cancelled():
            del self._held[call]
            return
        sent = executor.submit(limited, self._call_limit_s, call.work, *call.arguments, **call.keywords)
        del self._held[call]  # not before: a call that could not be sent is held for the next client
        self._sent[call] = sent
        sent.add_done_callback(lambda _: self._news.put(_Answered(call)))

    def _wait_for_workers(self) -> None:
        """A scheduler without workers: what was sent waits there, and is taken back after a while."""
        now_s = time.monotonic()
        self._alone_since_s = self._alone_since_s or now_s
        self._give_back_held()
        if now_s - self._alone_since_s > _PATIENCE_S:
            self._give_back_sent()

    def _hear(self, within_s: float) -> None:
        """Take in everything there is to hear, waiting for the first of it."""
        with suppress(queue.Empty):
            news = self._news.get(timeout=within_s)
            while True:
                match news:
                    case _Call():
                        self._held[news] = None
                    case _Answered(call):
                        self._pass_on(call)
                    case _Close():
                        self._closing = news
                        for call in self._held:
                            call.answer.cancel()
                        self._held.clear()
                news = self._news.get_nowait()

    def _pass_on(self, call: _Call) -> None:
        sent = self._sent.pop(call, None)
        if sent is None:
            return
        with suppress(InvalidStateError):  # cancelled here meanwhile
            if sent.cancelled():
                call.answer.set_exception(_gone())
            elif (error := sent.exception()) is not None:
                died = type(error).__name__ == "KilledWorker"
                call.answer.set_exception(BrokenExecutor(f"a worker of the cluster died: {error}") if died else error)
            else:
                call.answer.set_result(sent.result())

    def _give_back_held(self) -> None:
        now_s = time.monotonic()
        for call in [call for call in self._held if now_s - call.since_s > _PATIENCE_S]:
            del self._held[call]
            with suppress(InvalidStateError):
                call.answer.set_exception(_gone())

    def _give_back_sent(self) -> None:
        sent, self._sent = self._sent, {}
        for call, running in sent.items():
            running.cancel()
            with suppress(InvalidStateError):
                call.answer.set_exception(_gone())


def _gone() -> WorkersUnreachable:
    return WorkersUnreachable("the cluster is gone, or has no worker; it is asked again when it is back")


def _security(address: ClusterAddress) -> Any:
    try:
        from distributed import Security  # noqa: PLC0415 - optional: the extra qpu-sdk[cluster]
    except ImportError as error:
        raise ClusterRefused(
            f"the executor {address.for_dask()} needs Dask, which is not installed: pip install 'qpu-sdk[cluster]'"
        ) from error
    if not address.tls:
        return None
    security: Any = Security(require_encryption=True)
    missing = [name for name in ("tls_ca_file", "tls_client_cert") if getattr(security, name) is None]
    if missing:
        raise ClusterRefused(
            "dask+tls needs certificates, in Dask's own configuration: DASK_DISTRIBUTED__COMM__TLS__CA_FILE, "
            "DASK_DISTRIBUTED__COMM__TLS__CLIENT__CERT and DASK_DISTRIBUTED__COMM__TLS__CLIENT__KEY "
            f"(missing: {', '.join(missing)})"
        )
    return security
