"""Execution on executors that refuse: every batch comes back, and none is blamed for what is not its fault."""

from __future__ import annotations

from concurrent.futures import BrokenExecutor, Executor, Future
from types import SimpleNamespace

import pytest

from qpu_backend.domain.jobs import JobState
from qpu_backend.engines.executors import ExecutorShutDown, WorkersUnreachable
from qpu_backend.engines.on_demand import OnDemandExecutor
from qpu_backend.engines.protocol import join_tasks
from qpu_backend.engines.worker import run_tasks
from qpu_backend.pipeline.execution import Execution, ExecutorClosed
from qpu_backend.pipeline.recovery import MAX_ATTEMPTS


class Refusing(Executor):
    """Refuses with what it is told, or answers with something."""

    def __init__(self, answer):
        self.answer = answer

    def submit(self, *_):
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer


def batch(attempt=1):
    member = SimpleNamespace(record=b"record", slice_executions=(1,))
    return SimpleNamespace(members=(member,), attempt=attempt)


@pytest.mark.parametrize(
    ("refusal", "told"),
    [
        (BlockingIOError(11, "Resource temporarily unavailable"), WorkersUnreachable),
        (RuntimeError("can't start new thread"), WorkersUnreachable),
        (MemoryError(), WorkersUnreachable),
        (BrokenExecutor("a worker died"), BrokenExecutor),
        (ExecutorShutDown(), ExecutorClosed),
        (SystemExit(3), SystemExit),
        ("no future at all", AttributeError),
    ],
)
def test_whatever_an_executor_refuses_with_is_an_outcome_and_holds_no_place(monkeypatch, refusal, told):
    def no_thread(_):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr("threading.Thread.start", no_thread)
    executor = Refusing(refusal)
    execution = Execution(executor, 1)
    outcomes = []
    execution.submit(batch(attempt=2), outcomes.append)  # one that has failed before has the executor to itself
    (refused,) = outcomes
    assert type(refused.error) is told
    executor.answer = Future()
    execution.submit(batch(), outcomes.append)
    executor.answer.set_exception(ZeroDivisionError())
    assert [type(outcome.error) for outcome in outcomes] == [told, ZeroDivisionError]


def test_workers_are_asked_again_after_a_while_and_not_at_once(monkeypatch, new_lab):
    lab = new_lab()
    submit, asked = lab.workers.submit, []
    pauses = []
    stopping = lab.service._retrier._stopping
    monkeypatch.setattr(stopping, "wait", lambda seconds: bool(pauses.append(seconds)))

    def refuse(*args):
        asked.append(args)
        if len(asked) <= MAX_ATTEMPTS:
            raise RuntimeError("can't start new thread")
        return submit(*args)

    monkeypatch.setattr(lab.workers, "submit", refuse)
    (row,) = lab.ended(lab.submit(lab.tenant()))
    assert row.state is JobState.DONE
    assert lab.batches(row.id)[0].batch.attempt == 1
    assert len(pauses) == MAX_ATTEMPTS
    assert all(0.5 < seconds <= 1.0 for seconds in pauses)


def test_an_executor_that_was_shut_down_says_so_in_a_class_of_its_own():
    executor = OnDemandExecutor(lambda: Refusing(Future()))
    executor.shutdown()
    with pytest.raises(ExecutorShutDown):
        executor.submit(run_tasks, join_tasks([]))
    assert not issubclass(ExecutorShutDown, BrokenExecutor)
