"""One environment as it is known now, for everything that shows it."""

from monitor.core.clock import ahead
from monitor.core.model import Seconds
from monitor.core.snapshot import STALE_AFTER_INTERVALS, EnvironmentSnapshot
from monitor.polling.tester import Tester


def snapshot_of(tester: Tester, due: Seconds | None) -> EnvironmentSnapshot:
    """Return an environment's snapshot; `due` is its next poll on the monotonic clock, if any."""
    state = tester.state
    settings, now, mono = state.settings, state.now(), state.clock.elapsed()
    interval = settings.context_at(state.pace).effective_interval
    return EnvironmentSnapshot(
        now=now,
        ahead=ahead(state.status, now)[0],
        status=state.status,
        labels=settings.environment.alert_labels,
        rules=settings.environment.resolved.rules,
        findings=state.findings,
        campaigns=dict(state.entries),
        listed=settings.target_set.campaigns,
        interval_seconds=interval,
        stale_after=STALE_AFTER_INTERVALS * interval,
        idle_stale_after=STALE_AFTER_INTERVALS * settings.polling.idle_interval,
        requests_per_minute=state.budget.per_minute,
        available_requests=state.budget.available(mono),
        lag_seconds=0.0 if due is None else max(0.0, mono - due),
        polled=len(settings.targets) - len(state.unswept),
        listing_error=state.listing_error,
        tests_on=settings.tests_on,
        suspended=tester.suspended,
        # What would be due is of no use while nothing is asked.
        planned={} if state.status.breaker_open else dict(tester.planned),
    )
