"""The file as it may be written: every key with its type, default and help text.

The classes are generic in the two kinds of `rules`, which are made when they are needed: the table
of rules is open.
"""

from collections.abc import Iterator
from functools import cache
from typing import Annotated, Any, Generic, TypeVar, cast

from pydantic import BaseModel, BeforeValidator, Field

from monitor.config import kinds
from monitor.config.durations import format_duration
from monitor.config.keys import key, required
from monitor.config.rule_settings import rules_model
from monitor.config.section import Section
from monitor.core.environment_rules import ENVIRONMENT_RULES
from monitor.core.model import Severity
from monitor.core.rule import BaseRule
from monitor.core.rules import RULES

R = TypeVar("R", bound=BaseModel)
"""The model of `rules` that takes the rules of campaigns and of environments."""

C = TypeVar("C", bound=BaseModel)
"""The model of `rules` that takes the rules of campaigns only."""

RUNBOOKS = (
    "https://github.com/sftp-config-monitor/sftp-config-monitor/blob/main/docs/runbooks/{rule}.md"
)


class Campaign(Section, Generic[C]):
    """A campaign that is watched."""

    id: kinds.CampaignId = required("the campaign's id, as in its address in TalkOver")
    name: kinds.Words = key("", "its name, for people")
    labels: kinds.Labels = key({}, "labels on its alerts, over those of its environment")
    rules: C = key({}, "settings of its rules, over all others")
    expect_sftp: kinds.TrueOrFalse = key(
        True, "it must have a config; false: only one that was seen once is missed"
    )


class Match(Section):
    """Which campaigns an override is for; all that is given must match."""

    name: kinds.Expression | None = key(None, "regular expression that the whole name matches")
    campaign_type: kinds.CampaignTypeName | None = key(
        None, "its type; known through discovery alone"
    )

    def conflicts(self) -> Iterator[tuple[str, str]]:
        """Yield the want of anything to match."""
        if self.name is None and self.campaign_type is None:
            yield "", "expected name or campaign_type, or both"


class Override(Section, Generic[C]):
    """Labels and settings of the campaigns that match."""

    match: Match = required("which campaigns this is for")
    labels: kinds.Labels = key({}, "labels on their alerts, over those of the environment")
    rules: C = key({}, "settings of their rules, over those of the environment")
    expect_sftp: kinds.TrueOrFalse | None = key(
        None, "whether they must have a config, over the default of campaigns and of discovery"
    )


class Discovery(Section):
    """Finding campaigns by listing them (GET /campaigns); what the file says of one wins."""

    enabled: kinds.TrueOrFalse = key(False, "beside `campaigns`, watch what is listed")
    every: kinds.PositiveDuration = key("15m", "how often campaigns are listed")
    statuses: Annotated[list[kinds.CampaignStatusName], kinds.OrNoItems] = key(
        ["active"], "whose alerts are told; the others are polled at idle_interval, and muted"
    )
    include: Annotated[list[kinds.Expression], kinds.OrNoItems] = key(
        [], "regular expressions, one of which the whole name must match; empty = all"
    )
    exclude: Annotated[list[kinds.Expression], kinds.OrNoItems] = key(
        [], "regular expressions, none of which the whole name may match"
    )
    max_campaigns: kinds.Count = key(10000, "more are not taken in; known ones stay")
    expect_sftp: kinds.TrueOrFalse = key(
        False, "every campaign that is found must have a config, seen before or not"
    )


class Environment(Section, Generic[R, C]):
    """One environment of TalkOver: one token, one request limit, and its campaigns."""

    name: kinds.EnvironmentName = required("the label `environment`; renaming it resolves alerts")
    base_url: kinds.ApiUrl = key("https://app.talkover.ai/api/v1", "https; http for loopback only")
    token_file: kinds.FilePath | None = key(None, "file with the environment token, and no more")
    token: kinds.TokenReference | None = key(None, "${VAR} with the token, instead of token_file")
    ca_file: kinds.FilePath | None = key(
        None, "certificate authority of the API, instead of the system's"
    )
    requests_per_minute: kinds.Count = key(100, "the plan's limit, for all that uses the token")
    budget_share: kinds.Share = key(0.5, "the part of it that the monitor may use")
    labels: kinds.Labels = key({}, "labels on the alerts of its campaigns, and on its own")
    rules: R = key({}, "settings of rules, over the global ones")
    campaigns: Annotated[list[Campaign[C]], kinds.OrNoItems] = key([], "the campaigns to watch")
    discovery: Discovery = key({}, "campaigns that are found by listing them")
    overrides: Annotated[list[Override[C]], kinds.OrNoItems] = key(
        [], "labels and rules for the campaigns that match, in order, later wins"
    )


class Polling(Section):
    """How often the API is asked, within the budget."""

    interval: kinds.PositiveDuration = key("5m", "healthy campaigns, and old alerts")
    unhealthy_interval: kinds.PositiveDuration = key(
        "1m", "a pending or young alert, or a failed poll; not longer than interval"
    )
    idle_interval: kinds.PositiveDuration = key("30m", "campaigns that are not told")
    timeout: kinds.PositiveDuration = key("10s", "a whole request, body included")
    concurrency: kinds.Concurrency = key(8, "requests at once, per environment")
    probe_interval: kinds.PositiveDuration = key("30s", "probes while the API is unreachable")
    token_probe_interval: kinds.PositiveDuration = key("5m", "probes while the token is rejected")

    @property
    def effective_unhealthy_interval(self) -> float:
        """The interval in seconds; its default gives way to a shorter `interval`."""
        if "unhealthy_interval" in self.model_fields_set:
            return self.unhealthy_interval
        return min(self.unhealthy_interval, self.interval)

    def conflicts(self) -> Iterator[tuple[str, str]]:
        """Yield intervals in which no request can end, and a sick campaign that is polled less."""
        intervals = {"interval": self.interval, "idle_interval": self.idle_interval}
        if self.effective_unhealthy_interval != self.interval:
            intervals["unhealthy_interval"] = self.effective_unhealthy_interval
        limit = format_duration(self.timeout)
        for name, seconds in intervals.items():
            if seconds < self.timeout:
                default = "" if name in self.model_fields_set else ", the default"
                found = format_duration(seconds) + default
                yield (
                    name,
                    f"expected an interval not shorter than timeout ({limit}), found {found}",
                )
        if self.effective_unhealthy_interval > self.interval:
            limit, found = format_duration(self.interval), format_duration(self.unhealthy_interval)
            message = f"expected an interval not longer than interval ({limit}), found {found}"
            yield "unhealthy_interval", message


class RemindEvery(Section):
    """After how long an alert that still fires is told again, by severity."""

    critical: kinds.Duration = key("4h", "0 = never")
    warning: kinds.Duration = key("24h", "0 = never")
    info: kinds.Duration = key("0", "0 = never")


def _one_for_all(value: object) -> object:
    """Return a map of the severities where one duration is given for all of them."""
    if not isinstance(value, str):
        return value
    # Read here only to fail once: spread first, a mistake would be told once per severity.
    kinds.DURATION.read(value)
    return {severity.value: value for severity in Severity}


def _or_one_for_all(schema: dict[str, Any]) -> None:
    """Tell editors of the one duration, too."""
    schema["anyOf"] = [{"$ref": schema.pop("$ref")}, kinds.DURATION.schema]


class AlertFile(Section):
    """A file that has the alert events, too."""

    path: kinds.FilePath | None = key(None, "where they are appended as JSON lines")


class Alerts(Section):
    """How on-call is told."""

    remind_every: Annotated[
        RemindEvery, BeforeValidator(_one_for_all), Field(json_schema_extra=_or_one_for_all)
    ] = key({}, "one duration, or one for each severity; 0 = never")
    heartbeat_every: kinds.Duration = key("5m", "a log line that says: still here; 0 = never")
    runbook_url: kinds.RunbookUrl = key(RUNBOOKS, "where a rule's runbook is")
    file: AlertFile = key({}, "a file that has the alert events, too")


class Alertmanager(Section):
    """Alertmanagers that are told directly, with the labels of the shipped Prometheus rules."""

    urls: Annotated[list[kinds.AlertmanagerUrl], kinds.OrNoItems] = key(
        [], "each of them is told, as the peers of a cluster must be"
    )


class Webhook(Section):
    """A receiver of alert events as JSON, signed."""

    name: kinds.ReceiverName | None = key(
        None, "the sink is webhook-<name>; its number where it has none, from 1"
    )
    url: kinds.ReceiverUrl = required("where events are posted; only its host is ever shown")
    secret_file: kinds.FilePath = required("file with the secret that signs, and no more")


class Apprise(Section):
    """A service that apprise knows, such as mail, PagerDuty, Opsgenie, Slack or Teams."""

    url_file: kinds.FilePath = required("file with the apprise URL, which holds a password")


class Notify(Section):
    """Who is told beside the log, without Prometheus' rules."""

    alertmanager: Alertmanager = key({}, "Alertmanagers that are told directly")
    webhooks: Annotated[list[Webhook], kinds.OrNoItems] = key([], "receivers of events as JSON")
    apprise: Annotated[list[Apprise], kinds.OrNoItems] = key(
        [], "all else; needs pip install 'sftp-config-monitor[notify]'"
    )


class Metrics(Section):
    """What Prometheus is given."""

    campaign_labels: Annotated[list[kinds.LabelName], kinds.OrNoItems] = key(
        [], "labels that go on sftp_monitor_alert and sftp_monitor_campaign_info"
    )


class Web(Section):
    """The page, the JSON API and the metrics."""

    listen_address: kinds.Listen = key("127.0.0.1:10022", "host:port, [::1]:port or :port")
    allow_unauthenticated: kinds.TrueOrFalse = key(
        False, "listen beyond loopback, where anybody could read"
    )
    external_url: kinds.WebUrl | None = key(None, "where people reach the page")
    config_file: kinds.FilePath | None = key(
        None, "TLS and passwords, in the format of Prometheus' exporter-toolkit"
    )


class State(Section):
    """What is remembered over a restart."""

    path: kinds.FilePath | None = key(
        None, "the database; $STATE_DIRECTORY/sftp-monitor.db, else ./sftp-monitor.db"
    )
    retention: kinds.PositiveDuration = key("90d", "how long the history is kept")


class Log(Section):
    """The log on standard output, which has the alerts as well."""

    level: kinds.LogLevelName = key("info", "debug, info, warning or error")
    format: kinds.LogFormatName = key("json", "json, or console for people")


class File(Section, Generic[R, C]):
    """The config file of sftp-monitor."""

    environments: list[Environment[R, C]] = Field(
        min_length=1, description="one for each environment token of TalkOver"
    )
    polling: Polling = key({}, "how often the API is asked")
    rules: R = key({}, "settings of rules, for all campaigns and environments")
    alerts: Alerts = key({}, "how on-call is told")
    notify: Notify = key({}, "who is told beside the log, without Prometheus' rules")
    metrics: Metrics = key({}, "what Prometheus is given")
    web: Web = key({}, "the page, the JSON API and the metrics")
    state: State = key({}, "what is remembered over a restart")
    log: Log = key({}, "the log, alerts included")


AnyFile = File[BaseModel, BaseModel]


def file_model() -> type[AnyFile]:
    """Return the model of the file with all rules that are registered now."""
    return _file_model(tuple(RULES.values()), tuple(ENVIRONMENT_RULES.values()))


@cache
def _file_model(
    of_campaigns: tuple[type[BaseRule], ...], of_environments: tuple[type[BaseRule], ...]
) -> type[AnyFile]:
    # Making the classes takes as long as reading a hundred campaigns, at each reload.
    models = (
        rules_model("Rules", of_campaigns + of_environments),
        rules_model("CampaignRules", of_campaigns),
    )
    # File[...] would be a type to mypy, and takes no classes that are made at run time.
    return cast(type[AnyFile], File.__class_getitem__(models))
