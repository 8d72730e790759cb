"""What an environment is polled under: the clocks, its part of the config, whom to watch."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from monitor.config import AlertsConfig, EnvironmentConfig, Polling, targets
from monitor.core.discovery import Roster
from monitor.core.model import Instant, Seconds
from monitor.core.rule import Target


class Clock(Protocol):
    """Both clocks: `wall` is seconds since the epoch, `elapsed` never jumps."""

    def wall(self) -> Instant:
        """Return the wall clock's instant."""

    def elapsed(self) -> Seconds:
        """Return the monotonic clock of the event loop, in seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """An environment's part of the config, replaced whole by a reload, and its campaigns by id.

    `roster` is what its listings came to; a listing replaces it. `targets` follow from both; of
    `told` of them on-call is told, the others are polled now and then.
    """

    environment: EnvironmentConfig
    polling: Polling
    alerts: AlertsConfig
    roster: Roster = Roster()
    targets: Mapping[str, Target] = field(init=False)
    told: int = field(init=False)

    def __post_init__(self) -> None:
        explicit = self.environment.resolved.targets
        found = targets(self.environment, self.roster) if self.discovers else explicit
        object.__setattr__(self, "targets", found)
        told = sum(target.muted_status is None for target in found.values())
        object.__setattr__(self, "told", told)

    @property
    def discovers(self) -> bool:
        """True where campaigns are found by listing them."""
        return self.environment.discovery.enabled

    @property
    def knows_nobody_else(self) -> bool:
        """True while no listing has told who is there beside the campaigns of the file."""
        return self.discovers and not self.roster.campaigns
