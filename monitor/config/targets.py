"""Whom to watch: the file's campaigns and the discovered ones, with their names, labels, rules."""

from collections.abc import Collection, Mapping
from dataclasses import replace

from monitor.config.environments import Campaign, Environment, Resolved
from monitor.config.model import Config
from monitor.config.patterns import matches
from monitor.config.rules import Layer, key_of, merge
from monitor.core.discovery import Roster
from monitor.core.environment_rules import ENVIRONMENT_RULES
from monitor.core.model import Listed
from monitor.core.rule import Rule, Target, resolve_rules
from monitor.core.rules import RULES, Unreadable


def resolve(config: Config) -> None:
    """Put into each environment of a config that was just read what its settings come to."""
    for index, environment in enumerate(config.environments):
        layers = (
            Layer("rules", config.rules),
            Layer(f"environments[{index}].rules", environment.rules),
        )
        settings = merge(*(layer.settings for layer in layers))
        environment._resolved = Resolved(
            rules=resolve_rules(ENVIRONMENT_RULES, settings),
            unreadable_after=Unreadable(**settings.get(Unreadable.name, {})).after,
            layers=layers,
            exported=tuple(config.metrics.campaign_labels),
        )
        found = targets(environment, Roster())
        environment._resolved = replace(environment.resolved, targets=found)


def narrowed(environment: Environment, wanted: Collection[str]) -> Environment:
    """Return the environment with these campaigns alone, listed or still to be discovered."""
    campaigns = tuple(one for one in environment.campaigns if one.id in wanted)
    copy = environment.model_copy(update={"campaigns": campaigns})
    copy._resolved = replace(
        environment.resolved, only=frozenset(wanted), targets=targets(copy, Roster())
    )
    return copy


def targets(environment: Environment, roster: Roster) -> dict[str, Target]:
    """Return the campaigns to watch by id: those of the file first, then the discovered ones.

    What the file says of a campaign wins; its type and its status, and its name where the file has
    none, come from the listing.
    """
    rules = dict[tuple[object, ...], Mapping[str, Rule]]()
    found = {
        campaign.id: _target(
            environment, campaign, number, roster.campaigns.get(campaign.id), rules
        )
        for number, campaign in enumerate(environment.campaigns)
    }
    for listed in roster.campaigns.values():
        if listed.id not in found and _is_wanted(environment, listed):
            # With every field, for to look for defaults would take as long as all else.
            silent = Campaign.model_construct(
                id=listed.id, name="", labels={}, rules={}, expect_sftp=None
            )
            target = _target(environment, silent, None, listed, rules)
            found[listed.id] = replace(target, listed_at=roster.seen_at(listed.id))
    return found


def campaign_layers(environment: Environment, number: int) -> list[Layer]:
    """Return where the rules of a campaign of the file are set, over those of its environment.

    `number` is its place in the list. Without a listing its type is not known, so no override for
    a type matches it.
    """
    campaign = environment.campaigns[number]
    path = environment.resolved.layers[-1].key.removesuffix(".rules")
    matching = _matching(environment, campaign.name, "")
    layers = [
        Layer(f"{path}.overrides[{n}].rules", environment.overrides[n].rules) for n in matching
    ]
    return [*layers, Layer(f"{path}.campaigns[{number}].rules", campaign.rules)]


def where_set(
    environment: Environment, rule: str, setting: str, campaign_id: str | None = None
) -> str | None:
    """Return the key path at which a rule's field was set last; None where it has its default.

    `setting` is the field's name; without `campaign_id` it is about the environment itself.
    """
    layers = [*environment.resolved.layers]
    for number, campaign in enumerate(environment.campaigns):
        if campaign.id == campaign_id:
            layers += campaign_layers(environment, number)
    for layer in reversed(layers):
        if setting in layer.settings.get(rule, {}):
            return f"{layer.key}.{rule}.{key_of(setting)}"
    return None


def _target(
    environment: Environment,
    campaign: Campaign,
    number: int | None,
    listed: Listed | None,
    rules: dict[tuple[object, ...], Mapping[str, Rule]],
) -> Target:
    """Return a campaign as it is to be watched; those with the same settings share `rules`."""
    name, kind, status = campaign.name, "", None
    if listed is not None:
        name, kind, status = campaign.name or listed.name, listed.campaign_type, listed.status
    matching = _matching(environment, name, kind)
    # Settings have no hash; where in the file they come from tells them apart as well.
    setting = [n for n in matching if environment.overrides[n].rules]
    place = (*setting, "own", number) if campaign.rules else tuple(setting)
    if place not in rules:
        common = [layer.settings for layer in environment.resolved.layers]
        over = [environment.overrides[n].rules for n in setting]
        rules[place] = resolve_rules(RULES, merge(*common, *over, campaign.rules))
    labels = dict(environment.labels)
    expected = number is not None or environment.discovery.expect_sftp
    for override in (environment.overrides[n] for n in matching):
        labels |= override.labels
        expected = expected if override.expect_sftp is None else override.expect_sftp
    return Target(
        environment=environment.name,
        campaign_id=campaign.id,
        name=name,
        labels=labels | campaign.labels,
        exported=environment.resolved.exported,
        rules=rules[place],
        listed=number is not None,
        expected=expected if campaign.expect_sftp is None else campaign.expect_sftp,
        muted_status=None if status in environment.discovery.statuses else status,
    )


def _matching(environment: Environment, name: str, kind: str) -> list[int]:
    """Return the places of the overrides that match a campaign."""
    return [
        number
        for number, override in enumerate(environment.overrides)
        if override.match.campaign_type in (None, kind)
        and (override.match.name is None or matches((override.match.name,), name))
    ]


def _is_wanted(environment: Environment, listed: Listed) -> bool:
    discovery, only = environment.discovery, environment.resolved.only
    if only is not None and listed.id not in only:
        return False
    included = not discovery.include or matches(discovery.include, listed.name)
    return included and not matches(discovery.exclude, listed.name)
