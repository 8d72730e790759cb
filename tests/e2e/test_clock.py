"""The real process under clocks that are wrong, step or stand still, and in other time zones."""

from pathlib import Path

import pytest

from support.command import daemon, write_config
from support.fake_platform import fake_platform
from torture.clock import steps


@pytest.mark.slow(seconds=40)
async def test_faults_25_and_26_steps_and_a_suspension_disturb_neither_polls_nor_people(
    tmp_path: Path,
) -> None:
    found = await steps(tmp_path, interval=2.0, rounds=1, suspended=4.0)
    assert found.steps == 8
    assert found.figure().kept, found


@pytest.mark.slow
@pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "America/St_Johns", "Nonsense/Nowhere"])
async def test_fault_26_no_instant_depends_on_local_time(tmp_path: Path, zone: str) -> None:
    async with fake_platform("c-1") as platform:
        platform.set("c-1", last_test_success=False, last_test_at="2026-03-29T01:30:00+01:00")
        config = write_config(tmp_path, platform, ["c-1"])
        async with daemon(config, TZ=zone) as monitor:
            told = await monitor.process.alert("c-1", "failed_test", "firing")
            metrics = await monitor.text("/metrics")
            page = await monitor.text("/")
    assert told["since"] == "2026-03-29T00:30:00.000Z"
    assert told["timestamp"].endswith("Z")
    # 2026-03-29T00:30:00Z, an hour that clocks in Europe skipped by local time.
    assert 'sftp_last_test_timestamp_seconds{campaign_id="c-1",environment="production"}' in metrics
    assert "1.7747442e+09" in metrics
    assert "2026-03-29" in page
