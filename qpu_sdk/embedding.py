"""The embedded service, found by its entry point: the server is never imported from here.

An installed ``qpu-sdk[server]`` announces it in the group ``qpu_sdk.embedded``.
"""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

from pydantic import ValidationError

from qpu_sdk.errors import QPUError

if TYPE_CHECKING:
    from pathlib import Path

_NO_SERVER: Final = 'the embedded service is not installed: pip install "qpu-sdk[server]"'


class EmbeddedService(Protocol):
    """What the entry point ``qpu_sdk.embedded`` gives: a whole service in this process."""

    url: str
    token: str

    def create_tenant(
        self,
        name: str,
        *,
        weight: int = 100,
        max_queued_jobs: int = 1000,
        shots_per_day: int | None = None,
        device_seconds_per_day: float | None = None,
        spend_micro_per_month: int | None = None,
    ) -> str:
        """Make a tenant and return a token of it."""
        ...

    def pause(self, device: str, why: str = "paused by the operator") -> None:
        """Start no further batch on a device."""
        ...

    def resume(self, device: str) -> None:
        """Serve a device's queue again."""
        ...

    def calibrate(self, device: str) -> bool:
        """Calibrate a device now; whether it succeeded."""
        ...

    def pass_time(self, device: str, *, hours: float) -> None:
        """Let a device idle for so many hours of its own time."""
        ...

    def advance(self, *, seconds: float) -> None:
        """Put the wall clock of a private service forward."""
        ...

    def lose_workers(self, runs: int = 1) -> None:
        """Let the workers of a private service die in the next runs of batches."""
        ...

    def close(self) -> None:
        """Stop the service; what was started without a path is removed."""
        ...


def start_service(path: Path | str | None = None, **settings: Any) -> EmbeddedService:
    """Start the embedded service by its entry point.

    Raises:
        QPUError: the server part of the package is not installed, or the service refuses these settings.
    """
    points = entry_points(group="qpu_sdk.embedded")
    if not points:
        raise QPUError(_NO_SERVER)
    try:
        kind: Any = next(iter(points)).load()
    except ModuleNotFoundError as error:
        raise QPUError(f"{_NO_SERVER} ({error})") from error
    try:
        return cast("EmbeddedService", kind.start(None if path is None else str(path), **settings))
    except QPUError:
        raise
    except Exception as error:  # another package's: what it raises for what is its own affair
        raise QPUError(f"the embedded service does not start: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    if isinstance(error, ValidationError):
        return "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
    return f"{type(error).__name__}: {error}"
