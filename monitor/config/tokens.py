"""The tokens of a document: exactly one for each environment, each its own, all readable."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from monitor.config.problems import Problem
from monitor.config.scalars import Text
from monitor.config.secrets import SecretError, TokenSource, token_source
from monitor.config.yaml import Document

Sources = dict[int, TokenSource]
"""Where the token of each environment comes from, by the environment's index in the file."""


def token_sources(
    document: Document, folder: Path, environ: Mapping[str, str]
) -> tuple[Sources, list[Problem]]:
    """Return where the tokens come from, and what is wrong with them.

    All are read, to compare them and to know that they can be. Relative paths start at `folder`.
    What the types of the keys refuse is left to them.
    """
    sources: Sources = {}
    problems: list[Problem] = []
    owners: dict[str, int] = {}
    for index, environment in document.environments():
        given = [key for key in ("token_file", "token") if environment.get(key) is not None]
        if len(given) != 1:
            which = "either token_file or" if given else "token_file, or"
            message = f"expected {which} token: ${{VAR}}"
            problems.append(document.problem(("environments", index), message))
            continue
        source = _source(given[0], environment[given[0]], folder, environ)
        if source is None:
            continue
        sources[index] = source
        place = ("environments", index, given[0])
        try:
            # The request limit is the token's: two budgets on one token would spend it twice.
            owner = owners.setdefault(source.read(), index)
        except SecretError as error:
            problems.append(document.problem(place, str(error), exposed_secret=error.exposed))
            continue
        if owner != index:
            message = f"expected a token of its own: environments[{owner}] has this one already"
            problems.append(document.problem(place, message))
    return sources, problems


def _source(key: str, value: Any, folder: Path, environ: Mapping[str, str]) -> TokenSource | None:
    """Return what a key's value refers to; None when it is nothing of the kind."""
    if not isinstance(value, Text) or value.broken:
        return None
    if key == "token":
        return token_source(environ, variable=value.variable) if value.variable else None
    return token_source(environ, file=folder / str(value)) if value else None
