"""Alerts as timelines: a string of polls goes in, what on-call was told comes out.

`notified("xx?x..") == [(0, "fired"), (4, "resolved")]`: one character a poll, one poll a minute.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from monitor.core import assess
from monitor.core.assess import Decision
from monitor.core.model import (
    MINUTE,
    Event,
    EventStatus,
    Instant,
    NoConfig,
    Observation,
    PollError,
    Reason,
    Seconds,
    Severity,
)
from monitor.core.rule import Target
from monitor.core.status import OURS, Ahead, Alert, AlertState, CampaignStatus, EnvironmentStatus
from support.builders import NOW, a_config, a_target, an_untested_config, only

SIGNS: Mapping[str, Observation] = {
    "x": a_config(last_test_success=False),
    ".": a_config(),
    "?": PollError(Reason.TIMEOUT),
    "o": a_config(last_test_success=False, is_enabled=False),
    "-": NoConfig(),
    "h": a_config(last_test_success=None),
    "n": an_untested_config(),
}
"""x: the last test failed; .: it passed; ?: no answer; o: it failed, and the config is switched
off; -: there is no config; h: half the record of a test is there; n: never tested."""

NEVER: Mapping[Severity, Seconds] = {}
"""No reminders."""

WORDS = {
    EventStatus.FIRING: "fired",
    EventStatus.REMINDER: "reminded",
    EventStatus.UPDATED: "updated",
}


class WatchedCampaign:
    """A campaign whose status is carried from decision to decision, as the daemon does."""

    def __init__(
        self, target: Target | None = None, remind_every: Mapping[Severity, Seconds] = NEVER
    ) -> None:
        self.target = target or a_target()
        self.status = CampaignStatus(
            environment=self.target.environment, campaign_id=self.target.campaign_id
        )
        self.remind_every = remind_every
        self.events: list[Event] = []

    def poll(
        self,
        observation: Observation | str,
        now: Instant,
        environment_alert: str | None = None,
        others_read_at: Instant | None = None,
        ahead: Ahead = OURS,
    ) -> tuple[Event, ...]:
        """Decide on an observation (or a sign of `SIGNS`) made at `now`."""
        name, alerts = self.target.environment, dict[str, Alert]()
        if environment_alert is not None:
            firing = Alert(rule=environment_alert, state=AlertState.FIRING)
            alerts[environment_alert] = firing
        if isinstance(observation, str):
            observation = SIGNS[observation]
        return self._take(
            assess.assess(
                self.status,
                self.target,
                observation,
                now,
                remind_every=self.remind_every,
                environment=EnvironmentStatus(name=name, alerts=alerts),
                others_read_at=others_read_at,
                ahead=ahead,
            )
        )

    def reload(self, target: Target, now: Instant) -> tuple[Event, ...]:
        """Take a changed config."""
        self.target = target
        return self._take(assess.reconcile(self.status, target, now))

    def restart(self, now: Instant) -> tuple[Event, ...]:
        """Forget what is not stored, and start again with the same config."""
        self.status = replace(self.status, failures=None)
        return self.reload(self.target, now)

    def remove(self, reason: str, now: Instant) -> tuple[Event, ...]:
        """Watch it no longer; a tombstone is left."""
        return self._take(assess.reconcile(self.status, None, now, reason))

    def _take(self, decision: Decision) -> tuple[Event, ...]:
        self.status = decision.status
        self.events += decision.events
        return decision.events


def told(
    timeline: str,
    rule: str = "failed_test",
    *,
    remind_every: Mapping[Severity, Seconds] = NEVER,
    **settings: Any,
) -> list[tuple[int, str]]:
    """Return what on-call was told of one rule, the only one there is: (poll, what)."""
    campaign = WatchedCampaign(a_target(only(rule, **settings)), remind_every)
    return [(poll, what) for poll, _, what in told_of_all(timeline, campaign)]


def told_of_all(timeline: str, campaign: WatchedCampaign) -> list[tuple[int, str, str]]:
    """Return what on-call was told of every rule of a campaign: (poll, rule, what)."""
    return [
        (poll, event.rule, in_a_word(event))
        for poll, sign in enumerate(timeline)
        for event in campaign.poll(sign, NOW + poll * MINUTE)
    ]


def in_a_word(event: Event) -> str:
    """Return what an event says: fired, reminded, updated, resolved, or muted by whom."""
    if event.status is not EventStatus.RESOLVED:
        return WORDS[event.status]
    if event.reason == "recovered":
        return "resolved"
    return f"muted by {event.muted_by}" if event.muted_by else f"resolved: {event.reason}"
