"""The metrics of campaigns: each one's lines are made when something of it has changed.

A value of None leaves a series out: not known, or not applicable. What is not on the board any
more is not on the page, so nothing has to be taken back.
"""

from collections.abc import Callable, Mapping

from monitor.adapters.metrics.lines import line, written
from monitor.core.board import Board, Entry
from monitor.core.model import AlertLabels, Severity, SftpConfig
from monitor.core.rules import StaleTest
from monitor.core.status import Alert
from monitor.core.text import clean

LABEL_CHARACTERS = 128
"""Label values are cut to this length."""

Lines = tuple[bytes, ...]
"""What a campaign adds to each of `CAMPAIGN_FAMILIES`, in their order; perhaps nothing."""


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
    return lambda entry: None if (config := _present(entry)) is None else value(config)


def _stale_at(entry: Entry) -> float | None:
    config, rule = _present(entry), entry.target.rules.get(StaleTest.name)
    if config is None or config.last_test_at is None or not isinstance(rule, StaleTest):
        return None
    # Of half a record the rule concludes nothing, and so nothing is foretold of it.
    if config.half_tested:
        return None
    return config.last_test_at + rule.max_age_for(config)


CAMPAIGN_GAUGES: dict[str, tuple[str, Callable[[Entry], float | None]]] = {
    "campaign_up": (
        "1 if the last poll gave a definite answer (404 is one), 0 if it did not.",
        _up,
    ),
    "campaign_last_poll_timestamp_seconds": (
        "When a poll last gave a definite answer.",
        lambda entry: entry.status.memory.seen_at,
    ),
    "sftp_configured": ("1 if the campaign has an SFTP config, 0 if it has none.", _configured),
    "sftp_enabled": (
        "1 if the SFTP config is enabled, 0 if it is switched off.",
        _of_config(lambda config: config.is_enabled),
    ),
    "sftp_created_timestamp_seconds": (
        "When the SFTP config was created.",
        _of_config(lambda config: config.created_at),
    ),
    "sftp_last_test_success": (
        "1 if the last connection test passed, 0 if it failed.",
        _of_config(lambda config: config.last_test_success),
    ),
    "sftp_last_test_timestamp_seconds": (
        "When the last connection test ran.",
        _of_config(lambda config: config.last_test_at),
    ),
    "sftp_test_stale_timestamp_seconds": (
        "When stale_test will hold, if nothing is tested before.",
        _stale_at,
    ),
}
"""Name, help and value of every gauge with the labels `environment` and `campaign_id` only."""

CAMPAIGN_FAMILIES: dict[str, str] = {
    "campaign_info": "1, labelled with what is known of the campaign.",
    **{name: about for name, (about, _) in CAMPAIGN_GAUGES.items()},
    "alert": "1 for each alert that is pending, firing (sent) or muted.",
    "alert_since_timestamp_seconds": "Since when an active alert is true.",
}
"""Name and help of every family that campaigns are in."""


class CampaignLines:
    """The lines of all campaigns on the last page, so that the next makes only what has changed.

    About 1.5 kB a campaign. To be used by one thread at a time.
    """

    def __init__(self) -> None:
        """Start with no page."""
        self._made: dict[str, tuple[Mapping[str, Entry], dict[str, Lines]]] = {}

    def of(self, board: Board) -> list[Lines]:
        """Return the lines of every campaign."""
        self._made = {
            name: (environment.campaigns, self._environment(name, environment.campaigns))
            for name, environment in board.environments.items()
        }
        return [lines for _, made in self._made.values() for lines in made.values()]

    def _environment(self, name: str, campaigns: Mapping[str, Entry]) -> dict[str, Lines]:
        # An entry never changes, so the same one has the same lines.
        before, made = self._made.get(name, ({}, {}))
        return {
            key: made[key] if before.get(key) is entry else _lines(entry)
            for key, entry in campaigns.items()
        }


def alert_labels(alert: Alert, severity: Severity) -> dict[str, str]:
    """Return what an alert of a campaign and one of an environment are both labelled with."""
    return {"rule": alert.rule, "severity": severity.value, "alertstate": alert.shown_as}


def exported(labels: AlertLabels) -> dict[str, str]:
    """Return the labels of the config that are asked for; empty where there is none."""
    return {name: _value(labels.labels.get(name)) for name in labels.exported}


def _hosted(labels: AlertLabels) -> dict[str, str]:
    return {"sftp_host": _value(labels.sftp_host), **exported(labels)}


def _lines(entry: Entry) -> Lines:
    target, config = entry.target, entry.status.memory.config
    key = {"environment": target.environment, "campaign_id": target.campaign_id}
    info = {
        **key,
        **_hosted(entry.labels),
        "campaign_name": _value(target.name),
        "sftp_port": str(config.port or "") if config else "",
        "auth_type": _value(config.auth_type) if config else "",
        "import_schedule": _value(config.import_schedule) if config else "",
    }
    labels, alerts, since = written(key), b"", b""
    for alert, _, severity in entry.active_alerts():
        own = {**key, **_hosted(alert.fired_as or entry.labels)}
        alerts += line("alert", written({**own, **alert_labels(alert, severity)}), 1.0)
        rule = written({**key, "rule": alert.rule})
        since += line("alert_since_timestamp_seconds", rule, alert.since)
    return (
        line("campaign_info", written(info), 1.0),
        *(line(name, labels, value(entry)) for name, (_, value) in CAMPAIGN_GAUGES.items()),
        alerts,
        since,
    )


def _value(text: str | None) -> str:
    return clean(text or "", LABEL_CHARACTERS)
