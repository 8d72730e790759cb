"""How many calls may go out: one number per environment, the next instant at which one may.

A generic cell rate algorithm without a burst: calls are paced evenly. Start, restart and a 429's
pause are all this number; a 429 and the API's rate headers can but stretch the pace.
"""

from dataclasses import dataclass, replace

from monitor.core.model import MINUTE, AnyAnswer, Instant, PollError, RateHint, Reason, Seconds

PACE = 0.97  # of the budget is used: the rest is what jitter may push into a window of 60 s
LONGEST_PAUSE: Seconds = 15 * MINUTE  # no 429 silences us for longer
LEASE: Seconds = 5.0  # spending is written down so far ahead: a crash cannot spend it twice
FLOOR = 0.1  # this part is used however little is left: else we would be blind for ever
REGAIN_PER_MINUTE = 0.05  # a throttled budget grows from a half to the whole in ten minutes
CUSTOMERS_PART = 0.3  # of the plan's limit: where less remains, we yield


@dataclass(frozen=True, slots=True)
class Budget:
    """The budget of one environment; instants are on one clock of the caller's."""

    per_minute: float  # calls
    next_at: Seconds  # when the next call may go out
    throttle: float = 1.0  # the part that a 429 has left
    throttled_at: Seconds = 0.0  # it grows back from then on
    room: float = 1.0  # the part that the customer's own calls leave

    def pace(self, now: Seconds) -> float:
        """Return how many calls per minute may go out as things are now."""
        return self.per_minute * PACE * max(FLOOR, self._throttle(now) * self.room)

    def spacing(self, now: Seconds) -> Seconds:
        """Return the seconds between two calls."""
        return MINUTE / self.pace(now)

    def delay(self, now: Seconds) -> Seconds:
        """Return in how many seconds the next call may go out; 0: now."""
        return max(0.0, self.next_at - now)

    def spend(self, now: Seconds) -> "Budget":
        """Return the budget after one call at `now`. What was not used is not saved up."""
        return replace(self, next_at=max(self.next_at, now) + self.spacing(now))

    def refused(self, now: Seconds, pause: Seconds) -> "Budget":
        """Return the budget after a 429: no call for `pause` seconds, then half the pace."""
        paused = self.pause(now, pause)
        # One that comes within the pause answers a call that was under way before it.
        halved = self.throttle if now < self.throttled_at else self._throttle(now) / 2
        return replace(paused, throttle=max(FLOOR, halved), throttled_at=paused.next_at)

    def pause(self, now: Seconds, seconds: Seconds) -> "Budget":
        """Return the budget with no call before `now + seconds`: what a 503 may ask for."""
        return replace(self, next_at=max(self.next_at, now + seconds))

    def with_rate_hint(self, hint: RateHint | None, plan: float) -> "Budget":
        """Return the budget as the API's rate headers have it; `plan` is its limit a minute."""
        # Where less of it remains than the customer needs, we yield in proportion.
        limit = plan if hint is None or hint.limit is None else min(plan, hint.limit)
        remaining = limit if hint is None or hint.remaining is None else hint.remaining
        left = min(1.0, remaining / (CUSTOMERS_PART * limit))
        room = max(FLOOR, left * limit / plan)
        return self if room == self.room else replace(self, room=room)

    def answered(self, answer: AnyAnswer, plan: float, now: Seconds) -> "Budget":
        """Return the budget after an answer that came at `now`: its pause, a 429, its headers."""
        after = self.with_rate_hint(answer.rate, plan)
        if answer.pause is None:
            return after
        pause = min(answer.pause, LONGEST_PAUSE)
        error = answer.observation
        if isinstance(error, PollError) and error.reason is Reason.RATE_LIMITED:
            return after.refused(now, pause)
        return after.pause(now, pause)

    def available(self, now: Seconds) -> int:
        """Return how many calls may go out within the next minute."""
        return max(0, int((MINUTE - self.delay(now)) / self.spacing(now)))

    def _throttle(self, now: Seconds) -> float:
        grown = REGAIN_PER_MINUTE * max(0.0, now - self.throttled_at) / MINUTE
        return min(1.0, self.throttle + grown)


def effective_interval(
    pace: float, notified: int, interval: Seconds, idle: int = 0, idle_interval: Seconds = 1.0
) -> Seconds:
    """Return the sweep time at `pace` calls a minute for so many campaigns, at least `interval`."""
    # The idle ones take a call every `idle_interval` each, and at most half of the pace.
    left = pace - min(pace / 2, idle * MINUTE / idle_interval)
    return max(interval, notified * MINUTE / left)


def wait_of_lease(leased_until: Instant, now: Instant) -> Seconds:
    """Return how long a stored lease keeps a new process from calling."""
    wait = max(0.0, leased_until - now)
    # A longer one is of a wrong clock: whatever was spent, after a minute it counts no more.
    return wait if wait <= LONGEST_PAUSE else MINUTE
