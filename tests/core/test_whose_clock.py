"""Whose clock is right: the platform's instants are looked at by ours, by the API's, or by both."""

from collections.abc import Iterable
from dataclasses import replace
from statistics import median

import pytest
from hypothesis import event as note
from hypothesis import given
from hypothesis import strategies as st

from monitor.core.alerts import AFTER_DEADLINE
from monitor.core.assess import _by_order
from monitor.core.clock import MOVED_FOR, after_call, ahead, campaign_stepped, clock_stepped
from monitor.core.connection_tests import Tested
from monitor.core.model import (
    DAY,
    HOUR,
    MINUTE,
    Event,
    Finding,
    PollError,
    Reason,
    Seconds,
    SftpConfig,
    Verdict,
)
from monitor.core.rule import evaluate_all, resolve_rules
from monitor.core.rules import RULES
from monitor.core.schedule import PollIntervals, Priority, next_poll, next_probe
from monitor.core.status import OURS, Ahead, EnvironmentStatus, Failures
from support.builders import (
    FIRING,
    NOW,
    a_config,
    a_status,
    a_target,
    an_error,
    an_input,
    an_untested_config,
    only,
    some_rules,
)
from support.environments import WatchedEnvironment, down, rejected
from support.timeline import WatchedCampaign, in_a_word

FRESH = EnvironmentStatus(name="production")


def skewed(
    *skews: Seconds, every: Seconds = 0.0, status: EnvironmentStatus = FRESH, start: Seconds = 0.0
) -> EnvironmentStatus:
    """Return the status after answers with these differences; the last one came at `NOW`."""
    first = NOW + start - every * (len(skews) - 1)
    for number, skew in enumerate(skews):
        at = first + every * number
        status = after_call(status, at + skew, at)
    return status


def counting(*skews: Seconds, every: Seconds = 0.0) -> Ahead:
    return ahead(skewed(*skews, every=every), NOW)


# --- how many must agree


def test_where_the_api_never_said_its_time_ours_is_the_only_candidate() -> None:
    assert ahead(FRESH, NOW) == OURS
    assert ahead(after_call(FRESH, None, NOW), NOW) == OURS


@pytest.mark.parametrize(
    ("skews", "both"),
    [
        ((0,), (0, 0)),
        ((0, 0), (0, 0)),
        ((9 * HOUR,), (0, 9 * HOUR)),
        ((9 * HOUR, 9 * HOUR), (0, 9 * HOUR)),
        ((0, 0, 11, 22, 33), (0, 11)),
        ((0, 10.1, 20.2, 30.3, 40.4), (0, 20.2)),
    ],
)
def test_while_fewer_than_three_agree_both_clocks_count(
    skews: tuple[float, ...], both: Ahead
) -> None:
    assert counting(*skews) == pytest.approx(both)


@pytest.mark.parametrize(
    ("skews", "one"),
    [
        ((0, 0, 0), 0),
        ((9 * HOUR, 9 * HOUR, 9 * HOUR), 9 * HOUR),
        ((70, 79.9, 75), 75),
        ((70, 80, 75), 75),
        ((70, 90, 75, 50, 79), 75),
    ],
)
def test_from_three_on_that_agree_one_clock_counts(skews: tuple[float, ...], one: float) -> None:
    assert counting(*skews) == pytest.approx((one,))


@pytest.mark.parametrize(("apart", "alone"), [(9.9, True), (10.0, True), (10.1, False)])
def test_they_agree_within_ten_seconds(apart: float, alone: bool) -> None:
    assert (len(counting(100, 105, 100 + apart)) == 1) is alone


def test_only_the_last_five_count() -> None:
    status = skewed(1, 2, 100, 101, 102, 103, 104)
    assert list(status.skews) == pytest.approx([100, 101, 102, 103, 104])
    assert ahead(status, NOW + MOVED_FOR) == (102,)


def test_an_odd_date_among_five_that_agree_changes_nothing() -> None:
    assert counting(0, 1, 9 * HOUR, 0, -1, every=MINUTE) == OURS
    assert counting(70, 71, 72, 71, -9 * HOUR, every=MINUTE) == (71,)


# --- from which difference on


@pytest.mark.parametrize(
    ("difference", "counts"),
    [(59.9, 0), (60, 60), (-59.9, 0), (-60, -60), (61, 61), (0, 0), (-DAY, -DAY)],
)
def test_the_clock_of_the_api_counts_alone_from_60_seconds_on(
    difference: float, counts: float
) -> None:
    assert counting(*[difference] * 3) == pytest.approx((counts,))


@pytest.mark.parametrize(("difference", "counts"), [(45, 45), (30, 30), (29.9, 0), (-29, 0)])
def test_and_until_it_is_below_30(difference: float, counts: float) -> None:
    status = skewed(*[80] * 5, *[difference] * 5, every=10)
    assert ahead(status, NOW + MOVED_FOR) == pytest.approx((counts,))


def test_below_60_it_does_not_come_on_by_what_was_doubted() -> None:
    odd = skewed(*[0] * 5, *[9 * HOUR] * 3, *[45] * 5, every=10)
    assert not odd.corrected
    assert ahead(odd, NOW + MOVED_FOR) == OURS


# --- where it moved


@pytest.mark.parametrize(("by", "doubted"), [(60, False), (61, True), (-60, False), (-61, True)])
def test_a_median_that_moves_by_more_than_60_seconds_is_doubted(by: float, doubted: bool) -> None:
    assert (len(counting(*[100] * 5, *[100 + by] * 3, every=10)) == 2) is doubted


@pytest.mark.parametrize(("after", "clocks"), [(299.9, 2), (300.0, 1), (300.1, 1)])
def test_for_5_minutes_from_its_last_move_on(after: float, clocks: int) -> None:
    # The median moves with the third of the new ones.
    status = skewed(*[0] * 5, *[HOUR] * 3, every=10)
    assert len(ahead(status, NOW + after)) == clocks
    assert ahead(status, NOW + 300) == (HOUR,)


def test_answers_that_confirm_it_neither_lengthen_nor_shorten_the_doubt() -> None:
    status = skewed(*[0] * 5, *[HOUR] * 3, every=10)
    for minute in range(1, 5):
        status = after_call(status, NOW + HOUR + minute * MINUTE, NOW + minute * MINUTE)
        assert ahead(status, NOW + minute * MINUTE) == (0, HOUR)
    assert ahead(status, NOW + 5 * MINUTE) == (HOUR,)


def test_each_move_begins_the_doubt_anew() -> None:
    status = skewed(*[0] * 5, *[HOUR] * 3, every=10)
    status = skewed(*[0] * 3, every=10, status=status, start=4 * MINUTE)
    assert len(ahead(status, NOW + 8.9 * MINUTE)) == 2
    assert ahead(status, NOW + 9 * MINUTE) == OURS


@pytest.mark.parametrize(("by", "doubted"), [(4.1, True), (3.9, False), (-4.1, True)])
def test_small_moves_add_up_within_5_minutes(by: float, doubted: bool) -> None:
    # Fifteen of them in 5 minutes: 61.5 s, or 58.5 s.
    drifting = [by * number for number in range(60)]
    assert (len(counting(*drifting, every=20)) == 2) is doubted


def test_at_a_start_the_first_difference_is_no_move() -> None:
    assert counting(9 * HOUR, 9 * HOUR, 9 * HOUR, every=10) == (9 * HOUR,)


@given(
    st.lists(
        st.tuples(st.floats(0, 400), st.sampled_from([0.0, 5.0, 59.0, 61.0, 130.0, HOUR])),
        min_size=1,
        max_size=40,
    ),
    st.floats(0, 400),
)
def test_it_is_what_the_words_say(history: list[tuple[Seconds, Seconds]], later: Seconds) -> None:
    """Against the sentence of the specification, word by word and slow."""
    status, at, samples = FRESH, NOW, list[float]()
    course, alone_by_api = list[tuple[float, float]](), False

    def words(now: float) -> Ahead:
        nonlocal alone_by_api
        last = samples[-5:]
        agree = any(sum(0 <= b - a <= 10 for b in last) >= 3 for a in last)
        ends = [until for until, _ in course[1:]] + [float("inf")]
        lately = [was for (_, was), until in zip(course, ends, strict=True) if until > now - 300]
        if not agree or max(lately) - min(lately) > 60:
            return (0.0, course[-1][1])
        alone_by_api = abs(course[-1][1]) >= (30 if alone_by_api else 60)
        return (course[-1][1],) if alone_by_api else OURS

    for wait, skew in history:
        at += wait
        if course:
            words(at)
        date = at + skew
        samples.append(date - at)
        course.append((at, median(samples[-5:])))
        status = after_call(status, date, at)
        found = ahead(status, at)
        note(f"{len(found)} clocks")
        assert found == words(at)
    assert ahead(status, at + later) == words(at + later)
    assert len(status.medians) <= len(history)


def test_what_is_kept_of_the_past_is_5_minutes_long() -> None:
    status = skewed(*range(40), every=20)
    assert NOW - 300 < status.medians[0][0] <= NOW - 300 + 20


# --- what a rule makes of two clocks


def found(rule: str, config: SftpConfig, clocks: Ahead) -> Finding:
    return evaluate_all(some_rules(rule), an_input(config), clocks)[rule]


STALE_BY_1H = a_config(last_test_at=NOW - 30 * DAY - HOUR)
FRESH_BY_1H = a_config(last_test_at=NOW - 30 * DAY + HOUR)


def test_the_verdict_that_both_give_is_given_with_the_words_of_ours() -> None:
    both = found("stale_test", STALE_BY_1H, (0.0, 1800.0))
    assert both == found("stale_test", STALE_BY_1H, OURS)
    assert both.verdict is Verdict.UNHEALTHY


@pytest.mark.parametrize("clocks", [(0.0, 2 * HOUR), (2 * HOUR, 0.0)])
def test_where_they_differ_it_is_unknown_and_says_by_how_much(clocks: Ahead) -> None:
    finding = found("stale_test", FRESH_BY_1H, clocks)
    assert finding.verdict is Verdict.UNKNOWN
    assert finding.summary == "our clock and the API's are 2 h apart, and only one can be right"


def test_a_clock_that_counts_alone_decides_alone() -> None:
    assert found("stale_test", FRESH_BY_1H, (2 * HOUR,)).verdict is Verdict.UNHEALTHY
    assert found("stale_test", STALE_BY_1H, (-2 * HOUR,)).verdict is Verdict.HEALTHY
    assert found("future_test", a_config(last_test_at=NOW + HOUR), (HOUR,)).verdict is (
        Verdict.HEALTHY
    )
    late = an_untested_config(created_at=NOW - DAY + HOUR)
    assert found("never_tested", late, (HOUR,)).verdict is Verdict.UNHEALTHY
    assert found("disabled", a_config(is_enabled=False, created_at=NOW - DAY + HOUR), (HOUR,)) != (
        found("disabled", a_config(is_enabled=False, created_at=NOW - DAY + HOUR), OURS)
    )


@pytest.mark.parametrize("clocks", [OURS, (9 * HOUR,), (-9 * HOUR,), (0.0, 9 * HOUR)])
def test_what_we_saw_ourselves_is_measured_by_our_own_clock(clocks: Ahead) -> None:
    rules = resolve_rules(RULES, {})
    off = a_config(is_enabled=False)
    inputs = an_input(off, enabled_seen=True, disabled_since=NOW - DAY + 1)
    assert evaluate_all(rules, inputs, clocks)["disabled"].verdict is Verdict.HEALTHY
    assert evaluate_all(rules, inputs, clocks)["disabled"].recheck_at == pytest.approx(NOW + 1)
    inputs = replace(inputs, now=NOW + 1.001)
    assert evaluate_all(rules, inputs, clocks)["disabled"].verdict is Verdict.UNHEALTHY
    unborn = an_input(an_untested_config(created_at=None), first_seen_at=NOW - DAY + 1)
    assert evaluate_all(rules, unborn, clocks)["never_tested"].verdict is Verdict.HEALTHY
    for since, verdict in ((899, Verdict.UNKNOWN), (901, Verdict.UNHEALTHY)):
        failed = an_input(an_error(), failures=Failures(3, NOW - since))
        assert evaluate_all(rules, failed, clocks)["unreadable"].verdict is verdict


def test_one_rule_is_no_other_ones_doubt() -> None:
    config = a_config(last_test_at=NOW - 30 * DAY + HOUR, last_test_success=False)
    findings = evaluate_all(resolve_rules(RULES, {}), an_input(config), (0.0, 2 * HOUR))
    assert findings["failed_test"].verdict is Verdict.UNHEALTHY
    assert findings["future_test"].verdict is Verdict.HEALTHY
    assert findings["stale_test"].verdict is Verdict.UNKNOWN


def test_what_is_ahead_by_one_clock_only_leaves_the_age_unknown_too() -> None:
    findings = evaluate_all(
        some_rules("stale_test", "future_test"),
        an_input(a_config(last_test_at=NOW + HOUR)),
        (0.0, HOUR),
    )
    assert {finding.verdict for finding in findings.values()} == {Verdict.UNKNOWN}


# --- when to look again


INTERVALS = PollIntervals(interval=HOUR, unhealthy_interval=HOUR, idle_interval=HOUR)


@pytest.mark.parametrize(
    ("clocks", "after"),
    [
        (OURS, 10 * MINUTE),
        ((0.0, -MINUTE), 11 * MINUTE),
        ((0.0, 5 * MINUTE), 10 * MINUTE),
        ((0.0, 12 * MINUTE), 10 * MINUTE),
        ((-MINUTE,), 11 * MINUTE),
        ((5 * MINUTE,), 5 * MINUTE),
    ],
)
@pytest.mark.parametrize(
    "config",
    [
        a_config(last_test_at=NOW - 30 * DAY + 10 * MINUTE),
        an_untested_config(created_at=NOW - DAY + 10 * MINUTE),
        a_config(last_test_at=NOW + 15 * MINUTE),
    ],
    ids=["stale", "never tested", "ahead"],
)
def test_a_deadline_is_looked_at_when_every_clock_that_counts_has_passed_it(
    config: SftpConfig, clocks: Ahead, after: Seconds
) -> None:
    target = a_target(only("stale_test", "never_tested", "future_test"))
    campaign = WatchedCampaign(target)
    campaign.poll(config, NOW)
    found = next_poll(campaign.status, target, INTERVALS, NOW, clocks)
    assert found is not None
    assert found[:2] == (NOW + after + AFTER_DEADLINE, Priority.DEADLINE)


def test_the_end_of_a_for_is_on_our_clock_whatever_the_others_say() -> None:
    target = a_target(only("failed_test", for_=10 * MINUTE))
    campaign = WatchedCampaign(target)
    campaign.poll("x", NOW)
    for clocks in (OURS, (9 * HOUR,), (0.0, -9 * HOUR)):
        found = next_poll(campaign.status, target, INTERVALS, NOW, clocks)
        assert found is not None
        assert found.at == NOW + 10 * MINUTE + AFTER_DEADLINE


# --- histories in which only the headers vary


@st.composite
def some_fixed_configs(draw: st.DrawFn) -> SftpConfig:
    """Draw a config that never changes, near or far from each deadline."""
    near = st.sampled_from([0.0, 1.0, MINUTE, -MINUTE, HOUR, -HOUR, 5 * DAY, -5 * DAY])
    tested = draw(st.sampled_from([-30 * DAY, -DAY, 5 * MINUTE]))
    config = a_config(
        created_at=draw(st.none() | near.map(lambda by: NOW - DAY + by)),
        last_test_at=NOW + tested + draw(near),
        last_test_success=draw(st.booleans()),
        is_enabled=draw(st.booleans()),
    )
    if draw(st.booleans()):
        return config
    return replace(config, last_test_at=None, last_test_success=None)


WRONG = st.sampled_from([9 * HOUR, -9 * HOUR, 65.0, -65.0, HOUR, 400 * DAY]) | st.floats(-1e9, 1e9)
SERVERS = st.lists(WRONG, min_size=1, max_size=3).flatmap(
    lambda wrong: st.lists(st.sampled_from([0.0, *wrong]), min_size=1, max_size=30)
)
SKEWS = SERVERS | st.lists(st.none() | WRONG | st.just(0.0), min_size=1, max_size=30)


def trusted_wrongly(status: EnvironmentStatus, now: float) -> bool:
    """Whether three of the last five agree on another time than ours, and have for long enough."""
    clocks = ahead(status, now)
    return len(clocks) == 1 and clocks != OURS


@given(
    config=some_fixed_configs(),
    skews=SKEWS,
    cached=st.sets(st.integers(0, 30)),
    every=st.sampled_from([0.5, 20.0, MINUTE]),
    restart=st.integers(0, 30),
)
def test_headers_alone_tell_nobody_anything(
    config: SftpConfig, skews: list[float | None], cached: set[int], every: float, restart: int
) -> None:
    """Told is what would be told without any header; unless an agreeing majority is wrong."""
    ours, with_headers = WatchedCampaign(), WatchedCampaign()
    status, told = FRESH, list[tuple[str, str]]()
    expected = list[tuple[str, str]]()
    for number, skew in enumerate(skews):
        now = NOW + number * every
        if number == restart:
            status = FRESH
            assert with_headers.restart(now) == ()
        # By our clock alone, which is right.
        expected += words(ours.poll(config, now))
        if number in cached:
            # At most 15 minutes of them: `unreadable` is about that no evidence comes.
            assert with_headers.poll(PollError(Reason.CACHED), now) == ()
            continue
        status = after_call(status, None if skew is None else now + skew, now)
        if trusted_wrongly(status, now):
            note("a wrong majority was believed")
            break
        told += words(with_headers.poll(config, now, ahead=ahead(status, now)))
        # None that a right clock would not have told by now: later perhaps, but never wrong.
        assert not set(told) - set(expected)
        assert len(set(told)) == len(told)


def words(events: Iterable[Event]) -> list[tuple[str, str]]:
    return [(one.rule, in_a_word(one)) for one in events]


@given(
    config=some_fixed_configs(),
    skews=st.lists(st.none() | WRONG, max_size=30),
    every=st.sampled_from([0.5, 20.0, MINUTE]),
)
def test_what_was_told_before_is_held_whatever_the_headers_say(
    config: SftpConfig, skews: list[float | None], every: float
) -> None:
    campaign = WatchedCampaign()
    settled = NOW + 10 * DAY
    campaign.poll(config, settled)
    status = skewed(0, 0, 0, 0, 0)
    for number, skew in enumerate(skews):
        now = settled + number * every
        status = after_call(status, None if skew is None else now + skew, now)
        if trusted_wrongly(status, now):
            break
        assert campaign.poll(config, now, ahead=ahead(status, now)) == ()


@given(
    config=some_fixed_configs(),
    off=st.sampled_from([DAY, -DAY, 400 * DAY, -56 * 365 * DAY, 61.0, -61.0]),
    odd=st.lists(WRONG, min_size=2, max_size=2),
    places=st.permutations(range(5)),
)
def test_fault_24_where_most_dates_agree_and_our_clock_is_off_theirs_decides(
    config: SftpConfig, off: float, odd: list[float], places: list[int]
) -> None:
    at = NOW + off
    right = [-off, -off + 0.5, -off - 0.5]
    first = skewed(*right, *right, start=off)
    mixed = [(*right, *odd)[place] for place in places]
    status = skewed(*mixed, status=first, start=off)
    clocks = ahead(status, at)
    assert len(clocks) == 1
    assert clocks[0] == pytest.approx(-off, abs=0.5)
    ours = evaluate_all(resolve_rules(RULES, {}), an_input(config, now=at), clocks)
    true = evaluate_all(resolve_rules(RULES, {}), an_input(config, now=at + clocks[0]), OURS)
    dated = {"disabled", "never_tested"} if config.created_at is None else set()
    for rule in ours.keys() - dated:
        assert ours[rule].verdict is true[rule].verdict, rule


# --- a step of our own clock


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=5), st.floats(-1e8, 1e8))
def test_over_a_step_of_our_clock_that_of_the_api_goes_on(skews: list[float], step: float) -> None:
    before = skewed(*skews)
    after = clock_stepped(before, step, NOW + step)
    assert list(after.skews) == [skew - step for skew in before.skews]
    if abs(step) > 60.001:
        assert len(ahead(after, NOW + step)) == 2


@pytest.mark.parametrize("step", [HOUR, -HOUR])
def test_a_clock_that_steps_an_hour_is_not_believed_for_5_minutes_and_then_corrected(
    step: float,
) -> None:
    at = NOW + step
    status = clock_stepped(skewed(0, 0, 0), step, at)
    assert ahead(status, at) == (0, -step)
    assert ahead(status, at + 299) == (0, -step)
    assert ahead(status, at + 300) == (-step,)


def test_a_clock_that_is_put_right_is_believed_for_both_say_the_same() -> None:
    status = clock_stepped(skewed(HOUR, HOUR, HOUR), HOUR, NOW + HOUR)
    assert ahead(status, NOW + HOUR) == (0, 0)
    assert ahead(status, NOW + HOUR + 300) == OURS


def test_a_small_step_keeps_a_correction_that_is_in_force() -> None:
    assert ahead(clock_stepped(skewed(100, 100, 100), 50, NOW + 50), NOW + 50) == (50,)


def test_a_doubt_lasts_as_long_as_it_lasts_though_our_clock_steps() -> None:
    doubted = skewed(*[0] * 5, *[HOUR] * 3, every=10)
    stepped = clock_stepped(doubted, 40, NOW + 140)
    assert len(ahead(stepped, NOW + 40 + 299)) == 2
    assert len(ahead(stepped, NOW + 40 + 300)) == 1


def test_a_step_while_they_disagree_begins_the_doubt_anew() -> None:
    doubted = skewed(0, 9 * HOUR, -9 * HOUR, every=10)
    after = clock_stepped(doubted, HOUR, NOW + HOUR)
    assert ahead(after, NOW + HOUR) == (0, -HOUR)
    settled = skewed(*[-HOUR] * 5, status=after, start=HOUR)
    assert ahead(settled, NOW + HOUR) == (0, -HOUR)
    assert ahead(settled, NOW + HOUR + 300) == (-HOUR,)


def test_where_the_clock_of_the_api_is_unknown_ours_is_taken() -> None:
    assert ahead(clock_stepped(FRESH, HOUR, NOW + HOUR), NOW + HOUR) == OURS


# --- spans run on our clock, and go on over its steps


@pytest.mark.parametrize("step", [HOUR, -HOUR])
@pytest.mark.parametrize("known", [False, True], ids=["no date", "dates"])
def test_an_outage_lasts_as_long_as_it_lasts_though_our_clock_steps(
    step: float, known: bool
) -> None:
    environment = down()
    if known:
        environment.status = skewed(0, 0, 0, status=environment.status)
    environment.status = clock_stepped(environment.status, step, NOW + step)
    told = NOW + step + 5 * MINUTE
    assert environment.call(Reason.TIMEOUT, at=told - 1) == ()
    (event,) = environment.call(Reason.TIMEOUT, at=told)
    assert (event.rule, event.since) == ("api_unreachable", NOW + step - 2)


@pytest.mark.parametrize("environment", [down(), rejected()], ids=["outage", "rejected token"])
def test_the_next_probe_waits_neither_longer_nor_shorter_though_our_clock_steps(
    environment: WatchedEnvironment,
) -> None:
    after = clock_stepped(environment.status, HOUR, NOW + HOUR)
    probes = [
        next_probe(status, environment.context, 30.0, 300.0)
        for status in (environment.status, after)
    ]
    assert probes[1] == probes[0] + HOUR
    assert after.rejected_at == (None if after.outage_at else NOW + HOUR)


def test_what_is_not_so_does_not_become_so_by_a_step_of_our_clock() -> None:
    assert clock_stepped(FRESH, HOUR, NOW + HOUR) == FRESH
    assert campaign_stepped(a_status(), HOUR) == a_status()


def test_an_alert_that_waits_or_was_told_goes_on_as_if_our_clock_had_not_stepped() -> None:
    healthy = replace(FIRING, healthy_at=NOW - MINUTE)
    environment = replace(FRESH, alerts={"api_unreachable": replace(FIRING, pending_at=NOW)})
    campaign = a_status(alerts={"failed_test": healthy})
    (one,) = clock_stepped(environment, -HOUR, NOW - HOUR).alerts.values()
    (other,) = campaign_stepped(campaign, -HOUR).alerts.values()
    assert (one.pending_at, one.notified_at, one.since) == (
        NOW - HOUR,
        NOW - 2 * HOUR,
        FIRING.since,
    )
    assert (other.healthy_at, other.fired_at) == (NOW - MINUTE - HOUR, NOW - 2 * HOUR)


@pytest.mark.parametrize("step", [HOUR, -HOUR, 365 * DAY])
def test_what_a_campaign_counts_from_goes_along_but_when_it_was_read_only_back(step: float) -> None:
    campaign = WatchedCampaign()
    campaign.poll(a_config(), NOW - HOUR)
    campaign.poll(a_config(is_enabled=False), NOW - MINUTE)
    campaign.poll("-", NOW)
    campaign.poll("?", NOW + 1)
    before, after = campaign.status, campaign_stepped(campaign.status, step)
    (change,) = before.last_known.changes
    assert after.polled_at == NOW + 1 + step
    assert after.failures == Failures(1, NOW + 1 + step)
    assert after.last_known == replace(
        before.last_known,
        missing_since=NOW + step,
        first_seen_at=NOW - HOUR + step,
        disabled_since=NOW - MINUTE + step,
        last_read_at=NOW + min(step, 0.0),
        changes=(replace(change, at=NOW - MINUTE + step, since=NOW - HOUR + step),),
    )


def test_a_record_that_moved_while_the_clocks_differ_ran_before_it_was_seen() -> None:
    """Dated by a clock of ours that is behind, a pass of just now would lie in the future."""
    read = a_status().after(a_config(last_test_at=NOW - HOUR), NOW)
    tested = Tested(read, a_target(), NOW + MINUTE)
    seen = a_config(last_test_at=NOW + 2 * HOUR)
    assert _by_order(read, tested, seen).ahead == 2 * HOUR - MINUTE
