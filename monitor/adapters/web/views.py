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
from monitor.core.board import Board, Entry, EnvironmentBoard, active_alerts
from monitor.core.identity import AlertLabels, fingerprint
from monitor.core.model import Alert, Instant, PollError, SftpConfig
from monitor.core.rule import BaseRule, Sight, judge_all
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
        environments=[_environment(environment) for environment in board.environments.values()],
    )


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
    for environment in board.environments.values():
        yield from environment_alerts(environment)
    for _, entry in board.entries():
        yield from campaign_alerts(entry)


def events(page: HistoryPage) -> EventsAnswer:
    """Return one page of the history."""
    return EventsAnswer(events=page.events, next_cursor=page.next_cursor)


def environment_alerts(environment: EnvironmentBoard) -> Iterator[AlertAnswer]:
    """Yield the active alerts of an environment itself."""
    key = (environment.status.name, None)
    for alert, rule in with_rules(environment.status.alerts, environment.rules):
        yield _alert(alert, rule, key, environment.labels)


def campaign_alerts(entry: Entry) -> Iterator[AlertAnswer]:
    """Yield the active alerts of a campaign."""
    target = entry.target
    key = (target.environment, target.campaign_id)
    for alert, rule in with_rules(entry.status.alerts, target.rules):
        yield _alert(alert, rule, key, entry.labels)


def with_rules(
    alerts: Mapping[str, Alert], rules: Mapping[str, BaseRule]
) -> Iterator[tuple[Alert, BaseRule]]:
    """Yield the active alerts with their rules; a rule that is switched off has none."""
    for alert in active_alerts(alerts.values()):
        if alert.rule in rules:
            yield alert, rules[alert.rule]


def text(value: str) -> str:
    """Return a text that came from outside, fit to be shown."""
    return clean(value, TEXT_LIMIT)


def texts(values: Mapping[str, str]) -> dict[str, str]:
    """Return such texts by their (trusted) names."""
    return {name: text(value) for name, value in values.items()}


def instant(at: Instant | None) -> str | None:
    """Return an instant as RFC 3339 with milliseconds."""
    return None if at is None else rfc3339(at, milliseconds=True)


def _alert(
    alert: Alert,
    rule: BaseRule,
    key: tuple[str, str | None],
    current: AlertLabels,
) -> AlertAnswer:
    environment, campaign_id = key
    labels = alert.fired_as or current
    return AlertAnswer(
        environment=environment,
        campaign_id=campaign_id,
        campaign_name=text(labels.campaign_name),
        rule=alert.rule,
        severity=alert.told_severity or rule.severity,
        state=alert.shown_as,
        muted_by=alert.muted_by,
        since=instant(alert.since),
        fired_at=instant(alert.fired_at),
        told_at=instant(alert.told_at),
        changes_at=instant(recheck_at(alert, rule)),
        summary=text(alert.summary),
        evidence=texts(alert.evidence),
        next_step=rule.next_step,
        fingerprint=fingerprint(environment, campaign_id, alert.rule),
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
        alerts=list(environment_alerts(board)),
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
        findings=list(_findings(entry)),
        alerts=list(campaign_alerts(entry)),
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


def _findings(entry: Entry) -> Iterator[FindingAnswer]:
    known, target = entry.status, entry.target
    if known.observation is None or known.polled_at is None:
        return
    # As it was judged then: a rule looks at fresh answers only, and so do those who read this.
    sight = Sight(
        known.observation,
        known.memory,
        known.polled_at,
        target.listed,
        known.failures,
        expected=target.expected,
    )
    for name, finding in judge_all(target.rules, sight).items():
        yield FindingAnswer(
            rule=name,
            meaning=target.rules[name].meaning,
            verdict=finding.verdict,
            summary=text(finding.summary),
            evidence=texts(finding.evidence),
            since=instant(finding.since),
            recheck_at=instant(finding.recheck_at),
        )


def _text_or_none(value: str | None) -> str | None:
    return None if value is None else text(value)
