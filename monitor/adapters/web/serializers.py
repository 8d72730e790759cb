"""From a board to the answers of the JSON API. Pure, so that any thread may do it."""

from collections.abc import Iterable, Mapping, Sequence
from heapq import nsmallest
from operator import itemgetter
from typing import Any, Final, TypeVar

from monitor.adapters.web import schemas
from monitor.core.alerts import recheck_at
from monitor.core.board import ActiveAlert, Board, Entry, EnvironmentBoard, Findings
from monitor.core.identity import fingerprint
from monitor.core.model import Instant
from monitor.core.rule import BaseRule
from monitor.core.text import clean
from monitor.record import EventRecord
from monitor.serialize import TEXT_LIMITS, shown_fields

LIMIT: Final = 1000
"""Items of a page: at most, and unless fewer are asked for."""

Key = tuple[str, ...]
"""What a list is ordered by, and paged on by: an item that is gone leaves its place behind."""

_T = TypeVar("_T")


def status(
    board: Board, version: str, started_at: Instant, not_ready: str | None
) -> schemas.StatusAnswer:
    """Return the state of the monitor itself and of each environment."""
    return schemas.StatusAnswer(
        version=version,
        started_at=started_at,
        # The wall clock may have been set back since.
        uptime_seconds=max(0.0, board.now - started_at),
        ready=not_ready is None,
        not_ready=not_ready,
        environments=environments(board),
    )


def environments(board: Board) -> list[schemas.EnvironmentAnswer]:
    """Return the state of each environment, in the order of the config."""
    return [_environment(environment) for environment in board.environments.values()]


def campaigns(board: Board) -> list[schemas.CampaignAnswer]:
    """Return every campaign, in the order of the config."""
    return [campaign(environment, entry) for environment, entry in board.entries()]


def campaigns_page(
    board: Board,
    environment: str | None = None,
    health: Sequence[str] = (),
    limit: int = LIMIT,
    next: Key | None = None,
) -> schemas.CampaignsAnswer:
    """Return a page of the campaigns of an environment and of these healths; None, (): of all."""
    keyed = (
        ((entry.target.environment, entry.target.campaign_id), (of, entry))
        for of, entry in board.entries()
        if environment in (None, of.status.name) and (not health or of.health(entry) in health)
    )
    found, more = _page(keyed, limit, next)
    return schemas.CampaignsAnswer(campaigns=[campaign(*each) for each in found], next=more)


def alerts_page(board: Board, limit: int = LIMIT, next: Key | None = None) -> schemas.AlertsAnswer:
    """Return a page of the active alerts; its keys are (environment, campaign or "", rule)."""
    keyed = (
        (
            (of.status.name, entry.target.campaign_id if entry else "", active.alert.rule),
            (active, of, entry),
        )
        for of, entry, active in board.active_alerts()
    )
    found, more = _page(keyed, limit, next)
    return schemas.AlertsAnswer(alerts=[_alert(*each) for each in found], next=more)


def campaign(environment: EnvironmentBoard, entry: Entry) -> schemas.CampaignAnswer:
    """Return what is known of one campaign."""
    known, memory = entry.status, entry.status.memory
    seen_at = memory.seen_at
    return _answer(
        schemas.CampaignAnswer,
        entry.target,
        known,
        memory,
        health=environment.health(entry),
        evidence_at=seen_at,
        evidence_age_seconds=None if seen_at is None else max(0.0, environment.now - seen_at),
        configured=None if seen_at is None else memory.gone_at is None,
        findings=_findings(environment.findings_of(entry), entry.target.rules),
        alerts=[_alert(active, environment, entry) for active in entry.active_alerts()],
    )


def campaign_detail(
    environment: EnvironmentBoard, entry: Entry, history: Sequence[EventRecord] | None
) -> schemas.CampaignDetailAnswer:
    """Return one campaign with its newest events; None where they cannot be read."""
    return _answer(schemas.CampaignDetailAnswer, campaign(environment, entry), history=history)


def text(value: str) -> str:
    """Return a text that came from outside, fit to be shown."""
    return clean(value, TEXT_LIMITS[0])


def _answer(cls: type[_T], *sources: Any, **more: Any) -> _T:
    """Return an answer of `more`, and of what the sources have by the same names as its fields."""
    kind: Any = cls  # for mypy, which takes no type variable for hashable
    for name in shown_fields(kind).keys() - more.keys():
        more[name] = next(getattr(one, name) for one in sources if hasattr(one, name))
    return cls(**more)


def _page(
    keyed: Iterable[tuple[Key, _T]], limit: int, after: Key | None
) -> tuple[list[_T], str | None]:
    """Return the first items after a key, and the `next` of their page."""
    rest = (each for each in keyed if after is None or each[0] > after)
    found = nsmallest(limit + 1, rest, key=itemgetter(0))
    more = "/".join(found[limit - 1][0]) if len(found) > limit else None
    return [item for _, item in found[:limit]], more


def _alert(
    active: ActiveAlert, environment: EnvironmentBoard, entry: Entry | None
) -> schemas.AlertAnswer:
    alert, rule, severity = active
    name, at = environment.status.name, recheck_at(alert, rule)
    campaign_id = None if entry is None else entry.target.campaign_id
    return _answer(
        schemas.AlertAnswer,
        alert,
        alert.fired_as or (environment if entry is None else entry).labels,
        environment=name,
        campaign_id=campaign_id,
        severity=severity,
        state=alert.shown_as,
        changes_at=at,
        changes_in_seconds=None if at is None else max(0.0, at - environment.now),
        next_step=rule.next_step_for(alert),
        fingerprint=fingerprint(name, campaign_id, alert.rule),
    )


def _environment(board: EnvironmentBoard) -> schemas.EnvironmentAnswer:
    known = board.status
    return schemas.EnvironmentAnswer(
        name=known.name,
        labels=board.labels.labels,
        reachable=known.up,
        outage_since=known.outage_at,
        outage_reason=known.outage_reason,
        token_rejected_since=known.rejected_at,
        listing_error=board.listing_error,
        budget=schemas.BudgetAnswer(
            requests_per_minute=board.per_minute, available_requests=board.available
        ),
        counts=schemas.CountsAnswer(
            **{health.value: count for health, count in board.counts().items()}
        ),
        sweep=schemas.SweepAnswer(
            swept_at=known.swept_at,
            polled=board.swept,
            campaigns=len(board.campaigns),
            interval_seconds=board.interval,
            lag_seconds=board.lag,
        ),
        findings=_findings(board.findings, board.rules),
        alerts=[_alert(active, board, None) for active in board.active_alerts()],
    )


def _findings(
    found: Findings | None, rules: Mapping[str, BaseRule]
) -> list[schemas.FindingAnswer] | None:
    if found is None:
        return None
    return [
        _answer(schemas.FindingAnswer, finding, rule=name, meaning=rules[name].meaning)
        for name, finding in found.items()
    ]
