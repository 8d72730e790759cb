"""The environments of the config: every key once, as in `model`."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from pydantic import PrivateAttr

from monitor.config import types as t
from monitor.config.keys import Conflict, Section, computed, key, required
from monitor.config.rules import CampaignRules, Layer, Rules, rules_key
from monitor.config.secrets import TokenSource
from monitor.core.environment_rules import EnvironmentRule
from monitor.core.model import AlertLabels, Seconds
from monitor.core.rule import Target


@dataclass(frozen=True, slots=True)
class Resolved:
    """What the settings of an environment come to, together with the global ones.

    `rules` are its own, the enabled ones; `targets` its campaigns by id while no listing is known,
    with theirs. `layers` say what was set where, weakest first. `only` is not of the file: `check
    --campaign` wants these ids and no others. `exported` names the labels that go on metrics.
    """

    rules: Mapping[str, EnvironmentRule] = field(default_factory=dict)
    unreadable_after: Seconds = 0.0
    targets: Mapping[str, Target] = field(default_factory=dict)
    layers: tuple[Layer, ...] = ()
    only: frozenset[str] | None = None
    exported: tuple[str, ...] = ()


class Campaign(Section):
    """A campaign that is watched."""

    id: t.CampaignId = required("the campaign's id, as in its address in TalkOver")
    name: t.Words = key("", "its name, for people")
    labels: t.Labels = key({}, "labels on its alerts, over those of its environment")
    rules: CampaignRules = rules_key("settings of its rules, over all others")
    # None where the file is silent: an override is stronger than the default, and what is written
    # stronger than both.
    expect_sftp: t.TrueOrFalse | None = computed(
        lambda _: None, True, "it must have a config; false: only one that was seen once is missed"
    )


class Match(Section):
    """Which campaigns an override is for; all that is given must match."""

    name: t.Expression | None = key(None, "regular expression that the whole name matches")
    campaign_type: t.CampaignTypeName | None = key(None, "its type; known through discovery alone")

    def conflicts(self) -> Iterator[Conflict]:
        """Yield the want of anything to match."""
        if self.name is None and self.campaign_type is None:
            yield (), "expected name or campaign_type, or both"


class Override(Section):
    """Labels and settings of the campaigns that match."""

    match: Match = required("which campaigns this is for")
    labels: t.Labels = key({}, "labels on their alerts, over those of the environment")
    rules: CampaignRules = rules_key("settings of their rules, over those of the environment")
    expect_sftp: t.TrueOrFalse | None = key(
        None, "whether they must have a config, over the default of campaigns and of discovery"
    )


class Discovery(Section):
    """Finding campaigns by listing them (GET /campaigns); what the file says of one wins."""

    enabled: t.TrueOrFalse = key(False, "beside `campaigns`, watch what is listed")
    every: t.PositiveDuration = key("15m", "how often campaigns are listed")
    statuses: t.Items[t.CampaignStatusName] = key(
        ["active"], "whose alerts are told; the others are polled at idle_interval, and muted"
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

    name: t.EnvironmentName = required("the label `environment`; renaming it resolves alerts")
    base_url: t.ApiUrl = key("https://app.talkover.ai/api/v1", "https; http for loopback only")
    token_file: t.SecretFile | None = key(None, "file with the environment token, and no more")
    token: t.SecretVariable | None = key(None, "${VAR} with the token, instead of token_file")
    ca_file: t.AuthorityFile | None = key(
        None, "certificate authority of the API, instead of the system's"
    )
    requests_per_minute: t.Count = key(100, "the plan's limit, for all that uses the token")
    budget_share: t.Share = key(0.5, "the part of it that the monitor may use")
    labels: t.Labels = key({}, "labels on the alerts of its campaigns, and on its own")
    rules: Rules = rules_key("settings of rules, over the global ones")
    campaigns: t.Items[Campaign] = key([], "the campaigns to watch")
    discovery: Discovery = key({}, "campaigns that are found by listing them")
    overrides: t.Items[Override] = key(
        [], "labels and rules for the campaigns that match, in order, later wins"
    )

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
