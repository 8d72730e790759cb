"""Work for clients: bounded, once for all who ask for the same, none for who has left."""

import asyncio
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from aiohttp import web

WAITING: Final = 16  # pieces of work for one thread
AGAIN: Final = {"Retry-After": "1"}

_T = TypeVar("_T")


@dataclass(eq=False)
class _Work:
    begin: Callable[[], Callable[[], Any]]
    done: asyncio.Future[Any]
    begun: bool = False
    clients: int = 0


class Worker:
    """A thread that takes the newest work first: whoever asks now does not stand behind a flood.

    Where more than `WAITING` wait, the oldest is `refused`. `close` lets the thread end.
    """

    def __init__(self, name: str, refused: type[web.HTTPException]) -> None:
        self._thread, self._refused = ThreadPoolExecutor(1, thread_name_prefix=name), refused
        self._works: dict[Hashable, _Work] = {}
        self._doing: asyncio.Task[None] | None = None

    async def run(self, key: Hashable, begin: Callable[[], Callable[[], _T]]) -> _T:
        """Return what the work of `begin` returns, that of whoever asked for this key before, too.

        `begin` is called on the loop when its turn comes; never, if all who asked have left.
        """
        if key not in self._works:
            self._works[key] = _Work(begin, asyncio.get_running_loop().create_future())
            self._begin_newest()
        work = self._works[key]
        work.clients += 1
        try:
            result: _T = await asyncio.shield(work.done)
            return result
        finally:
            work.clients -= 1
            if self._works.get(key) is work and (work.done.done() or not work.clients):
                del self._works[key]

    def close(self) -> None:
        """Let the thread end; nobody waits for it."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _begin_newest(self) -> None:
        waiting = [one for one in self._works.values() if not (one.begun or one.done.done())]
        if len(waiting) > WAITING:
            text = "too much at once: try again"
            waiting[0].done.set_exception(self._refused(text=text, headers=AGAIN))
        if waiting and self._doing is None:
            waiting[-1].begun = True
            self._doing = asyncio.ensure_future(self._do(waiting[-1]))

    async def _do(self, work: _Work) -> None:
        try:
            running = asyncio.get_running_loop().run_in_executor(self._thread, work.begin())
            work.done.set_result(await running)
        except Exception as error:
            work.done.set_exception(error)
            work.done.exception()  # which asyncio would log where all have left
        self._doing = None
        self._begin_newest()
