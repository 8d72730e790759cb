"""The board as metrics: gauges only, made anew for each scrape.

A value of None leaves a series out: not known, or not applicable. What is not on the board any
more is not on the page, so nothing has to be taken back.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from monitor.core.board import Board, Entry, EnvironmentBoard, active_alerts
from monitor.core.model import Alert, Instant, Severity, SftpConfig
from monitor.core.rules import StaleTest
from monitor.core.text import clean

LABEL_CHARACTERS = 128
"""Label values are cut to this length."""

_PREFIX = "sftp_monitor_"


class SinkState(NamedTuple):
    """What waits to be told to a sink: how many events, and since when the oldest of them."""

    name: str
    pending: int
    oldest: Instant | None


def _present(entry: Entry) -> SftpConfig | None:
    memory = entry.status.memory
    return memory.config if memory.gone_at is None else None


def _up(entry: Entry) -> float | None:
    status = entry.status
    return None if status.polled_at is None else float(status.error is None)


def _configured(entry: Entry) -> float | None:
    known = entry.status.memory.seen_at is not None
    return float(_present(entry) is not None) if known else None


def _of_config(value: Callable[[SftpConfig], float | None]) -> Callable[[Entry], float | None]:
    def value_if_there(entry: Entry) -> float | None:
        """Return the value of the config, None where there is no config."""
        config = _present(entry)
        return None if config is None else value(config)

    return value_if_there


def _stale_at(entry: Entry) -> float | None:
    config, rule = _present(entry), entry.target.rules.get(StaleTest.name)
    if config is None or config.last_test_at is None or not isinstance(rule, StaleTest):
        return None
    return config.last_test_at + rule.max_age_for(config)


CAMPAIGN_GAUGES: tuple[tuple[str, str, Callable[[Entry], float | None]], ...] = (
    (
        "campaign_up",
        "1 if the last poll gave a definite answer (404 is one), 0 if it did not.",
        _up,
    ),
    (
        "campaign_last_poll_timestamp_seconds",
        "When a poll last gave a definite answer.",
        lambda entry: entry.status.memory.seen_at,
    ),
    (
        "sftp_configured",
        "1 if the campaign has an SFTP config, 0 if it has none.",
        _configured,
    ),
    (
        "sftp_enabled",
        "1 if the SFTP config is enabled, 0 if it is switched off.",
        _of_config(lambda config: config.is_enabled),
    ),
    (
        "sftp_created_timestamp_seconds",
        "When the SFTP config was created.",
        _of_config(lambda config: config.created_at),
    ),
    (
        "sftp_last_test_success",
        "1 if the last connection test passed, 0 if it failed.",
        _of_config(lambda config: config.last_test_success),
    ),
    (
        "sftp_last_test_timestamp_seconds",
        "When the last connection test ran.",
        _of_config(lambda config: config.last_test_at),
    ),
    (
        "sftp_test_stale_timestamp_seconds",
        "When stale_test will hold, if nothing is tested before.",
        _stale_at,
    ),
)
"""Name, help and value of every gauge with the labels `environment` and `campaign_id` only."""

ENVIRONMENT_GAUGES: tuple[tuple[str, str, Callable[[EnvironmentBoard], float | None]], ...] = (
    (
        "environment_swept_timestamp_seconds",
        "End of the last complete sweep over all campaigns.",
        lambda board: board.status.swept_at,
    ),
    (
        "api_up",
        "0 after a transport error, 5xx or 401; 1 after an answer.",
        lambda board: board.status.up,
    ),
    (
        "budget_requests_per_minute",
        "Calls a minute that may be spent on the API.",
        lambda board: board.per_minute,
    ),
    (
        "budget_available_requests",
        "Calls that may be spent right now.",
        lambda board: board.available,
    ),
    (
        "effective_interval_seconds",
        "The sweep time that the budget really gives.",
        lambda board: board.interval,
    ),
    (
        "poll_lag_seconds",
        "How late the most overdue poll is.",
        lambda board: board.lag,
    ),
)
"""Name, help and value of every gauge of an environment that is watched, labelled by it only."""


class BoardCollector(Collector):
    """The metrics of one board, and of what waits in the sinks."""

    def __init__(
        self, board: Board, sinks: Sequence[SinkState], campaign_labels: Sequence[str]
    ) -> None:
        """Take a view of the board; `campaign_labels` name the config's labels to put on."""
        self._board = board
        self._sinks = sinks
        self._campaign_labels = campaign_labels

    def collect(self) -> Iterator[Metric]:
        """Yield one family after the other, so that only one is in memory at a time."""
        yield self._campaign_info()
        for name, about, campaign_value in CAMPAIGN_GAUGES:
            family = _family(name, about)
            for _, entry in self._board.entries():
                _put(family, _campaign_key(entry), campaign_value(entry))
            yield family
        yield self._alerts()
        yield self._alerts_since()
        yield self._campaign_counts()
        for name, about, environment_value in ENVIRONMENT_GAUGES:
            family = _family(name, about)
            for name_, environment in self._board.environments.items():
                _put(family, {"environment": name_}, environment_value(environment))
            yield family
        yield self._owned()
        yield from self._waiting()

    def _campaign_info(self) -> Metric:
        family = _family("campaign_info", "1, labelled with what is known of the campaign.")
        for _, entry in self._board.entries():
            config = entry.status.memory.config
            labels = {
                **_campaign_key(entry),
                "campaign_name": _value(entry.target.name),
                "sftp_host": _host(entry),
                "sftp_port": str(config.port or "") if config else "",
                "auth_type": _value(config.auth_type) if config else "",
                "import_schedule": _value(config.import_schedule) if config else "",
                **self._labels(entry.target.labels),
            }
            _put(family, labels, 1.0)
        return family

    def _alerts(self) -> Metric:
        family = _family("alert", "1 for each alert that is pending, firing (told) or muted.")
        for environment, alert in self._environment_alerts():
            severity = alert.told_severity or environment.rules[alert.rule].severity
            labels = {
                "environment": environment.status.name,
                **_alert_labels(alert, severity),
                **self._labels(environment.labels),
            }
            _put(family, labels, 1.0)
        for entry, alert in self._campaign_alerts():
            severity = alert.told_severity or entry.target.rules[alert.rule].severity
            labels = {
                **_campaign_key(entry),
                **_alert_labels(alert, severity),
                "sftp_host": _host(entry),
                **self._labels(entry.target.labels),
            }
            _put(family, labels, 1.0)
        return family

    def _alerts_since(self) -> Metric:
        family = _family("alert_since_timestamp_seconds", "Since when an active alert is true.")
        for environment, alert in self._environment_alerts():
            key = {"environment": environment.status.name}
            _put(family, {**key, "rule": alert.rule}, alert.since)
        for entry, alert in self._campaign_alerts():
            _put(family, {**_campaign_key(entry), "rule": alert.rule}, alert.since)
        return family

    def _campaign_counts(self) -> Metric:
        family = _family("campaigns", "How many campaigns have each health.")
        for name, environment in self._board.environments.items():
            for health, count in environment.counts().items():
                _put(family, {"environment": name, "health": health.value}, count)
        return family

    def _owned(self) -> Metric:
        family = _family("environment_owned", "1 if this process watches the environment, else 0.")
        for name in self._board.environments:
            _put(family, {"environment": name}, 1.0)
        for name in sorted(self._board.elsewhere):
            _put(family, {"environment": name}, 0.0)
        return family

    def _waiting(self) -> Iterator[Metric]:
        pending = _family("sink_pending_events", "Events that wait to be told to a sink.")
        oldest = _family(
            "sink_oldest_pending_timestamp_seconds", "Since when the oldest of them waits."
        )
        for sink in self._sinks:
            _put(pending, {"sink": sink.name}, sink.pending)
            _put(oldest, {"sink": sink.name}, sink.oldest)
        yield pending
        yield oldest

    def _environment_alerts(self) -> Iterator[tuple[EnvironmentBoard, Alert]]:
        for environment in self._board.environments.values():
            for alert in active_alerts(environment.status.alerts.values()):
                # Of a rule that was switched off an alert may be left; it has no severity.
                if alert.rule in environment.rules:
                    yield environment, alert

    def _campaign_alerts(self) -> Iterator[tuple[Entry, Alert]]:
        for _, entry in self._board.entries():
            for alert in active_alerts(entry.status.alerts.values()):
                if alert.rule in entry.target.rules:
                    yield entry, alert

    def _labels(self, labels: Mapping[str, str]) -> dict[str, str]:
        return {name: _value(labels.get(name)) for name in self._campaign_labels}


def _family(name: str, about: str) -> Metric:
    return Metric(_PREFIX + name, about, "gauge")


def _put(family: Metric, labels: dict[str, str], value: float | None) -> None:
    if value is not None:
        family.add_sample(family.name, labels, float(value))


def _campaign_key(entry: Entry) -> dict[str, str]:
    return {"environment": entry.target.environment, "campaign_id": entry.target.campaign_id}


def _alert_labels(alert: Alert, severity: Severity) -> dict[str, str]:
    return {"rule": alert.rule, "severity": severity.value, "alertstate": alert.shown_as}


def _host(entry: Entry) -> str:
    config = entry.status.memory.config
    return _value(config.host) if config else ""


def _value(text: str | None) -> str:
    return clean(text or "", LABEL_CHARACTERS)
