"""What holds of alerts whatever happens: random histories, against a model and by property."""

from dataclasses import replace
from itertools import pairwise

from hypothesis import event as note
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.adapters.sinks.alertmanager import standing_events
from monitor.adapters.web.serializers import alerts_page
from monitor.core.model import MINUTE, Event, EventStatus
from monitor.core.snapshot import Entry
from monitor.core.status import Alert, AlertState
from support.boards import a_snapshot, an_environment
from support.builders import NOW, a_target, only
from support.histories import (
    Poll,
    Restart,
    Step,
    a_campaign,
    an_on_call,
    page,
    run,
    some_histories,
    some_policies,
    some_polls,
    take,
    take_by_model,
)
from support.model import ORDER, Policies, Policy, Seen
from support.scrapes import scrape
from support.timeline import WatchedCampaign

EXAMPLES = settings().max_examples
"""As the profile has it: 100 in `make check`, 10 in `make test`."""

WITHOUT_UNREADABLE = some_policies(without=frozenset({"unreadable"}))


# --- the model


@settings(max_examples=2 * EXAMPLES)
@given(some_policies(), some_histories(), st.booleans())
def test_the_core_and_the_model_are_of_one_mind(
    policies: Policies, history: list[Step], expected: bool
) -> None:
    campaign = a_campaign(policies, expected=expected)
    on_call = an_on_call(policies, expected=expected)
    for step in history:
        pages = [page(event) for event in take(campaign, step)]
        assert pages == take_by_model(on_call, step)
        for told in pages:
            note(told.what)
        for rule, line in on_call.lines.items():
            alert = campaign.status.alerts.get(rule, Alert(rule=rule))
            assert (alert.state.value, alert.notified, alert.muted_by, alert.seq) == (
                line.state,
                line.told,
                line.muter,
                line.seq,
            )


# --- what on-call sees


@settings(max_examples=EXAMPLES // 2)
@given(some_policies(), some_histories())
def test_events_of_a_fingerprint_alternate_and_are_numbered_without_a_gap(
    policies: Policies, history: list[Step]
) -> None:
    events = run(policies, history).events
    for fingerprint in {event.fingerprint for event in events}:
        mine = [event for event in events if event.fingerprint == fingerprint]
        assert [event.seq for event in mine] == list(range(1, len(mine) + 1))
        turns = [e.status for e in mine if e.status in {EventStatus.FIRING, EventStatus.RESOLVED}]
        assert turns[0] is EventStatus.FIRING
        assert all(earlier is not later for earlier, later in pairwise(turns))
        for earlier, later in pairwise(mine):
            over = earlier.status is EventStatus.RESOLVED
            assert (later.status is EventStatus.FIRING) is over


@settings(max_examples=EXAMPLES // 2)
@given(some_policies(), some_histories())
def test_a_decision_tells_one_event_of_an_alert_at_most_and_what_fires_first(
    policies: Policies, history: list[Step]
) -> None:
    campaign = a_campaign(policies)
    for step in history:
        events = take(campaign, step)
        assert len({event.fingerprint for event in events}) == len(events)
        order = [(e.status is EventStatus.RESOLVED, ORDER.index(e.rule)) for e in events]
        assert order == sorted(order)


@settings(max_examples=EXAMPLES // 2)
@given(some_policies(), some_histories())
def test_after_every_decision_what_was_told_is_what_is_so(
    policies: Policies, history: list[Step]
) -> None:
    campaign = a_campaign(policies)
    for step in history:
        take(campaign, step)
        for alert in campaign.status.alerts.values():
            firing = alert.state is AlertState.FIRING
            assert alert.notified is (firing and alert.muted_by is None)


@settings(max_examples=EXAMPLES // 2)
@given(some_policies(), some_histories())
def test_an_alert_never_shows_what_it_is_not(policies: Policies, history: list[Step]) -> None:
    campaign = a_campaign(policies)
    for step in history:
        take(campaign, step)
        for alert in campaign.status.alerts.values():
            assert (alert.since is None) is (alert.state is AlertState.INACTIVE)
            assert (alert.pending_at is None) is (alert.state is AlertState.INACTIVE)
            assert (alert.fired_at is not None) is (alert.state is AlertState.FIRING)
            assert alert.healthy_at is None or alert.state is AlertState.FIRING
            assert (alert.notified_at is not None) is alert.notified
            assert (alert.notified_severity is not None) is alert.notified


@settings(max_examples=EXAMPLES // 4)
@given(some_policies(), some_histories())
def test_from_firing_to_resolved_an_alert_has_one_set_of_labels_wherever_it_is_shown(
    policies: Policies, history: list[Step]
) -> None:
    campaign, known = a_campaign(policies), dict[str, dict[str, str]]()
    for step in history:
        for event in take(campaign, step):
            if event.status is EventStatus.FIRING:
                known[event.rule] = shown_of(event)
            assert shown_of(event) == known[event.rule]
            note(event.status.value)
        entry = Entry(campaign.target, campaign.status)
        snapshot = a_snapshot(an_environment(entry))
        exported = {
            labels["rule"]: labels
            for labels in scrape(snapshot).labels("alert")
            if labels["alertstate"] == "firing"
        }
        for told in standing_events(snapshot.environments["production"]):
            assert shown_of(told) == known[told.rule]
            labels = exported.pop(told.rule)
            assert labels["sftp_host"] == told.sftp_host
            assert labels["team"] == told.labels["team"]
        assert exported == {}
        for answer in alerts_page(snapshot, 1000, None).alerts:
            if answer.state == "firing":
                assert answer.labels["team"] == known[answer.rule]["team"]


def shown_of(event: Event) -> dict[str, str]:
    """Return who an event is about, as it says."""
    return {"host": event.sftp_host, "name": event.campaign_name, **event.labels}


# --- unknown


def told_of(events: list[Event]) -> list[Event]:
    return [replace(event, initial=False) for event in events]


@given(WITHOUT_UNREADABLE, some_polls(inhibits=False))
def test_removing_every_failed_poll_from_a_history_leaves_its_events_as_they_were(
    policies: Policies, history: list[Step]
) -> None:
    answered = [step for step in history if isinstance(step, Poll) and step.seen.kind != "error"]
    assert run(policies, history).events == run(policies, answered).events


@given(WITHOUT_UNREADABLE, some_polls(), st.integers(1, 5))
def test_failed_polls_change_no_alert(policies: Policies, history: list[Step], count: int) -> None:
    campaign = run(policies, history)
    before = campaign.status.alerts
    for number in range(count):
        assert take(campaign, Poll(history[-1].at + number * MINUTE, Seen("error"))) == ()
    assert campaign.status.alerts == before


# --- lost state


LOST = st.lists(st.sampled_from(["gone", "gone", "error"]), min_size=1, max_size=12)


@given(some_policies(), some_polls(), LOST, st.integers(0, 12))
def test_lost_state_never_resolves_the_missing_config_of_a_campaign_that_must_have_one(
    policies: Policies, history: list[Step], kinds: list[str], lost_at: int
) -> None:
    policies = {**policies, "missing": Policy("critical")}
    campaign, now = run(policies, history), max(step.at for step in history)
    first_after_loss: list[Event] | None = None
    for number, kind in enumerate([*kinds, "gone"]):
        if number == min(lost_at, len(kinds)):
            campaign, first_after_loss = a_campaign(policies), []
        now += MINUTE
        # Others were asked just now: nothing is in doubt but what is not read.
        events = take(campaign, Poll(now, Seen("error" if kind == "error" else "gone"), others=now))
        missing = [event for event in events if event.rule == "missing"]
        assert EventStatus.RESOLVED not in [event.status for event in missing]
        if first_after_loss is not None:
            first_after_loss += missing
    assert first_after_loss
    assert (first_after_loss[0].status, first_after_loss[0].initial) == (EventStatus.FIRING, True)


# --- restarts


RESTARTS = st.sets(st.integers(0, 15))
"""The numbers of the polls that a restart comes before."""


def with_restarts(history: list[Step], restarts: set[int]) -> list[Step]:
    restarted: list[Step] = []
    for number, step in enumerate(history):
        restarted += [Restart(step.at), step] if number in restarts else [step]
    return restarted


@given(WITHOUT_UNREADABLE, some_polls(backward=True), RESTARTS)
def test_a_history_with_restarts_is_told_like_one_without(
    policies: Policies, history: list[Step], restarts: set[int]
) -> None:
    restarted = run(policies, with_restarts(history, restarts))
    without = run(policies, history)
    assert restarted.events == without.events
    assert restarted.status.alerts == without.status.alerts
    # Where the clock was set back, a restart brings an answer of the future back to its instant,
    # and with it the one before which a change was not there.
    known, other = restarted.status.last_known, without.status.last_known
    same = replace(other, last_read_at=known.last_read_at, changes=known.changes)
    assert known == same
    assert [one.fields for one in known.changes] == [one.fields for one in other.changes]


@given(some_policies(), some_polls(backward=True))
def test_a_restart_by_itself_tells_nothing_and_changes_nothing_that_is_stored(
    policies: Policies, history: list[Step]
) -> None:
    campaign = run(policies, history)
    before = replace(campaign.status, failures=None)
    assert campaign.restart(max(step.at for step in history)) == ()
    assert campaign.status == before


# --- muting


@given(WITHOUT_UNREADABLE, some_polls(inhibits=False), st.sets(st.integers(0, 15)))
def test_muting_loses_nothing(policies: Policies, history: list[Step], muted: set[int]) -> None:
    """Un-muted, on-call knows what it would have known without any mute."""
    polls = [step for step in history if isinstance(step, Poll)]
    some_muted: list[Step] = [
        replace(poll, status_told=number not in muted) for number, poll in enumerate(polls)
    ]
    last = Poll(polls[-1].at + MINUTE, Seen("config", tested_at=NOW))
    told = {
        event_set: {rule for rule, alert in campaign.status.alerts.items() if alert.notified}
        for event_set, campaign in {
            "muted": run(policies, [*some_muted, last]),
            "never": run(policies, [*polls, last]),
        }.items()
    }
    assert told["muted"] == told["never"]


@given(some_policies(), some_polls(inhibits=False))
def test_while_everything_is_muted_nothing_is_told(policies: Policies, history: list[Step]) -> None:
    polls = [replace(step, status_told=False) for step in history if isinstance(step, Poll)]
    assert run(policies, polls).events == []


# --- exact time


GAPS = st.lists(st.tuples(st.integers(0, 120), st.sampled_from("xx.?")), min_size=1, max_size=20)


def fired_and_resolved(gaps: list[tuple[int, str]], **rule: float) -> list[tuple[int, str]]:
    campaign, now, told = WatchedCampaign(a_target(only("failed_test", **rule))), 0, []
    for gap, sign in gaps:
        now += gap
        told += [(now, event.status.value) for event in campaign.poll(sign, NOW + now)]
    return told


@given(GAPS, st.integers(0, 300))
def test_for_fires_at_the_first_bad_finding_that_is_so_long_after_the_run_began(
    gaps: list[tuple[int, str]], span: int
) -> None:
    now, began, expected = 0, None, None
    for gap, sign in gaps:
        now += gap
        if sign == ".":
            began = None
        elif sign == "x":
            began = now if began is None else began
            if now - began >= span:
                expected = (now, "firing")
                break
    assert fired_and_resolved(gaps, for_=span)[:1] == ([] if expected is None else [expected])


@given(GAPS, st.integers(0, 300))
def test_keep_firing_for_resolves_at_the_first_good_finding_so_long_after_the_recovery(
    gaps: list[tuple[int, str]], span: int
) -> None:
    now, recovered, expected = 0, None, None
    for gap, sign in gaps:
        now += gap
        if sign == "x":
            recovered = None
        elif sign == ".":
            recovered = now if recovered is None else recovered
            if now - recovered >= span:
                expected = (now, "resolved")
                break
    told = fired_and_resolved([(0, "x"), *gaps], keep_firing_for=span)
    assert told[0] == (0, "firing")
    assert told[1:2] == ([] if expected is None else [expected])


# --- a clock that steps


@given(some_polls(inhibits=False), st.sampled_from([-3600.0, 3600.0]))
def test_a_clock_step_by_itself_tells_nothing(history: list[Step], step: float) -> None:
    """Seen again as it was last seen, with no span running, a campaign is not news."""
    policies = {rule: Policy("info", limit=3600.0) for rule in ("missing", "failed_test")}
    campaign = run(policies, history)
    last = history[-1]
    assert isinstance(last, Poll)
    # Nobody was asked meanwhile: no other was read at a later instant.
    others = None if last.others is None else min(last.others, last.others + step)
    assert take(campaign, replace(last, at=last.at + step, others=others)) == ()
