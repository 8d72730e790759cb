"""The `rules` of the file, made from the rules' own classes: a new rule needs nothing here."""

from collections.abc import Iterable, Mapping
from dataclasses import fields
from types import MappingProxyType
from typing import Annotated, Any, get_type_hints

from pydantic import BaseModel, Field, create_model

from monitor.config import kinds
from monitor.config.durations import format_duration
from monitor.config.section import Section
from monitor.core.environment_rules import ENVIRONMENT_RULES
from monitor.core.model import Seconds, Severity
from monitor.core.rule import AgesBySchedule, BaseRule, PositiveSeconds
from monitor.core.rules import RULES

RuleSettings = Mapping[str, Mapping[str, Any]]
"""What is set of each rule: rule name → field → value. What is not in it has its default."""

_KINDS: Mapping[Any, Any] = MappingProxyType(
    {
        bool: kinds.TrueOrFalse,
        int: kinds.WholeNumber,
        float: kinds.Number,
        str: kinds.Words,
        Severity: kinds.SeverityName,
        Seconds: kinds.Duration,
        PositiveSeconds: kinds.PositiveDuration,
        Mapping[str, Seconds]: Annotated[dict[str, kinds.Duration], kinds.OrNothing],
        AgesBySchedule: Annotated[
            dict[kinds.ImportScheduleName, kinds.PositiveDuration], kinds.OrNothing
        ],
    }
)


def rules_model(name: str, rules: Iterable[type[BaseRule]]) -> type[BaseModel]:
    """Return the model of a `rules` section in which these rules can be set."""
    found: dict[str, Any] = {
        cls.name: (_settings_model(cls), Field({}, validate_default=True, description=cls.meaning))
        for cls in rules
    }
    return create_model(name, __base__=Section, **found)


def settings_of(rules: BaseModel) -> dict[str, dict[str, Any]]:
    """Return what is set in a `rules` section, by the names of the rules' fields."""
    # Defaults left in would beat what a weaker layer has set.
    return rules.model_dump(exclude_unset=True)


def merge(*layers: RuleSettings) -> dict[str, dict[str, Any]]:
    """Return the settings merged field by field; a later layer beats an earlier one."""
    merged: dict[str, dict[str, Any]] = {}
    for layer in layers:
        for rule, settings in layer.items():
            merged[rule] = {**merged.get(rule, {}), **settings}
    return merged


def as_written(settings: RuleSettings) -> dict[str, dict[str, Any]]:
    """Return settings as the file has them: keys for fields, durations for seconds."""
    classes: dict[str, type[BaseRule]] = {**RULES, **ENVIRONMENT_RULES}
    shown = {}
    for name, found in settings.items():
        hints = get_type_hints(classes[name], include_extras=True)
        shown[name] = {
            key_of(field): _written(value, hints[field]) for field, value in found.items()
        }
    return shown


def with_defaults(settings: RuleSettings, rules: Mapping[str, type[BaseRule]]) -> RuleSettings:
    """Return these settings and, for all that is not set, the rules' defaults."""
    return {
        name: {
            field.name: settings.get(name, {}).get(field.name, getattr(cls(), field.name))
            for field in fields(cls)
        }
        for name, cls in rules.items()
    }


def key_of(field: str) -> str:
    """Return the config key of a rule's field: `for_` is the key `for`."""
    return field.rstrip("_")


def _settings_model(cls: type[BaseRule]) -> type[BaseModel]:
    hints = get_type_hints(cls, include_extras=True)
    defaults = cls()
    found: dict[str, Any] = {}
    for field in fields(cls):
        default = getattr(defaults, field.name)
        found[field.name] = (
            _KINDS[hints[field.name]],
            Field(
                default,
                alias=key_of(field.name),
                description=field.metadata["help"],
                json_schema_extra={"default": _written(default, hints[field.name])},
            ),
        )
    return create_model(f"{cls.__name__}Settings", __base__=Section, **found)


def _written(value: Any, hint: Any) -> Any:
    if hint in (Seconds, PositiveSeconds):
        return format_duration(value)
    if isinstance(value, Mapping):
        return {str(name): format_duration(seconds) for name, seconds in value.items()}
    return value.value if isinstance(value, Severity) else value
