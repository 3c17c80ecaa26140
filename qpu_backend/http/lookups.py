"""Lookups of keys for the requests of one event loop: those that come while one is under way are looked up together."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, final
from weakref import WeakKeyDictionary

from starlette.concurrency import run_in_threadpool

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from qpu_backend.domain.tenancy import TenantScope

_MOST: Final = 64
"""Keys of one lookup."""
_PATIENCE_S: Final = 0.25
"""A lookup that takes so long holds nobody else up: the next one begins beside it."""


class _Desk:
    """Of one event loop."""

    def __init__(self, look_up: Callable[[Sequence[str]], list[TenantScope | Exception]]) -> None:
        self._look_up = look_up
        self._waiting: list[tuple[str, asyncio.Future[TenantScope]]] = []
        self._under_way: set[asyncio.Task[None]] = set()
        self._serving = False

    async def ask(self, key: str) -> TenantScope:
        answer = asyncio.get_running_loop().create_future()
        self._waiting.append((key, answer))
        if not self._serving:
            self._serving = True
            self._keep(self._serve())
        return await answer

    async def _serve(self) -> None:
        try:
            while self._waiting:
                group, self._waiting = self._waiting[:_MOST], self._waiting[_MOST:]
                await asyncio.wait([self._keep(self._answer(group))], timeout=_PATIENCE_S)
        finally:
            self._serving = False

    def _keep(self, work: Coroutine[object, object, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._under_way.add(task)  # the loop itself would forget it
        task.add_done_callback(self._under_way.discard)
        return task

    async def _answer(self, group: list[tuple[str, asyncio.Future[TenantScope]]]) -> None:
        try:
            found = await run_in_threadpool(self._look_up, [key for key, _ in group])
        except Exception as error:  # noqa: BLE001 - it belongs to those who ask
            found = [error] * len(group)
        for (_, answer), scope in zip(group, found, strict=True):
            if answer.done():  # who asked has left
                continue
            if isinstance(scope, Exception):
                answer.set_exception(scope)
            else:
                answer.set_result(scope)


@final
class Lookups:
    """Looks keys up, a group at a time and a thread for each group. Each event loop waits for its own."""

    def __init__(self, look_up: Callable[[Sequence[str]], list[TenantScope | Exception]]) -> None:
        """Nobody asks yet.

        Args:
            look_up: the scope of each of some keys, or why it has none, in their order; called in a thread.
        """
        self._look_up = look_up
        self._desks: WeakKeyDictionary[asyncio.AbstractEventLoop, _Desk] = WeakKeyDictionary()

    async def ask(self, key: str) -> TenantScope:
        """The scope of a key.

        Raises:
            Exception: why it has none.
        """
        loop = asyncio.get_running_loop()
        desk = self._desks.get(loop)
        if desk is None:
            desk = self._desks[loop] = _Desk(self._look_up)
        return await desk.ask(key)
