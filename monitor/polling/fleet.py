"""All environments of one process: started, reconfigured and removed as the config says."""

import asyncio
import resource
from collections import defaultdict
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import structlog

from monitor.adapters.metrics import OwnMetrics
from monitor.adapters.store import Change, Loaded, Store
from monitor.adapters.talkover import Talkover
from monitor.config import Config, ConfigError, EnvironmentConfig, Problem
from monitor.core import assess
from monitor.core.discovery import Roster
from monitor.core.model import Instant
from monitor.core.status import CampaignStatus, EnvironmentStatus
from monitor.polling.poller import Poller
from monitor.polling.settings import Api, Clock, Connect, Settings, Token
from monitor.polling.watch import Watch

log = structlog.get_logger()

MOST_CALLS_AT_ONCE = 1024
"""More under way at once would only make each of them late on one core."""

FILES_A_CALL = 4
"""Of the open files that the process may have (`RLIMIT_NOFILE`) so many for each call at once."""

KeepRunning = Callable[[str, Coroutine[Any, Any, None]], asyncio.Task[None]]
"""Starts a task that must run for ever, by its name, unless it is cancelled."""


def talkover(clock: Clock, own: OwnMetrics) -> Connect:
    """Return what connects to the real API; each call is counted in `own`."""

    def connect(settings: Settings, token: str) -> Api:
        """Return the client of one environment."""
        environment = settings.environment
        return Talkover(
            base_url=environment.base_url,
            token=token,
            timeout=settings.polling.timeout,
            concurrency=settings.polling.concurrency,
            now=clock.wall,
            monotonic=clock.elapsed,
            observe=partial(own.call_made, environment.name),
            ca_file=environment.ca_file,
        )

    return connect


class _Part(NamedTuple):
    """What one environment is to be polled under and with."""

    name: str
    settings: Settings
    token: Token
    api: Api


class Fleet:
    """One poller for each environment."""

    def __init__(
        self, store: Store, clock: Clock, own: OwnMetrics, connect: Connect, keep: KeepRunning
    ) -> None:
        """Start with no environment; `prepare` and `take` bring them."""
        self.pollers: dict[str, Poller] = {}
        self._store = store
        self._clock = clock
        self._own = own
        self._connect = connect
        self._keep_running = keep
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._leftovers: set[asyncio.Task[None]] = set()
        # Each call has a socket, and kept ones do, too.
        files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        self._at_once = max(8, min(MOST_CALLS_AT_ONCE, files // FILES_A_CALL))
        self._closed = False

    async def prepare(self, config: Config) -> tuple[Sequence[_Part], Loaded]:
        """Make all that a config needs, and change nothing: whatever can fail of it fails here.

        Environment by environment, so that the loop goes on meanwhile. Raises ConfigError,
        SecretError or StorageError.
        """
        loaded = await self._store.load()
        for problem in loaded.problems:
            log.error("state_row_lost", problem=problem)
        parts: list[_Part] = []
        try:
            for env in config.environments:
                token = Token(env.name, env.token_source)
                settings = self._settings(env, config, loaded)
                try:
                    api = self._connect(settings, token.value)
                except ValueError as error:
                    raise ConfigError([Problem("", None, env.name, str(error))]) from error
                parts.append(_Part(env.name, settings, token, api))
                await asyncio.sleep(0)
        except BaseException:
            for part in parts:
                await part.api.aclose()
            raise
        return parts, loaded

    async def take(self, parts: Sequence[_Part], loaded: Loaded) -> None:
        """Put in force what was prepared; one at a time. It ends when what was removed has ended.

        Environment by environment, so that the loop goes on: they share nothing.
        """
        # Once for all: to look through 100,000 campaigns for each of 1,000 environments takes 10 s.
        campaigns = defaultdict[str, dict[str, CampaignStatus]](dict)
        for (name, key), known in loaded.campaigns.items():
            campaigns[name][key] = known
        # Shared out, not fought for: an API that hangs holds the calls of its own environment.
        share = max(1, self._at_once // max(1, len(parts)))
        if len(parts) > self._at_once:
            wanted = FILES_A_CALL * len(parts)
            log.warning("few_open_files", environments=len(parts), wanted=wanted)
        names, now = {part.name for part in parts}, self._clock.wall()
        for name in loaded.environments.keys() - names - self.pollers.keys():
            self._save(_removal(loaded.environments[name], campaigns[name].values(), now))
        ends = [self._remove(name) for name in self.pollers.keys() - names]
        for part in parts:
            if part.name not in self.pollers:
                self._add(part, loaded, campaigns[part.name])
            else:
                poller = self.pollers[part.name]
                replaced = poller.api
                poller.configure(part.settings, part.api, part.token)
                self._leave(asyncio.create_task(poller.retire(replaced)))
            self.pollers[part.name].share = share
            await asyncio.sleep(0)
            # A stop that came meanwhile would not end what is added after it.
            if self._closed:
                return
        # Before the next reload, which may bring them back: one at a time spends a budget.
        if ends:
            await asyncio.wait(ends)

    async def aclose(self) -> None:
        """Stop polling; a poll that is under way never happened."""
        self._closed = True
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), *self._leftovers, return_exceptions=True)

    def _settings(self, env: EnvironmentConfig, config: Config, loaded: Loaded) -> Settings:
        """Return what an environment is polled under: the very same as before, if it is."""
        roster, known = loaded.rosters.get(env.name, Roster()), loaded.environments.get(env.name)
        if known is not None and known.listed_at is not None:
            roster = replace(roster, listed_at=known.listed_at)
        if env.name in self.pollers:
            before = self.pollers[env.name].watch.settings
            same = before.environment is env and before.polling == config.polling
            if same and before.alerts == config.alerts:
                return before
            roster = before.roster
        return Settings(
            environment=env, polling=config.polling, alerts=config.alerts, roster=roster
        )

    def _add(self, part: _Part, loaded: Loaded, campaigns: Mapping[str, CampaignStatus]) -> None:
        name, clock, own = part.name, self._clock, self._own
        status = loaded.environments.get(name, EnvironmentStatus(name=name))
        watch = Watch(part.settings, clock, self._save, status, campaigns)
        lease = loaded.next_call_at.get(name)
        own.prepare(name)
        poller = Poller(watch, part.api, part.token, self._store, clock, own, lease)
        self.pollers[name] = poller
        self._tasks[name] = self._keep_running(f"polling {name}", poller.run())

    def _remove(self, name: str) -> asyncio.Task[None]:
        """End an environment that is gone; return its task, which is about to end."""
        watch = self.pollers.pop(name).watch
        self._save(_removal(watch.status, watch.campaigns.values(), watch.now()))
        watch.save = lambda _: None  # an answer that is on its way would bring it back
        task = self._tasks.pop(name)
        task.cancel()
        # Only then: what was under way would have counted itself once more.
        task.add_done_callback(lambda _: self._own.forget(name))
        self._leave(task)
        return task

    def _leave(self, task: asyncio.Task[None]) -> None:
        # Held here, for the loop itself holds its tasks only weakly.
        self._leftovers.add(task)
        task.add_done_callback(self._leftovers.discard)

    def _save(self, change: Change) -> None:
        for event in change.events:
            self._own.event_told(event.environment, event.severity, event.status)
        self._store.save(change)


def _removal(
    status: EnvironmentStatus, campaigns: Iterable[CampaignStatus], now: Instant
) -> Change:
    """Return what is left, and what is to be told, of an environment that is no longer watched."""
    why = "environment_removed"
    after, events = assess.reconcile_environment(status, None, now, why)
    # Without its breaker: an environment that comes back under this name starts closed.
    left = EnvironmentStatus(name=status.name, alerts=after.alerts)
    decisions = [assess.reconcile(one, None, now, why) for one in campaigns]
    return Change(
        campaigns=tuple(one.status for one in decisions),
        environments=(left,),
        events=(*events, *(event for one in decisions for event in one.events)),
        rosters={status.name: Roster()},
        removed=status.name,
    )
