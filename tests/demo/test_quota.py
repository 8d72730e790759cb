"""The rate limit of the stand-in platform: a window of a minute that opens with its first call."""

from monitor.demo.quota import Quota


def test_as_many_calls_as_the_plan_has_are_admitted_in_a_minute() -> None:
    quota = Quota(3)
    assert [quota.admit(second) for second in (0.0, 20.0, 59.9, 59.9)] == [True, True, True, False]


def test_what_remains_goes_down_with_every_call_to_nothing() -> None:
    quota = Quota(2)
    left = [quota.remaining]
    for _ in range(3):
        quota.admit(0.0)
        left.append(quota.remaining)
    assert left == [2, 1, 0, 0]


def test_a_minute_after_the_first_call_all_calls_are_there_again() -> None:
    quota = Quota(2)
    quota.admit(10.0)
    quota.admit(60.0)
    assert not quota.admit(69.9)
    assert quota.admit(70.0)
    assert quota.remaining == 1


def test_the_time_to_wait_is_told_in_whole_seconds_rounded_up() -> None:
    quota = Quota(1)
    quota.admit(100.0)
    assert quota.seconds_to_reset(100.0) == 60
    assert quota.seconds_to_reset(130.5) == 30


def test_the_time_to_wait_is_never_nothing() -> None:
    quota = Quota(1)
    quota.admit(100.0)
    assert quota.seconds_to_reset(160.0) == 1
