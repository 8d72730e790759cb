"""Options that several commands share, and what they stand for: a config, or a running daemon."""

import json
import os
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, get_args

import click
from click.core import ParameterSource

from monitor.config import Config, LogFormat, LogLevel, TokenSource, load_config
from monitor.core.environment_rules import ENVIRONMENT_RULES
from monitor.core.rule import Target
from monitor.core.rules import RULES
from monitor.core.snapshot import Health

if TYPE_CHECKING:
    from monitor.adapters.web.schemas import CampaignAnswer

CONFIG_FILES = ("./sftp-monitor.yaml", "/etc/sftp-monitor/sftp-monitor.yaml")
"""Where the config file is looked for when none is named."""

PATH = click.Path(path_type=Path)
_F = TypeVar("_F", bound=Callable[..., Any])


def _name(flag: str) -> str:
    return flag.removeprefix("--").replace(".", "_").replace("-", "_")


def option(flag: str, about: str, **more: Any) -> Callable[[_F], _F]:
    """Return an option that an environment variable of its name stands for, too."""
    name = _name(flag)
    return click.option(flag, name, envvar=f"SFTP_MONITOR_{name.upper()}", help=about, **more)


_ABOUT = f"The config file; else {', then '.join(CONFIG_FILES)}."
config_file = option("--config.file", _ABOUT, type=PATH, show_envvar=True)


def examples(*lines: str) -> str:
    """Return the end of a command's help: lines to paste."""
    return "\b\nExamples:\n" + "\n".join(f"  sftp-monitor {line}" for line in lines)


output_format = click.option(
    "--format",
    "output",
    type=click.Choice(["table", "json"]),
    default="table",
    show_default=True,
    help="For people, or for programs.",
)


def whole_url(_: click.Context, _option: click.Parameter, url: str | None) -> str | None:
    """Return a URL, out of a file where one is named, and with a scheme; may raise SecretError."""
    if url and url.startswith("@"):
        url = TokenSource(Path(url[1:])).read()
    return url if not url or "://" in url else f"http://{url}"


_ABOUT_URL = (
    "Ask the daemon that runs there, such as 127.0.0.1:10022. @FILE: the file has the URL, with a "
    "user and a password in it."
)
daemon_url = option("--url", _ABOUT_URL, show_envvar=True, callback=whole_url)


def url_to_ask(config_file: Path | None, url: str | None) -> str | None:
    """Return the daemon to ask, if one: a config named in the command beats SFTP_MONITOR_URL."""
    source = click.get_current_context().get_parameter_source
    named = config_file is not None and source("config_file") is ParameterSource.COMMANDLINE
    return None if named and source("url") is ParameterSource.ENVIRONMENT else url


def _use_color(context: click.Context, _option: click.Parameter, when: str) -> None:
    default = False if os.environ.get("NO_COLOR") else None
    context.color = {"always": True, "never": False}.get(when, default)


color = click.option(
    "--color",
    type=click.Choice(["auto", "always", "never"]),
    default="auto",
    show_default=True,
    expose_value=False,
    callback=_use_color,
    help="auto: on a terminal, unless NO_COLOR is set.",
)


def is_called(one: "Target | CampaignAnswer", name: str) -> bool:
    """Return whether a campaign is called so: ENVIRONMENT/ID, ID, or its name."""
    own = [known for known in (one.campaign_id, one.name) if known]
    return name in own or name in (f"{one.environment}/{known}" for known in own)


@dataclass(frozen=True)
class Filters:
    """What is asked for: campaigns of which one name of each kind must fit, and every label.

    Of those what the `rules` say, where any is given, and those of these `healths`.
    """

    campaigns: tuple[str, ...]
    environments: tuple[str, ...]
    labels: tuple[tuple[str, str], ...]
    rules: tuple[str, ...]
    healths: tuple[str, ...]

    def fit(self, one: "Target | CampaignAnswer") -> bool:
        """Return whether this campaign is meant."""
        return (
            (not self.environments or one.environment in self.environments)
            and (not self.campaigns or any(is_called(one, name) for name in self.campaigns))
            and all(label in one.labels.items() for label in self.labels)
        )

    def missing(self, known: "Iterable[Target | CampaignAnswer]") -> list[str]:
        """Return which campaigns that are meant are not among these."""
        there = [
            one for one in known if one.environment in (self.environments or (one.environment,))
        ]
        return [name for name in self.campaigns if not any(is_called(one, name) for one in there)]


def _label(_: click.Context, _option: click.Parameter, given: tuple[str, ...]) -> Any:
    for text in given:
        if text.find("=") < 1:
            raise click.BadParameter(f"expected NAME=VALUE such as team=retail, found {text!r}")
    return tuple(tuple(text.split("=", 1)) for text in given)


def filters(command: _F) -> _F:
    """Add the options of Filters, each of which may be repeated."""
    many = partial(click.option, multiple=True)
    # Decorators apply from the last one up.
    health = click.Choice([one.value for one in Health])
    command = many("--health", "healths", type=health, help="Only of this health.")(command)
    rule, about = (
        click.Choice((*RULES, *ENVIRONMENT_RULES)),
        "Only what this rule says; see `sftp-monitor rules`.",
    )
    command = many("--rule", "rules", metavar="RULE", type=rule, help=about)(command)
    label = "Only campaigns with this label."
    command = many("--label", "labels", metavar="NAME=VALUE", callback=_label, help=label)(command)
    about = "Only this campaign: [ENVIRONMENT/]ID, or its name."
    command = many("--campaign", "campaigns", metavar="CAMPAIGN", help=about)(command)
    about = "Only this environment."
    return many("--environment", "environments", metavar="NAME", help=about)(command)


_LEVEL, _FORMAT = click.Choice(get_args(LogLevel)), click.Choice(get_args(LogFormat))
_RUN_FLAGS: dict[str, tuple[Any, str]] = {
    "--web.listen-address": (str, "Where to listen: HOST:PORT."),
    "--web.external-url": (str, "Under which URL users reach this daemon."),
    "--web.replica-url": (str, "Under which URL other replicas reach this one."),
    "--web.config.file": (
        PATH,
        "TLS and passwords, as exporters have them; see web-config.example.yaml.",
    ),
    "--log.level": (_LEVEL, "Log level."),
    "--log.format": (_FORMAT, "One JSON object a line, or lines for people."),
    "--state.path": (PATH, "The state database."),
    "--state.url": (str, "The state database on PostgreSQL, for several replicas."),
    "--state.password-file": (PATH, "The file with its password."),
}
"""Each stands for the key of its name: --web.listen-address is web.listen_address."""


def run_flags(command: _F, *, only: Collection[str] = tuple(_RUN_FLAGS)) -> _F:
    """Add the flags of `run`, or some of them, which beat the config file."""
    # Decorators apply from the last one up: --help would show the flags in reverse.
    for flag, (kind, about) in reversed(_RUN_FLAGS.items()):
        if flag in only:
            command = option(flag, about, type=kind, show_envvar=True)(command)
    return command


def usual_config() -> Path | None:
    """Return the first of CONFIG_FILES that is there."""
    # pathlib's exists() raises where a folder is closed to us.
    return next((Path(place) for place in CONFIG_FILES if os.path.exists(place)), None)


def config_path(given: Path | None) -> Path:
    """Return the config file that is meant: as given, or at the usual place; else UsageError."""
    if (path := given or usual_config()) is not None:
        return path
    raise click.UsageError(
        f"found no config file, neither {' nor '.join(CONFIG_FILES)}: name one (--config.file), "
        "or write one with `sftp-monitor config init sftp-monitor.yaml`"
    )


def load(path: Path | None, **flags: Any) -> Config:
    """Return the config at `path`, or at the usual place, with these flags.

    ConfigError has every problem of both.
    """
    values = {flag: flags.get(_name(flag)) for flag in _RUN_FLAGS}
    return load_config(config_path(path), os.environ, values)


def show(output: str, value: Any, table: str) -> None:
    """Print as `output_format` says: a value for programs, or the table of it for people."""
    click.echo(json.dumps(value, indent=2) if output == "json" else table)
