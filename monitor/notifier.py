"""Deliver events from the outbox to each sink, in order, at least once.

An event is delivered after its COMMIT, and the sink's cursor is moved after that: a crash repeats
at most one. A sink that can be read back says whether it has it; to others it goes again, marked.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial

import structlog

from monitor.adapters.sinks import PermanentDeliveryError, Sink, UncertainDeliveryError
from monitor.adapters.store import Store
from monitor.core.model import Event, Seconds

# A sink that failed is tried again after a second, doubling up to a minute; nothing overtakes.
FIRST_RETRY: Seconds = 1.0
LAST_RETRY: Seconds = 60.0
RESEND_EVERY: Seconds = 60.0  # resend interval, for sinks that expire alerts (Alertmanager)

log = structlog.get_logger()


class SinkWorker:
    """Delivers to one sink what is in the outbox, in a task of its own: one delays no other."""

    def __init__(self, sink: Sink, store: Store, failed: Callable[[str], None]) -> None:
        """Deliver from the sink's cursor in `store` on; `failed` counts a failed delivery."""
        self.name = sink.name
        self._sink, self._store, self._failed = sink, store, failed
        self._woken = asyncio.Event()
        self._woken.set()  # what waits from before goes first
        self._failing = self._finishing = self._uncertain = False
        # More than the first only if the disk failed before the crash, and kept the cursor back.
        self._perhaps_had = store.add_sink(self.name, self._woken.set)

    def finish(self) -> None:
        """Have `run` return once all that is committed is delivered."""
        self._finishing = True
        self._woken.set()

    async def run(self) -> None:
        """Deliver until `finish`. Cancelled, it may cut off a delivery that was made after all."""
        async with asyncio.TaskGroup() as tasks:
            resending = tasks.create_task(self._resend())
            while not self._finishing or self._woken.is_set():
                await self._woken.wait()
                self._woken.clear()
                await self.deliver_all()
            resending.cancel()

    async def _resend(self) -> None:
        """Resend all active alerts to a sink that expires them; to any other there is nothing."""
        while self._sink.resend is not None:
            await asyncio.sleep(RESEND_EVERY)
            try:
                await self._sink.resend()
                self._note(None)
            except Exception as error:
                self._note(error)

    async def deliver_all(self) -> None:
        """Deliver everything that waits, however often the sink must be tried."""
        while (event := self._store.undelivered(self.name)) is not None:
            had = await self._had(event.event_id)
            if not had:
                self._uncertain = had is None
                await self._insist(event.event_id, partial(self._deliver, event))
            self._store.mark_delivered(self.name, event.event_id)
            if event.durable:
                await self._store.flush()

    async def _deliver(self, event: Event) -> None:
        """Try once to deliver an event, marked where the sink may have it."""
        try:
            await self._sink.deliver(replace(event, redelivery=self._uncertain))
        except UncertainDeliveryError:
            self._uncertain = True
            raise

    async def _had(self, event_id: str) -> bool | None:
        """Return whether the sink has the event from before a crash; None: nobody can know."""
        if event_id not in self._perhaps_had:
            return False
        had, before = None, self._perhaps_had[event_id]
        if self._sink.has is not None:
            had = await self._insist(event_id, partial(self._sink.has, event_id, before))
        if not had:
            # Nothing overtakes: of those after it none was delivered.
            self._perhaps_had.clear()
        return had

    async def _insist(
        self, event_id: str, attempt: Callable[[], Awaitable[bool | None]]
    ) -> bool | None:
        """Return what the sink answers about an event, however often it must be tried."""
        retry = FIRST_RETRY
        while True:
            try:
                answer = await attempt()
                self._note(None)
                return answer
            except PermanentDeliveryError as error:
                self._failed(self.name)
                log.error("event_refused", sink=self.name, event_id=event_id, problem=str(error))
                return None
            # Whatever it is: a fault of one sink must not end the delivery to all others.
            except Exception as error:
                self._note(error)
                await asyncio.sleep(retry)
                retry = min(2 * retry, LAST_RETRY)

    def _note(self, error: Exception | None) -> None:
        """Count a failure; log the first, and that it works again."""
        if error is not None:
            self._failed(self.name)
            if not self._failing:
                # What is no failure of the outside world is a fault of ours: with its traceback.
                fault = None if isinstance(error, OSError) else error
                log.warning("sink_failed", sink=self.name, problem=str(error), exc_info=fault)
        elif self._failing:
            log.info("sink_recovered", sink=self.name)
        self._failing = error is not None
