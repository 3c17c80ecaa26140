"""What other projects' documentation offers to link to, as inventories made here: `make docs` needs no network.

An inventory says where a name is documented. Only names that our pages mention are in it; each is imported first, so a
name that is gone is found when the documentation is built, and not by a reader.
"""

from __future__ import annotations

import inspect
import zlib
from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

QISKIT: Final = "https://quantum.cloud.ibm.com/docs/api/qiskit/"
NAMES: Final = (
    "qiskit.circuit.QuantumCircuit",
    "qiskit.exceptions.QiskitError",
    "qiskit.primitives.BaseEstimatorV2",
    "qiskit.primitives.BasePrimitiveJob",
    "qiskit.primitives.BaseSamplerV2",
    "qiskit.primitives.BitArray",
    "qiskit.primitives.PrimitiveResult",
    "qiskit.providers.BackendV2",
    "qiskit.providers.JobStatus",
    "qiskit.providers.JobV1",
    "qiskit.result.Result",
    "qiskit.transpiler.Target",
)
"""Classes of Qiskit; each has a page of its own there, or is on one of these."""
PAGE_OF: Final = {"qiskit.exceptions.QiskitError": "exceptions"}


def existing(name: str) -> str:
    """The name itself, if it is a class.

    Raises:
        TypeError: it is something else.
    """
    module, _, last = name.rpartition(".")
    found = getattr(import_module(module), last)
    if not inspect.isclass(found):
        raise TypeError(f"{name} is no class")
    return name


def write(folder: Path) -> Path:
    """Write Qiskit's inventory, in Sphinx's format 2, and say where it is."""
    folder.mkdir(parents=True, exist_ok=True)
    header = "# Sphinx inventory version 2\n# Project: Qiskit\n# Version: \n# The remainder is compressed with zlib.\n"
    lines = "".join(f"{existing(name)} py:class 1 {PAGE_OF.get(name, name)}#$ -\n" for name in NAMES)
    path = folder / "qiskit.inv"
    path.write_bytes(header.encode() + zlib.compress(lines.encode()))
    return path
