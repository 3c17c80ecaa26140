"""What the configuration says, as the parts understand it: devices, lanes, slices, and the rows they begin with."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from qpu_backend.domain.audit import SERVICE
from qpu_backend.domain.lanes import Lane
from qpu_backend.domain.pricing import PriceBook
from qpu_backend.domain.slices import Slice
from qpu_backend.engines.catalogue import read_device
from qpu_backend.physics.device import Crosstalk
from qpu_backend.physics.errors import InvalidDevice
from qpu_backend.pipeline.backends import DevicePolicy
from qpu_backend.stores import audit, blobs, calibrations, devices, money, snapshots
from qpu_sdk.wire.codec import pack

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Connection

    from qpu_backend.config import DeviceSection, LaneSection, PriceSection, ServiceConfig, SliceSection
    from qpu_backend.domain.tenancy import SystemScope
    from qpu_backend.physics.device import DeviceModel
    from qpu_backend.physics.snapshot import Snapshot
    from qpu_backend.pipeline.clocks import WallClock
    from qpu_backend.stores.database import Database


def lane(name: str, section: LaneSection) -> Lane:
    """A class of service."""
    promise_us = None if section.promise_s is None else round(1e6 * section.promise_s)
    return Lane(name, section.weight, promise_us, section.tenants)


def price_book(section: PriceSection) -> PriceBook:
    """The rates of a section."""
    rates = section.model_dump()
    return PriceBook.from_rates(rates.pop("name"), rates)


def model_of(name: str, section: DeviceSection) -> tuple[DeviceModel, DevicePolicy, Snapshot]:
    """A device of the catalogue with the options of this section, its policy and its first snapshot.

    Raises:
        InvalidDevice: there is none of that name, or a slice names a qubit that it has not.
    """
    model, snapshot = read_device(name)
    physics, asked = model.crosstalk, section.crosstalk
    crosstalk = Crosstalk(
        conditional=replace(physics.conditional, enabled=asked.conditional > 0, scale=asked.conditional),
        zz=replace(physics.zz, enabled=asked.zz > 0, scale=asked.zz),
        drive=replace(physics.drive, enabled=asked.drive > 0, scale=asked.drive),
        readout=replace(physics.readout, enabled=asked.readout > 0, scale=asked.readout),
        reset=replace(physics.reset, enabled=asked.reset > 0, scale=asked.reset),
    )
    model = replace(model, crosstalk=crosstalk)
    policy = DevicePolicy(
        buffer=section.buffer,
        stretch=section.stretch,
        batch_jobs=section.batch_jobs,
        max_loss=section.max_loss,
        quantum_s=section.quantum_s,
        session_share=section.session_share,
        hold_patience_s=section.hold_patience_s,
        drift=section.drift,
        drift_scale=section.drift_scale,
        backfill_s=section.backfill_s,
        slices=tuple(_slice(name, slice_name, model, cut) for slice_name, cut in sorted(section.slices.items())),
    )
    return model, policy, snapshot


def _slice(device: str, name: str, model: DeviceModel, section: SliceSection) -> Slice:
    missing = sorted(set(section.qubits) - set(range(model.topology.num_qubits)))
    if missing:
        field = f"devices.{device}.slices.{name}.qubits"
        last = model.topology.num_qubits - 1
        raise InvalidDevice(field, f"names qubit {missing[0]}, and {device} has qubits 0 to {last}")
    return Slice(name, section.tenant, section.qubits)


def publish(
    database: Database,
    scope: SystemScope,
    config: ServiceConfig,
    models: Mapping[str, tuple[DeviceModel, Snapshot]],
    clock: WallClock,
) -> None:
    """Rows the service needs before its first request: devices, their first snapshots, the first price book."""
    now_us = clock.now_us()
    book = price_book(config.prices)
    with database.write() as connection:
        if money.current_price_book(connection, now_us) is None:  # later ones are published with a date
            money.ensure_price_book(connection, scope, book, valid_from_us=0)
            _note(connection, scope, "price_book.published", book.id, {"valid_from_us": 0, **book.rates()}, now_us)
        for name, (_, snapshot) in models.items():
            options = config.devices[name].model_dump(mode="json")
            devices.ensure_device(connection, scope, name, options)
            row = devices.lock_device(connection, scope, name)  # another process may be starting too
            if row.model != options:
                devices.set_model(connection, scope, name, options)
            if row.model != options or row.snapshot_id is None:
                action = "device.added" if row.snapshot_id is None else "device.configured"
                _note(connection, scope, action, name, {"options": options}, now_us)
            if row.snapshot_id is not None:
                continue
            (sha,) = blobs.put_blobs(connection, [pack(snapshot.to_document())])
            published = snapshots.publish_snapshot(
                connection,
                scope,
                device_id=name,
                number=snapshot.number,
                published_at_us=now_us,
                device_time_us=row.device_time_us,
                blob_sha=sha,
            )
            first = calibrations.CalibrationRow(name, row.device_time_us, 0, now_us, published.id)
            calibrations.record_calibration(connection, scope, first)


def _note(
    connection: Connection, scope: SystemScope, action: str, subject: str, facts: Mapping[str, object], now_us: int
) -> None:
    audit.append(
        connection,
        scope,
        actor=SERVICE,
        action=action,
        subject=subject,
        tenant_id=None,
        facts=facts,
        now_us=now_us,
    )
