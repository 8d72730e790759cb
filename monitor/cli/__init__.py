"""The command line: `sftp-monitor`. Commands and exit codes; no decisions.

A verdict is 0 to 3. Everything else that can end a command has a code of `sysexits.h`, so that
neither click's 2 nor Python's 1 ever reads as a verdict.
"""

import os
import signal
import sys
import traceback
from contextlib import suppress
from importlib import import_module
from io import TextIOWrapper

import click

from monitor import __version__

# What each command says of itself in `--help`, here for the page of all of them.
_SAYS = {
    "check": "Poll every campaign once and show what is wrong; writes no state, sends nothing.",
    "config": "Check and show the config file.",
    "demo": "Show the monitor at work: no account, no config, nothing kept.",
    "events": "Show the history of alerts, connection tests and changed configs, newest first.",
    "explain": "Say why each alert of CAMPAIGN ([ENVIRONMENT/]ID, or its name) fires or does not.",
    "export": "Print what is shipped for Prometheus, Alertmanager, Grafana, systemd and Docker.",
    "healthy": "Ask the daemon of this config, on this machine, whether its poll loop turns.",
    "notify": "Send a test notification to every sink.",
    "rules": "Show every rule: what it means, its settings with their defaults, and what to do.",
    "run": "Run the monitor until SIGTERM or SIGINT; SIGHUP reads the config file again.",
    "state": "Bring the schema of the state on PostgreSQL up to date.",
    "test": "Run a connection test of CAMPAIGN ([ENVIRONMENT/]ID, or its name) now.",
    "tests": "Suspend, resume or show the connection tests of ENVIRONMENT, or all; it is stored.",
}
_MODULES = dict.fromkeys(("explain", "test", "tests"), "testing")

COMMANDS = {name: (_MODULES.get(name, name), says) for name, says in _SAYS.items()}
"""The module of each command, which mostly has its name, and what it says of itself."""


class Commands(click.Group):
    """The commands by name: a module is loaded when its command runs, for that takes long."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return all names."""
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return what `--help` and the shell's completion have of a command."""
        known = COMMANDS.get(cmd_name)
        return known and click.Command(cmd_name, short_help=known[1])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that is to run itself."""
        name, found, rest = super().resolve_command(ctx, args)
        return name, found and loaded(found.name or ""), rest


def loaded(name: str) -> click.Command:
    """Return a command itself. Raises KeyError."""
    found: click.Command = getattr(import_module(f"monitor.cli.{COMMANDS[name][0]}"), name)
    return found


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="sftp-monitor")
def app() -> None:
    """Report to on-call which TalkOver campaign's SFTP import is broken, since when, and why."""


def main() -> None:
    """Run the command and leave with its exit code."""
    if sys.flags.optimize > 1:
        # -OO strips what the texts of --help, of the config's schema and of OpenAPI are made of.
        os.environ["PYTHONOPTIMIZE"] = "1"
        again = [sys.executable, "-P", "-m", "monitor", *sys.argv[1:]]
        os.execv(sys.executable, again)  # noqa: S606 - ourselves
    _replace_closed_streams()
    for stream in (sys.stdout, sys.stderr):
        # A name that the terminal's encoding lacks must not keep the answer back.
        if isinstance(stream, TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="backslashreplace")
    code = _main()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            # Its reader has left, or the disk is full; else Python would fail once more at its
            # exit, with a code of its own.
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    sys.exit(code)


def _replace_closed_streams() -> None:
    """Put something where the caller has closed standard output or error (`>&-`).

    Else the next file that is opened, the state for one, would get the stream's number.
    """
    # Writing to standard output fails then: no alert that nobody sees counts as delivered.
    for name, mode in (("stdout", os.O_RDONLY), ("stderr", os.O_WRONLY)):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, mode), "w"))


def _main() -> int:
    try:
        # Standalone, click would exit by itself, with 1 or 2 for what is no verdict.
        return int(app.main(prog_name="sftp-monitor", standalone_mode=False) or 0)
    except click.UsageError as error:
        with suppress(OSError):
            error.show()
        return os.EX_USAGE
    except click.Abort:
        return 128 + signal.SIGINT
    except SystemExit as left:
        # click leaves so after completing a line for the shell and, with 1, when who read our
        # output has left: that is no verdict, either.
        return os.EX_IOERR if left.code else 0
    except Exception as error:
        return _ended(error)


def _ended(error: Exception) -> int:
    """Say why a command has ended, and return its exit code."""
    # Only here: to show a version or a help page they are not needed.
    from monitor.adapters.store import StateLocked, StorageError  # noqa: PLC0415
    from monitor.config import ConfigError, SecretError  # noqa: PLC0415

    match error:
        case ConfigError():
            return _failed(str(error), error.exit_code)
        case SecretError():
            return _failed(f"error: {error}", error.exit_code)
        case StorageError() | OSError():
            locked = isinstance(error, StateLocked)
            return _failed(f"error: {error}", os.EX_TEMPFAIL if locked else os.EX_IOERR)
    text = f"internal error, please report it:\n{traceback.format_exc()}"
    return _failed(text, os.EX_SOFTWARE)


def _failed(text: str, code: int) -> int:
    # The exit code counts, even where nobody can read why.
    with suppress(OSError):
        click.echo(text, err=True)
    return code
