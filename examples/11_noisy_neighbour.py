"""How far does a neighbour reach? A pair of qubits beside another tenant's, near and far, and replayed as if alone.

Both tenants pin their circuits to qubits of the chip. A paused device collects jobs and, when it goes on, runs together
what it may; so the two are surely in one batch. The replay without the neighbour has the same shots, seeds and noise:
what differs is the neighbour. Runs for about 10 s.
"""

from __future__ import annotations

import numpy as np
from qiskit import QuantumCircuit, transpile

from qpu_sdk import QPUBackend, QPUProvider, SamplerV2

MINE = (62, 63)
THEIRS = ((61, 60), (60, 59), (59, 58))  # 62 - 61 - 60 - 59 - 58 is a line on the chip
LAYERS = 40
SHOTS = 20_000
TOUCHING = {"eagle127": {"buffer": 0, "max_loss": 1}}  # no idle qubits between tenants, and whatever it costs


def mirror(backend: QPUBackend, qubits: tuple[int, int], seed: int) -> QuantumCircuit:
    """A random circuit on two qubits of the chip, and its inverse: an ideal device answers 00."""
    rng = np.random.default_rng(seed)
    half = QuantumCircuit(2)
    for _ in range(LAYERS // 2):
        half.u(*rng.uniform(0, 2 * np.pi, 3), 0)
        half.u(*rng.uniform(0, 2 * np.pi, 3), 1)
        half.cx(0, 1)
    circuit = half.copy()
    circuit.barrier()
    circuit.compose(half.inverse(), inplace=True)
    circuit.measure_all()
    return transpile(circuit, backend, initial_layout=qubits, optimization_level=1, seed_transpiler=1)


def right(result: object) -> float:
    """Share of 00."""
    return result[0].data.meas.get_counts().get("00", 0) / SHOTS


with QPUProvider.embedded(devices=TOUCHING) as acme:
    token = acme.service.create_tenant("initech")
    with QPUProvider.connect(acme.service.url, token) as initech:
        device = acme.backend("eagle127")
        mine = SamplerV2(device, options={"seed_simulator": 1})
        theirs = SamplerV2(initech.backend("eagle127"), options={"seed_simulator": 2})
        circuit = mirror(device, MINE, seed=1)
        print("neighbour  in between  beside   alone  difference  predicted loss")
        for number, pair in enumerate(THEIRS):
            acme.service.pause("eagle127")
            job = mine.run([circuit], shots=SHOTS)
            theirs.run([mirror(device, pair, seed=2)], shots=SHOTS)
            acme.service.resume("eagle127")
            beside, alone = right(job.result()), right(job.replay(alone=True))
            loss = job.metering().crosstalk_loss
            print(f"{pair}   {number:10}   {beside:.3f}   {alone:.3f}  {alone - beside:10.3f}  {loss:14.3f}")
