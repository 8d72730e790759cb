"""A poll that saw nothing new moves its instants; whether it was decided anew nobody can tell."""

import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import FrameType
from typing import Any, cast

from hypothesis import event as note
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.adapters.metrics.exposition import campaign_values
from monitor.adapters.store import Change, Store, rows
from monitor.adapters.store.database import Database
from monitor.core.attempt import Attempt, CampaignTests, Result, TestSettings, Trigger
from monitor.core.guards import Guard, Guards, Suspension
from monitor.core.model import (
    DAY,
    HOUR,
    MINUTE,
    Answer,
    Event,
    Finding,
    Observation,
    PageAnswer,
    PollError,
    RateHint,
    Reason,
    Seconds,
    SftpConfig,
)
from monitor.core.rule import NO_TESTS, Target, Testing
from monitor.core.snapshot import Entry
from monitor.core.status import Alert, CampaignStatus, EnvironmentStatus
from monitor.polling import Settings
from monitor.polling.environment_state import EnvironmentState
from support.builders import NOW, a_config, a_target
from support.histories import observation, some_policies, target_of
from support.model import Policies, Seen
from support.shown import SomeEnvironment, SomePolling, SteeredClock, some_settings
from support.state_files import threaded

EXAMPLES = settings().max_examples

KEYS = ("c-1", "c-2", "c-3")


@dataclass
class Side:
    """An environment as it is run; `forgets` what was settled before each answer, or does not."""

    clock: SteeredClock
    target: Target
    forgets: bool
    stored: dict[Any, Any] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    spared: int = 0

    def __post_init__(self) -> None:
        self.testing = NO_TESTS
        self._start({}, EnvironmentStatus(name=self.target.environment))

    def _start(self, known: dict[str, CampaignStatus], status: EnvironmentStatus) -> None:
        aim = self._settings()
        self.state = EnvironmentState(aim, self.clock, self._save, status, known)
        list(self.state.configure(aim))

    def _settings(self) -> Settings:
        every = some_settings(*(replace(self.target, campaign_id=key) for key in KEYS))
        # So many calls that a customer who needs them as well makes it too few.
        few = SomeEnvironment(budget_per_minute=1.0)
        made = replace(cast(Any, every), polling=SomePolling(5 * MINUTE), environment=few)
        return cast(Settings, made)

    def _save(self, change: Change) -> None:
        self.stored |= {key: rows.encoded(value) for key, value in rows.writes(change).items()}
        self.events += change.events

    def aim(self, target: Target) -> None:
        """Take a config that says this of all campaigns."""
        self.target = target
        list(self.state.configure(self._settings()))

    def again(self) -> None:
        """Take the config once more that there is."""
        list(self.state.configure(self.state.settings))

    def restart(self) -> None:
        """Start on what is stored of it."""
        known = [
            rows.CAMPAIGN.decode(v)
            for (how, _), v in self.stored.items()
            if how == rows.PUT_CAMPAIGN
        ]
        status = [
            rows.ENVIRONMENT.decode(v)
            for (how, _), v in self.stored.items()
            if how == rows.PUT_ENVIRONMENT
        ]
        assert None not in known
        found = {one.campaign_id: one for one in known if one is not None}
        self._start(found, status[0] if status and status[0] else self.state.status)

    def answer(self, key: str, answer: Answer | PageAnswer) -> tuple[Any, ...]:
        """Decide on an answer; return all that comes of it."""
        state, was = self.state, self.state.entries.get(key)
        if self.forgets:
            state._evaluated = None
            for name, entry in state.entries.items():
                state.entries[name] = replace(entry, settled=None)
        anew, planned, guards = state.decide(key, answer, 1, 0.1, self.testing)
        if guards is not None:
            self.testing = replace(self.testing, guards=guards)
        if was is not None and not self.forgets:
            self.spared += state.entries[key].findings is was.findings
        return anew, planned, guards

    def shown(self) -> tuple[Any, ...]:
        """Return all that is known, and all that was said and stored."""
        state = self.state
        entries = {key: replace(entry, settled=None) for key, entry in state.entries.items()}
        values = {key: campaign_values(entry) for key, entry in entries.items()}
        return entries, state.status, state.findings, values, self.stored, self.events


@dataclass
class Both:
    """The same story with what was settled, and without."""

    target: Target

    def __post_init__(self) -> None:
        self.clock = SteeredClock(NOW)
        self.sides = [Side(self.clock, self.target, forgets) for forgets in (False, True)]

    def do(self, what: Callable[[Side], Any]) -> None:
        """Have it happen on both sides: they are the same after it."""
        ours, other = (what(side) for side in self.sides)
        assert ours == other
        for one, two in zip(*(side.shown() for side in self.sides), strict=True):
            assert one == two

    def poll_n(self, times: int, seen: Observation, **more: Any) -> None:
        """Poll one campaign so often, a minute apart."""
        for _ in range(times):
            self.pass_(MINUTE)
            self.poll("c-1", seen, **more)

    def pass_(self, seconds: Seconds, *, stepped: Seconds = 0.0) -> None:
        self.clock.at += seconds + stepped
        self.clock.mono += seconds

    def poll(
        self,
        key: str,
        seen: Observation,
        skew: Seconds | None = None,
        rate: RateHint | None = None,
    ) -> None:
        """Have both sides take the same answer."""
        date = None if skew is None else self.clock.at + skew
        self.do(lambda side: side.answer(key, Answer(seen, date, rate=rate)))


WELL = a_config(last_test_at=NOW - HOUR, last_test_success=True)
SEEN = st.one_of(
    st.sampled_from([NOW - HOUR, NOW - 30 * HOUR]).map(lambda at: Seen("config", tested_at=at)),
    st.builds(
        Seen,
        st.just("config"),
        enabled=st.sampled_from([True, True, False]),
        tested_at=st.sampled_from([None, NOW - 30 * HOUR, NOW - HOUR, NOW, NOW + 2 * HOUR]),
        passed=st.sampled_from([True, True, False]),
        host=st.sampled_from(["sftp.example", "sftp.example", "new.example"]),
    ),
    st.sampled_from([Seen("error"), Seen("gone"), Seen("config", tested_at=NOW, half=True)]),
)
PASSING = st.sampled_from([1.0, MINUTE, MINUTE, 5 * MINUTE, HOUR, 5 * HOUR])
SKEWS = st.sampled_from([None, 0.0, 0.0, -0.5, 20.0, 100.0, HOUR])
AN_ATTEMPT = Attempt(
    environment="production", campaign_id="c-1", server="sftp.example:22",
    login="leads@sftp.example:22", at=NOW - HOUR, trigger=Trigger.SCHEDULE,
    ended_at=NOW - HOUR + 1, result=Result.PASSED, tested_at=NOW - HOUR, import_path=False,
)  # fmt: skip
BLOCKED = Guard(failures=(NOW - 20 * MINUTE, NOW - 10 * MINUTE))
TESTS = st.sampled_from(
    [
        NO_TESTS,
        Testing(guards=Guards()),
        Testing(guards=Guards(login=BLOCKED), same_login=2),
        Testing(held="the login is blocked", guards=Guards(login=BLOCKED)),
    ]
)


def take_a_step(  # noqa: C901, PLR0912, PLR0915 - a case each
    data: st.DataObject, both: Both
) -> None:
    """Have something befall both sides that is no poll."""
    what = data.draw(
        st.sampled_from(
            [
                "reload",
                "again",
                "restart",
                "step",
                "listed",
                "outage",
                "tests",
                "suspend",
                "attempt",
                "muted",
                "pause",
            ]
        )
    )
    note(what)
    target = both.sides[0].target
    match what:
        case "reload":
            changed = target_of(data.draw(some_policies()))
            both.do(lambda side: side.aim(replace(side.target, rules=changed.rules)))
        case "again":
            both.do(Side.again)
        case "restart":
            both.do(Side.restart)
        case "step":
            both.pass_(1.0, stepped=data.draw(st.sampled_from([-HOUR, -MINUTE, -1.5, HOUR, DAY])))
        case "listed":
            both.do(lambda side: side.aim(replace(side.target, listed_at=both.clock.at)))
        case "muted":
            muted = None if target.muted_status else "paused"
            both.do(lambda side: side.aim(replace(side.target, muted_status=muted)))
        case "outage":
            refused = PageAnswer(
                PollError(data.draw(st.sampled_from([Reason.TIMEOUT, Reason.UNAUTHORIZED])))
            )
            for _ in range(data.draw(st.integers(1, 4))):
                both.do(lambda side: side.answer("*", refused))
        case "pause":
            both.do(
                lambda side: side.answer("c-2", Answer(PollError(Reason.RATE_LIMITED), None, 90.0))
            )
        case "tests":
            testing, settings_ = data.draw(TESTS), TestSettings(enabled=True)
            both.do(lambda side: setattr(side, "testing", testing))
            both.do(lambda side: side.aim(replace(side.target, tests=settings_)))
        case "suspend":
            held = Suspension("by hand", both.clock.at, by=data.draw(st.sampled_from(["", "me"])))

            def suspend(side: Side) -> None:
                status = side.state.status
                tests = replace(status.tests, suspended=None if status.tests.suspended else held)
                side.state.status = replace(status, tests=tests)

            both.do(suspend)
        case "attempt":
            tests = CampaignTests(attempts=(AN_ATTEMPT,), suspect=data.draw(st.integers(0, 4)))
            both.do(lambda side: side.state.put_tests("c-1", tests, ()))


@settings(max_examples=2 * EXAMPLES)
@given(some_policies(), st.data())
def test_with_what_was_settled_all_is_as_it_is_without(
    policies: Policies, data: st.DataObject
) -> None:
    both = Both(target_of(policies))
    seen, skew = observation(data.draw(SEEN)), data.draw(SKEWS)
    for _ in range(data.draw(st.integers(1, 12))):
        if not data.draw(st.integers(0, 2)):
            take_a_step(data, both)
        if not data.draw(st.integers(0, 3)):
            seen, skew = observation(data.draw(SEEN)), data.draw(SKEWS)
        key = data.draw(st.sampled_from(["c-1", "c-1", "c-1", "c-2"]))
        for _ in range(data.draw(st.integers(1, 4))):
            both.pass_(data.draw(PASSING))
            both.poll(key, seen, skew)
    note(f"spared {min(both.sides[0].spared, 5)}")


@contextmanager
def counted(*what: Any) -> Iterator[Counter[str]]:
    """Count how often classes are made and functions called, here and in threads begun then."""
    functions = {one: vars(one).get("__init__", one) for one in what}
    codes = {function.__code__: one.__name__ for one, function in functions.items()}
    count = Counter[str]()

    def look(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and frame.f_code in codes:
            count[codes[frame.f_code]] += 1

    threading.setprofile(look)
    sys.setprofile(look)
    try:
        yield count
    finally:
        sys.setprofile(None)
        threading.setprofile(None)


# --- each thing that unsettles it, by itself


def settled(**rules: Any) -> Both:
    """Return both sides after polls that were spared on the one of them."""
    both = Both(a_target(rules))
    both.poll_n(3, WELL)
    assert both.sides[0].spared == 2
    return both


def firing(both: Both) -> set[str]:
    """Return which alerts fire."""
    state = both.sides[0].state
    known = (*state.status.alerts.values(), *state.entries["c-1"].status.alerts.values())
    return {alert.rule for alert in known if alert.active}


def test_an_instant_that_a_finding_waits_for_is_decided_on() -> None:
    both = settled(stale_test={"max_age": DAY})
    both.pass_(23 * HOUR - 5 * MINUTE)
    both.poll_n(1, WELL)
    assert (firing(both), both.sides[0].spared) == (set(), 3)
    both.poll_n(1, WELL)
    assert firing(both) == {"stale_test"}


def test_a_clock_that_goes_back_a_little_is_no_poll_that_moves_instants() -> None:
    both = Both(a_target())
    both.poll("c-1", WELL)
    both.pass_(0.5)
    both.poll("c-1", WELL)
    both.pass_(0.1, stepped=-1.5)
    both.poll("c-1", WELL)
    last_known = both.sides[0].state.entries["c-1"].status.last_known
    assert last_known.first_seen_at == both.clock.at < NOW


def test_where_two_clocks_count_it_is_decided_by_both() -> None:
    both = settled(stale_test={"max_age": DAY})
    both.poll_n(1, WELL, skew=DAY)
    findings = both.sides[0].state.entries["c-1"].findings or {}
    assert findings["stale_test"].summary.startswith("our clock and the API's are 1 d apart")


def test_a_guard_that_blocks_the_login_meanwhile_is_seen() -> None:
    both = settled()
    testing = Testing(guards=Guards(login=BLOCKED))
    both.do(lambda side: setattr(side, "testing", testing))
    both.poll_n(1, WELL)
    findings = both.sides[0].state.entries["c-1"].findings or {}
    assert "tests of its login fail since" in findings["failed_test"].summary


def test_answers_in_which_a_test_may_have_switched_it_off_are_counted() -> None:
    both = settled()
    both.do(lambda side: setattr(side, "testing", Testing(guards=Guards())))
    tests = CampaignTests(attempts=(AN_ATTEMPT,), suspect=3)
    both.do(lambda side: side.aim(replace(side.target, rules={})))
    both.do(lambda side: side.state.put_tests("c-1", tests, ()))
    both.poll_n(5, WELL)
    assert both.sides[0].state.campaigns["c-1"].tests.suspect == 0


def test_an_attempt_that_has_ended_meanwhile_is_seen() -> None:
    both = settled()
    tests = CampaignTests(attempts=(AN_ATTEMPT,))
    both.do(lambda side: side.state.put_tests("c-1", tests, ()))
    both.poll_n(1, WELL)
    assert firing(both) == {"path_inaccessible"}


def test_what_suspends_tests_meanwhile_is_seen() -> None:
    both = settled()

    def suspend(side: Side) -> None:
        tests = replace(side.state.status.tests, suspended=Suspension("harm", both.clock.at))
        side.state.status = replace(side.state.status, tests=tests)

    both.do(suspend)
    both.poll_n(1, WELL)
    assert firing(both) == {"tests_suspended"}


def test_a_budget_that_has_become_too_small_is_seen() -> None:
    both = settled()
    both.poll_n(1, WELL, rate=RateHint(limit=100, remaining=0))
    assert firing(both) == {"budget_insufficient"}
    # Nothing of it is settled while an alert waits, or fires.
    both.poll_n(31, WELL, rate=RateHint(limit=100, remaining=0))
    assert both.sides[0].state.status.alerts["budget_insufficient"].notified


def test_while_an_alert_is_active_each_poll_is_decided_on() -> None:
    both = Both(a_target({"failed_test": {"for_": 3 * MINUTE}}))
    both.poll_n(6, replace(WELL, last_test_success=False))
    (event,) = both.sides[0].events
    assert (event.rule, event.decided_at, both.sides[0].spared) == ("failed_test", NOW + 240, 0)


def test_another_threshold_is_decided_on_at_the_next_poll() -> None:
    both = settled(stale_test={"max_age": DAY})
    rules = a_target({"stale_test": {"max_age": MINUTE}}).rules
    both.do(lambda side: side.aim(replace(side.target, rules=rules)))
    both.poll_n(1, WELL)
    assert firing(both) == {"stale_test"}


def test_the_same_config_once_more_leaves_it_settled() -> None:
    both = settled()
    both.do(Side.again)
    both.poll_n(1, WELL)
    assert both.sides[0].spared == 3


# --- the work that is not done


def work_of(polls: int, store: Store) -> Counter[str]:
    """Return what polls that saw nothing new have had made and encoded until they were saved."""
    both = settled()
    both.poll_n(10, WELL, skew=0.0)  # by now the API's clock is trusted
    side = both.sides[0]
    side.state.save = store.save
    with counted(Finding, Alert, EnvironmentStatus, SftpConfig, Entry) as made:
        for _ in range(polls):
            both.pass_(MINUTE)
            side.answer("c-1", Answer(WELL, both.clock.at))
    return made


async def test_a_poll_that_saw_nothing_new_makes_nothing_but_moved_instants(tmp_path: Path) -> None:
    async with threaded(tmp_path / "state.db") as store:
        made = work_of(100, store)
        with counted(rows.Body.encode, Database.write) as written:
            await store.flush()
        # Of all of them the last is written: of the environment, and of the campaign.
        assert written == {"write": 1, "encode": 2}
    # The environment's status and the campaign's entry are copied, once for each.
    assert made == {"EnvironmentStatus": 100, "Entry": 100}
