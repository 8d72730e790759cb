"""The config file → Config, or every problem that it has."""

import stat
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Unpack

from monitor.config import flags as command_line
from monitor.config.build import build
from monitor.config.checks import check_document
from monitor.config.labels import too_long
from monitor.config.model import Config, NotifyConfig, Overrides, WebConfig
from monitor.config.problems import ConfigError, Place, Problem
from monitor.config.secrets import SecretError, TokenSource
from monitor.config.tokens import token_sources
from monitor.config.validate import validate
from monitor.config.web_file import exposure, read_access
from monitor.config.yaml import Document, parse, read_text


def load_config(path: Path, environ: Mapping[str, str], **flags: Unpack[Overrides]) -> Config:
    """Return the config in a file, with flags over it; ConfigError has every problem at once.

    `environ` gives the values of `${VAR}`, $STATE_DIRECTORY and $CREDENTIALS_DIRECTORY. The tokens
    are read once, so that a wrong one is told here and not by the first poll.
    """
    version = _version(path)
    document = parse(read_text(path), str(path), environ)
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
    # A file is often half written, and beside it a token swapped before or after it.
    if _version(path) != version:
        problems.append(document.problem((), "was changed while it was read: reload it again"))
    if problems:
        raise ConfigError(problems)
    return config


def _version(path: Path) -> tuple[int, ...] | None:
    """Return what a write or a rename changes; None for a pipe, or where there is no file."""
    try:
        found = path.stat()
    except (OSError, ValueError):
        return None
    regular = stat.S_ISREG(found.st_mode)
    return (found.st_ino, found.st_mtime_ns, found.st_size) if regular else None


def _check_config(document: Document, config: Config) -> Iterator[Problem]:
    """Yield what shows only when everything is merged."""
    yield from _check_web(document, config.web)
    yield from _check_notify(document, config.notify)
    file = config.alerts.file
    if file is not None and not file.parent.is_dir():
        expected = f"expected a file in a directory that is there; {file.parent} is not"
        yield document.problem(("alerts", "file", "path"), expected)
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


def _check_web(document: Document, web: WebConfig) -> Iterator[Problem]:
    """Yield what is wrong with the web config file, or that anybody could read what is shown."""
    try:
        message = exposure(web, read_access(web.config_file))
    except ConfigError as error:
        yield from error.problems
    else:
        if message:
            yield document.problem(("web", "listen_address"), message)


def _check_notify(document: Document, notify: NotifyConfig) -> Iterator[Problem]:
    """Yield sinks that would have one name, secrets that cannot be read, and a missing package."""
    secrets: list[tuple[Place, TokenSource]] = []
    for index, url in enumerate(notify.alertmanagers):
        if url in notify.alertmanagers[:index]:
            place: Place = ("notify", "alertmanager", "urls", index)
            yield document.problem(place, "expected another URL: it is in the list already")
    names = [webhook.name for webhook in notify.webhooks]
    for index, webhook in enumerate(notify.webhooks):
        place = ("notify", "webhooks", index)
        secrets.append(((*place, "secret_file"), webhook.secret))
        if webhook.name in names[:index]:
            message = f"expected another name: there is a webhook {webhook.name} already"
            yield document.problem(place, message)
    for index, source in enumerate(notify.apprise):
        secrets.append((("notify", "apprise", index, "url_file"), source))
    for place, source in secrets:
        try:
            source.read()
        except SecretError as error:
            yield document.problem(place, str(error), exposed_secret=error.exposed)
    if notify.apprise and find_spec("apprise") is None:
        wanted = "expected apprise to be installed: pip install 'sftp-config-monitor[notify]'"
        yield document.problem(("notify", "apprise"), wanted)
