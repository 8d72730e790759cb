"""What a command loads: to show a version or a help page takes next to nothing."""

import subprocess
import sys

import click
import pytest

from monitor.cli import COMMANDS, app, loaded

HEAVY = {"aiohttp", "httpx", "pydantic", "jinja2", "apscheduler", "prometheus_client", "structlog"}

LOADED = """
import sys
from monitor.cli import main
try:
    main()
except SystemExit:
    pass
print(*{name.partition(".")[0] for name in sys.modules}, file=sys.stderr)
"""


@pytest.mark.slow
@pytest.mark.parametrize("flags", [["--version"], ["--help"], []])
def test_a_page_of_help_loads_no_library_but_clicks(flags: list[str]) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", LOADED, *flags], capture_output=True, text=True, check=True
    )
    assert "click" in ended.stderr.split()
    assert not HEAVY & set(ended.stderr.split())


def test_the_page_of_all_commands_says_what_each_says_of_itself() -> None:
    context = click.Context(app)
    for name, (_, says) in COMMANDS.items():
        command = loaded(name)
        assert command.get_short_help_str(150) == says
        shown = app.get_command(context, name)
        assert shown is not None
        assert shown.hidden is command.hidden
