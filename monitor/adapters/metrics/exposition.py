"""The snapshot, the sinks and the own counters as one page, in one of Prometheus' two text formats.

By hand: for a million series prometheus-client takes 8 s and 700 MB, and it keeps no lines.
"""

from collections.abc import Iterable, Iterator, Mapping
from io import BytesIO

from prometheus_client.exposition import choose_encoder
from prometheus_client.utils import floatToGoString

from monitor.adapters.metrics.self_metrics import SelfMetrics
from monitor.core.model import AlertLabels, Instant
from monitor.core.rules import StaleTest
from monitor.core.snapshot import Entry, EnvironmentSnapshot, Snapshot
from monitor.core.text import clean

LABEL_CHARACTERS = 128
"""Label values are cut to this length."""

_PREFIX = "sftp_monitor_"
_TEXT, _OPENMETRICS = choose_encoder("text/plain"), choose_encoder("application/openmetrics-text")

Values = Mapping[str, float | None]
"""Of each gauge by its name: None, or none at all, leaves its series out."""

Lines = tuple[bytes, ...]
"""What a campaign adds to each of `CAMPAIGN_FAMILIES`, in their order."""


Pending = tuple[int, Instant | None]
"""What waits to be delivered to a sink: how many events, and since when the oldest of them."""

CAMPAIGN_FAMILIES: Mapping[str, str] = {
    "campaign_info": "1, labelled with what is known of the campaign.",
    "campaign_up": "1 if the last poll gave a definite answer (404 is one), 0 if it did not.",
    "campaign_last_poll_timestamp_seconds": "When a poll last gave a definite answer.",
    "sftp_configured": "1 if the campaign has an SFTP config, 0 if it has none.",
    "sftp_enabled": "1 if the SFTP config is enabled, 0 if it is switched off.",
    "sftp_created_timestamp_seconds": "When the SFTP config was created.",
    "sftp_last_test_success": "1 if the last connection test passed, 0 if it failed.",
    "sftp_last_test_timestamp_seconds": "When the last connection test ran.",
    "sftp_test_stale_timestamp_seconds": "When stale_test will hold, if nothing is tested before.",
    "alert": "1 for each alert that is pending, firing (sent) or muted.",
    "alert_since_timestamp_seconds": "Since when an active alert is true.",
}
"""Name and help of every family that campaigns are in; environments are in the last two."""
_CAMPAIGN_GAUGES = tuple(CAMPAIGN_FAMILIES)[1:-2]

ENVIRONMENT_FAMILIES: Mapping[str, str] = {
    "environment_swept_timestamp_seconds": "End of the last complete sweep over all campaigns.",
    "api_up": "0 after a transport error, 5xx or 401; 1 after an answer.",
    "budget_requests_per_minute": "Calls a minute that may be spent on the API.",
    "budget_available_requests": "Calls that may go out within the next minute.",
    "effective_interval_seconds": "The sweep time that the budget really gives.",
    "poll_lag_seconds": "How late the most overdue poll is.",
    "environment_owned": "1: this process watches the environment.",
}
"""Name and help of every gauge that is labelled by the environment only."""

SINK_FAMILIES: Mapping[str, str] = {
    "sink_pending_events": "Events that wait to be delivered to a sink.",
    "sink_oldest_pending_timestamp_seconds": "Since when the oldest of them waits.",
}
"""Name and help of every gauge that is labelled by the sink only, in the order of `Pending`."""


def campaign_values(entry: Entry) -> Values:
    """Return the values of a campaign's gauges."""
    status, last_known = entry.status, entry.status.last_known
    config = last_known.config if last_known.missing_since is None else None
    values: dict[str, float | None] = {
        "campaign_up": None if status.polled_at is None else status.error is None,
        "campaign_last_poll_timestamp_seconds": last_known.last_read_at,
        "sftp_configured": None if last_known.last_read_at is None else config is not None,
    }
    if config is not None:
        values |= {
            "sftp_enabled": config.is_enabled,
            "sftp_created_timestamp_seconds": config.created_at,
            "sftp_last_test_success": config.last_test_success,
            "sftp_last_test_timestamp_seconds": config.last_test_at,
        }
        rule = entry.target.rules.get(StaleTest.name)
        # Of half a record the rule concludes nothing, and so nothing is foretold of it.
        tested_at = None if config.half_tested else config.last_test_at
        if isinstance(rule, StaleTest) and tested_at is not None:
            values["sftp_test_stale_timestamp_seconds"] = tested_at + rule.max_age_for(
                config, entry.target.tests
            )
    return values


def _environment_values(snapshot: EnvironmentSnapshot) -> Values:
    return {
        "environment_swept_timestamp_seconds": snapshot.status.swept_at,
        "api_up": snapshot.status.up,
        "budget_requests_per_minute": snapshot.per_minute,
        "budget_available_requests": snapshot.available,
        "effective_interval_seconds": snapshot.interval,
        "poll_lag_seconds": snapshot.lag,
        "environment_owned": 1.0,
    }


class Exposition:
    """Makes the page; it keeps the lines of campaigns for the next one, about 1.5 kB of each."""

    def __init__(self, own: SelfMetrics) -> None:
        """Show these counters beside the snapshot."""
        self._self_metrics = own
        self._made: dict[str, tuple[Mapping[str, Entry], Mapping[str, Lines]]] = {}

    def render(
        self, snapshot: Snapshot, sinks: Mapping[str, Pending], *, openmetrics: bool
    ) -> bytes:
        """Return the page, in text 0.0.4 or OpenMetrics 1.0.0; one thread at a time may call it."""
        page = BytesIO()
        # Family by family: a large page in one piece would hold the interpreter, and so the loop,
        # for far too long, and be in memory twice.
        page.writelines(self._families(snapshot, sinks))
        encode, _ = _OPENMETRICS if openmetrics else _TEXT
        # Last: the OpenMetrics encoder ends with what ends the page.
        page.write(encode(self._self_metrics.registry))
        return page.getvalue()

    def campaign_lines(self, snapshot: Snapshot) -> list[Lines]:
        """Return the lines of every campaign: the last page's own, but for what has changed."""
        before, self._made = self._made, {}
        for name, environment in snapshot.environments.items():
            seen, made = before.get(name, ({}, {}))
            # An entry never changes, so the same one has the same lines.
            lines = {
                key: made[key] if seen.get(key) is entry else _of_campaign(entry)
                for key, entry in environment.campaigns.items()
            }
            self._made[name] = environment.campaigns, lines
        return [each for _, lines in self._made.values() for each in lines.values()]

    def _families(self, snapshot: Snapshot, sinks: Mapping[str, Pending]) -> Iterator[bytes]:
        lines = [
            *map(_of_environment, snapshot.environments.values()),
            *self.campaign_lines(snapshot),
        ]
        for place, (name, about) in enumerate(CAMPAIGN_FAMILIES.items()):
            yield _family(name, about, (each[place] for each in lines))
        counts = (
            _line("campaigns", _written({"environment": name, "health": health.value}), count)
            for name, environment in snapshot.environments.items()
            for health, count in environment.counts().items()
        )
        yield _family("campaigns", "How many campaigns have each health.", counts)
        known = {name: _environment_values(one) for name, one in snapshot.environments.items()}
        yield from _gauges(ENVIRONMENT_FAMILIES, "environment", known)
        waiting = {name: dict(zip(SINK_FAMILIES, one, strict=True)) for name, one in sinks.items()}
        yield from _gauges(SINK_FAMILIES, "sink", waiting)


def _of_campaign(entry: Entry) -> Lines:
    target, config, values = entry.target, entry.status.last_known.config, campaign_values(entry)
    key = {"environment": target.environment, "campaign_id": target.campaign_id}
    info = {
        **_labelled(key, entry.labels),
        "campaign_name": target.name,
        "sftp_port": str(config.port or "") if config else "",
        "auth_type": config.auth_type if config else "",
        "import_schedule": config.import_schedule if config else "",
    }
    labels = _written(key)
    gauges = (_line(name, labels, values.get(name)) for name in _CAMPAIGN_GAUGES)
    return _line("campaign_info", _written(info), 1.0), *gauges, *_alerts(entry, key)


def _of_environment(environment: EnvironmentSnapshot) -> Lines:
    others = (b"",) * (len(CAMPAIGN_FAMILIES) - 2)
    return *others, *_alerts(environment, {"environment": environment.status.name})


def _alerts(about: Entry | EnvironmentSnapshot, key: Mapping[str, str]) -> tuple[bytes, bytes]:
    """Return the lines of its active alerts, and those of since when each of them is true."""
    alerts = since = b""
    for alert, _, severity in about.active_alerts():
        own = {"rule": alert.rule, "severity": severity.value, "alertstate": alert.shown_as}
        labels = {**_labelled(key, alert.fired_as or about.labels), **own}
        alerts += _line("alert", _written(labels), 1.0)
        rule = _written({**key, "rule": alert.rule})
        since += _line("alert_since_timestamp_seconds", rule, alert.since)
    return alerts, since


def _labelled(key: Mapping[str, str], labels: AlertLabels) -> dict[str, str | None]:
    """Return a key with the labels of the config that are asked for, and a campaign's host."""
    host = {"sftp_host": labels.sftp_host} if "campaign_id" in key else {}
    return {**key, **host, **{name: labels.labels.get(name) for name in labels.exported}}


def _gauges(
    families: Mapping[str, str], label: str, known: Mapping[str, Values]
) -> Iterator[bytes]:
    """Yield families of gauges that are known by the value of their one label."""
    keys = {_written({label: name}): values for name, values in known.items()}
    for name, about in families.items():
        yield _family(name, about, (_line(name, key, each.get(name)) for key, each in keys.items()))


def _family(name: str, about: str, lines: Iterable[bytes]) -> bytes:
    """Return a gauge with all its lines; `about` has neither a backslash nor a newline in it."""
    head = f"# HELP {_PREFIX}{name} {about}\n# TYPE {_PREFIX}{name} gauge\n".encode()
    return b"".join([head, *lines])


def _line(name: str, labels: str, value: float | None) -> bytes:
    """Return one series with its labels as `_written`; nothing where there is no value."""
    if value is None:
        return b""
    number = floatToGoString(value)  # type: ignore[no-untyped-call]
    return f"{_PREFIX}{name}{labels} {number}\n".encode()


def _written(labels: Mapping[str, str | None]) -> str:
    """Return labels in braces, in the order of their names; None is empty."""
    pairs = [f'{name}="{_value(labels[name] or "")}"' for name in sorted(labels)]
    return f"{{{','.join(pairs)}}}"


def _value(text: str) -> str:
    return clean(text, LABEL_CHARACTERS).replace("\\", r"\\").replace('"', r"\"")
