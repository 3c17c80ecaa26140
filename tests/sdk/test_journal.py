"""The journal of submissions: a client that dies between send and answer loses no job and makes none twice."""

from __future__ import annotations

import contextlib
import os
import signal
import stat
import subprocess
import sys
import warnings

import pytest
from qiskit import QuantumCircuit

from qpu_sdk import Patience, QPUProvider
from qpu_sdk.credentials import Credentials
from qpu_sdk.errors import (
    InvalidRequestError,
    LaneRefusedError,
    QueueFullError,
    RateLimitedError,
    ServiceError,
    ServiceUnreachableError,
    UnauthenticatedError,
)
from qpu_sdk.journal import Journal
from qpu_sdk.transport import _in_doubt

BACKEND = "eagle127:line-2"
CLIENT = """
import sys
from qiskit import QuantumCircuit
from qpu_sdk import QPUProvider

circuit = QuantumCircuit(2, 1)
circuit.x(0)
circuit.measure(0, 0)
with QPUProvider.connect(sys.argv[1], sys.argv[2], journal=sys.argv[3]) as provider:
    provider.backend("eagle127:line-2").run(circuit, shots=20, job_tags=[sys.argv[4]])
"""


@pytest.fixture
def flip():
    circuit = QuantumCircuit(2, 1)
    circuit.x(0)
    circuit.measure(0, 0)
    return circuit


@pytest.fixture
def hasty(qpu_service, proxy, tmp_path):
    """A provider through the flaky proxy that gives up at once, with a journal of its own."""
    patience = Patience(attempts=1)
    with QPUProvider.connect(proxy.url, qpu_service.token, patience=patience, journal=tmp_path) as provider:
        yield provider


@pytest.fixture
def journal(tmp_path):
    return Journal.of(Credentials("http://localhost:1", "secret-token"), tmp_path)


def _begin(journal: Journal, key: str = "a", body: bytes = b"{}"):
    return journal.begin(key, body, backend=BACKEND, program="circuits", tags=["t"])


@contextlib.contextmanager
def _killed_while_waiting_for_the_answer(proxy, token: str, folder, tag: str, before: str = ""):
    """A real client process, which is killed once the service has answered what it never hears."""
    proxy.keep_answers = True
    client = subprocess.Popen([sys.executable, "-c", before + CLIENT, proxy.url, token, str(folder), tag])
    try:
        assert proxy.answered.wait(60)
        yield client
    finally:
        client.send_signal(signal.SIGKILL)
        client.wait()
    proxy.keep_answers = False


def test_a_client_killed_between_send_and_answer_has_one_job(qpu_service, proxy, tmp_path):
    with QPUProvider.connect(proxy.url, qpu_service.token, journal=tmp_path) as provider:
        with _killed_while_waiting_for_the_answer(proxy, qpu_service.token, tmp_path, "killed"):
            (submission,) = provider.unfinished_submissions()
            assert submission.in_flight
            assert provider.recover() == []  # what another program is sending is that program's
        (submission,) = provider.unfinished_submissions()
        assert (submission.in_flight, submission.backend, submission.tags) == (False, BACKEND, ("killed",))
        (job,) = provider.recover()
        assert job.idempotency_key == submission.idempotency_key
        assert job.last_known.replayed
        assert job.result(60).get_counts()["1"] > 10
        assert [found.job_id() for found in provider.jobs(tag="killed")] == [job.job_id()]
        assert provider.unfinished_submissions() == provider.recover() == []


def test_what_never_arrived_is_submitted_by_the_recovery(hasty, proxy, flip):
    backend = hasty.backend(BACKEND)
    proxy.lose_requests = 1
    with pytest.raises(ServiceUnreachableError) as caught:
        backend.run(flip, shots=20, job_tags=["never arrived"])
    assert caught.value.in_doubt
    assert hasty.jobs(tag="never arrived") == []
    (job,) = hasty.recover()
    assert not job.last_known.replayed
    assert [found.job_id() for found in hasty.jobs(tag="never arrived")] == [job.job_id()]


def test_what_was_never_sent_is_nothing_to_recover(hasty, flip, monkeypatch):
    backend = hasty.backend(BACKEND)
    assert backend.max_circuits  # asks for the limits
    monkeypatch.setattr(hasty._connection.transport, "_root", "http://127.0.0.1:9")
    with pytest.raises(ServiceUnreachableError) as caught:
        backend.run(flip, shots=20)
    assert not caught.value.in_doubt
    assert hasty.unfinished_submissions() == []


def test_an_answer_lost_for_good_is_recovered_in_the_same_process(hasty, proxy, flip):
    backend = hasty.backend(BACKEND)
    proxy.lose_answers = 1
    with pytest.raises(ServiceUnreachableError) as caught:
        backend.run(flip, shots=20, job_tags=["lost for good"])
    assert caught.value.in_doubt
    (submission,) = hasty.unfinished_submissions()
    assert submission.idempotency_key == caught.value.idempotency_key
    (job,) = hasty.recover()
    assert [found.job_id() for found in hasty.jobs(tag="lost for good")] == [job.job_id()]


def test_an_unreachable_service_leaves_everything_for_the_next_recovery(hasty, proxy, flip):
    backend = hasty.backend(BACKEND)
    proxy.lose_answers = 2
    with pytest.raises(ServiceUnreachableError):
        backend.run(flip, shots=20, job_tags=["next time"])
    with pytest.raises(ServiceUnreachableError):
        hasty.recover()
    (job,) = hasty.recover()
    assert [found.job_id() for found in hasty.jobs(tag="next time")] == [job.job_id()]


def test_running_the_same_again_is_a_second_job_and_says_what_is_left(hasty, qpu_service, proxy, flip, tmp_path):
    proxy.lose_answers = 1
    with pytest.raises(ServiceUnreachableError):
        hasty.backend(BACKEND).run(flip, shots=20, job_tags=["same again"])
    with QPUProvider.connect(proxy.url, qpu_service.token, journal=tmp_path) as later:
        backend = later.backend(BACKEND)
        with pytest.warns(UserWarning, match=r"1 earlier submission has no known answer.*recover"):
            backend.run(flip, shots=20, job_tags=["same again"])
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            backend.run(flip, shots=20, job_tags=["same again"])
        assert len(later.jobs(tag="same again")) == 3
        assert len(later.unfinished_submissions()) == 1


def test_a_refusal_and_an_answer_leave_nothing_behind(hasty, flip):
    backend = hasty.backend(BACKEND)
    with pytest.raises(LaneRefusedError):
        backend.run(flip, lane="nowhere")
    backend.run(flip, shots=5)
    folder = hasty._connection.journal.folder
    assert list(folder.iterdir()) == []


def test_what_is_refused_by_now_is_told_and_forgotten(hasty, flip):
    backend = hasty.backend(BACKEND)
    request = b'{"backend": "eagle127:line-2", "program": "circuits"}'
    entry = hasty._connection.journal.begin("k", request, backend=BACKEND, program="circuits", tags=[])
    entry.end(forget=False)
    with pytest.warns(UserWarning, match=r"made no job, and is refused now"):
        assert hasty.recover() == []
    assert hasty.unfinished_submissions() == []
    assert backend.run(flip, shots=5).job_id()


@pytest.mark.parametrize(
    ("error", "after_one_attempt", "after_a_lost_one"),
    [
        (QueueFullError("full", status_code=503, request_id="req"), False, False),  # it knows of no earlier one
        (InvalidRequestError("wrong", status_code=400, request_id="req"), False, False),
        (RateLimitedError("a proxy's", status_code=429), False, True),
        (
            RateLimitedError("too fast", status_code=429, request_id="req"),
            False,
            True,
        ),  # the one before may be on its way
        (UnauthenticatedError("revoked", status_code=401, request_id="req"), False, True),
        (ServiceError("no problem document", status_code=413), False, True),
        (ServiceError("failed", status_code=500, request_id="req"), True, True),
    ],
)
def test_what_an_answer_says_of_the_attempts_before_it(error, after_one_attempt, after_a_lost_one):
    assert _in_doubt(error, lost=False) is after_one_attempt
    assert _in_doubt(error, lost=True) is after_a_lost_one


def test_a_submission_is_on_disk_before_a_byte_is_sent_and_never_the_token(hasty, flip, monkeypatch, qpu_service):
    seen: list[str] = []
    backend = hasty.backend(BACKEND)
    post = hasty._connection.transport.post

    def look(path, *arguments, **named):
        (file,) = hasty._connection.journal.folder.iterdir()
        content = file.read_bytes()
        assert arguments[1] in content
        assert qpu_service.token.encode() not in content
        assert qpu_service.token not in str(file)
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
        seen.append(path)
        return post(path, *arguments, **named)

    monkeypatch.setattr(hasty._connection.transport, "post", look)
    backend.run(flip, shots=5)
    assert seen == ["/jobs"]


def test_a_journal_that_cannot_be_written_stops_no_submission(qpu_service, flip, tmp_path):
    in_the_way = tmp_path / "file"
    in_the_way.write_text("")
    with QPUProvider.connect(qpu_service.url, qpu_service.token, journal=in_the_way) as provider:
        backend = provider.backend(BACKEND)
        with pytest.warns(RuntimeWarning, match="not journalled"):
            assert backend.run(flip, shots=5).job_id()
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # said once
            assert backend.run(flip, shots=5).job_id()
        assert provider.unfinished_submissions() == provider.recover() == []


def test_it_can_be_turned_off(tmp_path):
    credentials = Credentials("http://localhost:1", "t")
    assert Journal.of(credentials, False).folder is None
    assert Journal.of(credentials, environment={"QPU_JOURNAL": "off"}).folder is None
    assert Journal.of(credentials, environment={"QPU_JOURNAL": str(tmp_path)}).folder.parent == tmp_path
    home = Journal.of(credentials, environment={"XDG_STATE_HOME": str(tmp_path)}).folder
    assert home.parent == tmp_path / "qpu" / "submissions"
    assert Journal.of(Credentials("http://localhost:1", "u"), environment={"XDG_STATE_HOME": "relative"}).folder != home


def test_each_key_and_service_has_its_own(tmp_path):
    folders = {
        Journal.of(Credentials(url, token), tmp_path).folder
        for url in ("http://localhost:1", "http://localhost:2")
        for token in ("t", "u")
    }
    assert len(folders) == 4


def test_only_one_sends_a_submission_again(journal):
    _begin(journal).end(forget=False)
    (submission,) = journal.unfinished()
    entry = journal.take(submission)
    assert journal.take(submission) is None
    assert journal.unfinished()[0].in_flight
    assert entry.body() == b"{}"
    entry.end(forget=True)
    assert journal.take(submission) is None
    assert journal.unfinished() == []


def test_two_submissions_under_one_key_are_two_entries(journal):
    _begin(journal, "k", b"one").end(forget=False)
    _begin(journal, "k", b"two").end(forget=False)
    assert [submission.num_bytes for submission in journal.unfinished()] == [3, 3]


def test_what_is_too_old_is_forgotten_but_not_what_is_being_sent(journal):
    sending, left = _begin(journal, "sending"), _begin(journal, "left")
    left.end(forget=False)
    for path in journal.folder.iterdir():
        os.utime(path, (0, 0))
    (journal.folder / ".draft-x").write_text("half")
    os.utime(journal.folder / ".draft-x", (0, 0))
    _begin(journal, "new").end(forget=False)
    assert {submission.idempotency_key for submission in journal.unfinished()} == {"sending", "new"}
    assert len(list(journal.folder.iterdir())) == 2
    sending.end(forget=True)


def test_a_full_journal_forgets_the_oldest(journal, monkeypatch):
    monkeypatch.setattr("qpu_sdk.journal._MOST_FILES", 3)
    monkeypatch.setattr("qpu_sdk.journal._OLDEST_S", 1e12)
    for number in range(5):
        _begin(journal, str(number)).end(forget=False)
        newest = max(journal.folder.iterdir(), key=lambda path: path.stat().st_mtime)
        os.utime(newest, (1e9 + number, 1e9 + number))
    assert {submission.idempotency_key for submission in journal.unfinished()} == {"2", "3", "4"}


def test_a_damaged_file_is_passed_over(journal):
    _begin(journal, "whole").end(forget=False)
    (journal.folder / "half.submission").write_text('{"version": 1, "key"')
    assert [submission.idempotency_key for submission in journal.unfinished()] == ["whole"]


def test_an_entry_that_ended_leaves_alone_what_has_its_number_now(journal):
    first = _begin(journal, "first")
    first.end(forget=False)
    second = _begin(journal, "second")  # its descriptor has the number of the one that was closed
    assert second._descriptor == first._descriptor
    first.end(forget=True)
    assert {one.idempotency_key: one.in_flight for one in journal.unfinished()} == {"first": False, "second": True}
    second.end(forget=True)


def test_a_forked_child_ends_nothing_of_its_parents(journal):
    entry = _begin(journal)
    twin = os.dup(entry._descriptor)  # as a child has it: the same lock
    journal.start_over()
    entry.end(forget=True)
    assert [one.in_flight for one in journal.unfinished()] == [True]
    os.close(twin)


def test_what_an_earlier_key_left_is_forgotten_in_time(journal, tmp_path):
    earlier = Journal.of(Credentials("http://localhost:1", "rotated-token"), tmp_path)
    for key in ("old", "new"):
        _begin(earlier, key).end(forget=False)
    (old,) = (one.path for one in earlier.unfinished() if one.idempotency_key == "old")
    other = tmp_path / "notes" / "mine.submission"
    other.parent.mkdir()
    other.write_text("not the journal's")
    for path in (old, other):
        os.utime(path, (0, 0))
    _begin(journal).end(forget=True)
    assert [one.idempotency_key for one in earlier.unfinished()] == ["new"]
    assert other.exists()
