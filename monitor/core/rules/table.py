"""The table of the rules of a campaign, and what enters a rule in it."""

from collections.abc import Mapping
from typing import Any, TypeVar

from monitor.core.rule import Rule

RULES: dict[str, type[Rule]] = {}
"""Every rule of a campaign by its name, in the order in which events are sent."""

_R = TypeVar("_R", bound=Rule)


def campaign_rule(cls: type[_R]) -> type[_R]:
    """Register a rule of a campaign."""
    if cls.name in RULES:
        raise ValueError(f"there is a rule named {cls.name!r} already")
    RULES[cls.name] = cls
    return cls


def resolve_rules(settings: Mapping[str, Mapping[str, Any]]) -> dict[str, Rule]:
    """Return the enabled rules with these settings (rule name → field → value), in table order."""
    made = {name: cls(**settings.get(name, {})) for name, cls in RULES.items()}
    return {name: rule for name, rule in made.items() if rule.enabled}
