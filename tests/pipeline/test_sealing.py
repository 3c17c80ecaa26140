"""The sealer in a running service: by itself, and at nobody's cost."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from chains import Log
from sqlalchemy import event

from qpu_backend.bootstrap import SYSTEM, build
from qpu_backend.config import load_config
from qpu_backend.stores import audit
from qpu_backend.telemetry.logs import configure_logs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from types import SimpleNamespace

    from qpu_backend.stores.database import Database


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    configure_logs("critical")
    made = Log(load_config(data=tmp_path / "service"))
    yield made
    made.database.close()


@pytest.fixture
def counted() -> Iterator[Callable[[Database], list[tuple[str, str]]]]:
    """Writes down which thread sends which statement to which side of a database."""
    ends: list[Any] = []

    def watch(database: Database) -> list[tuple[str, str]]:
        sent: list[tuple[str, str]] = []

        def listen(engine: Any, side: str) -> None:
            def note(_c: object, _cursor: object, statement: str, *_: object) -> None:
                sent.append((side, f"{threading.current_thread().name}: {statement}"))

            event.listen(engine, "before_cursor_execute", note)
            ends.append(lambda: event.remove(engine, "before_cursor_execute", note))

        listen(database._readers, "read")
        listen(database._writers, "write")
        return sent

    yield watch
    for end in ends:
        end()


def test_with_nothing_to_seal_a_turn_is_one_look_and_no_write(log: Log, counted: Any) -> None:
    log.sealed("a.a")
    sent = counted(log.database)
    for _ in range(3):
        log.sealer.seal()
    assert [side for side, _ in sent] == ["read"] * 3


def test_a_job_sends_not_one_statement_to_the_audit_log(new_lab: Any, make: SimpleNamespace, counted: Any) -> None:
    lab = new_lab()
    scope = lab.tenant()
    sent = counted(lab.database)
    lab.ended(lab.submit(scope, make.sample(make.ghz())))
    assert any("INSERT INTO jobs" in statement for _, statement in sent)
    assert [one for _, one in sent if "audit_log" in one and not one.startswith("audit-sealer")] == []


def test_a_running_service_seals_by_itself_and_the_rest_when_it_stops(new_lab: Any, tmp_path: Path) -> None:
    lab = new_lab()
    config = load_config(data=tmp_path / "lab")
    sealed = threading.Event()
    while not sealed.wait(0.05):  # as long as it takes: the sealer looks once a second
        with lab.database.read() as connection:
            if not audit.has_unsealed(connection, SYSTEM):
                sealed.set()
    lab.service.administration.create_tenant("last")
    lab.service.stop()
    after = Log(config)
    found = after.verify()
    assert (found.clean, found.unsealed) == (True, 0)
    assert found.rows >= 3
    after.database.close()


def test_a_service_that_starts_writes_down_its_prices_and_devices_and_what_changed_of_them(tmp_path: Path) -> None:
    def started(**device: Any) -> list[tuple[str, str]]:
        config = load_config(data=tmp_path, devices={"line5": device})
        build(config, durable=False, executor=ThreadPoolExecutor(1)).stop()
        log = Log(config)
        with log.database.read() as connection:
            rows, _ = audit.list_rows(connection, SYSTEM, audit.Search())
        log.database.close()
        return [(row.entry.action, row.entry.subject) for row in reversed(rows)]

    first = [("price_book.published", "2026-01"), ("device.added", "line5")]
    assert started() == first
    assert started() == first
    assert started(quantum_s=7.0) == [*first, ("device.configured", "line5")]
