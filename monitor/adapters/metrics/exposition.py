"""The snapshot, the sinks and the own counters as one page, in one of Prometheus' two text formats.

By hand: for a million series prometheus-client takes 8 s and 700 MB, and it keeps no lines.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from io import BytesIO
from math import inf
from typing import Any, NamedTuple

from prometheus_client.exposition import choose_encoder
from prometheus_client.utils import floatToGoString

from monitor.adapters.metrics.self_metrics import SelfMetrics
from monitor.core.impact import next_calls
from monitor.core.model import AlertLabels, Instant
from monitor.core.rules import StaleTest
from monitor.core.snapshot import Entry, EnvironmentSnapshot, Snapshot
from monitor.core.text import clean

LABEL_CHARACTERS = 128  # label values are cut to this length
_PREFIX = "sftp_monitor_"

# What a campaign adds to each of `CAMPAIGN_FAMILIES`, in their order.
Lines = tuple[bytes, ...]

# What waits to be delivered to a sink: how many events, and since when the oldest of them.
Pending = tuple[int, Instant | None]

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
    "campaign_next_calls_timestamp_seconds": "When calls begin next, or those of now have begun.",
    "sftp_path_accessible": "1 if our test on record reached the path, 0 if it did not.",
    "alert": "1 for each alert that is pending, firing (sent) or muted.",
    "alert_since_timestamp_seconds": "Since when an active alert is true.",
}
"""Name and help of every family that campaigns are in; environments are in the last two."""
_CAMPAIGN_GAUGES = tuple(CAMPAIGN_FAMILIES)[1:-3]

ENVIRONMENT_FAMILIES: Mapping[str, str] = {
    "environment_swept_timestamp_seconds": "End of the last complete sweep over all campaigns.",
    "environment_last_poll_timestamp_seconds": "When a poll of any campaign last gave an answer.",
    "api_up": "0 after a transport error, 5xx or 401; 1 after an answer.",
    "budget_requests_per_minute": "Calls a minute that may be spent on the API.",
    "budget_available_requests": "Calls that may go out within the next minute.",
    "effective_interval_seconds": "The sweep time that the budget really gives.",
    "poll_lag_seconds": "How late the most overdue poll is.",
    "environment_owned": "1: this process watches the environment, 0: another one may.",
    "connection_tests_enabled": "1: this process runs connection tests there.",
    "discovery_last_success_timestamp_seconds": "The last listing that was complete and believed.",
}
"""Name and help of every gauge that is labelled by the environment only, as `_of_its_own`."""

COUNTS: Mapping[str, tuple[str, str, Callable[[EnvironmentSnapshot], Mapping[Any, int]]]] = {
    "campaigns": ("How many campaigns have each health.", "health", EnvironmentSnapshot.counts),
    "connection_tests_held_back": (
        "Campaigns whose connection tests are held back, by what holds them.",
        "reason",
        lambda it: it.held_back() if it.tests_on else {},
    ),
}
"""Name, help, label and values of every gauge that counts campaigns of an environment."""

# Of tests, call times and discovery: where there are none, there is not even the heading.
_OPTIONAL = {
    "campaign_next_calls_timestamp_seconds",
    "sftp_path_accessible",
    "connection_tests_enabled",
    "connection_tests_held_back",
    "discovery_last_success_timestamp_seconds",
}

SINK_FAMILIES: Mapping[str, str] = {
    "sink_pending_events": "Events that wait to be delivered to a sink.",
    "sink_oldest_pending_timestamp_seconds": "Since when the oldest of them waits.",
}
"""Name and help of every gauge that is labelled by the sink only, in the order of `Pending`."""


def campaign_values(entry: Entry, since: Instant | None = None) -> Mapping[str, float | None]:
    """Return the values of a campaign's gauges; None, or none at all, leaves the series out.

    `since` is when tests of ours were switched on.
    """
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
            stale_at = rule.stale_at(config, tested_at, entry.target.tests, since)
            values["sftp_test_stale_timestamp_seconds"] = stale_at
    return values


def _of_its_own(it: EnvironmentSnapshot) -> Sequence[float | None]:
    """Return the values of `ENVIRONMENT_FAMILIES`, in their order."""
    swept_at, up = it.status.swept_at, it.status.up
    polls = (entry.status.last_known.last_read_at or 0.0 for entry in it.campaigns.values())
    polled_at = max(polls, default=0.0) or None
    budget = it.requests_per_minute, it.available_requests
    owned = float(it.owned)
    last = owned if it.tests_on else None, it.status.discovered_at
    return swept_at, polled_at, up, *budget, it.interval_seconds, it.lag_seconds, owned, *last


_ELSEWHERE = tuple(0.0 if name == "environment_owned" else None for name in ENVIRONMENT_FAMILIES)
"""Those values of what another replica is to show."""


class _Made(NamedTuple):
    """The lines of an entry; they hold from `at` until `until`, and for this `since`."""

    entry: Entry
    lines: Lines
    since: Instant | None
    at: Instant
    until: Instant


class Exposition:
    """Makes the page; it keeps the lines of campaigns for the next one, about 1.5 kB of each."""

    def __init__(self, own: SelfMetrics) -> None:
        self._self_metrics = own
        # By the entry's id, which no other has while it is kept here.
        self._made: dict[int, _Made] = {}

    def render(
        self, snapshot: Snapshot, sinks: Mapping[str, Pending], *, openmetrics: bool
    ) -> bytes:
        """Return the page, in text 0.0.4 or OpenMetrics 1.0.0; one thread at a time may call it."""
        page = BytesIO()
        # Family by family: a large page in one piece would hold the interpreter, and so the loop,
        # for far too long, and be in memory twice.
        page.writelines(self._families(snapshot, sinks))
        encode, _ = choose_encoder("application/openmetrics-text" if openmetrics else "text/plain")
        # Last: the OpenMetrics encoder ends with what ends the page.
        page.write(encode(self._self_metrics.registry))
        return page.getvalue()

    def campaign_lines(self, snapshot: Snapshot) -> list[Lines]:
        """Return the lines of every campaign: the last page's own, but for what has changed."""
        before, self._made = self._made, {}
        # Many campaigns call at the same hours, and what ends for one ends for all.
        next_calls_of = cache(next_calls)
        for of, entry in snapshot.entries():
            # An entry never changes, so the same one has the same lines, until calls have ended.
            known, since = before.get(id(entry)), of.status.tests.on_since
            if known is None or known.since != since or not known.at <= of.now < known.until:
                calls = next_calls_of(entry.target.calls, of.now)
                lines = _of_campaign(entry, since, calls and calls[0])
                known = _Made(entry, lines, since, of.now, calls[1] if calls else inf)
            self._made[id(entry)] = known
        return [made.lines for made in self._made.values()]

    def _families(self, snapshot: Snapshot, sinks: Mapping[str, Pending]) -> Iterator[bytes]:
        of_environments = map(_of_environment, snapshot.environments.values())
        lines = [*of_environments, *self.campaign_lines(snapshot)]
        for place, (name, about) in enumerate(CAMPAIGN_FAMILIES.items()):
            yield _family(name, about, (each[place] for each in lines))
        for name, (about, label, counted) in COUNTS.items():
            counts = (
                _line(name, _written({"environment": one.status.name, label: key}), count)
                for one in snapshot.environments.values()
                for key, count in counted(one).items()
            )
            yield _family(name, about, counts)
        known: dict[str, Sequence[float | None]] = dict.fromkeys(snapshot.elsewhere, _ELSEWHERE)
        known |= {name: _of_its_own(one) for name, one in snapshot.environments.items()}
        yield from _gauges(ENVIRONMENT_FAMILIES, "environment", known)
        yield from _gauges(SINK_FAMILIES, "sink", sinks)


def _of_campaign(entry: Entry, since: Instant | None, calls_at: Instant | None) -> Lines:
    target, config = entry.target, entry.status.last_known.config
    values = {**campaign_values(entry, since), "campaign_next_calls_timestamp_seconds": calls_at}
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
    own = (*gauges, _paths(entry, key), *_alerts(entry, key))
    return _line("campaign_info", _written(info), 1.0), *own


def _paths(entry: Entry, key: Mapping[str, str]) -> bytes:
    """Return whether the paths were accessible in the test on record, where that is ours."""
    last_known, tests = entry.status.last_known, entry.status.tests
    if last_known.config is None or last_known.missing_since or not entry.target.tests.enabled:
        return b""
    name, ours = "sftp_path_accessible", tests.on_record(last_known.config)
    found = {"import": ours.import_path, "export": ours.export_path} if ours else {}
    return b"".join(_line(name, _written({**key, "path": path}), found[path]) for path in found)


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
    families: Mapping[str, str], label: str, known: Mapping[str, Sequence[float | None]]
) -> Iterator[bytes]:
    """Yield families of gauges with one label, by whose values their values are `known`."""
    keys = {_written({label: key}): values for key, values in known.items()}
    for place, (name, about) in enumerate(families.items()):
        yield _family(name, about, (_line(name, key, keys[key][place]) for key in keys))


def _family(name: str, about: str, lines: Iterable[bytes]) -> bytes:
    """Return a gauge with all its lines; `about` has neither a backslash nor a newline in it."""
    head = f"# HELP {_PREFIX}{name} {about}\n# TYPE {_PREFIX}{name} gauge\n".encode()
    page = b"".join([head, *lines])
    return b"" if name in _OPTIONAL and page == head else page


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
