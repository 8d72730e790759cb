"""From the settings of an environment, and a listing, to the campaigns that are polled."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from monitor.config import sections as s
from monitor.config.environments import Campaign, Environment, Override, Resolved
from monitor.config.formats import matches
from monitor.config.keys import Layer
from monitor.core.attempt import TestSettings
from monitor.core.discovery import TargetSet
from monitor.core.environment_rules import ABOUT_TESTS, ENVIRONMENT_RULES, DiscoveryFailing
from monitor.core.model import CallTimes, ListedCampaign
from monitor.core.rule import Rule, Target, resolve_rules
from monitor.core.rules import RULES, PathInaccessible, Unreadable

# What the file says of a campaign that is known from discovery alone.
_UNLISTED = Campaign.model_construct(id="")


class _Shared:
    """What campaigns whose layers say the same have together: it is made once, and is the same."""

    def __init__(self, environment: Environment) -> None:
        self.environment, self.exported = environment, environment.resolved.exported
        self._settings = dict[tuple[int, ...], tuple[Mapping[str, Rule], TestSettings]]()
        self._labels = dict[tuple[tuple[str, str], ...], Mapping[str, str]]()

    def settings(
        self, layers: Sequence[Override | Campaign]
    ) -> tuple[Mapping[str, Rule], TestSettings]:
        """Return the rules and the tests."""
        # Settings have no hash, but live as long as the environment.
        sources = tuple([id(said) for one in layers for said in (one.rules, one.connection_tests)])
        if sources not in self._settings:
            over, tests = [one.rules for one in layers], [one.connection_tests for one in layers]
            settings = TestSettings(**dict(self.environment.connection_tests.under(*tests)))
            rules = resolve_rules(RULES, s.settings(self.environment.rules.under(*over)))
            if not settings.enabled:
                rules.pop(PathInaccessible.name, None)  # it is about nothing but tests of ours
            self._settings[sources] = rules, settings
        return self._settings[sources]

    def labels(self, layers: Sequence[Override | Campaign]) -> Mapping[str, str]:
        """Return the labels."""
        found = dict(self.environment.labels)
        for one in layers:
            found |= one.labels
        return self._labels.setdefault(tuple(found.items()), found)


def resolve(environment: Environment, rules: Layer, tests: Layer, known: Resolved) -> Environment:
    """Return an environment with its settings over the global ones, and what that comes to."""
    merged = {
        "rules": rules.under(environment.rules),
        "connection_tests": tests.under(environment.connection_tests),
    }
    copy = environment.model_copy(update=merged)
    settings = s.settings(copy.rules)
    own, after = resolve_rules(ENVIRONMENT_RULES, settings), settings[Unreadable.name]["after"]
    tested = TestSettings(**dict(copy.connection_tests))
    layers: list[Override | Campaign] = [*copy.overrides, *copy.campaigns]
    said = {id(one.connection_tests): one.connection_tests for one in layers}
    if not tested.enabled and not any(dict(one)["enabled"] for one in said.values()):
        own = {name: rule for name, rule in own.items() if name not in ABOUT_TESTS}
    if not copy.discovery.enabled:
        own.pop(DiscoveryFailing.name, None)
    copy._resolved = replace(known, rules=own, unreadable_after=after, tests=tested)
    copy._resolved = replace(copy._resolved, targets=targets(copy, TargetSet()))
    return copy


def narrowed(environment: Environment, fits: Callable[[Target], bool]) -> Environment:
    """Return the environment with these campaigns alone, listed or still to be discovered."""
    known = replace(environment.resolved, fits=fits)
    return resolve(environment, environment.rules, environment.connection_tests, known)


def targets(environment: Environment, target_set: TargetSet) -> dict[str, Target]:
    """Return the campaigns to poll by id: those of the file first, then the discovered ones.

    What the file says of a campaign wins; its type and its status, and its name where the file has
    none, come from the listing.
    """
    shared, fits = _Shared(environment), environment.resolved.fits
    found = {
        campaign.id: _target(shared, campaign, target_set.campaigns.get(campaign.id))
        for campaign in environment.campaigns
    }
    for listed in target_set.campaigns.values():
        if listed.id not in found and _is_wanted(environment, listed):
            found[listed.id] = replace(
                _target(shared, _UNLISTED, listed),
                campaign_id=listed.id,
                listed=False,
                listed_at=target_set.last_read_at(listed.id),
            )
    return {key: one for key, one in found.items() if fits(one)}


def sharing(found: Mapping[str, Target], known: Mapping[str, Target]) -> dict[str, Target]:
    """Return the same campaigns; what is equal to what was known of them is the very same."""
    rules, after = dict[tuple[int, int], Mapping[str, Rule]](), dict(found)
    for one in found.keys() & known.keys():
        target, was = found[one], known[one]
        # Many share their rules: to compare them once is enough.
        pair = id(target.rules), id(was.rules)
        if pair not in rules:
            rules[pair] = was.rules if target.rules == was.rules else target.rules
        target = replace(target, rules=rules[pair])
        after[one] = was if target == was else target
    return after


def sharing_with(environment: Environment, before: Environment | None) -> Environment:
    """Return the same environment, with what is equal in `before` the very same as there."""
    if before is None or environment == before:
        return before or environment
    found = sharing(environment.resolved.targets, before.resolved.targets)
    environment._resolved = replace(environment.resolved, targets=found)
    return environment


def settings_of(
    environment: Environment, target: Target, campaign: Campaign | None = None, *, whole: bool
) -> dict[str, dict[str, Any]]:
    """Return the rules and tests of a campaign that the file may list, as the file has them.

    `whole`: over those of its environment, with every default; else what overrides and it set.
    """
    layers: list[Override | Campaign] = [environment.overrides[one] for one in target.overrides]
    layers.append(campaign or _UNLISTED)
    rules = (environment.rules if whole else s.no_rules()).under(*(one.rules for one in layers))
    tests = environment.connection_tests if whole else s.no_tests()
    tests = tests.under(*(one.connection_tests for one in layers))
    if not whole:
        return {"rules": rules.written(), "connection_tests": tests.written()}
    shown = rules.model_dump(by_alias=True)
    return {
        "rules": {name: shown[name] for name in RULES},
        "connection_tests": tests.model_dump(by_alias=True),
    }


def _target(shared: _Shared, campaign: Campaign, listed: ListedCampaign | None) -> Target:
    """Return a campaign as it is to be polled."""
    environment, name, kind, status = shared.environment, campaign.name, "", None
    if listed is not None:
        name, kind, status = name or listed.name, listed.campaign_type, listed.status
    matching = _matching(environment, name, kind)
    layers: list[Override | Campaign] = [environment.overrides[one] for one in matching]
    layers.append(campaign)
    rules, tests = shared.settings(layers)
    expected = campaign is not _UNLISTED or environment.discovery.expect_sftp
    for said in layers:
        expected = expected if said.expect_sftp is None else said.expect_sftp
    return Target(
        environment=environment.name,
        campaign_id=campaign.id,
        name=name,
        labels=shared.labels(layers),
        exported=shared.exported,
        rules=rules,
        tests=tests,
        calls=listed.calls if listed is not None else CallTimes(),
        expected=expected,
        muted_status=None if status in environment.discovery.statuses else status,
        overrides=matching,
    )


def _matching(environment: Environment, name: str, kind: str) -> tuple[int, ...]:
    """Return which overrides match a campaign, in order."""
    return tuple(
        number
        for number, override in enumerate(environment.overrides)
        if override.match.campaign_type in (None, kind)
        and (override.match.name is None or matches((override.match.name,), name))
    )


def _is_wanted(environment: Environment, listed: ListedCampaign) -> bool:
    discovery = environment.discovery
    included = not discovery.include or matches(discovery.include, listed.name)
    return included and not matches(discovery.exclude, listed.name)
