"""The file's model → the config of the daemon: defaults filled in, rules and labels merged."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from pydantic import BaseModel

from monitor.config import model, schema
from monitor.config.model import Config, EnvironmentConfig, Layer, OverrideConfig
from monitor.config.rule_settings import merge, settings_of
from monitor.config.secrets import TokenSource, token_source
from monitor.config.targets import layers_of, targets
from monitor.config.tokens import Sources
from monitor.core.discovery import Roster
from monitor.core.environment_rules import resolve_environment_rules
from monitor.core.model import Severity
from monitor.core.rules import Unreadable

DATABASE = "sftp-monitor.db"

AnyEnvironment = schema.Environment[BaseModel, BaseModel]


def build(
    file: schema.AnyFile, sources: Sources, folder: Path, environ: Mapping[str, str]
) -> Config:
    """Return the config that a valid file means.

    `sources` has the tokens that could be told of, `folder` is where relative paths start, but for
    the database's, which is relative to the working directory.
    """
    common = settings_of(file.rules)
    return Config(
        environments=tuple(
            _environment(environment, index, sources.get(index, TokenSource()), folder, file)
            for index, environment in enumerate(file.environments)
        ),
        polling=_polling(file.polling),
        alerts=model.AlertsConfig(
            remind_every={s: getattr(file.alerts.remind_every, s.value) for s in Severity},
            heartbeat_every=file.alerts.heartbeat_every,
            runbook_url=file.alerts.runbook_url,
            file=folder / file.alerts.file.path if file.alerts.file.path else None,
        ),
        notify=_notify(file.notify, folder, environ),
        metrics=model.MetricsConfig(campaign_labels=tuple(file.metrics.campaign_labels)),
        web=_web(file.web, folder),
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


def _notify(notify: schema.Notify, folder: Path, environ: Mapping[str, str]) -> model.NotifyConfig:
    def secret(file: Path) -> TokenSource:
        """Return where a secret of a sink comes from."""
        return token_source(environ, file=folder / file)

    return model.NotifyConfig(
        alertmanagers=tuple(notify.alertmanager.urls),
        webhooks=tuple(
            model.WebhookConfig(each.name or str(number), each.url, secret(each.secret_file))
            for number, each in enumerate(notify.webhooks, start=1)
        ),
        apprise=tuple(secret(each.url_file) for each in notify.apprise),
    )


def _web(web: schema.Web, folder: Path) -> model.WebConfig:
    return model.WebConfig(
        listen_host=web.listen_address.host,
        listen_port=web.listen_address.port,
        allow_unauthenticated=web.allow_unauthenticated,
        external_url=web.external_url,
        config_file=folder / web.config_file if web.config_file else None,
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
    file: schema.AnyFile,
) -> EnvironmentConfig:
    key = f"environments[{index}]"
    layers = (
        Layer("rules", settings_of(file.rules)),
        Layer(f"{key}.rules", settings_of(environment.rules)),
    )
    settings = merge(*(layer.settings for layer in layers))
    made = EnvironmentConfig(
        name=environment.name,
        base_url=environment.base_url,
        token=token,
        ca_file=folder / environment.ca_file if environment.ca_file else None,
        requests_per_minute=environment.requests_per_minute,
        budget_share=environment.budget_share,
        labels=environment.labels,
        exported=tuple(file.metrics.campaign_labels),
        rules=resolve_environment_rules(settings),
        unreadable_after=Unreadable(**settings.get(Unreadable.name, {})).after,
        explicit=tuple(
            _campaign(campaign, f"{key}.campaigns[{place}].rules")
            for place, campaign in enumerate(environment.campaigns)
        ),
        discovery=_discovery(environment.discovery),
        overrides=tuple(
            _override(override, f"{key}.overrides[{place}].rules")
            for place, override in enumerate(environment.overrides)
        ),
        rule_layers=layers,
    )
    set_where = {campaign.id: layers_of(made, campaign) for campaign in made.explicit}
    return replace(
        made,
        campaigns=targets(made, Roster()),
        campaign_layers={id_: layers for id_, layers in set_where.items() if layers},
    )


def _campaign(campaign: schema.Campaign[BaseModel], key: str) -> model.CampaignConfig:
    return model.CampaignConfig(
        id=campaign.id,
        name=campaign.name,
        labels=campaign.labels,
        rules=Layer(key, settings_of(campaign.rules)),
        # Its default is weaker than an override, what is written is stronger.
        expect_sftp=campaign.expect_sftp if "expect_sftp" in campaign.model_fields_set else None,
    )


def _override(override: schema.Override[BaseModel], key: str) -> OverrideConfig:
    return OverrideConfig(
        name=override.match.name,
        campaign_type=override.match.campaign_type,
        labels=override.labels,
        rules=Layer(key, settings_of(override.rules)),
        expect_sftp=override.expect_sftp,
    )


def _discovery(discovery: schema.Discovery) -> model.DiscoveryConfig:
    return model.DiscoveryConfig(
        enabled=discovery.enabled,
        every=discovery.every,
        statuses=tuple(discovery.statuses),
        include=tuple(discovery.include),
        exclude=tuple(discovery.exclude),
        max_campaigns=discovery.max_campaigns,
        expect_sftp=discovery.expect_sftp,
    )
