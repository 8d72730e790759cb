"""The config file → Config, or every problem that it has."""

import stat
from collections.abc import Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast

from pydantic_core import PydanticCustomError

from monitor.config import types as t
from monitor.config.keys import Context, Section
from monitor.config.labels import too_long
from monitor.config.model import Config, config_model
from monitor.config.patterns import ascii_only
from monitor.config.problems import ConfigError, Place, Problem
from monitor.config.scalars import Text
from monitor.config.targets import resolve
from monitor.config.validate import validate
from monitor.config.web_config import exposure, read_access
from monitor.config.yaml import Document, mappings, parse, read_bytes

Flags = Mapping[str, str | Path | None]
"""What flags say instead of the file, by name: --web.listen-address; None: nothing."""


def load_config(
    path: Path, environ: Mapping[str, str], flags: Flags = MappingProxyType({})
) -> Config:
    """Return the config in a file, with flags over it; ConfigError has every problem at once.

    `environ` gives the values of `${VAR}`, $STATE_DIRECTORY and $CREDENTIALS_DIRECTORY. Secrets are
    read once, so that a wrong one is reported here and not by the first poll.
    """
    version = _version(path)
    raw = read_bytes(path)
    document = parse(raw, str(path), environ)
    context = Context(path.absolute().parent, environ)
    problems = [*_check_document(document, context), *document.problems]
    config, wrong = validate(config_model(), document, context)
    problems += wrong
    changed, wrong = _with_flags(document, context, flags)
    problems += [problem for problem in wrong if problem not in problems]
    # A key that is given twice validates, but merging it would be guessing which one counts.
    if config is None or document.problems:
        raise ConfigError(problems)
    config = config.model_copy(update=changed)
    resolve(config)
    problems += _check_config(document, config)
    # A file is often half written, and beside it a token swapped before or after it.
    if _version(path) != version:
        problems.append(document.problem((), "was changed while it was read: reload it again"))
    if problems:
        raise ConfigError(problems)
    config._digest = sha256(raw).digest()
    return config


def notes(config: Config) -> list[str]:
    """Return what is right in a config and may still not be what was meant, by the key."""
    found = []
    for index, environment in enumerate(config.environments):
        discovery, key = environment.discovery, f"environments[{index}]"
        expressions = {
            f"{key}.discovery.{name}[{number}]": expression
            for name, listed in (("include", discovery.include), ("exclude", discovery.exclude))
            for number, expression in enumerate(listed)
        }
        for number, override in enumerate(environment.overrides):
            expressions[f"{key}.overrides[{number}].match.name"] = override.match.name or ""
        for place, expression in expressions.items():
            if classes := ascii_only(expression):
                found.append(f"{place}: note: {classes} matches ASCII alone; \\pL is any letter")
    return found


def _version(path: Path) -> tuple[int, ...] | None:
    """Return what a write or a rename changes; None for a pipe, or where there is no file."""
    try:
        found = path.stat()
    except (OSError, ValueError):
        return None
    regular = stat.S_ISREG(found.st_mode)
    return (found.st_ino, found.st_mtime_ns, found.st_size) if regular else None


def _with_flags(
    document: Document, context: Context, flags: Flags
) -> tuple[dict[str, Section], list[Problem]]:
    """Put flags in place of what the file says: --web.listen-address is web.listen_address.

    Returns the sections that they change. The file is to be validated before: what is wrong with
    it is wrong whatever a flag says.
    """
    sections: dict[str, type[Section]] = {}
    for flag, value in flags.items():
        if value is not None:
            section, _, name = flag.removeprefix("--").partition(".")
            # Paths of the command line start where it was typed.
            text = str(value.absolute()) if isinstance(value, Path) else value
            document.put((section, name.replace(".", "_").replace("-", "_")), text, flag)
            sections[section] = cast(type[Section], Config.model_fields[section].annotation)
    changed, problems = {}, []
    for name, section_type in sections.items():
        found, wrong = validate(section_type, document, context, name)
        problems += wrong
        if found is not None:
            changed[name] = found
    return changed, problems


def _check_document(document: Document, context: Context) -> Iterator[Problem]:
    """Yield what is wrong between keys, even where others have no value that could be used.

    That is doubled names, ids and tokens, and environments without a token or campaigns.
    """
    yield from _doubled(document, ("environments",), document.value.get("environments"), "name")
    for index, environment in mappings(document.value.get("environments")):
        place: Place = ("environments", index)
        given = [key for key in ("token_file", "token") if environment.get(key) is not None]
        if len(given) != 1:
            which = "either token_file or" if given else "token_file, or"
            yield document.problem(place, f"expected {which} token: ${{VAR}}")
        discovery = environment.get("discovery")
        enabled = discovery.get("enabled") if isinstance(discovery, dict) else None
        campaigns = environment.get("campaigns")
        if campaigns in (None, []) and str(enabled).lower() != "true":
            message = "expected at least one campaign"
            yield document.problem((*place, "campaigns"), message)
        yield from _doubled(document, (*place, "campaigns"), campaigns, "id")
    yield from _shared_tokens(document, context)
    notify = document.value.get("notify")
    yield from _doubled_receivers(document, notify if isinstance(notify, dict) else {})


def _doubled(document: Document, place: Place, items: Any, key: str) -> Iterator[Problem]:
    """Yield items with the name or id of an earlier one, also by case and blanks alone."""
    seen: dict[str, tuple[int, str]] = {}
    for index, item in mappings(items):
        value = item.get(key)
        if not isinstance(value, Text) or value.broken:
            continue
        first, earlier = seen.setdefault(value.strip().casefold(), (index, value))
        if first != index:
            where = document.problem((*place, first, key), "")
            alike = "" if earlier == value else " but for case or blanks"
            message = f"expected another {key}: {where.key} at line {where.line} is the same{alike}"
            yield document.problem((*place, index, key), message)


def _doubled_receivers(document: Document, notify: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield receivers with the name of an earlier one; without a name it is their number."""
    names: set[str] = set()
    for index, receiver in mappings(notify.get("webhooks")):
        name = receiver.get("name")
        name = name if isinstance(name, Text) and name else str(index + 1)
        if name in names:
            message = f"expected another name: there is a webhook {name} already"
            yield document.problem(("notify", "webhooks", index), message)
        names.add(name)


def _shared_tokens(document: Document, context: Context) -> Iterator[Problem]:
    # The request limit is the token's: two budgets on one token would spend it twice.
    owners: dict[str, int] = {}
    for index, environment in mappings(document.value.get("environments")):
        for name, key in (("token_file", t.SECRET_FILE), ("token", t.SECRET_VARIABLE)):
            try:
                token = key.read(environment.get(name), context).read()
            # The key itself has reported it, if there is one.
            except (ValueError, PydanticCustomError):
                continue
            owner = owners.setdefault(token, index)
            if owner != index:
                message = f"duplicate token: environments[{owner}] uses it already"
                yield document.problem(("environments", index, name), message)


def _check_config(document: Document, config: Config) -> Iterator[Problem]:
    """Yield what shows only when everything is merged."""
    try:
        message = exposure(config.web, read_access(config.web.config_file))
    except ConfigError as error:
        yield from error.problems
    else:
        if message:
            yield document.problem(("web", "listen_address"), message)
    for index, environment in enumerate(config.environments):
        place = ("environments", index)
        for number, campaign in enumerate(environment.resolved.targets.values()):
            if message := too_long(campaign.labels):
                yield document.problem((*place, "campaigns", number, "labels"), message)
        for number, override in enumerate(environment.overrides):
            # Of campaigns that are still to be discovered, more cannot be known.
            message = too_long({**environment.labels, **override.labels})
            if message and environment.discovery.enabled:
                yield document.problem((*place, "overrides", number, "labels"), message)
