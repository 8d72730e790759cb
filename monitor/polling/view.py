"""One environment as it is known now, for everything that shows it."""

from collections.abc import Mapping
from dataclasses import replace

from monitor.core.clock import ahead
from monitor.core.model import Instant, Seconds
from monitor.core.snapshot import STALE_AFTER_INTERVALS, Entry, EnvironmentSnapshot
from monitor.core.status import EnvironmentStatus
from monitor.polling.settings import Settings
from monitor.polling.tester import Tester


def snapshot_of(tester: Tester, due: Seconds | None) -> EnvironmentSnapshot:
    """Return an environment's snapshot; `due` is its next poll on the monotonic clock, if any."""
    state = tester.state
    settings, now, mono = state.settings, state.now(), state.clock.elapsed()
    interval = settings.context_at(state.pace).effective_interval
    return replace(
        stored_snapshot(settings, state.status, dict(state.entries), interval, now),
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


def stored_snapshot(
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
