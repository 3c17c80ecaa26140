"""The result of a job as bytes: every shot of every pub, or expectation values, and how it was run.

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


@dataclass(frozen=True, slots=True)
class Register:
    """A classical register: its name and the classical bits it names, least significant first."""

    name: str
    clbits: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ShotsOfPub:
    """Measured bits of one pub.

    Attributes:
        bits: uint8, shape ``(num_bindings, shots, ceil(num_clbits / 8))``; classical bit ``i`` is bit ``i % 8`` of
        byte ``i // 8``. num_clbits: classical bits of the circuit. registers: the circuit's classical registers, in
        order.
    """

    bits: NDArray[np.uint8]
    num_clbits: int
    registers: tuple[Register, ...]


@dataclass(frozen=True, slots=True)
class ExpectationsOfPub:
    """Estimates of one pub, in the order of the request's ``pairs``.

    Attributes:
        evs: float64, shape ``(num_pairs,)``.
        stds: standard errors, same shape.
        shots: shots per binding and measurement basis.
        target_precision: what was asked for.
    """

    evs: NDArray[np.float64]
    stds: NDArray[np.float64]
    shots: int
    target_precision: float


@dataclass(frozen=True, slots=True)
class JobResult:
    """Everything a job measured.

    Attributes:
        metadata: how it ran: ``calibration_id, device_time_us, placement, co_tenants, crosstalk_loss, seed, methods,
        versions``.
    """

    job_id: str
    program: ProgramKind
    pubs: tuple[ShotsOfPub | ExpectationsOfPub, ...]
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


def _encode_pub(pub: ShotsOfPub | ExpectationsOfPub) -> dict[str, object]:
    if isinstance(pub, ShotsOfPub):
        registers = [[register.name, list(register.clbits)] for register in pub.registers]
        return {"bits": pub.bits, "num_clbits": pub.num_clbits, "registers": registers}
    return {"evs": pub.evs, "stds": pub.stds, "shots": pub.shots, "target_precision": pub.target_precision}


def _decode_pub(pub: dict[str, Any]) -> ShotsOfPub | ExpectationsOfPub:
    if "bits" in pub:
        registers = tuple(Register(name, tuple(clbits)) for name, clbits in pub["registers"])
        return ShotsOfPub(bits=pub["bits"], num_clbits=pub["num_clbits"], registers=registers)
    return ExpectationsOfPub(
        evs=pub["evs"], stds=pub["stds"], shots=pub["shots"], target_precision=pub["target_precision"]
    )
