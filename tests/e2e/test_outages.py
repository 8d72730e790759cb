"""One outage is one page; a rejected token is another; a crash loses and repeats nothing."""

from pathlib import Path

import pytest

from support.command import daemon, write_config
from support.fake_platform import BROKEN, TOKEN, Reply, fake_platform

CAMPAIGNS = ["c-1", "c-2", "c-3", "c-4"]
UNAUTHORIZED = Reply(401, {"success": False, "error": {"code": "INVALID_TOKEN", "message": "no"}})


@pytest.mark.slow
async def test_an_api_that_is_down_is_one_alert_and_its_return_resolves_it(tmp_path: Path) -> None:
    async with fake_platform(*CAMPAIGNS) as platform:
        config = write_config(
            tmp_path,
            platform,
            CAMPAIGNS,
            rules={"api_unreachable": {"after": "1s"}, "unreadable": {"after": "1s"}},
        )
        async with daemon(config) as monitor:
            await monitor.process.record(event="sweep_complete")
            good, platform.replies = platform.replies, dict.fromkeys(CAMPAIGNS, BROKEN)
            await monitor.process.alert(None, "api_unreachable", "firing")
            platform.replies = good
            await monitor.process.alert(None, "api_unreachable", "resolved")
        assert len(monitor.process.alerts()) == 2


@pytest.mark.slow
async def test_a_rejected_token_is_one_alert_and_a_new_one_in_the_file_mends_it(
    tmp_path: Path,
) -> None:
    async with fake_platform() as platform:
        platform.replies = dict.fromkeys(CAMPAIGNS, UNAUTHORIZED)
        config = write_config(tmp_path, platform, CAMPAIGNS, rules={"token_rejected": {"for": "0"}})
        async with daemon(config) as monitor:
            await monitor.process.alert(None, "token_rejected", "firing")
            for campaign in CAMPAIGNS:
                platform.set(campaign)
            (tmp_path / "token").write_text("a-new-token\n")
            await monitor.process.alert(None, "token_rejected", "resolved")
        assert len(monitor.process.alerts()) == 2
    used = [one.authorization for one in platform.requests]
    assert (used[0], used[-1]) == (f"Bearer {TOKEN}", "Bearer a-new-token")


@pytest.mark.slow
async def test_a_crash_loses_no_alert_and_tells_none_again_unmarked(tmp_path: Path) -> None:
    async with fake_platform(*CAMPAIGNS) as platform:
        platform.set("c-1", last_test_success=False)
        config = write_config(tmp_path, platform, CAMPAIGNS)
        async with daemon(config) as monitor:
            before = await monitor.process.alert("c-1", "failed_test", "firing")
            monitor.process.process.kill()
            await monitor.process.end()
        platform.set("c-2", last_test_success=False)
        async with daemon(config) as monitor:
            await monitor.process.alert("c-2", "failed_test", "firing")
            again = monitor.process.alerts(campaign_id="c-1")
        assert [one for one in again if not one["redelivery"]] == []
        assert {one["event_id"] for one in again} <= {before["event_id"]}
