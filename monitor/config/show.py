"""The config for people and editors: all that is in force, and all that may be set."""

from io import StringIO
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap

from monitor.config.addresses import ListenAddress, origin
from monitor.config.durations import format_duration
from monitor.config.model import (
    AlertsConfig,
    Config,
    DiscoveryConfig,
    EnvironmentConfig,
    NotifyConfig,
    OverrideConfig,
    WebConfig,
)
from monitor.config.rule_settings import as_written, merge, with_defaults
from monitor.config.schema import file_model
from monitor.core.environment_rules import ENVIRONMENT_RULES
from monitor.core.rule import Target
from monitor.core.rules import RULES

HIDDEN = "<secret>"


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of the config file, with every rule that is registered."""
    schema = file_model().model_json_schema()
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "title": "sftp-monitor config",
    }


def effective_yaml(config: Config) -> str:
    """Return the config as a file with every default filled in, and secrets as `<secret>`.

    It loads again to the same config, but for a token from a variable and the path of a webhook.
    A campaign shows its merged labels, and of its rules what overrides and itself set.
    """
    yaml = YAML(typ="rt", pure=True)
    # ruamel folds text at 80 columns, which nobody could search for or paste.
    yaml.width = 4096
    yaml.indent(mapping=2, sequence=4, offset=2)
    text = StringIO()
    yaml.dump(_file(config), text)
    return text.getvalue()


def _file(config: Config) -> dict[str, Any]:
    polling, state = config.polling, config.state
    return {
        "environments": [_environment(environment) for environment in config.environments],
        "polling": {
            "interval": format_duration(polling.interval),
            "unhealthy_interval": format_duration(polling.unhealthy_interval),
            "idle_interval": format_duration(polling.idle_interval),
            "timeout": format_duration(polling.timeout),
            "concurrency": polling.concurrency,
            "probe_interval": format_duration(polling.probe_interval),
            "token_probe_interval": format_duration(polling.token_probe_interval),
        },
        "rules": as_written(with_defaults(config.rules, {**RULES, **ENVIRONMENT_RULES})),
        "alerts": _alerts(config.alerts),
        "notify": _notify(config.notify),
        "metrics": {"campaign_labels": list(config.metrics.campaign_labels)},
        "web": _web(config.web),
        "state": {"path": str(state.path), "retention": format_duration(state.retention)},
        "log": {"level": config.log.level.value, "format": config.log.format.value},
    }


def _alerts(alerts: AlertsConfig) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "remind_every": {
            severity.value: format_duration(seconds)
            for severity, seconds in alerts.remind_every.items()
        },
        "heartbeat_every": format_duration(alerts.heartbeat_every),
        "runbook_url": alerts.runbook_url,
    }
    if alerts.file is not None:
        shown["file"] = {"path": str(alerts.file)}
    return shown


def _notify(notify: NotifyConfig) -> dict[str, Any]:
    return {
        "alertmanager": {"urls": list(notify.alertmanagers)},
        "webhooks": [
            {
                "name": each.name,
                "url": f"{origin(each.url)}/{HIDDEN}",
                "secret_file": str(each.secret.file),
            }
            for each in notify.webhooks
        ],
        "apprise": [{"url_file": str(each.file)} for each in notify.apprise],
    }


def _web(web: WebConfig) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "listen_address": str(ListenAddress(web.listen_host, web.listen_port)),
        "allow_unauthenticated": web.allow_unauthenticated,
    }
    if web.external_url is not None:
        shown["external_url"] = web.external_url
    if web.config_file is not None:
        shown["config_file"] = str(web.config_file)
    return shown


def _environment(environment: EnvironmentConfig) -> CommentedMap:
    settings = merge(*(layer.settings for layer in environment.rule_layers))
    shown = CommentedMap({"name": environment.name, "base_url": environment.base_url})
    token = environment.token
    if token.file is not None:
        shown["token_file"] = str(token.file)
    else:
        shown["token"] = HIDDEN
        shown.yaml_add_eol_comment(f"from ${{{token.variable}}}", "token")
    if environment.ca_file is not None:
        shown["ca_file"] = str(environment.ca_file)
    shown["requests_per_minute"] = environment.requests_per_minute
    shown["budget_share"] = environment.budget_share
    shown["labels"] = dict(environment.labels)
    shown["rules"] = as_written(with_defaults(settings, {**RULES, **ENVIRONMENT_RULES}))
    shown["campaigns"] = [
        _campaign(target, environment) for target in environment.campaigns.values()
    ]
    shown["discovery"] = _discovery(environment.discovery)
    shown["overrides"] = [_override(override) for override in environment.overrides]
    return shown


def _campaign(target: Target, environment: EnvironmentConfig) -> dict[str, Any]:
    layers = environment.campaign_layers.get(target.campaign_id, ())
    return {
        "id": target.campaign_id,
        "name": target.name,
        "labels": dict(target.labels),
        "rules": as_written(merge(*(layer.settings for layer in layers))),
        "expect_sftp": target.expected,
    }


def _discovery(discovery: DiscoveryConfig) -> dict[str, Any]:
    return {
        "enabled": discovery.enabled,
        "every": format_duration(discovery.every),
        "statuses": [status.value for status in discovery.statuses],
        "include": list(discovery.include),
        "exclude": list(discovery.exclude),
        "max_campaigns": discovery.max_campaigns,
        "expect_sftp": discovery.expect_sftp,
    }


def _override(override: OverrideConfig) -> dict[str, Any]:
    match = {"name": override.name, "campaign_type": override.campaign_type}
    shown = {
        "match": {name: str(value) for name, value in match.items() if value is not None},
        "labels": dict(override.labels),
        "rules": as_written(override.rules.settings),
    }
    if override.expect_sftp is not None:
        shown["expect_sftp"] = override.expect_sftp
    return shown
