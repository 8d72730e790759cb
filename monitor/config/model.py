"""The config: every key once, as the daemon uses it, `config show` prints it and editors get it."""

import re
from collections.abc import Callable, Iterator, Mapping
from importlib.util import find_spec
from typing import Annotated, Any

import yaml
from pydantic import AfterValidator, Field, PrivateAttr, ValidationInfo, model_validator

from monitor.config import sections as s
from monitor.config import types as t
from monitor.config.document import Place
from monitor.config.environments import Environment
from monitor.config.keys import Conflict, Section, key, literal, made
from monitor.config.sources import Sources
from monitor.config.targets import settings_of, sharing_with
from monitor.core.durations import format_duration
from monitor.core.model import MINUTE, Seconds, Severity
from monitor.core.rule import Target

_PROJECT = "https://github.com/sftp-config-monitor/sftp-config-monitor"
RUNBOOKS = f"{_PROJECT}/blob/main/docs/runbooks/{{rule}}.md"


class Polling(Section):
    """How often the API is asked, within the budget."""

    interval: t.PositiveDuration = key("5m", "healthy campaigns, and old alerts")
    # The default gives way to a shorter `interval`.
    unhealthy_interval: t.PositiveDuration = made(
        lambda known: min(MINUTE, known["interval"]),
        "1m",
        "a pending or young alert, or a failed poll; not longer than interval",
    )
    idle_interval: t.PositiveDuration = key("30m", "campaigns whose alerts are muted")
    timeout: t.PositiveDuration = key("10s", "a whole request, body included")
    concurrency: t.Concurrency = key(8, "requests at once, per environment")
    probe_interval: t.PositiveDuration = key("30s", "probes while the API is unreachable")
    token_probe_interval: t.PositiveDuration = key("5m", "probes while the token is rejected")

    def _conflicts(self) -> Iterator[Conflict]:
        intervals = {"interval": self.interval, "idle_interval": self.idle_interval}
        if self.unhealthy_interval != self.interval:
            intervals["unhealthy_interval"] = self.unhealthy_interval
        for name, seconds in intervals.items():
            default = "" if name in self.model_fields_set else ", the default"
            found = f"found {format_duration(seconds)}{default}"
            if seconds < self.timeout:
                limit = f"timeout ({format_duration(self.timeout)})"
                yield (name,), f"expected an interval not shorter than {limit}, {found}"
            if name == "unhealthy_interval" and seconds > self.interval:
                limit = f"interval ({format_duration(self.interval)})"
                yield (name,), f"expected an interval not longer than {limit}, {found}"


class RemindEvery(Section):
    """After how long an alert that still fires is sent again, by severity."""

    critical: t.Duration = key("4h", "0 = never")
    warning: t.Duration = key("24h", "0 = never")
    info: t.Duration = key("0", "0 = never")

    @model_validator(mode="before")
    @classmethod
    def _one_for_all(cls, value: object, info: ValidationInfo) -> object:
        if not isinstance(value, str):
            return value
        # Read here only to fail once: spread first, a mistake would be reported once per severity.
        t.DURATION.read(value, info.context)
        return dict.fromkeys(cls.model_fields, value)


class AlertFile(Section):
    """A file that has the alert events, too."""

    path: t.NewFile | None = key(None, "where they are appended as JSON lines")


class Alerts(Section):
    """How on-call is notified."""

    every: RemindEvery = key(
        {},
        "one duration, or one for each severity; 0 = never",
        alias="remind_every",
        json_schema_extra=lambda schema: schema.update(
            anyOf=[{"$ref": schema.pop("$ref")}, t.DURATION.schema]
        ),
    )
    heartbeat_every: t.Duration = key("5m", "a log line that says: still here; 0 = never")
    runbook_url: t.RunbookUrl = key(RUNBOOKS, "where a rule's runbook is")
    file: AlertFile = key({}, "a file that has the alert events, too")

    @property
    def remind_every(self) -> Mapping[Severity, Seconds]:
        """After how many seconds an alert that still fires is sent again, by severity."""
        return {severity: getattr(self.every, severity.value) for severity in Severity}


class Alertmanager(Section):
    """Alertmanagers that are notified directly, with the labels of the shipped Prometheus rules."""

    urls: t.Items[t.AlertmanagerUrl] = key(
        [], "each of them is notified, as the peers of a cluster must be"
    )

    def _conflicts(self) -> Iterator[Conflict]:
        for index, url in enumerate(self.urls):
            if url in self.urls[:index]:
                yield ("urls", index), "expected another URL: it is in the list already"


class Webhook(Section):
    """A receiver of alert events as JSON, signed."""

    name: t.ReceiverName | None = key(
        None, "the sink is webhook-<name>; its number where it has none, from 1"
    )
    url: t.ReceiverUrl = key(
        ..., "where events are posted; only its host is ever shown", repr=False
    )
    secret_file: t.SecretFile = key(..., "file with the secret that signs, and no more")
    proxy_url: t.ProxyUrl = key("", "proxy to the receiver, as in environments")
    proxy_credentials_file: t.Credentials | None = key(None, "file with the proxy's user:password")

    def _conflicts(self) -> Iterator[Conflict]:
        if self.proxy_credentials_file and not self.proxy_url:
            yield ("proxy_credentials_file",), "expected proxy_url as well"


class Apprise(Section):
    """A service that apprise knows, such as mail, PagerDuty, Opsgenie, Slack or Teams."""

    url_file: t.SecretFile = key(..., "file with the apprise URL, which holds a password")


def _numbered(webhooks: tuple[Webhook, ...]) -> tuple[Webhook, ...]:
    """Give those without a name their number."""
    numbered = enumerate(webhooks, 1)
    return tuple(one.model_copy(update={"name": one.name or str(n)}) for n, one in numbered)


class Notify(Section):
    """Who is notified beside the log, without Prometheus' rules."""

    alertmanager: Alertmanager = key({}, "Alertmanagers that are notified directly")
    webhooks: Annotated[t.Items[Webhook], AfterValidator(_numbered)] = key(
        [], "receivers of events as JSON"
    )
    apprise: t.Items[Apprise] = key([], "all else; needs requirements-notify.lock")

    def _conflicts(self) -> Iterator[Conflict]:
        if self.apprise and find_spec("apprise") is None:
            wanted = "expected apprise to be installed, as requirements-notify.lock has it"
            yield ("apprise",), wanted


class Metrics(Section):
    """What Prometheus is given."""

    campaign_labels: t.Items[t.LabelName] = key(
        [], "labels that go on sftp_monitor_alert and sftp_monitor_campaign_info"
    )


class Web(Section):
    """The page, the JSON API and the metrics."""

    listen_address: t.Listen = key("127.0.0.1:10022", "host:port, [::1]:port or :port")
    allow_unauthenticated: t.TrueOrFalse = key(
        False, "listen beyond loopback, where anybody could read"
    )
    operators: t.Items[t.Words] = key(
        [], "users, or subjects of client certificates, who may have connection tests run"
    )
    external_url: t.WebUrl | None = key(None, "where people reach the page")
    replica_url: t.WebUrl | None = key(
        None, "where the other replicas send people and commands; else its host name and port"
    )
    config_file: t.FilePath | None = key(
        None, "TLS and passwords, in the format of Prometheus' exporter-toolkit"
    )


class Log(Section):
    """The log on standard output, which has the alerts as well."""

    level: t.LogLevelName = key("info", "debug, info, warning or error")
    format: t.LogFormatName = key("json", "json, or console for people")


class Links(Section):
    """Where people are sent from here."""

    campaign_url: t.CampaignUrl = key(
        "", "where a campaign is opened in TalkOver, with {campaign_id} and maybe {environment}"
    )


class Config(Section):
    """The config file of sftp-monitor."""

    environments: tuple[Environment, ...] = Field(
        min_length=1, description="one for each environment token of TalkOver"
    )
    polling: Polling = key({}, "how often the API is asked")
    rules: s.Rules = key({}, "settings of rules, for all campaigns and environments")
    connection_tests: s.ConnectionTests = key({}, "connection tests that the monitor runs itself")
    alerts: Alerts = key({}, "how on-call is notified")
    notify: Notify = key({}, "who is notified beside the log, without Prometheus' rules")
    metrics: Metrics = key({}, "what Prometheus is given")
    web: Web = key({}, "the page, the JSON API and the metrics")
    state: s.State = key({}, "what is remembered over a restart")
    log: Log = key({}, "the log, alerts included")
    links: Links = key({}, "where people are sent from here")

    _digest: bytes = PrivateAttr(b"")
    _sources: Sources = PrivateAttr(default_factory=Sources)
    _settings: dict[Place, str] = PrivateAttr(default_factory=dict)  # where each is set

    @property
    def digest(self) -> bytes:
        """The SHA-256 of the file's bytes."""
        return self._digest

    def origins(self, target: Target) -> Callable[[str, str], str]:
        """Return what says where a campaign's setting is set, as file and line; empty: nowhere.

        It is asked with a section, such as rules.stale_test, and a name in it.
        """
        around: list[Place] = [()]
        for number, one in enumerate(self.environments):
            if one.name == target.environment:
                of: Place = ("environments", number)
                around += [of, *((*of, "overrides", override) for override in target.overrides)]
                ids = [campaign.id for campaign in one.campaigns]
                if target.campaign_id in ids:
                    around.append((*of, "campaigns", ids.index(target.campaign_id)))

        def origin(section: str, name: str) -> str:
            """Return where it is set, by the strongest layer that sets it."""
            key = (*section.split("."), name.rstrip("_"))
            found = (self._settings.get((*place, *key), "") for place in reversed(around))
            return next(filter(None, found), "")

        return origin

    def sharing_with(self, before: "Config") -> "Config":
        """Return the same config, with what is equal in `before` the very same as there."""
        # So others see at a glance what has changed: to compare 10,000 campaigns takes 0.1 s.
        known = {each.name: each for each in before.environments}
        shared = [sharing_with(each, known.get(each.name)) for each in self.environments]
        return self.model_copy(update={"environments": tuple(shared)})


# A YAML 1.2 reader would take these for numbers, 1.1 as PyYAML has it would not.
_NUMBERS = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$|0o[0-7]+$")
# A token is shown with a comment, for which the library knows no way.
_WITH_COMMENT = re.compile(r"'(<secret>  # from \$\{\w+\})'")


class _Dumper(yaml.SafeDumper):
    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        """Indent the items of a list, as the example does."""
        super().increase_indent(flow, indentless=False)


_Dumper.add_implicit_resolver("tag:yaml.org,2002:float", _NUMBERS, list("-+.0123456789"))


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of the config file, with every rule."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **Config.model_json_schema(),
        "title": "sftp-monitor config",
    }


def effective_yaml(config: Config) -> str:
    """Return the config as a file with every default filled in, and secrets as `<secret>`."""
    shown = config.model_dump(exclude_none=True, by_alias=True)
    if config.alerts.file.path is None:
        del shown["alerts"]["file"]
    for name in ("path",) if config.state.url is not None else ("migrate", "unavailable_after"):
        del shown["state"][name]
    for part, environment in zip(shown["environments"], config.environments, strict=True):
        for campaign, entry in zip(environment.campaigns, part["campaigns"], strict=True):
            target = environment.resolved.targets[campaign.id]
            entry["labels"] = {name: literal(value) for name, value in target.labels.items()}
            entry.update(settings_of(environment, target, campaign, whole=False))
            entry["expect_sftp"] = target.expected
    # Text is not folded: nobody could search for it or paste it.
    text = yaml.dump(shown, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=2**16)
    return _WITH_COMMENT.sub(r"\1", text)
