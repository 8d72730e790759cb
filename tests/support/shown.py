"""Seam 4: what the API and the page say of a finding, beside what the decision said."""

import html
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from monitor.adapters.metrics.exposition import campaign_values
from monitor.adapters.store import Change
from monitor.adapters.web import serializers
from monitor.adapters.web.pages import campaign_page, overview_page
from monitor.adapters.web.schemas import FindingAnswer
from monitor.adapters.web.serializers import as_json
from monitor.config import DiscoveryConfig
from monitor.config.environments import Resolved
from monitor.core.alerts import EventSource, standing_event
from monitor.core.discovery import TargetSet
from monitor.core.environment import EnvironmentContext
from monitor.core.environment_rules import ENVIRONMENT_RULES
from monitor.core.explanation import explain
from monitor.core.model import (
    HOUR,
    MINUTE,
    AlertLabels,
    Event,
    EventStatus,
    Finding,
    Instant,
    Seconds,
    Verdict,
)
from monitor.core.rule import NO_CONFIG, NOT_OURS, RemindEvery, Target, resolve_rules
from monitor.core.rules import RULES
from monitor.core.schedule import PollIntervals
from monitor.core.snapshot import STALE_AFTER_INTERVALS, Entry, EnvironmentSnapshot, Snapshot
from monitor.core.status import CampaignStatus, EnvironmentStatus
from monitor.core.text import clean, rfc3339
from monitor.polling import Settings
from monitor.polling.environment_state import EnvironmentState
from monitor.serialize import to_json

Findings = Mapping[str, Finding]


@dataclass(frozen=True)
class SomePolling:
    """How often campaigns are polled."""

    interval: Seconds = 2 * HOUR
    idle_interval: Seconds = 4 * HOUR


@dataclass(frozen=True)
class SomeEnvironment:
    """An environment's part of a config."""

    resolved: Resolved = field(
        default_factory=lambda: Resolved(
            rules=resolve_rules(ENVIRONMENT_RULES, {}), unreadable_after=15 * MINUTE
        )
    )
    alert_labels: AlertLabels = AlertLabels()
    discovery: DiscoveryConfig = DiscoveryConfig()
    budget_per_minute: float = 50.0
    requests_per_minute: float = 100.0


@dataclass(frozen=True)
class SomeAlerts:
    """When a reminder is due."""

    remind_every: RemindEvery = field(default_factory=dict)


@dataclass(frozen=True)
class SomeSettings:
    """What a watch needs of its settings, with the very targets of a test."""

    targets: Mapping[str, Target]
    environment: SomeEnvironment = field(default_factory=SomeEnvironment)
    alerts: SomeAlerts = field(default_factory=SomeAlerts)
    polling: SomePolling = field(default_factory=SomePolling)
    target_set: TargetSet = TargetSet()
    discovers: bool = False
    knows_nobody_else: bool = False
    intervals: PollIntervals = PollIntervals(
        interval=2 * HOUR, unhealthy_interval=MINUTE, idle_interval=4 * HOUR
    )

    @property
    def notified(self) -> int:
        return len(self.targets)

    def context_at(self, pace: float) -> EnvironmentContext:
        return Settings._context_at(cast(Settings, self), pace)


def some_settings(*targets: Target) -> Settings:
    """Return settings under which these campaigns, and no others, are watched."""
    return cast(Settings, SomeSettings({target.campaign_id: target for target in targets}))


@dataclass
class SteeredClock:
    """Two clocks that show what a test says; the wall clock alone may go back."""

    at: Instant
    mono: Seconds = 0.0

    def wall(self) -> Instant:
        return self.at

    def elapsed(self) -> Seconds:
        return self.mono


def a_watch(
    clock: SteeredClock,
    target: Target,
    campaigns: Mapping[str, CampaignStatus] | None = None,
    status: EnvironmentStatus | None = None,
) -> EnvironmentState:
    """Return a watch over one campaign that has just started."""
    settings = some_settings(target)
    known = status or EnvironmentStatus(name=target.environment)
    watch = EnvironmentState(settings, clock, nothing_saved, known, dict(campaigns or {}))
    list(watch.configure(settings))
    return watch


def nothing_saved(_change: Change) -> None:
    """Keep nothing: the test hands on what is to be remembered."""


def board_of(watch: EnvironmentState) -> EnvironmentSnapshot:
    """Return the watch's environment as it is known now, as its poller gives it."""
    interval = watch.settings.context_at(watch.pace).effective_interval
    return EnvironmentSnapshot(
        now=watch.now(),
        status=watch.status,
        rules=watch.settings.environment.resolved.rules,
        findings=watch.findings,
        campaigns=dict(watch.entries),
        interval_seconds=interval,
        stale_after=STALE_AFTER_INTERVALS * interval,
        idle_stale_after=STALE_AFTER_INTERVALS * watch.settings.polling.idle_interval,
    )


def compare(watch: EnvironmentState, campaign_id: str, decided: Findings | None) -> None:
    """Assert that both views say what was `decided` of a campaign; None: nothing so far."""
    snapshot = board_of(watch)
    entry = snapshot.campaigns[campaign_id]
    expected = None if decided is None else _as_of_now(snapshot, entry.status, decided)
    whole = Snapshot({watch.name: snapshot}, snapshot.now)
    listed = json.loads(as_json(serializers.campaigns_page(whole)))
    (campaign,) = (one for one in listed["campaigns"] if one["campaign_id"] == campaign_id)
    said = campaign["findings"]
    assert said == (None if expected is None else [_as_json(*item) for item in expected.items()])
    alerts = {alert["rule"]: alert for alert in campaign["alerts"]}
    assert alerts.keys() == {active.alert.rule for active in entry.active_alerts()}
    if campaign["health"] == "unknown":
        assert all(one["verdict"] != "healthy" for one in said or ())
    _compare_explanation(snapshot, entry, expected or {})
    page = " ".join(html.unescape(overview_page(whole, "1").decode()).split())
    if expected is None:
        assert "not read" in page or "the last poll failed" in page
    for rule, finding in (expected or {}).items():
        summary, shown = serializers.text(finding.summary), _as_json(rule, finding)
        if finding.verdict is Verdict.UNHEALTHY:
            assert alerts[rule]["summary"] == shown["summary"]
            assert alerts[rule]["evidence"] == shown["evidence"]
            assert f'class="summary">{summary}<' in page
        elif rule in alerts:
            assert serializers.text(f"By now {finding.verdict}: {finding.summary}") in page
        elif finding.verdict is Verdict.UNKNOWN and finding.summary not in (NO_CONFIG, NOT_OURS):
            assert summary in page or 'class="quiet healthy"' not in page


def _compare_explanation(snapshot: EnvironmentSnapshot, entry: Entry, expected: Findings) -> None:
    """Assert that an explanation has what was decided, and word for word what an event says.

    So has the campaign's page, and nothing else in place of it.
    """
    explained = explain(snapshot, entry, lambda *_: "")
    detail = serializers.campaign_detail(snapshot, entry, lambda *_: "", [], None)
    page = html.unescape(campaign_page(detail, "1").decode())
    page = page.replace('<li class="do">', "<li>")
    shown_parts = [(one["title"], tuple(one["lines"])) for one in to_json(detail)["explanation"]]
    assert shown_parts == [
        (clean(one.title, 512), tuple(clean(each, 512) for each in one.lines)) for one in explained
    ]
    for title, lines in shown_parts:
        said_on_page = "\n".join(
            [f"<h2>{title}</h2>", "<ul>", *(f"<li>{one}</li>" for one in lines)]
        )
        assert said_on_page in page
    said = {one.title.partition(":")[0]: one for one in explained}
    assert said["Campaign"].state == snapshot.health(entry)
    assert said.keys() >= entry.target.rules.keys()
    active = {alert.rule: rule for alert, rule, _ in entry.active_alerts()}
    source = EventSource(entry.target.environment, entry.labels, snapshot.now)
    for name, rule in active.items():
        event = standing_event(entry.status.alerts[name], rule, source)
        shown = [f"{key} {value}" for key, value in event.evidence.items()]
        evidence = [f"evidence: {'; '.join(shown)}"] if shown else []
        assert {event.summary, f"next: {event.next_step}", *evidence} <= {*said[name].lines}
    for name, finding in expected.items():
        if name not in active:
            assert (said[name].state, said[name].lines[0]) == (finding.verdict, finding.summary)


def compare_event(watch: EnvironmentState, campaign_id: str, event: Event) -> None:
    """Assert that `explain` says of an alert what on-call was just notified of, word for word."""
    snapshot = board_of(watch)
    explained = explain(snapshot, snapshot.campaigns[campaign_id], lambda *_: "")
    (said,) = (one for one in explained if one.title.partition(":")[0] == event.rule)
    if event.status is not EventStatus.RESOLVED:
        evidence = "; ".join(f"{key} {value}" for key, value in event.evidence.items())
        expected = {event.summary, f"next: {event.next_step}"}
        assert expected | ({f"evidence: {evidence}"} if evidence else set()) <= {*said.lines}
        assert said.title == f"{event.rule}: firing ({event.severity})"
        assert event.impact is None or event.impact in explained[0].lines
    elif event.reason == "muted":
        # Of what it says, the event is what on-call knows; the explanation may have newer evidence.
        assert said.title.startswith(f"{event.rule}: muted by {event.muted_by} (")
    else:
        assert said.state in (Verdict.HEALTHY, Verdict.UNKNOWN)
        assert event.summary in said.lines or said.state is Verdict.UNKNOWN


def compare_gauge(watch: EnvironmentState, campaign_id: str, decided: Findings) -> None:
    """Assert that `stale_test` is foretold for the instant for which it was decided."""
    finding = decided.get("stale_test")
    if finding is not None and finding.verdict is not Verdict.UNKNOWN:
        instant = finding.since if finding.verdict is Verdict.UNHEALTHY else finding.recheck_at
        values = campaign_values(watch.entries[campaign_id])
        assert values.get("sftp_test_stale_timestamp_seconds") == instant


def compare_environment(watch: EnvironmentState, decided: Findings | None) -> None:
    """Assert that the API says what the environment's own rules were decided to say."""
    said = serializers.environment(board_of(watch)).findings
    found = None if said is None else {one.rule: (one.verdict, one.summary) for one in said}
    assert found == (
        None
        if decided is None
        else {rule: (one.verdict, one.summary) for rule, one in decided.items()}
    )


def _as_of_now(snapshot: EnvironmentSnapshot, known: CampaignStatus, decided: Findings) -> Findings:
    """Return what is left to say: without evidence that counts, nothing is healthy."""
    read, limit = known.last_known.last_read_at, snapshot.stale_after
    if snapshot.campaigns[known.campaign_id].target.muted_status is not None:
        limit = snapshot.idle_stale_after
    counts = read is not None and -limit <= snapshot.now - read <= limit
    if counts and known.error is None and not snapshot.status.breaker_open:
        return decided
    said = f"not read since {rfc3339(known.polled_at or 0.0)}; it was healthy then"
    return {
        rule: Finding(Verdict.UNKNOWN, said, one.evidence, one.since, one.recheck_at)
        if one.verdict is Verdict.HEALTHY
        else one
        for rule, one in decided.items()
    }


def _as_json(rule: str, finding: Finding) -> dict[str, Any]:
    answer = FindingAnswer(
        rule=rule,
        meaning=RULES[rule].meaning,
        verdict=finding.verdict,
        summary=finding.summary,
        evidence=finding.evidence,
        since=finding.since,
        recheck_at=finding.recheck_at,
    )
    return cast(dict[str, Any], to_json(answer))
