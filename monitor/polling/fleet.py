"""All environments of one process: started, reconfigured and removed as the config says."""

import asyncio
import resource
from collections import defaultdict
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from monitor.adapters.metrics import OwnMetrics
from monitor.adapters.store import Change, Loaded, Store
from monitor.config import Config, EnvironmentConfig
from monitor.core.discovery import Roster
from monitor.core.model import Seconds
from monitor.core.sharding import WHOLE, Shard
from monitor.core.status import CampaignStatus, EnvironmentStatus
from monitor.polling.api import Api
from monitor.polling.guarded import Guarded
from monitor.polling.poller import Poller
from monitor.polling.removal import removal
from monitor.polling.settings import Clock, Settings
from monitor.polling.token import Token
from monitor.polling.watch import Watch

_Known = Mapping[str, CampaignStatus]
"""What is remembered of an environment's campaigns, by id."""

Connect = Callable[[Settings, str], Api]
"""Makes an environment's API client, of its part of the config and the token."""

MOST_CALLS_AT_ONCE = 256
"""More under way at once would only make each of them late on one core."""

KeepRunning = Callable[[str, Coroutine[Any, Any, None]], asyncio.Task[None]]
"""Starts a task that must run for ever, by its name, unless it is cancelled."""


class Fleet:
    """One poller for each environment of the shard; `elsewhere` has those of other shards."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        own: OwnMetrics,
        connect: Connect,
        keep_running: KeepRunning,
        shard: Shard = WHOLE,
    ) -> None:
        """Start with no environment; `apply` brings them."""
        self.shard = shard
        self.pollers: dict[str, Poller] = {}
        self.elsewhere: frozenset[str] = frozenset()
        self._store = store
        self._clock = clock
        self._own = own
        self._connect = connect
        self._keep_running = keep_running
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._leftovers: set[asyncio.Task[None]] = set()
        self._slots = asyncio.Semaphore(_calls_at_once())
        self._closed = False

    async def apply(self, config: Config, loaded: Loaded) -> None:
        """Put a config in force, with what is remembered: all of it, or SecretError and nothing.

        Environment by environment, so that the loop goes on: they share nothing. One apply at a
        time; `loaded` has what is remembered of those that do not run.
        """
        elsewhere = self.shard.elsewhere(env.name for env in config.environments)
        owned = [env for env in config.environments if env.name not in elsewhere]
        # All of them before anything changes: a secret that cannot be read leaves all as it was.
        tokens = {env.name: Token(env.name, env.token) for env in owned}
        campaigns = _by_environment(loaded)
        self.elsewhere = elsewhere
        for name in {*self.pollers, *loaded.environments} - tokens.keys() - elsewhere:
            self._remove(name, loaded, campaigns.get(name, {}))
        for env in owned:
            settings = self._settings(env, config, loaded)
            if env.name in self.pollers:
                self._reconfigure(self.pollers[env.name], settings, tokens[env.name])
            else:
                self._add(settings, tokens[env.name], loaded, campaigns.get(env.name, {}))
            await asyncio.sleep(0)
            # A stop that came meanwhile would not end what is added after it.
            if self._closed:
                return

    async def aclose(self) -> None:
        """Stop polling; a poll that is under way never happened."""
        self._closed = True
        tasks = [*self._tasks.values(), *self._leftovers]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for poller in self.pollers.values():
            await poller.api.aclose()

    def _settings(self, env: EnvironmentConfig, config: Config, loaded: Loaded) -> Settings:
        """Return what an environment is polled under: the very same as before, if it is."""
        roster = loaded.rosters.get(env.name, Roster())
        if env.name in self.pollers:
            before = self.pollers[env.name].watch.settings
            same = before.environment is env and before.polling == config.polling
            if same and before.alerts == config.alerts:
                return before
            # What runs knows better: that a listing merely confirmed its roster is not stored.
            roster = before.roster
        return Settings(
            environment=env, polling=config.polling, alerts=config.alerts, roster=roster
        )

    def _add(self, settings: Settings, token: Token, loaded: Loaded, campaigns: _Known) -> None:
        name = settings.environment.name
        status = loaded.environments.get(name, EnvironmentStatus(name=name))
        watch = Watch(settings, self._clock, self._save, status, campaigns)
        api, lease = self._api(settings, token), loaded.next_call_at.get(name)
        self._own.prepare(name)
        self.pollers[name] = Poller(watch, api, token, self._store, self._clock, self._slots, lease)
        self._tasks[name] = self._keep_running(f"polling {name}", self.pollers[name].run())

    def _reconfigure(self, poller: Poller, settings: Settings, token: Token) -> None:
        before = poller.api
        poller.configure(settings, self._api(settings, token), token)
        self._close_later(before, settings.polling.timeout)

    def _api(self, settings: Settings, token: Token) -> Api:
        api = self._connect(settings, token.value)
        return Guarded(api, settings.environment.name, self._clock, self._own)

    def _remove(self, name: str, loaded: Loaded, campaigns: _Known) -> None:
        """Tell that an environment is gone: one that ran, or one that only the state knows."""
        poller = self.pollers.pop(name, None)
        if poller is None:
            status, now = loaded.environments[name], self._clock.wall()
            self._save(removal(status, campaigns.values(), now))
            return
        self._tasks.pop(name).cancel()
        self._own.forget(name)
        poller.watch.remove()
        self._close_later(poller.api, 0)

    def _close_later(self, api: Api, seconds: Seconds) -> None:
        async def close() -> None:
            """Close once what is in flight has ended, by its deadline, or when cancelled."""
            # Not at once: a reload cuts no poll off.
            try:
                await asyncio.sleep(seconds)
            finally:
                await api.aclose()

        task = asyncio.create_task(close())
        # Held here, for the loop itself holds its tasks only weakly.
        self._leftovers.add(task)
        task.add_done_callback(self._leftovers.discard)

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
    return max(8, min(MOST_CALLS_AT_ONCE, files // 4))
