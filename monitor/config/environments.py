"""The environments of the config; `targets` has what is polled of them."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import PrivateAttr

from monitor.config import sections as s
from monitor.config import types as t
from monitor.config.keys import Conflict, Section, key, made
from monitor.config.secrets import TokenSource
from monitor.core.attempt import TestSettings
from monitor.core.environment import EnvironmentRule
from monitor.core.model import AlertLabels, Seconds
from monitor.core.rule import Target


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
