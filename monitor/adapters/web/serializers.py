"""From a board to the answers of the JSON API. Pure, so that any thread may do it."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields
from heapq import nsmallest
from operator import itemgetter
from typing import TypeVar, cast

from monitor.adapters.web.schemas import (
    ActiveState,
    AlertAnswer,
    AlertsAnswer,
    BudgetAnswer,
    CampaignAnswer,
    CampaignDetailAnswer,
    CampaignsAnswer,
    CountsAnswer,
    EnvironmentAnswer,
    FindingAnswer,
    StatusAnswer,
    SweepAnswer,
)
from monitor.core.alerts import recheck_at
from monitor.core.board import ActiveAlert, Board, Entry, EnvironmentBoard, Findings
from monitor.core.model import Instant, fingerprint
from monitor.core.rule import BaseRule
from monitor.core.text import clean
from monitor.record import EventRecord
from monitor.serialize import TEXT_LIMITS

Key = tuple[str, ...]
"""What a list is ordered by, and paged on by: an item that is gone leaves its place behind."""

Wanted = Callable[[EnvironmentBoard, Entry], bool]
"""Whether a campaign is to be in the answer."""

T = TypeVar("T")


def status(
    board: Board, *, version: str, started_at: Instant, not_ready: str | None
) -> StatusAnswer:
    """Return the state of the monitor itself and of each environment."""
    return StatusAnswer(
        version=version,
        started_at=started_at,
        # The wall clock may have been set back since.
        uptime_seconds=max(0.0, board.now - started_at),
        ready=not_ready is None,
        not_ready=not_ready,
        environments=environments(board),
    )


def environments(board: Board) -> list[EnvironmentAnswer]:
    """Return the state of each environment, in the order of the config."""
    return [_environment(environment) for environment in board.environments.values()]


def campaigns(board: Board) -> list[CampaignAnswer]:
    """Return every campaign, in the order of the config."""
    return [_campaign(environment, entry) for environment, entry in board.entries()]


def campaigns_page(board: Board, wanted: Wanted, limit: int, after: Key | None) -> CampaignsAnswer:
    """Return the next campaigns that are wanted; `after` is (environment, id)."""
    keyed = (
        ((entry.target.environment, entry.target.campaign_id), (environment, entry))
        for environment, entry in board.entries()
        if wanted(environment, entry)
    )
    found, more = _page(keyed, limit, after)
    return CampaignsAnswer(campaigns=[_campaign(*each) for each in found], next=more)


def campaign(
    environment: EnvironmentBoard, entry: Entry, history: Sequence[EventRecord] | None
) -> CampaignDetailAnswer:
    """Return one campaign with its newest events; None where they cannot be read."""
    known = _campaign(environment, entry)
    same = {field.name: getattr(known, field.name) for field in fields(known)}
    return CampaignDetailAnswer(**same, history=history)


def alerts_page(board: Board, limit: int, after: Key | None) -> AlertsAnswer:
    """Return the next active alerts; `after` is (environment, campaign or "", rule)."""
    keyed = (
        (
            (environment.status.name, entry.target.campaign_id if entry else "", active.alert.rule),
            (active, environment, entry),
        )
        for environment, entry, active in board.active_alerts()
    )
    found, more = _page(keyed, limit, after)
    return AlertsAnswer(alerts=[_alert(*each) for each in found], next=more)


def text(value: str) -> str:
    """Return a text that came from outside, fit to be shown."""
    return clean(value, TEXT_LIMITS[0])


def _page(
    keyed: Iterable[tuple[Key, T]], limit: int, after: Key | None
) -> tuple[list[T], str | None]:
    """Return the first items after a key, and the `next` of their page."""
    rest = (each for each in keyed if after is None or each[0] > after)
    found = nsmallest(limit + 1, rest, key=itemgetter(0))
    more = "/".join(found[limit - 1][0]) if len(found) > limit else None
    return [item for _, item in found[:limit]], more


def _alert(active: ActiveAlert, environment: EnvironmentBoard, entry: Entry | None) -> AlertAnswer:
    alert, rule, severity = active
    name, at = environment.status.name, recheck_at(alert, rule)
    campaign_id = None if entry is None else entry.target.campaign_id
    labels = alert.fired_as or (environment if entry is None else entry).labels
    return AlertAnswer(
        environment=name,
        campaign_id=campaign_id,
        campaign_name=labels.campaign_name,
        rule=alert.rule,
        severity=severity,
        state=cast(ActiveState, alert.shown_as),
        muted_by=alert.muted_by,
        since=alert.since,
        fired_at=alert.fired_at,
        told_at=alert.told_at,
        changes_at=at,
        changes_in_seconds=None if at is None else max(0.0, at - environment.now),
        summary=alert.summary,
        evidence=alert.evidence,
        next_step=rule.next_step_for(alert),
        fingerprint=fingerprint(name, campaign_id, alert.rule),
        labels=labels.labels,
    )


def _environment(board: EnvironmentBoard) -> EnvironmentAnswer:
    known, counts = board.status, board.counts()
    return EnvironmentAnswer(
        name=known.name,
        labels=board.labels.labels,
        reachable=known.up,
        outage_since=known.outage_at,
        outage_reason=known.outage_reason,
        token_rejected_since=known.rejected_at,
        listing_error=board.listing_error,
        budget=BudgetAnswer(
            requests_per_minute=board.per_minute, available_requests=board.available
        ),
        counts=CountsAnswer(**{health.value: count for health, count in counts.items()}),
        sweep=SweepAnswer(
            swept_at=known.swept_at,
            polled=board.swept,
            campaigns=len(board.campaigns),
            interval_seconds=board.interval,
            lag_seconds=board.lag,
        ),
        findings=_findings(board.findings, board.rules),
        alerts=[_alert(active, board, None) for active in board.active_alerts()],
    )


def _campaign(environment: EnvironmentBoard, entry: Entry) -> CampaignAnswer:
    target, known, memory = entry.target, entry.status, entry.status.memory
    seen_at = memory.seen_at
    return CampaignAnswer(
        environment=target.environment,
        campaign_id=target.campaign_id,
        name=target.name,
        labels=target.labels,
        health=environment.health(entry),
        polled_at=known.polled_at,
        evidence_at=seen_at,
        evidence_age_seconds=None if seen_at is None else max(0.0, environment.now - seen_at),
        error=known.error,
        configured=None if seen_at is None else memory.gone_at is None,
        gone_at=memory.gone_at,
        last_passed_at=memory.last_passed_at,
        config=memory.config,
        findings=_findings(environment.findings_of(entry), target.rules),
        alerts=[_alert(active, environment, entry) for active in entry.active_alerts()],
    )


def _findings(found: Findings | None, rules: Mapping[str, BaseRule]) -> list[FindingAnswer] | None:
    if found is None:
        return None
    return [
        FindingAnswer(
            rule=name,
            meaning=rules[name].meaning,
            verdict=finding.verdict,
            summary=finding.summary,
            evidence=finding.evidence,
            since=finding.since,
            recheck_at=finding.recheck_at,
        )
        for name, finding in found.items()
    ]
