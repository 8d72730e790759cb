"""No window of 60 seconds holds more calls than the budget, whoever calls whenever."""

from bisect import bisect_right

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.core.budget import LONGEST_PAUSE, PACE, Budget, effective_interval, wait_of_lease
from monitor.core.model import DAY, HOUR, MINUTE, RateHint
from support.builders import NOW

Wish = tuple[str, float]

WISHES = st.lists(
    st.one_of(
        st.tuples(st.just("call"), st.floats(0, 2)),
        st.tuples(st.just("idle"), st.floats(0, 300)),
        st.tuples(st.just("pause"), st.floats(0, 900)),
        st.tuples(st.just("burst"), st.floats(0, 0)),
    ),
    max_size=20,
)


def calls_made(budget: Budget, wishes: list[Wish]) -> list[float]:
    """Return when calls went out to a caller who waits as long as the budget says, no longer."""
    now, made = 0.0, []
    for what, seconds in wishes:
        if what == "pause":
            budget = budget.pause(now, seconds)
            continue
        now += seconds
        for _ in range(int(2 * budget.per_minute) if what == "burst" else 1):
            now += budget.delay(now)
            budget = budget.spend(now)
            made.append(now)
    return made


@given(per_minute=st.integers(1, 60), wishes=WISHES)
def test_fault_28_no_window_of_sixty_seconds_holds_more_than_the_budget(
    per_minute: int, wishes: list[Wish]
) -> None:
    made = calls_made(Budget(per_minute, 0.0), wishes)
    assert fullest_minute(made) <= per_minute


@pytest.mark.parametrize("per_minute", [1, 2, 33, 34, 100, 999, 1000])
def test_nor_does_one_under_continuous_load(per_minute: int) -> None:
    made = calls_made(Budget(per_minute, 0.0), [("burst", 0.0), ("idle", 60.0), ("burst", 0.0)])
    assert fullest_minute(made) <= per_minute
    assert fullest_minute(made) >= int(PACE * per_minute)


@given(
    per_minute=st.integers(10, 1000), jitter=st.lists(st.floats(0, 1.2), min_size=10, max_size=200)
)
def test_a_network_that_jitters_by_a_second_does_not_push_a_minute_over_the_budget(
    per_minute: int, jitter: list[float]
) -> None:
    made = calls_made(Budget(per_minute, 0.0), [("call", 0.0)] * len(jitter))
    arrived = sorted(at + late for at, late in zip(made, jitter, strict=True))
    assert fullest_minute(arrived) <= per_minute


def fullest_minute(made: list[float]) -> int:
    # A window ends just before a minute is over; a nanosecond is what floats lose.
    return max(
        (bisect_right(made, at + MINUTE - 1e-9) - index for index, at in enumerate(made)),
        default=0,
    )


def test_calls_go_out_evenly_at_97_percent_of_the_budget() -> None:
    budget = Budget(100, 0.0)
    assert budget.spacing(0.0) == pytest.approx(60 / 97)
    made = calls_made(budget, [("burst", 0.0)])
    assert made[10] == pytest.approx(10 * 60 / 97)


def test_what_was_not_used_is_not_saved_up() -> None:
    budget = Budget(60, 0.0).spend(0.0)
    assert budget.delay(HOUR) == 0
    budget = budget.spend(HOUR)
    assert budget.delay(HOUR) == pytest.approx(budget.spacing(HOUR))


def test_a_pause_lets_no_call_out_before_its_end() -> None:
    budget = Budget(60, 0.0).pause(10.0, 60.0)
    assert budget.delay(10.0) == 60
    assert budget.delay(69.0) == 1
    assert budget.delay(70.0) == 0


def test_a_short_pause_does_not_shorten_a_long_one() -> None:
    assert Budget(60, 0.0).pause(0.0, 900.0).pause(1.0, 1.0).delay(1.0) == 899


def test_a_call_that_could_not_wait_is_paid_back() -> None:
    budget = Budget(60, 0.0).spend(0.0).spend(0.0).spend(0.0)
    assert budget.delay(0.0) == pytest.approx(3 * budget.spacing(0.0))


def test_available_says_how_many_calls_may_go_out_within_the_next_minute() -> None:
    budget = Budget(100, 0.0)
    assert budget.available(0.0) == 97
    assert budget.pause(0.0, 30.0).available(0.0) == 48
    assert budget.pause(0.0, 900.0).available(0.0) == 0


def test_an_outage_of_two_minutes_is_followed_by_no_burst() -> None:
    """An outage of 2 minutes with 90 campaigns costs what 2 minutes cost, and not 90 at once."""
    budget = Budget(50, 0.0)
    after_outage = 120.0
    made = []
    now = after_outage
    for _ in range(90):
        now += budget.delay(now)
        budget = budget.spend(now)
        made.append(now)
    assert sum(at < after_outage + 10 for at in made) <= 9


@pytest.mark.parametrize(
    ("campaigns", "interval", "effective"),
    [
        (0, 5 * MINUTE, 5 * MINUTE),
        (242, 5 * MINUTE, 5 * MINUTE),
        (250, 5 * MINUTE, 250 * 60 / 48.5),
        (10_000, 5 * MINUTE, 10_000 * 60 / 48.5),
        (10, 0.0, 10 * 60 / 48.5),
    ],
)
def test_more_campaigns_than_the_budget_can_sweep_stretch_the_interval(
    campaigns: int, interval: float, effective: float
) -> None:
    pace = Budget(50, 0.0).pace(0.0)
    assert effective_interval(pace, campaigns, interval) == pytest.approx(effective)


def test_idle_campaigns_take_their_part_of_the_pace_but_never_more_than_half() -> None:
    assert effective_interval(60.0, 100, 10.0, idle=60, idle_interval=2 * MINUTE) == 100 / 30 * 60
    assert effective_interval(60.0, 100, 10.0, idle=999, idle_interval=MINUTE) == 200


# --- a 429, and what the rate headers say


def test_fault_8_a_429_halves_the_pace_after_its_pause() -> None:
    budget = Budget(100, 0.0).refused(0.0, 30.0)
    assert budget.delay(0.0) == 30
    assert budget.pace(30.0) == pytest.approx(97 / 2)


def test_fault_8_a_halved_pace_grows_back_within_ten_minutes() -> None:
    budget = Budget(100, 0.0).refused(0.0, 30.0)
    paces = [budget.pace(30.0 + minutes * MINUTE) for minutes in range(12)]
    assert paces == sorted(paces)
    assert paces[5] == pytest.approx(97 * 0.75)
    assert paces[9] < 97
    assert paces[10] == pytest.approx(97)


def test_a_429_that_answers_an_earlier_call_does_not_halve_once_more() -> None:
    budget = Budget(100, 0.0).refused(0.0, 30.0).refused(1.0, 60.0)
    assert budget.delay(1.0) == 60
    assert budget.pace(61.0) == pytest.approx(97 / 2)


def test_a_429_after_the_pause_halves_again_but_never_below_a_tenth() -> None:
    budget = Budget(100, 0.0)
    now = 0.0
    for _ in range(6):
        budget = budget.refused(now, 1.0)
        now += 1.0
    assert budget.pace(now) == pytest.approx(97 * 0.1)


@pytest.mark.parametrize(
    ("hint", "part"),
    [
        (None, 1.0),
        (RateHint(), 1.0),
        (RateHint(limit=100, remaining=100), 1.0),
        (RateHint(limit=100, remaining=30), 1.0),
        (RateHint(limit=100, remaining=15), 0.5),
        (RateHint(limit=100, remaining=0), 0.1),
        (RateHint(limit=50, remaining=50), 0.5),
        (RateHint(limit=100_000, remaining=100_000), 1.0),
        (RateHint(remaining=15), 0.5),
    ],
)
def test_fault_9_rate_headers_only_slow_us_down(hint: RateHint | None, part: float) -> None:
    assert Budget(50, 0.0).with_rate_hint(hint, 100).pace(0.0) == pytest.approx(50 * 0.97 * part)


def test_where_room_comes_back_the_pace_does_at_once() -> None:
    budget = (
        Budget(50, 0.0).with_rate_hint(RateHint(100, 3), 100).with_rate_hint(RateHint(100, 80), 100)
    )
    assert budget.pace(0.0) == pytest.approx(48.5)


@pytest.mark.parametrize(
    ("ahead", "wait"),
    [
        (-HOUR, 0),
        (0, 0),
        (5, 5),
        (LONGEST_PAUSE, LONGEST_PAUSE),
        (HOUR, MINUTE),
        (365 * DAY, MINUTE),
    ],
)
def test_fault_27_a_stored_lease_is_kept_unless_a_wrong_clock_has_written_it(
    ahead: float, wait: float
) -> None:
    assert wait_of_lease(NOW + ahead, NOW) == wait
