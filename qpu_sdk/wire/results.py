"""The result of a job as bytes: every shot of every pub, IQ points, or expectation values, and how it was run.

A result is immutable and content-addressed: its ETag is the SHA-256 of these bytes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from qpu_sdk.wire.codec import pack, unpack
from qpu_sdk.wire.errors import MalformedPayload
from qpu_sdk.wire.models import WIRE_VERSION, ProgramKind

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


BYTES_OF_A_POINT = 8
"""Of an IQ point: two numbers of single precision."""
BYTES_OF_A_QUASI_PROBABILITY = 8


@dataclass(frozen=True, slots=True)
class Register:
    """A classical register: its name and the classical bits it names, least significant first."""

    name: str
    clbits: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class QuasiOfBinding:
    """Quasi-probabilities of the strings that one binding measured, with errors of readout inverted.

    Attributes:
        strings: uint8, ``(m, ceil(num_clbits / 8))``, bits as in :class:`ShotsOfPub`, each string once.
        values: float64, ``(m,)``; they sum to 1, and some may be negative.
        overhead: what the variance of a mean of values within ±1 is multiplied with, at most.
    """

    strings: NDArray[np.uint8]
    values: NDArray[np.float64]
    overhead: float


@dataclass(frozen=True, slots=True)
class ShotsOfPub:
    """Measured bits of one pub.

    Attributes:
        bits: uint8, shape ``(num_bindings, shots, ceil(num_clbits / 8))``; classical bit ``i`` is bit ``i % 8`` of
        byte ``i // 8``. num_clbits: classical bits of the circuit. registers: the circuit's classical registers, in
        order. quasi: of each binding, where readout was mitigated; the bits stay as they were read.
    """

    bits: NDArray[np.uint8]
    num_clbits: int
    registers: tuple[Register, ...]
    quasi: tuple[QuasiOfBinding, ...] = ()


@dataclass(frozen=True, slots=True)
class PointsOfPub:
    """IQ points of one pub: measurement level 1. Arbitrary units.

    Attributes:
        points: complex64, shape ``(num_bindings, shots, num_clbits)``, or ``(num_bindings, num_clbits)``: their mean
            over the shots. One point for each classical bit; 0 where nothing is measured into it.
        shots: how many were taken.
        registers: the circuit's classical registers, in order.
    """

    points: NDArray[np.complex64]
    shots: int
    registers: tuple[Register, ...]

    @property
    def averaged(self) -> bool:
        """Whether these are means over the shots."""
        return self.points.ndim == 2

    @property
    def num_clbits(self) -> int:
        return self.points.shape[-1]


@dataclass(frozen=True, slots=True)
class ExpectationsOfPub:
    """Estimates of one pub, in the order of the request's ``pairs``.

    Attributes:
        evs: float64, shape ``(num_pairs,)``.
        stds: standard errors, same shape.
        shots: shots per binding and measurement basis.
        target_precision: what was asked for.
        overheads: where readout was mitigated: what that multiplies a variance with, at most; ``(num_pairs,)``.
        evs_noise_factors, stds_noise_factors: where it was extrapolated to no noise: the estimates at each noise
            factor, ``(num_pairs, num_factors)``.
        extrapolators: the curve that was used for each.
    """

    evs: NDArray[np.float64]
    stds: NDArray[np.float64]
    shots: int
    target_precision: float
    overheads: NDArray[np.float64] | None = None
    evs_noise_factors: NDArray[np.float64] | None = None
    stds_noise_factors: NDArray[np.float64] | None = None
    extrapolators: tuple[str, ...] = ()


PubAnswer = ShotsOfPub | PointsOfPub | ExpectationsOfPub
"""What a pub can be answered with."""


@dataclass(frozen=True, slots=True)
class JobResult:
    """Everything a job measured.

    Attributes:
        metadata: how it ran: ``calibration_id, device_time_us, placement, co_tenants, crosstalk_loss, seed, methods,
        versions``, and, where there are any, ``warnings`` and ``mitigation``; ``replay`` in a replay. Of a job that ran
        in several legs, place, time, calibration and versions are those of the last one, the company is the largest,
        the loss a mean over shots, and ``legs`` has ``shots`` and all of these for each.
    """

    job_id: str
    program: ProgramKind
    pubs: tuple[PubAnswer, ...]
    metadata: dict[str, Any] = field(default_factory=dict)


def encode_result(result: JobResult) -> bytes:
    """Result → bytes, deterministic."""
    return pack(
        {
            "wire_version": WIRE_VERSION,
            "job_id": result.job_id,
            "program": str(result.program),
            "pubs": [_encode_pub(pub) for pub in result.pubs],
            "metadata": result.metadata,
        }
    )


def decode_result(data: bytes) -> JobResult:
    """Bytes → result.

    Raises:
        MalformedPayload: the bytes are not a result of a version this package reads.
    """
    unpacked: object = unpack(data)
    document = cast("dict[str, Any]", unpacked) if isinstance(unpacked, dict) else {}
    if document.get("wire_version") != WIRE_VERSION:
        raise MalformedPayload(f"not a version {WIRE_VERSION} result")
    try:
        return JobResult(
            job_id=document["job_id"],
            program=ProgramKind(document["program"]),
            pubs=tuple(_decode_pub(pub) for pub in document["pubs"]),
            metadata=document["metadata"],
        )
    except (KeyError, TypeError, ValueError) as error:
        raise MalformedPayload(f"not a result: {error}") from error


def _encode_pub(pub: PubAnswer) -> dict[str, object]:
    if isinstance(pub, ShotsOfPub):
        registers = _encode_registers(pub.registers)
        shots: dict[str, object] = {"bits": pub.bits, "num_clbits": pub.num_clbits, "registers": registers}
        quasi = [[one.strings, one.values, one.overhead] for one in pub.quasi]
        return shots | {"quasi": quasi} if quasi else shots
    if isinstance(pub, PointsOfPub):
        return {"points": pub.points, "shots": pub.shots, "registers": _encode_registers(pub.registers)}
    estimates: dict[str, object] = {
        "evs": pub.evs,
        "stds": pub.stds,
        "shots": pub.shots,
        "target_precision": pub.target_precision,
    }
    estimates |= {name: value for name in _MITIGATED if (value := getattr(pub, name)) is not None}
    return estimates | {"extrapolators": list(pub.extrapolators)} if pub.extrapolators else estimates


_MITIGATED = ("overheads", "evs_noise_factors", "stds_noise_factors")


def _decode_pub(pub: dict[str, Any]) -> PubAnswer:
    if "bits" in pub:
        return ShotsOfPub(
            bits=pub["bits"],
            num_clbits=pub["num_clbits"],
            registers=_decode_registers(pub["registers"]),
            quasi=tuple(QuasiOfBinding(*one) for one in pub.get("quasi", ())),
        )
    if "points" in pub:
        return PointsOfPub(points=pub["points"], shots=pub["shots"], registers=_decode_registers(pub["registers"]))
    return ExpectationsOfPub(
        evs=pub["evs"],
        stds=pub["stds"],
        shots=pub["shots"],
        target_precision=pub["target_precision"],
        extrapolators=tuple(pub.get("extrapolators", ())),
        **{name: pub[name] for name in _MITIGATED if name in pub},
    )


def _encode_registers(registers: tuple[Register, ...]) -> list[list[object]]:
    return [[register.name, list(register.clbits)] for register in registers]


def _decode_registers(registers: list[Any]) -> tuple[Register, ...]:
    return tuple(Register(name, tuple(clbits)) for name, clbits in registers)
