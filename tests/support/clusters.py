"""Real Dask clusters of local processes, and what a test does to them."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distributed import LocalCluster

from qpu_backend.engines.cluster import ClusterExecutor
from qpu_backend.engines.cluster_address import ClusterAddress

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

_PATIENCE_S = 60.0
DASK = Path(sys.executable).with_name("dask")


def until(there: Callable[[], Any]) -> Any:
    """The first true answer."""
    deadline = time.monotonic() + _PATIENCE_S
    while not (answer := there()):
        assert time.monotonic() < deadline
        time.sleep(0.005)
    return answer


class News:
    """What an executor told of its cluster."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._heard: list[tuple[str, dict[str, object]]] = []

    def __call__(self, event: str, **facts: object) -> None:
        with self._lock:
            self._heard.append((event, facts))

    def of(self, event: str) -> list[dict[str, object]]:
        with self._lock:
            return [facts for name, facts in self._heard if name == event]


def connect(address: str, news: News | None = None, **settings: Any) -> ClusterExecutor:
    """An executor on a scheduler, as Dask writes its address or as we do."""
    ours = re.sub("^tls://", "dask+tls://", address.replace("tcp://", "dask://"))
    return ClusterExecutor(ClusterAddress.parse(ours), tell=news or News(), **settings)


@contextmanager
def two_workers(**settings: Any) -> Iterator[Any]:
    """A cluster on loopback: its scheduler in this process, each worker in one that is replaced when it dies."""
    with LocalCluster(
        processes=True,
        n_workers=2,
        threads_per_worker=1,
        host="127.0.0.1",
        dashboard_address=None,
        silence_logs=50,
        **settings,
    ) as cluster:
        yield cluster


def kill_who_computes(cluster: Any) -> int:
    """End a worker, without warning, in the middle of a call; its process id."""
    busy = until(lambda: [ws for ws in list(cluster.scheduler.workers.values()) if ws.processing])
    pids = {nanny.worker_address: nanny.pid for nanny in cluster.workers.values()}
    pid = pids[busy[0].address]
    os.kill(pid, signal.SIGKILL)
    return pid


class Processes:
    """A scheduler and workers as an operator starts them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._running = ExitStack()
        with socket.create_server(("127.0.0.1", 0)) as free:
            self._port = free.getsockname()[1]
        self.address = f"tcp://127.0.0.1:{self._port}"

    def scheduler(self) -> subprocess.Popen[bytes]:
        """Start it, always at the same address."""
        return self._start("scheduler", "--host", "127.0.0.1", "--port", str(self._port), "--no-dashboard")

    def worker(self, *options: str, environment: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
        """Start a worker."""
        place = ["--host", "127.0.0.1", "--no-dashboard", "--local-directory", str(self._folder)]
        return self._start("worker", self.address, *place, *options, environment=environment)

    def close(self) -> None:
        """End what still runs."""
        self._running.close()

    def _start(self, *command: str, environment: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
        surroundings = {**os.environ, **(environment or {})}
        with (self._folder / "log").open("ab") as log:
            process = subprocess.Popen([DASK, *command], stdout=log, stderr=log, env=surroundings)
        self._running.callback(_end, process)
        return process


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()  # a nanny ends its worker
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
