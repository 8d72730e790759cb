"""The config file: YAML, environment and secrets → one frozen, complete `Config`.

To add a key, declare it in `model` or `environments` and put it into config.example.yaml; a flag of
`run` for it is a line in `cli.options`. Whatever is wrong is a `Problem` with its file and line.
"""

import os
from collections.abc import Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from monitor.config.document import ConfigError, Document, Place, Problem, key_path
from monitor.config.environments import Discovery as DiscoveryConfig
from monitor.config.environments import Environment as EnvironmentConfig
from monitor.config.environments import Resolved
from monitor.config.formats import ascii_only, matches, origin, too_long
from monitor.config.keys import expand, literal
from monitor.config.model import Alerts as AlertsConfig
from monitor.config.model import Config, Polling, effective_yaml, json_schema
from monitor.config.model import Web as WebConfig
from monitor.config.secrets import SecretError, TokenSource
from monitor.config.sources import Sources
from monitor.config.targets import narrowed, resolve, settings_of, sharing, targets
from monitor.config.types import LogFormat, LogLevel
from monitor.config.web_config import Access, exposure, read_access, safe_access
from monitor.config.yaml import parse, read_bytes
from monitor.core.discovery import TargetSet
from monitor.core.durations import format_duration, parse_duration
from monitor.tls import missing_roots

__all__ = [
    "Access", "AlertsConfig", "Config", "ConfigError", "DiscoveryConfig", "EnvironmentConfig",
    "LogFormat", "LogLevel", "Polling", "Problem", "SecretError", "TokenSource", "WebConfig",
    "effective_yaml", "format_duration", "json_schema", "load_config", "load_web", "narrowed",
    "notes", "origin", "parse_duration", "safe_access", "settings_of", "sharing", "targets",
    "unchanged", "unused",
]  # fmt: skip


def load_config(
    path: Path,
    environ: Mapping[str, str],
    flags: Mapping[str, str | Path | None] = {},
    unread: list[str] | None = None,
) -> Config:
    """Return the config in a file, with flags over it; ConfigError has every problem at once.

    `environ` has the environment variables, `flags` values by name, such as --web.listen-address;
    None says nothing. With a list `unread` no secret is read; it gets where each of them is.
    """
    raw = read_bytes(path)
    document = parse(raw, str(path), environ)
    document.unread = unread
    _put(document, flags)
    _check_document(document)
    config = document.read_as(Config)
    known = Resolved(exported=config.metrics.campaign_labels)
    environments = tuple(
        resolve(one, config.rules, config.connection_tests, known) for one in config.environments
    )
    config = config.model_copy(update={"environments": environments})
    config._digest = sha256(raw).digest()
    config._settings = {
        place: f"{path}:{line}" for place, line in document.lines_of("rules", "connection_tests")
    }
    files = {*_paths(config), *_check_config(document, config, path)}
    # A file is often half written, and beside it a token swapped before or after it.
    if path.is_file() and read_bytes(path) != raw:
        document.report((), "was changed while it was read: reload it again")
    document.check()
    if unread is None:
        written = {each for each in (config.state.path, config.alerts.file.path) if each}
        config._sources = Sources.of(path, raw, files - written, written)
    return config


def unchanged(config: Config) -> bool:
    """Return whether all that a config was made of is as it was; it reads those files.

    Environment variables and flags of a running process do not change.
    """
    return config._sources.unchanged()


def load_web(
    path: Path | None, environ: Mapping[str, str], flags: Mapping[str, str | Path | None] = {}
) -> WebConfig:
    """Return the part `web` alone, whatever else is wrong in the file; else as `load_config`."""
    document = (
        Document("", value={}) if path is None else parse(read_bytes(path), str(path), environ)
    )
    _put(document, flags)
    document.value = document.value.get("web") or {}
    return document.read_as(WebConfig)


def _put(document: Document, flags: Mapping[str, str | Path | None]) -> None:
    for flag, value in flags.items():
        if value is not None:
            # Paths of the command line start where it was typed.
            written = value.absolute() if isinstance(value, Path) else value
            document.put(flag, str(literal(written)))


def notes(config: Config) -> list[str]:
    """Return what is right in a config and may still not be what was meant, by the key."""
    found = [f"note: {problem}" for problem in missing_roots()]
    for index, environment in enumerate(config.environments):
        discovery, overrides = environment.discovery, environment.overrides
        expressions = {
            "discovery.include[{}]": discovery.include,
            "discovery.exclude[{}]": discovery.exclude,
            "overrides[{}].match.name": [override.match.name or "" for override in overrides],
        }
        found += [
            f"environments[{index}].{place.format(number)}: note: "
            f"{classes} matches ASCII alone; \\pL is any letter"
            for place, listed in expressions.items()
            for number, expression in enumerate(listed)
            if (classes := ascii_only(expression))
        ]
    return found


def unused(config: Config, listed: Mapping[str, TargetSet], *, whole: bool = True) -> Iterator[str]:
    """Yield what of a config is for nobody, by the key, as far as that is known.

    `listed` has who was discovered, by environment; unless it is the `whole` listing, it lacks whom
    `include` and `exclude` keep out.
    """
    labels = set[str]()
    for index, environment in enumerate(config.environments):
        path, discovery = f"environments[{index}]", environment.discovery
        labels.update(environment.labels, *(one.labels for one in environment.campaigns))
        labels.update(*(one.labels for one in environment.overrides))
        patterns = {"include": discovery.include, "exclude": discovery.exclude}
        if not discovery.enabled:
            yield from (f"{path}.discovery.{n}: discovery is off" for n in patterns if patterns[n])
        elif environment.name not in listed:
            continue
        target_set = listed.get(environment.name, TargetSet())
        known = targets(environment, target_set).values()
        used = {number for target in known for number in target.overrides}
        unmatched = [n for n in range(len(environment.overrides)) if n not in used]
        yield from (f"{path}.overrides[{n}]: matches no campaign" for n in unmatched)
        names = [one.name for one in target_set.campaigns.values()]
        for name in patterns if discovery.enabled else ():
            for number, pattern in enumerate(patterns[name] if whole or name == "include" else ()):
                if not any(matches((pattern,), one) for one in names):
                    yield f"{path}.discovery.{name}[{number}]: matches no campaign that is listed"
    for number, label in enumerate(config.metrics.campaign_labels):
        if label not in labels:
            yield f"metrics.campaign_labels[{number}]: no campaign has a label {label}"


def _check_document(document: Document) -> None:
    """Report what is wrong between keys, even where others have no value that could be used."""
    environments = document.value.get("environments")
    _check_doubles(document, ("environments",), "name", environments)
    for index, environment in _mappings(environments):
        place: Place = ("environments", index)
        given = [key for key in ("token_file", "token") if environment.get(key) is not None]
        if len(given) != 1:
            which = "either token_file or" if given else "token_file, or"
            document.report(place, f"expected {which} token: ${{VAR}}")
        discovery, campaigns = environment.get("discovery"), environment.get("campaigns")
        enabled = discovery.get("enabled") if isinstance(discovery, dict) else None
        if campaigns in (None, []) and _text(enabled, document).lower() != "true":
            document.report((*place, "campaigns"), "expected at least one campaign")
        _check_doubles(document, (*place, "campaigns"), "id", campaigns)
    notify = document.value.get("notify")
    webhooks = notify.get("webhooks") if isinstance(notify, dict) else None
    _check_doubles(document, ("notify", "webhooks"), "name", webhooks, numbered=True)


def _mappings(value: Any) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the mappings of what may be a list, with their indexes; nothing is an empty one."""
    for index, item in enumerate(value if isinstance(value, list) else ()):
        if item is None or isinstance(item, dict):
            yield index, item or {}


def _text(value: Any, document: Document) -> str:
    """Return what a scalar means; nothing where it is none."""
    try:
        return expand(value, document.environ) if isinstance(value, str) else ""
    except ValueError:
        return ""


def _texts(around: Any, place: Place, document: Document) -> Iterator[tuple[Place, Any, str]]:
    """Yield all text as it is used, but for what may be secret: the place around it, key, text."""
    for key, value in around.items() if isinstance(around, dict) else enumerate(around):
        if isinstance(value, str):
            if (place[:1], len(place), key) != (("environments",), 2, "token"):
                yield place, key, _text(value, document)
        elif isinstance(value, dict | list):
            yield from _texts(value, (*place, key), document)


def _check_secrets(document: Document) -> None:
    """Report where a secret of this config would be shown: in a label, a name, a URL, a path."""
    texts = list(_texts(document.value, (), document))
    whole = "\0".join(text for *_, text in texts)
    # A shorter one is a word that may well be in others.
    shown = [one for one in document.secrets if len(one) >= 8 and one in whole]
    for place, key, text in texts if shown else ():
        if any(one in text for one in shown):
            document.report(
                (*place, key), "holds a secret of this config, and others see what is here"
            )


def _check_doubles(
    document: Document, place: Place, key: str, items: Any, *, numbered: bool = False
) -> None:
    """Report items with the name or id of an earlier one, also by case and blanks alone.

    Where they are `numbered`, the name of one that has none is its number.
    """
    seen: dict[str, tuple[int, str]] = {}
    for index, item in _mappings(items):
        value = _text(item.get(key), document) or (str(index + 1) if numbered else "")
        first, earlier = seen.setdefault(value.strip().casefold(), (index, value))
        if value and first != index:
            where = (*place, first, key)
            alike = "" if earlier == value else " but for case or blanks"
            message = f"{key_path(where)} at line {document.line(where)} is the same{alike}"
            document.report((*place, index, key), f"expected another {key}: {message}")


def _check_state(document: Document, config: Config, *others: Path) -> None:
    """Report a state that would take the place of another file of the config."""
    used = {os.path.realpath(each): each for each in (*others, *_paths(config))}
    for suffix in ("", "-wal", "-shm", "-journal", ".lock", ".key"):
        if other := used.get(os.path.realpath(f"{config.state.path}{suffix}")):
            message = f"expected a file of its own, found one that would take the place of {other}"
            document.report(("state", "path"), message)


def _paths(value: Any) -> Iterator[Path]:
    """Yield the files that are named by a part of a config, but for the state."""
    if isinstance(value, BaseModel):
        value = [each for name, each in value if name not in {"state", "campaigns"}]
    value = [value.file] if isinstance(value, TokenSource) else value
    for each in value if isinstance(value, list | tuple) else ():
        yield from (each,) if isinstance(each, Path) else _paths(each)


def _check_config(document: Document, config: Config, path: Path) -> tuple[Path, ...]:
    """Report what shows only when everything is merged; return the files of the web config."""
    access = Access()
    try:
        web_file = config.web.config_file
        if document.unread is not None and web_file is not None:
            document.unread.append(str(web_file))
            web_file = None
        access = read_access(web_file)
        if web_file == config.web.config_file and (message := exposure(config.web, access)):
            document.report(("web", "listen_address"), message)
        _check_state(document, config, path, *access.files)
    except ConfigError as error:
        document.problems += error.problems
    _check_secrets(document)
    owners: dict[str, int] = {}
    for index, environment in enumerate(config.environments):
        source = environment.token_source
        token = source.origin if document.unread is not None else source.read()
        # Two budgets would spend a limit twice.
        if (owner := owners.setdefault(token, index)) != index:
            name = "token_file" if environment.token_file else "token"
            message = f"duplicate token: environments[{owner}] uses it already"
            document.report(("environments", index, name), message)
        labels: dict[Place, Mapping[str, str]] = {
            ("campaigns", number): campaign.labels
            for number, campaign in enumerate(environment.resolved.targets.values())
        }
        # Of campaigns that are still to be discovered, more cannot be known.
        for number, override in enumerate(environment.overrides):
            if environment.discovery.enabled:
                labels["overrides", number] = {**environment.labels, **override.labels}
        # Many share theirs.
        wrong = {key: too_long(one) for key, one in {id(it): it for it in labels.values()}.items()}
        for place, found in labels.items():
            if message := wrong[id(found)]:
                document.report(("environments", index, *place, "labels"), message)
    return access.files
