"""All environments of one process: started, reconfigured and removed as the config says.

Where replicas share the state, only those that are ours by their lease: see `polling.shared`.
"""

import asyncio
import resource
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
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
from monitor.polling.poller import AT_ONCE, Poller
from monitor.polling.settings import Api, Clock, Connect, Connection, Settings
from monitor.polling.tester import Tester

log = structlog.get_logger()

MOST_CALLS_AT_ONCE = 1024  # more under way would only make each of them late on one core
FILES_A_CALL = 4  # of the open files that the process may have so many for each call at once


async def _at_once(work: Callable[[], Settings]) -> Settings:
    return work()


@dataclass(eq=False)
class PollerManager:
    """One poller for each environment: `prepare` and `take` bring them.

    `off_loop` does what takes long while polls go on. `connect` connects to the API of one
    environment; by default to the real one. `by_itself` false: nothing is polled but what is asked
    for. `held` says whether we may poll, test and send for an environment right now.
    """

    store: Store
    clock: Clock
    own: SelfMetrics
    keep_running: KeepRunning
    connect: Connect | None = None
    by_itself: bool = True
    off_loop: Callable[[Callable[[], Settings]], Awaitable[Settings]] = _at_once
    held: Callable[[str], bool] = lambda _: True

    def __post_init__(self) -> None:
        self.pollers: dict[str, Poller] = {}
        self.guards = GuardBook(self.clock, self.save, shared=self.store.shared)
        self._connect = self.connect or self._talkover
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._leftovers: set[asyncio.Task[None]] = set()
        # Each call has a socket, and kept ones do, too.
        files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        self._at_once = max(8, min(MOST_CALLS_AT_ONCE, files // FILES_A_CALL))
        self._share, self._parts = 1, dict[str, Connection]()
        self._closed = False

    async def prepare(self, config: Config) -> tuple[Sequence[Connection], Loaded]:
        """Make all that a config needs, or raise ConfigError, SecretError or StorageError."""
        loaded = Loaded()
        if self.store.shared:
            await self.store.flush()  # each environment is read when it is taken over
        else:
            loaded = await self.store.load()
        for problem in loaded.problems:
            log.error("state_row_lost", problem=problem)
        # One that was never used has nothing to close: it opens its first socket at its first call.
        parts: list[Connection] = []
        for env in config.environments:
            settings = await self.off_loop(partial(self._settings, env, config, loaded))
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
        self._share = max(1, self._at_once // max(1, len(parts)))
        if len(parts) > self._at_once:
            wanted = FILES_A_CALL * len(parts)
            log.warning("few_open_files", environments=len(parts), wanted=wanted)
        self._parts = {one.settings.environment.name: one for one in parts}
        names = self._parts.keys()
        for name in loaded.environments.keys() - names - self.pollers.keys():
            left = campaigns[name].values()
            await self.save_removal(loaded.environments[name], left, self.clock.wall())
        # Of those that replicas share others may have what left this config: it is handed over.
        gone = self.pollers.keys() - names
        ends = [] if self.store.shared else [await self._remove(name) for name in gone]
        for name in gone - self._tasks.keys():
            self.pollers.pop(name, None)
        for name, connection in self._parts.items():
            if name in self.pollers:
                await self._configure(self.pollers[name], connection)
            elif not self.store.shared:
                await self._add(connection, loaded, campaigns[name])
            # A stop that came meanwhile would not end what is added after it.
            if self._closed:
                return
        # Before the next reload, which may bring them back: one at a time spends a budget.
        if ends:
            await asyncio.wait(ends)

    async def add(self, name: str, loaded: Loaded) -> None:
        """Poll an environment from now on, as it was `loaded`; its token is read again.

        Raises ValueError. One that has left the config meanwhile is not polled.
        """
        part, settings = self._parts.get(name), self.settings_with(name, loaded)
        if settings is None:
            return
        campaigns = {key: one for (of, key), one in loaded.campaigns.items() if of == name}
        await self._add(Connection(settings, self._connect), loaded, campaigns)
        # A reload that came meanwhile has not found it.
        if name in self._parts and self._parts[name] is not part:
            await self._configure(self.pollers[name], self._parts[name])

    def stop(self, name: str) -> asyncio.Task[None] | None:
        """Have an environment's poller end; return its task, which is about to, if it runs."""
        self.guards.environments.pop(name, None)
        task = self._tasks.pop(name, None)
        if task is not None:
            task.cancel()
            self._leave(task)
        return task

    async def _configure(self, poller: Poller, connection: Connection) -> None:
        self._leave(poller.configure(connection))
        await poller.take(connection.settings)
        poller.share = self._share

    def switch_tests(self, name: str | None, by: str, *, on: bool) -> None:
        """Suspend or resume an environment's tests for `by`, or those of all; raises KeyError."""
        asked = self._parts.values() if name is None else [self._parts[name]]
        urls = {one.settings.environment.base_url for one in asked}
        for of, poller in self.pollers.items():
            # A suspension holds for a platform, whichever of its environments it was for.
            if self.held(of) and poller.state.settings.environment.base_url in urls:
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
            whole = config.polling, config.alerts, before.target_set, before.targets
            return Settings(env, *whole)
        return Settings(env, config.polling, config.alerts, _target_set(env.name, loaded))

    def settings_with(self, name: str, loaded: Loaded) -> Settings | None:
        """Return what an environment is polled under, with its listing as it is stored."""
        if (part := self._parts.get(name)) is None:
            return None
        return replace(part.settings, target_set=_target_set(name, loaded))

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

    async def _add(
        self, connection: Connection, loaded: Loaded, campaigns: dict[str, CampaignStatus]
    ) -> None:
        name = connection.settings.environment.name
        status = loaded.environments.get(name, EnvironmentStatus(name=name))
        held = partial(self.held, name)
        state = EnvironmentState(
            connection.settings, self.clock, self.save, status, campaigns, held
        )
        lease = loaded.next_call_at.get(name, self.clock.wall())
        self.own.prepare(name)
        self.guards.environments[name] = state
        tester = Tester(state, self.guards, self.own.test_ended)
        poller = Poller(state, connection, self.store, self.own, lease, tester)
        await poller.take(connection.settings)
        if self._closed:
            return
        self.pollers[name], poller.share = poller, self._share
        self._tasks[name] = self.keep_running(
            f"polling {name}", poller.run(by_itself=self.by_itself)
        )

    async def _remove(self, name: str) -> asyncio.Task[None]:
        """End an environment that is gone; return its task, which is about to end."""
        state = self.pollers.pop(name).state
        self.guards.leave(name)
        now = state.now()  # what is remembered goes along with a step of our clock first
        state.save = lambda _: None  # an answer that is on its way would bring it back
        task = self.stop(name)
        assert task is not None, "it was polled until now"
        await self.save_removal(state.status, state.campaigns.values(), now)
        # Only then: what was under way would have counted itself once more.
        task.add_done_callback(lambda _: self.own.forget(name))
        return task

    async def save_removal(
        self, status: EnvironmentStatus, campaigns: Iterable[CampaignStatus], now: Instant
    ) -> None:
        """Store what is left of an environment that nobody polls any more, and its last events.

        First of itself, then of each campaign: cut off halfway, the next start does the rest.
        """
        why = "environment_removed"
        left, events = assess.reconcile_environment(status, None, now, why)
        target_sets = {status.name: TargetSet()}
        self.save(Change((), (left,), events, target_sets=target_sets, removed=True))
        for number, one in enumerate([*campaigns]):
            decision = assess.reconcile(one, None, now, why)
            self.save(Change((decision.status,), events=decision.events, removed=True))
            if number % AT_ONCE == 0:
                await asyncio.sleep(0)

    def _leave(self, task: asyncio.Task[None]) -> None:
        # Held here, for the loop itself holds its tasks only weakly.
        self._leftovers.add(task)
        task.add_done_callback(self._left)

    def _left(self, task: asyncio.Task[None]) -> None:
        self._leftovers.discard(task)
        with suppress(asyncio.CancelledError):
            if task.cancelled():
                task.exception()  # taken from it: else they, and all campaigns, hold each other

    def save(self, change: Change) -> None:
        """Store a change, and count its events."""
        for event in (one for one in change.events if one.kind is EventKind.ALERT):
            self.own.event_sent(event)
        self.store.save(change)


def _target_set(name: str, loaded: Loaded) -> TargetSet:
    """Return what an environment's listings came to, as it is stored."""
    target_set = loaded.target_sets.get(name, TargetSet())
    known = loaded.environments.get(name)
    if known is None or known.listed_at is None:
        return target_set
    return replace(target_set, listed_at=known.listed_at)
