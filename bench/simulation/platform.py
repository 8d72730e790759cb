"""The platform: what is true of every campaign, and how badly its API tells it."""

from dataclasses import dataclass, field, replace
from math import floor
from random import Random

from monitor.core.model import (
    DAY,
    HOUR,
    Answer,
    NoConfig,
    Observation,
    PollError,
    RateHint,
    Reason,
    Seconds,
    SftpConfig,
)
from simulation.clocks import Clocks
from support.virtual import config

CAMPAIGNS = {"alpha": ("a-1", "a-2", "a-3"), "beta": ("b-1", "b-2")}
"""Two environments: one where 403 for all is the environment's matter, one too small for that."""

SILENT = (Reason.TIMEOUT, Reason.CONNECT_ERROR, Reason.HTTP_5XX, Reason.BAD_CONTENT_TYPE)
"""Troubles in which nothing comes from the API itself, and so no `Date`."""

TIMEOUT: Seconds = 10.0
"""How long a call takes that is given up: the default of `polling.timeout`."""

NO_DATE = (*SILENT, Reason.CACHED)
"""Troubles in which no answer says what time it is."""

NOISE = (*NO_DATE, Reason.MALFORMED, Reason.SCHEMA_MISMATCH, Reason.WRONG_CAMPAIGN)
"""What may happen to any call, by chance."""


@dataclass
class Trouble:
    """What goes wrong with calls until `until`, on the monotonic clock."""

    reason: Reason | None = None
    until: Seconds = 0.0
    pause: Seconds | None = None

    def now(self, elapsed: Seconds) -> Reason | None:
        """Return what goes wrong now, if anything does."""
        return self.reason if elapsed < self.until else None


@dataclass
class Campaign:
    """What is true of a campaign. Without a config its answer is `data: null`, or else a 404."""

    config: SftpConfig
    there: bool = True
    null: bool = False
    made: int = 1
    trouble: Trouble = field(default_factory=Trouble)

    def observation(self) -> Observation:
        """Return what an answer without trouble says."""
        return self.config if self.there else NoConfig(by_404=not self.null)


@dataclass
class ApiState:
    """How one environment's API is: its trouble, its `Date`s, what it says of its rate limit."""

    trouble: Trouble = field(default_factory=Trouble)
    dates: bool = True
    date_errors: tuple[Seconds, ...] = (0.0,)
    rate: RateHint | None = None


class Platform:
    """Both environments; all chance comes from one seeded generator."""

    def __init__(self, clocks: Clocks, seed: int) -> None:
        self.noise = 0.02
        self.apis = {environment: ApiState() for environment in CAMPAIGNS}
        self._clocks = clocks
        self._random = Random(f"{seed} platform")
        now = clocks.truth()
        self.campaigns = {
            key: Campaign(
                config(
                    key,
                    now,
                    last_test_at=now - self._random.uniform(0, 4 * HOUR),
                    created_at=now - 9 * DAY,
                    username=key,
                )
            )
            for keys in CAMPAIGNS.values()
            for key in keys
        }

    def latency(self, environment: str, key: str) -> Seconds:
        """Return how long a call will take."""
        if self._trouble(environment, key) is Reason.TIMEOUT:
            return TIMEOUT
        return self._random.uniform(0.05, 1.5)

    def answer(self, environment: str, key: str) -> Answer:
        """Return what a call is told now."""
        api = self.apis[environment]
        reason = self._trouble(environment, key)
        if reason is None and self._random.random() < self.noise:
            reason = self._random.choice(NOISE)
        error = self._random.choice(api.date_errors)
        date = floor(self._clocks.truth() + error) if api.dates else None
        if reason in NO_DATE:
            return Answer(PollError(reason))
        if reason is not None:
            pause = api.trouble.pause if reason is Reason.RATE_LIMITED else None
            return Answer(PollError(reason), server_date=date, pause=pause)
        observation = self.campaigns[key].observation()
        return Answer(observation, server_date=date, rate=api.rate)

    def change(self, key: str, **changes: object) -> None:
        """Change a campaign's config."""
        campaign = self.campaigns[key]
        campaign.config = replace(campaign.config, **changes)  # type: ignore[arg-type]

    def recreate(self, key: str) -> None:
        """Make the config anew: switched off and never tested, under another id."""
        campaign, now = self.campaigns[key], self._clocks.truth()
        campaign.there, campaign.made = True, campaign.made + 1
        campaign.config = config(
            key,
            now,
            id=f"config-{campaign.made}-of-{key}",
            is_enabled=False,
            last_test_at=None,
            last_test_success=None,
            created_at=now,
            username=key,
        )

    def _trouble(self, environment: str, key: str) -> Reason | None:
        elapsed = self._clocks.elapsed()
        own = self.campaigns[key].trouble.now(elapsed)
        return self.apis[environment].trouble.now(elapsed) or own
