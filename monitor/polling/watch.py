"""What one environment knows, and what it makes of an answer. Synchronous: nothing awaits here.

So a poll happened whole or not at all, whatever is cancelled when.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

import structlog

from monitor.adapters.store import Change
from monitor.config import AlertsConfig, EnvironmentConfig, Polling
from monitor.core import assess, environment, environment_rules
from monitor.core.assess import Cadence
from monitor.core.board import Entry
from monitor.core.budget import Budget, effective_interval
from monitor.core.environment import Call
from monitor.core.environment_rules import Facts
from monitor.core.events import in_telling_order
from monitor.core.model import (
    Answer,
    Event,
    Finding,
    Instant,
    Observation,
    PollError,
    Reason,
    Seconds,
)
from monitor.core.rule import Target
from monitor.core.schedule import Priority
from monitor.core.status import CampaignStatus, EnvironmentStatus
from monitor.core.text import rfc3339

STEP: Seconds = 2.0
"""From here on a difference between the wall clock and the monotonic one is a step."""

log = structlog.get_logger()


class Clock(Protocol):
    """Both clocks: `wall` is seconds since the epoch, `elapsed` never jumps."""

    def wall(self) -> Instant:
        """Return the wall clock's instant."""

    def elapsed(self) -> Seconds:
        """Return the monotonic clock of the event loop, in seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """An environment's part of the config; replaced whole by a reload."""

    environment: EnvironmentConfig
    polling: Polling
    alerts: AlertsConfig

    @property
    def targets(self) -> Mapping[str, Target]:
        """The campaigns by id."""
        return self.environment.campaigns

    @property
    def interval(self) -> Seconds:
        """The sweep time that the budget really gives, in seconds."""
        budget = Budget(self.environment.budget_per_minute, 0.0)
        return effective_interval(budget, len(self.targets), self.polling.interval)

    @property
    def facts(self) -> Facts:
        """What the environment's rules need to know."""
        after = self.environment.unreadable_after
        return Facts(len(self.targets), self.interval, after)


def removal(status: EnvironmentStatus, campaigns: Iterable[CampaignStatus], now: Instant) -> Change:
    """Return what is left, and what is to be told, of an environment that is no longer watched."""
    why = "environment_removed"
    after, events = environment_rules.reconcile_environment(status, {}, now, {}, why)
    left = EnvironmentStatus(name=status.name, alerts=after.alerts)
    tombstones, told = [], list(events)
    for campaign in campaigns:
        target = Target(environment=status.name, campaign_id=campaign.campaign_id)
        decision = assess.remove(campaign, target, why, now)
        tombstones.append(decision.status)
        told += decision.events
    return Change(campaigns=tuple(tombstones), environments=(left,), events=tuple(told))


class Watch:
    """All that is known about one environment and its campaigns."""

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        save: Callable[[Change], None],
        status: EnvironmentStatus,
        campaigns: Mapping[str, CampaignStatus],
    ) -> None:
        """Continue from what is remembered; every change goes to `save`, events in it."""
        self.settings = settings
        self.status = status
        self.campaigns = dict(campaigns)
        self.unswept = set(settings.targets)
        self._clock = clock
        self._save = save
        self._offset = clock.wall() - clock.elapsed()

    @property
    def name(self) -> str:
        """The environment's name."""
        return self.status.name

    def now(self) -> Instant:
        """Return *now* as this environment's rules take it: smooth over steps of our own clock."""
        wall = self._clock.wall()
        offset = wall - self._clock.elapsed()
        step, self._offset = offset - self._offset, offset
        if abs(step) > STEP:
            log.warning("clock_stepped", environment=self.name, seconds=round(step))
            self.status = environment.clock_stepped(self.status, step)
        return environment.corrected_now(self.status, wall)

    def entry(self, key: str) -> Entry:
        """Return a campaign as the board shows it."""
        return Entry(self.settings.targets[key], self._status_of(key))

    # -- the config ------------------------------------------------------------------------

    def configure(self, settings: Settings) -> None:
        """Take a config, new or changed, and reconcile what is remembered with it."""
        self.settings = settings
        self.unswept = set(settings.targets)
        self.status = environment.of_campaigns(self.status, settings.targets)
        now = self.now()
        for key, before in list(self.campaigns.items()):
            if key not in settings.targets:
                self._forget(key, now)
                continue
            decision = assess.reconcile(before, settings.targets[key], now)
            if decision.status != before:
                self.campaigns[key] = decision.status
                self._save(Change(campaigns=(decision.status,), events=decision.events))
        self._reconcile_environment(now)

    def remove(self) -> None:
        """Tell that the environment is no longer watched: whatever was told of it is resolved."""
        self._save(removal(self.status, self.campaigns.values(), self.now()))

    def _forget(self, key: str, now: Instant) -> None:
        # What is left is a tombstone, kept so that its numbering goes on if it comes back.
        before = self.campaigns[key]
        target = Target(environment=self.name, campaign_id=key)
        decision = assess.remove(before, target, "campaign_removed", now)
        if decision.status != before:
            self.campaigns[key] = decision.status
            self._save(Change(campaigns=(decision.status,), events=decision.events))

    def _reconcile_environment(self, now: Instant) -> None:
        before, config = self.status, self.settings.environment
        self.status, events = environment_rules.reconcile_environment(
            before, config.rules, now, config.labels
        )
        if self.status != before:
            self._save(Change(environments=(self.status,), events=events))

    # -- an answer -------------------------------------------------------------------------

    def decide(self, key: str, answer: Answer, token_generation: int) -> None:
        """Take an answer: the breaker first, then the campaign, then what is to be told."""
        target = self.settings.targets.get(key)
        if target is None:
            return
        now, observation = self._observe(key, answer, token_generation)
        events = self._assess_environment(now)
        if self.status.breaker_open and isinstance(observation, PollError):
            # The breaker's business, not the campaign's: one outage, one page.
            self._save(Change(environments=(self.status,), events=events))
            return
        before = self._status_of(key)
        decision = assess.assess(
            before,
            target,
            observation,
            now,
            remind_every=self.settings.alerts.remind_every,
            environment_alert=environment_rules.firing_alert(self.status),
        )
        self._log_change(before, decision.status, decision.findings)
        self.campaigns[key] = decision.status
        self._sweep(key, now)
        told = in_telling_order([*events, *decision.events])
        self._save(Change(campaigns=(decision.status,), environments=(self.status,), events=told))

    def _observe(
        self, key: str, answer: Answer, token_generation: int
    ) -> tuple[Instant, Observation]:
        self.now()
        before, count = self.status, len(self.settings.targets)
        dated = environment.with_server_date(before, answer.server_date, self._clock.wall())
        self.status = dated
        now = self.now()
        observation = environment.interpret(dated, answer.observation, count)
        call = Call(key, observation, token_generation)
        self.status = environment.observe(dated, call, count, now)
        self._log_environment(before, self.status)
        return now, observation

    def _assess_environment(self, now: Instant) -> tuple[Event, ...]:
        self.status, events = environment_rules.assess_environment(
            self.status,
            self.settings.environment.rules,
            self.settings.facts,
            now,
            labels=self.settings.environment.labels,
            remind_every=self.settings.alerts.remind_every,
        )
        return events

    def _sweep(self, key: str, now: Instant) -> None:
        self.unswept.discard(key)
        if not self.unswept:
            self.status = replace(self.status, swept_at=now)
            self.unswept = set(self.settings.targets)

    # -- when to look again ----------------------------------------------------------------

    def next_poll(self, key: str) -> tuple[Instant, Priority] | None:
        """Return when to look at a campaign again, and why; None: never polled, at once."""
        settings = self.settings
        cadence = Cadence(
            interval=settings.interval,
            unhealthy_interval=settings.polling.unhealthy_interval,
        )
        return assess.next_poll(self._status_of(key), settings.targets[key], cadence)

    def probe_at_once(self) -> None:
        """Have the next probe due at once: there is reason to hope."""
        self.status = replace(self.status, called_at=None)

    def next_probe(self) -> Instant:
        """Return when the open breaker lets its next probe through."""
        polling = self.settings.polling
        return environment_rules.next_probe(
            self.status,
            self.settings.environment.rules,
            self.settings.facts,
            polling.probe_interval,
            polling.token_probe_interval,
        )

    # -- details ---------------------------------------------------------------------------

    def _status_of(self, key: str) -> CampaignStatus:
        status = self.campaigns.get(key)
        return status or CampaignStatus(environment=self.name, campaign_id=key)

    def _log_change(
        self, before: CampaignStatus, after: CampaignStatus, findings: Mapping[str, Finding]
    ) -> None:
        """Log changes, not states: the first failure of its kind, and the recovery."""
        known = {"environment": self.name, "campaign_id": after.campaign_id}
        was = before.error.reason if before.error else None
        error = after.error
        if error is not None and error.reason is not was:
            say = log.error if error.reason is Reason.WRONG_CAMPAIGN else log.warning
            say("poll_failed", **known, reason=error.reason.value, detail=error.detail)
        elif error is None and was is not None:
            log.info("poll_recovered", **known, after=was.value)
        for rule, finding in findings.items():
            if finding.evidence.get("reason") == Reason.INTERNAL_ERROR:
                log.error("rule_broke", **known, rule=rule, detail=finding.summary)

    def _log_environment(self, before: EnvironmentStatus, after: EnvironmentStatus) -> None:
        if before.breaker_open != after.breaker_open:
            reason = after.rejected_by or after.outage_reason
            if after.breaker_open:
                log.warning("breaker_opened", environment=self.name, reason=str(reason))
            else:
                since = before.outage_at or before.rejected_at or 0.0
                log.info("breaker_closed", environment=self.name, opened_at=rfc3339(since))
        if before.corrected != after.corrected:
            log.warning("clock_corrected", environment=self.name, by_api=after.corrected)
