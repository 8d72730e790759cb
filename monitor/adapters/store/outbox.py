"""What waits for each sink, in order: in memory, so that neither a view nor a full disk matters.

An event is handed out once it is committed or, while nothing can be written, all the same.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from monitor.adapters.store.rows import Head
from monitor.core.model import Event, Instant

KEPT = 1000
"""Where more events wait for a sink, newer ones are read from the table when their turn comes."""


@dataclass(slots=True, eq=False)
class Entry:
    """One event that waits. `event` is None where it is to be read, `row_id` until it is committed.

    `before` is the id of the event before it, where it comes from the last process. `delivered_to`
    are the sinks that had it before it was committed.
    """

    event_id: str
    environment: str
    decided_at: Instant
    event: Event | None = None
    row_id: int | None = None
    before: str | None = None
    delivered_to: tuple[str, ...] = ()


class Outbox:
    """A queue for each sink; their entries are the same."""

    def __init__(self, newest: int) -> None:
        """Start without sinks; `newest` is the newest row of the table."""
        self.newest = newest
        self._queues: dict[str, deque[Entry]] = {}

    def knows(self, sink: str) -> bool:
        """Return whether the sink was added."""
        return sink in self._queues

    def add_sink(self, sink: str, heads: Iterable[Head]) -> None:
        """Have events wait for a sink: at first these of the last process."""
        self._queues[sink] = deque(
            Entry(event_id, environment, at, None, row_id, before)
            for row_id, event_id, environment, at, before in heads
        )

    def waiting(self, sink: str) -> Sequence[Entry]:
        """Return what waits for the sink, in order; not to be changed."""
        return self._queues[sink]

    def pending(self, sink: str) -> tuple[int, Instant | None]:
        """Return how many events wait for the sink, and when the first of them was decided."""
        queue = self._queues.get(sink)
        return (len(queue), queue[0].decided_at) if queue else (0, None)

    def queued(self, entries: Iterable[Entry]) -> None:
        """Have these events wait for all sinks."""
        for entry in entries:
            for queue in self._queues.values():
                queue.append(entry)

    def delivered(self, sink: str, event_id: str) -> Entry | None:
        """Take the first event off the sink's queue; return it, if it is that one."""
        queue = self._queues[sink]
        if not queue or queue[0].event_id != event_id:
            return None
        entry = queue.popleft()
        if entry.row_id is None:
            entry.delivered_to += (sink,)
        return entry

    def position(self, sink: str, entry: Entry) -> dict[str, int]:
        """Return by environment the cursors of a sink that has just had an event.

        Where nothing waits any more that of "", which counts for all, goes with it: so a start
        need not look through the whole history.
        """
        row = entry.row_id or 0
        return {entry.environment: row} if self._queues[sink] else {entry.environment: row, "": row}

    def committed(self, entry: Entry, row_id: int) -> None:
        """Note the row of an event."""
        entry.row_id = row_id
        self.newest = max(self.newest, row_id)
        if max(map(len, self._queues.values()), default=0) > KEPT:
            entry.event = None

    def withdrawn(self, entry: Entry) -> None:
        """Take an event that is no event off every queue."""
        for queue in self._queues.values():
            if entry in queue:
                queue.remove(entry)

    def delivered_before(self) -> int:
        """Return the first row that waits for any sink, or that the next event will have."""
        first = (queue[0].row_id for queue in self._queues.values() if queue)
        return min((row for row in first if row is not None), default=self.newest + 1)
