"""The config for people and editors: all that is in force, and all that may be set."""

import re
from typing import Any

import yaml

from monitor.config.environments import Environment
from monitor.config.keys import literal
from monitor.config.model import Config, config_model
from monitor.config.rules import as_written, merge, with_defaults
from monitor.config.targets import campaign_layers

# A YAML 1.2 reader would take these for numbers, 1.1 as PyYAML has it would not.
_NUMBERS = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$|0o[0-7]+$")
# A token is shown with a comment, for which the library knows no way.
_WITH_COMMENT = re.compile(r"'(<secret>  # from \$\{\w+\})'")


class _Dumper(yaml.SafeDumper):
    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        """Indent the items of a list, as the example does."""
        super().increase_indent(flow, indentless=False)

    def ignore_aliases(self, data: object) -> bool:
        """Write the same labels out wherever they are."""
        return True


_Dumper.add_implicit_resolver("tag:yaml.org,2002:float", _NUMBERS, list("-+.0123456789"))


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of the config file, with every rule that is registered."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **config_model().model_json_schema(),
        "title": "sftp-monitor config",
    }


def effective_yaml(config: Config) -> str:
    """Return the config as a file with every default filled in, and secrets as `<secret>`.

    It loads again to the same config, but for a token from a variable and the path of a webhook.
    A campaign shows its merged labels, and of its rules what overrides and itself set.
    """
    shown = config.model_dump(exclude_none=True)
    shown["rules"] = as_written(with_defaults(config.rules))
    if config.alerts.file.path is None:
        del shown["alerts"]["file"]
    for part, environment in zip(shown["environments"], config.environments, strict=True):
        settings = merge(*(layer.settings for layer in environment.resolved.layers))
        part["rules"] = as_written(with_defaults(settings))
        part["campaigns"] = _campaigns(environment)
    # Text is not folded: nobody could search for it or paste it.
    text = yaml.dump(shown, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=2**16)
    return _WITH_COMMENT.sub(r"\1", text)


def _campaigns(environment: Environment) -> list[dict[str, Any]]:
    return [
        {
            "id": target.campaign_id,
            "name": literal(target.name),
            "labels": {name: literal(value) for name, value in target.labels.items()},
            "rules": as_written(
                merge(*(layer.settings for layer in campaign_layers(environment, number)))
            ),
            "expect_sftp": target.expected,
        }
        for number, target in enumerate(environment.resolved.targets.values())
    ]
