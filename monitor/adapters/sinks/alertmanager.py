"""Keep an Alertmanager up to date directly, with the labels of the shipped Prometheus rules.

It gets levels, not edges: what fires now, at each event and again every minute, as Prometheus
does. An end is sent again every minute for a quarter of an hour, in case it has restarted.
"""

import asyncio
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from monitor.adapters.sinks import PermanentDeliveryError, Sink, SinkContext
from monitor.adapters.sinks.webhooks import post
from monitor.config import origin
from monitor.config.model import Alertmanager
from monitor.core.alerts import EventSource, standing_event
from monitor.core.environment_rules import ENVIRONMENT_RULES
from monitor.core.leases import StateUnavailable
from monitor.core.model import MINUTE, Event, EventStatus, Instant, Seconds
from monitor.core.rule import BaseRule
from monitor.core.rules import RULES
from monitor.core.snapshot import EnvironmentSnapshot
from monitor.core.text import clean, plain, redact, rfc3339
from monitor.serialize import Links, where_of

_ALL_RULES: Mapping[str, type[BaseRule]] = {
    **RULES,
    **ENVIRONMENT_RULES,
    StateUnavailable.name: StateUnavailable,
}

SEND_ENDS_FOR: Seconds = 15 * MINUTE
"""How long an end is sent again."""

BATCH = 256
"""Alerts in one request."""

PostableAlert = Mapping[str, Any]
"""An alert as the API takes it: an end in the past is its end."""


def sinks_of(settings: Alertmanager, context: SinkContext) -> list[Sink]:
    """Return a sink for each of `notify.alertmanager.urls`."""
    kept = enumerate((AlertmanagerSink(url, context) for url in settings.urls), 1)
    return [Sink(f"alertmanager-{n}", o.deliver, True, resend=o.resend) for n, o in kept]


class AlertmanagerSink:
    """Keeps one Alertmanager up to date; each of a cluster has a sink of its own."""

    def __init__(self, url: str, context: SinkContext) -> None:
        """Send to the Alertmanager at `url`."""
        self._url = f"{url}/api/v2/alerts"
        self._secret = urlsplit(url).path
        self._context = context
        # By its labels, which are an alert's identity: since when it is over, and its level.
        self._over: dict[str, tuple[Instant, PostableAlert]] = {}
        # What was read from the snapshot must arrive before anything newer.
        self._turn = asyncio.Lock()

    async def deliver(self, *events: Event) -> None:
        """Send how these events' alerts stand by now. Raises OSError or PermanentDeliveryError."""
        async with self._turn:
            postable = dict[str, PostableAlert]()
            for event in events:
                # The newest of those that are about one alert counts.
                postable |= {_identity(one): one for one in self._postable(event)}
            await self._post([*postable.values()])

    async def resend(self) -> None:
        """Send again all that fires, and what is over since a while. Raises OSError."""
        async with self._turn:
            postable = []
            for environment in self._context.snapshot().environments.values():
                fires = standing_events(environment)
                postable += [self._level(event, over=False) for event in fires]
                # Ten thousand campaigns in one go would hold up the polls.
                await asyncio.sleep(0)
            oldest = self._context.now() - SEND_ENDS_FOR
            self._over = {key: over for key, over in self._over.items() if over[0] > oldest}
            postable += [alert for _, alert in self._over.values()]
            refused = None
            for start in range(0, len(postable), BATCH):
                try:
                    await self._post(postable[start : start + BATCH])
                except PermanentDeliveryError as error:
                    refused = error
        if refused:
            raise OSError(str(refused))

    def _postable(self, event: Event) -> list[PostableAlert]:
        """Return how an event's alert stands: by the snapshot, else by the event."""
        environment = self._context.snapshot().environments.get(event.environment)
        if environment is None:
            now = None if event.status is EventStatus.RESOLVED else event
        else:
            notified = standing_events(environment, event.campaign_id)
            now = next((one for one in notified if one.rule == event.rule), None)
        # Only the event knows what was sent before: under another severity, or long ago.
        before = replace(event, severity=event.previous_severity or event.severity)
        if now is None:
            return [self._level(before, over=True)]
        moved = [self._level(before, over=True)] if labels_of(before) != labels_of(now) else []
        return [*moved, self._level(now, over=False)]

    def _level(self, event: Event, *, over: bool) -> PostableAlert:
        now = self._context.now()
        ends_at = now if over else now + self._context.hold
        # Not since when it is true: for an alert that began before its group_wait, Alertmanager
        # waits for no others, and forty campaigns of one host would be forty lines, one by one.
        alert = {
            "labels": labels_of(event),
            "annotations": annotations_of(event, self._context.links),
            # The API refuses one that ends before it starts.
            "startsAt": rfc3339(min(event.decided_at, ends_at), milliseconds=True),
            "endsAt": rfc3339(ends_at, milliseconds=True),
        }
        self._over.pop(_identity(alert), None)
        if over:
            self._over[_identity(alert)] = now, alert
        return alert

    async def _post(self, postable: Sequence[PostableAlert]) -> None:
        status, text = await post(self._url, json.dumps(postable).encode(), {})
        why = f"{origin(self._url)} answered {status}"
        # Alertmanager takes those that are valid, and says of the others what is wrong. Any other
        # text is a proxy's, which may repeat the URL; its path may be a secret.
        if status == 400:
            raise PermanentDeliveryError(f"{why}: {clean(redact(text, self._secret), 200)}")
        if not 200 <= status < 300:
            raise OSError(why)


def _identity(alert: PostableAlert) -> str:
    return json.dumps(alert["labels"], sort_keys=True)


def standing_events(environment: EnvironmentSnapshot, *only: str | None) -> Iterator[Event]:
    """Yield each alert that fires in an environment, as the event that would say so now.

    `only` are ids of campaigns, or None for the environment itself; without any it is all of them.
    """
    for campaign_id in only or (None, *environment.campaigns):
        entry = None if campaign_id is None else environment.campaigns.get(campaign_id)
        about = environment if campaign_id is None else entry
        if about is None:
            continue
        name, now = environment.status.name, environment.now
        source = EventSource(name, about.labels, now, about.impact, campaign_id=campaign_id)
        for alert, rule, _ in about.active_alerts():
            if alert.notified:
                yield standing_event(alert, rule, source)


def labels_of(event: Event) -> dict[str, str]:
    """Return the labels that the shipped rules give the event's alert, without empty ones."""
    rule = _ALL_RULES.get(event.rule)
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
    what = f"Environment {event.environment}" if event.environment else "The process sftp-monitor"
    if event.campaign_id is not None:
        name = f"{clean(event.campaign_name)} " if event.campaign_name else ""
        host = f", host {clean(event.sftp_host)}" if event.sftp_host else ""
        what = f"Campaign {name}({event.environment}/{event.campaign_id}){host}"
    annotations = {
        "summary": plain(f"{where_of(event)}: {clean(event.summary, 512)}"),
        "problem": rule.meaning if (rule := _ALL_RULES.get(event.rule)) else "",
        "description": f"{plain(what)}{since}.",
        "impact": clean(event.impact or "", 256),
        "next_step": event.next_step,
        "runbook_url": links.runbook(event.rule),
        "dashboard_url": links.external_url or "",
    }
    return {name: value for name, value in annotations.items() if value}
