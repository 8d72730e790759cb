"""The simulator of bench/benchmarks/record.py: that it is fair, and that what we claim holds."""

from itertools import pairwise
from math import inf
from random import Random
from statistics import mean

import pytest

from benchmarks.record import (
    BUDGETS,
    CAMPAIGNS,
    Comparison,
    Setting,
    claims,
    compare,
    delays,
    overruns,
    settings,
    table,
)
from benchmarks.simulation import (
    FAILED,
    LATENCY,
    STALE,
    START,
    WARM_UP,
    Gaps,
    Histories,
    Incident,
    Monitor,
    Nature,
    RateLimit,
    Record,
    every_minute,
    fixed_interval,
    histories,
    incidents,
)
from monitor.core.budget import Budget
from monitor.core.model import DAY, HOUR, MINUTE

RESTLESS = Nature(
    to_failure=12 * HOUR, to_repair=2 * HOUR, between_tests=8 * HOUR, max_age=8 * HOUR
)
"""So many incidents that a day of 20 campaigns has dozens."""

FAR = START + 100 * DAY


def slot(per_minute: int) -> float:
    return Budget(per_minute, START).spacing(START)


@pytest.fixture(scope="module")
def manager() -> Histories:
    return histories(20, 1.0, RESTLESS, seed=7)


@pytest.fixture(scope="module")
def happened(manager: Histories) -> list[Incident]:
    return incidents(manager, 1.0, RESTLESS)


@pytest.fixture(scope="module")
def monitor(manager: Histories) -> Monitor:
    watching = Monitor(manager, 50, RESTLESS)
    watching.run(START + DAY)
    return watching


@pytest.fixture(scope="module")
def result() -> Comparison:
    return compare(Setting(campaigns=20, per_minute=50, days=1.5))


# -- what happens --------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_history(manager: Histories) -> None:
    assert histories(20, 1.0, RESTLESS, seed=7) == manager
    assert histories(20, 1.0, RESTLESS, seed=8) != manager


def test_every_history_begins_before_the_start_and_ends_after_the_virtual_time(
    manager: Histories,
) -> None:
    for records in manager.values():
        assert records[0].at < START
        assert records[-1].at > START + DAY
        assert list(records) == sorted(records, key=lambda record: record.at)


def test_a_failed_test_is_an_incident_until_the_next_test() -> None:
    begins, ends = START + 5 * HOUR, START + 6 * HOUR
    manager = {"a": [Record(START, True), Record(begins, False), Record(ends, True)]}
    assert incidents(manager, 1.0, Nature()) == [Incident("a", FAILED, begins, ends)]


def test_a_test_that_passed_is_an_incident_from_max_age_until_the_next_test() -> None:
    manager = {"a": [Record(START, True), Record(START + 9 * HOUR, True)]}
    stale = Incident("a", STALE, START + 8 * HOUR, START + 9 * HOUR)
    assert incidents(manager, 1.0, RESTLESS) == [stale]


def test_incidents_of_the_first_and_the_last_hour_are_not_measured(
    happened: list[Incident],
) -> None:
    assert {incident.rule for incident in happened} == {FAILED, STALE}
    assert all(START + WARM_UP <= i.begins < START + DAY - WARM_UP for i in happened)


# -- the platform's limit ------------------------------------------------------------------


def test_what_is_above_the_limit_in_any_60_seconds_is_refused() -> None:
    limit = RateLimit(3)
    assert [limit.admits(at) for at in (0, 1, 2, 3, 59.9, 60, 61, 61.5)] == [
        *(True, True, True),
        *(False, False),
        *(True, True),
        False,
    ]
    assert limit.refused == 3


def test_a_request_that_is_refused_makes_the_monitor_pause_and_slow_down() -> None:
    manager = {key: [Record(START, True), Record(FAR, True)] for key in "ab"}
    monitor = Monitor(manager, 50, Nature())
    monitor.limit = RateLimit(1)
    monitor.run(START + 50)
    assert monitor.requests == 2
    assert monitor.limit.refused == 1
    assert monitor.budget.delay(START + 50) > 0


# -- a fixed interval ----------------------------------------------------------------------


def test_a_fixed_interval_tells_at_its_next_poll() -> None:
    assert fixed_interval(Incident("a", FAILED, 1000.0, FAR), 0.5, 300.0) == 1050 + LATENCY
    assert fixed_interval(Incident("a", FAILED, 1050.0, FAR), 0.5, 300.0) == 1050 + LATENCY


def test_a_fixed_interval_never_tells_what_is_over_before_its_next_poll() -> None:
    assert fixed_interval(Incident("a", FAILED, 1000.0, 1049.0), 0.5, 300.0) == inf


def test_a_fixed_interval_takes_half_of_it_on_average() -> None:
    found = [fixed_interval(Incident("a", FAILED, at, FAR), 0.3, 300.0) - at for at in range(3000)]
    assert mean(found) == pytest.approx(150, abs=1)


def test_a_poll_every_minute_takes_longer_the_more_of_them_are_refused() -> None:
    random = Random(1)
    every = [Incident("a", FAILED, at * 7.7, FAR) for at in range(4000)]
    all_answered = mean(every_minute(i, 0.0, 1.0, random) - i.begins for i in every)
    a_tenth = mean(every_minute(i, 0.0, 0.1, random) - i.begins for i in every)
    assert all_answered == pytest.approx(30, abs=1)
    assert a_tenth == pytest.approx(570, rel=0.05)


# -- our polling ---------------------------------------------------------------------------


@pytest.mark.slow
def test_a_stale_test_is_told_in_the_first_slot_after_its_deadline(
    monitor: Monitor, happened: list[Incident]
) -> None:
    stale = [incident for incident in happened if incident.rule == STALE]
    assert len(stale) >= 10
    assert overruns(happened, monitor.notified_at, slot(50)) == []


def test_stale_tests_whose_deadlines_coincide_are_told_in_a_slot_each() -> None:
    manager = {key: [Record(START - 5 * HOUR, True), Record(FAR, True)] for key in "abcde"}
    monitor = Monitor(manager, 50, RESTLESS)
    monitor.run(START + 4 * HOUR)
    told = sorted(monitor.told.values())
    assert told[0] == pytest.approx(START + 3 * HOUR + 1 + LATENCY)
    assert [later - at for at, later in pairwise(told)] == pytest.approx([slot(50)] * 4)


@pytest.mark.slow
def test_a_failed_test_is_told_within_an_interval_and_a_half(
    monitor: Monitor, happened: list[Incident]
) -> None:
    failed = [incident for incident in happened if incident.rule == FAILED]
    late = [
        i for i in failed if monitor.notified_at(i) > i.begins + 1.5 * monitor.intervals.interval
    ]
    assert len(failed) >= 10
    assert all(monitor.notified_at(incident) == inf for incident in late)
    assert len(late) <= len(failed) / 5


@pytest.mark.slow
def test_our_requests_are_never_refused(monitor: Monitor) -> None:
    assert monitor.requests > 20 * DAY / monitor.intervals.interval
    assert monitor.limit.refused == 0


def test_our_requests_stay_within_the_budget_when_it_is_short() -> None:
    monitor = Monitor(histories(40, 0.1, RESTLESS, seed=1), 5, RESTLESS)
    monitor.run(START + 0.1 * DAY)
    assert monitor.requests <= 5 * 0.1 * DAY / MINUTE
    assert monitor.limit.refused == 0


# -- the figures ---------------------------------------------------------------------------


def test_even_gaps_let_a_failure_wait_for_half_of_one() -> None:
    gaps = Gaps()
    for _ in range(10):
        gaps.add(300.0)
    assert gaps.expected_delay == 150 + LATENCY


def test_uneven_gaps_let_a_failure_wait_longer() -> None:
    gaps = Gaps()
    for gap in (100.0, 500.0):
        gaps.add(gap)
    assert gaps.expected_delay == pytest.approx(500 / 6 * 2.5 + 100 / 6 * 0.5 + LATENCY)


def test_what_was_over_before_anybody_looked_is_missed_and_counts_in_no_mean() -> None:
    happened = [Incident("a", FAILED, at, FAR) for at in (0.0, 10.0, 20.0)]
    told = {0.0: 5.0, 10.0: 25.0, 20.0: inf}
    found = delays(happened, FAILED, lambda incident: told[incident.begins])
    assert (found.told, found.missed, found.mean, found.p99) == (2, 1, 10.0, 15.0)


def test_a_stale_test_told_after_the_slot_of_another_is_not_late_and_one_after_two_is() -> None:
    happened = [Incident(key, STALE, 100.0, FAR) for key in "ab"]
    in_order = {"a": 101.0, "b": 102.9}
    assert overruns(happened, lambda i: in_order[i.campaign], 1.0) == []
    too_late = {"a": 101.0, "b": 104.5}
    assert overruns(happened, lambda i: too_late[i.campaign], 1.0) == [0.5]


def test_every_number_of_campaigns_meets_every_budget() -> None:
    made = settings(1000)
    assert [(s.campaigns, s.per_minute) for s in made] == [
        (campaigns, budget) for campaigns in CAMPAIGNS for budget in BUDGETS
    ]
    assert all(setting.days * DAY > 3 * WARM_UP for setting in made)


@pytest.mark.slow
def test_what_we_claim_holds_where_the_budget_suffices(result: Comparison) -> None:
    assert result.ours.stale.told > 0
    assert result.late == 0
    assert result.ours.stale.mean <= 2 + slot(50)
    assert result.failed_ratio < 1.1
    assert result.ours.refused_per_minute == 0


@pytest.mark.slow
def test_every_minute_runs_into_the_limit_and_we_do_not() -> None:
    found = compare(Setting(campaigns=60, per_minute=20, days=0.2))
    assert found.minutely.refused_per_minute == 40
    assert found.ours.refused_per_minute == 0
    assert found.ours.requests_per_minute <= 20


@pytest.mark.slow
def test_the_table_has_a_line_for_each_way_of_polling_and_the_claims_one_for_each_setting(
    result: Comparison,
) -> None:
    for way in (result.ours, result.equal, result.minutely):
        assert way.policy in table([result])
    assert f"{result.failed_ratio:.3f}" in claims([result])
