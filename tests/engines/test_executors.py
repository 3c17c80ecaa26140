"""Worker processes: from a script without a main guard, after a death, and without loading Aer in the server."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures.process import BrokenProcessPool

import pytest

from qpu_backend.engines.executors import local_executor
from qpu_backend.engines.protocol import decode_report, join_tasks
from qpu_backend.engines.worker import run_tasks

SCRIPT = """
import sys
from qpu_backend.engines.executors import local_executor
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
