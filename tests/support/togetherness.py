"""Functions that begin at the same time, in a thread each."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def at_once(functions: Sequence[Callable[[], Any]]) -> list[Any]:
    """What each returned or raised, in order."""
    gate = threading.Barrier(len(functions))

    def run(function: Callable[[], Any]) -> Any:
        gate.wait()
        try:
            return function()
        except Exception as error:  # noqa: BLE001 - the test looks at it
            return error

    with ThreadPoolExecutor(len(functions)) as pool:
        return list(pool.map(run, functions))
