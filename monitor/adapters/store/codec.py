"""Statuses and events as JSON and back. What does not decode is a ValueError, never a guess.

The dataclasses of the core are the schema: a field with a default may be added there at any time,
old rows then have the default. One that is renamed or removed needs a migration.
"""

from collections.abc import Mapping
from typing import NamedTuple, NewType

from pydantic import ConfigDict, TypeAdapter

from monitor.core.discovery import Roster
from monitor.core.model import Alert, Event, Instant, Told
from monitor.core.status import CampaignStatus, EnvironmentStatus

_CAMPAIGN = TypeAdapter(CampaignStatus)
_ENVIRONMENT = TypeAdapter(EnvironmentStatus)
# Under a name of its own, for pydantic takes no settings for a dataclass. No two events have the
# same texts: its cache of strings would grow for days, and serve nothing.
_StoredEvent = NewType("_StoredEvent", Event)
_EVENT: TypeAdapter[Event] = TypeAdapter(_StoredEvent, config=ConfigDict(cache_strings="keys"))
_ROSTER = TypeAdapter(Roster)

_STORED_OF_ENVIRONMENT = {
    "name", "unanswered", "unanswered_at", "outage_at", "outage_reason", "rejected_at",
    "rejected_by", "readable_seen", "called_at", "swept_at", "alerts",
}  # fmt: skip


class EventRow(NamedTuple):
    """The columns of one event but for its number, which the database gives."""

    event_id: str
    decided_at: Instant
    environment: str
    campaign_id: str | None
    rule: str
    status: str
    severity: str
    body: str


def encode_campaign(status: CampaignStatus) -> str:
    """Return the status as JSON, without `failures`, which are this process's. ValueError: cannot.

    Text that is no Unicode (a lone surrogate) is what cannot be encoded.
    """
    return _CAMPAIGN.dump_json(status, exclude={"failures"}, exclude_none=True).decode()


def decode_campaign(body: str) -> CampaignStatus:
    """Return the campaign's status; ValueError for what is none."""
    return _CAMPAIGN.validate_json(body, strict=True)


def encode_environment(status: EnvironmentStatus) -> str:
    """Return the breaker, what was once seen and the alerts as JSON. ValueError: cannot."""
    stored = _ENVIRONMENT.dump_json(status, include=_STORED_OF_ENVIRONMENT, exclude_none=True)
    return stored.decode()


def decode_environment(body: str) -> EnvironmentStatus:
    """Return the environment's status, what is not stored at its default; ValueError for none."""
    return _ENVIRONMENT.validate_json(body, strict=True)


def encode_roster(roster: Roster) -> str:
    """Return what the listings of an environment came to as JSON. ValueError: cannot."""
    return _ROSTER.dump_json(roster, exclude_none=True).decode()


def decode_roster(body: str) -> Roster:
    """Return the roster exactly as it was stored; ValueError for what is none."""
    return _ROSTER.validate_json(body, strict=True)


def event_row(event: Event, epoch: str) -> EventRow:
    """Return the event as it is stored, decided in the start of this epoch. ValueError: cannot."""
    return EventRow(
        event_id=Told(event, epoch).event_id,
        decided_at=event.decided_at,
        environment=event.environment,
        campaign_id=event.campaign_id,
        rule=event.rule,
        status=event.status.value,
        severity=event.severity.value,
        body=_EVENT.dump_json(event).decode(),
    )


def decode_event(body: str) -> Event:
    """Return the event exactly as it was stored; ValueError for what is none."""
    return _EVENT.validate_json(body, strict=True)


def forget_campaign(status: CampaignStatus) -> CampaignStatus:
    """Return the campaign's tombstone: its event counts alone, so that no event id is reused."""
    return campaign_tombstone(status.environment, status.campaign_id, _counts(status.alerts))


def forget_environment(status: EnvironmentStatus) -> EnvironmentStatus:
    """Return the environment's tombstone; see `forget_campaign`."""
    return environment_tombstone(status.name, _counts(status.alerts))


def campaign_tombstone(
    environment: str, campaign_id: str, counts: Mapping[str, int]
) -> CampaignStatus:
    """Return a status that knows nothing but how many events each rule had."""
    return CampaignStatus(
        environment=environment, campaign_id=campaign_id, alerts=_counted_only(counts)
    )


def environment_tombstone(name: str, counts: Mapping[str, int]) -> EnvironmentStatus:
    """Return a status that knows nothing but how many events each rule had."""
    return EnvironmentStatus(name=name, alerts=_counted_only(counts))


def forgotten_campaign(body: str) -> str | None:
    """Return a stored campaign as its tombstone; None where it never had an event.

    One that does not decode stays: `load` reports it, and takes the counts from the history.
    """
    try:
        left = forget_campaign(decode_campaign(body))
        return encode_campaign(left) if left.alerts else None
    except ValueError:
        return body


def forgotten_environment(body: str) -> str | None:
    """Return a stored environment as its tombstone; see `forgotten_campaign`."""
    try:
        left = forget_environment(decode_environment(body))
        return encode_environment(left) if left.alerts else None
    except ValueError:
        return body


def _counts(alerts: Mapping[str, Alert]) -> dict[str, int]:
    return {rule: alert.seq for rule, alert in alerts.items()}


def _counted_only(counts: Mapping[str, int]) -> dict[str, Alert]:
    return {rule: Alert(rule=rule, seq=seq) for rule, seq in counts.items() if seq}
