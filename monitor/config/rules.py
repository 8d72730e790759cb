"""The `rules` of the file, made from the rules' own classes: a new rule needs nothing here."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import lru_cache
from typing import Annotated, Any, get_type_hints

from pydantic import Field, create_model

from monitor.config import types as t
from monitor.config.durations import format_duration
from monitor.config.keys import ReadBy, Section, computed, literal
from monitor.core.environment_rules import ENVIRONMENT_RULES
from monitor.core.model import Seconds, Severity
from monitor.core.rule import AgesBySchedule, BaseRule, PositiveSeconds
from monitor.core.rules import RULES

RuleSettings = Mapping[str, Mapping[str, Any]]
"""What is set of each rule: rule name → field → value. What is not in it has its default."""

_TYPES: Mapping[Any, Any] = {
    bool: t.TrueOrFalse,
    int: t.WholeNumber,
    float: t.Number,
    str: t.Words,
    Severity: t.SeverityName,
    Seconds: t.Duration,
    PositiveSeconds: t.PositiveDuration,
    Mapping[str, Seconds]: Annotated[dict[str, t.Duration], t.OrNothing],
    AgesBySchedule: Annotated[dict[t.ImportScheduleName, t.PositiveDuration], t.OrNothing],
}


@dataclass(frozen=True, slots=True)
class Layer:
    """Settings of rules from one place of the file: `key` is the path of their `rules`."""

    key: str = ""
    settings: RuleSettings = field(default_factory=dict)


def registered() -> tuple[tuple[type[BaseRule], ...], tuple[type[BaseRule], ...]]:
    """Return every rule that there is now: those of campaigns, and those of environments."""
    return tuple(RULES.values()), tuple(ENVIRONMENT_RULES.values())


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


def with_defaults(settings: RuleSettings) -> RuleSettings:
    """Return these settings and, for all that is not set, the rules' defaults."""
    return {
        name: {
            field.name: settings.get(name, {}).get(field.name, getattr(cls(), field.name))
            for field in fields(cls)
        }
        for name, cls in {**RULES, **ENVIRONMENT_RULES}.items()
    }


def key_of(field: str) -> str:
    """Return the config key of a rule's field: `for_` is the key `for`."""
    return field.rstrip("_")


def rules_key(about: str) -> Any:
    """Declare a key of the type `Rules` or `CampaignRules`: nothing is set without it."""
    return computed(lambda _: {}, {}, about)


@lru_cache(maxsize=8)
def _section(name: str, rules: tuple[type[BaseRule], ...]) -> type[Section]:
    """Return the section in which these rules can be set: one class, wherever it is used."""
    found: dict[str, Any] = {
        cls.name: (
            _settings_section(cls),
            # What is not set is not looked at: nine sections for each of 10,000 campaigns.
            computed(lambda _: None, {}, cls.meaning),
        )
        for cls in rules
    }
    return create_model(name, __base__=Section, **found)


def _settings_section(cls: type[BaseRule]) -> type[Section]:
    hints = get_type_hints(cls, include_extras=True)
    defaults = cls()
    found: dict[str, Any] = {}
    for setting in fields(cls):
        default = getattr(defaults, setting.name)
        found[setting.name] = (
            _TYPES[hints[setting.name]],
            Field(
                default,
                alias=key_of(setting.name),
                description=setting.metadata["help"],
                json_schema_extra={"default": _written(default, hints[setting.name])},
            ),
        )
    return create_model(f"{cls.__name__}Settings", __base__=Section, **found)


def _set(section: Section) -> dict[str, Any]:
    """Return what is set in a section, by the names of its fields."""
    # Defaults left in would beat what a weaker layer has set.
    known = section.model_fields_set
    return {name: getattr(section, name) for name in type(section).model_fields if name in known}


def _settings(rules: Section) -> RuleSettings:
    return {name: _set(section) for name, section in _set(rules).items()}


def _written(value: Any, hint: Any) -> Any:
    if hint in (Seconds, PositiveSeconds):
        return format_duration(value)
    if isinstance(value, Mapping):
        return {str(name): format_duration(seconds) for name, seconds in value.items()}
    return literal(value) if isinstance(value, str) else value


Rules = Annotated[
    RuleSettings, ReadBy(lambda: _section("Rules", sum(registered(), ())), _settings, as_written)
]
"""The type of `rules` that takes the rules of campaigns and of environments."""

CampaignRules = Annotated[
    RuleSettings,
    ReadBy(lambda: _section("CampaignRules", registered()[0]), _settings, as_written),
]
"""The type of `rules` that takes the rules of campaigns only."""
