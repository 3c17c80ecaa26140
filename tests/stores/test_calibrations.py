"""Attempts at calibrating: each is kept once, with its snapshot or its reason."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from sqlalchemy.exc import IntegrityError

from qpu_backend.stores import calibrations, snapshots
from qpu_backend.stores.calibrations import CalibrationRow

if TYPE_CHECKING:
    from tests.stores.conftest import House


def record(house: House, *rows: CalibrationRow) -> None:
    with house.database.write() as connection:
        for row in rows:
            calibrations.record_calibration(connection, house.system, row)


def test_attempts_are_listed_newest_first_with_what_came_of_them(house: House) -> None:
    first, second = house.snapshot(), house.snapshot()
    rows = [
        CalibrationRow("eagle127", 0, 0, 10, first),
        CalibrationRow("eagle127", 125_000_000, 125_000_000, 20, None, "fits did not converge"),
        CalibrationRow("eagle127", 250_000_000, 125_000_000, 30, second),
    ]
    record(house, rows[1], rows[2], rows[0])
    with house.database.read() as connection:
        listed = calibrations.list_calibrations(connection, house.system, "eagle127")
        assert listed == [(rows[2], 2), (rows[1], None), (rows[0], 1)]
        assert calibrations.list_calibrations(connection, house.system, "eagle127", limit=1) == listed[:1]
        assert calibrations.list_calibrations(connection, house.system, "albatross") == []
        oldest = snapshots.first_snapshot(connection, "eagle127")
        assert oldest is not None
        assert oldest.id == first
        assert snapshots.first_snapshot(connection, "albatross") is None


@pytest.mark.parametrize(("published", "failure"), [(True, "why"), (False, None)])
def test_an_attempt_published_or_failed(house: House, published: bool, failure: str | None) -> None:
    snapshot_id = house.snapshot() if published else None
    with pytest.raises(IntegrityError):
        record(house, CalibrationRow("eagle127", 5, 5, 5, snapshot_id, failure))


def test_one_attempt_ends_at_a_time(house: House) -> None:
    row = CalibrationRow("eagle127", 5, 5, 5, None, "why")
    with pytest.raises(IntegrityError):
        record(house, row, row)
