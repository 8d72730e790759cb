"""Which campaign is due next: a due-queue on the monotonic clock. It never sleeps.

Of several, deadlines go first, then campaigns never seen, unhealthy ones, the longest overdue.
"""

import heapq
from enum import IntEnum

from monitor.core.model import Seconds


class Priority(IntEnum):
    """Why a poll is due; the smaller goes first among those that are due."""

    DEADLINE = 0
    NEVER_SEEN = 1
    UNHEALTHY = 2
    ROUTINE = 3


# Of so many calls one may go to an unhealthy campaign while routine polls are due as well: else 120
# unhealthy ones of 500 would starve the rest.
UNHEALTHY_SHARE = 4

# When it is due, the number of its put, the campaign, and why.
_Entry = tuple[Seconds, int, str, Priority]


class DueQueue:
    """Campaigns by when they are due, in seconds of one monotonic clock; one entry a campaign."""

    def __init__(self) -> None:
        """Start with nothing due."""
        self._puts: dict[str, int] = {}
        self._waiting: list[_Entry] = []
        self._ready: dict[Priority, list[_Entry]] = {priority: [] for priority in Priority}
        self._count = 0
        self._since_unhealthy = 0

    def __len__(self) -> int:
        """Return how many campaigns wait or are due."""
        return len(self._puts)

    def put(
        self, key: str, due: Seconds, priority: Priority, deadline: Seconds | None = None
    ) -> None:
        """Put a campaign in, or move it: due at `due`; from `deadline` on due as a deadline."""
        self._count += 1
        self._puts[key] = self._count
        heapq.heappush(self._waiting, (due, self._count, key, priority))
        # Under the same number: whichever is popped first leaves the other one behind as outdated.
        if deadline is not None:
            heapq.heappush(self._waiting, (deadline, self._count, key, Priority.DEADLINE))

    def discard(self, key: str) -> None:
        """Take a campaign out, if it is in."""
        self._puts.pop(key, None)

    def next_due(self) -> Seconds | None:
        """Return when the earliest campaign is (or was) due; None when the queue is empty."""
        heads = [self._head(heap) for heap in (self._waiting, *self._ready.values())]
        return min((due for due in heads if due is not None), default=None)

    def pop(self, now: Seconds) -> str | None:
        """Take out and return the campaign that is to be polled now; None when none is due."""
        while (due := self._head(self._waiting)) is not None and due <= now:
            entry = heapq.heappop(self._waiting)
            heapq.heappush(self._ready[entry[3]], entry)
        for priority in self._order():
            if self._head(self._ready[priority]) is not None:
                key = heapq.heappop(self._ready[priority])[2]
                del self._puts[key]
                unhealthy = priority is Priority.UNHEALTHY
                self._since_unhealthy = 0 if unhealthy else self._since_unhealthy + 1
                return key
        return None

    def _order(self) -> list[Priority]:
        if self._since_unhealthy + 1 >= UNHEALTHY_SHARE:
            return list(Priority)
        return [Priority.DEADLINE, Priority.NEVER_SEEN, Priority.ROUTINE, Priority.UNHEALTHY]

    def _head(self, heap: list[_Entry]) -> Seconds | None:
        # Never searched for: one that was moved or taken out is dropped when it comes to the top.
        while heap and self._puts.get(heap[0][2]) != heap[0][1]:
            heapq.heappop(heap)
        return heap[0][0] if heap else None
