"""Options that several commands share, and how they change the config."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from monitor.config import Config, load_config

_F = TypeVar("_F", bound=Callable[..., Any])


def _option(flag: str, about: str, **more: Any) -> Callable[[_F], _F]:
    name = flag.lstrip("-").replace(".", "_").replace("-", "_")
    return click.option(
        flag, name, envvar=f"SFTP_MONITOR_{name.upper()}", show_envvar=True, help=about, **more
    )


config_file = _option(
    "--config.file",
    "The config file; see config.example.yaml.",
    type=click.Path(path_type=Path),
    required=True,
)

_config_file_or_not = _option(
    "--config.file", "The config file; see config.example.yaml.", type=click.Path(path_type=Path)
)

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
    return _config_file_or_not(daemon_url(command))


_RUN_FLAGS = (
    _option("--web.listen-address", "Where to listen: HOST:PORT."),
    _option("--web.external-url", "Under which URL users reach this daemon."),
    _option(
        "--web.config.file",
        "TLS and passwords, as exporters have them; see web-config.example.yaml.",
        type=click.Path(path_type=Path),
    ),
    _option(
        "--log.level",
        "How much to say of ourselves.",
        type=click.Choice(["debug", "info", "warning", "error"]),
    ),
    _option(
        "--log.format",
        "One JSON object a line, or lines for people.",
        type=click.Choice(["json", "console"]),
    ),
    _option("--state.path", "The state database.", type=click.Path(path_type=Path)),
)


def run_flags(command: _F) -> _F:
    """Add the flags of `run`, which beat the config file."""
    # Decorators apply from the last one up: --help would show the flags in reverse.
    for flag in reversed(_RUN_FLAGS):
        command = flag(command)
    return command


def load(path: Path, **flags: Any) -> Config:
    """Return the config of the file at `path`, with the flags that were given in place.

    Raises ConfigError with every problem of the file and the flags.
    """
    return load_config(
        path,
        os.environ,
        listen_address=flags.get("web_listen_address"),
        external_url=flags.get("web_external_url"),
        web_config_file=flags.get("web_config_file"),
        log_level=flags.get("log_level"),
        log_format=flags.get("log_format"),
        state_path=flags.get("state_path"),
    )
