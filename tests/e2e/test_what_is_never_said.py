"""The token is in no output, whatever the API echoes; every line is a small JSON object."""

import asyncio
import json
import signal
from pathlib import Path

import pytest

from support.command import Daemon, daemon, finished, running, write_config
from support.fake_platform import TOKEN, FakePlatform, Reply, a_config, fake_platform

PLAIN = "correct-horse-battery"
"""A token that does not look like one: only who knows it can take it out."""

PATHS = (
    "/", "/metrics", "/openapi.json", "/api/v1/status", "/api/v1/campaigns", "/api/v1/alerts",
    "/api/v1/events", "/api/v1/campaigns/production/echo",
    "/api/v1/campaigns/production/refusing",
)  # fmt: skip

FLAMES = "\U0001f525" * 4
"""Four characters, and 48 bytes in ASCII."""

HOSTILE = '\x1b[31m\x00"quotes" \\ %s ${jndi:x} <script>\u2028\u202e' + FLAMES * 75


def echoing(token: str) -> dict[str, Reply]:
    """Return answers that have the token wherever the API might put it."""
    said = f"Bearer {token} is not {token}"
    return {
        "echo": a_config("echo", host=token, username=said, last_test_success=False),
        "refusing": Reply(403, {"success": False, "message": said, "code": token}),
        "broken": Reply(500, {"success": False, "error": {"code": token, "message": said}}),
        "wrong": a_config("wrong", campaign_id=token),
        "odd": a_config("odd", auth_type=token, import_schedule=said, port=said),
    }


async def everything_shown(monitor: Daemon) -> str:
    """Return all that the daemon answers on any path."""
    return "".join([(await monitor.web.get(path)).text for path in PATHS])


@pytest.mark.slow
async def test_the_token_is_in_no_output_though_the_api_echoes_it(tmp_path: Path) -> None:
    async with fake_platform("fine") as platform:
        platform.replies |= echoing(PLAIN)
        config = write_config(tmp_path, platform, list(platform.replies))
        (tmp_path / "token").write_text(PLAIN)
        async with daemon(config, "--log.level", "debug") as monitor:
            await monitor.process.record(event="sweep_complete")
            await monitor.process.alert("echo", "failed_test", "firing")
            shown = await everything_shown(monitor)
            # A bad reload, with the token where it does not belong.
            good = config.read_text()
            config.write_text(good.replace('"token_file"', f'"token": "{TOKEN}", "tokenfile"'))
            shown += (await monitor.web.post("/-/reload")).text
            config.write_text(good)
            arguments = command_line(monitor.process.process.pid)
            checked, effective = await asyncio.gather(
                finished("check", "--config.file", config), finished("config", "show", config)
            )
            assert await monitor.process.end(signal.SIGTERM) == 0
    assert {one.authorization for one in platform.requests} == {f"Bearer {PLAIN}"}
    said = "\n".join([*monitor.process.out, *monitor.process.err, arguments, shown])
    said += "".join(ended.out + ended.err for ended in (checked, effective))
    assert "<secret>" in said
    for token in (PLAIN, TOKEN):
        assert token not in said
        assert token.encode() not in state_in(tmp_path)


def state_in(folder: Path) -> bytes:
    return b"".join(file.read_bytes() for file in folder.glob("state.db*"))


def command_line(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text()


def hostile_platform(platform: FakePlatform) -> None:
    texts = dict.fromkeys(("host", "username", "import_path", "import_schedule"), HOSTILE)
    platform.set("c-1", last_test_success=False, **texts)
    platform.replies["c-2"] = Reply(403, {"success": False, "message": HOSTILE, "code": HOSTILE})


async def test_every_line_is_one_json_object_of_ascii_and_at_most_4096_bytes(
    tmp_path: Path,
) -> None:
    async with fake_platform() as platform:
        hostile_platform(platform)
        campaigns = [
            {"id": one, "name": FLAMES * 30, "labels": {"team": "\u00e4" * 100}}
            for one in ("c-1", "c-2")
        ]
        config = write_config(tmp_path, platform, [], environment={"campaigns": campaigns})
        good = config.read_text()
        async with daemon(config, "--log.level", "debug") as monitor:
            await monitor.process.alert("c-1", "failed_test", "firing")
            await monitor.process.record(event="sweep_complete")
            config.write_text(good.replace('"1s"', f'"{FLAMES * 500}"'))
            assert (await monitor.web.post("/-/reload")).status_code == 500
            config.write_text(good)
            assert await monitor.process.end(signal.SIGTERM) == 0
    assert monitor.process.err == []
    for line in monitor.process.out:
        assert line.isascii()
        assert len(line) < 4096, line
        assert isinstance(json.loads(line), dict)


async def test_lines_for_people_have_no_control_characters(tmp_path: Path) -> None:
    async with fake_platform() as platform:
        hostile_platform(platform)
        config = write_config(tmp_path, platform, ["c-1", "c-2"])
        arguments = ("run", "--config.file", config, "--log.format", "console")
        async with running(*arguments) as process:
            alert = await process.line("failed_test")
            await process.line("poll_failed")
            assert await process.end(signal.SIGTERM) == 0
    assert "firing critical" in alert
    assert all(line.isprintable() for line in process.out)
