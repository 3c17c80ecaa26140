"""Worker processes: from a script without a main guard, after a death, and without loading Aer in the server."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from qpu_backend.engines.executors import ExecutorShutDown, LocalExecutor, WorkersUnreachable, ask, local_executor
from qpu_backend.engines.protocol import decode_report, join_tasks
from qpu_backend.engines.worker import run_tasks

SCRIPT = """
import sys
import threading
import time
from qpu_backend.engines.executors import LocalExecutor, local_executor
from qpu_backend.engines.protocol import decode_report, join_tasks
from qpu_backend.engines.worker import run_tasks
executor = local_executor(1)
report = decode_report(executor.submit(run_tasks, join_tasks([])).result())
executor.shutdown()
print(sorted(report.fingerprint), "qiskit_aer" in sys.modules, "qiskit" in sys.modules)
"""


def test_it_works_from_a_script_without_main_guard_and_keeps_aer_out_of_the_server(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "['engine', 'numpy', 'qiskit', 'qiskit_aer'] False False"


def test_a_dead_worker_fails_its_call_and_the_next_one_works():
    executor = local_executor(1)
    try:
        executor.warm()
        with pytest.raises(BrokenProcessPool):
            executor.submit(os._exit, 3).result(timeout=30)
        assert decode_report(executor.submit(run_tasks, join_tasks([])).result(timeout=60)).tasks == ()
    finally:
        executor.shutdown()
    with pytest.raises(RuntimeError):
        executor.submit(run_tasks, join_tasks([]))


HOLDS_THE_GIL = """
import ctypes, os, sys, time
from qpu_backend.engines.executors import LocalExecutor, local_executor
executor = local_executor(1)
executor.warm()
print(executor.submit(os.getpid).result(), flush=True)
executor.submit(eval, "__import__('ctypes').PyDLL(None).sleep(120)")
time.sleep(120)
"""


def test_a_worker_in_the_middle_of_a_simulation_ends_with_its_killed_server(tmp_path):
    script = tmp_path / "server.py"
    script.write_text(HOLDS_THE_GIL)  # as Aer does: no Python thread of the worker runs meanwhile
    with subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True) as server:
        worker = int(server.stdout.readline())
        time.sleep(0.5)
        server.kill()
    deadline = time.monotonic() + 20
    while alive(worker) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not alive(worker)


def test_a_call_that_never_ends_costs_its_worker_and_not_the_slot():
    executor = LocalExecutor(1, call_limit_s=1.0)
    try:
        executor.warm()
        with pytest.raises(BrokenProcessPool):
            executor.submit(eval, "__import__('ctypes').PyDLL(None).sleep(120)").result(timeout=60)
        assert executor.submit(os.getpid).result(timeout=60) > 0
    finally:
        executor.shutdown()


def test_workers_outlive_the_thread_that_asked_for_them():
    made: list[LocalExecutor] = []
    thread = threading.Thread(target=lambda: made.append(local_executor(1)))
    thread.start()
    thread.join()
    try:
        worker = made[0].submit(os.getpid).result(timeout=60)
        assert made[0].submit(os.getpid).result(timeout=60) == worker
    finally:
        made[0].shutdown()


def test_workers_that_were_started_end_when_the_next_one_cannot_be(monkeypatch):
    executor = local_executor(2)
    try:
        executor.warm()
        start, started = BaseProcess.start, []

        def second_fails(process):
            if len(started) % 2:
                started.append(None)
                raise BlockingIOError("Resource temporarily unavailable")
            start(process)
            started.append(process.pid)

        with monkeypatch.context() as patch:
            patch.setattr(BaseProcess, "start", second_fails)
            with pytest.raises(BrokenProcessPool):
                executor.submit(os._exit, 3).result(timeout=30)
            for _ in range(2):
                with pytest.raises(WorkersUnreachable):
                    ask(executor, run_tasks, join_tasks([]))
        first, _, second, _ = started
        assert not alive(first)
        assert not alive(second)
        assert decode_report(ask(executor, run_tasks, join_tasks([])).result(timeout=60)).tasks == ()
    finally:
        executor.shutdown()
    with pytest.raises(ExecutorShutDown):
        ask(executor, run_tasks, join_tasks([]))


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"
