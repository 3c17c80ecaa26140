"""Dates and lengths of time at the command line: what has no place in the calendar is refused in a sentence."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from qpu_backend.cli import commands
from qpu_backend.cli.dates import life_us, moment_us

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

BOOK = """[prices]
name = "later"
per_shot_micro = 1
per_device_second_micro = 1
per_qubit_second_micro = 1
minimum_micro = 1
"""


@pytest.fixture
def qpu(tmp_path: Path) -> Callable[..., tuple[int, str]]:
    """Runs a command: its exit code and its words."""
    app = typer.Typer(pretty_exceptions_enable=False)
    commands.mount(app)

    def run(*arguments: str) -> tuple[int, str]:
        result = CliRunner().invoke(app, [*arguments, "--data", str(tmp_path)])
        return result.exit_code, re.sub(r"[│\s]+", " ", result.output)

    return run


@given(st.datetimes(datetime(1970, 1, 2), datetime(8999, 12, 30), timezones=st.timezones()))  # noqa: DTZ001
def test_a_moment_is_read_as_it_was_meant_to_the_microsecond(moment: datetime) -> None:
    us = moment_us(moment.isoformat(), zone_needed=True)
    seconds, rest = divmod(us, 1_000_000)
    # In UTC: an hour that a zone has twice equals nothing of another zone.
    assert datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest) == moment.astimezone(UTC)


@given(st.text(max_size=40) | st.datetimes(timezones=st.none() | st.timezones()).map(str))
def test_whatever_is_typed_is_a_time_with_a_date_or_refused(text: str) -> None:
    try:
        us = moment_us(text)
    except typer.BadParameter:
        return
    assert 0 <= us < 8_000 * 366 * 86_400_000_000
    datetime.fromtimestamp(us / 1e6, UTC)


@given(st.floats())
def test_a_life_is_some_time_and_at_most_a_century(days: float) -> None:
    if 0 < days <= 36_500:
        assert 1 <= life_us(days) <= 36_500 * 86_400_000_000
    else:
        with pytest.raises(typer.BadParameter, match="at most 36500 days"):
            life_us(days)


@pytest.mark.parametrize("date", ["0001-01-01", "9999-12-31", "9999-12-31T23:59-23:00", "0001-01-01T00:00+23:00"])
def test_a_date_without_a_place_in_the_calendar_is_refused_in_a_sentence(qpu, tmp_path, date):
    book = tmp_path / "book.toml"
    book.write_text(BOOK)
    for words in (
        ("audit", "list", "--since", date),
        ("price", "publish", str(book), "--valid-from", date),
    ):
        code, output = qpu(*words)
        assert code == 2
        assert "between the years 1970 and 9000" in output
        assert "Traceback" not in output


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("key", "create", "acme", "--expires-in-days", "nan"), "at most 36500 days"),
        (("key", "create", "acme", "--expires-in-days", "inf"), "at most 36500 days"),
        (("key", "create", "acme", "--expires-in-days", "1e300"), "at most 36500 days"),
        (("key", "rotate", "key_0", "--grace-hours", "nan"), "0 (at once) to 720 hours"),
        (("audit", "verify", "--unsealed-s", "nan"), "a number of seconds"),
        (("audit", "verify", "--unsealed-s", "inf"), "a number of seconds"),
        (("device", "pass", "eagle127", "--hours", "nan"), "device time never goes back"),
    ],
)
def test_a_length_of_time_that_is_none_is_refused_in_a_sentence(qpu, words, told):
    code, output = qpu(*words)
    assert code == 2
    assert told in output
    assert "Traceback" not in output


def test_a_key_with_the_longest_life_is_made_and_listed(qpu):
    qpu("tenant", "create", "acme")
    assert qpu("key", "create", "acme", "--expires-in-days", "36500")[0] == 0
    year = datetime.now(UTC).year + 100
    assert re.search(rf"{year - 1}|{year}", qpu("key", "list", "acme")[1])
