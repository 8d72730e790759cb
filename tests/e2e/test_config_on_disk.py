"""Files that change under the running daemon: its config, as Kubernetes swaps it, and its token."""

import signal
from pathlib import Path

import pytest

from support.command import daemon, write_config
from support.fake_platform import TOKEN, FakePlatform, Reply, a_config, fake_platform

NEW_TOKEN = "talq_canary_the_new_one"
REJECTED = Reply(401, {"success": False, "error": {"code": "INVALID_API_KEY", "message": "no"}})


def swap(folder: Path, version: str, platform: FakePlatform, *campaigns: str) -> Path:
    """Put a version of the config where the old one was, as the kubelet does; return its path."""
    (folder / version).mkdir()
    state = {"path": str(folder / "state.db")}
    written = write_config(folder / version, platform, campaigns, state=state)
    link = folder / "..fresh"
    link.symlink_to(version)
    link.rename(folder / "..data")
    return folder / "..data" / written.name


@pytest.mark.slow
async def test_fault_35_a_config_map_is_swapped_whole(tmp_path: Path) -> None:
    async with fake_platform("c-1", "c-2") as platform:
        config = swap(tmp_path, "..1", platform, "c-1")
        async with daemon(config) as monitor:
            await monitor.process.record(event="sweep_complete")
            swap(tmp_path, "..2", platform, "c-2")
            assert platform.asked_for("c-2") == []
            monitor.process.process.send_signal(signal.SIGHUP)
            await monitor.process.record(event="reloaded")
            asked = len(platform.asked_for("c-1"))
            await platform.until(lambda: len(platform.asked_for("c-2")) >= 2)
            # One call may have been under way.
            assert len(platform.asked_for("c-1")) <= asked + 1
            assert '"c-1"' not in await monitor.text("/metrics")


@pytest.mark.slow
async def test_fault_35_a_reload_in_the_middle_of_a_poll_loses_neither(tmp_path: Path) -> None:
    async with fake_platform("c-1") as platform:
        platform.set("c-1", last_test_success=False)
        held = platform.hold("c-1")
        polling = {"timeout": "20s", "interval": "20s", "unhealthy_interval": "20s"}
        config = write_config(tmp_path, platform, ["c-1"], polling=polling)
        async with daemon(config) as monitor:
            await platform.until(lambda: len(platform.requests) == 1)
            config.write_text(config.read_text().replace("Campaign c-1", "Renamed"))
            assert (await monitor.web.post("/-/reload")).status_code == 200
            held.set()
            told = await monitor.process.alert("c-1", "failed_test", "firing")
            assert told["campaign_name"] == "Renamed"


@pytest.mark.slow
@pytest.mark.parametrize("asked_to", [True, False], ids=["a reload", "a 401"])
async def test_fault_37_a_token_replaced_on_disk_is_used_after(
    tmp_path: Path, asked_to: bool
) -> None:
    async with (
        fake_platform("c-1") as platform,
        daemon(write_config(tmp_path, platform, ["c-1"])) as monitor,
    ):
        await monitor.process.record(event="sweep_complete")
        fresh = tmp_path / "fresh"
        fresh.touch(mode=0o600)
        fresh.write_text(f"{NEW_TOKEN}\n")
        fresh.rename(tmp_path / "token")
        if asked_to:
            monitor.process.process.send_signal(signal.SIGHUP)
        else:
            platform.replies["c-1"] = REJECTED
        new = f"Bearer {NEW_TOKEN}"
        await platform.until(lambda: platform.requests[-1].authorization == new)
        platform.replies["c-1"] = a_config("c-1", last_test_success=False)
        await monitor.process.alert("c-1", "failed_test", "firing")
        assert await monitor.process.end(signal.SIGTERM) == 0
    assert platform.requests[0].authorization == f"Bearer {TOKEN}"
    assert platform.requests[-1].authorization == new
    assert monitor.process.alerts(rule="token_rejected") == []
