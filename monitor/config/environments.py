"""The environments of the config, and what to poll: campaigns of the file and discovered ones."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from pydantic import PrivateAttr

from monitor.config import sections as s
from monitor.config import types as t
from monitor.config.formats import matches
from monitor.config.keys import Conflict, Layer, Section, key, made
from monitor.config.secrets import TokenSource
from monitor.core.attempt import TestSettings
from monitor.core.discovery import TargetSet
from monitor.core.environment import EnvironmentRule
from monitor.core.environment_rules import ABOUT_TESTS, ENVIRONMENT_RULES, DiscoveryFailing
from monitor.core.model import AlertLabels, CallTimes, ListedCampaign, Seconds
from monitor.core.rule import Rule, Target, resolve_rules
from monitor.core.rules import RULES, PathInaccessible, Unreadable


@dataclass(frozen=True, slots=True)
class Resolved:
    """What the settings of an environment come to, together with the global ones."""

    rules: Mapping[str, EnvironmentRule] = field(default_factory=dict)  # its own, the enabled ones
    unreadable_after: Seconds = 0.0
    targets: Mapping[str, Target] = field(default_factory=dict)  # by id, without any listing
    fits: Callable[[Target], bool] = lambda _: True  # what a command's filters leave
    exported: tuple[str, ...] = ()  # the labels that go on metrics
    tests: TestSettings = TestSettings()  # where no campaign says otherwise
    # Rules and tests by what sets them, and labels: the very same for all, and at each listing.
    shared: dict[tuple[Any, ...], Any] = field(default_factory=dict, compare=False)


class Campaign(Section):
    """A campaign that is watched."""

    id: t.CampaignId = key(..., "the campaign's id, as in its address in TalkOver")
    name: t.Words = key("", "its name, for people")
    labels: t.Labels = key({}, "labels on its alerts, over those of its environment")
    rules: s.CampaignRules = made(s.no_rules, {}, "settings of its rules, over all others")
    connection_tests: s.CampaignTests = made(s.no_tests, {}, "those of its tests, likewise")
    # None where the file is silent: an override is stronger than the default, not than the file.
    expect_sftp: t.TrueOrFalse | None = key(
        None,
        "it must have a config; false: only one that was seen once is missed",
        json_schema_extra={"default": True},
    )


class Match(Section):
    """Which campaigns an override is for; all that is given must match."""

    name: t.Expression | None = key(None, "regular expression that the whole name matches")
    campaign_type: t.CampaignTypeName | None = key(None, "its type; known through discovery alone")

    def _conflicts(self) -> Iterator[Conflict]:
        if self.name is None and self.campaign_type is None:
            yield (), "expected name or campaign_type, or both"


class Override(Section):
    """Labels and settings of the campaigns that match."""

    match: Match = key(..., "which campaigns this is for")
    labels: t.Labels = key({}, "labels on their alerts, over those of the environment")
    rules: s.CampaignRules = key({}, "settings of their rules, over those of the environment")
    connection_tests: s.CampaignTests = key({}, "those of their tests, likewise")
    expect_sftp: t.TrueOrFalse | None = key(
        None, "whether they must have a config, over the default of campaigns and of discovery"
    )


class Discovery(Section):
    """Finding campaigns by listing them (GET /campaigns); what the file says of one wins."""

    enabled: t.TrueOrFalse = key(False, "beside `campaigns`, watch what is listed")
    every: t.PositiveDuration = key("15m", "how often campaigns are listed")
    statuses: t.Items[t.CampaignStatusName] = key(
        ["active"], "whose alerts are sent; the others are polled at idle_interval, and muted"
    )
    include: t.Items[t.Expression] = key(
        [], "regular expressions, one of which the whole name must match; empty = all"
    )
    exclude: t.Items[t.Expression] = key(
        [], "regular expressions, none of which the whole name may match"
    )
    max_campaigns: t.Count = key(10000, "more are not taken in; known ones stay")
    expect_sftp: t.TrueOrFalse = key(
        False, "every campaign that is found must have a config, seen before or not"
    )


class Environment(Section):
    """One environment of TalkOver: one token, one request limit, and its campaigns."""

    name: t.EnvironmentName = key(..., "the label `environment`; renaming it resolves alerts")
    base_url: t.ApiUrl = key("https://app.talkover.ai/api/v1", "https; http for loopback only")
    token_file: t.SecretFile | None = key(None, "file with the environment token, and no more")
    token: t.SecretVariable | None = key(None, "${VAR} with the token, instead of token_file")
    ca_file: t.AuthorityFile | None = key(
        None, "certificate authority of the API, instead of the system's"
    )
    proxy_url: t.ProxyUrl = key("", "proxy to the API; never taken from the process' environment")
    proxy_credentials_file: t.Credentials | None = key(None, "file with the proxy's user:password")
    requests_per_minute: t.Count = key(100, "the plan's limit, for all that uses the token")
    budget_share: t.Share = key(0.5, "the part of it that the monitor may use")
    labels: t.Labels = key({}, "labels on the alerts of its campaigns, and on its own")
    rules: s.Rules = key({}, "settings of rules, over the global ones")
    connection_tests: s.ConnectionTests = key({}, "of its tests, over the global ones")
    campaigns: t.Items[Campaign] = key([], "the campaigns to watch")
    discovery: Discovery = key({}, "campaigns that are found by listing them")
    overrides: t.Items[Override] = key(
        [], "labels and rules for the campaigns that match, in order, later wins"
    )

    def _conflicts(self) -> Iterator[Conflict]:
        if self.proxy_credentials_file and not self.proxy_url:
            yield ("proxy_credentials_file",), "expected proxy_url as well"
        # Without TLS the proxy would read the token.
        if self.proxy_url and not self.base_url.startswith("https:"):
            yield ("proxy_url",), "expected an https base_url, or no proxy"

    _resolved: Resolved = PrivateAttr(default_factory=Resolved)

    @property
    def resolved(self) -> Resolved:
        """What its settings come to together with the global ones."""
        return self._resolved

    @property
    def alert_labels(self) -> AlertLabels:
        """The labels of its own alerts."""
        return AlertLabels(labels=self.labels, exported=self.resolved.exported)

    @property
    def budget_per_minute(self) -> float:
        """The requests per minute that this monitor may send."""
        return self.requests_per_minute * self.budget_share

    @property
    def token_source(self) -> TokenSource:
        """Where the token comes from."""
        source = self.token_file or self.token
        assert source is not None
        return source


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
    if not tested.enabled and not any(dict(one.connection_tests)["enabled"] for one in layers):
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
