"""Parts: what each leg of a job measured, where and beside whom, kept until the last one is there to join them.

A job that runs in one piece is one part, and nothing of it is kept.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING, Any, Final

from qpu_backend.domain.deferral import Choice
from qpu_backend.engines.protocol import SliceOutcome
from qpu_backend.stores import batches, blobs
from qpu_sdk.wire.codec import pack, unpack
from qpu_sdk.wire.errors import MalformedPayload

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from qpu_backend.domain.tenancy import SystemScope
    from qpu_backend.pipeline.batching import Batch, Member
    from qpu_backend.pipeline.execution import MemberOutcome

PART_VERSION: Final = 1


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """One leg of a job as it ran.

    Attributes:
        executions: which execution of the program each slice belongs to.
        slices: what was measured, in order.
        fingerprint: versions of what computed it.
        calibration_id: of the device then.
        device_start_us: device time.
        region: physical qubit of each of its region qubits.
        co_tenants: how many other tenants shared the batch.
        crosstalk_loss: predicted loss of success probability to neighbours.
        caveats: warnings that go with the result.
        choices: of a deferred layout: which compilation each circuit was.
        readout: published errors of readout, where the job is mitigated by them.
    """

    executions: tuple[int, ...]
    slices: tuple[SliceOutcome, ...]
    fingerprint: dict[str, str]
    calibration_id: str
    device_start_us: int
    region: tuple[int, ...]
    co_tenants: str
    crosstalk_loss: float
    caveats: tuple[str, ...]
    choices: tuple[Choice, ...] = ()
    readout: tuple[tuple[int, float, float], ...] = ()

    @property
    def shots(self) -> int:
        return sum(len(piece.bits if piece.points is None else piece.points) for piece in self.slices)

    @classmethod
    def of(cls, batch: Batch, member: Member, outcome: MemberOutcome) -> Part:
        """What a batch measured for one of its jobs."""
        return cls(
            executions=member.slice_executions,
            slices=outcome.slices,
            fingerprint=outcome.fingerprint,
            calibration_id=batch.snapshot_id,
            device_start_us=batch.device_start_us,
            region=member.region,
            co_tenants=member.co_tenants,
            crosstalk_loss=member.crosstalk_loss,
            caveats=member.caveats,
            choices=member.choices,
            readout=member.readout,
        )

    def to_bytes(self) -> bytes:
        """The same part always gives the same bytes."""
        document: dict[str, Any] = {
            "part_version": PART_VERSION,
            "executions": list(self.executions),
            "slices": [[piece.bits, piece.method, piece.points] for piece in self.slices],
            "fingerprint": self.fingerprint,
            "calibration_id": self.calibration_id,
            "device_start_us": self.device_start_us,
            "region": list(self.region),
            "co_tenants": self.co_tenants,
            "crosstalk_loss": self.crosstalk_loss,
            "caveats": list(self.caveats),
            "choices": [astuple(choice) for choice in self.choices],
        }
        return pack(document | {"readout": [list(errors) for errors in self.readout]} if self.readout else document)

    @classmethod
    def from_bytes(cls, data: bytes) -> Part:
        """Inverse of :meth:`to_bytes`.

        Raises:
            MalformedPayload: not a part of this version.
        """
        document: Any = unpack(data)
        version: Any = document.get("part_version") if hasattr(document, "get") else None
        if version != PART_VERSION:
            raise MalformedPayload(f"not a version {PART_VERSION} part of a job")
        return cls(
            executions=tuple(document["executions"]),
            slices=tuple(SliceOutcome(*piece) for piece in document["slices"]),
            fingerprint=document["fingerprint"],
            calibration_id=document["calibration_id"],
            device_start_us=document["device_start_us"],
            region=tuple(document["region"]),
            co_tenants=document["co_tenants"],
            crosstalk_loss=document["crosstalk_loss"],
            caveats=tuple(document["caveats"]),
            choices=tuple(Choice(*choice) for choice in document["choices"]),
            readout=tuple((qubit, e0, e1) for qubit, e0, e1 in document.get("readout", ())),
        )


def earlier_parts(connection: Connection, scope: SystemScope, member: Member) -> tuple[Part, ...]:
    """What the legs of a job before this one measured, in order.

    Raises:
        ValueError: there are not as many of them as legs.
    """
    if member.leg == 0:
        return ()
    shas = batches.parts_of_job(connection, scope, member.job.id)[: member.leg]
    if len(shas) < member.leg:
        raise ValueError(f"job {member.job.id} has {len(shas)} parts before its leg {member.leg}")
    bodies = blobs.get_blobs(connection, shas)
    return tuple(Part.from_bytes(bodies[sha]) for sha in shas)
