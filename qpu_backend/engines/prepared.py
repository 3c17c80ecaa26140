"""One circuit of a task in one of its contexts: what every engine works out before it runs the first slice of it.

What an engine does with it is a :class:`Piece`; :func:`run_slices` is the way from there to the outcomes of a task.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from qpu_backend.engines.acquisition import acquire
from qpu_backend.engines.protocol import SliceOutcome
from qpu_backend.physics.channels import readout_matrix
from qpu_backend.physics.circuit import Op
from qpu_backend.physics.method import Method, choose_method
from qpu_backend.physics.phases import GhostPhase, Phase
from qpu_backend.physics.program import Happening, Step, noisy_program
from qpu_backend.physics.timing import has_mid_circuit

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    from qpu_backend.engines.protocol import RegionTask, SliceSpec
    from qpu_backend.physics.snapshot import QubitProperties

Reading = tuple[int, int, "NDArray[np.float64] | None"]
"""A measurement: local qubit, classical bit, and ``matrix[prepared, read]`` unless it is perfect."""


class Prepared:
    """A circuit in a context. Lives as long as one task.

    Attributes:
        circuit: relocated.
        context: what its neighbours do.
        method: that its size, its measurements and ZZ ask for.
        program: what happens.
        qubits: properties of each local qubit.
        ghosts: by index among the context's ghosts, the number of each that keeps its memory, after the local qubits.
    """

    __slots__ = ("_factors", "circuit", "context", "ghosts", "method", "program", "qubits")

    def __init__(self, task: RegionTask, wanted: SliceSpec) -> None:
        """Of a slice.

        Raises:
            TooLarge: past the bound of every method.
            NotCalibrated: the circuit uses what its region does not offer.
        """
        self.circuit = circuit = task.circuits[wanted.circuit]
        self.context = context = task.contexts[wanted.context]
        mid_circuit = has_mid_circuit(circuit)
        choose_method(circuit.num_qubits, mid_circuit)  # before anything large is made
        self.program: tuple[Happening, ...] = noisy_program(circuit, task.noise, context)
        zz = any(isinstance(news, Phase | GhostPhase) for news in self.program)
        self.method = choose_method(circuit.num_qubits, mid_circuit, zz=zz)
        self.qubits: tuple[QubitProperties, ...] = tuple(task.noise.qubit(q) for q in circuit.qubits)
        self._factors: list[float] = context.factors.tolist()
        exact = [index for index, ghost in enumerate(context.ghosts) if not ghost.independent]
        self.ghosts = {index: circuit.num_qubits + place for place, index in enumerate(exact)}

    @property
    def width(self) -> int:
        """Qubits and ghosts."""
        return self.circuit.num_qubits + len(self.ghosts)

    def factor(self, step: Step) -> float:
        """How much worse a gate is than calibrated."""
        return self._factors[step.order] if self._factors and step.order >= 0 else 1.0

    def starts(self) -> list[tuple[int, float]]:
        """The number of each ghost, and the probability that it starts in 1."""
        return [(number, self.context.ghosts[index].start) for index, number in self.ghosts.items()]

    def readings(self, *, errors: bool) -> list[Reading]:
        """The measurements outside of branches, in order, with or without their errors."""
        found: list[Reading] = []
        for step in self.program:
            if isinstance(step, Step) and step.op is Op.MEASURE:
                q = step.qubits[0]
                matrix = readout_matrix(self.qubits[q], self.context.extra_readout(q))
                perfect = not errors or not (matrix[0, 1] or matrix[1, 0])
                found.append((q, step.clbit, None if perfect else matrix))
        return found


class Piece(Protocol):
    """One engine's way with one circuit in one context."""

    @property
    def method(self) -> Method:
        """How it is simulated."""
        ...

    def __call__(self, angles: list[float], wanted: SliceSpec) -> NDArray[np.uint8]:
        """The bits of a slice, as :attr:`SliceOutcome.bits`; at level 1 those without readout errors.

        Args:
            angles: the bound slots.
            wanted: the slice.
        """
        ...


def run_slices(task: RegionTask, piece_of: Callable[[Prepared], Piece]) -> tuple[SliceOutcome, ...]:
    """Run the slices of a task, in order; what slices of one circuit and context share is worked out once.

    Args:
        task: the task.
        piece_of: an engine.

    Raises:
        TooLarge: past the bound of every method.
        NotCalibrated: a circuit uses what its region does not offer, or level 1 asks for an unknown discriminator.
        ValueError: level 1, and the circuit has branches.
    """
    pieces: dict[tuple[int, int], tuple[Prepared, Piece]] = {}
    outcomes: list[SliceOutcome] = []
    for wanted in task.slices:
        key = (wanted.circuit, wanted.context)
        if key not in pieces:
            prepared = Prepared(task, wanted)
            pieces[key] = prepared, piece_of(prepared)
        prepared, piece = pieces[key]
        bits, points = piece(task.angles[wanted.circuit][wanted.binding].tolist(), wanted), None
        if wanted.level == 1:
            bits, points = acquire(bits, prepared.circuit, task.noise, prepared.context, wanted.seed)
        outcomes.append(SliceOutcome(bits, str(piece.method), points))
    return tuple(outcomes)
