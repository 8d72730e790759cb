"""What holds for every command: 64 for wrong usage, help, and never a traceback."""

import asyncio
import os
import re
import sys
from pathlib import Path

import pytest

from monitor import __version__
from support.command import COMMAND, called


async def test_wrong_usage_is_64_and_never_reads_as_a_verdict() -> None:
    ended = await asyncio.gather(
        called("no-such-command"),
        called("check", "--health", "ill"),
        called("demo", "--port", "99999"),
    )
    for each in ended:
        assert each.code == 64, each
        assert each.err.startswith("Usage: ")
        assert "Traceback" not in each.err


async def test_help_names_every_command() -> None:
    told = await called("--help")
    assert told.code == 0
    for command in ("run", "check", "config", "rules", "events", "demo"):
        assert f"\n  {command} " in told.out


def test_the_examples_of_help_have_ids_as_they_are_typed() -> None:
    shown = (Path(__file__).parent.parent / "goldens" / "help.txt").read_text()
    assert "6f3c1a52-" in shown
    # A part of an id names no campaign.
    assert not re.search(r"6f3c1a52(?!-[-0-9a-f]{27}\b)", shown)


@pytest.mark.slow
async def test_the_package_can_be_run_as_a_module() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "monitor", "--version", stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    assert process.returncode == 0
    assert __version__ in out.decode()


@pytest.mark.slow
async def test_output_that_cannot_be_written_never_reads_as_a_verdict() -> None:
    unwritable = {
        "rules >&- 2>&-": 74,
        "rules >/dev/full": 74,
        "rules >/dev/full 2>/dev/full": 74,
        "oops 2>/dev/full": 64,
    }
    for arguments, code in unwritable.items():
        process = await asyncio.create_subprocess_exec(
            "sh", "-c", f'exec "$0" {arguments}', COMMAND, stderr=asyncio.subprocess.PIPE
        )
        _, said = await process.communicate()
        assert process.returncode == code, arguments
        assert b"Traceback" not in said


@pytest.mark.slow
async def test_a_reader_who_has_left_never_reads_as_a_verdict() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    process = await asyncio.create_subprocess_exec(
        COMMAND, "rules", stdout=writing, stderr=asyncio.subprocess.PIPE
    )
    os.close(writing)
    _, said = await process.communicate()
    assert (process.returncode, said) == (74, b"")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("encoding", "name", "shown"),
    [
        ("latin-1", "für „Süd“.yaml".encode(), "für \\u201eSüd\\u201c.yaml"),
        ("utf-8:strict", b"f\xfcr.yaml", "f\\udcfcr.yaml"),
    ],
)
async def test_a_name_that_the_terminal_cannot_show_keeps_no_answer_back(
    tmp_path: Path, encoding: str, name: bytes, shown: str
) -> None:
    process = await asyncio.create_subprocess_exec(
        *(COMMAND, "config", "init", name),
        cwd=tmp_path,
        env={**os.environ, "PYTHONUTF8": "1", "PYTHONIOENCODING": encoding},
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await process.communicate()
    said = out.decode(encoding.partition(":")[0])
    assert (process.returncode, said.partition(": ")[0]) == (0, shown)


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["run", "--help"], ["config", "check", "--help"], ["config", "schema"]],
)
async def test_fault_45_python_oo_takes_no_text_away(arguments: list[str]) -> None:
    """Docstrings are what users read in --help, the config's JSON Schema and OpenAPI."""
    said = []
    for optimize, command in (
        ("", (COMMAND,)),
        ("2", (COMMAND,)),
        ("", (sys.executable, "-OO", "-m", "monitor")),
    ):
        process = await asyncio.create_subprocess_exec(
            *command,
            *arguments,
            stdout=asyncio.subprocess.PIPE,
            env={**os.environ, "PYTHONOPTIMIZE": optimize},
        )
        said.append((await process.communicate())[0].decode())
        assert process.returncode == 0
    assert said[0]
    assert said == [said[0]] * 3
