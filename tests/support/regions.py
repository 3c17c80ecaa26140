"""Random regions, circuits and contexts, and what Aer's density matrix says of them with ghosts as qubits."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from qpu_backend.engines import aer
from qpu_backend.engines.prepared import Prepared
from qpu_backend.engines.protocol import RegionTask, SliceSpec
from qpu_backend.engines.superoperators import superoperators
from qpu_backend.physics.circuit import ClassicalRegister, IsaCircuit, Op, operations
from qpu_backend.physics.context import NO_CONTEXT, Context, Ghost, Kick
from qpu_backend.physics.snapshot import GateProperties, QubitProperties, RegionNoise
from qpu_backend.physics.timing import Durations, schedule

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

LENGTH_NS = {Op.SX: 60.0, Op.X: 60.0, Op.ID: 60.0, Op.RESET: 800.0, Op.RZ: 0.0}
LENGTH_NS |= {Op.ECR: 660.0, Op.CX: 500.0, Op.CZ: 90.0, Op.RZZ: 120.0}
NO_ANGLES = np.zeros((1, 0))


def line(
    num_qubits: int,
    zz_hz: float = 0.0,
    *,
    first: int = 0,
    errors: bool = True,
    seed: int = 0,
    detuned: bool = False,
    echo: float = 0.6,
    lengths: dict[Op, float] | None = None,
) -> RegionNoise:
    """A line of physical qubits ``first …`` with every operation on it; no two qubits are alike."""
    rng = np.random.default_rng(seed)
    qubits = range(first, first + num_qubits)
    lengths = LENGTH_NS if lengths is None else lengths
    gates: dict[tuple[Op, tuple[int, ...]], GateProperties] = {}
    for q in qubits:
        for op in (Op.SX, Op.X, Op.ID, Op.RESET):
            gates[op, (q,)] = GateProperties(float(rng.uniform(1e-4, 1e-3)) if errors else 0.0, lengths[op])
    for a, b in pairwise(qubits):
        for op in (Op.ECR, Op.CX, Op.CZ, Op.RZZ):
            gates[op, (a, b)] = gates[op, (b, a)] = GateProperties(
                float(rng.uniform(3e-3, 1e-2)) if errors else 0.0, lengths[op]
            )
    properties = {}
    for q in qubits:
        t1_us = float(rng.uniform(80, 300)) if errors else 1e15
        t2_us = t1_us * float(rng.uniform(0.3, 1.9)) if errors else 1e15
        p10, p01 = rng.uniform(0.005, 0.03, 2).tolist() if errors else (0.0, 0.0)
        properties[q] = QubitProperties(t1_us, t2_us, 5e9, -3e8, p10, p01, 1000.0)
    return RegionNoise(
        properties,
        gates,
        zz_hz={(a, b): zz_hz * float(rng.uniform(0.8, 1.2)) for a, b in pairwise(qubits)} if zz_hz else {},
        zz_echo=echo,
        detuning_hz={q: float(rng.normal(0, 2e4)) for q in qubits} if detuned else {},
    )


def circuit_of(rows: Sequence[tuple], noise: RegionNoise, *, measured: Sequence[int] | None = None) -> IsaCircuit:
    """Rows ``(op, qubits…)`` with a trailing float for a value or a trailing string for a slot; then measurements."""
    n, slots = len(noise.qubits), 0
    full = []
    for op, *rest in rows:
        qubits = [item for item in rest if isinstance(item, int)]
        value = next((item for item in rest if isinstance(item, float)), 0.0)
        slot = next((int(item) for item in rest if isinstance(item, str)), -1)
        slots = max(slots, slot + 1)
        full.append((int(op), qubits[0], qubits[1] if len(qubits) > 1 else -1, -1, slot, value, -1))
    full += [(int(Op.MEASURE), q, -1, q, -1, 0.0, -1) for q in (range(n) if measured is None else measured)]
    register = ClassicalRegister("c", tuple(range(n)))
    return IsaCircuit(tuple(noise.qubits), n, (register,), operations(full), num_slots=slots)


def random_rows(rng: np.random.Generator, num_qubits: int, depth: int, *, slots: int = 0) -> list[tuple]:
    """Every operation there is, but resets are rare."""
    rows: list[tuple] = []
    for _ in range(depth):
        op = Op(rng.choice([Op.SX, Op.SX, Op.X, Op.RZ, Op.DELAY, Op.ID, Op.ECR, Op.CX, Op.CZ, Op.RZZ, Op.RESET]))
        if op is Op.RESET and rng.random() < 0.7:
            op = Op.SX
        q = int(rng.integers(num_qubits))
        if op in {Op.ECR, Op.CX, Op.CZ, Op.RZZ}:
            if num_qubits < 2:
                continue
            q = int(rng.integers(num_qubits - 1))
            pair = (q, q + 1) if rng.random() < 0.5 else (q + 1, q)
            angle = str(rng.integers(slots)) if slots and rng.random() < 0.5 else float(rng.uniform(-3, 3))
            rows.append((op, *pair, angle) if op is Op.RZZ else (op, *pair))
        elif op is Op.RZ:
            rows.append(
                (op, q, str(rng.integers(slots)) if slots and rng.random() < 0.5 else float(rng.uniform(-3, 3)))
            )
        else:
            rows.append((op, q, float(rng.integers(1, 2000))) if op is Op.DELAY else (op, q))
    return rows


def random_context(
    rng: np.random.Generator, circuit: IsaCircuit, noise: RegionNoise, num_ghosts: int, *, forgetful: float = 0.2
) -> Context:
    """Everything that neighbours can do at once."""
    n = circuit.num_qubits
    duration_ns = schedule(circuit, Durations.of(noise)).duration_ns
    ghosts = []
    for _ in range(num_ghosts):
        k = int(rng.integers(1, 25))
        opens = np.sort(rng.uniform(0, 1.1 * duration_ns, k))[::-1].copy()
        felt = rng.choice(n, size=min(n, 1 + int(rng.random() < 0.4)), replace=False)
        ghosts.append(
            Ghost(
                opens_ns=opens,
                start=float(rng.random()),
                stays=np.array([1.0, *rng.random(k - 1)]),
                rises=np.array([0.0, *rng.random(k - 1)]),
                echoed=rng.random(k) < 0.3,
                couplings=tuple((int(q), float(rng.uniform(20e3, 200e3))) for q in felt),
                independent=bool(rng.random() < forgetful),
            )
        )
    times = np.sort(rng.uniform(0, duration_ns, 4))[::-1]
    gates = int(np.isin(circuit.operations["code"], [Op.ECR, Op.CX, Op.CZ, Op.RZZ]).sum())
    return Context(
        factors=rng.uniform(1, 3, gates),
        ghosts=tuple(ghosts),
        kicks=tuple(
            Kick(int(rng.integers(n)), float(t), float(rng.normal()), float(rng.random() < 0.6) * 0.05) for t in times
        ),
        readout=rng.uniform(0, 0.02, (n, 2)),
        start=rng.uniform(0, 0.1, n),
    )


def prepare(
    circuit: IsaCircuit, noise: RegionNoise, context: Context = NO_CONTEXT, angles: NDArray[np.float64] = NO_ANGLES
) -> Prepared:
    """A circuit as engines see it."""
    return Prepared(RegionTask((circuit,), (angles,), noise, (), (context,)), SliceSpec(0, 0, 1, 0))


def aer_probabilities(prepared: Prepared, angles: Sequence[float] = ()) -> NDArray[np.float64]:
    """Of every outcome of all local qubits, by Aer's density matrix with the ghosts as qubits: the reference."""
    return run_on_aer(superoperators(prepared, list(angles)), prepared.width, range(prepared.circuit.num_qubits))


def run_on_aer(happenings, num_qubits: int, read: Sequence[int]) -> NDArray[np.float64]:
    """Superoperators and phases → probabilities of some qubits, the first of them least significant."""
    circuit = aer._blank(num_qubits, 1)
    for qubits, what in happenings:
        if isinstance(what, np.ndarray):
            circuit.superop(list(qubits), what.copy(), -1, None)
        else:
            circuit.gate("cp", list(qubits), [what], [], -1, None, "")
    circuit.save_state(list(read), "save_probabilities", "average", "p")
    config = aer.AerConfig()
    config.method, config.library_dir = "density_matrix", aer.LIBRARY_DIR
    config.n_qubits, config.memory_slots, config.shots, config.seed_simulator = num_qubits, 1, 1, 1
    output = aer._CONTROLLER.execute([circuit], {}, config)
    assert output["success"], output
    return np.array(output["results"][0]["data"]["p"])
