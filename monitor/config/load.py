"""The config file → Config, or every problem that it has."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Unpack

from monitor.config import flags as command_line
from monitor.config.build import build
from monitor.config.checks import check_document
from monitor.config.labels import too_long
from monitor.config.model import Config, Overrides
from monitor.config.problems import ConfigError, Problem, problem
from monitor.config.tokens import token_sources
from monitor.config.validate import validate
from monitor.config.yaml import Document, parse

MAX_BYTES = 64 * 1024 * 1024
"""A hundred thousand campaigns fit into this many times; /dev/zero does not."""


def load_config(path: Path, environ: Mapping[str, str], **flags: Unpack[Overrides]) -> Config:
    """Return the config in a file, with flags over it; ConfigError has every problem at once.

    `environ` gives the values of `${VAR}`, $STATE_DIRECTORY and $CREDENTIALS_DIRECTORY. The tokens
    are read once, so that a wrong one is told here and not by the first poll.
    """
    document = parse(_read(path), str(path), environ)
    folder = path.absolute().parent
    sources, problems = token_sources(document, folder, environ)
    problems += [*document.problems, *check_document(document, folder)]
    file, wrong = validate(document)
    problems += wrong
    # A key that is given twice validates, but merging it would be guessing which one counts.
    if file is None or document.problems:
        raise ConfigError(problems)
    config, wrong = command_line.apply(build(file, sources, folder, environ), flags)
    problems += [*wrong, *_check_config(document, config)]
    if problems:
        raise ConfigError(problems)
    return config


def _check_config(document: Document, config: Config) -> Iterator[Problem]:
    """Yield what shows only when everything is merged."""
    message = command_line.exposure(config.web)
    if message:
        yield document.problem(("web", "listen_address"), message)
    for index, environment in enumerate(config.environments):
        place = ("environments", index)
        for number, campaign in enumerate(environment.campaigns.values()):
            message = too_long(campaign.labels)
            if message:
                yield document.problem((*place, "campaigns", number, "labels"), message)
        for number, override in enumerate(environment.overrides):
            # Of campaigns that are still to be discovered, more cannot be known.
            message = too_long({**environment.labels, **override.labels})
            if message and environment.discovery.enabled:
                yield document.problem((*place, "overrides", number, "labels"), message)


def _read(path: Path) -> str:
    """Return the text of a file; ConfigError tells why there is none."""
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "not a path"
        raise ConfigError([problem(str(path), None, (), f"cannot be read: {why}")]) from None
    if len(raw) > MAX_BYTES:
        raise ConfigError([problem(str(path), None, (), "is longer than 64 MiB")])
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ConfigError([problem(str(path), line, (), "is not UTF-8")]) from None
