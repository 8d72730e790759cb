"""Twelve campaigns in twelve states: the right alerts, each once, over restarts, to the end."""

import signal
from functools import partial
from pathlib import Path

import pytest

from monitor.core.model import DAY, HOUR
from support.command import Daemon, Record, daemon, write_config
from support.fake_platform import FORBIDDEN, NO_DATA, NOT_FOUND, FakePlatform, fake_platform, now

CAMPAIGNS = [
    "healthy", "failed", "stale", "never-tested", "just-made", "disabled", "set-up", "future",
    "missing", "no-data", "half", "forbidden",
]  # fmt: skip

TOLD = {
    ("failed", "failed_test", "critical"),
    ("stale", "stale_test", "warning"),
    ("never-tested", "never_tested", "warning"),
    ("disabled", "disabled", "warning"),
    ("future", "future_test", "warning"),
    ("missing", "missing", "critical"),
    ("no-data", "missing", "critical"),
    ("forbidden", "unreadable", "warning"),
}

MUTED = {("never-tested", "disabled", "never_tested"), ("set-up", "failed_test", "disabled")}
"""Who, which rule, and what mutes it."""

UNTESTED = {"is_enabled": False, "last_test_at": None, "last_test_success": None}

RULES = {"unreadable": {"after": "2s"}}


def put_in_twelve_states(platform: FakePlatform) -> None:
    platform.set("failed", last_test_success=False)
    platform.set("stale", last_test_at=now() - 31 * DAY)
    platform.set("never-tested", created_at=now() - 2 * DAY, **UNTESTED)
    platform.set("just-made", created_at=now() - HOUR, **UNTESTED)
    platform.set("disabled", is_enabled=False)
    platform.set("set-up", created_at=now() - 2 * HOUR, is_enabled=False, last_test_success=False)
    platform.set("future", last_test_at=now() + HOUR)
    platform.set("half", last_test_success=None)
    platform.replies |= {"missing": NOT_FOUND, "no-data": NO_DATA, "forbidden": FORBIDDEN}


async def two_more_sweeps(platform: FakePlatform) -> None:
    """Wait until each campaign was polled once from its beginning to its end."""
    seen = {one: len(platform.asked_for(one)) for one in CAMPAIGNS}
    await platform.until(
        lambda: all(len(platform.asked_for(one)) >= seen[one] + 2 for one in CAMPAIGNS)
    )


async def active(monitor: Daemon) -> dict[tuple[str, str], tuple[str, str | None, str]]:
    """Return every active alert: its state, what mutes it, and since when it is true."""
    return {
        (one["campaign_id"], one["rule"]): (one["state"], one["muted_by"], one["since"])
        for one in (await monitor.json("/api/v1/alerts"))["alerts"]
    }


def who(alert: Record) -> tuple[str, str, str]:
    return alert["campaign_id"], alert["rule"], alert["severity"]


@pytest.mark.slow
async def test_each_alert_is_told_once_survives_a_restart_and_is_resolved(tmp_path: Path) -> None:
    async with fake_platform(*CAMPAIGNS) as platform:
        put_in_twelve_states(platform)
        config = write_config(tmp_path, platform, CAMPAIGNS, rules=RULES)

        async with daemon(config) as monitor:
            first = monitor.process
            await first.until(lambda: len(first.alerts()) >= len(TOLD))
            await two_more_sweeps(platform)
            before = await active(monitor)
            metrics = await monitor.text("/metrics")
            assert await first.end(signal.SIGTERM, seconds=2) == 0
        assert {who(one) for one in first.alerts(status="firing", seq=1)} == TOLD
        assert len(first.alerts()) == len(TOLD)
        assert first.err == []
        assert {
            (campaign, rule, by) for (campaign, rule), (state, by, _) in before.items() if by
        } == MUTED
        assert metrics.count('alertstate="firing"') == len(TOLD)
        assert metrics.count('alertstate="muted"') == len(MUTED)

        async with daemon(config) as monitor:
            second = monitor.process
            await two_more_sweeps(platform)
            assert second.alerts() == []
            assert await active(monitor) == before
            for campaign in CAMPAIGNS:
                platform.set(campaign)
            await second.until(lambda: len(second.alerts()) >= len(TOLD))
            await two_more_sweeps(platform)
            assert await active(monitor) == {}
            assert 'alertstate="' not in await monitor.text("/metrics")
            # Two more have told nothing more.
            assert {who(one) for one in second.alerts(status="resolved", seq=2)} == TOLD
            assert len(second.alerts(reason="recovered")) == len(second.alerts()) == len(TOLD)


@pytest.mark.slow
async def test_the_first_verdicts_are_marked_and_the_sweep_is_counted(tmp_path: Path) -> None:
    async with fake_platform(*CAMPAIGNS) as platform:
        put_in_twelve_states(platform)
        config = write_config(tmp_path, platform, CAMPAIGNS)
        async with daemon(config) as monitor:
            swept = await monitor.process.record(event="sweep_complete")
            expected = {one for one in TOLD if one[1] != "unreadable"}
            # The sweep may be over before the last of them is on the disk and delivered.
            first = partial(monitor.process.alerts, initial=True)
            await monitor.process.until(lambda: len(first()) >= len(expected))
            assert {who(one) for one in first()} == expected
            platform.set("healthy", last_test_success=False)
            told = await monitor.process.alert("healthy", "failed_test", "firing")
    counts = {health: swept[health] for health in ("critical", "warning", "unknown", "healthy")}
    assert counts == {"critical": 3, "warning": 4, "unknown": 1, "healthy": 4}
    assert told["initial"] is False
