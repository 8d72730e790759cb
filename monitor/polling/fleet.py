"""All environments of one process: started, reconfigured and removed as the config says."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from monitor.adapters.metrics import OwnMetrics
from monitor.adapters.store import Change, Loaded, Store
from monitor.config import Config
from monitor.core.model import Seconds
from monitor.core.status import CampaignStatus, EnvironmentStatus
from monitor.polling.poller import Api, Poller
from monitor.polling.token import Token
from monitor.polling.watch import Clock, Settings, Watch, removal

Connect = Callable[[Settings, str], Api]
"""Makes an environment's API client, of its part of the config and the token."""

KeepRunning = Callable[[str, Coroutine[Any, Any, None]], asyncio.Task[None]]
"""Starts a task that must run for ever, by its name, unless it is cancelled."""


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
        """Start with no environment; `apply` brings them."""
        self.pollers: dict[str, Poller] = {}
        self._store = store
        self._clock = clock
        self._own = own
        self._connect = connect
        self._keep_running = keep_running
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._leftovers: set[asyncio.Task[None]] = set()

    def apply(self, config: Config, loaded: Loaded) -> None:
        """Put a config in force, with what is remembered: all of it, or SecretError and nothing."""
        tokens = {env.name: Token(env.name, env.token) for env in config.environments}
        settings = {
            env.name: Settings(environment=env, polling=config.polling, alerts=config.alerts)
            for env in config.environments
        }
        for name in {*self.pollers, *loaded.environments} - settings.keys():
            self._remove(name, loaded)
        for name, part in settings.items():
            if name in self.pollers:
                self._reconfigure(self.pollers[name], part, tokens[name])
            else:
                self._add(part, tokens[name], loaded)

    async def aclose(self) -> None:
        """Stop polling; a poll that is under way never happened."""
        tasks = [*self._tasks.values(), *self._leftovers]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for poller in self.pollers.values():
            await poller.api.aclose()

    def _add(self, settings: Settings, token: Token, loaded: Loaded) -> None:
        name = settings.environment.name
        status = loaded.environments.get(name, EnvironmentStatus(name=name))
        watch = Watch(settings, self._clock, self._save, status, _campaigns_of(name, loaded))
        api, lease = self._connect(settings, token.value), loaded.next_call_at.get(name)
        self._own.prepare(name)
        self.pollers[name] = Poller(watch, api, token, self._store, self._clock, lease)
        self._tasks[name] = self._keep_running(f"polling {name}", self.pollers[name].run())

    def _reconfigure(self, poller: Poller, settings: Settings, token: Token) -> None:
        before = poller.api
        poller.configure(settings, self._connect(settings, token.value), token)
        self._close_later(before, settings.polling.timeout)

    def _remove(self, name: str, loaded: Loaded) -> None:
        """Tell that an environment is gone: one that ran, or one that only the state knows."""
        poller = self.pollers.pop(name, None)
        if poller is None:
            campaigns = _campaigns_of(name, loaded).values()
            self._save(removal(loaded.environments[name], campaigns, self._clock.wall()))
            return
        self._tasks.pop(name).cancel()
        self._own.forget(name)
        poller.watch.remove()
        self._close_later(poller.api, 0)

    def _close_later(self, api: Api, seconds: Seconds) -> None:
        # What is in flight ends first, by its deadline: a reload cuts no poll off.
        async def close() -> None:
            try:
                await asyncio.sleep(seconds)
            finally:
                await api.aclose()

        task = asyncio.create_task(close())
        self._leftovers.add(task)
        task.add_done_callback(self._leftovers.discard)

    def _save(self, change: Change) -> None:
        for event in change.events:
            self._own.event_told(event.environment, event.severity, event.status)
        self._store.save(change)


def _campaigns_of(environment: str, loaded: Loaded) -> dict[str, CampaignStatus]:
    return {key: known for (name, key), known in loaded.campaigns.items() if name == environment}
