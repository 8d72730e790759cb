"""One way to name the config everywhere: `--config.file`, the variable, else the usual places."""

import json
import os
from pathlib import Path

import pytest

from monitor.cli import options
from support.command import Finished, called, write_config
from support.fake_platform import FakePlatform, fake_platform

PLATFORM = FakePlatform("https://app.talkover.ai/api/v1")

COMMANDS = {
    "run": ("run",),
    "check": ("check",),
    "config check": ("config", "check"),
    "config show": ("config", "show"),
    "explain": ("explain", "c-1"),
    "events": ("events",),
    "notify test": ("notify", "test"),
    "test": ("test", "c-1"),
    "tests": ("tests", "status"),
}
"""The commands that need a config, or a daemon in its place."""


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in an empty folder, on a machine without a config of its own."""
    places = ("./sftp-monitor.yaml", str(tmp_path / "etc" / "sftp-monitor.yaml"))
    monkeypatch.setattr(options, "CONFIG_FILES", places)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("command", COMMANDS)
async def test_where_there_is_none_the_error_names_both_places_and_config_init(
    nowhere: Path, command: str
) -> None:
    told = await called(*COMMANDS[command])
    assert told.code == os.EX_USAGE
    said = " ".join(told.err.split())
    assert "found no config file, neither ./sftp-monitor.yaml nor " in said
    assert str(nowhere / "etc" / "sftp-monitor.yaml") in said
    assert "sftp-monitor config init sftp-monitor.yaml" in said


async def test_the_first_place_that_has_one_counts(nowhere: Path) -> None:
    """The folder one works in, before the machine's."""
    (nowhere / "etc").mkdir()
    machine = write_config(nowhere, PLATFORM, ["of-the-machine"])
    machine.rename(nowhere / "etc" / "sftp-monitor.yaml")
    assert "of-the-machine" in (await called("config", "show")).out
    write_config(nowhere, PLATFORM, ["of-the-folder"]).rename(nowhere / "sftp-monitor.yaml")
    assert "of-the-folder" in (await called("config", "show")).out


async def test_what_is_named_beats_the_usual_places_and_the_argument_the_variable(
    nowhere: Path,
) -> None:
    write_config(nowhere, PLATFORM, ["usual"]).rename(nowhere / "sftp-monitor.yaml")
    write_config(nowhere, PLATFORM, ["named"]).rename(nowhere / "named.yaml")
    variable = {"SFTP_MONITOR_CONFIG_FILE": "named.yaml"}

    async def shown(*arguments: str, **environ: str) -> Finished:
        return await called("config", "show", *arguments, **environ)

    for told in (
        await shown("named.yaml"),
        await shown("--config.file", "named.yaml"),
        await shown(**variable),
    ):
        assert "id: named" in told.out
    assert "id: usual" in (await shown("sftp-monitor.yaml", **variable)).out


async def test_a_config_that_is_named_beats_the_daemon_of_the_variable(nowhere: Path) -> None:
    async with fake_platform("c-1") as platform:
        config = write_config(nowhere, platform, ["c-1"])
        daemon = {"SFTP_MONITOR_URL": "127.0.0.1:1"}
        swept = await called("check", "--config.file", config, "--format", "json", **daemon)
        config.rename("sftp-monitor.yaml")
        asked = await called("check", **daemon)
    assert [one["campaign_id"] for one in json.loads(swept.out)["campaigns"]] == ["c-1"]
    assert asked.code == os.EX_IOERR
    assert "cannot ask http://127.0.0.1:1" in asked.err
