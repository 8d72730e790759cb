"""Campaigns that are not told (paused, completed …) are polled less often, and judged by that."""

from dataclasses import replace

import pytest

from monitor.core.budget import effective_interval
from monitor.core.model import HOUR, MINUTE
from monitor.core.snapshot import Entry, Health
from support.boards import an_entry, an_environment
from support.builders import NOW, a_config


def seen(ago: float, muted_status: str | None) -> Entry:
    entry = an_entry("c-1", (NOW - ago, a_config()))
    return replace(entry, target=replace(entry.target, muted_status=muted_status))


@pytest.mark.parametrize(
    ("ago", "muted_status", "health"),
    [
        (15 * MINUTE + 1, None, Health.UNKNOWN),
        (15 * MINUTE + 1, "paused", Health.HEALTHY),
        (3 * HOUR, "paused", Health.HEALTHY),
        (3 * HOUR + 1, "paused", Health.UNKNOWN),
    ],
)
def test_what_is_polled_less_often_may_have_older_evidence(
    ago: float, muted_status: str | None, health: Health
) -> None:
    snapshot = an_environment(stale_after=15 * MINUTE, idle_stale_after=3 * HOUR)
    assert snapshot.health(seen(ago, muted_status)) is health


def test_idle_campaigns_take_a_call_each_in_their_own_interval() -> None:
    # 60 idle campaigns an hour are one call a minute of ten; 90 told ones share the other nine.
    assert effective_interval(10, 90, MINUTE, idle=60, idle_interval=HOUR) == 10 * MINUTE


def test_idle_campaigns_take_half_of_the_pace_at_most() -> None:
    assert effective_interval(10, 50, MINUTE, idle=10_000, idle_interval=HOUR) == 10 * MINUTE
