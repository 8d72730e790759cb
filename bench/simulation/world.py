"""The real daemon in a world that a plan steers: one process after the other, and what befalls it.

The methods of World are the steps of a plan; each is done when it returns.
"""

import asyncio
import json
import shutil
from contextlib import ExitStack, suppress
from functools import cache
from pathlib import Path

from monitor.config import load_config
from monitor.core.model import HOUR, RateHint, Reason, Seconds
from simulation import settings
from simulation.checks import Checks
from simulation.clocks import Clocks
from simulation.life import Life
from simulation.platform import CAMPAIGNS, Platform, Trouble
from support.state_files import full_disk

TOKENS = {"ALPHA_TOKEN": "talq_alpha", "BETA_TOKEN": "talq_beta"}


class World:
    """Everything that outlives a process of the daemon, and the process that runs now."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.clocks = Clocks()
        self.platform = Platform(self.clocks, seed)
        self.checks = Checks(self.clocks, self.platform, seed)
        self._tests: frozenset[str] = frozenset()
        self.sink_broken = False
        self.disk_broken = False
        self.crash_at_telling: str | None = None
        self._folder = folder
        self._left = folder / "left"
        self._state, self._file = folder / "state.db", folder / "monitor.yaml"
        # Read once for each time that it is written: most starts are on the config of the last.
        self._load = cache(lambda: load_config(self._file, TOKENS))
        self._disk = ExitStack()
        self._rules = settings.at_first()
        self._listed = {environment: set(keys) for environment, keys in CAMPAIGNS.items()}
        self._team = "retail"
        self._healed = 0.0
        self._configure()

    # -- the process -----------------------------------------------------------------------

    async def start(self, *, crashed: bool = False) -> None:
        """Start the daemon on what the last one left."""
        self._life = Life(self._load, self.platform, self.checks, self.clocks, self._tell)
        policies = settings.policies(self._rules)
        self.checks.starting(self._state, policies, self._listed, self._team, crashed=crashed)
        await self._life.daemon.start()
        self.checks.started(self._life.daemon)

    async def stop(self) -> None:
        """Stop the daemon cleanly."""
        await self._life.daemon.stop()
        self._life.dead = True
        self.checks.ended()

    async def until(self, elapsed: Seconds) -> None:
        """Let everything happen that is due by then. A process that died is started again."""
        attention = self.checks.attention
        while (left := elapsed - self.clocks.elapsed()) > 0 and self.checks.violation is None:
            with suppress(TimeoutError):
                await asyncio.wait_for(attention.wait(), left)
            attention.clear()
            if self._life.dead and self.checks.violation is None:
                await self._start_again(10.0)

    async def restart(self, down: Seconds) -> None:
        """Stop the daemon cleanly, and start it again after a while."""
        await self.disk_heals()
        await self.stop()
        await asyncio.sleep(down)
        await self.start()
        self.checks.visited["restarted"] += 1

    async def crash(self, down: Seconds) -> None:
        """End the daemon here and now; what it committed is all that is left."""
        if not self._life.dead and not self._unwritten():
            self.die()
            await self._start_again(down)

    async def crash_telling(self, when: str) -> None:
        """End it with its next event: `before` it is told, or `after`, its cursor not moved."""
        self.crash_at_telling = when

    def die(self) -> None:
        """Let nothing that the process does from now on have any effect."""
        self._life.dead, self.crash_at_telling = True, None
        self.checks.died()
        self.checks.note("the process dies")
        # As a kill leaves it: what this process still does to its files is undone.
        self._left.mkdir()
        for name in ("state.db", "state.db-wal"):
            shutil.copy(self._folder / name, self._left)
        self.checks.attention.set()

    async def _start_again(self, down: Seconds) -> None:
        self.checks.attention.clear()
        await self._life.daemon.stop()
        for path in self._left.iterdir():
            path.replace(self._folder / path.name)
        self._left.rmdir()
        await asyncio.sleep(down)
        await self.start(crashed=True)
        self.checks.visited["crashed"] += 1

    def _tell(self, line: bytes) -> None:
        """Be standard output, and perhaps the last thing that a process ever does."""
        # After a violation as well: a daemon that tells without end must not go on for ever.
        if self.sink_broken or self.checks.violation is not None:
            raise OSError(28, "No space left on device")
        when = None if self._unwritten() else self.crash_at_telling
        if when != "before":
            self.checks.told(json.loads(line), unhindered=self._calm() and not self.disk_broken)
        if when is not None:
            self.die()

    def _unwritten(self) -> bool:
        """Whether something may be in memory alone: no promise that it outlives the process."""
        return self.disk_broken or self._life.daemon._store.problem is not None

    def _calm(self) -> bool:
        """Whether the sink works, and has for as long as it takes until it is tried again."""
        return not self.sink_broken and self.clocks.elapsed() - self._healed > HOUR / 10

    # -- its config ------------------------------------------------------------------------

    async def reload(self) -> None:
        """Reload the config as it is now."""
        self._configure()
        self.checks.reloading(settings.policies(self._rules), self._listed, self._team)
        problems = await self._life.daemon.reload()
        self.checks.must(not problems, f"a good config is refused: {problems}")
        self.checks.visited["reloaded"] += 1
        self.checks.compare()

    async def set_rule(self, rule: str, key: str, value: str | bool | Seconds) -> None:
        """Change a setting of a rule, and reload."""
        self._rules[rule][key] = value
        await self.reload()

    async def hand_over(self, team: str) -> None:
        """Give everything another team as its label, and reload."""
        self._team = team
        await self.reload()

    async def switch_tests(self, environment: str, on: bool) -> None:
        """Switch connection tests on or off in an environment, and reload."""
        self._tests = self._tests | {environment} if on else self._tests - {environment}
        await self.reload()

    async def list_campaign(self, environment: str, key: str, there: bool) -> None:
        """Take a campaign into the config or out of it, unless it is the last; and reload."""
        if there:
            self._listed[environment].add(key)
        elif len(self._listed[environment]) > 1:
            self._listed[environment].discard(key)
        await self.reload()

    async def reload_nonsense(self) -> None:
        """Have a bad file reloaded: it changes nothing."""
        self._write("environments: nonsense\n")
        problems = await self._life.daemon.reload()
        self.checks.must(bool(problems), "a bad file was taken")
        self._configure()
        self.checks.compare()

    def _configure(self) -> None:
        self.checks.logins.on = self._tests
        state = str(self._state)
        self._write(settings.as_yaml(self._rules, self._listed, self._team, state, self._tests))

    def _write(self, text: str) -> None:
        self._file.write_text(text)
        self._load.cache_clear()

    # -- its machine -----------------------------------------------------------------------

    async def step_clock(self, seconds: Seconds) -> None:
        """Set our wall clock forward or back."""
        self.clocks.off += seconds
        self.checks.stepped(seconds)

    async def suspend(self, seconds: Seconds) -> None:
        """Let the machine sleep: everyone's time goes on but for the monotonic clock's."""
        self.clocks.asleep += seconds
        self.checks.stepped(seconds)

    async def drift(self, rate: float) -> None:
        """Let our wall clock gain so many seconds in a second."""
        self.clocks.drift_by(rate)

    async def disk_fails(self, table: str) -> None:
        """Let nothing be added to a table of the database any more."""
        await self.disk_heals()
        self._disk.enter_context(full_disk(self._state, table))
        self.disk_broken = True
        self.checks.visited["disk failed"] += 1

    async def disk_heals(self) -> None:
        """Let the database be written again."""
        if self.disk_broken:
            self._disk.close()
            self.disk_broken, self._healed = False, self.clocks.elapsed()

    async def sink_fails(self) -> None:
        """Let standard output be full."""
        self.sink_broken = True
        self.checks.visited["sink failed"] += 1

    async def sink_heals(self) -> None:
        """Let standard output be written again."""
        self.sink_broken, self._healed = False, self.clocks.elapsed()

    # -- the platform ----------------------------------------------------------------------

    async def test(self, key: str, passed: bool, ahead: Seconds = 0.0) -> None:
        """Run a connection test; `ahead` is how wrong the platform dates it."""
        if self.platform.campaigns[key].there:
            at = float(int(self.clocks.truth() + ahead))
            self.platform.change(key, last_test_at=at, last_test_success=passed)
            if passed:
                self.checks.logins.passed(self.platform.campaigns[key].config)

    async def rotate(self, key: str, back: bool) -> None:
        """Let a campaign's password on its server be another one, or the one that is entered."""
        self.checks.logins.rotate(key, back=back)

    async def move(self, key: str, host: str) -> None:
        """Give a config another host."""
        self.platform.change(key, host=host)

    async def half(self, key: str) -> None:
        """Lose the outcome of the last test."""
        self.platform.change(key, last_test_success=None)

    async def switch(self, key: str, on: bool) -> None:
        """Switch a config on or off; it cannot be switched on untested."""
        if not on or self.platform.campaigns[key].config.last_test_success is not None:
            self.platform.change(key, is_enabled=on)

    async def delete(self, key: str, null: bool) -> None:
        """Delete a config: a 404 from then on, or `data: null`."""
        campaign = self.platform.campaigns[key]
        campaign.there, campaign.null = False, null

    async def recreate(self, key: str) -> None:
        """Make a config anew."""
        self.platform.recreate(key)

    async def outage(
        self, environment: str, reason: Reason, seconds: Seconds, pause: Seconds | None = None
    ) -> None:
        """Let every call to an environment fail for a while."""
        until = self.clocks.elapsed() + seconds
        self.platform.apis[environment].trouble = Trouble(reason, until, pause)

    async def trouble(self, key: str, reason: Reason, seconds: Seconds) -> None:
        """Let every call for a campaign fail for a while."""
        self.platform.campaigns[key].trouble = Trouble(reason, self.clocks.elapsed() + seconds)

    async def dates(self, environment: str, there: bool, error: Seconds) -> None:
        """Let the API's `Date` be there or not, and off the clock of its records."""
        self.checks.rhythm.shake(environment)
        api = self.platform.apis[environment]
        if (error,) != api.date_errors:
            self.checks.opinions[environment].clock.unsettle()
        api.dates, api.date_errors = there, (error,)

    async def dates_differ(self, environment: str, errors: tuple[Seconds, ...]) -> None:
        """Let each answer be dated by one of several servers, each with a clock of its own."""
        await self.dates(environment, there=True, error=0.0)
        self.platform.apis[environment].date_errors = errors

    async def rate(self, environment: str, remaining: int | None) -> None:
        """Let the API say how many requests of 10 a minute are left; None: nothing."""
        hint = None if remaining is None else RateHint(limit=10, remaining=remaining)
        self.platform.apis[environment].rate = hint

    async def look(self) -> None:
        """Look at what no decision shows: polls that are overdue, events that wait, the metrics."""
        for environment, opinion in self.checks.opinions.items():
            for key in opinion.listed:
                self.checks.rhythm.look(environment, key)
        if self._calm():
            self.checks.all_is_told()
        self.checks.compare_metrics()

    async def mend(self) -> None:
        """Put everything in order, for good."""
        self.platform.noise = 0.0
        await self.disk_heals()
        await self.sink_heals()
        for environment, keys in CAMPAIGNS.items():
            api = self.platform.apis[environment]
            api.trouble, api.rate = Trouble(), None
            await self.dates(environment, there=True, error=0.0)
            self._listed[environment] = set(keys)
        for key, campaign in self.platform.campaigns.items():
            campaign.trouble, campaign.there = Trouble(), True
            await self.rotate(key, back=True)
            await self.test(key, passed=True)
            await self.switch(key, on=True)
        self._rules = settings.at_first()
        await self.reload()
