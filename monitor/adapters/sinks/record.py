"""An alert event as a flat JSON object: the fields of the log line and of the JSON API."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from monitor.config import Config
from monitor.core.model import EventStatus, Instant, Told
from monitor.core.text import clean, rfc3339

LINE_LIMIT = 4096
"""Bytes of one line: what a pipe takes whole, and every log pipeline too."""

LABELS_LIMIT = 1024
"""Bytes of the `labels` object."""

TEXT_LIMITS = (256, 128, 64, 32, 16)
"""Characters of one text; the next smaller one is taken while the line is too long."""


@dataclass(frozen=True, slots=True)
class Links:
    """Where an event points to: `runbook_url` has `{rule}` in it, `external_url` is our own."""

    runbook_url: str
    external_url: str | None = None

    @classmethod
    def of(cls, config: Config) -> "Links":
        """Return where events point to under this config."""
        return cls(config.alerts.runbook_url, config.web.external_url)


def as_line(told: Told, links: Links) -> bytes:
    """Return the event as one JSON line, ASCII-escaped, at most 4,096 bytes, newline included."""
    for limit in TEXT_LIMITS:
        line = json.dumps(as_record(told, links, limit)).encode("ascii") + b"\n"
        if len(line) <= LINE_LIMIT:
            break
    return line


def as_record(told: Told, links: Links, limit: int = TEXT_LIMITS[0]) -> dict[str, Any]:
    """Return the event's fields, each text cut to `limit` characters."""
    event = told.event
    over = event.status is EventStatus.RESOLVED
    return {
        "timestamp": rfc3339(event.decided_at, milliseconds=True),
        "level": "info" if over else event.severity.value,
        "event": "alert",
        "status": event.status.value,
        "event_id": told.event_id,
        "fingerprint": event.fingerprint,
        "epoch": told.epoch,
        "seq": event.seq,
        "rule": event.rule,
        "severity": event.severity.value,
        "previous_severity": event.previous_severity and event.previous_severity.value,
        "environment": event.environment,
        "campaign_id": event.campaign_id,
        "campaign_name": clean(event.campaign_name, limit),
        "labels": _labels(event.labels, limit),
        "sftp_host": clean(event.sftp_host, limit),
        "import_schedule": clean(event.import_schedule, limit),
        "summary": clean(event.summary, 2 * limit),
        "since": _instant(event.since),
        "observed_at": _instant(event.observed_at),
        "last_passed_at": _instant(event.last_passed_at),
        "evidence": {key: clean(value, limit) for key, value in event.evidence.items()},
        "next_step": clean(event.next_step, 2 * limit),
        # Not format(): a URL may have other braces in it.
        "runbook_url": links.runbook_url.replace("{rule}", event.rule),
        "url": _page(told, links),
        "reason": event.reason,
        "muted_by": event.muted_by,
        "initial": event.initial,
        "redelivery": told.redelivery,
        "durable": told.durable,
    }


def _labels(labels: Mapping[str, str], limit: int) -> dict[str, str]:
    for cut in [size for size in TEXT_LIMITS if size <= limit]:
        shown = {key: clean(value, cut) for key, value in labels.items()}
        if len(json.dumps(shown)) <= LABELS_LIMIT:
            return shown
    while len(json.dumps(shown)) > LABELS_LIMIT:
        shown.popitem()
    return shown


def _page(told: Told, links: Links) -> str | None:
    if links.external_url is None or told.event.campaign_id is None:
        return None
    place = f"{told.event.environment}/{told.event.campaign_id}"
    return f"{links.external_url.rstrip('/')}/api/v1/campaigns/{place}"


def _instant(at: Instant | None) -> str | None:
    return None if at is None else rfc3339(at, milliseconds=True)
