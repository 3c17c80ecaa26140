"""What a deferred layout takes and wins: compile times in the limited child, and predicted success over random regions.

    python benchmarks/deferred.py [REGIONS]

Each circuit is compiled for the shape, as at admission, and then for each region, as at dispatch, with the rules that
decide there which of the two runs. The regions are drawn from all places of the shape, not chosen by the planner.
"""

from __future__ import annotations

import io
import sys
import time
import zlib
from collections import Counter
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
from qiskit import QuantumCircuit, qpy
from qiskit.circuit.library import QFTGate

from qpu_backend.domain.deferral import Deferral
from qpu_backend.domain.programs import PubSpec, expand
from qpu_backend.domain.virtual import shape_of
from qpu_backend.engines.catalogue import read_device
from qpu_backend.engines.compiling_pool import CompilingPool
from qpu_backend.engines.decoded import Compilation, DecodingRequest, PubBinding
from qpu_backend.physics.fidelity import LogErrors
from qpu_backend.physics.timing import Durations, summarise
from qpu_backend.pipeline.deferred import ATTEMPTS, Recompiler

DEVICE = "eagle127"
SHAPES = ("line-5", "tee-2-2-1")
SEED = 7
_LIMITS: dict[str, Any] = {"default_shots": 1000, "default_precision": 0.1, "max_shots": 1000, "max_executions": 1}


def ghz() -> QuantumCircuit:
    """Five qubits, from one of them."""
    circuit = QuantumCircuit(5, 5)
    circuit.h(0)
    for target in range(1, 5):
        circuit.cx(0, target)
    circuit.measure(range(5), range(5))
    return circuit


def qft() -> QuantumCircuit:
    """Five qubits, of a product state."""
    circuit = QuantumCircuit(5, 5)
    for qubit in range(5):
        circuit.rx(0.1 + 0.3 * qubit, qubit)
    circuit.append(QFTGate(5), range(5))
    circuit.measure(range(5), range(5))
    return circuit


def main(regions: int) -> None:
    """Print a line for each shape and circuit."""
    model, snapshot = read_device(DEVICE)
    errors, rng = LogErrors.of(snapshot), np.random.default_rng(0)
    pool = CompilingPool(1)
    calibrated = SimpleNamespace(model=model, snapshot=snapshot)
    started = time.perf_counter()
    for name in SHAPES:
        shape = shape_of(name, model, snapshot, errors)
        drawn = rng.choice(len(shape.table.regions), regions, replace=False)
        for label, circuit in (("ghz", ghz()), ("qft", qft())):
            document = io.BytesIO()
            qpy.dump(circuit, document)
            data, compilation = (
                zlib.compress(document.getvalue()),
                Compilation(shape.snapshot, model.two_qubit_gate, SEED),
            )
            request = DecodingRequest("qpy+zlib", data, (PubBinding(0),), model.timing.dt_ns, compilation)
            decoded = pool.compile(request)
            if started:
                print(f"first request, compilers cold: {time.perf_counter() - started:.1f} s")
                started = 0.0
            admission_s = [_seconds(lambda request=request: pool.compile(request)) for _ in range(20)]
            spec = PubSpec(0, decoded.angles[0], shots=1000)
            program = expand("sampler", decoded.circuits, [spec], usable_qubits=frozenset(range(5)), **_LIMITS)
            planned_ns = round(summarise(program.circuits[0], Durations.of(shape.snapshot)).duration_ns)
            program = replace(program, deferral=Deferral("qpy+zlib", data, SEED, (0,), (None,), (planned_ns,)))
            dispatch_s, choices = [], []
            for row in drawn:
                region = tuple(shape.table.regions[row].tolist())
                job = SimpleNamespace(id="job", tenant_id="tenant", program_sha=label + name, footprint={})
                plan = SimpleNamespace(placements=[SimpleNamespace(job_id="job", region=region)])
                recompiler: Any = Recompiler(pool)
                begun = time.perf_counter()
                compiled = recompiler.compile(plan, {"job": job}, {"job": program}, calibrated)["job"]
                dispatch_s.append(time.perf_counter() - begun)
                choices += compiled.choices
            before = float(np.mean([choice.shape_success for choice in choices]))
            gain = float(np.mean([c.region_success - c.shape_success for c in choices if c.on == "region"] or [0.0]))
            on = Counter(choice.on for choice in choices)
            print(
                f"{name} {label}: admission {1e3 * np.median(admission_s):.0f} ms, dispatch ({ATTEMPTS} attempts) "
                f"{1e3 * np.median(dispatch_s):.0f} ms; success on the shape {before:.4f}, on the region in "
                f"{on['region']} of {regions}, mean gain {gain * on['region'] / regions:+.4f}"
            )
    pool.close()


def _seconds(call: Any) -> float:
    begun = time.perf_counter()
    call()
    return time.perf_counter() - begun


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 30)
