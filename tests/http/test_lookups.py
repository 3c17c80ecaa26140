"""Keys that arrive together are looked up together, and one that takes long holds up nobody else."""

from __future__ import annotations

import asyncio
import threading

import pytest

from qpu_backend.http.lookups import Lookups


class Register:
    """Answers each key with its length, and notes the groups; one key is answered only when the gate opens."""

    def __init__(self) -> None:
        self.groups: list[list[str]] = []
        self.begun = threading.Event()
        self.gate = threading.Event()

    def look_up(self, keys):
        self.groups.append(list(keys))
        self.begun.set()
        if "slow" in keys:
            assert self.gate.wait(60)
        return [ValueError(key) if key == "bad" else len(key) for key in keys]


def test_those_who_come_meanwhile_are_looked_up_together_each_with_its_own_answer():
    register = Register()

    async def ask():
        lookups = Lookups(register.look_up)
        asked = [asyncio.create_task(lookups.ask(key)) for key in ("a", "bb", "bad", "cccc")]
        return await asyncio.gather(*asked, return_exceptions=True)

    one, two, refused, four = asyncio.run(ask())
    assert (one, two, four) == (1, 2, 4)
    assert isinstance(refused, ValueError)
    assert register.groups == [["a", "bb", "bad", "cccc"]]


def test_a_lookup_that_takes_long_holds_up_nobody_else():
    register = Register()

    async def ask():
        lookups = Lookups(register.look_up)
        slow = asyncio.create_task(lookups.ask("slow"))
        await asyncio.to_thread(register.begun.wait, 60)
        assert await lookups.ask("quick") == 5
        assert not slow.done()
        register.gate.set()
        assert await slow == 4

    asyncio.run(ask())


def test_who_leaves_takes_nobody_along():
    register = Register()

    async def ask():
        lookups = Lookups(register.look_up)
        leaving = asyncio.create_task(lookups.ask("slow"))
        await asyncio.to_thread(register.begun.wait, 60)
        staying = asyncio.create_task(lookups.ask("stays"))
        await asyncio.sleep(0)
        leaving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaving
        register.gate.set()
        assert await staying == 5

    asyncio.run(ask())
