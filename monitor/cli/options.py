"""Options that several commands share, and how they change the config."""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, get_args

import click

from monitor.config import Config, LogFormat, LogLevel, load_config

_F = TypeVar("_F", bound=Callable[..., Any])


def _name(flag: str) -> str:
    return flag.removeprefix("--").replace(".", "_").replace("-", "_")


def _option(flag: str, about: str, **more: Any) -> Callable[[_F], _F]:
    name = _name(flag)
    return click.option(
        flag, name, envvar=f"SFTP_MONITOR_{name.upper()}", show_envvar=True, help=about, **more
    )


_PATH = click.Path(path_type=Path)
_CONFIG = partial(_option, "--config.file", "The config file; see config.example.yaml.", type=_PATH)

config_file = _CONFIG(required=True)

output_format = click.option(
    "--format",
    "output",
    type=click.Choice(["table", "json"]),
    default="table",
    show_default=True,
    help="For people, or for programs.",
)

daemon_url = click.option(
    "--url", help="Ask the daemon that runs there, such as http://127.0.0.1:10022."
)


def config_file_or_url(command: _F) -> _F:
    """Add `--config.file` and `--url`, of which the command needs one."""
    return _CONFIG()(daemon_url(command))


_RUN_FLAGS: dict[str, tuple[Any, str]] = {
    "--web.listen-address": (str, "Where to listen: HOST:PORT."),
    "--web.external-url": (str, "Under which URL users reach this daemon."),
    "--web.config.file": (
        _PATH,
        "TLS and passwords, as exporters have them; see web-config.example.yaml.",
    ),
    "--log.level": (click.Choice(get_args(LogLevel)), "Log level."),
    "--log.format": (
        click.Choice(get_args(LogFormat)),
        "One JSON object a line, or lines for people.",
    ),
    "--state.path": (_PATH, "The state database."),
}
"""Each stands for the key of its name: --web.listen-address is web.listen_address."""


def run_flags(command: _F) -> _F:
    """Add the flags of `run`, which beat the config file."""
    # Decorators apply from the last one up: --help would show the flags in reverse.
    for flag, (kind, about) in reversed(_RUN_FLAGS.items()):
        command = _option(flag, about, type=kind)(command)
    return command


def load(path: Path, **flags: Any) -> Config:
    """Return the config of the file at `path`, with the flags that were given in place.

    Raises ConfigError with every problem of the file and the flags.
    """
    return load_config(path, os.environ, {flag: flags.get(_name(flag)) for flag in _RUN_FLAGS})
