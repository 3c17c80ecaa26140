"""What the jobs of one kind run on one device: compiled once for the shape that suits it, with the time it takes.

    OpenQASM ──compile, for each shape of that many qubits──► the smallest median −ln F over its places ──► Footprint

A measured stand-alone time is made true by the repetition delay: ``overhead + shots · (delay + T) = measured``, with
the circuit's own T. So the planner packs by measured times and still knows how long the qubits are busy.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, log1p
from typing import TYPE_CHECKING, Final

import numpy as np

from qpu_backend.domain.footprint import Footprint
from qpu_backend.domain.rounds import Need, stand_alone_us
from qpu_backend.domain.virtual import shape_of
from qpu_backend.engines.catalogue import read_device
from qpu_backend.engines.transpiling import AbstractCircuit, target_of
from qpu_backend.physics.circuit import ONE_QUBIT_GATES, TWO_QUBIT_GATES, Op
from qpu_backend.physics.exposure import mean_areas
from qpu_backend.physics.fidelity import LogErrors
from qpu_backend.physics.relocate import relocate
from qpu_backend.physics.timing import Durations, summarise

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from qpu_backend.domain.virtual import Shape
    from qpu_backend.physics.circuit import IsaCircuit, Operations
    from qpu_backend.physics.device import DeviceModel
    from qpu_backend.physics.snapshot import Snapshot
    from qpu_backend.physics.timing import Row

SEED: Final = 7
"""Of the compiler."""
WORTH_A_SHAPE: Final = 0.1
"""−ln F that a tee or a grid must save over the line, which has more places and so waits less."""
_EXACT: Final = 32
"""Places whose success is worked out gate by gate."""


def candidate_shapes(num_qubits: int) -> tuple[str, ...]:
    """Names of the shapes of so many qubits that a kind is compiled for: the line, tees and grids."""
    n = max(2, num_qubits)
    tees = [f"tee-{a}-{b}-{n - 1 - a - b}" for a in range(n) for b in range(1, a + 1) if 1 <= n - 1 - a - b <= b]
    grids = [f"grid-{rows}-{n // rows}" for rows in range(2, n) if n % rows == 0 and n // rows >= rows]
    return (f"line-{n}", *tees, *grids)


@dataclass(frozen=True, slots=True, eq=False)
class Chip:
    """A device of the catalogue with its published calibration; shapes are found when they are first asked for."""

    model: DeviceModel
    snapshot: Snapshot
    errors: LogErrors
    shapes: dict[str, Shape | None]

    @classmethod
    def named(cls, name: str) -> Chip:
        """Read it.

        Raises:
            InvalidDevice: the catalogue has no such device.
        """
        model, snapshot = read_device(name)
        return cls(model, snapshot, LogErrors.of(snapshot), {})

    @property
    def overhead_us(self) -> int:
        return round(1e6 * self.model.timing.overhead_s)

    def shape(self, name: str) -> Shape | None:
        """The shape, or ``None`` if it fits nowhere."""
        if name not in self.shapes:
            try:
                self.shapes[name] = shape_of(name, self.model, self.snapshot, self.errors)
            except ValueError:
                self.shapes[name] = None
        return self.shapes[name]


@dataclass(frozen=True, slots=True, eq=False)
class Kind:
    """What the jobs of one kind run on one device.

    Attributes:
        name: of the kind.
        source: as written.
        shape: the shape it is compiled for.
        circuit: on the shape's positions.
        footprint: what the planner knows of it.
        own_us: device time alone.
        first_choice: where its predicted loss, waiting and ZZ included, is smallest while the chip is empty.
        best_region: where its Π(1 − error) is largest while the chip is empty.
        best_esp: how large.
    """

    name: str
    source: AbstractCircuit
    shape: Shape
    circuit: IsaCircuit
    footprint: Footprint
    own_us: int
    first_choice: tuple[int, ...]
    best_region: tuple[int, ...]
    best_esp: float


def success(circuit: IsaCircuit, snapshot: Snapshot) -> float:
    """Π(1 − error) over the gates and measurements of a placed circuit; of an ``if_else`` the worse branch."""

    def loss(operations: Operations) -> float:
        total = 0.0
        rows: list[Row] = operations.tolist()
        for code, q0, q1, _, _, _, aux in rows:
            op = Op(code)
            if op in ONE_QUBIT_GATES:
                total -= log1p(-snapshot.gate(op, (circuit.qubits[q0],)).error)
            elif op in TWO_QUBIT_GATES:
                total -= log1p(-snapshot.gate(op, (circuit.qubits[q0], circuit.qubits[q1])).error)
            elif op is Op.MEASURE:
                total -= log1p(-snapshot.qubit(circuit.qubits[q0]).readout_error)
            elif op is Op.IF:
                branches = circuit.conditionals[aux]
                total += max(loss(branches.then_body), loss(branches.else_body))
        return total

    return exp(-loss(circuit.operations))


def compile_kind(
    chip: Chip, name: str, source: AbstractCircuit, shapes: Iterable[str], shots: int, standalone_us: int | None
) -> Kind | None:
    """Compile a kind for the shape where its predicted loss is smallest; one other than the first must be worth it.

    Args:
        chip: the device.
        name: of the kind.
        source: what its jobs run.
        shapes: the candidates, the one with most places first.
        shots: of a job.
        standalone_us: measured device time of a job alone, or ``None`` for the time model's.

    Returns:
        ``None`` if no candidate fits on the device.

    Raises:
        InvalidCircuit: it cannot be compiled.
        ValueError: the measured time is shorter than the device's overhead.
    """
    found: tuple[Shape, IsaCircuit, Footprint] | None = None
    to_beat = 0.0
    for shape_name in shapes:
        shape = chip.shape(shape_name)
        if shape is None:
            continue
        circuit = source.compile(target_of(shape.snapshot, chip.model.two_qubit_gate), SEED)
        footprint = _footprint(chip, shape, circuit, shots, standalone_us)
        loss = float(np.median(shape.table.score(footprint)))
        if found is None:
            found, to_beat = (shape, circuit, footprint), loss - WORTH_A_SHAPE
        elif loss < to_beat:
            found, to_beat = (shape, circuit, footprint), loss
    if found is None:
        return None
    shape, circuit, footprint = found
    default_ns = round(1000 * chip.model.timing.rep_delay_us)
    delay_ns = default_ns if footprint.rep_delay_ns is None else footprint.rep_delay_ns
    region, esp = best_place(chip, shape, circuit)
    return Kind(
        name=name,
        source=source,
        shape=shape,
        circuit=circuit,
        footprint=footprint,
        own_us=stand_alone_us(chip.overhead_us, delay_ns, footprint.needs),
        first_choice=tuple(shape.table.regions[int(np.argmin(shape.table.score(footprint)))].tolist()),
        best_region=region,
        best_esp=esp,
    )


def best_place(chip: Chip, shape: Shape, circuit: IsaCircuit) -> tuple[tuple[int, ...], float]:
    """The place of a shape where a circuit's Π(1 − error) is largest, and how large.

    Places are ranked by tables in which each coupler has its better direction; the first are worked out exactly.
    """
    summary = summarise(circuit, Durations.of(shape.snapshot))
    places = shape.table.regions.astype(np.intp)
    loss: NDArray[np.float64] = np.zeros(len(places))
    for (a, b), count in summary.edge_counts:
        loss += count * chip.errors.edge[places[:, summary.qubits[a]], places[:, summary.qubits[b]]]
    for local, position in enumerate(summary.qubits):
        loss += summary.sx_counts[local] * chip.errors.sx[places[:, position]]
        if local in summary.measured:
            loss += chip.errors.readout[places[:, position]]
    first = [tuple(places[row].tolist()) for row in np.argsort(loss, kind="stable")[:_EXACT]]
    return max(
        ((place, success(relocate(circuit, place, chip.snapshot), chip.snapshot)) for place in first), key=_second
    )


def _second(pair: tuple[tuple[int, ...], float]) -> float:
    return pair[1]


def timed(chip: Chip, duration_ns: int, shots: int, standalone_us: int | None) -> tuple[tuple[Need, ...], int | None]:
    """One execution that takes the measured time, and the repetition delay that makes it so.

    Raises:
        ValueError: the measured time is shorter than the device's overhead.
    """
    if standalone_us is None:
        return (Need(1, shots, duration_ns),), None
    if standalone_us <= chip.overhead_us:
        raise ValueError(
            f"{standalone_us / 1e6:g} s is no more than the overhead of {chip.model.name}, {chip.overhead_us / 1e6:g} s"
        )
    period_ns = round(1000 * (standalone_us - chip.overhead_us) / shots)
    return (Need(1, shots, min(duration_ns, period_ns)),), max(0, period_ns - duration_ns)


def _footprint(chip: Chip, shape: Shape, circuit: IsaCircuit, shots: int, standalone_us: int | None) -> Footprint:
    durations = Durations.of(shape.snapshot)
    summary = summarise(circuit, durations)
    edges: dict[tuple[int, int], float] = {}
    for (a, b), count in summary.edge_counts:
        pair = (summary.qubits[a], summary.qubits[b])
        key = (min(pair), max(pair))
        edges[key] = edges.get(key, 0.0) + count
    needs, rep_delay_ns = timed(chip, round(summary.duration_ns), shots, standalone_us)
    areas = ()
    if shape.zz_hz:
        areas = mean_areas((circuit,), durations, shape.table.pairs, shape.zz_hz, chip.model.crosstalk.zz.echo)
    return Footprint(
        shape=shape.name,
        qubits=summary.qubits,
        edge_counts=tuple(sorted(edges.items())),
        sx_counts=tuple(summary.sx_counts.astype(float).tolist()),
        measured=tuple(sorted(summary.qubits[local] for local in summary.measured)),
        idle_ns=tuple(summary.idle_ns.tolist()),
        needs=needs,
        rep_delay_ns=rep_delay_ns,
        zz_areas=areas,
    )
