"""What an engine is asked and what it answers: values that cross to a worker as bytes.

The bytes of a :class:`RegionTask` are the *execution record* of a placement: stored before it runs, and enough to run
it again, whatever becomes of drift code and neighbours. Circuits here are relocated: their ``qubits`` are physical.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

from qpu_backend.physics.circuit import IsaCircuit
from qpu_backend.physics.context import NO_CONTEXT, Context, Profile
from qpu_backend.physics.snapshot import RegionNoise
from qpu_sdk.wire.codec import pack, unpack
from qpu_sdk.wire.errors import MalformedPayload

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

TASK_VERSION: Final = 2
ENGINE_VERSION: Final = "3"
"""Changes whenever the same record may give other counts."""


@dataclass(frozen=True, slots=True, eq=False)
class SliceSpec:
    """Some shots of one circuit under one binding. Each slice is its own simulator run, with its own seed.

    Attributes:
        circuit: index into :attr:`RegionTask.circuits`.
        binding: row of that circuit's table of angles; 0 for a circuit without parameters.
        shots: at least 1.
        seed: 0 … 2⁶³ − 1.
        context: index into :attr:`RegionTask.contexts`: what the neighbours do meanwhile.
        level: 2 for bits, 1 for the points in the IQ plane that a discriminator would turn into them.
    """

    circuit: int
    binding: int
    shots: int
    seed: int
    context: int = 0
    level: int = 2


@dataclass(frozen=True, slots=True, eq=False)
class RegionTask:
    """Everything one placement needs to be simulated alone.

    Attributes:
        circuits: relocated circuits; all their qubits are in ``noise``.
        angles: per circuit, float64 ``(num_bindings, num_slots)``; ``(1, 0)`` for a circuit without slots.
        noise: the device as the region sees it.
        slices: what to run, in order.
        contexts: what neighbours do, each once; the first one is the default.
    """

    circuits: tuple[IsaCircuit, ...]
    angles: tuple[NDArray[np.float64], ...]
    noise: RegionNoise
    slices: tuple[SliceSpec, ...]
    contexts: tuple[Context, ...] = (NO_CONTEXT,)

    def to_bytes(self) -> bytes:
        """The execution record; the same task always gives the same bytes."""
        return pack(
            {
                "task_version": TASK_VERSION,
                "circuits": [circuit.to_document() for circuit in self.circuits],
                "angles": list(self.angles),
                "noise": self.noise.to_document(),
                "slices": [[s.circuit, s.binding, s.shots, s.seed, s.context, s.level] for s in self.slices],
                "contexts": [context.to_document() for context in self.contexts],
            }
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> RegionTask:
        """Inverse of :meth:`to_bytes`.

        Raises:
            MalformedPayload: not an execution record of this version.
        """
        document: Any = unpack(data)
        version: Any = document.get("task_version") if hasattr(document, "get") else None
        if version != TASK_VERSION:
            raise MalformedPayload(f"not a version {TASK_VERSION} execution record")
        return cls(
            circuits=tuple(IsaCircuit.from_document(circuit) for circuit in document["circuits"]),
            angles=tuple(document["angles"]),
            noise=RegionNoise.from_document(document["noise"]),
            slices=tuple(SliceSpec(*row) for row in document["slices"]),
            contexts=tuple(Context.from_document(context) for context in document["contexts"]),
        )


@dataclass(frozen=True, slots=True, eq=False)
class SliceOutcome:
    """What one slice measured.

    Attributes:
        bits: uint8, ``(shots, ceil(num_clbits / 8))``; classical bit ``i`` is bit ``i % 8`` of byte ``i // 8``.
        method: the simulation method, a :class:`qpu_backend.physics.method.Method`.
        points: level 1: complex64, ``(shots, num_clbits)``: the IQ point that each classical bit was read from; 0 where
            nothing was measured into it. ``None`` at level 2.
    """

    bits: NDArray[np.uint8]
    method: str
    points: NDArray[np.complex64] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class TaskOutcome:
    """What became of one task.

    Attributes:
        slices: one outcome per slice; empty when the task failed.
        cpu_us: processor time spent.
        failure: ``None``, or a sentence that says why it failed. One failed task never fails another.
    """

    slices: tuple[SliceOutcome, ...]
    cpu_us: int
    failure: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class WorkerReport:
    """Answer to one call of :func:`qpu_backend.engines.worker.run_tasks`.

    Attributes:
        tasks: one outcome per task, in order.
        fingerprint: versions of what computed them: ``engine numpy qiskit qiskit_aer``.
    """

    tasks: tuple[TaskOutcome, ...]
    fingerprint: dict[str, str]


class Engine(Protocol):
    """Runs the slices of one region. Nothing else on the chip changes what it answers."""

    def run(self, task: RegionTask) -> tuple[SliceOutcome, ...]:
        """One outcome per slice, in order; a function of the task alone."""
        ...


def join_tasks(records: Sequence[bytes]) -> bytes:
    """Execution records → the payload of one worker call."""
    return pack(list(records))


def split_tasks(payload: bytes) -> list[bytes]:
    """Inverse of :func:`join_tasks`."""
    records: list[bytes] = unpack(payload)
    return records


def encode_report(report: WorkerReport) -> bytes:
    """Report → bytes."""
    tasks: list[Any] = [[[[s.bits, s.method, s.points] for s in t.slices], t.cpu_us, t.failure] for t in report.tasks]
    return pack({"tasks": tasks, "fingerprint": report.fingerprint})


def decode_report(data: bytes) -> WorkerReport:
    """Bytes → report.

    Raises:
        MalformedPayload: not a report.
    """
    document = unpack(data)
    try:
        return WorkerReport(
            tasks=tuple(
                TaskOutcome(tuple(SliceOutcome(*outcome) for outcome in slices), cpu_us, failure)
                for slices, cpu_us, failure in document["tasks"]
            ),
            fingerprint=document["fingerprint"],
        )
    except (KeyError, TypeError, ValueError) as error:
        raise MalformedPayload(f"not a worker report: {error}") from error


@dataclass(frozen=True, slots=True, eq=False)
class ProfileTask:
    """Asks how one circuit looks from next door.

    Attributes:
        circuit: relocated.
        angles: float64, ``(num_bindings, num_slots)``: the bindings to average over.
        noise: the device as the region sees it.
        start: float64, ``(n,)``: excitation of each local qubit at the beginning of a shot, or empty.
        qubits: local qubits whose occupation over time is wanted.
    """

    circuit: IsaCircuit
    angles: NDArray[np.float64]
    noise: RegionNoise
    start: NDArray[np.float64]
    qubits: tuple[int, ...]

    def to_bytes(self) -> bytes:
        """The same task always gives the same bytes."""
        return pack(
            {
                "circuit": self.circuit.to_document(),
                "angles": self.angles,
                "noise": self.noise.to_document(),
                "start": self.start,
                "qubits": list(self.qubits),
            }
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> ProfileTask:
        """Inverse of :meth:`to_bytes`."""
        document: Any = unpack(data)
        return cls(
            circuit=IsaCircuit.from_document(document["circuit"]),
            angles=document["angles"],
            noise=RegionNoise.from_document(document["noise"]),
            start=document["start"],
            qubits=tuple(document["qubits"]),
        )


def encode_profiles(profiles: Sequence[Profile]) -> bytes:
    """Profiles → bytes."""
    return pack([profile.to_document() for profile in profiles])


def decode_profiles(data: bytes) -> list[Profile]:
    """Inverse of :func:`encode_profiles`."""
    return [Profile.from_document(document) for document in unpack(data)]
