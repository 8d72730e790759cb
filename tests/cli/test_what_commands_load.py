"""What a command loads: to show a version or a help page takes next to nothing."""

import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

from monitor.cli import COMMANDS, app, loaded
from support.config_files import MINIMAL

OF_THE_DAEMON = {
    "aiohttp", "apprise", "apscheduler", "asyncio", "httpx", "jinja2", "prometheus_client",
    "psycopg", "sqlite3", "structlog",
}  # fmt: skip
"""What calls, stores and serves: no command needs it to read a file."""

HEAVY = OF_THE_DAEMON | {"pydantic", "yaml"}

LOADED = """
import sys
from monitor.cli import main
try:
    main()
except SystemExit:
    pass
print(*{name.partition(".")[0] for name in sys.modules}, file=sys.stderr)
"""


def loaded_by(*arguments: object) -> set[str]:
    """Return the packages that a command has loaded by its end, in a process of its own."""
    ended = subprocess.run(
        [sys.executable, "-c", LOADED, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "TOKEN": "talq_test"},
    )
    return set(ended.stderr.splitlines()[-1].split())


@pytest.mark.slow
@pytest.mark.parametrize("flags", [["--version"], ["--help"], [], ["rules"]])
def test_a_page_of_help_loads_no_library_but_clicks(flags: list[str]) -> None:
    found = loaded_by(*flags)
    assert "click" in found
    assert not HEAVY & found


@pytest.mark.slow
@pytest.mark.parametrize("command", ["check", "show"])
def test_what_reads_a_config_loads_nothing_that_calls_stores_or_serves(
    tmp_path: Path, command: str
) -> None:
    file = tmp_path / "sftp-monitor.yaml"
    file.write_text(MINIMAL)
    found = loaded_by("config", command, file)
    assert "pydantic" in found
    assert not OF_THE_DAEMON & found


def test_the_page_of_all_commands_says_what_each_says_of_itself() -> None:
    context = click.Context(app)
    for name, (_, says) in COMMANDS.items():
        command = loaded(name)
        assert command.get_short_help_str(150) == says
        shown = app.get_command(context, name)
        assert shown is not None
        assert shown.hidden is command.hidden
