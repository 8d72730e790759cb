"""The config that the rest of the program sees: frozen, complete, checked. Spans are seconds."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypedDict

from monitor.config.kinds import CampaignStatus, CampaignType, LogFormat, LogLevel
from monitor.config.rule_settings import RuleSettings, key_of
from monitor.config.secrets import TokenSource
from monitor.core.environment_rules import EnvironmentRule
from monitor.core.identity import AlertLabels
from monitor.core.model import Seconds, Severity
from monitor.core.rule import Target


class Overrides(TypedDict, total=False):
    """What the flags of `run` say; None, or nothing, leaves the file's word."""

    listen_address: str | None
    log_level: str | None
    log_format: str | None
    state_path: str | Path | None
    external_url: str | None
    web_config_file: str | Path | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Polling:
    """How often the API is asked, in seconds; `concurrency` is per environment."""

    interval: Seconds
    unhealthy_interval: Seconds
    idle_interval: Seconds
    timeout: Seconds
    probe_interval: Seconds
    token_probe_interval: Seconds
    concurrency: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertsConfig:
    """How on-call is told. A span of 0 means never; `runbook_url` has `{rule}` in it.

    `file` gets the alert events, too; like the token's file it was put into the config's folder.
    """

    remind_every: Mapping[Severity, Seconds]
    heartbeat_every: Seconds
    runbook_url: str
    file: Path | None = None


@dataclass(frozen=True, slots=True)
class WebhookConfig:
    """A receiver of events. Of `url` only the origin may be shown; `secret` signs what is sent."""

    name: str
    url: str = field(repr=False)
    secret: TokenSource


@dataclass(frozen=True, slots=True)
class NotifyConfig:
    """Who is told beside the log: base URLs of Alertmanagers, webhooks, and files of URLs."""

    alertmanagers: tuple[str, ...] = ()
    webhooks: tuple[WebhookConfig, ...] = ()
    apprise: tuple[TokenSource, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricsConfig:
    """Which of the operator's labels go on the metrics of campaigns."""

    campaign_labels: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class WebConfig:
    """Where to listen: host empty = every interface, port 0 = any free one.

    `config_file` says who may come in: TLS and passwords.
    """

    listen_host: str
    listen_port: int
    allow_unauthenticated: bool
    external_url: str | None = None
    config_file: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StateConfig:
    """Where the database is, and how long the history is kept."""

    path: Path
    retention: Seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class LogConfig:
    """What is logged, and for whom."""

    level: LogLevel
    format: LogFormat


@dataclass(frozen=True, slots=True, kw_only=True)
class DiscoveryConfig:
    """Finding campaigns by listing them, every so many seconds.

    `include` and `exclude` match whole names. `only` is not of the file: `check --campaign` wants
    these ids and no others.
    """

    enabled: bool
    every: Seconds
    statuses: tuple[CampaignStatus, ...]
    include: tuple[str, ...]
    exclude: tuple[str, ...]
    max_campaigns: int
    expect_sftp: bool = False
    only: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class Layer:
    """Settings of rules from one place of the file: `key` is the path of their `rules`."""

    key: str = ""
    settings: RuleSettings = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class OverrideConfig:
    """Labels and rule settings of the campaigns that match: the whole `name`, and the type."""

    name: str | None
    campaign_type: CampaignType | None
    labels: Mapping[str, str]
    rules: Layer
    expect_sftp: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignConfig:
    """What the file says of one campaign; nothing, but for the id, of a discovered one.

    `expect_sftp` is None where nothing is said.
    """

    id: str
    name: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    rules: Layer = Layer()
    expect_sftp: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvironmentConfig:
    """One environment: its API, its budget, its rules, and its campaigns.

    `explicit` are the campaigns that the file lists, `campaigns` what they come to by id while
    no listing is known. `rules` are its own, the enabled ones; those of a campaign are in its
    Target. The layers say what was set where, weakest first: `rule_layers` for all of it,
    `campaign_layers` over those. `exported` names the labels that go on metrics.
    `ca_file` is relative to nothing: like the token's file it was put into the config's folder.
    """

    name: str
    base_url: str
    token: TokenSource
    ca_file: Path | None
    requests_per_minute: int
    budget_share: float
    labels: Mapping[str, str]
    exported: tuple[str, ...] = ()
    rules: Mapping[str, EnvironmentRule]
    unreadable_after: Seconds
    explicit: tuple[CampaignConfig, ...]
    campaigns: Mapping[str, Target] = field(default_factory=dict)
    discovery: DiscoveryConfig
    overrides: tuple[OverrideConfig, ...] = ()
    rule_layers: tuple[Layer, ...] = ()
    campaign_layers: Mapping[str, tuple[Layer, ...]] = field(default_factory=dict)

    @property
    def alert_labels(self) -> AlertLabels:
        """The labels of its own alerts."""
        return AlertLabels(labels=self.labels, exported=self.exported)

    @property
    def budget_per_minute(self) -> float:
        """The requests per minute that this monitor may send."""
        return self.requests_per_minute * self.budget_share

    def where_set(self, rule: str, setting: str, campaign_id: str | None = None) -> str | None:
        """Return the key path at which a rule's field was set last; None where it has its default.

        `setting` is the field's name; without `campaign_id` it is about the environment itself.
        """
        layers = self.rule_layers + self.campaign_layers.get(campaign_id or "", ())
        for layer in reversed(layers):
            if setting in layer.settings.get(rule, {}):
                return f"{layer.key}.{rule}.{key_of(setting)}"
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """The whole config of the daemon."""

    environments: tuple[EnvironmentConfig, ...]
    polling: Polling
    alerts: AlertsConfig
    notify: NotifyConfig
    metrics: MetricsConfig
    web: WebConfig
    state: StateConfig
    log: LogConfig
    rules: RuleSettings = field(default_factory=dict)

    def sharing_with(self, before: "Config") -> "Config":
        """Return the same config, with the very environments of `before` where they are equal.

        So what has not changed is seen at a glance: to compare 10,000 campaigns takes 0.1 s.
        """
        known = {environment.name: environment for environment in before.environments}
        shared = (
            known[each.name] if known.get(each.name) == each else each for each in self.environments
        )
        return replace(self, environments=tuple(shared))
