"""An environment whose status is carried from call to call, as the daemon does."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from monitor.core.assess import assess_environment, reconcile_environment
from monitor.core.environment import Call, EnvironmentContext, Evaluated, interpret
from monitor.core.environment_rules import ENVIRONMENT_RULES
from monitor.core.model import (
    MINUTE,
    AlertLabels,
    Event,
    Instant,
    Observation,
    PollError,
    Reason,
    Seconds,
)
from monitor.core.rule import RemindEvery, resolve_rules
from monitor.core.status import EnvironmentStatus
from support.builders import NOW, a_config

Outcome = Observation | Reason

LABELS = AlertLabels(labels={"team": "sre"})


def facts_of(
    campaigns: int,
    notified: int | None = None,
    effective_interval: Seconds = 5 * MINUTE,
    remind_every: RemindEvery | None = None,
    rules: Mapping[str, Mapping[str, Any]] | None = None,
) -> EnvironmentContext:
    """Return what a decision depends on; `notified` None: on-call is notified of all campaigns."""
    return EnvironmentContext(
        campaigns=campaigns,
        notified=campaigns if notified is None else notified,
        effective_interval=effective_interval,
        unreadable_after=15 * MINUTE,
        rules=resolve_rules(ENVIRONMENT_RULES, rules or {}),
        labels=LABELS,
        remind_every=remind_every or {},
    )


class WatchedEnvironment:
    """The breaker of an environment with so many campaigns, and what is told of it."""

    def __init__(
        self,
        campaigns: int = 10,
        rules: Mapping[str, Mapping[str, Any]] | None = None,
        effective_interval: Seconds = 5 * MINUTE,
        notified: int | None = None,
    ) -> None:
        self.status = EnvironmentStatus(name="production")
        self.context = facts_of(campaigns, notified, effective_interval, rules=rules)
        self.events: list[Event] = []
        self.evaluated: Evaluated | None = None

    def call(
        self,
        outcome: Outcome,
        campaign_id: str = "c-1",
        *,
        at: Instant = NOW,
        generation: int = 0,
        notified: bool = True,
    ) -> tuple[Event, ...]:
        """Take the outcome of one call to the API, and decide what it means."""
        observation = PollError(outcome) if isinstance(outcome, Reason) else outcome
        observation = interpret(self.status, observation, self.context.campaigns)
        call = Call(campaign_id, observation, generation, notified)
        decided = assess_environment(self.status, call, self.context, at, self.evaluated)
        status, self.evaluated, events = decided
        return self._take((status, events))

    def calls(self, outcomes: Iterable[Outcome], *, at: Instant = NOW) -> None:
        """Take the outcomes of calls for one campaign after the other, a second apart."""
        for number, outcome in enumerate(outcomes):
            self.call(outcome, f"c-{number}", at=at + number)

    def is_open(self) -> bool:
        """Return whether the breaker is open."""
        return self.status.breaker_open

    def reload(
        self,
        rules: Mapping[str, Mapping[str, Any]] | None,
        now: Instant,
        gone: str | None = None,
    ) -> tuple[Event, ...]:
        """Take a changed config; None: the environment is not in it any more."""
        if rules is None:
            return self._take(reconcile_environment(self.status, None, now, gone))
        self.context = replace(self.context, rules=resolve_rules(ENVIRONMENT_RULES, rules))
        return self._take(reconcile_environment(self.status, self.context, now, gone))

    def _take(self, decided: tuple[EnvironmentStatus, tuple[Event, ...]]) -> tuple[Event, ...]:
        self.status, events = decided
        self.events += events
        return events


READ: Outcome = a_config()
"""The outcome of a call that read a config."""


def down(at: Instant = NOW) -> WatchedEnvironment:
    """Return an environment whose breaker opened at `at`, two seconds after the first failure."""
    environment = WatchedEnvironment()
    environment.calls([Reason.TIMEOUT] * 3, at=at - 2)
    return environment


def rejected(at: Instant = NOW) -> WatchedEnvironment:
    """Return an environment whose token was rejected for good at `at`."""
    environment = WatchedEnvironment()
    environment.call(Reason.UNAUTHORIZED, generation=0, at=at - 1)
    environment.call(Reason.UNAUTHORIZED, generation=1, at=at)
    return environment
