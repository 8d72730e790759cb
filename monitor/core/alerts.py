"""When a finding becomes an alert, when it is over, and what on-call is to be told of it.

Two steps, both pure. `advance` moves the state machine by one finding; `tell` compares what
on-call was last told with what is so now, and says what to tell (level, not edge: there is no
transition to miss). Instants only ever come from findings; there are no timers.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from monitor.core.identity import AlertLabels
from monitor.core.model import (
    Alert,
    AlertState,
    EventStatus,
    Finding,
    Instant,
    Seconds,
    Severity,
    Verdict,
)
from monitor.core.rule import BaseRule

RemindEvery = Mapping[Severity, Seconds]
"""How often a told alert is told again, by severity; 0 or no entry: never."""


@dataclass(frozen=True, slots=True)
class Telling:
    """What is to be told of one alert; becomes an `Event` with the campaign's particulars."""

    status: EventStatus
    reason: str | None = None
    muted_by: str | None = None
    previous_severity: Severity | None = None


def advance(alert: Alert, finding: Finding, rule: BaseRule, now: Instant) -> Alert:
    """Return the alert after a finding made at `now`. An unknown one changes nothing.

    `for` and `keep_firing_for` have passed when a finding that is not unknown is made at or
    after the stored instant plus the span.
    """
    if finding.verdict is Verdict.UNKNOWN:
        return alert
    alert = _not_after(alert, now)
    if finding.verdict is Verdict.HEALTHY:
        return _after_healthy(alert, rule, now)
    # While it fires, too: a reminder and the board tell how things are by now.
    summary, evidence, next_step = finding.summary, finding.evidence, finding.next_step
    alert = replace(alert, summary=summary, evidence=evidence, next_step=next_step)
    return _after_unhealthy(alert, finding, rule, now)


def _not_after(alert: Alert, now: Instant) -> Alert:
    # Instants from the future (the clock was wrong) would put off reminders until then. Only here,
    # not at a start: an answer has told whose clock is right. `since` may be the platform's word.
    return replace(
        alert,
        pending_at=clamped(alert.pending_at, now),
        fired_at=clamped(alert.fired_at, now),
        healthy_at=clamped(alert.healthy_at, now),
        told_at=clamped(alert.told_at, now),
    )


def _after_healthy(alert: Alert, rule: BaseRule, now: Instant) -> Alert:
    if alert.state is not AlertState.FIRING:
        return ended(alert)
    alert = replace(alert, healthy_at=now if alert.healthy_at is None else alert.healthy_at)
    assert alert.healthy_at is not None
    return ended(alert) if now >= alert.healthy_at + rule.keep_firing_for else alert


def _after_unhealthy(alert: Alert, finding: Finding, rule: BaseRule, now: Instant) -> Alert:
    if alert.state is AlertState.FIRING:
        return replace(alert, healthy_at=None)
    if alert.state is AlertState.INACTIVE:
        since = now if finding.since is None else finding.since
        alert = replace(alert, state=AlertState.PENDING, since=since, pending_at=now)
    # Not in the next decision: without `for` the first unhealthy finding is enough to fire.
    assert alert.pending_at is not None
    if now >= alert.pending_at + rule.for_:
        return replace(alert, state=AlertState.FIRING, fired_at=now)
    return alert


def ended(alert: Alert) -> Alert:
    """Return the alert as inactive. What on-call was told stays: `tell` compares with it."""
    if alert.state is AlertState.INACTIVE:
        return alert
    return replace(
        alert,
        state=AlertState.INACTIVE,
        since=None,
        pending_at=None,
        fired_at=None,
        healthy_at=None,
        muted_by=None,
        summary="",
        evidence={},
        next_step="",
    )


def tell(
    alert: Alert,
    severity: Severity,
    labels: AlertLabels,
    now: Instant,
    remind_every: RemindEvery | None,
) -> tuple[Alert, Telling | None]:
    """Return the alert with what on-call is told now, and that telling, if there is one.

    `severity` and `labels` are those of the moment: one that fires keeps them until it is over.
    `remind_every` is None where the finding was unknown: then no reminder is due.
    """
    to_tell = alert.state is AlertState.FIRING and alert.muted_by is None
    if to_tell and not alert.told:
        fired = replace(alert, told=True, told_at=now, told_severity=severity, fired_as=labels)
        return replace(fired, seq=alert.seq + 1), Telling(EventStatus.FIRING)
    if alert.told and not to_tell:
        reason = "recovered" if alert.muted_by is None else "muted"
        return resolved(alert), Telling(EventStatus.RESOLVED, reason, alert.muted_by)
    if alert.told and remind_every is not None and _reminder_due(alert, now, remind_every):
        return replace(alert, told_at=now, seq=alert.seq + 1), Telling(EventStatus.REMINDER)
    return alert, None


def _reminder_due(alert: Alert, now: Instant, remind_every: RemindEvery) -> bool:
    assert alert.told_severity is not None
    assert alert.told_at is not None
    every = remind_every.get(alert.told_severity, 0)
    return every > 0 and now >= alert.told_at + every


def resolved(alert: Alert) -> Alert:
    """Return the alert as told to be over, with the event counted."""
    over = replace(alert, told=False, told_at=None, told_severity=None, fired_as=None)
    return replace(over, seq=alert.seq + 1)


def reconcile(
    alert: Alert, rule: BaseRule | None, now: Instant, gone: str
) -> tuple[Alert, Telling | None]:
    """Return the alert under a changed config, and what is to be told of the change.

    `rule` is None when the rule, the campaign or the environment is gone, for the reason `gone`:
    a told alert is resolved with it, any other just ends. A changed severity of a told alert is
    told as `updated`. Everything else waits for the next observation.
    """
    if rule is None:
        over = ended(alert)
        if alert.told:
            return resolved(over), Telling(EventStatus.RESOLVED, gone)
        return over, None
    if alert.told and alert.told_severity != rule.severity:
        updated = replace(alert, told_severity=rule.severity, told_at=now, seq=alert.seq + 1)
        telling = Telling(EventStatus.UPDATED, previous_severity=alert.told_severity)
        return updated, telling
    return alert, None


def recheck_at(alert: Alert, rule: BaseRule) -> Instant | None:
    """Return the end of the `for` or `keep_firing_for` that is running, if one is."""
    if alert.state is AlertState.PENDING and alert.pending_at is not None:
        return alert.pending_at + rule.for_
    if alert.healthy_at is not None:
        return alert.healthy_at + rule.keep_firing_for
    return None


def stepped(alert: Alert, step: Seconds) -> Alert:
    """Return the alert after our clock jumped by `step`: all its spans go on; `since` stays."""
    return replace(
        alert,
        pending_at=moved(alert.pending_at, step),
        fired_at=moved(alert.fired_at, step),
        healthy_at=moved(alert.healthy_at, step),
        told_at=moved(alert.told_at, step),
    )


def moved(at: Instant | None, by: Seconds) -> Instant | None:
    """Return a stored instant `by` seconds later; None stays None."""
    return None if at is None else at + by


def clamped(at: Instant | None, now: Instant) -> Instant | None:
    """Return a stored instant, or `now` for one that lies in the future; None stays None."""
    return at if at is None else min(at, now)
