"""From the settings of an environment, and a listing, to the campaigns that are polled."""

from collections.abc import Callable, Mapping
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
    copy._resolved = replace(known, rules=own, unreadable_after=after, tests=tested, shared={})
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
    fits, in_file = environment.resolved.fits, {one.id: one for one in environment.campaigns}
    listed = target_set.campaigns.items()
    more = (key for key, one in listed if key not in in_file and _is_wanted(environment, one))
    found = (_target(environment, key, in_file.get(key), target_set) for key in (*in_file, *more))
    return {one.campaign_id: one for one in found if fits(one)}


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


def _target(
    environment: Environment, key: str, in_file: Campaign | None, target_set: TargetSet
) -> Target:
    """Return a campaign as it is to be polled; rules that the same layers set are shared."""
    campaign, listed = in_file or _UNLISTED, target_set.campaigns.get(key)
    name, kind, status = campaign.name, "", None
    if listed is not None:
        name, kind, status = name or listed.name, listed.campaign_type, listed.status
    matching = _matching(environment, name, kind)
    layers: list[Override | Campaign] = [environment.overrides[one] for one in matching]
    layers.append(campaign)
    over = [said.rules for said in layers if said.rules.model_fields_set]
    tests = [one.connection_tests for one in layers if one.connection_tests.model_fields_set]
    # Settings have no hash, but live as long as the environment.
    sources, shared = tuple(map(id, (*over, *tests))), environment.resolved.shared
    if sources not in shared:
        settings = TestSettings(**dict(environment.connection_tests.under(*tests)))
        rules = resolve_rules(RULES, s.settings(environment.rules.under(*over)))
        if not settings.enabled:
            rules.pop(PathInaccessible.name, None)  # it is about nothing but tests of ours
        shared[sources] = rules, settings
    labels = dict(environment.labels)
    expected = in_file is not None or environment.discovery.expect_sftp
    for said in layers:
        labels |= said.labels
        expected = expected if said.expect_sftp is None else said.expect_sftp
    return Target(
        environment=environment.name,
        campaign_id=key,
        name=name,
        listed=in_file is not None,
        listed_at=None if in_file else target_set.last_read_at(key),
        labels=shared.setdefault(("labels", *labels.items()), labels),
        exported=environment.resolved.exported,
        rules=shared[sources][0],
        tests=shared[sources][1],
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
