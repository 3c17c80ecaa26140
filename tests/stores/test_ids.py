"""Ids: UUIDv7 behind a prefix, unique and in order."""

from __future__ import annotations

import itertools
import time
import uuid
from types import SimpleNamespace
from typing import TYPE_CHECKING

from qpu_backend.stores.ids import new_id

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest


def test_an_id_is_a_uuid_of_version_7_behind_its_prefix() -> None:
    before_ms = time.time_ns() // 1_000_000
    prefix, _, digits = new_id("job").partition("_")
    value = uuid.UUID(digits)
    assert prefix == "job"
    assert value.version == 7
    assert value.variant == uuid.RFC_4122
    assert 0 <= (value.int >> 80) - before_ms <= 1000


def test_later_ids_sort_after_earlier_ones() -> None:
    ids = [new_id("job") for _ in range(20_000)]
    assert ids == sorted(set(ids))


def test_ids_stay_in_order_when_the_clock_stands_still_or_goes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = itertools.chain([time.time_ns()] * 500, itertools.repeat(time.time_ns() - 3_600_000_000_000))
    monkeypatch.setattr("qpu_backend.stores.ids.time", SimpleNamespace(time_ns=lambda: next(clock)))
    made = [new_id("job") for _ in range(1000)]
    assert made == sorted(set(made))


def test_threads_never_get_the_same_id_and_each_sees_its_own_in_order(together: Callable[..., list[list[str]]]) -> None:
    results = together([lambda: [new_id("job") for _ in range(2000)]] * 8)
    assert all(ids == sorted(ids) for ids in results)
    assert len({one for ids in results for one in ids}) == 8 * 2000
