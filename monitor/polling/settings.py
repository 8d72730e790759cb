"""What an environment is polled under: the clocks, its part of the config, its API and token."""

from collections.abc import Callable, Mapping
from dataclasses import InitVar, dataclass, field
from functools import cached_property
from typing import Protocol

import structlog

from monitor.config import AlertsConfig, EnvironmentConfig, Polling, SecretError, sharing, targets
from monitor.core.attempt import TestAnswer
from monitor.core.budget import Budget, effective_interval
from monitor.core.discovery import TargetSet
from monitor.core.environment import EnvironmentContext
from monitor.core.model import Answer, Instant, PageAnswer, Seconds
from monitor.core.rule import Target
from monitor.core.schedule import PollIntervals

log = structlog.get_logger()


class Clock(Protocol):
    """Both clocks: `wall` is seconds since the epoch, `elapsed` never jumps."""

    def wall(self) -> Instant:
        """Return the wall clock's instant."""

    def elapsed(self) -> Seconds:
        """Return the monotonic clock of the event loop, in seconds."""


class Api(Protocol):
    """The API of one environment, as far as a poller needs it."""

    async def fetch_sftp(self, campaign_id: str) -> Answer:
        """Return the answer for one campaign's SFTP config; a failure is an answer, too."""

    async def fetch_campaigns(self, page: int) -> PageAnswer:
        """Return the answer for a page of the listing of all campaigns, from 1; likewise."""

    async def run_test(self, campaign_id: str, within: Seconds) -> TestAnswer:
        """Return the answer to a connection test of one campaign, sent once."""

    def set_token(self, token: str) -> None:
        """Use this token from the next request on."""

    async def aclose(self) -> None:
        """Close the connections."""


class Environments(Protocol):
    """The environments of this process. What a call was cancelled in, another one may end."""

    async def take_over(self, name: str, fence: str) -> None:
        """Load one and start to poll it: of many, all at once. Raises StorageError."""

    async def hand_over(self, name: str) -> None:
        """Stop polling it, commit, end the delivery under way, forget it. Raises StorageError."""

    def suspend(self, name: str) -> None:
        """Stop it at once: nothing is written or sent any more; views keep what is known."""

    async def bury(self, name: str, fence: str) -> None:
        """Resolve the alerts of one that no config has any more, and delete its row. Likewise."""


@dataclass(frozen=True)
class Settings:
    """An environment's part of the config, replaced whole by a reload; `targets` follow from it.

    `target_set` is what its listings came to: each replaces it. Targets that are as in `known` are
    the very same.
    """

    environment: EnvironmentConfig
    polling: Polling
    alerts: AlertsConfig
    target_set: TargetSet = TargetSet()
    known: InitVar[Mapping[str, Target] | None] = None
    targets: Mapping[str, Target] = field(init=False)
    _contexts: dict[float, EnvironmentContext] = field(
        init=False, repr=False, compare=False, default_factory=dict
    )

    def __post_init__(self, known: Mapping[str, Target] | None) -> None:
        # At once: whatever can fail of a config fails before anything of it is in force.
        found = self.environment.resolved.targets
        if self.discovers:
            found = sharing(targets(self.environment, self.target_set), known or {})
        object.__setattr__(self, "targets", found)

    @property
    def discovers(self) -> bool:
        """True where campaigns are found by listing them."""
        return self.environment.discovery.enabled

    @property
    def knows_nobody_else(self) -> bool:
        """True while no listing has shown who is there beside the campaigns of the file."""
        return self.discovers and not self.target_set.campaigns

    @cached_property
    def tests_on(self) -> bool:
        """True where connection tests are on for one of the campaigns at least."""
        return any(target.tests.enabled for target in self.targets.values())

    @cached_property
    def notified(self) -> int:
        """Of how many campaigns on-call is notified; the others are polled now and then."""
        return sum(target.muted_status is None for target in self.targets.values())

    @cached_property
    def intervals(self) -> PollIntervals:
        """How often to poll a campaign, as far as the whole budget allows."""
        # While that is throttled polls run late, evenly; they are back in their slots after it.
        # A budget that is too small stretches all intervals alike.
        stretch = self.unthrottled.effective_interval / self.polling.interval
        return PollIntervals(
            interval=self.polling.interval * stretch,
            stretched=stretch > 1,
            unhealthy_interval=self.polling.unhealthy_interval * stretch,
            idle_interval=self.polling.idle_interval,
        )

    def plans_as(self, before: "Settings") -> bool:
        """Return whether campaigns that have not changed are polled when they were to be."""
        budgets = (one.environment.budget_per_minute for one in (self, before))
        return len({*budgets}) == 1 and self.intervals == before.intervals

    @property
    def unthrottled(self) -> EnvironmentContext:
        """What a decision on the environment depends on while the whole budget may be spent."""
        return self.context_at(Budget(self.environment.budget_per_minute, 0.0).pace(0.0))

    def context_at(self, pace: float) -> EnvironmentContext:
        """Return what a decision on the environment depends on, at so many calls a minute."""
        # The pace hardly ever changes: to evaluate nothing anew it is the very same context then.
        if pace not in self._contexts:
            self._contexts.clear()
            self._contexts[pace] = self._context_at(pace)
        return self._contexts[pace]

    def _context_at(self, pace: float) -> EnvironmentContext:
        polling, notified, idle = self.polling, self.notified, len(self.targets) - self.notified
        interval = effective_interval(pace, notified, polling.interval, idle, polling.idle_interval)
        return EnvironmentContext(
            campaigns=len(self.targets),
            notified=notified,
            effective_interval=interval,
            unreadable_after=self.environment.resolved.unreadable_after,
            discovery_every=self.environment.discovery.every,
            rules=self.environment.resolved.rules,
            labels=self.environment.alert_labels,
            targets=self.targets.values(),
            remind_every=self.alerts.remind_every,
        )


# Makes an environment's API client, of its part of the config and the token.
Connect = Callable[[Settings, str], Api]


class Connection:
    """An environment's API and token under one config; `generation` counts reads of the token."""

    def __init__(self, settings: Settings, connect: Connect) -> None:
        """Read the token and connect with it. Raises SecretError or ValueError."""
        self.settings = settings
        self.token = settings.environment.token_source.read()
        self.generation = 0
        self.api = connect(settings, self.token)

    def read_again(self) -> None:
        """Read the token again, after it was rejected; the same one counts as read, too."""
        # The breaker waits for a 401 to a later generation, be it of the same token.
        if not self.token_changed():
            self.generation += 1

    def token_changed(self) -> bool:
        """Use another token if its source has one by now; a broken file keeps the old one."""
        environment = self.settings.environment
        try:
            token = environment.token_source.read()
        except SecretError as error:
            log.warning("token_unreadable", environment=environment.name, problem=str(error))
            return False
        if token == self.token:
            return False
        self.token = token
        self.generation += 1
        self.api.set_token(token)
        log.info("token_changed", environment=environment.name)
        return True
