"""Devices: one holder at a time, fenced by its epoch; a clock that never goes back; numbered snapshots."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from sqlalchemy.exc import IntegrityError

from qpu_backend.stores import devices, snapshots
from qpu_backend.stores.database import now_us
from qpu_backend.stores.errors import ClockReversed, LeaseLost, MissingRow

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.stores.conftest import House

HOUR_US = 3_600_000_000


def holder(name: str) -> devices.LeaseHolder:
    return devices.LeaseHolder(name, "boot", 42, "100.5")


def take(house: House, name: str, *, ttl_us: int = HOUR_US, alive: bool = True) -> int | None:
    with house.database.write() as connection:
        return devices.take_lease(
            connection, house.system, "eagle127", holder(name), ttl_us=ttl_us, local_alive=lambda _: alive
        )


def holds(house: House, epoch: int) -> bool:
    with house.database.write() as connection:
        try:
            return devices.require_epoch(connection, "eagle127", epoch).lease_epoch == epoch
        except LeaseLost:
            return False


# --- lease ------------------------------------------------------------------------------------------------------------


def test_a_lease_has_one_holder(house: House) -> None:
    assert take(house, "first") == 1
    assert take(house, "second") is None
    assert holds(house, 1)


def test_of_many_takers_at_once_one_gets_it(house: House, together: Callable[..., list[int | None]]) -> None:
    epochs = together([lambda name=name: take(house, str(name)) for name in range(8)])
    assert sorted(epochs, key=str) == [1, *[None] * 7]


def test_an_expired_lease_is_taken_over_and_its_old_holder_is_fenced(house: House) -> None:
    assert take(house, "first", ttl_us=0) == 1
    assert holds(house, 1)  # expired, but nobody else has it
    assert take(house, "second") == 2
    assert not holds(house, 1)
    with house.database.write() as connection:
        assert not devices.renew_lease(connection, house.system, "eagle127", epoch=1, ttl_us=HOUR_US)
        assert not devices.release_lease(connection, house.system, "eagle127", epoch=1)
    assert holds(house, 2)


def test_a_renewed_lease_does_not_expire(house: House) -> None:
    take(house, "first", ttl_us=0)
    with house.database.write() as connection:
        assert devices.renew_lease(connection, house.system, "eagle127", epoch=1, ttl_us=HOUR_US)
        device = devices.read_device(connection, "eagle127")
        assert device is not None
        assert device.lease_expires_at_us is not None
        assert abs(device.lease_expires_at_us - now_us(connection) - HOUR_US) < HOUR_US / 60
    assert take(house, "second") is None


def test_a_released_lease_is_free_and_its_epoch_is_spent(house: House) -> None:
    take(house, "first")
    with house.database.write() as connection:
        assert devices.release_lease(connection, house.system, "eagle127", epoch=1)
    assert not holds(house, 1)
    assert take(house, "second") == 2


def test_the_same_holder_may_take_again_and_gets_a_new_epoch(house: House) -> None:
    assert take(house, "first") == 1
    assert take(house, "first") == 2
    assert not holds(house, 1)


def test_a_dead_local_holder_is_replaced_at_once(house: House) -> None:
    take(house, "first")
    asked: list[devices.LeaseHolder] = []

    def dead(current: devices.LeaseHolder) -> bool:
        asked.append(current)
        return False

    with house.database.write() as connection:
        epoch = devices.take_lease(
            connection, house.system, "eagle127", holder("second"), ttl_us=HOUR_US, local_alive=dead
        )
    assert (epoch, asked) == (2, [holder("first")])


def test_a_lease_that_the_clock_renewed_before_it_was_set_back_is_free(house: House) -> None:
    """Its end is further away than any holder would ever set it: a dead one would block the device until then."""
    take(house, "first", ttl_us=HOUR_US)
    assert take(house, "second", ttl_us=HOUR_US // 3) is None
    assert take(house, "second", ttl_us=HOUR_US // 5) == 2


def test_who_stands_by_sees_without_a_lock_whether_the_lease_is_free(house: House) -> None:
    def free(*, alive: bool) -> bool:
        with house.database.read() as connection:
            return devices.lease_is_free(
                connection, house.system, "eagle127", holder("second"), ttl_us=HOUR_US, local_alive=lambda _: alive
            )

    assert free(alive=True)
    take(house, "first")
    assert not free(alive=True)
    assert free(alive=False)


def test_the_loss_of_a_lease_carries_the_facts(house: House) -> None:
    take(house, "first")
    take(house, "first")
    with house.database.write() as connection, pytest.raises(LeaseLost) as lost:
        devices.require_epoch(connection, "eagle127", 1)
    assert (lost.value.device_id, lost.value.epoch, lost.value.current) == ("eagle127", 1, 2)


def test_a_transaction_that_checked_its_epoch_keeps_others_out_until_it_ends(house: House) -> None:
    take(house, "first", ttl_us=0)
    with ThreadPoolExecutor(1) as pool:
        with house.database.write() as connection:
            devices.require_epoch(connection, "eagle127", 1)
            overtaking = pool.submit(take, house, "second")
            with pytest.raises(TimeoutError):
                overtaking.result(timeout=0.1)
        assert overtaking.result() == 2


# --- device and clock ----------------------------------------------------------------------------------------------


def test_a_device_is_made_once_and_keeps_its_options(house: House) -> None:
    with house.database.write() as connection:
        again = devices.ensure_device(connection, house.system, "eagle127", {"pacing": "other"})
        assert again.model == {"pacing": "asap"}
        devices.ensure_device(connection, house.system, "albatross", {})
        devices.set_model(connection, house.system, "eagle127", {"pacing": 2})
        devices.set_status(connection, house.system, "eagle127", operational=False, status_msg="maintenance")
        rows = devices.list_devices(connection)
    assert [(row.id, row.model, row.operational, row.status_msg) for row in rows] == [
        ("albatross", {}, True, "active"),
        ("eagle127", {"pacing": 2}, False, "maintenance"),
    ]


def test_unknown_devices_are_named(house: House) -> None:
    with house.database.write() as connection:
        assert devices.read_device(connection, "eagle128") is None
        with pytest.raises(MissingRow) as missing:
            devices.lock_device(connection, house.system, "eagle128")
        with pytest.raises(MissingRow):
            devices.require_epoch(connection, "eagle128", 1)
    assert missing.value.name == "eagle128"


def test_the_device_clock_goes_forward_or_stands_still(house: House) -> None:
    def advance(device_time_us: int, virtual_time: int) -> None:
        with house.database.write() as connection:
            devices.advance_clock(
                connection, house.system, "eagle127", device_time_us=device_time_us, virtual_time=virtual_time
            )

    advance(10, 5)
    advance(10, 5)
    advance(11, 5)
    for back in ((10, 6), (12, 4)):
        with pytest.raises(ClockReversed):
            advance(*back)
    with house.database.read() as connection:
        device = devices.read_device(connection, "eagle127")
    assert device is not None
    assert (device.device_time_us, device.virtual_time) == (11, 5)


def test_new_jobs_do_not_wait_for_a_locked_device(house: House) -> None:
    if house.database.dialect == "sqlite":
        pytest.skip("SQLite has one write lock for everything")
    scope = house.tenant("ada")
    with house.database.write() as connection:
        devices.lock_device(connection, house.system, "eagle127")
        house.job(scope)  # on another connection


# --- snapshots --------------------------------------------------------------------------------------------------------


def test_the_last_published_snapshot_is_the_current_one(house: House) -> None:
    ids = [house.snapshot() for _ in range(3)]
    with house.database.read() as connection:
        device = devices.read_device(connection, "eagle127")
        assert device is not None
        assert device.snapshot_id == ids[-1]
        listed = snapshots.list_snapshots(connection, "eagle127")
        assert [(row.id, row.number) for row in listed] == [(ids[2], 3), (ids[1], 2), (ids[0], 1)]
        assert snapshots.list_snapshots(connection, "eagle127", before_number=3, limit=1) == [listed[1]]
        assert snapshots.read_snapshot(connection, ids[0]) == listed[2]
        assert snapshots.read_snapshot(connection, "cal_none") is None


def test_a_snapshot_number_is_given_once(house: House) -> None:
    house.snapshot()
    with house.database.read() as connection:
        [row] = snapshots.list_snapshots(connection, "eagle127")
    with pytest.raises(IntegrityError), house.database.write() as connection:
        snapshots.publish_snapshot(
            connection,
            house.system,
            device_id="eagle127",
            number=1,
            published_at_us=0,
            device_time_us=0,
            blob_sha=row.blob_sha,
        )
