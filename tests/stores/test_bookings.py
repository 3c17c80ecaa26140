"""Bookings as rows: what holds, what is over, whose it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy.exc import IntegrityError

from qpu_backend.domain.views import Booking
from qpu_backend.stores import bookings, devices
from qpu_backend.stores.bookings import BookingRow

if TYPE_CHECKING:
    from qpu_backend.domain.tenancy import TenantScope
    from tests.stores.conftest import House


def booked(house: House, name: str, starts_us: int, ends_us: int, owner: TenantScope | None = None, **at: Any) -> str:
    """The id of a new booking; ``None`` for maintenance."""
    tenant_id = None if owner is None else owner.tenant_id
    values = {"device_id": house.device_id, "created_at_us": house.now_us, "cancelled_at_us": None, "note": ""} | at
    row = BookingRow(id=f"bkg_{name}", tenant_id=tenant_id, starts_us=starts_us, ends_us=ends_us, **values)
    with house.database.write() as connection:
        bookings.insert_booking(connection, house.system, row)
    return row.id


def ahead(house: House, device_time_us: int, device_id: str = "eagle127") -> list[str]:
    with house.database.read() as connection:
        rows = bookings.bookings_ahead(connection, house.system, device_id, device_time_us=device_time_us)
    return [row.id for row in rows]


def test_bookings_are_listed_by_their_start_until_they_are_over(house: House) -> None:
    ada = house.tenant("ada")
    late, early = booked(house, "late", 500, 900, ada), booked(house, "early", 100, 200)
    assert ahead(house, 0) == ahead(house, 199) == [early, late]
    assert ahead(house, 200) == ahead(house, 899) == [late]
    assert ahead(house, 900) == []
    assert ahead(house, 0, "heron156") == []


def test_the_planner_sees_a_window_and_whether_it_is_maintenance(house: House) -> None:
    ids = booked(house, "a", 100, 200, house.tenant("ada")), booked(house, "b", 300, 400)
    with house.database.read() as connection:
        rows = bookings.bookings_ahead(connection, house.system, "eagle127", device_time_us=0)
    assert [row.window for row in rows] == [Booking(ids[0], 100, 200), Booking(ids[1], 300, 400, maintenance=True)]


def test_a_booking_is_cancelled_once_and_holds_no_more(house: House) -> None:
    booking = booked(house, "a", 100, 200, house.tenant("ada"), note="fridge")
    for name, now_us, done in ((booking, 5, True), (booking, 6, False), ("bkg_none", 7, False)):
        with house.database.write() as connection:
            assert bookings.cancel_booking(connection, house.system, name, now_us=now_us) is done
    assert ahead(house, 0) == []
    with house.database.read() as connection:
        row = bookings.read_booking(connection, house.system, booking)
        assert row is not None
        assert (row.cancelled_at_us, row.note) == (5, "fridge")
        assert bookings.read_booking(connection, house.system, "bkg_none") is None


def test_a_tenant_sees_its_own_bookings_only(house: House) -> None:
    ada, bob = house.tenant("ada"), house.tenant("bob")
    mine = booked(house, "mine", 300, 400, ada)
    booked(house, "others", 100, 200, bob)
    booked(house, "maintenance", 500, 600)
    with house.database.read() as connection:
        rows = bookings.own_bookings_ahead(connection, ada, "eagle127", device_time_us=0)
        assert [row.id for row in rows] == [mine]
        assert bookings.own_bookings_ahead(connection, ada, "eagle127", device_time_us=400) == []


def test_the_front_of_a_tenant_is_its_own_waiting_jobs_on_the_device_by_tag(house: House) -> None:
    ada, bob = house.tenant("ada"), house.tenant("bob")
    with house.database.write() as connection:
        devices.ensure_device(connection, house.system, "heron156", {})
    house.job(ada, start_tag=0, device_id="heron156")
    third, first, second = (house.job(ada, start_tag=tag) for tag in (3000, 1000, 2000))
    for tag in range(10):
        house.job(bob, start_tag=tag)
    house.batch(house.job(ada, start_tag=1))
    with house.database.read() as connection:
        rows = bookings.front_of_tenant(connection, house.system, "eagle127", ada.tenant_id, limit=40)
        two = bookings.front_of_tenant(connection, house.system, "eagle127", ada.tenant_id, limit=2)
        without = bookings.front_of_tenant(
            connection, house.system, "eagle127", ada.tenant_id, limit=1, without={first, second, "job_of_others"}
        )
    assert [row.id for row in rows] == [first, second, third]
    assert two == rows[:2]
    assert without == rows[2:]


@pytest.mark.parametrize("wrong", [{"starts_us": 200}, {"device_id": "albatross"}])
def test_the_table_refuses_a_window_without_length_and_one_of_no_device(house: House, wrong: dict[str, Any]) -> None:
    with pytest.raises(IntegrityError):
        booked(house, "a", **({"starts_us": 100, "ends_us": 200} | wrong))
