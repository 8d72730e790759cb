"""The file's model → the config of the daemon: defaults filled in, rules and labels merged."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel

from monitor.config import model, schema
from monitor.config.model import Config, EnvironmentConfig, Layer, OverrideConfig
from monitor.config.rule_settings import RuleSettings, merge, settings_of
from monitor.config.secrets import TokenSource
from monitor.config.tokens import Sources
from monitor.core.environment_rules import resolve_environment_rules
from monitor.core.model import Severity
from monitor.core.rule import Rule, Target
from monitor.core.rules import Unreadable, resolve_rules

DATABASE = "sftp-monitor.db"

AnyEnvironment = schema.Environment[BaseModel, BaseModel]
AnyCampaign = schema.Campaign[BaseModel]


def build(
    file: schema.AnyFile, sources: Sources, folder: Path, environ: Mapping[str, str]
) -> Config:
    """Return the config that a valid file means.

    `sources` has the tokens that could be told of, `folder` is where relative paths of secrets and
    authorities start; the database is relative to the working directory.
    """
    common = settings_of(file.rules)
    return Config(
        environments=tuple(
            _environment(environment, index, sources.get(index, TokenSource()), folder, common)
            for index, environment in enumerate(file.environments)
        ),
        polling=_polling(file.polling),
        alerts=model.AlertsConfig(
            remind_every={s: getattr(file.alerts.remind_every, s.value) for s in Severity},
            heartbeat_every=file.alerts.heartbeat_every,
            runbook_url=file.alerts.runbook_url,
        ),
        metrics=model.MetricsConfig(campaign_labels=tuple(file.metrics.campaign_labels)),
        web=_web(file.web),
        state=model.StateConfig(
            path=file.state.path or _default_database(environ), retention=file.state.retention
        ),
        log=model.LogConfig(level=file.log.level, format=file.log.format),
        rules=common,
    )


def _polling(polling: schema.Polling) -> model.Polling:
    return model.Polling(
        interval=polling.interval,
        unhealthy_interval=polling.effective_unhealthy_interval,
        idle_interval=polling.idle_interval,
        timeout=polling.timeout,
        probe_interval=polling.probe_interval,
        token_probe_interval=polling.token_probe_interval,
        concurrency=polling.concurrency,
    )


def _web(web: schema.Web) -> model.WebConfig:
    return model.WebConfig(
        listen_host=web.listen_address.host,
        listen_port=web.listen_address.port,
        allow_unauthenticated=web.allow_unauthenticated,
        external_url=web.external_url,
    )


def _default_database(environ: Mapping[str, str]) -> Path:
    # systemd gives several directories where the unit names several; the first is ours.
    folder = environ.get("STATE_DIRECTORY", "").split(":")[0]
    return Path(folder or ".") / DATABASE


def _environment(
    environment: AnyEnvironment,
    index: int,
    token: TokenSource,
    folder: Path,
    common: RuleSettings,
) -> EnvironmentConfig:
    key = f"environments[{index}]"
    layers = (Layer("rules", common), Layer(f"{key}.rules", settings_of(environment.rules)))
    campaigns = {
        campaign.id: _Merged.of(environment, key, place, campaign)
        for place, campaign in enumerate(environment.campaigns)
    }
    settings = merge(*(layer.settings for layer in layers))
    own_rules = resolve_rules(settings)
    return EnvironmentConfig(
        name=environment.name,
        base_url=environment.base_url,
        token=token,
        ca_file=folder / environment.ca_file if environment.ca_file else None,
        requests_per_minute=environment.requests_per_minute,
        budget_share=environment.budget_share,
        labels=environment.labels,
        rules=resolve_environment_rules(settings),
        unreadable_after=Unreadable(**settings.get(Unreadable.name, {})).after,
        campaigns={
            id_: merged.target(environment.name, settings, own_rules)
            for id_, merged in campaigns.items()
        },
        discovery=_discovery(environment.discovery),
        overrides=tuple(_override(override) for override in environment.overrides),
        rule_layers=layers,
        campaign_layers={id_: merged.layers for id_, merged in campaigns.items() if merged.layers},
    )


@dataclass(frozen=True, slots=True)
class _Merged:
    """A campaign with the overrides that match it, weakest first."""

    campaign: AnyCampaign
    labels: Mapping[str, str]
    layers: tuple[Layer, ...]

    @classmethod
    def of(
        cls, environment: AnyEnvironment, key: str, place: int, campaign: AnyCampaign
    ) -> "_Merged":
        labels = dict(environment.labels)
        layers = []
        for index, override in _matching(environment, campaign):
            labels |= override.labels
            layers.append(Layer(f"{key}.overrides[{index}].rules", settings_of(override.rules)))
        own = settings_of(campaign.rules)
        layers.append(Layer(f"{key}.campaigns[{place}].rules", own))
        labels |= campaign.labels
        return cls(campaign, labels, tuple(layer for layer in layers if layer.settings))

    def target(
        self, environment: str, settings: RuleSettings, own_rules: Mapping[str, Rule]
    ) -> Target:
        rules = own_rules
        # Most campaigns have no settings of their own, and share one set of rules.
        if self.layers:
            rules = resolve_rules(merge(settings, *(layer.settings for layer in self.layers)))
        return Target(
            environment=environment,
            campaign_id=self.campaign.id,
            name=self.campaign.name,
            labels=self.labels,
            rules=rules,
        )


def _matching(
    environment: AnyEnvironment, campaign: AnyCampaign
) -> Iterator[tuple[int, schema.Override[BaseModel]]]:
    """Yield the overrides for a listed campaign, whose type is not known."""
    for index, override in enumerate(environment.overrides):
        match = override.match
        if match.campaign_type is None and re.fullmatch(match.name or "", campaign.name):
            yield index, override


def _override(override: schema.Override[BaseModel]) -> OverrideConfig:
    return OverrideConfig(
        name=override.match.name,
        campaign_type=override.match.campaign_type,
        labels=override.labels,
        rules=settings_of(override.rules),
    )


def _discovery(discovery: schema.Discovery) -> model.DiscoveryConfig:
    return model.DiscoveryConfig(
        enabled=discovery.enabled,
        every=discovery.every,
        statuses=tuple(discovery.statuses),
        include=tuple(discovery.include),
        exclude=tuple(discovery.exclude),
        max_campaigns=discovery.max_campaigns,
    )
