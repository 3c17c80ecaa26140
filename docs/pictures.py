"""Draws the pictures of how-to/see-your-device.md, in light and in dark, on an embedded service (`make pictures`)."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image
from qiskit import QuantumCircuit, transpile
from qiskit.quantum_info import SparsePauliOp

from qpu_sdk import EstimatorV2, QPUProvider, SamplerV2, plot_counts, plot_expectations, plot_iq, plot_zne

if TYPE_CHECKING:
    from collections.abc import Callable

    from qpu_sdk import QPUBackend

PICTURES = Path(__file__).parent / "_static" / "pictures"
QUBIT = 3
"""Whose IQ points are shown."""
COLOURS = 128


def ghz(num_qubits: int) -> QuantumCircuit:
    """The state |0…0⟩ + |1…1⟩."""
    circuit = QuantumCircuit(num_qubits)
    circuit.h(0)
    for qubit in range(num_qubits - 1):
        circuit.cx(qubit, qubit + 1)
    return circuit


def draw_all(line: QPUBackend, chip: QPUBackend) -> dict[str, Callable[..., Any]]:
    """Every picture by its name: what draws it to ``path=``, dark or not."""
    prepared = transpile(ghz(5), line, seed_transpiler=1)
    read: Any = transpile(ghz(5).measure_all(inplace=False), line, seed_transpiler=1)
    labels = ["ZZIII", "IZZII", "IIZZI", "IIIZZ", "XXXXX", "ZIIII"]
    observables = [SparsePauliOp(label).apply_layout(prepared.layout) for label in labels]
    sampled = SamplerV2(line).run([read], shots=4000)
    estimator = EstimatorV2(line)
    estimated = estimator.run([(prepared, observables)], precision=0.02)
    estimator.options.resilience.zne_mitigation = True
    estimator.options.resilience.zne.extrapolator = "exponential"
    extrapolated = estimator.run([(prepared, observables)], precision=0.02)
    superposed = QuantumCircuit(chip.num_qubits, 1)
    superposed.sx(QUBIT)
    superposed.measure(QUBIT, 0)
    points = chip.run(superposed, shots=1500, meas_level=1, meas_return="single").result()
    ideal = [1.0, 1.0, 1.0, 1.0, 1.0, 0.0]
    return {
        "device": chip.draw,
        "t1": partial(chip.draw, qubits="t1_us"),
        "crosstalk": chip.draw_crosstalk,
        "job": sampled.draw,
        "counts": partial(plot_counts, sampled.result(), read),
        "expectations": partial(plot_expectations, estimated.result(), ideal, labels=labels),
        "iq": partial(plot_iq, points, chip.discriminator(QUBIT)),
        "zne": partial(plot_zne, extrapolated.result(), value=0, ideal=1.0),
    }


def main() -> None:
    """Write every picture twice, with few colours, and a card."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    with QPUProvider.embedded() as provider:
        line, chip = provider.backend("eagle127:line-5"), provider.backend("eagle127")
        for name, draw in draw_all(line, chip).items():
            for dark in (False, True):
                path = PICTURES / f"{name}{'-dark' if dark else ''}.png"
                draw(path=path, dark=dark)
                with Image.open(path) as picture:
                    few = picture.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
                few.save(path, optimize=True)
        (PICTURES / "backend.html").write_text(chip._repr_html_() + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
