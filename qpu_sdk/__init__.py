"""Share one quantum processor between many tenants: the part a researcher imports.

>>> from qpu_sdk import QPUProvider, SamplerV2

Names are loaded when they are first used (PEP 562), so ``import qpu_sdk`` costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qpu_sdk.backend import QPUBackend
    from qpu_sdk.display import device_text, draw_device
    from qpu_sdk.errors import QPUError
    from qpu_sdk.estimator import EstimatorV2
    from qpu_sdk.job import QPUJob
    from qpu_sdk.options import EstimatorOptions, RunOptions, SamplerOptions
    from qpu_sdk.provider import QPUProvider
    from qpu_sdk.sampler import SamplerV2
    from qpu_sdk.session import Session
    from qpu_sdk.transport import Patience

__version__ = "0.1.0"

__all__ = [
    "EstimatorOptions",
    "EstimatorV2",
    "Patience",
    "QPUBackend",
    "QPUError",
    "QPUJob",
    "QPUProvider",
    "RunOptions",
    "SamplerOptions",
    "SamplerV2",
    "Session",
    "device_text",
    "draw_device",
]

_HOME = {
    "EstimatorOptions": "options",
    "EstimatorV2": "estimator",
    "Patience": "transport",
    "QPUBackend": "backend",
    "QPUError": "errors",
    "QPUJob": "job",
    "QPUProvider": "provider",
    "RunOptions": "options",
    "SamplerOptions": "options",
    "SamplerV2": "sampler",
    "Session": "session",
    "device_text": "display",
    "draw_device": "display",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'qpu_sdk' has no attribute {name!r}")
    import_module("qiskit")  # before pydantic: the other way round costs a sixth more (measured: benchmarks/imports.py)
    value = getattr(import_module(f"qpu_sdk.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
