"""Deliver events from the outbox to each sink, in order, at least once.

An event is delivered after its COMMIT, and the sink's cursor is moved after that: a crash repeats
at most one. A sink that can be read back says whether it has it; to others it goes again, marked.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TypeVar

import structlog

from monitor.adapters.sinks import ReadableSink, RefusedError, RepeatingSink, Sink
from monitor.adapters.store import Store
from monitor.core.model import Event, Seconds

FIRST_RETRY: Seconds = 1.0
LAST_RETRY: Seconds = 60.0
"""A sink that failed is tried again after 1 s, doubling up to a minute; nothing overtakes."""

REPEAT_EVERY: Seconds = 60.0
"""Resend interval, for sinks that expire alerts (Alertmanager)."""

log = structlog.get_logger()

_T = TypeVar("_T")


class Tellers:
    """A teller for each sink, each in a task of its own: a sink that is down delays no other."""

    def __init__(self, sinks: Sequence[Sink], store: Store, failed: Callable[[str], None]) -> None:
        """Deliver from `store` to `sinks`; `failed` counts a failed delivery to a sink."""
        self._tellers = [Teller(sink, store, failed) for sink in sinks]

    def finish(self) -> None:
        """Have `run` return once all that waits is delivered everywhere."""
        for teller in self._tellers:
            teller.finish()

    async def run(self) -> None:
        """Deliver until `finish`."""
        async with asyncio.TaskGroup() as tasks:
            repeating = [tasks.create_task(teller.repeat()) for teller in self._tellers]
            await asyncio.gather(*(teller.run() for teller in self._tellers))
            for task in repeating:
                task.cancel()


class Teller:
    """Delivers to one sink what is in the outbox, for as long as `run` runs."""

    def __init__(self, sink: Sink, store: Store, failed: Callable[[str], None]) -> None:
        """Deliver from the sink's cursor in `store` on; `failed` counts a failed delivery."""
        self._sink = sink
        self._store = store
        self._failed = failed
        self._woken = asyncio.Event()
        self._woken.set()  # what waits from before goes first
        self._retry = FIRST_RETRY
        self._failing = False
        self._finishing = False
        # More than the first only if the disk failed before the crash, and kept the cursor back.
        self._perhaps_had = store.add_sink(sink.name, self._woken.set)

    def finish(self) -> None:
        """Have `run` return once all that waits is delivered."""
        self._finishing = True
        self._woken.set()

    async def run(self) -> None:
        """Deliver until `finish`. Cancelled, it may cut off a delivery that was made after all."""
        finishing = False
        while not finishing:
            await self._woken.wait()
            self._woken.clear()
            # Read before: a `finish` that comes meanwhile gets a round of its own.
            finishing = self._finishing
            await self.tell_all()

    async def repeat(self) -> None:
        """Resend all that is so to a sink that forgets, for ever; to any other there is nothing."""
        while isinstance(self._sink, RepeatingSink):
            await asyncio.sleep(REPEAT_EVERY)
            try:
                await self._sink.repeat()
            except Exception as error:
                self._note(error)
            else:
                self._note(None)

    async def tell_all(self) -> None:
        """Deliver everything that waits, however often the sink must be tried."""
        while (event := self._store.undelivered(self._sink.name)) is not None:
            had = await self._had(event.event_id)
            if not had:
                await self._deliver(replace(event, redelivery=had is None))
            self._store.mark_delivered(self._sink.name, event.event_id)
            if event.durable:
                await self._store.flush()

    async def _had(self, event_id: str) -> bool | None:
        """Return whether the sink has the event from before a crash; None: nobody can know."""
        if event_id not in self._perhaps_had:
            return False
        sink, before, had = self._sink, self._perhaps_had[event_id], None
        if isinstance(sink, ReadableSink):
            had = await self._insist(partial(sink.has, event_id, before))
        if not had:
            # Nothing overtakes: of those after it none was delivered.
            self._perhaps_had.clear()
        return had

    async def _deliver(self, event: Event) -> None:
        try:
            await self._insist(partial(self._sink.deliver, event))
        except RefusedError as error:
            sink, event_id = self._sink.name, event.event_id
            self._failed(sink)
            log.error("event_refused", sink=sink, event_id=event_id, problem=str(error))

    async def _insist(self, attempt: Callable[[], Awaitable[_T]]) -> _T:
        """Return what the sink answers, however often it must be tried."""
        while True:
            try:
                answer = await attempt()
            except RefusedError:
                raise
            # Whatever it is: a fault of one sink must not end the delivery to all others.
            except Exception as error:
                self._note(error)
                await asyncio.sleep(self._retry)
                self._retry = min(2 * self._retry, LAST_RETRY)
            else:
                self._note(None)
                self._retry = FIRST_RETRY
                return answer

    def _note(self, error: Exception | None) -> None:
        """Count a failure; log the first, and that it works again."""
        if error is not None:
            self._failed(self._sink.name)
            if not self._failing:
                # What is no failure of the outside world is a fault of ours: with its traceback.
                fault = None if isinstance(error, OSError) else error
                log.warning("sink_failed", sink=self._sink.name, problem=str(error), exc_info=fault)
        elif self._failing:
            log.info("sink_recovered", sink=self._sink.name)
        self._failing = error is not None
