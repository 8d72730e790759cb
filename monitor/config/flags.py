"""The flags of `run` over the file."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, TypeVar, Unpack

from monitor.config.addresses import ListenAddress, listen_address, web_url
from monitor.config.keys import path, word_of
from monitor.config.kinds import LogFormat, LogLevel
from monitor.config.model import Config, Overrides
from monitor.config.problems import ConfigError, Problem
from monitor.config.web_file import exposure, read_access

COMMAND_LINE: Final = "command line"
"""What stands for the file in a problem with a flag."""

_FLAGS: Final = {
    "listen_address": "--web.listen-address",
    "log_level": "--log.level",
    "log_format": "--log.format",
    "state_path": "--state.path",
    "external_url": "--web.external-url",
    "web_config_file": "--web.config.file",
}

T = TypeVar("T")


def with_overrides(config: Config, **flags: Unpack[Overrides]) -> Config:
    """Return the config with what flags say instead of the file; a None says nothing.

    Raises ConfigError for a flag that has no meaning, and where the web would be open to all.
    """
    changed, problems = apply(config, flags)
    message = exposure(changed.web, read_access(changed.web.config_file))
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
            config_file=flag("web_config_file", path, web.config_file),
        ),
        log=replace(
            log,
            level=flag("log_level", word_of(LogLevel), log.level),
            format=flag("log_format", word_of(LogFormat), log.format),
        ),
        state=replace(state, path=flag("state_path", Path, state.path)),
    )
    return changed, problems
