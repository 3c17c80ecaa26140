"""A Dask cluster as an executor: which addresses are taken, who may compute, and what its absence looks like."""

from __future__ import annotations

import os
import sys
import threading
import time
from concurrent.futures import BrokenExecutor, Executor, Future
from pathlib import Path
from types import SimpleNamespace

import dask
import pytest
from clusters import News, Processes, connect, kill_who_computes, two_workers, until
from distributed import Security

from qpu_backend.config import load_config
from qpu_backend.engines import cluster as cluster_module
from qpu_backend.engines.cluster import ClusterExecutor, ClusterRefused
from qpu_backend.engines.cluster_address import ClusterAddress
from qpu_backend.engines.cluster_workers import required_versions
from qpu_backend.engines.executors import WorkersUnreachable
from qpu_backend.engines.protocol import decode_report, join_tasks
from qpu_backend.engines.worker import run_tasks

NOTHING = join_tasks([])


@pytest.mark.parametrize(
    ("text", "dask"),
    [
        ("dask://127.0.0.1:8786", "tcp://127.0.0.1:8786"),
        ("dask://localhost:8786/", "tcp://localhost:8786"),
        ("dask://[::1]:1", "tcp://[::1]:1"),
        ("dask+tls://cluster.example.org:8786", "tls://cluster.example.org:8786"),
        ("dask+tls://10.0.0.1:65535", "tls://10.0.0.1:65535"),
    ],
)
def test_an_address_is_read(text, dask):
    assert ClusterAddress.parse(text).for_dask() == dask
    assert load_config(data=Path("nowhere"), executor=text).executor == text


@pytest.mark.parametrize(
    "host", ["10.0.0.1", "192.168.1.2", "cluster.example.org", "[2001:db8::1]", "localhost.example.org"]
)
def test_beyond_this_machine_a_scheduler_is_spoken_to_with_tls_only(host):
    with pytest.raises(ValueError, match="TLS only"):
        load_config(data=Path("nowhere"), executor=f"dask://{host}:8786")


@pytest.mark.parametrize(
    "text", ["", "dask", "dask://", "dask://h", "dask://h:0", "dask://h:65536", "tcp://h:1", "x\n"]
)
def test_what_is_no_executor_is_refused_by_name(text):
    with pytest.raises(ValueError, match="is no executor"):
        load_config(data=Path("nowhere"), executor=text)


def test_without_dask_the_sentence_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ClusterRefused, match=r"pip install 'qpu-sdk\[cluster\]'"):
        connect("dask://127.0.0.1:8786")


def test_tls_without_certificates_is_refused():
    with pytest.raises(ClusterRefused, match="CA_FILE"):
        connect("dask+tls://127.0.0.1:8786")


def test_a_cluster_that_is_not_there_is_nobodys_fault_and_does_not_keep_a_process_from_ending():
    news = News()
    executor = connect(Processes(Path()).address, news, connect_s=0.1)
    held = executor.submit(run_tasks, NOTHING)
    until(lambda: news.of("cluster_unreachable"))
    executor.shutdown()
    assert held.cancelled() or isinstance(held.exception(), WorkersUnreachable)
    assert issubclass(WorkersUnreachable, BrokenExecutor)  # so nobody takes it for an executor that has been closed
    with pytest.raises(RuntimeError) as closed:
        executor.submit(run_tasks, NOTHING)
    assert not isinstance(closed.value, BrokenExecutor)


def test_a_call_that_cannot_be_sent_is_held_for_the_next_client(monkeypatch):
    """The connection may close between the look at it and the sending."""
    refusals = [OSError("Tried sending message after closing"), TypeError("cannot be sent")]

    class Sending(Executor):
        def submit(self, *_, **__):
            if refusals:
                raise refusals.pop()
            sent = Future()
            sent.set_result(b"answer")
            return sent

    client = SimpleNamespace(
        status="running",
        get_executor=lambda **_: Sending(),
        scheduler_info=lambda: {"id": "scheduler", "workers": {"worker": 1}},
        close=lambda **_: None,
    )
    monkeypatch.setattr(ClusterExecutor, "_connect", lambda _: client)
    news = News()
    executor = connect("dask://127.0.0.1:8786", news)
    try:
        assert executor.submit(run_tasks, NOTHING).result(60) == b"answer"
        assert len(news.of("cluster_lost")) == 2
    finally:
        executor.shutdown()


def test_a_cluster_that_never_answers_does_not_keep_a_process_from_ending(monkeypatch):
    monkeypatch.setattr(cluster_module, "_CLOSE_WITHIN_S", 0.01)
    answers, entered = threading.Event(), threading.Event()
    monkeypatch.setattr(ClusterExecutor, "_connect", lambda _: (entered.set(), answers.wait(600)))
    executor = connect("dask://127.0.0.1:8786")
    entered.wait()
    executor.shutdown(cancel_futures=True)
    assert executor._thread.is_alive()
    answers.set()


@pytest.mark.slow
def test_workers_die_are_replaced_and_are_left_to_themselves():
    with two_workers() as cluster:
        executor = connect(cluster.scheduler_address)
        report = decode_report(executor.submit(run_tasks, NOTHING).result(60))
        assert report.fingerprint["engine"] == required_versions()["engine"]
        assert executor.submit(os.getenv, "RAYON_NUM_THREADS").result(60) == "1"
        with pytest.raises(BrokenExecutor, match="died"):
            executor.submit(os._exit, 3).result(60)
        with pytest.raises(ZeroDivisionError):  # an error of the call is the call's
            executor.submit(divmod, 1, 0).result(60)
        running = executor.submit(time.sleep, 120)
        kill_who_computes(cluster)
        with pytest.raises(BrokenExecutor):
            running.result(60)
        running = executor.submit(time.sleep, 120)
        until(lambda: executor._sent)
        executor.shutdown(cancel_futures=True)
        assert running.cancelled()

        limited = connect(cluster.scheduler_address, call_limit_s=0.5)
        with pytest.raises(BrokenExecutor):
            limited.submit(time.sleep, 120).result(60)
        last = limited.submit(run_tasks, NOTHING)
        until(lambda: limited._sent or last.done())
        limited.shutdown()  # waits for what runs
        assert decode_report(last.result(0)).tasks == ()


@pytest.mark.slow
def test_a_worker_that_would_count_otherwise_leaves(tmp_path):
    """Another Aer, no package of ours at all, two threads: each is refused, there first or later."""
    other = tmp_path / "other"
    (other / "qiskit_aer-0.1.0.dist-info").mkdir(parents=True)
    (other / "qiskit_aer-0.1.0.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: qiskit-aer\nVersion: 0.1.0\n"
    )
    none = tmp_path / "none"
    (none / "qpu_backend").mkdir(parents=True)
    (none / "qpu_backend" / "__init__.py").write_text("raise ImportError")
    processes, news = Processes(tmp_path), News()
    try:
        processes.scheduler()
        before = processes.worker("--nthreads", "1", environment={"PYTHONPATH": str(other)})
        executor = connect(processes.address, news)
        until(lambda: news.of("cluster_worker_refused"))
        later = [
            processes.worker("--nthreads", "1", "--no-nanny", environment={"PYTHONPATH": str(none)}),
            processes.worker("--nthreads", "2", "--no-nanny"),
        ]
        assert [process.wait(60) for process in (before, *later)] == [0, 0, 0]
        reasons = "\n".join(str(facts["reason"]) for facts in news.of("cluster_worker_refused"))
        for reason in ("qiskit-aer 0.1.0 instead of", "engine none instead of", "2 threads instead of 1"):
            assert reason in reasons
        processes.worker("--nthreads", "1")
        until(lambda: _answers(executor))
        executor.shutdown()
    finally:
        processes.close()


def _answers(executor: ClusterExecutor) -> bool:
    try:
        return decode_report(executor.submit(run_tasks, NOTHING).result(60)).tasks == ()
    except WorkersUnreachable:
        return False


@pytest.mark.slow
def test_tls_with_certificates_on_both_ends(tmp_path):
    security = Security.temporary()
    names = {"ca-file": "tls_ca_file", "client.cert": "tls_client_cert", "client.key": "tls_client_key"}
    with two_workers(security=security, protocol="tls://") as cluster:
        settings = {}
        for name, attribute in names.items():
            (tmp_path / name).write_text(getattr(security, attribute))
            settings[f"distributed.comm.tls.{name}"] = str(tmp_path / name)
        with dask.config.set(settings):
            executor = connect(cluster.scheduler_address)
            try:
                assert decode_report(executor.submit(run_tasks, NOTHING).result(60)).tasks == ()
            finally:
                executor.shutdown()
