"""Which numbers of the rate limit's headers are believed, up to and at their bounds."""

import httpx
import pytest

from monitor.adapters.talkover.answer import rate_hint
from monitor.core.model import HOUR, RateHint

TURN_OF_RESETS = 1_000_000_000.0
"""A reset from here on is an instant (of 2001); less is a span."""


def hint(now: float = TURN_OF_RESETS - 10, **numbers: int) -> RateHint | None:
    headers = {f"x-ratelimit-{name}": str(number) for name, number in numbers.items()}
    return rate_hint(httpx.Headers(headers), now)


@pytest.mark.parametrize(
    ("limit", "believed"), [(0, None), (1, 1), (1_000_000, 1_000_000), (1_000_001, None)]
)
def test_a_limit_is_at_least_one_and_a_million_at_most(limit: int, believed: int | None) -> None:
    assert hint(limit=limit) == (None if believed is None else RateHint(limit=believed))


@pytest.mark.parametrize(("remaining", "believed"), [(0, 0), (60, 60), (61, None)])
def test_no_more_can_remain_than_the_limit(remaining: int, believed: int | None) -> None:
    assert hint(limit=60, remaining=remaining) == RateHint(60, believed)


@pytest.mark.parametrize(("remaining", "believed"), [(1_000_000, 1_000_000), (1_000_001, None)])
def test_without_a_limit_a_million_may_remain(remaining: int, believed: int | None) -> None:
    assert hint(limit=0, remaining=remaining, reset=1) == RateHint(None, believed, 1.0)


@pytest.mark.parametrize(
    ("reset", "believed"), [(0, 0.0), (3600, HOUR), (3601, None), (1_000_000_000, 10.0)]
)
def test_a_reset_is_now_or_within_an_hour_as_a_span_or_as_an_instant(
    reset: int, believed: float | None
) -> None:
    assert hint(limit=60, reset=reset) == RateHint(60, None, believed)


def test_a_reset_that_has_passed_is_not_believed() -> None:
    assert hint(TURN_OF_RESETS + 1, limit=60, reset=1_000_000_000) == RateHint(60)
