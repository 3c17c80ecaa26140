"""Crosstalk as it is published: what was measured of it, in the newest calibration and when the device was set up."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import APIRouter

from qpu_backend.http.auth import ReadBackends  # noqa: TC001 - FastAPI reads annotations at run time
from qpu_backend.http.documents import wall
from qpu_backend.http.door import AtDoor  # noqa: TC001
from qpu_sdk.wire.crosstalk import CouplerZZ, CrosstalkDocument, SimultaneousGates

if TYPE_CHECKING:
    from qpu_backend.pipeline.backends import Backend

router = APIRouter(prefix="/backends", tags=["backends"])


@router.get("/{name:backend}/crosstalk")
def describe_crosstalk(door: AtDoor, scope: ReadBackends, name: str) -> CrosstalkDocument:
    """What neighbours do to each other: ZZ of every coupler, gates that disturb each other, and readout groups."""
    with door.database.read() as connection:
        backend = door.fleet.backend(connection, name, scope)
    return crosstalk_document(backend)


def crosstalk_document(backend: Backend) -> CrosstalkDocument:
    """The crosstalk of a backend as it is published."""
    crosstalk, row = backend.model.crosstalk, backend.calibrated.row
    conditional = crosstalk.conditional
    return CrosstalkDocument(
        name=str(backend.name),
        device=backend.device_id,
        calibration_id=row.id,
        calibrated_at=wall(row.published_at_us),
        zz=_zz(backend),
        simultaneous=_simultaneous(backend),
        ordinary_ratio=1.0 + conditional.scale * (conditional.ordinary_ratio - 1.0) if conditional.enabled else 1.0,
        readout_groups=_readout_groups(backend),
    )


def _zz(backend: Backend) -> list[CouplerZZ]:
    mechanism = backend.model.crosstalk.zz
    if not mechanism.enabled:
        return []
    if backend.shape is not None:
        return [CouplerZZ(qubits=(a, b), zz_hz=backend.shape.zz_hz) for a, b in backend.shape.table.pairs]
    usable = set(backend.isa.usable_qubits)
    return [
        CouplerZZ(qubits=edge, zz_hz=mechanism.scale * zz_hz)
        for edge, zz_hz in sorted(backend.snapshot.zz_hz.items())
        if usable.issuperset(edge)
    ]


def _simultaneous(backend: Backend) -> list[SimultaneousGates]:
    conditional = backend.model.crosstalk.conditional
    if backend.shape is not None or not conditional.enabled:
        return []
    usable = set(backend.isa.usable_qubits)
    return [
        SimultaneousGates(couplers=(one, other), ratio=conditional.ratio(one, other))
        for one, other in sorted(conditional.ratios)
        if usable.issuperset((*one, *other))
    ]


def _readout_groups(backend: Backend) -> list[list[int]]:
    readout = backend.model.crosstalk.readout
    if backend.shape is not None or not readout.enabled:
        return []
    groups: dict[int, list[int]] = {}
    for qubit in sorted(backend.isa.usable_qubits):
        groups.setdefault(qubit // readout.group, []).append(qubit)
    return [group for group in groups.values() if len(group) > 1]
