"""Options that several commands share, and what they stand for: a config, or a running daemon."""

import asyncio
import json
import os
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, get_args

import click
import httpx

from monitor.config import Config, LogFormat, LogLevel, TokenSource, load_config
from monitor.core.model import Seconds
from monitor.core.text import clean
from monitor.http import request_once
from monitor.serialize import from_json

WITHIN: Seconds = 30.0
"""What a whole answer of a daemon may take: ten thousand campaigns have 10 MB."""

ANSWER_MAX = 1024 * 1024 * 1024

PATH = click.Path(path_type=Path)
_F = TypeVar("_F", bound=Callable[..., Any])
_T = TypeVar("_T")


def _name(flag: str) -> str:
    return flag.removeprefix("--").replace(".", "_").replace("-", "_")


def option(flag: str, about: str, **more: Any) -> Callable[[_F], _F]:
    """Return an option that an environment variable of its name stands for, too."""
    name = _name(flag)
    return click.option(flag, name, envvar=f"SFTP_MONITOR_{name.upper()}", help=about, **more)


_ABOUT = "The config file; see config.example.yaml."
config_file = partial(option, "--config.file", _ABOUT, type=PATH, show_envvar=True)

output_format = click.option(
    "--format",
    "output",
    type=click.Choice(["table", "json"]),
    default="table",
    show_default=True,
    help="For people, or for programs.",
)


def _whole_url(_: click.Context, _option: click.Parameter, url: str | None) -> str | None:
    """Return a URL, out of a file where one is named, and with a scheme; may raise SecretError."""
    if url and url.startswith("@"):
        url = TokenSource(Path(url[1:])).read()
    return url if not url or "://" in url else f"http://{url}"


_ABOUT_URL = (
    "Ask the daemon that runs there, such as 127.0.0.1:10022. @FILE: the file has the URL, with a "
    "user and a password in it."
)
daemon_url = option("--url", _ABOUT_URL, show_envvar=True, callback=_whole_url)

_LEVEL, _FORMAT = click.Choice(get_args(LogLevel)), click.Choice(get_args(LogFormat))
_RUN_FLAGS: dict[str, tuple[Any, str]] = {
    "--web.listen-address": (str, "Where to listen: HOST:PORT."),
    "--web.external-url": (str, "Under which URL users reach this daemon."),
    "--web.config.file": (
        PATH,
        "TLS and passwords, as exporters have them; see web-config.example.yaml.",
    ),
    "--log.level": (_LEVEL, "Log level."),
    "--log.format": (_FORMAT, "One JSON object a line, or lines for people."),
    "--state.path": (PATH, "The state database."),
}
"""Each stands for the key of its name: --web.listen-address is web.listen_address."""


def run_flags(command: _F, *, only: Collection[str] = tuple(_RUN_FLAGS)) -> _F:
    """Add the flags of `run`, or some of them, which beat the config file."""
    # Decorators apply from the last one up: --help would show the flags in reverse.
    for flag, (kind, about) in reversed(_RUN_FLAGS.items()):
        if flag in only:
            command = option(flag, about, type=kind, show_envvar=True)(command)
    return command


def load(path: Path, **flags: Any) -> Config:
    """Return the config at `path` with these flags; ConfigError has every problem of both."""
    return load_config(path, os.environ, {flag: flags.get(_name(flag)) for flag in _RUN_FLAGS})


def show(output: str, value: Any, table: str) -> None:
    """Print as `output_format` says: a value for programs, or the table of it for people."""
    click.echo(json.dumps(value, indent=2) if output == "json" else table)


def ask(
    url: str,
    path: str,
    params: Mapping[str, str],
    answer: type[_T],
    headers: Mapping[str, str] = {},
) -> Iterator[_T]:
    """Yield what a daemon answers on a path of its JSON API, and of a list every page.

    Raises OSError as `exchange` does.
    """
    query = params
    while True:
        _, body = exchange("GET", url, path, params=query, headers=headers)
        try:
            page = from_json(answer, json.loads(body))
        except (ValueError, LookupError, TypeError, AttributeError):
            problem = "unexpected response from --url: not sftp-monitor, or another version"
            raise OSError(problem) from None
        yield page
        if (following := getattr(page, "next", None)) is None:
            return
        query = {**params, "next": following}


def exchange(
    method: str, url: str, path: str, *, also: Collection[int] = (), **how: Any
) -> tuple[int, bytes]:
    """Return the status and the body that a daemon answers; `also` are statuses that may be.

    `how` is as for `request_once`.

    Raises OSError, and of it ConnectionError where none answers, without the user and the password
    that `url` may have.
    """
    try:
        asked = httpx.URL(f"{url.rstrip('/')}{path}")
        usable = asked.scheme in {"http", "https"} and asked.host
    # InvalidURL, or an IDNA name that is none.
    except (httpx.InvalidURL, UnicodeError):
        usable = False
    if not usable:
        raise OSError("--url: expected a URL such as http://127.0.0.1:10022")
    shown = f"{asked.scheme}://{asked.netloc.decode()}"
    try:
        # No proxy of the environment: the daemon is here or near, and proxies lead elsewhere.
        how = {"within": WITHIN, "most": ANSWER_MAX, **how}
        status, body = asyncio.run(request_once(method, str(asked), **how))
    except OSError as error:
        raise ConnectionError(f"cannot ask {shown}: {error}") from None
    if 200 <= status < 300 or status in also:
        return status, body
    said = clean(f"{httpx.codes.get_reason_phrase(status)} {body.decode(errors='replace')}", 300)
    raise OSError(f"{shown} answered {status} {said}")
