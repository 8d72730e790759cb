"""An alert event as a flat JSON object: the log line, and the events of the JSON API."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from monitor.core.model import Event, EventStatus, Instant, Labels, Sentence, Severity, Text, Told
from monitor.serialize import TEXT_LIMITS, shown_fields, to_json

LINE_LIMIT: Final = 4096
"""Bytes of one line: what a pipe takes whole, and every log pipeline too."""


@dataclass(frozen=True, slots=True)
class Links:
    """Where an event points to: `runbook_url` has `{rule}` in it, `external_url` is our own."""

    runbook_url: str
    external_url: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EventRecord:
    """One alert event, as in the log. event_id is the key to deduplicate by.

    A field by the name of one of `Event` is that one; `record_of` makes the others.
    """

    timestamp: Instant
    level: Literal["critical", "warning", "info"]
    event: Literal["alert"] = "alert"
    status: EventStatus
    event_id: str
    fingerprint: str
    epoch: str
    seq: int
    rule: str
    severity: Severity
    previous_severity: Severity | None
    environment: str
    campaign_id: str | None
    campaign_name: Text
    labels: Labels
    sftp_host: Text
    import_schedule: Text
    summary: Sentence
    since: Instant | None
    observed_at: Instant
    last_passed_at: Instant | None
    evidence: Mapping[str, Text]
    next_step: Sentence
    runbook_url: str
    url: str | None
    reason: str | None
    muted_by: str | None
    initial: bool
    redelivery: bool
    durable: bool


EVENT_FIELDS: Final = tuple(shown_fields(EventRecord))
"""The names of the fields of an event's log line, in their order."""

# `event` is a word in the record, and the whole of it in `Told`.
_SAME = tuple(name for name in EVENT_FIELDS if hasattr(Event, name))


def record_of(told: Told, links: Links) -> EventRecord:
    """Return the event as it is shown."""
    event = told.event
    over = event.status is EventStatus.RESOLVED
    return EventRecord(
        **{name: getattr(event, name) for name in _SAME},
        timestamp=event.decided_at,
        level="info" if over else event.severity.value,
        event_id=told.event_id,
        epoch=told.epoch,
        # Not format(): a URL may have other braces in it.
        runbook_url=links.runbook_url.replace("{rule}", event.rule),
        url=_page(event, links),
        redelivery=told.redelivery,
        durable=told.durable,
    )


def event_json(told: Told, links: Links) -> dict[str, Any]:
    """Return the event's fields as `json` takes them."""
    fields: dict[str, Any] = to_json(record_of(told, links))
    return fields


def event_line(told: Told, links: Links) -> bytes:
    """Return the event as one JSON line, ASCII-escaped, at most 4,096 bytes, newline included."""
    record = record_of(told, links)
    for limit in TEXT_LIMITS:
        line = json.dumps(to_json(record, limit)).encode("ascii") + b"\n"
        if len(line) <= LINE_LIMIT:
            break
    return line


def _page(event: Event, links: Links) -> str | None:
    if links.external_url is None or event.campaign_id is None:
        return None
    place = f"{event.environment}/{event.campaign_id}"
    return f"{links.external_url.rstrip('/')}/api/v1/campaigns/{place}"
