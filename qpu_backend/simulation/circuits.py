"""Kinds of a workload → OpenQASM text: the file ``KIND.qasm`` where there is a folder of them, otherwise generated.

A kind is named ``FAMILY_nQUBITS`` (``qft_n4``). Of the families below a real circuit of that size is written, with gate
counts near those of the small benchmarks of that name (QASMBench, 2005.13018); of any other, and of a family that does
not exist at that size, a random brickwork that depends on the name alone. Every qubit is measured at the end.
"""

from __future__ import annotations

import re
import zlib
from typing import TYPE_CHECKING, Final

from qpu_backend.engines.invalid_circuit import MalformedCircuit
from qpu_backend.simulation import algorithms, states
from qpu_backend.simulation.sketch import Sketch

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MAX_TEXT_BYTES: Final = 1 << 20
"""Of a circuit file."""

_SIZE: Final = re.compile(r"_n\d+$")

FAMILIES: Final[dict[str, tuple[int, Callable[[Sketch], None]]]] = {
    "adder": (4, algorithms.adder),
    "basis_change": (2, algorithms.basis_change),
    "basis_trotter": (2, algorithms.basis_trotter),
    "bb84": (1, states.bb84),
    "bell": (2, states.bell),
    "cat_state": (2, states.cat_state),
    "deutsch": (2, algorithms.deutsch),
    "dnn": (2, algorithms.dnn),
    "error_correctiond3": (3, states.error_correction),
    "fredkin": (3, states.fredkin),
    "grover": (2, algorithms.grover),
    "hs4": (2, algorithms.hidden_shift),
    "ising": (2, algorithms.ising),
    "iswap": (2, states.iswap),
    "linearsolver": (3, algorithms.linear_solver),
    "lpn": (2, algorithms.lpn),
    "qaoa": (2, algorithms.qaoa),
    "qec_en": (3, states.qec_en),
    "qft": (1, algorithms.qft),
    "qrng": (1, states.qrng),
    "quantumwalks": (2, algorithms.quantum_walk),
    "simon": (2, algorithms.simon),
    "teleportation": (3, states.teleportation),
    "toffoli": (3, states.toffoli),
    "variational": (2, algorithms.variational),
    "vqe": (2, algorithms.vqe),
    "wstate": (2, states.wstate),
}
"""Family → the fewest qubits that it exists on, and who writes it."""


def generated(kind: str, qubits: int) -> str:
    """A circuit of the kind's family and size; the same text for the same arguments.

    Args:
        kind: e.g. ``qft_n4``; the number in it is not read.
        qubits: at least 1.
    """
    sketch = Sketch(qubits)
    fewest, write = FAMILIES.get(_SIZE.sub("", kind), (0, None))
    if write is not None and qubits >= fewest:
        write(sketch)
    else:
        algorithms.brickwork(sketch, zlib.crc32(kind.encode()))
    sketch.barrier()
    sketch.measure()
    return sketch.text()


def circuit_file(folder: Path, kind: str) -> str | None:
    """The text of ``KIND.qasm``, or ``None`` if the folder has no such file.

    Raises:
        MalformedCircuit: it cannot be read, or is too long.
    """
    path = folder / f"{kind}.qasm"
    if "/" in kind or "\\" in kind or not path.is_file():
        return None
    try:
        if path.stat().st_size > MAX_TEXT_BYTES:
            raise MalformedCircuit(f"{path} is longer than {MAX_TEXT_BYTES} bytes")
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise MalformedCircuit(f"{path} cannot be read: {error}") from error
