"""How many calls may go out: one number per environment, the next instant at which one may.

A generic cell rate algorithm without a burst: calls are paced evenly at 97 % of the budget, so
that no window of 60 s holds more than the budget even when the network jitters by a second or
two. Start, restart and a 429's pause are all this one number. Returns delays, never sleeps.
"""

from dataclasses import dataclass, replace

from monitor.core.model import MINUTE, Seconds

PACE = 0.97
"""The part of the budget that is used: what jitter may push into a 60 s window."""

LEASE: Seconds = 5.0
"""How far ahead spending is written down before it happens: a crash cannot spend it twice."""


@dataclass(frozen=True, slots=True)
class Budget:
    """The budget of one environment, in calls per minute, and when the next call may go out.

    `next_at` is on the clock that the caller uses throughout (the daemon: monotonic).
    """

    per_minute: float
    next_at: Seconds

    @property
    def spacing(self) -> Seconds:
        """Seconds between two calls."""
        return MINUTE / (self.per_minute * PACE)

    def delay(self, now: Seconds) -> Seconds:
        """Return in how many seconds the next call may go out; 0: now."""
        return max(0.0, self.next_at - now)

    def spend(self, now: Seconds) -> "Budget":
        """Return the budget after one call at `now`. What was not used is not saved up."""
        return replace(self, next_at=max(self.next_at, now) + self.spacing)

    def pause(self, now: Seconds, seconds: Seconds) -> "Budget":
        """Return the budget with no call before `now + seconds`: what a 429 asks for."""
        return replace(self, next_at=max(self.next_at, now + seconds))

    def available(self, now: Seconds) -> int:
        """Return how many calls may go out within the next minute."""
        left = MINUTE - self.delay(now)
        return max(0, int(left / self.spacing))

    def sweep_seconds(self, campaigns: int) -> Seconds:
        """Return how long one poll of each of so many campaigns takes."""
        return campaigns * self.spacing


def effective_interval(budget: Budget, campaigns: int, interval: Seconds) -> Seconds:
    """Return the sweep time that the budget really gives: `interval`, or longer if it must be."""
    return max(interval, budget.sweep_seconds(campaigns))
