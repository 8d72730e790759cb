"""A reload takes the new config whole, or keeps the old one; and what the probes say meanwhile."""

import signal
from pathlib import Path

import pytest

from support.command import daemon, write_config
from support.fake_platform import fake_platform

CAMPAIGNS = ["c-1", "c-2"]


@pytest.mark.slow
async def test_a_campaign_that_leaves_the_config_is_resolved_as_removed(tmp_path: Path) -> None:
    async with fake_platform(*CAMPAIGNS) as platform:
        for campaign in CAMPAIGNS:
            platform.set(campaign, last_test_success=False)
        config = write_config(tmp_path, platform, CAMPAIGNS)
        async with daemon(config) as monitor:
            for campaign in CAMPAIGNS:
                await monitor.process.alert(campaign, "failed_test", "firing")
            write_config(tmp_path, platform, ["c-1"])
            monitor.process.process.send_signal(signal.SIGHUP)
            resolved = await monitor.process.alert("c-2", "failed_test", "resolved")
            assert resolved["reason"] == "campaign_removed"
            await monitor.process.record(event="reloaded")
            assert "c-2" not in await monitor.text("/metrics")
            # It comes back: the same alert again, with the next number.
            write_config(tmp_path, platform, CAMPAIGNS)
            assert (await monitor.web.post("/-/reload")).text == "reloaded\n"
            again = await monitor.process.until(lambda: monitor.process.alerts(seq=3))
        assert [(one["campaign_id"], one["status"]) for one in again] == [("c-2", "firing")]
        assert len(monitor.process.alerts(campaign_id="c-1")) == 1


@pytest.mark.slow
async def test_fault_35_a_bad_file_changes_nothing_and_is_told_with_every_problem(
    tmp_path: Path,
) -> None:
    async with fake_platform("c-1") as platform:
        config = write_config(tmp_path, platform, ["c-1"])
        good = config.read_text()
        async with daemon(config) as monitor:
            await monitor.process.record(event="sweep_complete")
            config.write_text(good.replace('"interval"', '"intervall"').replace('"id"', '"ident"'))
            answer = await monitor.web.post("/-/reload")
            assert answer.status_code == 500
            assert "did you mean interval?" in answer.text
            assert "environments[0].campaigns[0].ident: unknown key" in answer.text
            refused = await monitor.process.record(event="reload_refused")
            assert refused["problems"] == len(answer.text.splitlines())
            assert "\nsftp_monitor_config_last_reload_successful 0" in await monitor.text(
                "/metrics"
            )
            # The old config is in force: it polls and tells as before.
            platform.set("c-1", last_test_success=False)
            await monitor.process.alert("c-1", "failed_test", "firing")
            config.write_text(good)
            assert (await monitor.web.post("/-/reload")).status_code == 200
            assert "\nsftp_monitor_config_last_reload_successful 1" in await monitor.text(
                "/metrics"
            )


@pytest.mark.slow
async def test_fault_35_a_hundred_signals_in_a_row_are_taken(tmp_path: Path) -> None:
    async with fake_platform("c-1") as platform:
        config = write_config(tmp_path, platform, ["c-1"])
        async with daemon(config) as monitor:
            for _ in range(100):
                monitor.process.process.send_signal(signal.SIGHUP)
            await monitor.process.record(event="reloaded")
            polls = len(platform.requests)
            await platform.until(lambda: len(platform.requests) > polls)
            assert await monitor.text("/-/healthy") == "healthy\n"
            assert await monitor.process.end(signal.SIGTERM) == 0
    assert monitor.process.alerts() == []


@pytest.mark.slow
async def test_it_is_ready_once_each_environment_was_called_and_healthy_before(
    tmp_path: Path,
) -> None:
    async with fake_platform("c-1") as platform:
        held = platform.hold("c-1")
        config = write_config(
            tmp_path, platform, ["c-1"], polling={"timeout": "30s", "unhealthy_interval": "30s"}
        )
        async with daemon(config) as monitor:
            early = await monitor.web.get("/-/ready")
            assert (early.status_code, "production" in early.text) == (503, True)
            assert await monitor.text("/-/healthy") == "healthy\n"
            held.set()
            await monitor.process.record(event="sweep_complete")
            assert await monitor.text("/-/ready") == "ready\n"
