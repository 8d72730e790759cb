"""All environments of one process: started, reconfigured and removed as the config says."""

import asyncio
import resource
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import structlog

from monitor.adapters.metrics import SelfMetrics
from monitor.adapters.store import Change, Loaded, Store
from monitor.adapters.store.store import KeepRunning
from monitor.adapters.talkover import Talkover
from monitor.config import Config, ConfigError, EnvironmentConfig, Problem, SecretError
from monitor.config.secrets import proxy_of
from monitor.core import assess
from monitor.core.discovery import TargetSet
from monitor.core.model import EventKind, Instant
from monitor.core.status import CampaignStatus, EnvironmentStatus
from monitor.http import HttpClient
from monitor.polling.environment_state import EnvironmentState
from monitor.polling.guard_book import GuardBook
from monitor.polling.poller import Poller
from monitor.polling.settings import Api, Clock, Connect, Connection, Settings
from monitor.polling.tester import Tester

log = structlog.get_logger()

MOST_CALLS_AT_ONCE = 1024  # more under way would only make each of them late on one core
FILES_A_CALL = 4  # of the open files that the process may have so many for each call at once


@dataclass(eq=False)
class PollerManager:
    """One poller for each environment: `prepare` and `take` bring them.

    `connect` connects to the API of one environment; by default to the real one. `by_itself` false:
    nothing is polled but what is asked for.
    """

    store: Store
    clock: Clock
    own: SelfMetrics
    keep_running: KeepRunning
    connect: Connect | None = None
    by_itself: bool = True

    def __post_init__(self) -> None:
        self.pollers: dict[str, Poller] = {}
        self.guards = GuardBook(self.clock, self._save)
        self._connect = self.connect or self._talkover
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._leftovers: set[asyncio.Task[None]] = set()
        # Each call has a socket, and kept ones do, too.
        files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        self._at_once = max(8, min(MOST_CALLS_AT_ONCE, files // FILES_A_CALL))
        self._closed = False

    async def prepare(self, config: Config) -> tuple[Sequence[Connection], Loaded]:
        """Make all that a config needs, or raise ConfigError, SecretError or StorageError."""
        loaded = await self.store.load()
        for problem in loaded.problems:
            log.error("state_row_lost", problem=problem)
        # One that was never used has nothing to close: it opens its first socket at its first call.
        parts: list[Connection] = []
        for env in config.environments:
            settings = self._settings(env, config, loaded)
            try:
                parts.append(Connection(settings, self._connect))
            except ValueError as error:
                exposed = isinstance(error, SecretError) and error.exposed
                raise ConfigError([Problem("", None, env.name, str(error), exposed)]) from error
            await asyncio.sleep(0)  # the loop goes on meanwhile, as in `take`
        return parts, loaded

    async def take(self, parts: Sequence[Connection], loaded: Loaded) -> None:
        """Put in force what was prepared, one at a time; end when what was removed has ended."""
        # Once for all: to look through 100,000 campaigns for each of 1,000 environments takes 10 s.
        campaigns = defaultdict[str, dict[str, CampaignStatus]](dict)
        for (name, key), known in loaded.campaigns.items():
            campaigns[name][key] = known
        self.guards.restore(loaded.guards)
        # Shared out, not fought for: an API that hangs holds the calls of its own environment.
        share = max(1, self._at_once // max(1, len(parts)))
        if len(parts) > self._at_once:
            wanted = FILES_A_CALL * len(parts)
            log.warning("few_open_files", environments=len(parts), wanted=wanted)
        names = {connection.settings.environment.name for connection in parts}
        for name in loaded.environments.keys() - names - self.pollers.keys():
            left = campaigns[name].values()
            self._save(_removal(loaded.environments[name], left, self.clock.wall()))
        ends = [self._remove(name) for name in self.pollers.keys() - names]
        for connection in parts:
            name = connection.settings.environment.name
            if name in self.pollers:
                self._leave(self.pollers[name].configure(connection))
            else:
                self._add(connection, loaded, campaigns[name])
            self.pollers[name].share = share
            await asyncio.sleep(0)
            # A stop that came meanwhile would not end what is added after it.
            if self._closed:
                return
        # Before the next reload, which may bring them back: one at a time spends a budget.
        if ends:
            await asyncio.wait(ends)

    def switch_tests(self, name: str | None, by: str, *, on: bool) -> None:
        """Suspend or resume an environment's tests for `by`, or those of all; raises KeyError."""
        asked = self.pollers.values() if name is None else [self.pollers[name]]
        urls = {one.state.settings.environment.base_url for one in asked}
        for poller in self.pollers.values():
            # A suspension holds for a platform, whichever of its environments it was for.
            if poller.state.settings.environment.base_url in urls:
                poller.tester.switch(by, on=on)

    async def aclose(self) -> None:
        """Stop polling; a poll that is under way never happened."""
        self._closed = True
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), *self._leftovers, return_exceptions=True)

    def _settings(self, env: EnvironmentConfig, config: Config, loaded: Loaded) -> Settings:
        """Return what an environment is polled under: the very same as before, if it is."""
        if env.name in self.pollers:
            before = self.pollers[env.name].state.settings
            same = before.environment is env and before.polling == config.polling
            if same and before.alerts == config.alerts:
                return before
            return Settings(env, config.polling, config.alerts, before.target_set)
        target_set = loaded.target_sets.get(env.name, TargetSet())
        known = loaded.environments.get(env.name)
        if known is not None and known.listed_at is not None:
            target_set = replace(target_set, listed_at=known.listed_at)
        return Settings(env, config.polling, config.alerts, target_set)

    def _talkover(self, settings: Settings, token: str) -> Api:
        environment = settings.environment
        proxy = partial(proxy_of, environment.proxy_url, environment.proxy_credentials_file)
        return Talkover(
            base_url=environment.base_url,
            token=token,
            timeout=settings.polling.timeout,
            concurrency=settings.polling.concurrency,
            now=self.clock.wall,
            elapsed=self.clock.elapsed,
            observe=partial(self.own.call_made, environment.name),
            client=HttpClient(environment.ca_file, proxy=proxy, elapsed=self.clock.elapsed),
        )

    def _add(
        self, connection: Connection, loaded: Loaded, campaigns: dict[str, CampaignStatus]
    ) -> None:
        name = connection.settings.environment.name
        status = loaded.environments.get(name, EnvironmentStatus(name=name))
        state = EnvironmentState(connection.settings, self.clock, self._save, status, campaigns)
        lease = loaded.next_call_at.get(name, self.clock.wall())
        self.own.prepare(name)
        self.guards.environments[name] = state
        tester = Tester(state, self.guards, self.own.test_ended)
        poller = Poller(state, connection, self.store, self.own, lease, tester)
        self.pollers[name] = poller
        self._tasks[name] = self.keep_running(
            f"polling {name}", poller.run(by_itself=self.by_itself)
        )

    def _remove(self, name: str) -> asyncio.Task[None]:
        """End an environment that is gone; return its task, which is about to end."""
        state, task = self.pollers.pop(name).state, self._tasks.pop(name)
        self.guards.leave(name)
        now = state.now()
        self._save(_removal(state.status, state.campaigns.values(), now))
        state.save = lambda _: None  # an answer that is on its way would bring it back
        task.cancel()
        # Only then: what was under way would have counted itself once more.
        task.add_done_callback(lambda _: self.own.forget(name))
        self._leave(task)
        return task

    def _leave(self, task: asyncio.Task[None]) -> None:
        # Held here, for the loop itself holds its tasks only weakly.
        self._leftovers.add(task)
        task.add_done_callback(self._leftovers.discard)

    def _save(self, change: Change) -> None:
        for event in (one for one in change.events if one.kind is EventKind.ALERT):
            self.own.event_sent(event.environment, event.severity, event.status)
        self.store.save(change)


def _removal(
    status: EnvironmentStatus, campaigns: Iterable[CampaignStatus], now: Instant
) -> Change:
    """Return what is left of an environment that is no longer polled, and its last events."""
    why = "environment_removed"
    left, events = assess.reconcile_environment(status, None, now, why)
    decisions = [assess.reconcile(one, None, now, why) for one in campaigns]
    return Change(
        campaigns=tuple(one.status for one in decisions),
        environments=(left,),
        events=(*events, *(event for one in decisions for event in one.events)),
        target_sets={status.name: TargetSet()},
        removed=True,
    )
