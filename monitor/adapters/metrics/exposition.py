"""The board, the sinks and the own counters as one page, in one of Prometheus' two text formats.

A new gauge is one entry in a table. A value of None leaves a series out: not known, or not
applicable. What is not on the board any more is not on the page, so nothing has to be taken back.

By hand, not by prometheus-client: for a million series its encoder takes 8 s and its samples
700 MB, and lines that are known already cannot be given to it.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from io import BytesIO
from typing import NamedTuple, TypeVar

from prometheus_client.exposition import choose_encoder
from prometheus_client.utils import floatToGoString

from monitor.adapters.metrics.own import OwnMetrics
from monitor.core.board import Board, Entry, EnvironmentBoard
from monitor.core.model import AlertLabels, Instant, SftpConfig
from monitor.core.rules import StaleTest
from monitor.core.text import clean

LABEL_CHARACTERS = 128
"""Label values are cut to this length."""

_PREFIX = "sftp_monitor_"
_TEXT, _OPENMETRICS = choose_encoder("text/plain"), choose_encoder("application/openmetrics-text")

_T = TypeVar("_T")

Gauges = Mapping[str, tuple[str, Callable[[_T], float | None]]]
"""Name, help and value of every gauge of something that is labelled by its key only."""

Lines = tuple[bytes, ...]
"""What a campaign adds to each of `CAMPAIGN_FAMILIES`, in their order."""


class SinkState(NamedTuple):
    """What waits to be told to a sink: how many events, and since when the oldest of them."""

    name: str
    pending: int
    oldest: Instant | None


def _present(entry: Entry) -> SftpConfig | None:
    memory = entry.status.memory
    return memory.config if memory.gone_at is None else None


def _of_config(value: Callable[[SftpConfig], float | None]) -> Callable[[Entry], float | None]:
    return lambda entry: None if (config := _present(entry)) is None else value(config)


def _stale_at(entry: Entry) -> float | None:
    config, rule = _present(entry), entry.target.rules.get(StaleTest.name)
    if config is None or config.last_test_at is None or not isinstance(rule, StaleTest):
        return None
    # Of half a record the rule concludes nothing, and so nothing is foretold of it.
    return None if config.half_tested else config.last_test_at + rule.max_age_for(config)


CAMPAIGN_GAUGES: Gauges[Entry] = {
    "campaign_up": (
        "1 if the last poll gave a definite answer (404 is one), 0 if it did not.",
        lambda entry: None if entry.status.polled_at is None else entry.status.error is None,
    ),
    "campaign_last_poll_timestamp_seconds": (
        "When a poll last gave a definite answer.",
        lambda entry: entry.status.memory.seen_at,
    ),
    "sftp_configured": (
        "1 if the campaign has an SFTP config, 0 if it has none.",
        lambda entry: None if entry.status.memory.seen_at is None else _present(entry) is not None,
    ),
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

CAMPAIGN_FAMILIES: Mapping[str, str] = {
    "campaign_info": "1, labelled with what is known of the campaign.",
    **{name: about for name, (about, _) in CAMPAIGN_GAUGES.items()},
    "alert": "1 for each alert that is pending, firing (sent) or muted.",
    "alert_since_timestamp_seconds": "Since when an active alert is true.",
}
"""Name and help of every family that campaigns are in; environments are in the last two."""

ENVIRONMENT_GAUGES: Gauges[EnvironmentBoard] = {
    "environment_swept_timestamp_seconds": (
        "End of the last complete sweep over all campaigns.",
        lambda board: board.status.swept_at,
    ),
    "api_up": (
        "0 after a transport error, 5xx or 401; 1 after an answer.",
        lambda board: board.status.up,
    ),
    "budget_requests_per_minute": (
        "Calls a minute that may be spent on the API.",
        lambda board: board.per_minute,
    ),
    "budget_available_requests": (
        "Calls that may go out within the next minute.",
        lambda board: board.available,
    ),
    "effective_interval_seconds": (
        "The sweep time that the budget really gives.",
        lambda board: board.interval,
    ),
    "poll_lag_seconds": ("How late the most overdue poll is.", lambda board: board.lag),
    "environment_owned": ("1: this process watches the environment.", lambda _: 1.0),
}

SINK_GAUGES: Gauges[SinkState] = {
    "sink_pending_events": (
        "Events that wait to be delivered to a sink.",
        lambda sink: sink.pending,
    ),
    "sink_oldest_pending_timestamp_seconds": (
        "Since when the oldest of them waits.",
        lambda sink: sink.oldest,
    ),
}


class Exposition:
    """Makes the page, scrape after scrape.

    Of campaigns that have not changed since the last one the lines are kept: about 1.5 kB of each.
    """

    def __init__(self, own: OwnMetrics) -> None:
        """Show these counters beside the board."""
        self._own = own
        self._made: dict[str, tuple[Mapping[str, Entry], Mapping[str, Lines]]] = {}

    def render(self, board: Board, sinks: Sequence[SinkState], *, openmetrics: bool) -> bytes:
        """Return the whole page for one scrape: text 0.0.4, or OpenMetrics 1.0.0.

        Any thread may call it, but only one at a time.
        """
        page = BytesIO()
        # Family by family: a large board in one piece would hold the interpreter, and so the loop,
        # for far too long, and be in memory twice.
        page.writelines(self._families(board, sinks))
        encode, _ = _OPENMETRICS if openmetrics else _TEXT
        # Last: the OpenMetrics encoder ends with what ends the page.
        page.write(encode(self._own.registry))
        return page.getvalue()

    def campaign_lines(self, board: Board) -> list[Lines]:
        """Return the lines of every campaign: the last page's own, but for what has changed."""
        before, self._made = self._made, {}
        for name, environment in board.environments.items():
            seen, made = before.get(name, ({}, {}))
            # An entry never changes, so the same one has the same lines.
            lines = {
                key: made[key] if seen.get(key) is entry else _of_campaign(entry)
                for key, entry in environment.campaigns.items()
            }
            self._made[name] = environment.campaigns, lines
        return [each for _, lines in self._made.values() for each in lines.values()]

    def _families(self, board: Board, sinks: Sequence[SinkState]) -> Iterator[bytes]:
        lines = [*map(_of_environment, board.environments.values()), *self.campaign_lines(board)]
        for place, (name, about) in enumerate(CAMPAIGN_FAMILIES.items()):
            yield _family(name, about, (each[place] for each in lines))
        counts = (
            _line("campaigns", _written({"environment": name, "health": health.value}), count)
            for name, environment in board.environments.items()
            for health, count in environment.counts().items()
        )
        yield _family("campaigns", "How many campaigns have each health.", counts)
        yield from _gauges(ENVIRONMENT_GAUGES, "environment", board.environments)
        yield from _gauges(SINK_GAUGES, "sink", {sink.name: sink for sink in sinks})


def _of_campaign(entry: Entry) -> Lines:
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
    labels = _written(key)
    return (
        _line("campaign_info", _written(info), 1.0),
        *(_line(name, labels, value(entry)) for name, (_, value) in CAMPAIGN_GAUGES.items()),
        *_alerts(entry, key, _hosted),
    )


def _of_environment(environment: EnvironmentBoard) -> Lines:
    others = (b"",) * (len(CAMPAIGN_FAMILIES) - 2)
    return *others, *_alerts(environment, {"environment": environment.status.name}, _exported)


def _alerts(
    about: Entry | EnvironmentBoard,
    key: Mapping[str, str],
    labels_of: Callable[[AlertLabels], dict[str, str]],
) -> tuple[bytes, bytes]:
    """Return the lines of its active alerts, and those of since when each of them is true."""
    alerts = since = b""
    for alert, _, severity in about.active_alerts():
        own = {"rule": alert.rule, "severity": severity.value, "alertstate": alert.shown_as}
        labels = {**key, **labels_of(alert.fired_as or about.labels), **own}
        alerts += _line("alert", _written(labels), 1.0)
        rule = _written({**key, "rule": alert.rule})
        since += _line("alert_since_timestamp_seconds", rule, alert.since)
    return alerts, since


def _exported(labels: AlertLabels) -> dict[str, str]:
    """Return the labels of the config that are asked for; empty where there is none."""
    return {name: _value(labels.labels.get(name)) for name in labels.exported}


def _hosted(labels: AlertLabels) -> dict[str, str]:
    return {"sftp_host": _value(labels.sftp_host), **_exported(labels)}


def _value(text: str | None) -> str:
    return clean(text or "", LABEL_CHARACTERS)


def _gauges(table: Gauges[_T], label: str, subjects: Mapping[str, _T]) -> Iterator[bytes]:
    """Yield a family for each gauge in a table, of subjects by the value of their one label."""
    keys = {_written({label: name}): one for name, one in subjects.items()}
    for name, (about, value) in table.items():
        yield _family(name, about, (_line(name, key, value(one)) for key, one in keys.items()))


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


def _written(labels: Mapping[str, str]) -> str:
    """Return labels in braces, in the order of their names."""
    pairs = [f'{name}="{_escaped(labels[name])}"' for name in sorted(labels)]
    return f"{{{','.join(pairs)}}}"


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
