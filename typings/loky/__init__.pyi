# The part of loky that qpu_backend/engines/executors.py uses; the package ships no types.
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from typing import Any

class ProcessPoolExecutor(Executor):
    def __init__(
        self,
        max_workers: int | None = ...,
        *,
        timeout: float | None = ...,
        context: Any = ...,
        initializer: Callable[..., object] | None = ...,
        initargs: tuple[Any, ...] = ...,
        env: Mapping[str, str] | None = ...,
    ) -> None: ...
    def shutdown(self, wait: bool = ..., kill_workers: bool = ...) -> None: ...

def get_reusable_executor(
    max_workers: int | None = ...,
    *,
    context: Any = ...,
    timeout: float | None = ...,
    kill_workers: bool = ...,
    reuse: bool | str = ...,
    initializer: Callable[..., object] | None = ...,
    initargs: tuple[Any, ...] = ...,
    env: Mapping[str, str] | None = ...,
) -> ProcessPoolExecutor: ...
