"""From the outbox to the sinks: in order, nothing lost, nothing doubled.

An event is told after its COMMIT and the sink's cursor is moved after that, one by one: a crash
repeats at most the one event whose cursor was not moved yet. At the start a sink that can be read
back says whether it has that one; any other is told again, and it is marked.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import TypeVar

import structlog

from monitor.adapters.sinks import ReadableSink, RefusedError, RepeatingSink, Sink
from monitor.adapters.store import StorageError, Store
from monitor.core.model import Seconds, Told

FIRST_RETRY: Seconds = 1.0
LAST_RETRY: Seconds = 60.0
"""A sink that failed is tried again after 1 s, doubling up to a minute; nothing overtakes."""

REPEAT_EVERY: Seconds = 60.0
"""How often a sink that forgets is told again what is so."""

log = structlog.get_logger()

_T = TypeVar("_T")


class Tellers:
    """A teller for each sink, each in a task of its own: a sink that is down delays no other."""

    def __init__(self, sinks: Sequence[Sink], store: Store, failed: Callable[[str], None]) -> None:
        """Tell `sinks` what is in `store`; `failed` counts a failed delivery to a sink."""
        self._tellers = [Teller(sink, store, failed) for sink in sinks]

    def wake(self) -> None:
        """Look at the outbox: something was committed, or cannot be."""
        for teller in self._tellers:
            teller.wake()

    def finish(self) -> None:
        """Have `run` return once all that waits is told everywhere."""
        for teller in self._tellers:
            teller.finish()

    async def run(self) -> None:
        """Tell until `finish`."""
        async with asyncio.TaskGroup() as tasks:
            repeating = [tasks.create_task(teller.repeat()) for teller in self._tellers]
            await asyncio.gather(*(teller.run() for teller in self._tellers))
            for task in repeating:
                task.cancel()


class Teller:
    """Tells one sink what is in the outbox, for as long as `run` runs."""

    def __init__(self, sink: Sink, store: Store, failed: Callable[[str], None]) -> None:
        """Tell `sink` from its cursor in `store` on; `failed` counts a failed delivery."""
        self._sink = sink
        self._store = store
        self._failed = failed
        self._woken = asyncio.Event()
        self._woken.set()  # what waits from before is told first
        self._retry = FIRST_RETRY
        self._failing = False
        self._finishing = False
        # More than the first only if the disk failed before the crash, and kept the cursor back.
        self._perhaps_told = store.add_sink(sink.name)

    def wake(self) -> None:
        """Look at the outbox: something was committed, or cannot be."""
        self._woken.set()

    def finish(self) -> None:
        """Have `run` return once all that waits is told."""
        self._finishing = True
        self.wake()

    async def run(self) -> None:
        """Tell until `finish`. To cancel it may cut a delivery off: told, and not known to be."""
        while True:
            await self._woken.wait()
            self._woken.clear()
            # Read before: a `finish` that comes while it tells gets a round of its own.
            finishing = self._finishing
            try:
                await self.tell_all()
            except StorageError as error:
                log.warning("outbox_unreadable", sink=self._sink.name, problem=str(error))
                await asyncio.sleep(FIRST_RETRY)
                self.wake()
            if finishing:
                return

    async def repeat(self) -> None:
        """Tell a sink that forgets again what is so, for ever; of any other there is nothing."""
        while isinstance(self._sink, RepeatingSink):
            await asyncio.sleep(REPEAT_EVERY)
            try:
                await self._sink.repeat()
            except Exception as error:
                self._fails(error)
            else:
                self._works()

    async def tell_all(self) -> None:
        """Tell everything that waits, however often the sink must be tried."""
        while (told := await self._store.undelivered(self._sink.name)) is not None:
            await self._tell_once(told)
            self._store.mark_delivered(self._sink.name, told.event_id)
            if told.durable:
                await self._store.flush()

    async def _tell_once(self, told: Told) -> None:
        known = await self._is_told(told.event_id)
        if known:
            return
        marked = replace(told, redelivery=known is None)
        try:
            await self._insist(lambda: self._sink.deliver(marked))
        except RefusedError as error:
            self._failed(self._sink.name)
            event_id, problem = told.event_id, str(error)
            log.error("event_refused", sink=self._sink.name, event_id=event_id, problem=problem)

    async def _is_told(self, event_id: str) -> bool | None:
        """Return whether the sink has the event from before a crash; None: nobody can know."""
        if event_id not in self._perhaps_told:
            return False
        sink, before, known = self._sink, self._perhaps_told[event_id], None
        if isinstance(sink, ReadableSink):
            known = await self._insist(lambda: sink.has(event_id, before))
        if not known:
            # Nothing overtakes: of those after it none was told.
            self._perhaps_told.clear()
        return known

    async def _insist(self, attempt: Callable[[], Awaitable[_T]]) -> _T:
        """Return what the sink answers, however often it must be tried."""
        while True:
            try:
                answer = await attempt()
            except RefusedError:
                raise
            # Whatever it is: a fault of one sink must not end the telling of all others.
            except Exception as error:
                self._fails(error)
                await asyncio.sleep(self._retry)
                self._retry = min(2 * self._retry, LAST_RETRY)
            else:
                self._works()
                self._retry = FIRST_RETRY
                return answer

    def _works(self) -> None:
        if self._failing:
            log.info("sink_recovered", sink=self._sink.name)
        self._failing = False

    def _fails(self, error: Exception) -> None:
        self._failed(self._sink.name)
        if not self._failing:
            # What is no failure of the outside world is a fault of ours: with its traceback.
            fault = None if isinstance(error, OSError) else error
            log.warning("sink_failed", sink=self._sink.name, problem=str(error), exc_info=fault)
        self._failing = True
