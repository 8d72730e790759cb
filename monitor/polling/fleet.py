"""All environments of one process: started, reconfigured and removed as the config says."""

import asyncio
import resource
from collections import defaultdict
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import structlog

from monitor.adapters.metrics import OwnMetrics
from monitor.adapters.store import Change, Loaded, Store
from monitor.config import Config, ConfigError, EnvironmentConfig, Problem
from monitor.core.discovery import Roster
from monitor.core.status import CampaignStatus, EnvironmentStatus
from monitor.polling.api import Connect, Guarded
from monitor.polling.poller import Poller
from monitor.polling.settings import Clock, Settings, Token
from monitor.polling.watch import Watch, removal

log = structlog.get_logger()

_Known = Mapping[str, CampaignStatus]
"""What is remembered of an environment's campaigns, by id."""

MOST_CALLS_AT_ONCE = 1024
"""More under way at once would only make each of them late on one core."""

FILES_A_CALL = 4
"""Of the open files that the process may have (`RLIMIT_NOFILE`) so many for each call at once."""

KeepRunning = Callable[[str, Coroutine[Any, Any, None]], asyncio.Task[None]]
"""Starts a task that must run for ever, by its name, unless it is cancelled."""


@dataclass(frozen=True, slots=True)
class _Part:
    """What one environment is to be polled under and with."""

    settings: Settings
    token: Token
    api: Guarded

    @property
    def name(self) -> str:
        return self.settings.environment.name


@dataclass(frozen=True, slots=True)
class Prepared:
    """All that a config needs, made but not in force: `Fleet.take` it, or `discard` it."""

    parts: Sequence[_Part]
    loaded: Loaded

    async def discard(self) -> None:
        """Let go of it: the config is not to come into force."""
        for part in self.parts:
            await part.api.aclose()


class Fleet:
    """One poller for each environment."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        own: OwnMetrics,
        connect: Connect,
        keep_running: KeepRunning,
    ) -> None:
        """Start with no environment; `prepare` and `take` bring them."""
        self.pollers: dict[str, Poller] = {}
        self._store = store
        self._clock = clock
        self._own = own
        self._connect = connect
        self._keep_running = keep_running
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._apis: dict[str, Guarded] = {}
        self._leftovers: set[asyncio.Task[None]] = set()
        self._at_once = _calls_at_once()
        self._share = self._at_once
        self._closed = False

    async def prepare(self, config: Config, loaded: Loaded) -> Prepared:
        """Make all that a config needs, and change nothing. Raises ConfigError or SecretError.

        `loaded` has what is remembered of environments that do not run. Whatever can fail of a
        config fails here. Environment by environment, so that the loop goes on meanwhile.
        """
        parts: list[_Part] = []
        prepared = Prepared(parts, loaded)
        try:
            for env in config.environments:
                token = Token(env.name, env.token_source)
                settings = self._settings(env, config, loaded)
                parts.append(_Part(settings, token, self._api(settings, token)))
                await asyncio.sleep(0)
        except BaseException:
            await prepared.discard()
            raise
        return prepared

    async def take(self, prepared: Prepared) -> None:
        """Put in force what was prepared; one at a time. It ends when what was removed has ended.

        Environment by environment, so that the loop goes on: they share nothing.
        """
        loaded, campaigns = prepared.loaded, _by_environment(prepared.loaded)
        # Shared out, not fought for: an API that hangs holds the calls of its own environment.
        count = len(prepared.parts)
        self._share = max(1, self._at_once // max(1, count))
        if count > self._at_once:
            log.warning("few_open_files", environments=count, wanted=FILES_A_CALL * count)
        gone = {*self.pollers, *loaded.environments} - {part.name for part in prepared.parts}
        ends = [self._remove(name, loaded, campaigns.get(name, {})) for name in gone]
        for part in prepared.parts:
            if part.name in self.pollers:
                self._reconfigure(self.pollers[part.name], part)
            else:
                self._add(part, loaded, campaigns.get(part.name, {}))
            await asyncio.sleep(0)
            # A stop that came meanwhile would not end what is added after it.
            if self._closed:
                return
        # Before the next reload, which may bring them back: one at a time spends a budget.
        await asyncio.gather(*filter(None, ends))

    async def aclose(self) -> None:
        """Stop polling; a poll that is under way never happened."""
        self._closed = True
        tasks = [*self._tasks.values(), *self._leftovers]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for api in self._apis.values():
            await api.aclose()

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

    def _add(self, part: _Part, loaded: Loaded, campaigns: _Known) -> None:
        name, store, clock = part.name, self._store, self._clock
        status = loaded.environments.get(name, EnvironmentStatus(name=name))
        watch = Watch(part.settings, clock, self._save, status, campaigns)
        lease = loaded.next_call_at.get(name)
        self._own.prepare(name)
        self._apis[name] = part.api
        poller = Poller(watch, part.api, part.token, store, clock, self._share, lease)
        self.pollers[name] = poller
        self._tasks[name] = self._keep_running(f"polling {name}", poller.run())

    def _reconfigure(self, poller: Poller, part: _Part) -> None:
        settings, roster = part.settings, poller.watch.settings.roster
        # A listing may have ended since the settings were prepared.
        if settings.roster is not roster:
            settings = replace(settings, roster=roster)
        poller.share = self._share
        poller.configure(settings, part.api, part.token)
        # A reload cuts no call off: it ends under the settings that it began with.
        _ = self._leave(self._apis[part.name].retire())
        self._apis[part.name] = part.api

    def _api(self, settings: Settings, token: Token) -> Guarded:
        name = settings.environment.name
        try:
            api = self._connect(settings, token.value)
        except ValueError as error:
            raise ConfigError([Problem("", None, name, str(error))]) from error
        return Guarded(api, name, self._clock, self._own)

    def _remove(self, name: str, loaded: Loaded, campaigns: _Known) -> asyncio.Task[None] | None:
        """Tell that an environment is gone: one that ran, or one that only the state knows.

        Return what ends when the one that ran has ended.
        """
        poller = self.pollers.pop(name, None)
        if poller is None:
            status, now = loaded.environments[name], self._clock.wall()
            self._save(removal(status, campaigns.values(), now))
            return None
        task = self._tasks.pop(name)
        task.cancel()
        poller.watch.remove()
        return self._leave(self._ended(name, task, self._apis.pop(name)))

    async def _ended(self, name: str, task: asyncio.Task[None], api: Guarded) -> None:
        try:
            await asyncio.gather(task, return_exceptions=True)
        finally:
            # Only now: what was under way would have counted itself once more.
            self._own.forget(name)
            await api.aclose()

    def _leave(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        # Held here, for the loop itself holds its tasks only weakly.
        self._leftovers.add(task)
        task.add_done_callback(self._leftovers.discard)
        return task

    def _save(self, change: Change) -> None:
        for event in change.events:
            self._own.event_told(event.environment, event.severity, event.status)
        self._store.save(change)


def _by_environment(loaded: Loaded) -> Mapping[str, _Known]:
    # Once for all: to look through 100,000 campaigns for each of 1,000 environments takes 10 s.
    campaigns = defaultdict[str, dict[str, CampaignStatus]](dict)
    for (name, key), known in loaded.campaigns.items():
        campaigns[name][key] = known
    return campaigns


def _calls_at_once() -> int:
    """Return how many calls may be under way at once: each has a socket, and kept ones do too."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(8, min(MOST_CALLS_AT_ONCE, files // FILES_A_CALL))
