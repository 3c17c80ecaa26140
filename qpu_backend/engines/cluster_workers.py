"""Which workers of a Dask cluster may simulate for us, and how the scheduler treats what dies with one.

What is made here crosses to the cluster by value, in pickles, and runs where perhaps nothing of this package is
installed: it uses the standard library and Dask alone until it has made sure.
"""

# Dask ships no types for what plugins see.
# pyright: reportUnknownVariableType=false, reportUnknownMemberType=false, reportUnknownArgumentType=false

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final

from qpu_backend.engines.executors import ONE_THREAD
from qpu_backend.engines.protocol import ENGINE_VERSION

if TYPE_CHECKING:
    from collections.abc import Callable

REFUSALS: Final = "qpu-sdk-worker-refused"
"""The topic of the cluster's events under which a worker says why it left."""

PACKAGES: Final = ("qpu-sdk", "numpy", "qiskit", "qiskit-aer")
"""What must be the same on a worker as here: counts are a function of these, and of the engine's own version."""


def required_versions() -> dict[str, str]:
    """What a worker must have: what is installed here, as far as counts depend on it. Loads none of it."""
    return {"engine": ENGINE_VERSION} | {name: version(name) for name in PACKAGES}


def gatekeeper(required: dict[str, str]) -> Any:
    """A worker plugin: each worker that is there, or joins later, checks itself once.

    One that has other versions, or several threads (Aer holds the GIL while it simulates), says so and leaves the
    cluster. One that may stay takes one thread for each library, lets the call limit end it, and loads Aer.

    Args:
        required: as :func:`required_versions` gives it.
    """
    from distributed import WorkerPlugin  # noqa: PLC0415 - optional: the extra qpu-sdk[cluster]

    topic, one_thread = REFUSALS, dict(ONE_THREAD)

    # A class inside a function crosses by value: a worker without this package can read it, and refuse itself.
    class Gatekeeper(WorkerPlugin):  # pyright: ignore[reportUntypedBaseClass]
        """See above."""

        name = "qpu-sdk"

        def setup(self, worker: Any) -> None:
            """Called once in each worker."""
            import importlib.metadata  # noqa: PLC0415 - by value: names of this module are not there
            import os  # noqa: PLC0415
            import signal  # noqa: PLC0415

            from distributed.core import Status  # noqa: PLC0415

            found: dict[str, str] = {}
            for package in required:
                try:
                    if package == "engine":
                        from qpu_backend.engines.protocol import ENGINE_VERSION as ENGINE  # noqa: PLC0415

                        found[package] = ENGINE
                    else:
                        found[package] = importlib.metadata.version(package)
                except Exception:  # noqa: BLE001 - whatever is missing or broken there: it is not what we need
                    found[package] = "none"
            wrong = [
                f"{name} {found[name]} instead of {needed}"
                for name, needed in required.items()
                if found[name] != needed
            ]
            if worker.state.nthreads != 1:
                wrong.append(f"{worker.state.nthreads} threads instead of 1 (start it with --nthreads 1)")
            if wrong:
                message = f"worker {worker.address} has {', '.join(wrong)}; it leaves the cluster"
                worker.status = Status.paused  # it starts nothing more, whatever it has been sent
                worker.log_event(topic, {"worker": worker.address, "message": message})
                worker.loop.add_callback(worker.close_gracefully, restart=False, reason=message)
                return
            os.environ.update(one_thread)
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            from qpu_backend.engines.protocol import join_tasks  # noqa: PLC0415
            from qpu_backend.engines.worker import run_tasks  # noqa: PLC0415

            run_tasks(join_tasks([]))

    return Gatekeeper()


def deaths_are_ours() -> Callable[[Any], None]:
    """For the scheduler: a call whose worker died is given back as failed, not run again behind our back.

    Dask's own patience is three deaths, each of another worker. Whether the same batch runs again, and beside whom, is
    for our log of batches to say: that is how a job that ends workers is found.
    """

    def give_back(dask_scheduler: Any) -> None:
        dask_scheduler.allowed_failures = 0

    return give_back
