"""`run` as one of several shards: which one it is, said by a flag or by the pod's name."""

from pathlib import Path

import click
import pytest

from monitor.cli.options import shard_of
from monitor.core.sharding import Shard, owner
from support.command import daemon, finished, write_config
from support.fake_platform import FakePlatform, fake_platform

POD = "SFTP_MONITOR_POD_NAME"


@pytest.mark.parametrize(
    ("ordinal", "total", "pod", "expected"),
    [
        (None, 1, None, Shard(0, 1)),
        (0, 1, None, Shard(0, 1)),
        (2, 3, None, Shard(2, 3)),
        (None, 4, "sftp-monitor-3", Shard(3, 4)),
        (None, 40, "sftp-monitor-2-31", Shard(31, 40)),
        (None, 1, "sftp-monitor-0", Shard(0, 1)),
        (None, 1, "sftp-monitor", Shard(0, 1)),
        (None, 1, "", Shard(0, 1)),
        (1, 4, "sftp-monitor-3", Shard(1, 4)),
    ],
)
def test_the_ordinal_is_the_flag_or_else_the_number_at_the_end_of_the_pods_name(
    ordinal: int | None, total: int, pod: str | None, expected: Shard
) -> None:
    environ = {} if pod is None else {POD: pod}
    assert shard_of(ordinal, total, environ) == expected


@pytest.mark.parametrize(
    ("ordinal", "total", "pod", "problem"),
    [
        (None, 2, None, "say which of 2 shards this is: --shard, or $SFTP_MONITOR_POD_NAME"),
        (None, 2, "sftp-monitor", "say which of 2 shards this is"),
        (None, 2, "sftp-monitor-7d9f8b6c5-x2x4z", "say which of 2 shards this is"),
        (2, 2, None, "there is no shard 2 of 2, counted from 0: see --shard and --total-shards"),
        (None, 3, "sftp-monitor-3", "there is no shard 3 of 3"),
        # A StatefulSet was scaled up, and nobody said so: all would spend one budget.
        (None, 1, "sftp-monitor-1", "there is no shard 1 of 1"),
    ],
)
def test_what_is_no_shard_is_wrong_usage(
    ordinal: int | None, total: int, pod: str | None, problem: str
) -> None:
    environ = {} if pod is None else {POD: pod}
    with pytest.raises(click.UsageError) as refused:
        shard_of(ordinal, total, environ)
    assert refused.value.message.startswith(problem)


@pytest.mark.parametrize(
    "flags",
    [("--total-shards", "2"), ("--shard", "2", "--total-shards", "2"), ("--shard", "-1")],
    ids=" ".join,
)
async def test_wrong_usage_is_64_before_anything_is_read(flags: tuple[str, ...]) -> None:
    ended = await finished("run", "--config.file", "no-such-file", *flags)
    assert (ended.code, ended.out) == (64, "")
    assert ended.err.startswith("Usage: ")


async def test_a_shard_polls_its_own_and_says_everywhere_which_it_is(tmp_path: Path) -> None:
    assert owner("production", 2) == 1
    async with fake_platform("c-1") as platform:
        platform.set("c-1", last_test_success=False)
        config = write_config(tmp_path, platform, ["c-1"])
        environ = {"SFTP_MONITOR_TOTAL_SHARDS": "2", POD: "sftp-monitor-1"}
        async with daemon(config, **environ) as monitor:
            told = await monitor.process.alert("c-1", "failed_test", "firing")
            status = await monitor.json("/api/v1/status")
            (event,) = (await monitor.json("/api/v1/events"))["events"]
            page = await monitor.text("/metrics")
    assert {record["shard"] for record in monitor.process.records} == {1}
    assert (told["shard"], event["shard"]) == (1, 1)
    assert (status["shard"], status["total_shards"]) == (1, 2)
    assert 'sftp_monitor_environment_owned{environment="production"} 1.0' in page


async def test_a_shard_leaves_what_it_does_not_own_alone(tmp_path: Path) -> None:
    platform = FakePlatform("http://127.0.0.1:1")
    config = write_config(tmp_path, platform, ["c-1"])
    async with daemon(config, "--shard", "0", "--total-shards", "2") as monitor:
        assert (await monitor.web.get("/-/ready")).status_code == 200
        page = await monitor.text("/metrics")
        status = await monitor.json("/api/v1/status")
    assert 'sftp_monitor_environment_owned{environment="production"} 0.0' in page
    assert "sftp_monitor_total_shards 2.0" in page
    assert status["environments"] == []
