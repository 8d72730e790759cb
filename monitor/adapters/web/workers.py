"""Work for clients: bounded, one piece for all who ask for the same, none for who has left."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from aiohttp import web

WAITING: Final = 16  # so many wait for one thread
AGAIN: Final = {"Retry-After": "1"}

_T = TypeVar("_T")


class Worker:
    """A thread that takes the newest work first: whoever asks now does not stand behind a flood.

    Where more than `WAITING` wait, the oldest is `refused`. `close` lets the thread end.
    """

    def __init__(self, name: str, refused: type[web.HTTPException]) -> None:
        self._thread, self._refused = ThreadPoolExecutor(1, thread_name_prefix=name), refused
        self._waiting, self._busy = list[asyncio.Future[None]](), False

    async def run(self, begin: Callable[[], Callable[[], _T]]) -> _T:
        """Return what the work of `begin` returns; that is called on the loop, when its turn comes.

        Cancelled before, it is dropped.
        """
        if self._busy:
            await self._turn()
        self._busy = True
        try:
            work = asyncio.get_running_loop().run_in_executor(self._thread, begin())
        except BaseException:
            self._next()
            raise
        # Nothing stops a thread: the next one has its turn when this one has really ended.
        work.add_done_callback(self._next)
        return await asyncio.shield(work)

    def close(self) -> None:
        """Let the thread end; nobody waits for it."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _turn(self) -> None:
        mine = asyncio.get_running_loop().create_future()
        self._waiting.append(mine)
        if len(self._waiting) > WAITING and not (oldest := self._waiting.pop(0)).done():
            oldest.set_exception(self._refused(text="too much at once: try again", headers=AGAIN))
        try:
            await mine
        except asyncio.CancelledError:
            if mine in self._waiting:
                self._waiting.remove(mine)
            elif not mine.cancelled() and mine.exception() is None:
                self._next()
            raise

    def _next(self, _: object = None) -> None:
        self._busy = False
        while self._waiting and not self._busy:
            turn = self._waiting.pop()
            if not turn.done():
                self._busy = True
                turn.set_result(None)


@dataclass(eq=False)
class _Making(Generic[_T]):
    task: asyncio.Task[_T]
    waiting: int = 0


class Shared(Generic[_T]):
    """What is in the making: whoever asks for the same meanwhile gets it, too."""

    def __init__(self) -> None:
        self._making: dict[Hashable, _Making[_T]] = {}

    async def get(self, key: Hashable, make: Callable[[], Awaitable[_T]]) -> _T:
        """Return what is made for this key; once nobody waits for it any more, it is cancelled."""
        if key not in self._making:
            self._making[key] = _Making(asyncio.ensure_future(make()))
        one = self._making[key]
        one.waiting += 1
        try:
            return await asyncio.shield(one.task)
        finally:
            one.waiting -= 1
            # From the first that has it: who comes now wants what is newer.
            if self._making.get(key) is one and (one.task.done() or not one.waiting):
                del self._making[key]
            if not one.waiting:
                one.task.cancel()
