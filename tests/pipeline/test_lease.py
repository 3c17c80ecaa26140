"""Whether the holder of a lease is dead: only where this machine surely knows."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from qpu_backend.pipeline.lease import local_identity, process_lives


@pytest.fixture
def child():
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        yield process
        process.kill()


def holder_of(pid):
    started = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[19]
    return replace(local_identity(), pid=pid, pid_started=started)


@pytest.mark.parametrize("error", [FileNotFoundError, PermissionError])
def test_a_process_that_is_hidden_may_live(monkeypatch, child, error):
    holder = holder_of(child.pid)
    read_text = Path.read_text

    def hidden(path, *args, **kwargs):
        if str(path) == f"/proc/{child.pid}/stat":
            raise error
        return read_text(path, *args, **kwargs)

    monkeypatch.setattr(Path, "read_text", hidden)
    assert process_lives(holder)
    child.kill()
    child.wait()
    assert not process_lives(holder)


def test_a_process_of_somebody_else_may_live(monkeypatch, child):
    def not_yours(_pid, _signal):
        raise PermissionError

    holder = holder_of(child.pid)
    with monkeypatch.context() as patch:
        patch.setattr(os, "kill", not_yours)
        assert process_lives(holder)


def test_a_number_that_another_process_has_by_now_is_a_dead_holder(child):
    holder = holder_of(child.pid)
    assert process_lives(holder)
    assert not process_lives(replace(holder, pid_started=f"{holder.pid_started}0"))


def test_a_zombie_is_dead(child):
    holder = holder_of(child.pid)
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert not process_lives(holder)


def test_nothing_is_known_of_another_machine_or_another_boot():
    assert process_lives(replace(local_identity(), boot_id="another", pid=2**22 + 1))
    assert process_lives(replace(local_identity(), boot_id="", pid=2**22 + 1))
