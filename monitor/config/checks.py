"""What is wrong between keys that are right by themselves.

What can be seen in the parsed document is looked at there, so that it is told even where another
key has no value that could be used.
"""

import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from monitor.config.problems import Place, Problem
from monitor.config.scalars import Text
from monitor.config.yaml import Document, mappings


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
            message = unusable_authority(folder / str(authority))
            if message:
                yield document.problem((*place, "ca_file"), message)


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


def unusable_authority(authority: Path) -> str | None:
    """Return why a file is no certificate authority, if it is none."""
    try:
        # Anything else would be waited for: a FIFO, for one.
        if not authority.is_file():
            return f"{authority} is not a file"
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=authority)
    except ssl.SSLError:
        return f"{authority} has no certificates in PEM format"
    except OSError as error:
        return f"{authority} cannot be read: {error.strerror}"
    return None
