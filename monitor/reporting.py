"""What the running monitor says of itself: snapshot, metrics, history, health, heartbeat."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import structlog

from monitor import __version__
from monitor.adapters.metrics import Exposition, SelfMetrics
from monitor.adapters.sinks import links_of
from monitor.adapters.store import StorageError, Store
from monitor.adapters.web import EventsAnswer, HistoryUnreadableError
from monitor.config import Config
from monitor.config.formats import url
from monitor.config.model import Web
from monitor.core.explanation import OriginOf
from monitor.core.guards import Hold, NotRun
from monitor.core.leases import Replica
from monitor.core.model import Instant, Seconds
from monitor.core.outcomes import Step
from monitor.core.rule import Target
from monitor.core.snapshot import EnvironmentSnapshot, Health, HistoryQuery, Holder, Snapshot
from monitor.core.text import rfc3339
from monitor.polling import AT_ONCE, Clock, Holding, Others, PollerManager
from monitor.serialize import Links, record_of

STANDS_STILL: Seconds = 30.0  # a poll loop that has not turned for so long: `/-/healthy` is 503

log = structlog.get_logger()


@dataclass
class Report:
    """Views of the pollers and the store, made when asked; a reload replaces `config`."""

    config: Config
    manager: PollerManager
    store: Store
    sinks: tuple[str, ...]
    own: SelfMetrics
    clock: Clock
    loaded: Callable[[], bool]
    reload: Callable[[], Awaitable[Sequence[str]]]
    own_key: str = ""
    holding: Holding | None = None
    version: str = __version__

    def __post_init__(self) -> None:
        self.started_at, self.external_url = self.clock.wall(), self.config.web.external_url
        self._exposition = Exposition(self.own)
        self._others = Others(self.store, self.manager.settings_with)
        self.own.show_state(lambda: not self._state_problem())

    def snapshot(self, *, held: bool = False) -> Snapshot:
        """Return what is polled here, as it is known now; or of it what is `held`.

        While the database is away that is what was held last, too.
        """
        shown, elsewhere = dict[str, EnvironmentSnapshot](), self._elsewhere()
        for name in self.manager.pollers.keys() - elsewhere.keys():
            one = self.manager.pollers[name].snapshot()
            if self.manager.held(name):
                shown[name] = one
            elif not held:
                shown[name] = replace(one, owned=False, lag_seconds=0.0)
        shown = {name: shown[name] for name in self.manager.pollers if name in shown}
        return Snapshot(shown, self.clock.wall(), self.ready(), elsewhere)

    def complete(self, snapshot: Snapshot) -> Snapshot:
        """Return it with what other replicas hold, as the database has it; in a thread."""
        if not snapshot.elsewhere:
            return snapshot
        away = self.holding is None or bool(self.holding.problem)
        found = self._others.snapshots(snapshot.elsewhere, snapshot.now, away=away)
        known = {**snapshot.environments, **found}
        names = [one.name for one in self.config.environments if one.name in known]
        return replace(snapshot, environments={name: known[name] for name in names})

    def elsewhere(self, environment: str, *, to_act: bool) -> str | None:
        """Return the URL of the replica that answers for an environment; see `Program`."""
        if (there := self._elsewhere().get(environment)) is not None:
            return there.address
        held = self.manager.held(environment) or environment not in self.manager.pollers
        return "" if to_act and not held else None

    def _elsewhere(self) -> dict[str, Holder]:
        """Return the environments of the config that are not known here, and who has them."""
        if (own := self.holding) is None:
            return {}
        now, found = own.now(), dict[str, Holder]()
        for name in (one.name for one in self.config.environments):
            if name not in self.manager.pollers or not own.last_held(name):
                who = own.seen.holder(name, now)
                # One of ours is being loaded: nobody is sent from here to here for ever.
                found[name] = Holder() if who is None or who.id == own.id else _shown(who)
        return found

    @property
    def key(self) -> str:
        """What commands show that may read the state: beside it, or in it."""
        return self.own_key or self.store.key

    @property
    def web(self) -> Web:
        """What the config says of the web now."""
        return self.config.web

    @property
    def retention(self) -> Seconds:
        """How long the history is kept."""
        return self.config.state.retention

    @property
    def links(self) -> Links:
        """Where people are sent, under the config as it is now."""
        return links_of(self.config)

    def origins(self, target: Target) -> OriginOf:
        """Return what says where the settings of a campaign are set."""
        return self.config.origins(target)

    async def start_test(
        self, environment: str, campaign_id: str, by: str, *, force: bool, unblock: bool
    ) -> Instant | Hold | NotRun:
        """Begin a connection test for an operator, and return when; or why it was not."""
        log.info("test_asked_for", environment=environment, campaign_id=campaign_id, by=by)
        runner = self.manager.pollers[environment].runner
        begun = await runner.begin_now(campaign_id, by, force=force, unblock=unblock)
        if not isinstance(begun, Step):
            return begun
        runner.spawn(runner.finish(begun))
        return begun.attempt.at

    def switch_tests(self, environment: str | None, by: str, *, on: bool) -> None:
        """Suspend or resume an environment's tests, or all; raises KeyError."""
        self.manager.switch_tests(environment, by, on=on)

    def metrics(self, openmetrics: bool) -> Callable[[], bytes]:
        """Return what renders the metrics as they are now; that may be called in a thread."""
        # It is made here, on the loop: frozen, it may be rendered while pollers go on.
        snapshot, sinks = self.snapshot(), {name: self.store.pending(name) for name in self.sinks}
        return partial(self._exposition.render, snapshot, sinks, openmetrics=openmetrics)

    def history(self, wanted: HistoryQuery) -> EventsAnswer:
        """Return events as the log has them, in a thread; raises HistoryUnreadableError."""
        try:
            found = self.store.history(replace(wanted, limit=wanted.limit + 1))
            counts = self.store.counts(wanted)
        except StorageError as error:
            problem = f"the history cannot be read: {error.reason}"
            raise HistoryUnreadableError(text=problem) from error
        page, links = list(found)[: wanted.limit], self.links
        more = str(page[-1]) if len(found) > len(page) else None
        events = [record_of(found[row], links) for row in page]
        return EventsAnswer(events=events, counts=counts, next=more)

    def healthy(self) -> bool:
        """Say whether every poll loop turns."""
        return self.turned_since(self.clock.elapsed() - STANDS_STILL)

    def turned_since(self, mono: Seconds) -> bool:
        """Say whether every poll loop has turned after this instant of the monotonic clock."""
        pollers = self.manager.pollers.items()
        return all(one.turned_at > mono for name, one in pollers if self.manager.held(name))

    def ready(self) -> str | None:
        """Return why the monitor is not ready, or None when it is."""
        if not self.loaded():
            return "the state is not loaded yet"
        if problem := self._state_problem():
            return f"the state database{problem}"
        if not self.healthy():
            return "the poll loop stands still"
        pollers = self.manager.pollers.items()
        waiting = [name for name, one in pollers if not one.called and self.manager.held(name)]
        return f"no call was made yet for {', '.join(waiting)}" if waiting else None

    def _state_problem(self) -> str:
        """Return why the state cannot be written; "" where it can."""
        own = self.holding
        if own is not None and own.problem and own.unanswered_since is not None:
            stopped = "" if own.held else "; nothing is polled"
            return (
                f" has not answered since {rfc3339(own.unanswered_since)} ({own.problem}){stopped}"
            )
        return f": {self.store.problem.reason}" if self.store.problem is not None else ""

    async def heartbeat(self) -> None:
        """Log that the monitor lives, so that silence is not health."""
        counts, read_at = Counter[str](dict.fromkeys(Health, 0)), list[Instant | None]()
        for number, (environment, entry) in enumerate(self.snapshot().entries()):
            counts[environment.health(entry)] += 1
            read_at.append(entry.status.last_known.last_read_at)
            # 100,000 campaigns in one go would hold up the polls.
            if number % AT_ONCE == 0:
                await asyncio.sleep(0)
        oldest, never = min(filter(None, read_at), default=None), read_at.count(None)
        known = {"never_read": never, "oldest_evidence": oldest and rfc3339(oldest)}
        log.info("heartbeat", version=__version__, **counts, **known)


def _shown(who: Replica) -> Holder:
    """Return who holds something, as it says itself: nobody is sent to what is no URL."""
    try:
        return Holder(who.id, url(who.address, "query and fragment"))
    except ValueError:
        return Holder(who.id)
