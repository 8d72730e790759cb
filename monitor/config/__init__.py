"""The config file: YAML, environment and secrets → one frozen, complete `Config`.

From the text down: `yaml` (nodes → values with places), `validate` with `schema` (keys, types,
defaults), `checks` and `tokens` (what is wrong between keys), `build` (→ `model`). Whatever is
wrong is a `Problem` with its file and line, and all of them are told at once.
"""

from monitor.config.addresses import origin
from monitor.config.durations import format_duration, parse_duration
from monitor.config.flags import with_overrides
from monitor.config.kinds import LogFormat, LogLevel
from monitor.config.load import load_config
from monitor.config.model import (
    AlertsConfig,
    CampaignConfig,
    Config,
    DiscoveryConfig,
    EnvironmentConfig,
    LogConfig,
    MetricsConfig,
    NotifyConfig,
    OverrideConfig,
    Overrides,
    Polling,
    StateConfig,
    WebConfig,
    WebhookConfig,
)
from monitor.config.problems import ConfigError, Problem
from monitor.config.secrets import SecretError, TokenSource
from monitor.config.show import effective_yaml, json_schema
from monitor.config.targets import targets
from monitor.config.web_file import Access, safe_access

__all__ = [
    "Access",
    "AlertsConfig",
    "CampaignConfig",
    "Config",
    "ConfigError",
    "DiscoveryConfig",
    "EnvironmentConfig",
    "LogConfig",
    "LogFormat",
    "LogLevel",
    "MetricsConfig",
    "NotifyConfig",
    "OverrideConfig",
    "Overrides",
    "Polling",
    "Problem",
    "SecretError",
    "StateConfig",
    "TokenSource",
    "WebConfig",
    "WebhookConfig",
    "effective_yaml",
    "format_duration",
    "json_schema",
    "load_config",
    "origin",
    "parse_duration",
    "safe_access",
    "targets",
    "with_overrides",
]
