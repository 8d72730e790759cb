"""Environments as they are known now: ours from memory, other replicas' from the database."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from math import inf
from typing import TYPE_CHECKING, cast

from monitor.adapters.store import Loaded, StorageError, Store
from monitor.adapters.store.store import LINGER
from monitor.core.clock import ahead
from monitor.core.model import Instant, Seconds
from monitor.core.snapshot import STALE_AFTER_INTERVALS, Entry, EnvironmentSnapshot, Holder
from monitor.core.status import CampaignStatus, EnvironmentStatus
from monitor.polling.settings import Settings
from monitor.polling.tester import Tester

if TYPE_CHECKING:  # psycopg is not everywhere
    from monitor.adapters.store.shared import SharedStore

READ_EVERY: Seconds = 10.0  # at most
LATE: Seconds = READ_EVERY + LINGER  # so much later a poll is seen here than where it was made


def snapshot_of(tester: Tester, due: Seconds | None) -> EnvironmentSnapshot:
    """Return an environment's snapshot; `due` is its next poll on the monotonic clock, if any."""
    state = tester.state
    settings, now, mono = state.settings, state.now(), state.clock.elapsed()
    interval = settings.context_at(state.pace).effective_interval
    return replace(
        _by_config(settings, state.status, dict(state.entries), interval, now),
        ahead=ahead(state.status, now)[0],
        findings=state.findings,
        requests_per_minute=state.budget.per_minute,
        available_requests=state.budget.available(mono),
        lag_seconds=0.0 if due is None else max(0.0, mono - due),
        polled=len(settings.targets) - len(state.unswept),
        listing_error=state.listing_error,
        suspended=tester.suspended,
        # What would be due is of no use while nothing is asked.
        planned={} if state.status.breaker_open else dict(tester.planned),
    )


def _by_config(
    settings: Settings,
    status: EnvironmentStatus,
    entries: Mapping[str, Entry],
    interval: Seconds,
    now: Instant,
) -> EnvironmentSnapshot:
    """Return what is known of an environment by its config and what is stored of it."""
    return EnvironmentSnapshot(
        now=now,
        status=status,
        labels=settings.environment.alert_labels,
        rules=settings.environment.resolved.rules,
        campaigns=entries,
        listed=settings.target_set.campaigns,
        interval_seconds=interval,
        stale_after=STALE_AFTER_INTERVALS * interval,
        idle_stale_after=STALE_AFTER_INTERVALS * settings.polling.idle_interval,
        requests_per_minute=settings.environment.budget_per_minute,
        tests_on=settings.tests_on,
        suspended=status.tests.suspended,
    )


@dataclass(eq=False)
class Others:
    """What was last read of others; for one thread, since a database may let its readers wait.

    `settings` returns what an environment is polled under; None: it has left the config.
    """

    store: Store
    settings: Callable[[str, Loaded], Settings | None]

    def __post_init__(self) -> None:
        self._known = dict[str, tuple[Instant, Loaded]]()

    def snapshots(
        self, holders: Mapping[str, Holder], now: Instant, *, away: bool
    ) -> dict[str, EnvironmentSnapshot]:
        """Return these environments; while the database is `away` as they were known last.

        Of what was never read every campaign is unknown.
        """
        store, found = cast("SharedStore", self.store), dict[str, EnvironmentSnapshot]()
        for name, holder in holders.items():
            read_at, loaded = self._known.get(name, (-inf, Loaded()))
            if not away and abs(now - read_at) >= READ_EVERY:
                try:
                    loaded = store.read_of(name)
                except StorageError:
                    away = True  # nor would it answer for the next one
                self._known[name] = now, loaded
            if (settings := self.settings(name, loaded)) is not None:
                shown = _as_stored(settings, loaded, now)
                late = shown.stale_after + LATE
                found[name] = replace(shown, stale_after=late, owned=False, holder=holder)
        return found


def _as_stored(settings: Settings, loaded: Loaded, now: Instant) -> EnvironmentSnapshot:
    name, known = settings.environment.name, loaded.campaigns
    status = loaded.environments.get(name, EnvironmentStatus(name=name))
    # Which is not stored: by what is.
    up = None if status.called_at is None else not status.breaker_open
    entries = {
        key: Entry(
            target, known.get((name, key)) or CampaignStatus(environment=name, campaign_id=key)
        )
        for key, target in settings.targets.items()
    }
    interval = settings.unthrottled.effective_interval
    return _by_config(settings, replace(status, up=up), entries, interval, now)
