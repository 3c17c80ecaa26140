"""The devices as this process knows them: model, current calibration, and the backends that tenants see on them.

Everything here follows from a device's snapshot, so it is built once a snapshot and shared by all threads. Shapes are
enumerated when somebody first asks for them.
"""

from __future__ import annotations

import re
import threading
from dataclasses import replace
from typing import TYPE_CHECKING

from qpu_backend.domain.backends import BackendName, parse_backend
from qpu_backend.domain.errors import UnknownBackend
from qpu_backend.domain.isa import IsaTarget
from qpu_backend.domain.proximity import Proximity
from qpu_backend.domain.quarantine import Quarantine
from qpu_backend.domain.slices import WHOLE, cut_to
from qpu_backend.domain.virtual import shape_of
from qpu_backend.physics.circuit import TWO_QUBIT_GATES, Op
from qpu_backend.physics.drift import Drift, Truth, quantised_us
from qpu_backend.physics.fidelity import LogErrors
from qpu_backend.physics.snapshot import Snapshot
from qpu_backend.pipeline.backends import Backend, Calibrated
from qpu_backend.pipeline.recent import Recent
from qpu_backend.stores import access, blobs, devices, snapshots
from qpu_sdk.wire.codec import unpack

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sqlalchemy import Connection

    from qpu_backend.domain.placement import EmbeddingTable
    from qpu_backend.domain.tenancy import TenantScope
    from qpu_backend.domain.views import DeviceView
    from qpu_backend.physics.device import DeviceModel
    from qpu_backend.pipeline.backends import DevicePolicy
    from qpu_backend.stores.devices import DeviceRow
    from qpu_backend.stores.snapshots import SnapshotRow

_ALWAYS = frozenset({Op.BARRIER, Op.DELAY, Op.MEASURE, Op.RESET, Op.IF})
"""Operations every device has beside its basis gates."""

_REMEMBERED_TRUTHS = 16
_REMEMBERED_PAST = 8
"""Backends as of older snapshots; one of a long shape has some MB of places."""
_REMEMBERED_BYTES = 256 << 20
"""Of places of a device's shapes as of now: thousands of shapes can be named, and the largest has 25 MB of places."""


def _no_backends() -> Recent[tuple[str, str], Backend | UnknownBackend]:
    return Recent(_REMEMBERED_BYTES)


class Fleet:
    """All devices of the service. Safe to call from many threads."""

    def __init__(
        self,
        models: Mapping[str, tuple[DeviceModel, DevicePolicy]],
        *,
        max_clbits: int,
        max_operations: int,
        max_simulated_qubits: int,
        drift_secret: bytes,
    ) -> None:
        self._models = dict(models)
        self._max_clbits = max_clbits
        self._max_operations = max_operations
        self._max_simulated_qubits = max_simulated_qubits
        self._lock = threading.Lock()
        self._current: dict[str, Calibrated] = {}
        self._backends = {device_id: _no_backends() for device_id in models}
        self._past: Recent[tuple[str, str], Backend] = Recent(_REMEMBERED_PAST)
        self._drift_secret = drift_secret
        self._drifts: dict[str, Drift] = {}
        self._truths: Recent[tuple[str, int, int], Truth] = Recent(_REMEMBERED_TRUTHS)

    @property
    def device_ids(self) -> tuple[str, ...]:
        return tuple(self._models)

    def refresh(self, connection: Connection, device: DeviceRow) -> Calibrated:
        """The device with its current snapshot, read from the database if this process does not know it yet."""
        current = self._current.get(device.id)
        if current is not None and current.row.id == device.snapshot_id:
            return current
        row = snapshots.read_snapshot(connection, device.snapshot_id or "")
        if row is None:
            raise UnknownBackend(device.id, "it has not been calibrated yet")
        calibrated = self.calibrated_as_of(connection, row)
        drift = self._drifts.get(device.id) or self._drift(connection, device.id)
        with self._lock:
            current = self._current.get(device.id)
            if current is not None and current.row.id == row.id:  # another thread read it meanwhile
                return current
            self._drifts[device.id] = drift
            self._current[device.id] = calibrated
            self._backends[device.id] = _no_backends()
        return calibrated

    def calibrated_as_of(self, connection: Connection, row: SnapshotRow) -> Calibrated:
        """The device with any of its published snapshots."""
        model, policy = self._models[row.device_id]
        quarantine = Quarantine.from_document(row.out_of_service)
        snapshot = quarantine.taken_from(self.measured(connection, row))
        proximity = Proximity.of(snapshot, model.crosstalk)
        return Calibrated(model, policy, snapshot, row, LogErrors.of(snapshot), proximity, quarantine)

    def measured(self, connection: Connection, row: SnapshotRow) -> Snapshot:
        """A published snapshot with what it does not offer because that is in quarantine."""
        snapshot = Snapshot.from_document(unpack(blobs.get_blob(connection, row.blob_sha)))
        return replace(snapshot, number=row.number)  # that of the calibration, where a quarantine changed since

    def calibrated(self, device_id: str) -> Calibrated:
        """The device as it was last refreshed."""
        return self._current[device_id]

    def drift(self, device_id: str) -> Drift:
        """How the device drifts from its first snapshot on, once it was refreshed."""
        return self._drifts[device_id]

    def truth(self, device_id: str, device_time_us: int) -> Truth:
        """What the device, as it was last refreshed, really is for a batch that starts at a device time.

        Operators' processes only: nothing of it is for tenants but what they measure.
        """
        calibrated_us = self._current[device_id].row.device_time_us
        key = (device_id, quantised_us(device_time_us, calibrated_us), calibrated_us)
        known = self._truths.get(key)
        if known is None:
            known = self._drifts[device_id].truth(*key[1:])
            self._truths.put(key, known, 1)
        return known

    def _drift(self, connection: Connection, device_id: str) -> Drift:
        _, policy = self._models[device_id]
        row = snapshots.first_snapshot(connection, device_id)
        if row is None:
            raise UnknownBackend(device_id, "it has not been calibrated yet")
        base = Snapshot.from_document(unpack(blobs.get_blob(connection, row.blob_sha)))
        return Drift(base, self._drift_secret, enabled=policy.drift, scale=policy.drift_scale)

    def backend(self, connection: Connection, name: str, scope: TenantScope | None = None) -> Backend:
        """The backend of that name with the device's current calibration.

        Args:
            connection: to read with.
            name: of a device or a slice, or of a shape on one.
            scope: of who asks; without one there are no slices.

        Raises:
            UnknownBackend: no such device, slice of this tenant, or shape, or the shape does not fit there.
        """
        device_id = self.device_of(name)
        device = None if device_id is None else devices.read_device(connection, device_id)
        if device is None:
            return self._backend(name, None, ())
        return self._backend(name, self.refresh(connection, device), self.slices_of(connection, device.id, scope))

    def device_of(self, name: str) -> str | None:
        """The device that a backend of that name is on, if there is one."""
        device_id = re.split("[/:]", name, maxsplit=1)[0]
        return device_id if device_id in self._models else None

    def backend_on(self, name: str, device: DeviceRow | None, tenant: str) -> Backend | None:
        """As :meth:`backend`, from the device's row; ``None`` where there is something new to be read for it.

        Args:
            name: as there.
            device: of :meth:`device_of`, as it is now.
            tenant: the name of that of who asks.

        Raises:
            UnknownBackend: as there.
        """
        if device is None:
            return self._backend(name, None, ())
        current = self._current.get(device.id)
        if current is None or current.row.id != device.snapshot_id:
            return None
        return self._backend(name, current, self._slices(device.id, tenant))

    def _backend(self, name: str, calibrated: Calibrated | None, slices: tuple[str, ...]) -> Backend:
        parsed = parse_backend(name)
        if calibrated is None:
            raise UnknownBackend(name, f"devices are {', '.join(self._models)}")
        if parsed.slice is not None and parsed.slice not in slices:
            raise UnknownBackend(name, f"you have no slice of that name on {parsed.device}")
        return self._known(parsed, calibrated)

    def slices_of(self, connection: Connection, device_id: str, scope: TenantScope | None) -> tuple[str, ...]:
        """The names of a tenant's slices on a device."""
        _, policy = self._models[device_id]
        if scope is None or not policy.slices:
            return ()
        return self._slices(device_id, access.read_tenant(connection, scope).name)

    def _slices(self, device_id: str, tenant: str) -> tuple[str, ...]:
        _, policy = self._models[device_id]
        return tuple(one.name for one in policy.slices if one.tenant == tenant)

    def _known(self, name: BackendName, calibrated: Calibrated) -> Backend:
        """The backend with this calibration, or why there is none, found out when somebody first asks for it."""
        key, remembered = (str(name), calibrated.row.id), self._backends[name.device]
        known = remembered.get(key)
        if known is None:
            try:
                known = self.backend_as_of(name, calibrated)
            except UnknownBackend as refusal:
                known = refusal
            shape = known.shape if isinstance(known, Backend) else None
            remembered.put(key, known, 1 if shape is None else shape.nbytes)
        if isinstance(known, UnknownBackend):
            raise UnknownBackend(key[0], known.reason)
        return known

    def past_backend(self, connection: Connection, name: BackendName, row: SnapshotRow) -> Backend:
        """The backend as it was published with a snapshot of its device."""
        key = (str(name), row.id)
        current = self._backends[name.device].get(key)
        known = current if isinstance(current, Backend) else self._past.get(key)
        if known is None:
            known = self.backend_as_of(name, self.calibrated_as_of(connection, row))
            self._past.put(key, known, 1)
        return known

    def backend_as_of(self, name: BackendName, calibrated: Calibrated) -> Backend:
        """The backend with any of its device's snapshots."""
        shape, within = None, calibrated.mask_of_place(name)
        if not within:
            raise UnknownBackend(str(name), f"no qubit of {name.place} is left: all are out of order or in slices")
        if name.shape is not None:
            model, errors = calibrated.model, calibrated.errors
            try:
                shape = shape_of(name.shape, model, calibrated.snapshot, errors, within=within, place=name.place)
            except ValueError as error:
                raise UnknownBackend(str(name), str(error)) from error
        snapshot = cut_to(calibrated.snapshot, within) if shape is None else shape.snapshot
        isa = self._isa(calibrated.model, snapshot)
        if shape is None:
            elsewhere = frozenset(calibrated.snapshot.usable_qubits) - isa.usable_qubits
            why = "is reserved for a slice of the device" if name.slice is None else "is outside the slice"
            isa = replace(isa, elsewhere=elsewhere, why_elsewhere=why, quarantine=calibrated.quarantine)
        return Backend(name, calibrated, shape, snapshot, isa, self._max_simulated_qubits)

    def device_view(self, device_id: str, shapes: Iterable[str]) -> DeviceView:
        """The chip for the planner, with the shapes that the queue asks for."""
        calibrated = self._current[device_id]
        return calibrated.device_view(self.tables_as_of(calibrated, shapes))

    def tables_as_of(self, calibrated: Calibrated, shapes: Iterable[str]) -> dict[str, EmbeddingTable]:
        """Where shapes fit by one of a device's calibrations; what fits nowhere is left out."""
        tables = {shape: self._table(calibrated.model.name, shape, calibrated) for shape in shapes}
        return {shape: table for shape, table in tables.items() if table is not None}

    def _table(self, device_id: str, shape: str, calibrated: Calibrated) -> EmbeddingTable | None:
        try:
            whole = WHOLE if calibrated.policy.slices else None
            found = self._known(BackendName(device_id, shape, whole), calibrated).shape
        except UnknownBackend:  # it fitted when the job was admitted, and a calibration took a qubit since
            return None
        return None if found is None else found.table

    def _isa(self, model: DeviceModel, snapshot: Snapshot) -> IsaTarget:
        edges: dict[Op, set[tuple[int, int]]] = {}
        for op, qubits in snapshot.gates:
            if op in TWO_QUBIT_GATES:
                edges.setdefault(op, set()).add((qubits[0], qubits[1]))
        return IsaTarget(
            num_qubits=snapshot.num_qubits,
            basis=frozenset(model.basis) | _ALWAYS,
            edges={op: frozenset(pairs) for op, pairs in edges.items()},
            usable_qubits=frozenset(snapshot.usable_qubits),
            max_clbits=self._max_clbits,
            max_operations=self._max_operations,
        )
