"""What of a service a process does: answer, work, or both."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
import typer
from typer.testing import CliRunner

from qpu_backend.bootstrap import build
from qpu_backend.cli import commands
from qpu_backend.config import DeviceSection, load_config
from qpu_backend.pipeline.replays import Replay, Replays
from qpu_backend.service import Roles
from qpu_sdk.wire.results import decode_result


@contextmanager
def process(folder, **roles):
    """Another process on a folder's database, with one of the parts."""
    devices = {"eagle127": DeviceSection(), "line5": DeviceSection()}
    service = build(
        load_config(data=folder, workers=1, decoders=1, devices=devices), durable=False, roles=Roles(**roles)
    )
    service.start()
    try:
        yield service
    finally:
        service.stop()


def test_a_process_that_only_answers_takes_no_lease_and_leaves_jobs_to_who_works(tmp_path, new_lab, make):
    with process(tmp_path / "lab", works=False) as api:
        assert api.dispatchers == {}
        assert api._executor._made is None
        lab = new_lab()
        scope = lab.tenant()
        order = make.sample(make.ghz())
        row, _ = api.door.admission.admit(scope, order, order.model_dump_json().encode(), None)
        lab.ended(row.id)
        assert lab.device().lease_holder == lab.dispatcher.lease._identity.holder
        lab.check_books()


def test_a_process_that_only_answers_computes_replays_all_the_same(tmp_path, new_lab):
    lab = new_lab()
    scope = lab.tenant()
    job_id = lab.submit(scope)
    recorded = lab.result(job_id)
    with process(tmp_path / "lab", works=False) as api:
        replay = api.door.replays.find(scope, job_id, without_neighbours=False)
        assert isinstance(replay, Replay)
        answered = api.door.replays.start(replay)
        again = decode_result(Replays.package(replay, answered))
    assert (again.pubs[0].bits == recorded.pubs[0].bits).all()


@pytest.mark.usefixtures("own_zygotes")
def test_a_process_that_only_works_starts_nothing_that_reads_requests(tmp_path, new_lab):
    with process(tmp_path / "lab", answers=False) as worker:
        lab = new_lab()
        assert [*worker.dispatchers] == ["eagle127", "line5"]
        assert worker.door is not None
        assert "app" not in vars(worker)
        assert worker._decoding._nursery._process is None
        lab.ended(lab.submit(lab.tenant()))


def test_a_process_works_on_the_devices_that_it_is_told(tmp_path):
    with process(tmp_path, answers=False, devices=frozenset({"line5"})) as worker:
        assert [*worker.dispatchers] == ["line5"]


def test_working_on_a_device_that_is_not_there_is_one_red_sentence(tmp_path):
    app = typer.Typer()
    commands.mount(app)
    result = CliRunner().invoke(app, ["work", "--device", "hawk9", "--data", str(tmp_path)])
    words = re.sub(r"\s+", " ", result.output)
    assert (result.exit_code, words) == (
        1,
        "there is no device 'hawk9' in the configuration; there are eagle127 ",
    )
    assert not (tmp_path / "qpu.sqlite").exists()


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_two_processes_that_start_on_a_new_database_publish_it_once(request, tmp_path, kind):
    url = None
    if kind == "postgresql":
        server = request.getfixturevalue("postgres")
        url = server.url(server.new_database())
    config = load_config(data=tmp_path, workers=1, decoders=1, database=url)
    with ThreadPoolExecutor(4) as threads:
        starts = [threads.submit(build, config, durable=False, roles=Roles(works=False)) for _ in range(4)]
        services = [start.result() for start in starts]
    try:
        with services[0].database.read() as connection:
            ids = {service.door.fleet.backend(connection, "eagle127").calibrated.row.id for service in services}
        assert len(ids) == 1
    finally:
        for service in services:
            service.stop()
