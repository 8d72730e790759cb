"""What is wrong between keys that are right by themselves.

What can be seen in the parsed document is looked at there, so that it is told even where another
key has no value that could be used.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from monitor.config.problems import Place, Problem
from monitor.config.scalars import Text
from monitor.config.yaml import Document, mappings
from monitor.tls import client_context


def check_document(document: Document, folder: Path) -> Iterator[Problem]:
    """Yield doubled names and ids, environments with nothing to watch, unusable authorities."""
    yield from _doubled(document, ("environments",), document.value.get("environments"), "name")
    for index, environment in document.environments():
        place: Place = ("environments", index)
        yield from _nothing_to_watch(document, place, environment)
        campaigns = environment.get("campaigns")
        yield from _doubled(document, (*place, "campaigns"), campaigns, "id")
        authority = environment.get("ca_file")
        if isinstance(authority, Text) and authority:
            try:
                client_context(folder / str(authority))
            except ValueError as error:
                yield document.problem((*place, "ca_file"), str(error))


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


def _nothing_to_watch(
    document: Document, place: Place, environment: dict[str, Any]
) -> Iterator[Problem]:
    discovery = environment.get("discovery")
    enabled = discovery.get("enabled") if isinstance(discovery, dict) else None
    discovers = str(enabled).lower() == "true"
    if environment.get("campaigns") in (None, []) and not discovers:
        yield document.problem((*place, "campaigns"), "expected at least one campaign")
