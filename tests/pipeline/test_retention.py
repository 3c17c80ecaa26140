"""Archiving: what is due goes to a file whole, is forgotten only then, and nothing else is touched."""

from __future__ import annotations

import json
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import typer
from sqlalchemy import select, text, update
from typer.testing import CliRunner

from qpu_backend.bootstrap import SYSTEM
from qpu_backend.cli import commands
from qpu_backend.domain.retention import ResultArchived, Retention
from qpu_backend.pipeline.archives import ArchiveBusy, ArchiveDamaged, alone_in, read_archive
from qpu_backend.pipeline.clocks import SystemClock
from qpu_backend.pipeline.plans import Plans
from qpu_backend.pipeline.replays import Replay
from qpu_backend.pipeline.retention import Archivist
from qpu_backend.stores import retention, schema, schema_access
from qpu_backend.stores.retention import MARKER_SHA
from qpu_sdk.wire.results import decode_result

NOW = Retention(results_us=0)
RECORDS_NOW = Retention(records_us=0)


class Fallen(Exception):
    """The process is gone."""


class FallsBeforeForgetting(Archivist):
    """Ends between the file and the database, where a process may be killed."""

    def _forget(self, *_):
        raise Fallen


def archivist(lab, folder, rule=NOW, kind=Archivist, at_once=2):
    return kind(lab.database, SYSTEM, SystemClock(), rule, folder, at_once=at_once)


def rows_of(lab, table):
    with lab.database.read() as connection:
        return [row._asdict() for row in connection.execute(select(table).order_by(*table.primary_key.columns))]


def sizes(lab):
    return {row["sha256"]: len(row["body"]) for row in rows_of(lab, schema.blobs)}


def entries(folder, kind="job"):
    return {entry["id"]: entry for entry in read_archive(folder) if entry["kind"] == kind}


def books_of(lab):
    return [row for table in ("usage_records", "postings") for row in rows_of(lab, schema.metadata.tables[table])]


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def fresh_lab(request, tmp_path_factory, laboratories):
    """A service of a test's own, on each database."""

    def start():
        url = None
        if request.param == "postgresql":
            server = request.getfixturevalue("postgres")
            url = server.url(server.new_database(tables=True))
        return laboratories(tmp_path_factory.mktemp("kept"), database=url)

    return start


@pytest.mark.parametrize("naming", [1, 9])
def test_archiving_goes_on_when_a_submission_names_the_same_program_meanwhile(
    monkeypatch, new_lab, postgres, make, tmp_path, naming
):
    name = postgres.new_database()
    lab = new_lab(database=postgres.url(name))
    scope = lab.tenant()
    old = lab.submit(scope, make.sample(make.ghz(), seed=1))
    (row,) = lab.ended(old)
    after = lab.submit(scope, make.sample(make.ghz(4), seed=1))
    lab.ended(after)
    lab.pause()
    queued = lab.submit(scope, make.sample(make.ghz(3), seed=1))
    own_sha = lab.rows(queued)[0].program_sha
    forget, tries = retention.forget, []

    def meets_a_submission(connection, system, due, job_ids, *args, **kwargs):
        """Each try begins while one is under way, which is committed when the other waits for it."""
        if old not in job_ids or len(tries) >= naming:
            return forget(connection, system, due, job_ids, *args, **kwargs)
        tries.append(job_ids)
        names = update(schema.jobs).where(schema.jobs.c.id == queued)
        with lab.database.write() as earlier:
            earlier.execute(names.values(program_sha=own_sha))
        with ThreadPoolExecutor(1) as other, lab.database.write() as submission:
            submission.execute(names.values(program_sha=row.program_sha))
            forgetting = other.submit(forget, connection, system, due, job_ids, *args, **kwargs)
            waiting = text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = :name")
            deadline = time.monotonic() + 60
            while not forgetting.done():
                with lab.database.read() as look:
                    if look.execute(waiting, {"name": name}).scalar_one():
                        break
                assert time.monotonic() < deadline
            submission.commit()
            return forgetting.result()

    monkeypatch.setattr(retention, "forget", meets_a_submission)
    done = archivist(lab, tmp_path / "archive", at_once=1).run(actor="cli")
    assert tries
    assert (done.jobs, done.skipped) == ((2, 0) if naming == 1 else (1, 1))
    (old_row, after_row, _) = lab.rows(old, after, queued)
    assert (old_row.program_sha == MARKER_SHA) == (naming == 1)
    assert after_row.program_sha == MARKER_SHA


def test_everything_of_ended_jobs_goes_to_the_archive_and_nothing_else_changes(fresh_lab, make, tmp_path):
    with fresh_lab() as lab:
        scope, other = lab.tenant(), lab.tenant()
        order = make.sample(make.ghz(), shots=200, seed=1)
        with lab.queueing():
            first = lab.submit(scope, order, key="mine")
            second = lab.submit(other, make.sample(make.ghz(3), seed=2))
        lab.ended(first, second)
        lab.pause()
        waiting = lab.submit(other, order)
        cancelled = lab.submit(other, make.sample(make.ghz(2)))
        lab.service.door.cancellation.cancel(other, cancelled)
        shots, before, books, held = lab.shots(first), lab.rows(first)[0], books_of(lab), sizes(lab)
        assert lab.rows(waiting)[0].program_sha == before.program_sha  # blobs are shared, also between tenants

        office = archivist(lab, tmp_path)
        assert (office.run(actor="cli", dry_run=True).jobs, sizes(lab)) == (3, held)
        done = office.run(actor="cli")
        assert (done.jobs, done.records, done.skipped) == (3, 0, 0)
        assert done.freed_bytes == sum(held.values()) - (sum(sizes(lab).values()) - len(b"archived")) > 0

        stored = entries(tmp_path)
        assert set(stored) == {first, second, cancelled}
        row = stored[first]["rows"]["jobs"][0]
        assert row == {**vars_of(before), **{name: row[name] for name in row.keys() - vars_of(before).keys()}}
        (bits,) = (pub.bits for pub in decode_result(stored[first]["blobs"][before.result_sha]).pubs)
        assert np.array_equal(bits, shots[0])
        assert [event["name"] for event in stored[first]["rows"]["job_events"]] == ["admitted", "running", "done"]
        assert stored[first]["rows"]["placements"][0]["record_sha"] in stored[first]["blobs"]

        after = lab.rows(first)[0]
        assert (after.program_sha, after.result_sha) == (MARKER_SHA, MARKER_SHA)
        assert lab.rows(cancelled)[0].result_sha is None
        assert lab.events(scope, first) == ["admitted", "running", "done", "archived"]
        assert lab.submit(scope, order, key="mine") == first
        with pytest.raises(ResultArchived):
            lab.service.door.replays.find(scope, first, without_neighbours=False)
        assert books_of(lab) == books
        assert before.program_sha in sizes(lab)
        noted = [row for row in rows_of(lab, schema_access.audit_log) if row["action"] == "jobs.archived"]
        assert sorted(job for row in noted for job in row["facts"]["jobs"]) == sorted(stored)
        assert {(row["actor"], row["subject"]) for row in noted} == {("cli", done.file.name)}

        assert office.run(actor="cli").file is None  # nothing is due twice
        lab.resume()
        assert np.array_equal(lab.shots(waiting)[0], shots[0])  # what nobody archived still runs
        lab.check_books()


def vars_of(row):
    return {name: getattr(row, name) for name in row.__dataclass_fields__}


def test_a_crash_between_file_and_database_loses_nothing(fresh_lab, make, tmp_path):
    with fresh_lab() as lab:
        scope = lab.tenant()
        job_id = lab.submit(scope, make.sample(make.ghz(), seed=1))
        shots, held = lab.shots(job_id), sizes(lab)
        with pytest.raises(Fallen):
            archivist(lab, tmp_path, kind=FallsBeforeForgetting).run(actor="cli")
        assert sizes(lab) == held
        assert np.array_equal(lab.shots(job_id)[0], shots[0])
        assert archivist(lab, tmp_path).run(actor="cli").jobs == 1
        twice = [entry for entry in read_archive(tmp_path) if entry["id"] == job_id]
        assert len(twice) == 2
        assert twice[0]["blobs"] == twice[1]["blobs"]
        assert lab.events(scope, job_id).count("archived") == 1


def test_records_may_go_before_results_and_a_plan_goes_with_the_last_record(fresh_lab, make, tmp_path):
    with fresh_lab() as lab:
        scope = lab.tenant()
        with lab.queueing():
            ids = [lab.submit(scope, make.sample(make.ghz(), seed=seed)) for seed in range(3)]
        shots = [lab.shots(job_id)[0] for job_id in ids]
        (ran,) = lab.batches(*ids)
        plans = Plans(lab.database, SYSTEM, lab.service.door.fleet)
        assert isinstance(lab.service.door.replays.find(scope, ids[0], without_neighbours=False), Replay)
        plans.read(ran.batch.id)

        done = archivist(lab, tmp_path, RECORDS_NOW).run(actor="cli")
        assert (done.jobs, done.records) == (0, 3)
        assert set(entries(tmp_path, "records")) == set(ids)
        assert [entry["rows"]["batches"][0]["id"] for entry in entries(tmp_path, "batch").values()] == [ran.batch.id]
        assert all(np.array_equal(lab.shots(job_id)[0], bits) for job_id, bits in zip(ids, shots, strict=True))
        with pytest.raises(ResultArchived):
            lab.service.door.replays.find(scope, ids[0], without_neighbours=False)
        with pytest.raises(ResultArchived):
            plans.read(ran.batch.id)
        assert archivist(lab, tmp_path, RECORDS_NOW).run(actor="cli").file is None

        assert archivist(lab, tmp_path, Retention(0, 0)).run(actor="cli").jobs == 3
        assert set(entries(tmp_path)) == set(ids)
        left = Counter(row[name] for row in rows_of(lab, schema.batches) for name in ("plan_sha", "rounds_sha"))
        assert set(left) == {MARKER_SHA}
        snapshots = {row["blob_sha"] for row in rows_of(lab, schema.snapshots)}
        assert set(sizes(lab)) == {MARKER_SHA} | snapshots  # no byte is left that nobody names


def test_the_plan_of_a_batch_stays_while_one_of_its_jobs_does(fresh_lab, make, tmp_path):
    with fresh_lab() as lab:
        scope = lab.tenant()
        with lab.queueing():
            ids = [lab.submit(scope, make.sample(make.ghz(), seed=seed)) for seed in range(2)]
        lab.ended(*ids)
        with lab.database.write() as connection:  # as if it had just ended
            job = schema.jobs
            connection.execute(update(job).where(job.c.id == ids[1]).values(finished_at_us=2**60))
        assert archivist(lab, tmp_path).run(actor="cli").jobs == 1
        (ran,) = lab.batches(*ids)
        assert ran.batch.plan_sha != MARKER_SHA
        assert entries(tmp_path, "batch") == {}
        assert isinstance(lab.service.door.replays.find(scope, ids[1], without_neighbours=False), Replay)


def test_what_is_damaged_is_neither_archived_nor_forgotten(fresh_lab, make, tmp_path):
    with fresh_lab() as lab:
        scope = lab.tenant()
        good, bad = (lab.submit(scope, make.sample(make.ghz(), seed=seed)) for seed in (1, 2))
        (row,) = lab.ended(bad)
        lab.ended(good)
        with lab.database.write() as connection:
            damaged = update(schema.blobs).where(schema.blobs.c.sha256 == row.result_sha)
            connection.execute(damaged.values(body=b"something else"))
        done = archivist(lab, tmp_path).run(actor="cli")
        assert (done.jobs, done.skipped) == (1, 1)
        assert set(entries(tmp_path)) == {good}
        assert lab.rows(bad)[0].archived_at_us is None
        assert row.result_sha in sizes(lab)


def test_one_process_at_a_time_archives_into_a_folder(new_lab, tmp_path):
    lab = new_lab()
    with alone_in(tmp_path / "archive"), pytest.raises(ArchiveBusy):
        archivist(lab, tmp_path / "archive").run(actor="cli")


def test_a_torn_file_gives_what_is_whole_and_a_changed_one_nothing_wrong(new_lab, make, tmp_path):
    lab = new_lab()
    ids = [lab.submit(lab.tenant(), make.sample(make.ghz(2), seed=seed)) for seed in range(2)]
    lab.ended(*ids)
    file = archivist(lab, tmp_path).run(actor="cli").file
    whole, told = file.read_bytes(), list(read_archive(file))
    torn = tmp_path / "torn.qpa"
    for length in range(0, len(whole), 61):
        torn.write_bytes(whole[:length])
        found = list(read_archive(torn))
        assert found == told[: len(found)]
    assert len(found) == len(told) - 1
    refused = 0
    for position in range(0, len(whole), 61):
        torn.write_bytes(whole[:position] + bytes([whole[position] ^ 1]) + whole[position + 1 :])
        try:
            found = list(read_archive(torn))
        except ArchiveDamaged:
            refused += 1
        else:
            assert found == told[: len(found)]  # a changed length makes the end look torn
    assert refused > len(whole) // 61 * 0.8


def test_an_operator_archives_and_reads_back(new_lab, make, tmp_path):
    lab = new_lab()
    ids = [lab.submit(lab.tenant(), make.sample(make.ghz(2), seed=seed)) for seed in range(2)]
    sha = lab.ended(*ids)[0].result_sha
    shots = lab.shots(ids[0])[0]
    file, app = tmp_path / "qpu.toml", typer.Typer()
    commands.mount(app)
    there = ["--config", str(file), "--data", str(tmp_path / "lab")]

    def qpu(*arguments):
        result = CliRunner().invoke(app, [*arguments])
        return result.exit_code, " ".join(result.output.split())

    file.write_text("version = 1\n")
    assert "for ever" in qpu("retention", "run", *there)[1]
    file.write_text("version = 1\n[retention]\nresults_days = 0\n")
    assert qpu("retention", "run", "--dry-run", *there) == (
        0,
        f"2 jobs, and the execution records of 0 more, would be archived into {tmp_path / 'lab' / 'archive'}",
    )
    code, told = qpu("retention", "run", *there)
    assert (code, told.startswith("2 jobs")) == (0, True), told
    assert qpu("retention", "run", *there) == (0, "nothing is due")

    folder = tmp_path / "lab" / "archive"
    code, told = qpu("archive", "show", str(folder), ids[0], "--result", str(tmp_path / "result"))
    assert (code, sha in told, "done" in told) == (0, True, True), told
    assert np.array_equal(decode_result((tmp_path / "result").read_bytes()).pubs[0].bits, shots)
    (archive,) = folder.glob("*.qpa")
    assert json.loads(qpu("archive", "show", str(archive), ids[1], "--json")[1])[0]["kind"] == "job"
    assert qpu("archive", "show", str(folder), "job_x")[0] == 1
    assert qpu("archive", "show", str(tmp_path / "nowhere"), ids[0])[0] == 1
    archive.write_bytes(archive.read_bytes()[:-1] + b"?")
    code, told = qpu("archive", "show", str(archive), ids[1])
    assert (code, "not what was written" in told) == (1, True), told
    with alone_in(folder):
        assert qpu("retention", "run", *there)[0] == 1
