"""The command line: `sftp-monitor`. Commands and exit codes; no decisions.

A verdict is 0 to 3. Everything else that can end a command has a code of `sysexits.h`, so that
neither click's 2 nor Python's 1 ever reads as a verdict.
"""

import os
import signal
import sys
import traceback
from contextlib import suppress
from dataclasses import fields

import click

from monitor import __version__
from monitor.adapters.store import StateLocked, StorageError
from monitor.cli.check import check
from monitor.cli.config import config
from monitor.cli.demo import demo
from monitor.cli.events import events
from monitor.cli.explain import explain
from monitor.cli.export import export
from monitor.cli.healthy import healthy
from monitor.cli.notify import notify
from monitor.cli.run import run
from monitor.cli.testing import test, tests
from monitor.config import ConfigError, SecretError, format_duration
from monitor.core.environment_rules import ENVIRONMENT_RULES
from monitor.core.rule import BaseRule
from monitor.core.rules import RULES


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="sftp-monitor")
def app() -> None:
    """Report to on-call which TalkOver campaign's SFTP import is broken, since when, and why."""


@app.command()
def rules() -> None:
    """Show every rule: what it means, its settings with their defaults, and what to do."""
    for title, table in (("a campaign", RULES), ("an environment", ENVIRONMENT_RULES)):
        click.echo(f"Rules of {title}\n")
        for cls in table.values():
            click.echo(_describe(cls))


def _describe(cls: type[BaseRule]) -> str:
    rule = cls()
    lines = [
        f"{cls.name}  ({rule.severity})",
        f"  meaning   {cls.meaning}",
        f"  next      {cls.next_step}",
    ]
    for setting in fields(rule):
        value = getattr(rule, setting.name)
        shown = format_duration(value) if isinstance(value, float) else str(value)
        shown = shown.lower() if isinstance(value, bool) else shown
        lines.append(f"  {setting.name.rstrip('_'):<20} {shown:<9} {setting.metadata['help']}")
    return "\n".join(lines) + "\n"


for command in (run, check, config, events, explain, export, healthy, notify, demo, test, tests):
    app.add_command(command)


def main() -> None:
    """Run the command and leave with its exit code."""
    if sys.flags.optimize > 1:
        # -OO strips what the texts of --help, of the config's schema and of OpenAPI are made of.
        os.environ["PYTHONOPTIMIZE"] = "1"
        again = [sys.executable, "-P", "-m", "monitor", *sys.argv[1:]]
        os.execv(sys.executable, again)  # noqa: S606 - ourselves
    _replace_closed_streams()
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
    except ConfigError as error:
        return _failed("\n".join(map(str, error.problems)), error.exit_code)
    except SecretError as error:
        return _failed(f"error: {error}", error.exit_code)
    except (StorageError, OSError) as error:
        locked = isinstance(error, StateLocked)
        return _failed(f"error: {error}", os.EX_TEMPFAIL if locked else os.EX_IOERR)
    except SystemExit:
        # click leaves so, with 1, when who read our output has left: that is no verdict, either.
        return os.EX_IOERR
    except Exception:
        text = f"internal error, please report it:\n{traceback.format_exc()}"
        return _failed(text, os.EX_SOFTWARE)


def _failed(text: str, code: int) -> int:
    # The exit code counts, even where nobody can read why.
    with suppress(OSError):
        click.echo(text, err=True)
    return code
