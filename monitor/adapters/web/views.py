"""From a board to the answers of the JSON API. Pure, so that any thread may do it."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields

from monitor.adapters.web.answers import (
    AlertAnswer,
    BudgetAnswer,
    CampaignAnswer,
    CampaignDetailAnswer,
    ConfigAnswer,
    CountsAnswer,
    EnvironmentAnswer,
    EventsAnswer,
    FindingAnswer,
    PollErrorAnswer,
    StatusAnswer,
    SweepAnswer,
)
from monitor.adapters.web.context import HistoryPage
from monitor.core.alerts import recheck_at
from monitor.core.board import ActiveAlert, Board, Entry, EnvironmentBoard, Findings
from monitor.core.identity import fingerprint
from monitor.core.model import Instant, PollError, SftpConfig
from monitor.core.rule import BaseRule
from monitor.core.text import clean, rfc3339

TEXT_LIMIT = 256
"""Texts that come from the API or the config file are cut to so many characters."""

Wanted = Callable[[EnvironmentBoard, Entry], bool]
"""Whether a campaign is to be in the answer."""


def status(
    board: Board, *, version: str, started_at: Instant, not_ready: str | None
) -> StatusAnswer:
    """Return the state of the monitor itself and of each environment."""
    return StatusAnswer(
        version=version,
        started_at=rfc3339(started_at, milliseconds=True),
        # The wall clock may have been set back since.
        uptime_seconds=max(0.0, board.now - started_at),
        ready=not_ready is None,
        not_ready=_text_or_none(not_ready),
        environments=environments(board),
    )


def environments(board: Board) -> list[EnvironmentAnswer]:
    """Return the state of each environment, in the order of the config."""
    return [_environment(environment) for environment in board.environments.values()]


def campaigns(board: Board, wanted: Wanted) -> Iterator[CampaignAnswer]:
    """Yield the campaigns that are wanted, in the order of the config."""
    for environment, entry in board.entries():
        if wanted(environment, entry):
            yield _campaign(environment, entry)


def campaign(
    environment: EnvironmentBoard, entry: Entry, history: HistoryPage
) -> CampaignDetailAnswer:
    """Return one campaign with its newest events."""
    known = _campaign(environment, entry)
    same = {field.name: getattr(known, field.name) for field in fields(known)}
    return CampaignDetailAnswer(**same, history=history.events)


def alerts(board: Board) -> Iterator[AlertAnswer]:
    """Yield every active alert: of the environments, then of their campaigns."""
    for environment, entry, active in board.active_alerts():
        yield _alert(active, environment, entry)


def events(page: HistoryPage) -> EventsAnswer:
    """Return one page of the history."""
    return EventsAnswer(events=page.events, next_cursor=page.next_cursor)


def text(value: str) -> str:
    """Return a text that came from outside, fit to be shown."""
    return clean(value, TEXT_LIMIT)


def texts(values: Mapping[str, str]) -> dict[str, str]:
    """Return such texts by their (trusted) names."""
    return {name: text(value) for name, value in values.items()}


def instant(at: Instant | None) -> str | None:
    """Return an instant as RFC 3339 with milliseconds."""
    return None if at is None else rfc3339(at, milliseconds=True)


def _alert(active: ActiveAlert, environment: EnvironmentBoard, entry: Entry | None) -> AlertAnswer:
    alert, rule, severity = active
    name, at = environment.status.name, recheck_at(alert, rule)
    campaign_id = None if entry is None else entry.target.campaign_id
    labels = alert.fired_as or (environment if entry is None else entry).labels
    return AlertAnswer(
        environment=name,
        campaign_id=campaign_id,
        campaign_name=text(labels.campaign_name),
        rule=alert.rule,
        severity=severity,
        state=alert.shown_as,
        muted_by=alert.muted_by,
        since=instant(alert.since),
        fired_at=instant(alert.fired_at),
        told_at=instant(alert.told_at),
        changes_at=instant(at),
        changes_in_seconds=None if at is None else max(0.0, at - environment.now),
        summary=text(alert.summary),
        evidence=texts(alert.evidence),
        next_step=rule.next_step_for(alert),
        fingerprint=fingerprint(name, campaign_id, alert.rule),
        labels=texts(labels.labels),
    )


def _environment(board: EnvironmentBoard) -> EnvironmentAnswer:
    known, counts = board.status, board.counts()
    return EnvironmentAnswer(
        name=known.name,
        labels=texts(board.labels.labels),
        reachable=known.up,
        outage_since=instant(known.outage_at),
        outage_reason=known.outage_reason,
        token_rejected_since=instant(known.rejected_at),
        listing_error=_error(board.listing_error),
        budget=BudgetAnswer(
            requests_per_minute=board.per_minute, available_requests=board.available
        ),
        counts=CountsAnswer(**{health.value: count for health, count in counts.items()}),
        sweep=SweepAnswer(
            swept_at=instant(known.swept_at),
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
        name=text(target.name),
        labels=texts(target.labels),
        health=environment.health(entry),
        polled_at=instant(known.polled_at),
        evidence_at=instant(seen_at),
        evidence_age_seconds=None if seen_at is None else max(0.0, environment.now - seen_at),
        error=_error(known.error),
        configured=None if seen_at is None else memory.gone_at is None,
        gone_at=instant(memory.gone_at),
        last_passed_at=instant(memory.last_passed_at),
        config=None if memory.config is None else _config(memory.config),
        findings=_findings(environment.findings_of(entry), target.rules),
        alerts=[_alert(active, environment, entry) for active in entry.active_alerts()],
    )


def _error(error: PollError | None) -> PollErrorAnswer | None:
    if error is None:
        return None
    return PollErrorAnswer(reason=error.reason, detail=text(error.detail))


def _config(config: SftpConfig) -> ConfigAnswer:
    return ConfigAnswer(
        id=text(config.id),
        host=text(config.host),
        port=config.port,
        username=_text_or_none(config.username),
        auth_type=_text_or_none(config.auth_type),
        import_path=_text_or_none(config.import_path),
        export_path=_text_or_none(config.export_path),
        import_schedule=_text_or_none(config.import_schedule),
        is_enabled=config.is_enabled,
        last_test_at=instant(config.last_test_at),
        last_test_success=config.last_test_success,
        created_at=instant(config.created_at),
        updated_at=instant(config.updated_at),
    )


def _findings(found: Findings | None, rules: Mapping[str, BaseRule]) -> list[FindingAnswer] | None:
    if found is None:
        return None
    return [
        FindingAnswer(
            rule=name,
            meaning=rules[name].meaning,
            verdict=finding.verdict,
            summary=text(finding.summary),
            evidence=texts(finding.evidence),
            since=instant(finding.since),
            recheck_at=instant(finding.recheck_at),
        )
        for name, finding in found.items()
    ]


def _text_or_none(value: str | None) -> str | None:
    return None if value is None else text(value)
