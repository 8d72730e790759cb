"""Discovery over a real socket: campaigns join, are paused and leave while the daemon runs."""

import signal
from pathlib import Path

import pytest

from monitor.demo.campaigns import CAMPAIGNS
from monitor.demo.platform import Platform
from monitor.demo.story import DEMO_TOKEN
from support.command import daemon, write_config
from support.fake_platform import FakePlatform, fake_platform, now

DISCOVERY = {
    "discovery": {"enabled": True, "every": "1s"},
    "overrides": [{"match": {"campaign_type": "sales"}, "labels": {"team": "sales"}}],
}


@pytest.mark.slow
async def test_campaigns_join_are_muted_and_leave_as_they_are_listed(tmp_path: Path) -> None:
    async with fake_platform("c-1", "c-2", "c-3") as platform:
        platform.set("c-3", last_test_success=False)
        platform.listed = {"c-1": "active", "c-2": "active"}
        config = write_config(tmp_path, platform, [], environment=DISCOVERY)
        async with daemon(config) as monitor:
            swept = await monitor.process.record(event="sweep_complete")
            assert swept["healthy"] == 2

            platform.listed["c-3"] = "active"
            fired = await monitor.process.alert("c-3", "failed_test", "firing")
            assert fired["campaign_name"] == "Campaign c-3"
            assert fired["labels"] == {"team": "sales"}

            platform.listed["c-3"] = "paused"
            await monitor.process.record(event="alert", seq=2, muted_by="campaign_status")
            platform.listed["c-3"] = "active"
            await monitor.process.record(event="alert", seq=3, status="firing")

            del platform.listed["c-3"]
            await monitor.process.record(event="alert", seq=4, reason="campaign_removed")
            known = await monitor.json("/api/v1/campaigns")
            page = await monitor.text("/metrics")
    assert [one["campaign_id"] for one in known["campaigns"]] == ["c-1", "c-2"]
    assert 'sftp_monitor_api_requests_total{endpoint="campaigns",environment="production"}' in page
    assert len(monitor.process.alerts()) == 4


@pytest.mark.slow
async def test_every_campaign_of_the_demo_is_found_and_its_status_heeded(tmp_path: Path) -> None:
    platform = Platform(DEMO_TOKEN, now)
    stand_in = FakePlatform(await platform.start())
    try:
        config = write_config(
            tmp_path, stand_in, [], environment={**DISCOVERY, "token": "${DEMO_TOKEN}"}
        )
        text = config.read_text().replace(f'"token_file": "{tmp_path / "token"}",', "")
        config.write_text(text)
        async with daemon(config, DEMO_TOKEN=DEMO_TOKEN) as monitor:
            await monitor.process.record(event="sweep_complete")
            known = await monitor.json("/api/v1/campaigns")
    finally:
        await platform.stop()
    names = {one["campaign_id"]: one["name"] for one in known["campaigns"]}
    assert names == {one.id: one.name for one in CAMPAIGNS}


@pytest.mark.slow
async def test_fault_44_patterns_that_would_backtrack_for_ever_hold_up_nothing(
    tmp_path: Path,
) -> None:
    # The fake listing calls each `Campaign <id>`: an id is a name of a's that does not match.
    ids = ["a" * 63 + end for end in "b_-"]
    async with fake_platform(*ids) as platform:
        platform.listed = dict.fromkeys(ids, "active")
        environment = {
            "discovery": {
                "enabled": True,
                "every": "1s",
                "include": ["(\\w+[ _-]?)+"],
                "exclude": ["(a+)+b", "Campaign ((a|a)*)*!"],
            },
            "overrides": [{"match": {"name": "(\\w+\\s?)*!"}, "labels": {"team": "a"}}],
        }
        config = write_config(tmp_path, platform, [], environment=environment)
        async with daemon(config) as monitor:
            await monitor.process.record(event="sweep_complete")
            answer = await monitor.web.get("/-/healthy", timeout=2.0)
            assert answer.status_code == 200
            assert (await monitor.web.post("/-/reload", timeout=10.0)).status_code == 200
            assert await monitor.process.end(signal.SIGTERM, 10.0) == 0
