"""What the daemon shows of itself, board and metrics, beside what should be so."""

from collections import Counter
from collections.abc import Callable, Mapping

from monitor.core.model import Instant, Seconds
from monitor.core.snapshot import EnvironmentSnapshot, Health, Snapshot
from monitor.core.status import Alert, AlertState
from simulation.clocks import Clocks
from simulation.opinion import Opinion
from support.model import Line

EventSource = tuple[str, str | None]
"""An environment, and one of its campaigns or None for itself: its events have one order."""

NO_STEP: Seconds = 2.0
"""What our clock steps by between two polls is taken for slow drift, where it is less than this."""

NOTHING = Alert(rule="")
"""What a rule has that never found anything."""


class Shown:
    """Compares what is shown with the second `opinions`; `fail` takes what is wrong."""

    def __init__(
        self, clocks: Clocks, opinions: Mapping[str, Opinion], fail: Callable[[str], None]
    ) -> None:
        self._clocks = clocks
        self._opinions = opinions
        self._fail = fail
        self._since: dict[tuple[EventSource, str], Instant | None] = {}

    def compare_board(self, shown: Snapshot) -> None:
        """Compare all alerts, who is watched, who is healthy, and what time it is."""
        for environment, snapshot in shown.environments.items():
            opinion = self._opinions[environment]
            off = snapshot.now + snapshot.ahead - opinion.clock.times(self._clocks.wall())[0]
            if abs(off) >= NO_STEP:
                self._fail(f"now is {off:.1f} s off {environment}")
            if snapshot.campaigns.keys() != opinion.listed:
                self._fail(f"{environment}: others are shown")
            self._compare_alerts((environment, None), snapshot.status.alerts, opinion.breaker.lines)
            for key, entry in snapshot.campaigns.items():
                lines = opinion.campaigns[key].lines
                self._compare_alerts((environment, key), entry.status.alerts, lines)
            self._compare_health(snapshot, opinion)

    def _compare_alerts(
        self, source: EventSource, alerts: Mapping[str, Alert], lines: Mapping[str, Line]
    ) -> None:
        for rule, line in lines.items():
            alert = alerts.get(rule, NOTHING)
            found = (alert.state.value, alert.notified, alert.seq, alert.muted_by)
            wanted = (line.state, line.told, line.seq, line.muter)
            if found != wanted:
                self._fail(f"{source} {rule} is {found}, expected {wanted}")
            if alert.notified != (alert.state is AlertState.FIRING and alert.muted_by is None):
                self._fail(f"{source} {rule}: told is not what is so")
            before = self._since.get((source, rule))
            if before is not None and alert.active and alert.since != before:
                self._fail(f"{source} {rule}: since has moved")
            self._since[source, rule] = alert.since

    def _compare_health(self, snapshot: EnvironmentSnapshot, opinion: Opinion) -> None:
        for key, entry in snapshot.campaigns.items():
            known = key in opinion.read and key not in opinion.failing and not opinion.breaker.open
            if not known and snapshot.health(entry) is Health.HEALTHY:
                self._fail(f"{key} is shown as healthy, and nobody knows")

    def compare_metrics(self, page: bytes) -> None:
        """Compare the alerts on the page for Prometheus, and which campaigns are up."""
        lines = page.decode().splitlines()
        alerts = [line for line in lines if line.startswith("sftp_monitor_alert{")]
        found = Counter(_label(line, "alertstate") for line in alerts)
        wanted = Counter(
            "muted" if line.firing and line.muter else line.state
            for line in self._lines()
            if line.state != "inactive"
        )
        if found != wanted:
            self._fail(f"metrics show {dict(found)}, expected {dict(wanted)}")
        firing = (line for line in alerts if _label(line, "alertstate") == "firing")
        known_by = Counter((_label(line, "sftp_host"), _label(line, "team")) for line in firing)
        fired_as = Counter(line.about for line in self._lines() if line.told)
        if known_by != fired_as:
            self._fail(f"metrics have alerts of {dict(known_by)}, expected {dict(fired_as)}")
        ups = (line for line in lines if line.startswith("sftp_monitor_campaign_up{"))
        up = {_label(line, "campaign_id") for line in ups if line.endswith(" 1.0")}
        should = set[str]().union(*(one.read - one.failing for one in self._opinions.values()))
        if up != should:
            self._fail(f"metrics show {up} as up, expected {should}")

    def _lines(self) -> list[Line]:
        on_calls = [
            on_call
            for opinion in self._opinions.values()
            for on_call in (opinion.breaker, *(opinion.campaigns[key] for key in opinion.listed))
        ]
        return [line for on_call in on_calls for line in on_call.lines.values()]


def _label(line: str, name: str) -> str:
    return line.partition(f'{name}="')[2].partition('"')[0]
