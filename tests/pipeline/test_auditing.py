"""Sealing over processes, crashes, lost files and hostile hands; and what verifying says afterwards."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest
from chains import Log
from sqlalchemy import delete, text, update

from qpu_backend.bootstrap import open_database, open_sealer
from qpu_backend.config import load_config
from qpu_backend.domain.tampering import Kind
from qpu_backend.stores.schema_access import audit_log
from qpu_backend.telemetry.logs import configure_logs

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from qpu_backend.stores.database import Database

HAND = """
import sys
from qpu_backend.bootstrap import SYSTEM, open_database, open_sealer
from qpu_backend.config import load_config
from qpu_backend.stores import audit

config = load_config(data=sys.argv[1], database=sys.argv[2] or None)
database = open_database(config)
sealer = open_sealer(config, database)
print("ready", flush=True)
for number in range(int(sys.argv[3])):
    with database.write() as connection:
        audit.append(connection, SYSTEM, actor="cli", action="a.b", subject=str(number), tenant_id=None, facts={},
                     now_us=1780000000000000)
    if number % 3 == 0:
        sealer.seal()
        print(number, flush=True)
"""


@pytest.fixture(params=["sqlite", "postgresql"])
def log(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Log]:
    configure_logs("critical")
    url, server = None, None
    if request.param == "postgresql":
        server: Any = request.getfixturevalue("postgres")
        url = server.url(server.new_database(tables=True))
    made = Log(load_config(data=tmp_path / "service", database=url))
    yield made
    made.database.close()


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Log]:
    """On SQLite alone: what is about files, or about what the domain decides."""
    configure_logs("critical")
    made = Log(load_config(data=tmp_path / "service"))
    yield made
    made.database.close()


def test_what_waits_is_sealed_and_signed_outside(log: Log) -> None:
    assert log.sealer.seal() == 0
    log.sealed("a.a", "a.b")
    log.sealed("a.c")
    found = log.verify()
    assert (found.rows, found.unsealed, found.clean) == (3, 0, True)
    assert [head.number for head in log.heads.read()] == [0, 2, 3]
    assert log.sealer.seal() == 0
    assert len(log.heads.read()) == 3


def test_more_rows_than_one_transaction_takes_are_sealed_in_one_go(log: Log) -> None:
    log.sealed(*(f"a.n{number}" for number in range(450)))
    assert [head.number for head in log.heads.read()] == [0, 200, 400, 450]
    assert log.verify().clean


def test_sealers_of_many_processes_give_no_number_twice_and_leave_none_out(log: Log) -> None:
    crowd = [open_database(log.config, durable=False) for _ in range(4)]
    failures: list[BaseException] = []

    def work(database: Database) -> None:
        sealer = log.new_sealer(database)
        try:
            for number in range(12):
                log.add(f"a.n{number}", database=database)
                sealer.seal()
        except BaseException as error:  # noqa: BLE001 - the test looks at it
            failures.append(error)

    threads = [threading.Thread(target=work, args=(one,)) for one in crowd]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for one in crowd:
        one.close()
    assert failures == []
    log.sealer.seal()
    assert log.numbers() == list(range(1, 49))
    assert log.found() == []


def test_a_process_that_is_killed_anywhere_raises_no_false_alarm(here: Log, tmp_path: Path) -> None:
    kill_some(here, tmp_path, (3,))


@pytest.mark.slow
def test_many_processes_that_are_killed_anywhere_raise_no_false_alarm(log: Log, tmp_path: Path) -> None:
    kill_some(log, tmp_path, (1, 2, 4, 7, 11, 16))


def kill_some(log: Log, tmp_path: Path, after: Sequence[int]) -> None:
    """Processes that write and seal as fast as they can, each killed after so many times."""
    script = tmp_path / "hand.py"
    script.write_text(HAND)
    url = log.config.database or ""
    command = [sys.executable, script, str(log.config.data), url, "100000"]
    hands = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in after]
    try:
        for hand, lines in zip(hands, after, strict=True):
            assert hand.stdout is not None
            for _ in range(lines):
                assert hand.stdout.readline()
            hand.kill()
            hand.wait()
            assert [one for one in log.found() if one[0] is not Kind.UNSEALED] == []
    finally:
        for hand in hands:
            hand.kill()
            hand.communicate()
    log.new_sealer().seal()
    assert log.numbers() == list(range(1, len(log.numbers()) + 1))
    assert log.found() == []


# --- the file of heads ------------------------------------------------------------------------------------------------


def test_rows_whose_head_could_not_be_written_are_signed_with_the_next_turn(here: Log) -> None:
    here.sealed("a.a")
    kept = here.heads.path.read_bytes()
    here.heads.path.unlink()
    here.heads.path.mkdir()  # nothing can be written there
    here.add("a.b")
    with pytest.raises(OSError, match="audit_heads"):
        here.sealer.seal()
    here.heads.path.rmdir()
    here.heads.path.write_bytes(kept)
    assert here.numbers() == [1, 2]
    assert here.found() == []  # the row proves itself by its seal
    assert here.sealer.seal() == 0
    assert [head.number for head in here.heads.read()] == [0, 1, 2]
    here.spoil(delete(audit_log).where(audit_log.c.number == 2))
    assert here.found() == [(Kind.CUT_OFF, 2)]


def test_a_process_that_starts_signs_what_a_crash_left_without_a_head(here: Log) -> None:
    here.sealed("a.a")
    kept = here.heads.path.read_bytes()
    here.sealed("a.b")
    here.heads.path.write_bytes(kept)  # as if it had died before this line
    assert here.found() == []
    assert here.new_sealer().seal() == 0
    assert [head.number for head in here.heads.read()] == [0, 1, 2]


@pytest.mark.parametrize("left", [1, 20, 150, -1])
def test_half_a_line_is_healed_without_a_false_alarm(here: Log, left: int) -> None:
    here.sealed("a.a")
    here.sealed("a.b")
    *lines, last = here.heads.path.read_bytes().splitlines(keepends=True)
    here.heads.path.write_bytes(b"".join(lines) + last[:left])
    assert here.found() == []
    sealer = here.new_sealer()
    here.add("a.c")
    assert sealer.seal() == 1
    assert [head.number for head in here.heads.read()][-1] == 3
    assert here.found() == []


def test_nothing_is_ever_taken_out_of_the_file(here: Log) -> None:
    here.sealed("a.a")
    before = here.heads.path.read_bytes() + b"half a li"
    here.heads.path.write_bytes(before)
    here.new_sealer().seal()
    here.sealed("a.b")
    assert here.heads.path.read_bytes().startswith(before + b"\n")
    assert here.heads.path.stat().st_mode & 0o777 == 0o600


def test_bytes_that_are_no_text_do_not_stop_the_verification(here: Log) -> None:
    here.sealed("a.a")
    with here.heads.path.open("ab") as out:
        out.write(b"\xff\x00" * 100)
    here.sealed("a.b")
    assert here.found() == []


def test_heads_of_several_machines_are_verified_together(here: Log, tmp_path: Path) -> None:
    here.sealed("a.a")
    other = here.config.model_copy(
        update={"audit": here.config.audit.model_copy(update={"heads": tmp_path / "elsewhere" / "heads"})}
    )
    here.add("a.b")
    assert open_sealer(other, here.database).seal() == 1
    here.spoil(delete(audit_log).where(audit_log.c.number == 2))
    assert here.verify().clean  # this machine's last head is older
    assert [one.kind for one in here.verify(here.heads.path, other.audit_heads_file).findings] == [Kind.CUT_OFF]


# --- hostile hands ----------------------------------------------------------------------------------------------------


def test_each_thing_done_to_a_sealed_row_is_found_on_the_database_too(log: Log) -> None:
    log.sealed(*(f"a.n{number}" for number in range(6)))
    log.spoil(update(audit_log).where(audit_log.c.number == 2).values(actor="principal:prn_innocent"))
    log.spoil(update(audit_log).where(audit_log.c.number == 3).values(facts={"of": "something else"}))
    log.spoil(delete(audit_log).where(audit_log.c.number == 5))
    assert log.found() == [(Kind.CHANGED, 2), (Kind.CHANGED, 3), (Kind.REMOVED, 5)]
    log.spoil(delete(audit_log).where(audit_log.c.number == 6))
    assert (Kind.CUT_OFF, 5) in log.found()


def test_a_row_that_is_unsealed_to_be_sealed_anew_leaves_a_hole(log: Log) -> None:
    log.sealed("a.a", "a.b", "a.c")
    log.spoil(update(audit_log).where(audit_log.c.number == 2).values(number=None, seal=None, action="nothing.done"))
    log.sealer.seal()
    assert log.found() == [(Kind.REMOVED, 2)]


@pytest.mark.parametrize("number", [3, 7, 10**12, 2**60])
def test_a_forged_row_at_the_end_does_not_stop_the_sealing_and_is_named(log: Log, number: int) -> None:
    log.sealed("a.a", "a.b")
    log.add("forged.one")
    log.spoil(update(audit_log).where(audit_log.c.number.is_(None)).values(number=number, seal="0" * 64))
    log.sealed("a.c", "a.d")
    kind = Kind.INSERTED if number == 2**60 else Kind.CHANGED  # before a row that was sealed, nobody can tell
    assert [one for one in log.found() if one[1] == number] == [(kind, number)]
    assert log.verify().rows == 5


def test_words_where_numbers_were_stop_neither_sealing_nor_verifying(here: Log) -> None:
    here.sealed("a.a", "a.b")
    here.spoil(text("UPDATE audit_log SET number = 'second' WHERE number = 2"))
    here.sealed("a.c")
    assert {kind for kind, _ in here.found()} == {Kind.INSERTED, Kind.REMOVED}


def test_a_database_that_was_put_back_shows_and_its_numbers_are_not_given_again(here: Log) -> None:
    here.sealed("a.a")
    here.database.close()
    file = here.config.data / "qpu.sqlite"
    shutil.copy(file, file.with_suffix(".old"))
    here.sealed("a.b", "a.c")
    here.database.close()
    for left in here.config.data.glob("qpu.sqlite-*"):
        left.unlink()
    shutil.copy(file.with_suffix(".old"), file)
    back = Log(here.config)
    assert back.found() == [(Kind.CUT_OFF, 2)]
    back.sealed("b.b")
    assert back.numbers() == [1, 4]
    assert back.found() == [(Kind.REMOVED, 2)]
    back.database.close()


def test_a_process_with_another_key_seals_nothing_and_the_rows_that_wait_are_named(here: Log) -> None:
    here.sealed("a.a")
    key = here.config.audit_key_file.read_bytes()
    here.config.audit_key_file.write_bytes(b"x" * 32)
    here.heads.path.rename(here.heads.path.with_suffix(".own"))
    stranger = here.new_sealer()
    here.add("a.b")
    assert stranger.seal() == 0
    assert here.numbers() == [None, 1] or here.numbers() == [1, None]
    assert here.verify().findings[0].kind is Kind.OTHER_KEY
    here.config.audit_key_file.write_bytes(key)
    here.heads.path.with_suffix(".own").rename(here.heads.path)
    assert here.found() == [(Kind.UNSEALED, None)]
    assert here.new_sealer().seal() == 1
    assert here.found() == []


def test_the_key_is_a_file_of_the_service_alone_and_not_in_the_database(here: Log) -> None:
    here.sealed("a.a")
    key = here.config.audit_key_file
    assert (len(key.read_bytes()), key.stat().st_mode & 0o777) == (32, 0o600)
    here.database.close()
    assert key.read_bytes() not in (here.config.data / "qpu.sqlite").read_bytes()
    assert key.read_bytes().hex() not in here.heads.path.read_text()
