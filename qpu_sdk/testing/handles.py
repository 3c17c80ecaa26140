"""What a test holds in its hands: a tenant, the clocks, and the operator of the devices."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Self

from qpu_sdk.patience import Patience
from qpu_sdk.provider import QPUProvider

if TYPE_CHECKING:
    from types import TracebackType

    from qpu_sdk.embedding import EmbeddedService

_DEVICE: Final = "eagle127"
_NUMBERS: Final = itertools.count(1)
_QUICK: Final = Patience(first_delay_s=0.02)
_MORE_THAN_A_JOB_SURVIVES: Final = 1_000
_CALIBRATIONS: Final = 20
"""Attempts until one succeeds; one in two hundred fails."""


@dataclass(frozen=True, slots=True)
class Tenant:
    """A tenant that only one test has."""

    name: str
    token: str = field(repr=False)

    @classmethod
    def create(cls, service: EmbeddedService, test: str, **may_use: Any) -> Self:
        """A new one, named after a test.

        Args:
            service: where.
            test: name of the test.
            **may_use: as :meth:`EmbeddedService.create_tenant` takes it.
        """
        readable = "".join(letter if letter.isalnum() else "-" for letter in test)[:40]
        name = f"{readable}-{next(_NUMBERS)}"
        return cls(name, service.create_tenant(name, **may_use))


def provider_for(url: str, tenant: Tenant) -> QPUProvider:
    """A provider that tries again quickly, and writes nothing to disk."""
    return QPUProvider.connect(url, tenant.token, patience=_QUICK, journal=False)


class Clock:
    """The clocks of a service: they go on as they do, and can be put forward, never back."""

    def __init__(self, service: EmbeddedService) -> None:
        self._service = service

    def advance(self, *, days: float = 0.0, hours: float = 0.0, minutes: float = 0.0, seconds: float = 0.0) -> None:
        """Put wall time forward: keys, quotes and sessions run out, quota windows begin anew."""
        self._service.advance(seconds=seconds + 60.0 * minutes + 3600.0 * hours + 86_400.0 * days)

    def pass_device_time(self, *, hours: float, device: str = _DEVICE) -> None:
        """Let a device idle for so many hours of its own time: it drifts from what its calibration says."""
        self._service.pass_time(device, hours=hours)


class Operator:
    """Who runs the devices. As a context, it puts everything right again at the end."""

    def __init__(self, service: EmbeddedService) -> None:
        self._service = service
        self._drained: set[str] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.restore_workers()
        for device in tuple(self._drained):
            self.resume(device)

    def drain(self, device: str = _DEVICE, *, why: str = "drained for a test") -> None:
        """Start nothing more on a device: what runs ends, and what is submitted waits."""
        self._drained.add(device)
        self._service.pause(device, why)

    def resume(self, device: str = _DEVICE) -> None:
        """Serve the device's queue again."""
        self._drained.discard(device)
        self._service.resume(device)

    def calibrate(self, device: str = _DEVICE) -> None:
        """Publish a new calibration of a device; an attempt may fail, so it is tried until one does not.

        Raises:
            RuntimeError: the device cannot be calibrated.
        """
        if not any(self._service.calibrate(device) for _ in range(_CALIBRATIONS)):
            raise RuntimeError(f"{device} could not be calibrated in {_CALIBRATIONS} attempts")

    def lose_workers(self, runs: int = 1) -> None:
        """Let the workers die in the next runs of batches. A job survives two such runs: it is run again."""
        self._service.lose_workers(runs)

    def fail_jobs(self) -> None:
        """Let the workers die in every run until :meth:`restore_workers`: every job fails in the end, unbilled."""
        self._service.lose_workers(_MORE_THAN_A_JOB_SURVIVES)

    def restore_workers(self) -> None:
        """Let workers live again."""
        self._service.lose_workers(0)
