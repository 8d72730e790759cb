"""What may be asked for in a query: declared once, read from requests, described in OpenAPI."""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from aiohttp import web

from monitor.adapters.web.history import ALL_RULES
from monitor.config.keys import Key
from monitor.config.types import matching, one_of
from monitor.core.filters import Filters
from monitor.core.snapshot import Health, Snapshot
from monitor.core.text import clean

_TEXT = Key(str, "text", {"type": "string"})
_LABEL = "label.NAME"  # one parameter for each name of a label
_LABELS = r"label\.[a-zA-Z_][a-zA-Z0-9_]*"


class Parameter(NamedTuple):
    """What OpenAPI says of a parameter; its text is read as that of a key of the config."""

    about: str
    key: Key = _TEXT
    repeated: bool = False


# As an object in OpenAPI, whose properties are parameters by themselves.
_OF_LABELS = {"type": "object", "patternProperties": {f"^{_LABELS}$": {"type": "string"}}}

FILTERS: Mapping[str, Parameter] = {
    "q": Parameter("only with this in the name, the id or the host; capitals or not"),
    "health": Parameter("only of this health; may be repeated", one_of(*Health), True),
    "environment": Parameter("only of this environment"),
    "rule": Parameter("only with an active alert of this rule", one_of(*ALL_RULES)),
    "host": Parameter("only on this SFTP host", matching(".+", "a host")),
    _LABEL: Parameter(
        "only with this label, such as label.team=retail", replace(_TEXT, schema=_OF_LABELS)
    ),
}
"""The parameters of `Filters`, those of labels as one."""


def read(name: str, value: str, key: Key) -> Any:
    """Return what a value means; raises HTTPBadRequest with what was expected."""
    try:
        # In a query `${` is nothing but text.
        return replace(key, expands=False).read(value)
    except ValueError:
        what = f"{name}: expected {key.expected}, got {clean(value, 64)!r}"
        raise web.HTTPBadRequest(text=what) from None


def read_query(
    known: Mapping[str, Parameter], request: web.Request, *, form: bool = False
) -> dict[str, Any]:
    """Return what is asked for, by parameter; raises HTTPBadRequest with what was expected.

    `form`: a browser sends the empty fields of a form, too, and those ask for nothing.
    """
    asked = dict[str, Any]()
    for name in dict.fromkeys(request.query):
        wanted = known.get(_LABEL if re.fullmatch(_LABELS, name) else name)
        if wanted is None:
            what = f"one of {', '.join(sorted(known))}" if known else "no parameter at all"
            raise web.HTTPBadRequest(text=f"expected {what}, got {clean(name, 64)!r}")
        values = [value for value in request.query.getall(name) if value or not form]
        if len(values) > 1 and not wanted.repeated:
            raise web.HTTPBadRequest(text=f"{name}: expected one value, got {len(values)}")
        found = [read(name, value, wanted.key) for value in values]
        if name.startswith("label.") and found:
            asked.setdefault("labels", {})[name.removeprefix("label.")] = found[0]
        elif found:
            asked[name] = found if wanted.repeated else found[0]
    return asked


def filters_of(snapshot: Snapshot, **asked: Any) -> Filters:
    """Return the filters that are asked for; raises HTTPBadRequest for an unknown environment."""
    if "environment" in asked:
        read("environment", asked["environment"], one_of(*snapshot.environments))
    return Filters(**asked)
