"""Whom to watch: the file's campaigns and the discovered ones, with their names, labels, rules."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from monitor.config.model import CampaignConfig, EnvironmentConfig, Layer, OverrideConfig
from monitor.config.rule_settings import merge
from monitor.core.discovery import Roster
from monitor.core.model import Listed
from monitor.core.rule import Rule, Target
from monitor.core.rules import resolve_rules


def targets(environment: EnvironmentConfig, roster: Roster) -> dict[str, Target]:
    """Return the campaigns to watch by id: those of the file first, then the discovered ones.

    What the file says of a campaign wins; its type and its status, and its name where the file has
    none, come from the listing.
    """
    resolved = _Rules(environment.rule_layers)
    found = {
        campaign.id: _target(
            environment, campaign, roster.campaigns.get(campaign.id), resolved, explicit=True
        )
        for campaign in environment.explicit
    }
    for listed in roster.campaigns.values():
        if listed.id not in found and _is_wanted(environment, listed):
            target = _target(environment, CampaignConfig(id=listed.id), listed, resolved)
            listed_at = roster.listed_at if listed.id not in roster.absent else None
            found[listed.id] = replace(target, listed_at=listed_at)
    return found


def layers_of(environment: EnvironmentConfig, campaign: CampaignConfig) -> tuple[Layer, ...]:
    """Return where the rules of a campaign of the file are set, over those of its environment.

    Without a listing its type is not known, so no override for a type matches it.
    """
    return _layers(_matching(environment, campaign.name, ""), campaign)


@dataclass(frozen=True, slots=True)
class _Rules:
    """Rules by what sets them: campaigns with the same settings share them."""

    common: tuple[Layer, ...]
    resolved: dict[tuple[str, ...], Mapping[str, Rule]] = field(default_factory=dict)

    def of(self, layers: tuple[Layer, ...]) -> Mapping[str, Rule]:
        """Return the rules that these layers, over the common ones, come to."""
        # Settings have no hash; the path in the file that they come from tells them apart as well.
        keys = tuple(layer.key for layer in layers)
        if keys not in self.resolved:
            settings = (layer.settings for layer in (*self.common, *layers))
            self.resolved[keys] = resolve_rules(merge(*settings))
        return self.resolved[keys]


def _target(
    environment: EnvironmentConfig,
    campaign: CampaignConfig,
    listed: Listed | None,
    rules: _Rules,
    *,
    explicit: bool = False,
) -> Target:
    name, kind, status = campaign.name, "", None
    if listed is not None:
        name, kind, status = campaign.name or listed.name, listed.campaign_type, listed.status
    matching = _matching(environment, name, kind)
    labels, expected = dict(environment.labels), explicit or environment.discovery.expect_sftp
    for override in matching:
        labels |= override.labels
        expected = expected if override.expect_sftp is None else override.expect_sftp
    return Target(
        environment=environment.name,
        campaign_id=campaign.id,
        name=name,
        labels=labels | dict(campaign.labels),
        exported=environment.exported,
        rules=rules.of(_layers(matching, campaign)),
        listed=explicit,
        expected=expected if campaign.expect_sftp is None else campaign.expect_sftp,
        muted_status=None if status in environment.discovery.statuses else status,
    )


def _matching(environment: EnvironmentConfig, name: str, kind: str) -> list[OverrideConfig]:
    return [
        override
        for override in environment.overrides
        if override.campaign_type in (None, kind)
        and (override.name is None or re.fullmatch(override.name, name))
    ]


def _layers(matching: Iterable[OverrideConfig], campaign: CampaignConfig) -> tuple[Layer, ...]:
    layers = [*(override.rules for override in matching), campaign.rules]
    return tuple(layer for layer in layers if layer.settings)


def _is_wanted(environment: EnvironmentConfig, listed: Listed) -> bool:
    discovery = environment.discovery
    if discovery.only is not None and listed.id not in discovery.only:
        return False
    included = not discovery.include or _matches(discovery.include, listed.name)
    return included and not _matches(discovery.exclude, listed.name)


def _matches(expressions: Iterable[str], name: str) -> bool:
    return any(re.fullmatch(expression, name) for expression in expressions)
