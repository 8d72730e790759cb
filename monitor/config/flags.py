"""The flags of `run` over the file, and what nobody may reach without a password."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, TypeVar, Unpack

from monitor.config.addresses import ListenAddress, is_loopback, listen_address, web_url
from monitor.config.keys import word_of
from monitor.config.kinds import LogFormat, LogLevel
from monitor.config.model import Config, Overrides, WebConfig
from monitor.config.problems import ConfigError, Problem

COMMAND_LINE: Final = "command line"
"""What stands for the file in a problem with a flag."""

_FLAGS: Final = {
    "listen_address": "--web.listen-address",
    "log_level": "--log.level",
    "log_format": "--log.format",
    "state_path": "--state.path",
    "external_url": "--web.external-url",
}

T = TypeVar("T")


def with_overrides(config: Config, **flags: Unpack[Overrides]) -> Config:
    """Return the config with what flags say instead of the file; a None says nothing.

    Raises ConfigError for a flag that has no meaning, and where the web would be open to all.
    """
    changed, problems = apply(config, flags)
    message = exposure(changed.web)
    if message:
        problems.append(Problem(COMMAND_LINE, None, _FLAGS["listen_address"], message))
    if problems:
        raise ConfigError(problems)
    return changed


def apply(config: Config, flags: Overrides) -> tuple[Config, list[Problem]]:
    """Return the config with these flags, and what is wrong with them."""
    problems: list[Problem] = []

    def flag(name: str, parse: Callable[[Any], T], otherwise: T) -> T:
        """Return what a flag says, or what there is without it; a mistake is noted."""
        value = flags.get(name)
        if value is None:
            return otherwise
        try:
            return parse(value)
        except ValueError as error:
            problems.append(Problem(COMMAND_LINE, None, _FLAGS[name], str(error)))
            return otherwise

    web, log, state = config.web, config.log, config.state
    address = ListenAddress(web.listen_host, web.listen_port)
    address = flag("listen_address", listen_address, address)
    changed = replace(
        config,
        web=replace(
            web,
            listen_host=address.host,
            listen_port=address.port,
            external_url=flag("external_url", web_url, web.external_url),
        ),
        log=replace(
            log,
            level=flag("log_level", word_of(LogLevel), log.level),
            format=flag("log_format", word_of(LogFormat), log.format),
        ),
        state=replace(state, path=flag("state_path", Path, state.path)),
    )
    return changed, problems


def exposure(web: WebConfig) -> str | None:
    """Return what is wrong where others could reach the web without a password, or None."""
    if is_loopback(web.listen_host) or web.allow_unauthenticated:
        return None
    return (
        "expected a loopback host: anybody could read what listens beyond it; put a proxy with a "
        "password in front, or set web.allow_unauthenticated: true"
    )
