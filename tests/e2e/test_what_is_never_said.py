"""The token is in no output, whatever the API echoes; every line is a small JSON object."""

import json
import signal
from pathlib import Path

import pytest

from support.command import daemon, running, write_config
from support.fake_platform import FakePlatform, Reply, fake_platform
from torture import secrets

SHORT = ["--polls", "2", "--runs", "2"]

FLAMES = "\U0001f525" * 4
"""Four characters, and 48 bytes in ASCII."""

HOSTILE = '\x1b[31m\x00"quotes" \\ %s ${jndi:x} <script>\u2028\u202e' + FLAMES * 75


@pytest.mark.slow(seconds=80)
def test_fault_38_a_canary_token_is_in_no_output_whatever_goes_wrong() -> None:
    assert [figure for figure in secrets.main(SHORT) if not figure.kept] == []


def hostile_platform(platform: FakePlatform) -> None:
    texts = dict.fromkeys(("host", "username", "import_path", "import_schedule"), HOSTILE)
    platform.set("c-1", last_test_success=False, **texts)
    platform.replies["c-2"] = Reply(403, {"success": False, "message": HOSTILE, "code": HOSTILE})


@pytest.mark.slow
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


@pytest.mark.slow
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
