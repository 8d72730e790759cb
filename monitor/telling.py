"""From the outbox to the sinks: in order, nothing lost, nothing doubled.

An event is told after its COMMIT and the sink's cursor is moved after that, one by one: a crash
repeats at most the one event whose cursor was not moved yet, and marks it.
"""

import asyncio
from collections.abc import Callable

import structlog

from monitor.adapters.sinks import Sink
from monitor.adapters.store import StorageError, Store, StoredEvent
from monitor.core.model import Seconds, Told

BATCH = 100
"""Events read from the outbox at once."""

FIRST_RETRY: Seconds = 1.0
LAST_RETRY: Seconds = 60.0
"""A sink that failed is tried again after 1 s, doubling up to a minute; nothing overtakes."""

log = structlog.get_logger()


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
        # The first one after the cursor may have been told before a crash; no later one can.
        waiting = store.events_after(sink.name, 1)
        self._perhaps_told = waiting[0].event_id if waiting else None

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

    async def tell_all(self) -> None:
        """Tell everything that waits, however often the sink must be tried."""
        while waiting := self._store.events_after(self._sink.name, BATCH):
            for stored in waiting:
                await self._tell(self._as_told(stored))
                self._store.move_cursor(self._sink.name, stored.row_id)
                await self._store.flush()
        for event in self._store.undurable(self._sink.name):
            told = Told(event, self._store.epoch, durable=False)
            await self._tell(told)
            self._store.mark_told(self._sink.name, told.event_id)

    def _as_told(self, stored: StoredEvent) -> Told:
        again = stored.event_id == self._perhaps_told
        return Told(stored.event, stored.epoch, redelivery=again)

    async def _tell(self, told: Told) -> None:
        while True:
            try:
                await self._sink.deliver(told)
            except OSError as error:
                await self._wait_to_retry(error)
            else:
                if self._failing:
                    log.info("sink_recovered", sink=self._sink.name)
                self._failing, self._retry = False, FIRST_RETRY
                return

    async def _wait_to_retry(self, error: OSError) -> None:
        self._failed(self._sink.name)
        if not self._failing:
            log.warning("sink_failed", sink=self._sink.name, problem=str(error))
        self._failing = True
        await asyncio.sleep(self._retry)
        self._retry = min(2 * self._retry, LAST_RETRY)
