"""Completion in the shell, as README says to switch it on: in a real bash."""

import asyncio
import os

import pytest

from support.command import COMMAND

# What bash does at a TAB: the words so far, and the function that completes the last one.
COMPLETE = """
source <(_SFTP_MONITOR_COMPLETE=bash_source sftp-monitor)
echo "code $?"
complete -p sftp-monitor
COMP_WORDS=(%s)
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
_sftp_monitor_completion sftp-monitor
printf '%%s\\n' "${COMPREPLY[@]}"
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("sftp-monitor exp", ["explain", "export"]),
        ("sftp-monitor config i", ["init"]),
        ("sftp-monitor check --hea", ["--health"]),
        ("sftp-monitor check --rule stale", ["stale_test"]),
    ],
)
async def test_bash_completes_commands_options_and_values(line: str, expected: list[str]) -> None:
    path = f"{COMMAND.parent}:{os.environ['PATH']}"
    process = await asyncio.create_subprocess_exec(
        "bash",
        "--norc",
        "-c",
        COMPLETE % line,
        env={**os.environ, "PATH": path},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    code, registered, *found = out.decode().splitlines()
    assert (code, err) == ("code 0", b"")
    assert registered.endswith("-F _sftp_monitor_completion sftp-monitor")
    assert found == expected


async def test_a_script_for_the_shell_is_no_failure() -> None:
    process = await asyncio.create_subprocess_exec(
        COMMAND,
        env={**os.environ, "_SFTP_MONITOR_COMPLETE": "zsh_source"},
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await process.communicate()
    assert process.returncode == 0
    assert b"#compdef sftp-monitor" in out
