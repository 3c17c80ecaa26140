"""Results on the wire → what Qiskit's users hold: ``Result`` with hex counts and memory, ``DataBin`` for primitives.

At measurement level 1 a ``Result`` holds IQ points: nested lists ``[shots][slots][2]``, or ``[slots][2]`` of means.

Like ``wire.circuits`` this file needs Qiskit and is loaded only where needed.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownParameterType=false, reportUnknownLambdaType=false
# (Qiskit ships no types: what comes from it is unknown to the checker.)

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import ValidationError
from qiskit.primitives import BitArray, DataBin, PrimitiveResult, PubResult, SamplerPubResult
from qiskit.result import QuasiDistribution, Result
from qiskit.result.models import ExperimentResult, ExperimentResultData, MeasLevel, MeasReturnType

from qpu_sdk.wire.errors import MalformedPayload
from qpu_sdk.wire.results import ExpectationsOfPub, JobResult, PointsOfPub, QuasiOfBinding, ShotsOfPub
from qpu_sdk.wire.shapes import MAX_EXPANDED, PubShape

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray
    from qiskit import QuantumCircuit

    from qpu_sdk.wire.results import PubAnswer

DATABIN_RESERVED = frozenset({"shape", "values", "keys", "items", "ndim", "size"})
"""Register names that a ``DataBin`` cannot hold."""


@dataclass(frozen=True, slots=True)
class PubOnClient:
    """What of a pub never left the client and is put back on its result.

    Attributes:
        shape: the pub's broadcast shape; ``None`` where it is not known, so that results stay flat.
        copies: how many pubs on the wire this one became (a shape without parameters runs the circuit once per entry).
        expand: estimator: flat index into the distinct pairs that were sent, shape ``(size,)``.
        metadata: the circuit's metadata, any Python object.
        header: header of the ``Result`` of ``backend.run``, as Aer writes it.
    """

    shape: tuple[int, ...] | None = None
    copies: int = 1
    expand: NDArray[np.intp] | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    header: dict[str, Any] | None = None


def circuit_header(circuit: QuantumCircuit) -> dict[str, Any]:
    """The experiment header that Aer gives a circuit."""
    return {
        "creg_sizes": [[register.name, register.size] for register in circuit.cregs],
        "global_phase": float(circuit.global_phase),
        "memory_slots": circuit.num_clbits,
        "n_qubits": circuit.num_qubits,
        "name": circuit.name,
        "qreg_sizes": [[register.name, register.size] for register in circuit.qregs],
        "metadata": circuit.metadata,
    }


def to_result(
    result: JobResult,
    pubs: Sequence[PubOnClient],
    *,
    backend_name: str,
    backend_version: str,
    memory: bool,
    date: object,
) -> Result:
    """The result of ``backend.run``."""
    seed = result.metadata.get("seed")
    experiments: list[ExperimentResult] = []
    for index, (answer, pub) in enumerate(zip(result.pubs, _padded(pubs, result), strict=True)):
        if isinstance(answer, ExpectationsOfPub):
            raise MalformedPayload("a result of circuits holds expectation values")
        header = pub.header or _later_header(answer, index)
        if isinstance(answer, PointsOfPub):
            experiments.append(_experiment_of_points(answer, header, seed))
        else:
            experiments.append(_experiment(answer, header, memory=memory, seed=seed))
    return Result(
        backend_name=backend_name,
        backend_version=backend_version,
        job_id=result.job_id,
        success=True,
        results=experiments,
        date=date,
        status="COMPLETED",
        metadata=result.metadata,
    )


def to_sampler_result(result: JobResult, pubs: Sequence[PubOnClient]) -> PrimitiveResult[SamplerPubResult]:
    """The result of the sampler: one ``BitArray`` per classical register."""
    answers = _shots(result)
    answered: list[SamplerPubResult] = []
    for pub in _padded(pubs, result):
        pieces = [next(answers) for _ in range(pub.copies)]
        first = pieces[0]
        bits = first.bits if len(pieces) == 1 else np.concatenate([piece.bits for piece in pieces])
        shape = pub.shape if pub.shape is not None else _flat_shape(bits.shape[0])
        arrays = {
            register.name: register_bits(bits, register.clbits, first.num_clbits, shape)
            for register in first.registers
            if register.name not in DATABIN_RESERVED
        }
        metadata: dict[str, Any] = {"shots": int(bits.shape[1]), "circuit_metadata": pub.metadata}
        if first.quasi:
            found = [_quasi_distribution(one, int(bits.shape[1])) for piece in pieces for one in piece.quasi]
            metadata["resilience"] = {"quasi_distributions": found}
        answered.append(SamplerPubResult(DataBin(**arrays, shape=shape), metadata=metadata))
    return PrimitiveResult(answered, metadata={"version": 2, "job_id": result.job_id, "execution": _execution(result)})


def to_estimator_result(result: JobResult, pubs: Sequence[PubOnClient]) -> PrimitiveResult[PubResult]:
    """The result of the estimator: ``evs`` and ``stds`` in the pub's broadcast shape."""
    answered: list[PubResult] = []
    for pub, answer in zip(_padded(pubs, result), result.pubs, strict=True):
        if not isinstance(answer, ExpectationsOfPub):
            raise MalformedPayload("an estimator's result holds shots")
        expand = pub.expand if pub.expand is not None else np.arange(answer.evs.size)
        shape = pub.shape if pub.shape is not None else _flat_shape(answer.evs.size)
        evs, stds = answer.evs[expand].reshape(shape), answer.stds[expand].reshape(shape)
        metadata = {
            "target_precision": answer.target_precision,
            "shots": int(answer.shots),
            "circuit_metadata": pub.metadata,
        }
        if resilience := _resilience(answer, expand, shape):
            metadata["resilience"] = resilience
        answered.append(PubResult(DataBin(evs=evs, stds=stds, shape=shape), metadata=metadata))
    return PrimitiveResult(answered, metadata={"version": 2, "job_id": result.job_id, "execution": _execution(result)})


def _quasi_distribution(found: QuasiOfBinding, shots: int) -> QuasiDistribution:
    """Of all classical bits as one integer, bit 0 least significant."""
    keys = [int.from_bytes(string.tobytes(), "little") for string in found.strings]
    values = dict(zip(keys, found.values.tolist(), strict=True))
    return QuasiDistribution(values, shots=shots, stddev_upper_bound=float(np.sqrt(found.overhead / shots)))


def _resilience(answer: ExpectationsOfPub, expand: NDArray[np.intp], shape: tuple[int, ...]) -> dict[str, Any]:
    """What mitigation says of a pub's estimates, in their shape; the noise factors are the last axis."""
    told: dict[str, Any] = {}
    if answer.overheads is not None:
        told["measure_mitigation"] = {"overhead": answer.overheads[expand].reshape(shape)}
    if answer.evs_noise_factors is not None and answer.stds_noise_factors is not None:
        curves = np.array(answer.extrapolators)[expand].reshape(shape)
        told["zne"] = {
            "evs_noise_factors": answer.evs_noise_factors[expand].reshape((*shape, -1)),
            "stds_noise_factors": answer.stds_noise_factors[expand].reshape((*shape, -1)),
            "extrapolator": str(curves) if shape == () else curves,
        }
    return told


def register_bits(
    bits: NDArray[np.uint8], clbits: tuple[int, ...], num_clbits: int, shape: tuple[int, ...]
) -> BitArray:
    """The bits of one register.

    Args:
        bits: uint8, shape ``(num_bindings, shots, num_bytes)``, little-endian bits and bytes.
        clbits: the register's classical bits, least significant first.
        num_clbits: classical bits of the circuit.
        shape: shape of the pub, with ``num_bindings`` entries.
    """
    num_bits = len(clbits)
    if clbits == tuple(range(num_clbits)):  # the register is all there is: only the byte order differs
        packed = bits[..., ::-1]
    else:
        unpacked = np.unpackbits(bits, axis=-1, bitorder="little")[..., list(clbits)]
        packed = np.packbits(unpacked, axis=-1, bitorder="little")[..., ::-1]
    array = np.ascontiguousarray(packed).reshape((*shape, bits.shape[1], packed.shape[-1]))
    return BitArray(array, num_bits)


def hex_memory(bits: NDArray[np.uint8]) -> list[str]:
    """Every shot as Aer writes it: ``0x…`` of the classical bits, bit 0 least significant.

    Args:
        bits: uint8, shape ``(shots, num_bytes)``, little-endian bits and bytes.
    """
    num_bytes = bits.shape[1]
    raw = np.ascontiguousarray(bits).tobytes()
    shots = [raw[start : start + num_bytes] for start in range(0, len(raw), num_bytes)]
    names = {shot: hex(int.from_bytes(shot, "little")) for shot in set(shots)}
    return [names[shot] for shot in shots]


def iq_memory(points: NDArray[np.complex64]) -> list[Any]:
    """Points as Qiskit's results hold them: nested lists with ``[I, Q]`` innermost.

    Args:
        points: complex64, shape ``(shots, slots)`` or ``(slots,)``.
    """
    return np.stack([points.real, points.imag], axis=-1).astype(np.float64).tolist()


def _experiment_of_points(answer: PointsOfPub, header: dict[str, Any], seed: object) -> ExperimentResult:
    return ExperimentResult(
        shots=answer.shots,
        success=True,
        data=ExperimentResultData(memory=iq_memory(answer.points[0])),
        meas_level=MeasLevel.KERNELED,
        meas_return=MeasReturnType.AVERAGE if answer.averaged else MeasReturnType.SINGLE,
        status="DONE",
        seed=seed,
        header=header,
    )


def _experiment(shots: ShotsOfPub, header: dict[str, Any], *, memory: bool, seed: object) -> ExperimentResult:
    shots_memory = hex_memory(shots.bits[0]) if shots.num_clbits else []
    data: dict[str, Any] = {}
    if shots_memory:  # Aer leaves both out where a circuit has nothing to measure into
        data["counts"] = dict(Counter(shots_memory))
        if memory:
            data["memory"] = shots_memory
    return ExperimentResult(
        shots=int(shots.bits.shape[1]),
        success=True,
        data=ExperimentResultData(**data),
        meas_level=MeasLevel.CLASSIFIED,
        status="DONE",
        seed=seed,
        header=header,
    )


def _later_header(answer: ShotsOfPub | PointsOfPub, index: int) -> dict[str, Any]:
    """All that a result alone tells of a circuit, for a job fetched later."""
    return {
        "creg_sizes": [[register.name, len(register.clbits)] for register in answer.registers],
        "memory_slots": answer.num_clbits,
        "name": f"circuit-{index}",
        "metadata": {},
    }


def _shots(result: JobResult) -> Iterator[ShotsOfPub]:
    for answer in result.pubs:
        if not isinstance(answer, ShotsOfPub):
            raise MalformedPayload(f"a sampler's result holds {type(answer).__name__}")
        yield answer


def shapes_to_send(pubs: Sequence[PubOnClient]) -> list[PubShape] | None:
    """The shapes of pubs for whoever fetches the result later; ``None`` if it has them anyway, or they are too long."""
    shapes: list[PubShape] = []
    for pub in pubs:
        if pub.shape is None or (pub.expand is not None and pub.expand.size > MAX_EXPANDED):
            return None
        expand = None if pub.expand is None else pub.expand.tolist()
        as_it_is = expand is None or expand == list(range(len(expand)))
        shapes.append(PubShape(shape=list(pub.shape), copies=pub.copies, expand=None if as_it_is else expand))
    plain = all(one.copies == 1 and one.expand is None and len(one.shape) <= 1 for one in shapes)
    return None if plain and all(one.shape != [1] for one in shapes) else shapes


def _padded(pubs: Sequence[PubOnClient], result: JobResult) -> Sequence[PubOnClient]:
    """What the client kept; for a job fetched later the shapes that it was sent with, or blanks."""
    return pubs or _sent_shapes(result) or [PubOnClient() for _ in result.pubs]


def _sent_shapes(result: JobResult) -> list[PubOnClient] | None:
    """The shapes that came back with the result, if they fit to it."""
    try:
        shapes = [PubShape.model_validate(one) for one in result.metadata.get("pub_shapes") or ()]
    except ValidationError:  # of a later version
        return None
    answers = iter(result.pubs)
    sent: list[PubOnClient] = []
    for one in shapes:
        pieces = list(islice(answers, one.copies))
        entries = sum(piece.evs.size if isinstance(piece, ExpectationsOfPub) else len(_bits(piece)) for piece in pieces)
        expand = None if one.expand is None else np.array(one.expand, dtype=np.intp)
        known = entries if expand is None else expand.size * (expand.max(initial=0) < entries)
        if len(pieces) != one.copies or math.prod(one.shape) != known:
            return None
        sent.append(PubOnClient(shape=tuple(one.shape), copies=one.copies, expand=expand))
    return sent if next(answers, None) is None else None


def _bits(piece: PubAnswer) -> NDArray[Any]:
    return piece.bits if isinstance(piece, ShotsOfPub) else np.zeros(0)


def _execution(result: JobResult) -> dict[str, Any]:
    """How it ran, without what only says how to read the result."""
    return {name: value for name, value in result.metadata.items() if name != "pub_shapes"}


def _flat_shape(size: int) -> tuple[int, ...]:
    """The shape of a pub fetched later: a scalar for one entry, else one axis."""
    return () if size == 1 else (size,)
