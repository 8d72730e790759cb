"""The last 90 days of a campaign: what fired on each, and never healthy where that is not known."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from monitor.adapters.web.history import DayAnswer, EventsAnswer, days
from monitor.core.model import (
    DAY,
    HOUR,
    Event,
    EventStatus,
    Instant,
    NoConfig,
    Observation,
    PollError,
    Reason,
    Seconds,
    Severity,
)
from monitor.core.snapshot import Entry, EnvironmentSnapshot, HistoryQuery
from monitor.core.status import Alert, AlertState
from monitor.serialize import Links, record_of
from support.boards import an_entry, an_environment
from support.builders import NOW, a_config
from support.events import FIRING

TODAY = NOW - NOW % DAY
FIRED, RESOLVED = EventStatus.FIRING, EventStatus.RESOLVED
LONG_AGO = NOW - 400 * DAY


def an_event(at: Instant, status: EventStatus = FIRED, **more: Any) -> Event:
    """Return an event of `failed_test`, critical, as it was decided then."""
    event = {"rule": "failed_test", "severity": Severity.CRITICAL, "since": None, **more}
    return replace(FIRING, status=status, decided_at=at, epoch="e", **event)


def serve(*events: Event, limit: int = 1000) -> Callable[[HistoryQuery], EventsAnswer]:
    """Return a history of these events, oldest first, that filters as the store does."""

    def history(asked: HistoryQuery) -> EventsAnswer:
        campaign_id, since = asked.campaign_id or None, asked.since or 0.0
        found = [
            record_of(one, Links(""))
            for one in reversed(events)
            if one.campaign_id == campaign_id and one.decided_at >= since
        ]
        return EventsAnswer(events=found[:limit], next="1" if len(found) > limit else None)

    return history


def an_alert(rule: str, severity: Severity, at: Instant) -> Alert:
    return Alert(
        rule=rule,
        state=AlertState.FIRING,
        notified=True,
        notified_severity=severity,
        fired_at=at,
        pending_at=at,
        since=at,
    )


def seen(*alerts: Alert, first: Instant | None = LONG_AGO, saw: Observation | None = None) -> Entry:
    """Return a campaign that is watched since `first`, with alerts that fire now."""
    entry = an_entry("c-1", (NOW, saw or a_config()))
    known = replace(entry.status.last_known, first_seen_at=first)
    fires = {one.rule: one for one in alerts}
    return replace(entry, status=replace(entry.status, last_known=known, alerts=fires))


def shown(
    entry: Entry,
    *events: Event,
    kept: Seconds = 90 * DAY,
    environment: EnvironmentSnapshot | None = None,
    limit: int = 1000,
) -> list[DayAnswer]:
    return days(serve(*events, limit=limit), kept, environment or an_environment(entry), entry)


def states(found: Sequence[DayAnswer]) -> list[str]:
    """Return runs of days alike, from the oldest to today: `89 healthy`, `1 critical`."""
    runs: list[tuple[str, int]] = []
    for day in found:
        same = bool(runs) and runs[-1][0] == day.state
        runs[-1:] = [(day.state, runs[-1][1] + 1)] if same else [*runs[-1:], (day.state, 1)]
    return [f"{count} {state}" for state, count in runs]


def test_days_are_those_of_utc_and_today_is_the_last() -> None:
    found = shown(seen())
    assert (found[0].date, found[-1].date, len(found)) == ("2026-10-18", "2027-01-15", 90)
    assert states(found) == ["90 healthy"]
    assert found[0].summary == "no alert"


def test_a_day_has_the_worst_that_fired_and_all_of_it_in_words() -> None:
    yesterday = TODAY - DAY
    found = shown(
        seen(),
        an_event(yesterday + 1, rule="stale_test", severity=Severity.WARNING),
        an_event(yesterday + 2),
        an_event(yesterday + 3, RESOLVED),
        an_event(yesterday + 4),
        an_event(yesterday + 5, RESOLVED),
        an_event(yesterday + 6, RESOLVED, rule="stale_test", severity=Severity.WARNING),
    )
    assert states(found) == ["88 healthy", "1 critical", "1 healthy"]
    assert found[-2].summary == "critical: failed_test; warning: stale_test"


def test_an_alert_is_on_each_day_on_which_it_fired_at_all() -> None:
    two, three = TODAY - 2 * DAY, TODAY - 3 * DAY
    assert states(shown(seen(), an_event(three + DAY - 1), an_event(two + 1, RESOLVED))) == [
        "86 healthy",
        "2 critical",
        "2 healthy",
    ]
    # At midnight itself the day before is over, and no moment of the next one was bad.
    assert states(shown(seen(), an_event(three), an_event(two, RESOLVED))) == [
        "86 healthy",
        "1 critical",
        "3 healthy",
    ]


def test_one_that_fires_now_reaches_until_today_with_each_severity_in_its_time() -> None:
    at = TODAY - 4 * DAY + 1
    warning: dict[str, Any] = {"severity": Severity.WARNING, "rule": "stale_test"}
    louder: dict[str, Any] = {"rule": "stale_test", "previous_severity": Severity.WARNING}
    found = shown(
        seen(an_alert("stale_test", Severity.CRITICAL, at)),
        an_event(at, **warning),
        an_event(at + 2 * DAY, EventStatus.UPDATED, **louder),
    )
    assert states(found) == ["85 healthy", "2 warning", "3 critical"]
    assert found[-3].summary == "critical: stale_test; warning: stale_test"


def test_what_fired_before_the_history_begins_is_taken_from_what_is_left_of_it() -> None:
    at = TODAY - 100 * DAY
    # The event of its firing is gone: the one that ends it says since when it is true.
    assert states(shown(seen(), an_event(TODAY - 80 * DAY, RESOLVED, since=at))) == [
        "9 critical",
        "81 healthy",
    ]
    assert states(shown(seen(an_alert("failed_test", Severity.CRITICAL, at)))) == ["90 critical"]
    # Where it does not say so, nothing before it is made up.
    assert states(shown(seen(), an_event(TODAY - 80 * DAY, RESOLVED))) == [
        "9 healthy",
        "1 critical",
        "80 healthy",
    ]


def test_one_that_fires_no_more_though_nothing_says_when_it_ended_is_on_its_own_day_alone() -> None:
    found = shown(seen(), an_event(TODAY - 2 * DAY + 5))
    assert states(found) == ["87 healthy", "1 critical", "2 healthy"]


def test_nothing_is_known_of_the_time_before_the_campaign_was_seen_that_day_included() -> None:
    found = shown(seen(first=TODAY - 10 * DAY + HOUR))
    assert states(found) == ["80 unknown", "10 healthy"]
    assert found[79].summary == "unknown: not watched yet"
    assert states(shown(seen(first=NOW))) == ["90 unknown"]


def test_one_that_never_had_a_config_is_watched_since_that_was_seen_first() -> None:
    entry = seen(first=None, saw=NoConfig())
    known = replace(entry.status.last_known, missing_since=TODAY - 5 * DAY + 1)
    entry = replace(entry, status=replace(entry.status, last_known=known))
    assert states(shown(entry)) == ["85 unknown", "5 healthy"]


def test_what_is_known_to_have_fired_is_shown_though_the_rest_of_that_day_is_unknown() -> None:
    at = TODAY - 30 * DAY
    found = shown(seen(first=NOW), an_event(at), an_event(at + 1, RESOLVED))
    assert found[-31] == DayAnswer(
        date="2026-12-16",
        state="critical",
        summary="critical: failed_test; unknown: not watched yet",
    )
    assert {day.state for day in found[:-31] + found[-30:]} == {"unknown"}


def test_nothing_is_known_of_what_is_no_longer_kept_or_was_too_much_to_read() -> None:
    found = shown(seen(), kept=30 * DAY)
    assert states(found) == ["60 unknown", "30 healthy"]
    assert found[0].summary == "unknown: no longer kept"
    flapping = [an_event(TODAY - 3 * DAY + n, FIRED if n % 2 == 0 else RESOLVED) for n in range(20)]
    assert states(shown(seen(), *flapping, limit=10)) == ["86 unknown", "1 critical", "3 healthy"]


def test_a_campaign_that_cannot_be_read_is_unknown_since_then() -> None:
    read = (NOW - 3 * DAY, a_config(last_test_at=NOW - 4 * DAY))
    entry = an_entry("c-1", read, (NOW, PollError(Reason.TIMEOUT)))
    known = replace(entry.status.last_known, first_seen_at=LONG_AGO)
    entry = replace(entry, status=replace(entry.status, last_known=known))
    found = shown(entry)
    assert states(found) == ["86 healthy", "4 unknown"]
    assert found[-1].summary == "unknown: not read"


def test_while_its_environments_api_gave_nothing_nothing_is_known() -> None:
    of: dict[str, Any] = {"campaign_id": None, "campaign_name": ""}
    at = TODAY - 8 * DAY
    found = shown(
        seen(),
        an_event(at, rule="api_unreachable", **of),
        an_event(at + DAY + 1, RESOLVED, rule="api_unreachable", **of),
        an_event(at + 4 * DAY, rule="discovery_failing", **of),  # they are read all the same
        an_event(at + 5 * DAY, RESOLVED, rule="discovery_failing", **of),
    )
    assert states(found) == ["81 healthy", "2 unknown", "7 healthy"]
    assert found[81].summary == "unknown: api_unreachable"


# --- beside a model that walks through every hour

RULES = ("failed_test", "stale_test", "disabled")
HOURS = 100 * 24  # ten days more than are shown
OLDEST = TODAY - 99 * DAY
WORST_FIRST = ("critical", "warning", "info")


@dataclass
class Walk:
    """What happened hour by hour, as somebody sees it who was there all the time."""

    firing: dict[str, Severity] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    bad: dict[int, set[str]] = field(default_factory=dict)  # by day: what fired at any time
    unread: set[int] = field(default_factory=set)  # days
    outage: bool = False
    outage_at: Instant = 0.0
    fired_at: dict[str, Instant] = field(default_factory=dict)
    first_seen: Instant = OLDEST

    def note(self, hour: int) -> None:
        """Note for the day what fires in this moment."""
        self.bad.setdefault(hour // 24, set()).update(map(str, self.firing.values()))
        if self.outage:
            self.unread.add(hour // 24)

    def do(self, what: str, rule: str, severity: Severity, hour: int) -> None:
        """Let something happen in the middle of an hour."""
        at = OLDEST + (hour + 0.5) * HOUR
        match what:
            case "fire" if rule not in self.firing:
                self.firing[rule], self.fired_at[rule] = severity, at
                self._event(at, FIRED, rule)
            case "update" if rule in self.firing:
                was, self.firing[rule] = self.firing[rule], severity
                self._event(at, EventStatus.UPDATED, rule, previous_severity=was)
            case "remind" if rule in self.firing:
                self._event(at, EventStatus.REMINDER, rule)
            case "resolve" if rule in self.firing:
                self._resolve(at, rule)
            case "outage" | "answer" if self.outage != (what == "outage"):
                since = self.outage_at if self.outage else at
                self.outage, self.outage_at = not self.outage, at
                of: dict[str, Any] = {
                    "campaign_id": None,
                    "rule": "api_unreachable",
                    "since": since,
                }
                self.events.append(an_event(at, FIRED if self.outage else RESOLVED, **of))
            case "remove":  # and put on the list again at once: another life
                for name in tuple(self.firing):
                    self._resolve(at, name)
                self.first_seen = at

    def _resolve(self, at: Instant, rule: str) -> None:
        self._event(at, RESOLVED, rule)
        del self.firing[rule]

    def _event(self, at: Instant, status: EventStatus, rule: str, **more: Any) -> None:
        known = {"since": self.fired_at[rule], "severity": self.firing[rule]}
        self.events.append(an_event(at, status, rule=rule, **known, **more))


STEPS = st.tuples(
    st.integers(0, HOURS - 17),  # now is 8 o'clock of the last day
    st.sampled_from(
        ["fire", "fire", "update", "remind", "resolve", "outage", "answer", "remove", "restart"]
    ),
    st.sampled_from(RULES),
    st.sampled_from([*Severity]),
)


@given(st.lists(STEPS, max_size=40), st.integers(1, 100))
def test_days_are_what_somebody_has_seen_who_was_there_all_the_time(
    steps: list[tuple[int, str, str, Severity]], kept: int
) -> None:
    walk = Walk()
    for hour in range(HOURS - 16):
        walk.note(hour)
        for _, what, rule, severity in (step for step in steps if step[0] == hour):
            walk.do(what, rule, severity, hour)
            walk.note(hour)
    alerts = [an_alert(rule, how, walk.fired_at[rule]) for rule, how in walk.firing.items()]
    entry, environment = seen(*alerts, first=walk.first_seen), None
    if walk.outage:
        active = an_alert("api_unreachable", Severity.CRITICAL, walk.outage_at)
        outage = {"api_unreachable": active}
        environment = an_environment(entry)
        environment = replace(environment, status=replace(environment.status, alerts=outage))
    pruned = [one for one in walk.events if one.decided_at >= NOW - kept * DAY]
    found = shown(entry, *pruned, kept=kept * DAY, environment=environment)
    known_from = max(walk.first_seen, NOW - kept * DAY)
    for number, day in enumerate(found, start=10):
        begin = OLDEST + number * DAY
        bad = [one for one in WORST_FIRST if one in walk.bad.get(number, set())]
        if begin >= known_from and number not in walk.unread:
            assert day.state == (bad[0] if bad else "healthy"), day
        elif begin >= NOW - kept * DAY:  # all events are there, whatever else is not
            assert day.state == (bad[0] if bad else "unknown"), day
        else:
            assert day.state != "healthy", day
