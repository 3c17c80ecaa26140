"""The awaited face: many waits, one thread that listens, few that ask; the same jobs, the same errors."""

from __future__ import annotations

import asyncio
import threading

import pytest
from qiskit import QuantumCircuit
from qiskit.providers import JobStatus

from qpu_sdk import SamplerV2
from qpu_sdk.errors import JobCancelledError, NotFoundError, QPUJobTimeoutError
from qpu_sdk.wire.models import JobState

BACKEND = "eagle127:line-2"
pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def flip():
    circuit = QuantumCircuit(2, 1)
    circuit.x(0)
    circuit.measure(0, 0)
    return circuit


@pytest.fixture
def paused(qpu_service):
    """The device waits until it is resumed."""
    qpu_service.pause("eagle127")
    yield qpu_service
    qpu_service.resume("eagle127")


@pytest.fixture
def slow(paused, qpu_provider, flip):
    """A job that waits until the device is resumed."""
    assert paused
    return qpu_provider.backend(BACKEND).run(flip, shots=20)


async def _listened_to(job, number: int = 1) -> None:
    """Until so many tasks wait for events: other threads make it so, which set no event of ours."""
    while sum(map(len, job._connection.events._inboxes.values())) < number or not job._connection.events.connected:  # noqa: ASYNC110
        await asyncio.sleep(0.01)


def _threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("qpu-")]


def test_a_job_is_run_found_and_awaited(qpu_provider, flip):
    async def main():
        backend = await qpu_provider.aio.backend(BACKEND)
        job = await backend.aio.run(flip, shots=20, job_tags=["awaited"])
        assert (await job.aio.result(30)).get_counts()["1"] > 10
        assert await job.aio.status() is JobStatus.DONE
        assert (await job.aio.metering()).shots == 20
        found = await qpu_provider.aio.job(job.job_id())
        assert (await found.aio.result()).get_counts() == job.result().get_counts()
        assert [one.job_id() for one in await qpu_provider.aio.jobs(tag="awaited")] == [job.job_id()]
        sampled = await SamplerV2(backend).aio.run([flip], shots=7)
        assert (await sampled.aio.result())[0].data.c.num_shots == 7
        with pytest.raises(NotFoundError):
            await qpu_provider.aio.job("job_0")

    asyncio.run(main())


def test_two_hundred_waits_are_one_listening_thread_and_few_connections(paused, through_proxy, proxy, flip):
    before = set(_threads())
    jobs = [through_proxy.backend(BACKEND).run(flip, shots=20) for _ in range(10)]
    again = [jobs[number % 10] for number in range(200)]

    async def main():
        waits = [asyncio.create_task(job.aio.result()) for job in again]
        await _listened_to(jobs[0], 200)
        threads, connections = set(_threads()) - before, len(proxy._open) // 2
        paused.resume("eagle127")
        results = await asyncio.gather(*waits)
        return threads, connections, [result.get_counts() for result in results]

    threads, connections, counts = asyncio.run(main())
    assert sorted(name.partition("_")[0] for name in threads) == ["qpu-aside"] * (len(threads) - 1) + ["qpu-events"]
    assert len(threads) <= 1 + 4
    assert connections <= 1 + 1 + 4  # the stream, what the submissions left open, and the few that ask
    assert counts == [jobs[number % 10].result().get_counts() for number in range(200)]
    assert jobs[0]._connection.events._inboxes == {}


def test_cancelling_the_task_stops_the_waiting_and_not_the_job(slow, paused):
    async def main():
        wait = asyncio.create_task(slow.aio.result())
        await _listened_to(slow)
        wait.cancel()
        with pytest.raises(asyncio.CancelledError):
            await wait

    asyncio.run(main())
    assert slow._connection.events._inboxes == {}
    paused.resume("eagle127")
    assert slow.result(60).get_counts()


def test_a_wait_has_an_end_that_the_job_does_not_share(slow, paused):
    with pytest.raises(QPUJobTimeoutError, match="goes on"):
        asyncio.run(slow.aio.result(0.001))
    paused.resume("eagle127")
    assert slow.result(60).get_counts()


def test_each_loop_has_its_own_waits(slow, paused):
    results = []
    threads = [
        threading.Thread(target=lambda: results.append(asyncio.run(slow.aio.result()).get_counts())) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    asyncio.run(_listened_to(slow, 3))
    paused.resume("eagle127")
    for thread in threads:
        thread.join()
    assert results == [slow.result().get_counts()] * 3


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_loop_that_ended_bothers_nobody(slow, paused):
    left: list[asyncio.Task] = []

    async def leave():
        left.append(asyncio.create_task(slow.aio.result()))
        await _listened_to(slow)

    loop = asyncio.new_event_loop()
    loop.run_until_complete(leave())
    loop.close()  # without a word to its tasks
    paused.resume("eagle127")
    assert slow.result(60).get_counts()
    left[0]._log_destroy_pending = False


def test_events_come_in_order_from_the_first_to_the_last(slow, paused):
    async def main():
        seen = []
        async for event in slow.aio.events():
            seen.append(event)
            paused.resume("eagle127")
        return seen

    events = asyncio.run(main())
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    assert events[-1].state is JobState.DONE
    assert events == slow.events() == asyncio.run(main())


def test_without_a_stream_it_asks_now_and_then(paused, through_proxy, proxy, flip, monkeypatch):
    monkeypatch.setattr("qpu_sdk.awaiting._POLL_S", 0.02)
    proxy.refuse_streams = True
    job = through_proxy.backend(BACKEND).run(flip, shots=10)

    async def main():
        wait = asyncio.create_task(job.aio.result())
        seen = []
        async for event in job.aio.events():
            seen.append(event.state)
            paused.resume("eagle127")
        return seen, await wait

    seen, result = asyncio.run(main())
    assert (seen[0], seen[-1]) == (JobState.QUEUED, JobState.DONE)
    assert result.get_counts()


def test_a_cancelled_job_says_so(slow):
    async def main():
        assert await slow.aio.cancel()
        await slow.aio.result()

    with pytest.raises(JobCancelledError):
        asyncio.run(main())


def test_a_split_job_is_awaited_as_one(qpu_provider, flip):
    version = qpu_provider.version()
    limits = version.limits.model_copy(update={"max_circuits": 2})
    qpu_provider._connection._version = version.model_copy(update={"limits": limits})
    job = qpu_provider.backend(BACKEND).run([flip] * 5, shots=10, split=True)

    async def main():
        events = [event async for event in job.aio.events()]
        return events, await job.aio.result()

    events, result = asyncio.run(main())
    assert {event.job_id for event in events} == set(job.job_ids())
    assert len(result.results) == 5


def test_a_forked_child_has_threads_of_its_own(qpu_provider, flip):
    job = qpu_provider.backend(BACKEND).run(flip, shots=5)
    asyncio.run(job.aio.result())
    connection = qpu_provider._connection
    parents = connection.aside
    connection.start_over()  # what happens in a child
    assert connection.aside is not parents
    assert asyncio.run(qpu_provider.aio.job(job.job_id())).result(30).get_counts()


def test_replays_that_take_long_stand_in_nobodys_way(qpu_provider, flip, monkeypatch):
    jobs = [qpu_provider.backend(BACKEND).run(flip, shots=5) for _ in range(5)]
    for job in jobs:
        job.result(60)
    begun, go_on = threading.Semaphore(0), threading.Event()

    def held(*_, **__):
        begun.release()
        assert go_on.wait(30)
        return "replayed"

    monkeypatch.setattr("qpu_sdk.job.QPUJob._replayed", held)
    monkeypatch.setattr("qpu_sdk.job.QPUJob._as_asked", lambda _, result: result)

    async def main():
        replays = [asyncio.create_task(job.aio.replay()) for job in jobs]
        for _ in jobs:
            await asyncio.to_thread(begun.acquire)
        assert (await jobs[0].aio.metering()).shots == 5
        go_on.set()
        return await asyncio.gather(*replays)

    try:
        assert asyncio.run(main()) == ["replayed"] * 5
    finally:
        go_on.set()


def test_a_replay_is_awaited_from_the_job_on(slow, paused):
    async def main():
        with pytest.raises(QPUJobTimeoutError):
            await slow.aio.replay(timeout=0.001)
        replay = asyncio.create_task(slow.aio.replay(alone=True, timeout=30))
        await _listened_to(slow)
        paused.resume("eagle127")
        return await replay

    assert asyncio.run(main()).get_counts() == slow.result(60).get_counts()
