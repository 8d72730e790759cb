"""When a campaign is polled next, and which of those that are due goes first. It never sleeps.

Of several, deadlines go first, then campaigns never seen, unhealthy ones, the longest overdue.
"""

import heapq
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple
from zlib import crc32

from monitor.core.alerts import AFTER_DEADLINE, next_deadline
from monitor.core.environment import EnvironmentContext, EnvironmentInput
from monitor.core.model import Finding, Instant, Seconds
from monitor.core.rule import EvaluationInput, Target, evaluate_all, evaluate_by
from monitor.core.status import OURS, Ahead, CampaignStatus, EnvironmentStatus


class Priority(IntEnum):
    """Why a poll is due; the smaller goes first among those that are due."""

    DEADLINE = 0
    NEVER_SEEN = 1
    UNHEALTHY = 2
    TEST = 3  # a connection test is due: it goes out right after a poll
    ROUTINE = 4


# A deadline up to so many intervals after the regular poll is kept, in case that runs late.
DEADLINES_KEPT = 3

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
        unhealthy = Priority.UNHEALTHY
        return [*(one for one in Priority if one is not unhealthy), unhealthy]

    def _head(self, heap: list[_Entry]) -> Seconds | None:
        # Never searched for: one that was moved or taken out is dropped when it comes to the top.
        while heap and self._puts.get(heap[0][2]) != heap[0][1]:
            heapq.heappop(heap)
        return heap[0][0] if heap else None


@dataclass(frozen=True, slots=True, kw_only=True)
class PollIntervals:
    """How often to poll."""

    interval: Seconds  # what the budget really gives
    unhealthy_interval: Seconds
    idle_interval: Seconds  # for campaigns that nobody is notified of
    stretched: bool = False  # `interval` is longer than wanted


class NextPoll(NamedTuple):
    """When to poll next and why; should that be late, from `deadline` on because of a deadline."""

    at: Instant
    priority: Priority
    deadline: Instant | None = None


def next_poll(
    status: CampaignStatus,
    target: Target,
    intervals: PollIntervals,
    now: Instant,
    ahead: Ahead = OURS,
    *,
    findings: Mapping[str, Finding] | None = None,
) -> NextPoll | None:
    """Return when to poll next, and why; None for a campaign never polled: as soon as may be.

    Computed from what is remembered alone, so that it is the same after a restart; `findings` of
    the decision that `status` has just come from, by the same clocks, save evaluating them again.
    """
    # From the future (our clock was set back) it would put off the next poll until then.
    if status.polled_at is None:
        return None
    polled_at = min(status.polled_at, now)
    if target.muted_status is not None:
        idle = max(intervals.idle_interval, intervals.interval)
        return NextPoll(_next_slot(status, polled_at, idle), Priority.ROUTINE)
    watched = any(alert.is_young(polled_at) for alert in status.alerts.values())
    if watched or status.error is not None:
        regular = NextPoll(polled_at + intervals.unhealthy_interval, Priority.UNHEALTHY)
    elif intervals.stretched:
        # Without requests to spare nothing keeps its slot: in turn, each as long after its last
        # poll as the others, is the evenest that there is.
        regular = NextPoll(polled_at + intervals.interval, Priority.ROUTINE)
    else:
        regular = NextPoll(_next_slot(status, polled_at, intervals.interval), Priority.ROUTINE)
    # After a poll that failed, what was read before it has its deadlines all the same. One before
    # the regular poll takes its place, one that has passed since the last poll is due.
    if status.known is not None and (findings is None or status.error is not None):
        findings = evaluate_all(
            target.rules, EvaluationInput(status.known, status, target, polled_at), ahead
        )
    deadline = next_deadline(status.alerts, target.rules, findings or {}, polled_at)
    if deadline is None or deadline > regular.at + DEADLINES_KEPT * intervals.interval:
        return regular
    if deadline + AFTER_DEADLINE < regular.at:
        return NextPoll(deadline + AFTER_DEADLINE, Priority.DEADLINE)
    return regular._replace(deadline=deadline + AFTER_DEADLINE)


def next_probe(
    status: EnvironmentStatus,
    context: EnvironmentContext,
    probe_interval: Seconds,
    token_probe_interval: Seconds,
) -> Instant:
    """Return when the open breaker lets its next probe through; a deadline may be earlier."""
    called_at = status.called_at or 0.0
    of_token = status.rejected_at is not None and status.outage_at is None
    interval = token_probe_interval if of_token else probe_interval
    # As of the last call: a deadline that has passed since then is due, not forgotten.
    findings = evaluate_by(context.rules, EnvironmentInput(status, context, called_at))
    deadline = next_deadline(status.alerts, context.rules, findings, called_at)
    regular = called_at + interval
    return regular if deadline is None else min(regular, deadline + AFTER_DEADLINE)


def _next_slot(status: CampaignStatus, after: Instant, interval: Seconds) -> Instant:
    # Slots hashed from the id spread the polls evenly and for ever, whatever order they began in.
    phase = crc32(f"{status.environment}/{status.campaign_id}".encode()) / 2**32
    # Half an interval away at least: a poll shortly before its slot is not repeated in it.
    earliest = after / interval + 0.5 - phase
    return (int(earliest // 1) + 1 + phase) * interval
