"""Share one quantum processor between many tenants: the part a researcher imports.

>>> from qiskit import QuantumCircuit, transpile
>>> from qpu_sdk import QPUProvider, SamplerV2
>>> provider = QPUProvider()  # address and key of `qpu login`; or QPUProvider.embedded(), which needs neither
>>> backend = provider.backend("eagle127:line-2")
>>> bell = QuantumCircuit(2)
>>> _ = bell.h(0), bell.cx(0, 1), bell.measure_all()
>>> job = SamplerV2(backend).run([transpile(bell, backend)], shots=1000)
>>> sum(job.result()[0].data.meas.get_counts().values())
1000

Names are loaded when they are first used (PEP 562), so ``import qpu_sdk`` costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qpu_sdk.backend import QPUBackend
    from qpu_sdk.composite import CompositeJob
    from qpu_sdk.display.maps import draw_crosstalk, draw_device, draw_job
    from qpu_sdk.display.plots import plot_counts, plot_expectations, plot_iq, plot_zne
    from qpu_sdk.display.text import device_text
    from qpu_sdk.errors import QPUError
    from qpu_sdk.estimator import EstimatorV2
    from qpu_sdk.job import QPUJob
    from qpu_sdk.options import EstimatorOptions, RunOptions, SamplerOptions
    from qpu_sdk.patience import Patience
    from qpu_sdk.provider import QPUProvider
    from qpu_sdk.recommending import recommend_shots  # pyright: ignore[reportUnknownVariableType]  # Qiskit has no types
    from qpu_sdk.sampler import SamplerV2
    from qpu_sdk.session import Batch, Session

__version__ = "0.1.0"

__all__ = [
    "Batch",
    "CompositeJob",
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
    "draw_crosstalk",
    "draw_device",
    "draw_job",
    "plot_counts",
    "plot_expectations",
    "plot_iq",
    "plot_zne",
    "recommend_shots",
]

_HOME = {
    "Batch": "session",
    "CompositeJob": "composite",
    "EstimatorOptions": "options",
    "EstimatorV2": "estimator",
    "Patience": "patience",
    "QPUBackend": "backend",
    "QPUError": "errors",
    "QPUJob": "job",
    "QPUProvider": "provider",
    "RunOptions": "options",
    "SamplerOptions": "options",
    "SamplerV2": "sampler",
    "Session": "session",
    "device_text": "display.text",
    "draw_crosstalk": "display.maps",
    "draw_device": "display.maps",
    "draw_job": "display.maps",
    "plot_counts": "display.plots",
    "plot_expectations": "display.plots",
    "plot_iq": "display.plots",
    "plot_zne": "display.plots",
    "recommend_shots": "recommending",
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
