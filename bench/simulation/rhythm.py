"""When calls go out: within the budget, in time, and on time where time alone changes something."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from monitor.core.model import MINUTE, Instant, Seconds
from simulation.clocks import Clocks
from simulation.platform import CAMPAIGNS
from simulation.settings import CALLS_A_MINUTE, INTERVAL

SLOT: Seconds = MINUTE / (0.97 * CALLS_A_MINUTE)
"""Two calls are so far apart at least."""

LONGEST_GAP: Seconds = 1.5 * INTERVAL + 3 * SLOT
"""Between two polls of a campaign: its slots are hashed, half an interval away at least."""

LONGEST_SILENCE: Seconds = LONGEST_GAP + 15 * MINUTE
"""Whatever happened: so long after it the daemon has looked again (the longest pause is 15 min)."""

THROTTLED: Seconds = 20 * MINUTE
"""How long slots may be longer after the API asked us to slow down: the pace grows back by then."""

LATE: Seconds = 1.0 + SLOT + 4.0
"""How late a deadline may be met: its poll is due 1 s after it, waits a slot, is on its way."""

SETTLED: Seconds = 2 * MINUTE
"""So long after a start or a reload what was overdue by then no longer holds up a deadline."""


@dataclass
class Rhythm:
    """The calls of every environment. `fail` takes what is wrong; all instants are elapsed seconds.

    `shaken` is until when something that happened in an environment excuses a late poll, `unsure`
    until when a late deadline. At `planned` all polls were planned anew: a start or a reload.
    """

    clocks: Clocks
    fail: Callable[[str], None]
    shaken: dict[str, Seconds] = field(default_factory=lambda: dict.fromkeys(CAMPAIGNS, 0.0))
    unsure: dict[str, Seconds] = field(default_factory=lambda: dict.fromkeys(CAMPAIGNS, 0.0))
    planned: Seconds = 0.0
    stepped: Seconds = 0.0
    started: Seconds = 0.0
    _window: dict[str, deque[Seconds]] = field(
        default_factory=lambda: {environment: deque() for environment in CAMPAIGNS}
    )
    _called: dict[str, Seconds] = field(default_factory=dict)
    _read: dict[str, tuple[Seconds, Instant | None]] = field(default_factory=dict)

    def shake(self, environment: str, lasts: Seconds = 0.0) -> None:
        """Note that what is late is excused up to now, or for so much longer."""
        until = self.clocks.elapsed() + lasts
        for excused in (self.shaken, self.unsure):
            excused[environment] = max(excused[environment], until)

    def plan_anew(self) -> None:
        """Note a start or a reload: deadlines hold, unless our clock is wrong when they are set."""
        now = self.planned = self.clocks.elapsed()
        right = abs(self.clocks.wall() - self.clocks.truth()) < 1
        for excused in (self.shaken,) if right else (self.shaken, self.unsure):
            excused.update({name: max(until, now) for name, until in excused.items()})

    def call(self, environment: str, key: str) -> None:
        """Take a call down as it reaches the API."""
        self.look(environment, key)
        self._called[key] = self.clocks.elapsed()
        self.count(environment)

    def count(self, environment: str) -> None:
        """Count a call against the budget, whatever it is for."""
        now, window = self.clocks.elapsed(), self._window[environment]
        window.append(now)
        while window[0] <= now - MINUTE:
            window.popleft()
        # A lease is an instant of the wall clock: where that steps while we are down, it is void.
        excused = now - self.stepped < 2 * MINUTE and now - self.started < 2 * MINUTE
        if len(window) > CALLS_A_MINUTE and not excused:
            self.fail(f"{len(window)} calls to {environment} within a minute")

    def look(self, environment: str, key: str) -> None:
        """Look whether a campaign's next poll is overdue."""
        now = self.clocks.elapsed()
        last, shaken = self._called.get(key, 0.0), self.shaken[environment]
        if last > shaken and now - last > LONGEST_GAP:
            self.fail(f"{key} was not looked at for {now - last:.0f} s")
        if now - max(last, shaken) > LONGEST_SILENCE:
            self.fail(f"{key} was not looked at for {now - max(last, shaken):.0f} s of calm")

    def joined(self, key: str) -> None:
        """Note that a campaign is watched anew: it was never late."""
        self._called[key] = self.clocks.elapsed()
        self._read.pop(key, None)

    def read(self, key: str, tested_at: Instant | None) -> None:
        """Note that a config was read: when, and the test that counts (None: none)."""
        self._read[key] = (self.clocks.elapsed(), tested_at)

    def fired_stale(
        self, environment: str, key: str, tested_at: Instant, deadline: Instant, now: Instant
    ) -> bool:
        """Look how late a stale test was told. Returns whether nothing excused that.

        It is excused where the test was not read, well, before it became stale; so is as much as
        the daemon's *now* is wrong.
        """
        at, known = self._read.get(key, (0.0, None))
        truth = self.clocks.truth()
        stale_from = self.clocks.elapsed() - (truth - deadline)
        calm = at > max(self.unsure[environment], self.stepped)
        counts = calm and known == tested_at and max(at, self.planned + SETTLED) < stale_from
        late = truth - deadline - abs(now - truth)
        if counts and late > LATE:
            self.fail(f"{key} was stale for {late:.1f} s before it was told")
        return counts
