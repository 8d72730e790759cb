"""The config file: YAML, environment and secrets → one frozen, complete `Config`.

From the text down: `yaml` (values with places), `model` with `keys` and `types` (each key declared
once), `load` (what is wrong), `targets` (whom to watch). Whatever is wrong is a `Problem` with its
file and line; all are reported at once.

To add a key, declare it in `model` and put it into config.example.yaml; a flag of `run` for it is a
line in `cli.options`.
"""

from monitor.config.document import ConfigError, Problem
from monitor.config.environments import Discovery as DiscoveryConfig
from monitor.config.environments import Environment as EnvironmentConfig
from monitor.config.environments import narrowed, targets
from monitor.config.formats import format_duration, origin, parse_duration
from monitor.config.load import load_config, notes
from monitor.config.model import Alerts as AlertsConfig
from monitor.config.model import Config, Polling, effective_yaml, json_schema
from monitor.config.model import Web as WebConfig
from monitor.config.model import Webhook as WebhookConfig
from monitor.config.secrets import SecretError, TokenSource
from monitor.config.types import LogFormat, LogLevel
from monitor.config.web_config import Access, safe_access

__all__ = [
    "Access",
    "AlertsConfig",
    "Config",
    "ConfigError",
    "DiscoveryConfig",
    "EnvironmentConfig",
    "LogFormat",
    "LogLevel",
    "Polling",
    "Problem",
    "SecretError",
    "TokenSource",
    "WebConfig",
    "WebhookConfig",
    "effective_yaml",
    "format_duration",
    "json_schema",
    "load_config",
    "narrowed",
    "notes",
    "origin",
    "parse_duration",
    "safe_access",
    "targets",
]
