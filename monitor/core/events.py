"""From the findings of one decision to its events: for a campaign and for an environment alike."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

from monitor.core import alerts as machine
from monitor.core.alerts import RemindEvery, Telling
from monitor.core.identity import AlertLabels
from monitor.core.model import (
    Alert,
    Event,
    EventStatus,
    Finding,
    Instant,
    Severity,
    Verdict,
)
from monitor.core.rule import BaseRule

Alerts = Mapping[str, Alert]
MuterOf = Callable[[str, Alerts], str | None]
"""What mutes a rule's alert, given the alerts there are after the findings; None: nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """Whom the events of one decision are about. `campaign_id` is None for an environment.

    `labels` are the current ones: those of an alert that fires now.
    """

    environment: str
    campaign_id: str | None = None
    labels: AlertLabels
    import_schedule: str = ""
    last_passed_at: Instant | None = None
    observed_at: Instant
    decided_at: Instant
    initial: bool = False


def decide(
    before: Alerts,
    findings: Mapping[str, Finding],
    rules: Mapping[str, BaseRule],
    subject: Subject,
    *,
    muter_of: MuterOf,
    remind_every: RemindEvery,
    definite: bool,
) -> tuple[dict[str, Alert], tuple[Event, ...]]:
    """Return the alerts after these findings, and what is to be told, in order.

    A rule whose finding is unknown keeps its state; where the observation was `definite` its
    mutes are looked at all the same, for they are facts of their own.
    """
    now = subject.decided_at
    after = dict(before)
    # A rule that never had an alert needs one only for an unhealthy finding: nearly all have none.
    concerned = [
        (name, rule, findings[name])
        for name, rule in rules.items()
        if name in before or findings[name].verdict is Verdict.UNHEALTHY
    ]
    for name, rule, finding in concerned:
        after[name] = machine.advance(before.get(name, Alert(rule=name)), finding, rule, now)
    events = []
    # All rules have moved before any mute is looked at: what mutes may come later in the table.
    moved = dict(after)
    for name, rule, finding in concerned:
        known = finding.verdict is not Verdict.UNKNOWN
        if not (known or definite):
            continue
        alert = moved[name]
        if alert.active:
            alert = replace(alert, muted_by=muter_of(name, moved))
        old = before.get(name, alert)
        after[name], telling = machine.tell(
            alert, rule.severity, subject.labels, now, remind_every if known else None
        )
        if telling is not None:
            events.append(_event(telling, old, after[name], rule, finding, subject))
    return _worth_keeping(after), in_telling_order(events)


def reconcile(
    before: Alerts, rules: Mapping[str, BaseRule], subject: Subject, gone: str = "rule_removed"
) -> tuple[dict[str, Alert], tuple[Event, ...]]:
    """Return the alerts under a changed config, and what is to be told of the change.

    Alerts of rules that are not in `rules` end with the reason `gone`.
    """
    after, events = {}, []
    for name, alert in before.items():
        if alert.told and alert.fired_as is None:
            # Stored by a version that did not keep them: from now on it goes by these.
            alert = replace(alert, fired_as=subject.labels)  # noqa: PLW2901
        rule = rules.get(name)
        after[name], telling = machine.reconcile(alert, rule, subject.decided_at, gone)
        if telling is not None:
            events.append(_event(telling, alert, after[name], rule, None, subject))
    return _worth_keeping(after), in_telling_order(events)


def in_table_order(alerts: Alerts, table: Iterable[str]) -> dict[str, Alert]:
    """Return alerts in the order of a rule table; those of rules that it lacks come last."""
    first = {name: alerts[name] for name in table if name in alerts}
    return {**first, **alerts}


def in_telling_order(events: Iterable[Event]) -> tuple[Event, ...]:
    """Return events with those that fire before those that resolve, else in their order."""
    return tuple(sorted(events, key=lambda event: event.status is EventStatus.RESOLVED))


def _worth_keeping(after: Alerts) -> dict[str, Alert]:
    # One that was ever told has a `seq` and stays: a number that is reused would be an id reused.
    return {name: alert for name, alert in after.items() if alert != Alert(rule=name)}


def _event(
    telling: Telling,
    old: Alert,
    new: Alert,
    rule: BaseRule | None,
    finding: Finding | None,
    subject: Subject,
) -> Event:
    over = telling.status is EventStatus.RESOLVED
    labels = new.fired_as or old.fired_as or subject.labels
    summary, evidence = new.summary, new.evidence
    # Muted or gone, nothing has recovered: what was wrong is still the thing to say.
    if over and telling.reason != "recovered":
        summary, evidence = old.summary, old.evidence
    elif over and finding is not None:
        summary, evidence = finding.summary, finding.evidence
    return Event(
        status=telling.status,
        seq=new.seq,
        rule=new.rule,
        # A resolved event has the severity that on-call was paged with, whatever is configured now.
        severity=new.told_severity or old.told_severity or Severity.INFO,
        previous_severity=telling.previous_severity,
        environment=subject.environment,
        campaign_id=subject.campaign_id,
        campaign_name=labels.campaign_name,
        labels=labels.labels,
        exported=labels.exported,
        sftp_host=labels.sftp_host,
        import_schedule=subject.import_schedule,
        last_passed_at=subject.last_passed_at,
        summary=summary,
        evidence=evidence,
        since=old.since if over else new.since,
        observed_at=subject.observed_at,
        decided_at=subject.decided_at,
        next_step="" if over or rule is None else rule.next_step_for(new),
        reason=telling.reason,
        muted_by=telling.muted_by,
        initial=subject.initial,
    )
