"""`test` and `tests`: by hand on the state, or through the daemon that has it."""

import asyncio
import json
import os
import pty
import re
import signal
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from monitor.adapters.store import rows
from monitor.adapters.web import key_path
from monitor.cli.client import Monitor
from monitor.cli.testing import monitor_of
from support.command import COMMAND, Finished, called, daemon, files_in, own_logging, write_config
from support.fake_platform import FakePlatform, fake_platform

ON = {"enabled": True, "between": ""}
# A test of before, by anybody, must not hold the one that is asked for.
NO_GAPS = {"login_gap": "1ms", "host_gap": "1ms", "budget_share": "1"}


def configured(folder: Path, platform: FakePlatform, **tests: Any) -> Path:
    return write_config(
        folder, platform, ["c-1", "c-2"], connection_tests={**ON, **NO_GAPS, **tests}
    )


async def tried(config: Path, *arguments: str) -> Finished:
    ended = await called("test", *arguments, "--config.file", config)
    assert "Traceback" not in ended.err
    return ended


def stored(folder: Path) -> rows.Loaded:
    """Return what is remembered once nobody writes any more."""
    return rows.load(sqlite3.connect(folder / "state.db"))


async def test_where_no_daemon_runs_it_is_polled_sent_and_stored(tmp_path: Path) -> None:
    async with fake_platform("c-1", "c-2") as platform:
        config = configured(tmp_path, platform)
        ended = await tried(config, "c-1")
    assert (ended.code, ended.err) == (0, "")
    lines = ended.out.splitlines()
    shown = lines.index("connection test: passed")
    assert lines[0] == "healthy: production/Campaign c-1"
    assert "  campaigns_user@c-1.example.com:22, password, import " in ended.out
    assert lines[shown + 1 : shown + 3] == [
        "  import path: accessible",
        "  export path: accessible",
    ]
    assert re.fullmatch(r"  last_test_at: \S+ → \S+", lines[shown + 3])
    assert platform.tested == ["c-1"]
    assert {one.campaign_id for one in platform.requests} == {"c-1"}
    known = stored(tmp_path)
    last = known.campaigns["production", "c-1"].tests.last
    assert last is not None
    assert (last.trigger, last.result, bool(last.by)) == ("command", "passed", True)
    assert set(known.guards) == {"campaigns_user@c-1.example.com:22", "c-1.example.com:22"}


async def test_while_it_runs_nobody_else_may_ask_its_own_daemon(tmp_path: Path) -> None:
    async with fake_platform("c-1", "c-2") as platform:
        config = configured(tmp_path, platform)

        def asked_without_the_key() -> None:
            """Ask as somebody else on this machine could."""
            with own_logging(), monitor_of(config, None) as monitor:
                assert [one.name for one in monitor.environments(None)] == ["production"]
                Monitor(monitor.url).exchange("GET", "/api/v1/status")

        with pytest.raises(OSError, match="answered 401 Unauthorized"):
            await asyncio.to_thread(asked_without_the_key)
    assert platform.requests == []
    assert not key_path(tmp_path / "state.db").exists()


@pytest.mark.slow
async def test_nothing_is_told_of_the_campaigns_that_were_not_polled(tmp_path: Path) -> None:
    async with fake_platform("c-1", "c-2") as platform:
        config = configured(tmp_path, platform)
        async with daemon(config) as monitor:
            await monitor.process.record(event="sweep_complete")
            await monitor.process.end(signal.SIGTERM)
        before = stored(tmp_path).campaigns["production", "c-2"]
        await tried(config, "c-1")
    assert stored(tmp_path).campaigns["production", "c-2"] == before


@pytest.mark.slow
async def test_a_failed_one_is_2_and_a_page_for_the_daemon_to_send(tmp_path: Path) -> None:
    async with fake_platform("c-1", "c-2") as platform:
        platform.errors["c-1"] = "Authentication \x1b[31mfailed"
        config = configured(tmp_path, platform)
        ended = await tried(config, "production/c-1")
        async with daemon(config) as monitor:
            await monitor.process.alert("c-1", "failed_test", "firing")
    assert ended.code == 2
    assert 'connection test: failed: TalkOver says: "Authentication' in ended.out
    assert "\x1b" not in ended.out
    assert "  last_test_success: True → False" in ended.out
    assert platform.tested == ["c-1"]


async def test_what_a_guard_holds_is_3_with_what_ends_it(tmp_path: Path) -> None:
    async with fake_platform("c-1", "c-2") as platform:
        config = configured(tmp_path, platform, login_gap="10m")
        await tried(config, "c-1")
        held = await tried(config, "c-1")
        forced = await tried(config, "c-1", "--force")
    assert [held.code, forced.code] == [3, 0], forced.out
    assert "not run: one test of this login in 10 min; this ends it: by itself at 2" in held.out
    assert platform.tested == ["c-1", "c-1"]


@pytest.mark.slow
async def test_a_blocked_login_is_tried_once_more_where_it_is_unblocked(tmp_path: Path) -> None:
    async with fake_platform("c-1", "c-2") as platform:
        platform.errors["c-1"] = "Authentication failed"
        config = configured(tmp_path, platform, login_failures=1)
        codes = [(await tried(config, "c-1")).code]
        blocked = await tried(config, "c-1", "--force")
        del platform.errors["c-1"]
        unblocked = await tried(config, "c-1", "--unblock")
        codes += [blocked.code, unblocked.code]
    assert codes == [2, 3, 0], unblocked.out
    assert "`sftp-monitor test CAMPAIGN --unblock`" in blocked.out
    assert platform.tested == ["c-1", "c-1"]


@pytest.mark.parametrize("name", ["nobody", "staging/c-1"])
async def test_a_campaign_that_nobody_knows_is_64(tmp_path: Path, name: str) -> None:
    async with fake_platform("c-1", "c-2") as platform:
        ended = await tried(configured(tmp_path, platform), name)
    assert (ended.code, platform.tested) == (64, [])


async def test_without_a_config_or_a_url_it_is_64() -> None:
    assert (await called("test", "c-1")).code == 64


@pytest.mark.slow
async def test_a_running_daemon_is_asked_with_the_key_beside_its_state(tmp_path: Path) -> None:
    async with fake_platform("c-1", "c-2") as platform:
        config = configured(tmp_path, platform)
        async with daemon(config) as monitor:
            await monitor.process.record(event="sweep_complete")
            with_key = await tried(config, "Campaign c-1", "--url", monitor.url)
            without = await called("test", "c-2", "--url", monitor.url)
            noted = await monitor.process.record(event="connection_test")
            told = await called("events", "--url", monitor.url, "--kind", "test")
            alone = await called("events", "--url", monitor.url, "--kind", "alert")
            assert await monitor.process.end(signal.SIGTERM) == 0
    assert (with_key.code, without.code) == (0, 74)
    assert "connection test: passed" in with_key.out
    assert "answered 403" in without.err
    assert (noted["trigger"], noted["campaign_id"]) == ("command", "c-1")
    assert noted["by"]
    assert platform.tested == ["c-1"]
    assert "connection_test" in told.out
    assert told.out.splitlines()[-1] == "1 events in the last 1d: 0 fired, 0 resolved, 1 recorded"
    assert alone.out == "0 events in the last 1d: 0 fired, 0 resolved"
    assert not key_path(tmp_path / "state.db").exists()


@pytest.mark.slow
async def test_the_daemon_that_has_the_lock_is_asked_where_the_config_says(tmp_path: Path) -> None:
    async with fake_platform("c-1", "c-2") as platform:
        config = configured(tmp_path, platform)
        async with daemon(config) as monitor:
            await monitor.process.record(event="sweep_complete")
            port = monitor.url.rsplit(":", 1)[1]
            document = json.loads(config.read_text())
            document["web"]["listen_address"] = f"127.0.0.1:{port}"
            config.write_text(json.dumps(document))
            answered = await tried(config, "c-1")
            document["web"]["listen_address"] = "127.0.0.1:9"
            config.write_text(json.dumps(document))
            silent = await tried(config, "c-1")
    assert (answered.code, silent.code) == (0, 75)
    assert "cannot ask http://127.0.0.1:9" in silent.err


@pytest.mark.slow
async def test_the_switch_is_stored_and_shown_here_and_through_a_daemon(tmp_path: Path) -> None:
    async with fake_platform("c-1", "c-2") as platform:
        config = configured(tmp_path, platform)

        async def said(*arguments: str) -> str:
            ended = await called("tests", *arguments)
            assert ended.code == 0, ended.err
            return ended.out

        file = ("--config.file", str(config))
        assert await said("status", *file) == "production: on"
        assert "suspended by " in await said("suspend", "production", *file)
        held = await tried(config, "c-1")
        async with daemon(config) as monitor:
            url = (*file, "--url", monitor.url)
            assert "suspended by " in await said("status", "--url", monitor.url)
            assert await said("resume", *url) == "production: on"
            assert "by hand" in await said("suspend", *url)
            assert await monitor.process.end(signal.SIGTERM) == 0
        assert "by hand" in await said("status", *file)
        assert await said("resume", *file) == "production: on"
    assert held.code == 3
    assert "this ends it: `sftp-monitor tests resume`" in held.out
    assert (await called("tests", "status", "nowhere", *file)).code == 64


async def test_where_tests_are_off_there_is_nothing_to_suspend(tmp_path: Path) -> None:
    async with fake_platform("c-1", "c-2") as platform:
        config = configured(tmp_path, platform, enabled=False)
        ended = await called("tests", "suspend", "--config.file", config)
    assert (ended.code, ended.out) == (0, "production: off")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("flags", "typed", "code", "tested"),
    [
        ([], b"n\n", 130, []),
        ([], b"y\n", 0, ["c-1"]),
        (["--unblock"], b"y\nn\n", 130, []),
        (["--unblock"], b"y\ny\n", 0, ["c-1"]),
        (["--unblock", "--yes"], b"", 0, ["c-1"]),
    ],
)
async def test_on_a_terminal_it_asks_and_again_before_it_unblocks(
    tmp_path: Path, flags: list[str], typed: bytes, code: int, tested: list[str]
) -> None:
    async with fake_platform("c-1", "c-2") as platform:
        config = configured(tmp_path, platform)
        theirs, ours = pty.openpty()
        os.write(theirs, typed)
        process = await asyncio.create_subprocess_exec(
            COMMAND, "test", "c-1", "--config.file", config, *flags,
            stdin=ours, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        out, err = await process.communicate()
        os.close(ours)
        os.close(theirs)
    assert (process.returncode, platform.tested) == (code, tested), err
    assert out.startswith(
        b"healthy: production/Campaign c-1\n  imports daily\n  campaigns_user@c-1."
    )


@pytest.mark.slow
async def test_a_state_that_is_let_go_of_is_free_for_a_daemon(tmp_path: Path) -> None:
    async with fake_platform("c-1", "c-2") as platform:
        config = configured(tmp_path, platform)
        await tried(config, "c-1")
        async with daemon(config) as monitor:
            await monitor.process.record(event="sweep_complete")
            assert "state.db.key" in files_in(tmp_path)
