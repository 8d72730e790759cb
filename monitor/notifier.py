"""Deliver events from the outbox to each sink, in order, at least once.

Events are delivered after their COMMIT, and the sink's cursor is moved after that: one by one, so
that a crash repeats at most one, marked; at once to a sink that can be read back, which then says
what it has, and to one that a repeated event does no harm.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from itertools import takewhile
from typing import TypeVar

import structlog

from monitor.adapters.sinks import PermanentDeliveryError, Sink, UncertainDeliveryError
from monitor.adapters.store import Store
from monitor.core.model import Event, Seconds

# A sink that failed is tried again after a second, doubling up to a minute; nothing overtakes.
FIRST_RETRY: Seconds = 1.0
LAST_RETRY: Seconds = 60.0
BATCH = 100  # events that are delivered at once, where they can be
RESEND_EVERY: Seconds = 60.0  # resend interval, for sinks that expire alerts (Alertmanager)

_T = TypeVar("_T")

log = structlog.get_logger()


class _NotOursError(Exception):
    """An event is not to be sent any more: another replica may have its environment."""


class SinkWorker:
    """Delivers to one sink what is in the outbox, in a task of its own: one delays no other."""

    def __init__(
        self,
        sink: Sink,
        store: Store,
        failed: Callable[[str], None],
        held: Callable[[str], bool] = lambda _: True,
    ) -> None:
        """Deliver from the sink's cursor in `store` on; `failed` counts a failed delivery.

        Nothing is sent of an environment that is not `held`.
        """
        self.name = sink.name
        self._sink, self._store, self._failed, self.held = sink, store, failed, held
        self._woken = asyncio.Event()
        self._woken.set()  # what waits from before goes first
        self._failing = self._finishing = False
        # A sink that is read back after a crash says nothing of what another replica has sent.
        self._has = None if store.shared else sink.has
        one_by_one = not sink.at_once or (store.shared and sink.has is not None)
        self._most = 1 if one_by_one else BATCH
        # More than `_most` only if the disk failed before the crash, and kept the cursor back.
        self._perhaps_had = store.add_sink(self.name, self._woken.set)
        self._uncertain = set[str]()  # ids of events that go out marked
        self._aside = deque[Event]()  # what goes past the store
        self._sending: Sequence[Event] = ()
        self._sent, self._stirred = asyncio.Event(), asyncio.Event()

    def finish(self) -> None:
        """Have `run` return once all that is committed is delivered."""
        self._finishing = True
        self._woken.set()

    def send_past_the_store(self, events: Sequence[Event]) -> None:
        """Deliver what cannot be stored, before anything else."""
        self._aside.extend(events)
        self._woken.set()

    async def ended(self, environment: str) -> None:
        """Return once nothing of an environment that is no longer held is on its way."""
        while any(one.environment == environment for one in self._sending):
            self._stirred.set()
            await self._sent.wait()

    async def all_sent(self, environment: str) -> None:
        """Return once nothing of an environment waits for this sink."""
        while self._store.waits(self.name, environment):
            await self._sent.wait()

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
        await self._pass_over_what_it_had()
        while events := self._next():
            self._sending = events
            # Not ours any more, they are about to leave the queue.
            with suppress(_NotOursError):
                await self._deliver(events)
                for event in events:
                    self._store.mark_delivered(self.name, event.event_id)
                if any(event.durable for event in events):
                    await self._store.flush()
            self._sending, before, self._sent = (), self._sent, asyncio.Event()
            before.set()

    def _next(self) -> Sequence[Event]:
        """Return the next events that may go out."""
        if self._aside:
            return [self._aside.popleft()]
        events = self._store.undelivered(self.name, self._most)
        return [*takewhile(lambda one: self.held(one.environment), events)]

    async def _pass_over_what_it_had(self) -> None:
        """Move the cursor behind what the sink has from before a crash; mark what it may have."""
        ids, had, has = list(self._perhaps_had), None, self._has
        before = self._perhaps_had[ids[0]] if ids else None
        # Again for what is left: where it has the one before, it may know more.
        while ids and has and (had := await self._insist(partial(has, ids, before))):
            for event_id in ids[:had]:
                self._store.mark_delivered(self.name, event_id)
            before, ids = ids[had - 1], ids[had:]
        if had is None:
            # Nothing overtakes, and no more than that was under way; of each environment that is
            # taken over there is but the first.
            self._uncertain.update(ids if self._store.shared else ids[: self._most])
        self._perhaps_had.clear()

    async def _deliver(self, events: Sequence[Event]) -> None:
        """Deliver these at once; where the sink refuses, one by one, passing over those refused."""
        try:
            await self._insist(partial(self._try, events))
        except PermanentDeliveryError as error:
            for event in events if len(events) > 1 else ():
                await self._deliver([event])
            if len(events) == 1:
                self._failed(self.name)
                which = {"sink": self.name, "event_id": events[0].event_id}
                log.error("event_refused", **which, problem=str(error))
        self._uncertain.difference_update(event.event_id for event in events)

    async def _try(self, events: Sequence[Event]) -> None:
        """Try once to deliver events, marked where the sink may have them."""
        if not all(self.held(one.environment) for one in events):
            raise _NotOursError
        uncertain = self._uncertain
        marked = [replace(one, redelivery=one.event_id in uncertain) for one in events]
        try:
            await self._sink.deliver(*marked)
        except UncertainDeliveryError:
            uncertain.update(event.event_id for event in events)
            raise

    async def _insist(self, attempt: Callable[[], Awaitable[_T]]) -> _T:
        """Return what the sink answers, however often it must be tried. PermanentDeliveryError."""
        retry = FIRST_RETRY
        while True:
            self._stirred.clear()
            try:
                answer = await attempt()
                self._note(None)
                return answer
            except (PermanentDeliveryError, _NotOursError):
                raise
            # Whatever it is: a fault of one sink must not end the delivery to all others.
            except Exception as error:
                self._note(error)
                with suppress(TimeoutError):
                    async with asyncio.timeout(retry):
                        await self._stirred.wait()
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
