"""What a replay is asked for with. Its answer is a result: :mod:`qpu_sdk.wire.results`."""

from __future__ import annotations

from pydantic import ConfigDict

from qpu_sdk.wire.models import RequestDocument


class ReplayRequest(RequestDocument):
    """``POST /jobs/{id}/replay``."""

    model_config = ConfigDict(defer_build=False)  # a deferred one makes FastAPI warn

    alone: bool = False
    """Leave the neighbours out: what the job would have measured without them."""
