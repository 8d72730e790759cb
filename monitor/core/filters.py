"""Which campaigns and alerts are asked for: the filters of the page, the JSON API and `check`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from monitor.core.snapshot import ActiveAlert, Entry, EnvironmentSnapshot, worst_firing


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """What campaigns must be like, all of it at once; what is empty asks for nothing.

    `q` is a part of the name, the id or the host, in any case of its letters. `rule` has an active
    alert: pending, firing or muted. `health` is one of several.
    """

    q: str = ""
    health: Sequence[str] = ()
    environment: str = ""
    rule: str = ""
    host: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)

    def pairs(self) -> list[tuple[str, str]]:
        """Return what is asked for as the names and values of a query, such as `label.team`."""
        single = ((name, getattr(self, name)) for name in ("q", "environment", "rule", "host"))
        return [
            *((name, value) for name, value in single if value),
            *(("health", health) for health in self.health),
            *((f"label.{name}", value) for name, value in self.labels.items()),
        ]

    def takes(self, environment: EnvironmentSnapshot, entry: Entry) -> bool:
        """Return whether a campaign is asked for."""
        target, config = entry.target, entry.status.last_known.config
        host = config.host if config else ""
        return (
            self._fits(environment, target.labels, target.name, target.campaign_id, host)
            and self.host in ("", host)
            and (not self.rule or any(a.alert.rule == self.rule for a in entry.active_alerts()))
            and (not self.health or environment.health(entry) in self.health)
        )

    def takes_alert(
        self, environment: EnvironmentSnapshot, entry: Entry | None, active: ActiveAlert
    ) -> bool:
        """Return whether an alert is asked for: its campaign must be, or (no entry) itself."""
        if self.rule not in ("", active.alert.rule):
            return False
        if entry is not None:
            return self.takes(environment, entry)
        fits = self._fits(environment, environment.labels.labels, environment.status.name)
        return fits and not self.host and (not self.health or worst_firing([active]) in self.health)

    def _fits(
        self, environment: EnvironmentSnapshot, labels: Mapping[str, str], *texts: str
    ) -> bool:
        part = self.q.casefold()
        return (
            self.environment in ("", environment.status.name)
            and (not part or any(part in text.casefold() for text in texts))
            and self.labels.items() <= labels.items()
        )
