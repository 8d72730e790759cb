"""Who was told what, as far as the disk does not know it yet. Kept in memory, without I/O.

While nothing can be written, events are told from here; what was told so is passed over when it
turns up on disk.
"""

from bisect import bisect_right
from collections.abc import Iterable
from math import inf

from monitor.adapters.store.reading import EventRows, StoredEvent
from monitor.core.model import Event, Instant

Row = tuple[int, Instant]
"""The row of a stored event, and when it was decided."""


class Outbox:
    """The sinks' cursors, the events that are on no disk yet, and which of them were told."""

    def __init__(
        self, cursors: dict[str, int], newest_row: int, waiting: Iterable[Row] = ()
    ) -> None:
        """Start with the stored cursors; a sink without one starts at `newest_row`.

        `waiting` are the events after the first of the cursors.
        """
        self._cursors = cursors
        self._newest_row = newest_row
        self._waiting = list(waiting)
        self._told: dict[str, set[str]] = {}
        self._unstored: dict[str, Event] = {}

    def knows(self, sink: str) -> bool:
        """Return whether the sink has a cursor of its own."""
        return sink in self._cursors

    def cursor(self, sink: str) -> int:
        """Return the row of the last event that was told to the sink."""
        return self._cursors.get(sink, self._newest_row)

    def move_cursor(self, sink: str, row_id: int) -> None:
        """Note that the sink was told everything up to this row; a cursor never moves back."""
        self._cursors[sink] = max(self.cursor(sink), row_id)

    def queued(self, events: dict[str, Event]) -> None:
        """Note events by their id that were queued to the writer."""
        self._unstored.update(events)

    def added(self, rows: Iterable[Row]) -> None:
        """Note rows that were added to the table."""
        first = min(self._cursors.values(), default=self._newest_row)
        self._waiting = [*self._waiting[bisect_right(self._waiting, (first, inf)) :], *rows]

    def waiting(self, sink: str) -> tuple[int, Instant | None]:
        """Return how many stored events wait for the sink, and when the first was decided."""
        place = bisect_right(self._waiting, (self.cursor(sink), inf))
        count = len(self._waiting) - place
        return count, self._waiting[place][1] if count else None

    def stored(self, event_ids: tuple[str, ...]) -> None:
        """Note that these events are on disk."""
        for event_id in event_ids:
            self._unstored.pop(event_id, None)

    def untold(self, sink: str) -> tuple[Event, ...]:
        """Return the events that are on no disk and that the sink was not told, in order."""
        told = self._told.get(sink, set())
        return tuple(event for key, event in self._unstored.items() if key not in told)

    def mark_told(self, sink: str, event_id: str) -> None:
        """Note that the sink was told an event that was on no disk."""
        self._told.setdefault(sink, set()).add(event_id)

    def to_tell(self, sink: str, rows: EventRows) -> tuple[list[StoredEvent], int | None]:
        """Return the first run of events to tell, and the last row to pass over before it.

        Passed over is what was told before it was stored, and what cannot be decoded.
        """
        told = self._told.get(sink, set())
        run: list[StoredEvent] = []
        passed = None
        for row_id, event in rows:
            if event is not None and event.event_id not in told:
                run.append(event)
            elif run:
                break
            else:
                passed = row_id
                told.discard("" if event is None else event.event_id)
        # The writer may have stored them without the loop having heard of it yet.
        self.stored(tuple(event.event_id for event in run))
        return run, passed
