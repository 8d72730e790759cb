"""What on-call is told by now, from the board, labelled as the shipped Prometheus rules do."""

from collections.abc import Iterator

from monitor.core.board import Entry, EnvironmentBoard
from monitor.core.environment_rules import ENVIRONMENT_RULES
from monitor.core.model import Event, EventStatus
from monitor.core.rules import RULES
from monitor.core.text import clean, rfc3339
from monitor.serialize import Links

SUMMARY_LIMIT = 512
"""Characters of a summary, as in the log."""


def told_events(environment: EnvironmentBoard) -> Iterator[Event]:
    """Yield what is told of an environment by now, each as the event that would tell it."""
    yield from _told(environment, None)
    for entry in environment.campaigns.values():
        yield from _told(environment, entry)


def told_event(environment: EnvironmentBoard, campaign_id: str | None, rule: str) -> Event | None:
    """Return the event that would tell an alert as it is by now; None where it is not told.

    `campaign_id` is None for an alert of the environment itself.
    """
    entry = environment.campaigns.get(campaign_id or "")
    if campaign_id is not None and entry is None:
        return None
    return next((event for event in _told(environment, entry) if event.rule == rule), None)


def _told(environment: EnvironmentBoard, entry: Entry | None) -> Iterator[Event]:
    """Yield what is told of a campaign, or without one of the environment itself."""
    campaign_id = None if entry is None else entry.target.campaign_id
    about = environment if entry is None else entry
    for alert, rule, severity in about.active_alerts():
        if not alert.told:
            continue
        labels = alert.fired_as or about.labels
        yield Event(
            status=EventStatus.FIRING,
            seq=alert.seq,
            rule=alert.rule,
            severity=severity,
            environment=environment.status.name,
            campaign_id=campaign_id,
            campaign_name=labels.campaign_name,
            labels=labels.labels,
            exported=labels.exported,
            sftp_host=labels.sftp_host,
            summary=alert.summary,
            since=alert.since,
            observed_at=environment.now,
            decided_at=environment.now,
            next_step=rule.next_step_for(alert),
        )


def labels_of(event: Event) -> dict[str, str]:
    """Return the labels that the shipped rules give the event's alert in Alertmanager.

    Without empty ones, which mean nothing to Prometheus.
    """
    rule = RULES.get(event.rule) or ENVIRONMENT_RULES.get(event.rule)
    labels = {
        "alertname": rule.alertname if rule else event.rule,
        "environment": event.environment,
        "campaign_id": event.campaign_id or "",
        "rule": event.rule,
        "severity": event.severity.value,
        "sftp_host": clean(event.sftp_host),
        **{name: clean(event.labels.get(name, "")) for name in event.exported},
    }
    return {name: value for name, value in labels.items() if value}


def annotations_of(event: Event, links: Links) -> dict[str, str]:
    """Return the annotations, under the names that the shipped rules give them."""
    since = "" if event.since is None else f", since {rfc3339(event.since)}"
    what, where = f"Environment {event.environment}", event.environment
    if event.campaign_id is not None:
        where = f"{event.environment}/{event.campaign_id}"
        name = f"{clean(event.campaign_name)} " if event.campaign_name else ""
        host = f", host {clean(event.sftp_host)}" if event.sftp_host else ""
        what = f"Campaign {name}({where}){host}"
    annotations = {
        "summary": f"{where}: {clean(event.summary, SUMMARY_LIMIT)}",
        "description": f"{what}{since}.",
        "next_step": event.next_step,
        "runbook_url": links.runbook_url.replace("{rule}", event.rule),
        "dashboard_url": links.external_url or "",
    }
    return {name: value for name, value in annotations.items() if value}
