"""The table of the rules of a campaign, what enters a rule in it, and what several of them say."""

from collections.abc import Mapping
from typing import Any, TypeVar

from monitor.core.model import Finding, Instant, SftpConfig
from monitor.core.rule import Rule, healthy, unhealthy
from monitor.core.text import rfc3339

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


def by_deadline(
    deadline: Instant, now: Instant, summary: str, evidence: Mapping[str, str]
) -> Finding:
    """Return unhealthy from `deadline` on; before it healthy, to be rechecked then."""
    if now >= deadline:
        return unhealthy(summary, evidence, since=deadline)
    return healthy(f"{summary}; the limit is at {rfc3339(deadline)}", evidence, recheck_at=deadline)


def evidence_of_test(config: SftpConfig) -> dict[str, str]:
    """Return the test on record as evidence: as much of it as there is."""
    evidence = {}
    if config.last_test_at is not None:
        evidence["last_test_at"] = rfc3339(config.last_test_at)
    if config.last_test_success is not None:
        evidence["last_test_success"] = "true" if config.last_test_success else "false"
    return evidence
