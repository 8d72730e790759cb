"""From annotated values to JSON and back, and to the JSON Schema that describes it.

A dataclass's fields and types (see `core.model`) are the only declaration of what the log, the JSON
API and OpenAPI have; an alert event is an `EventRecord` in each of them.
"""

import json
import re
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, is_dataclass
from datetime import datetime
from enum import StrEnum
from functools import cache
from inspect import getdoc
from operator import getitem
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Literal, TypeVar, Union

from monitor.core.model import (
    INSTANT,
    INTERNAL,
    SENTENCE,
    TEXT,
    Event,
    EventKind,
    EventStatus,
    Instant,
    Labels,
    Sentence,
    Severity,
    Text,
)
from monitor.core.text import THE_MONITOR, clean, rfc3339

TEXT_LIMITS: Final = (256, 128, 64, 32, 16)
"""Characters of one text: the usual limit, and the smaller ones for what must fit somewhere."""

LINE_LIMIT: Final = 4096
"""Bytes of an event's line: what a pipe takes whole, and every log pipeline too."""

_SIMPLE = {str: "string", int: "integer", float: "number", bool: "boolean"}

_Convert = Callable[[Any, int], Any]
_T = TypeVar("_T")


def to_json(value: Any, limit: int = TEXT_LIMITS[0]) -> Any:
    """Return a dataclass as `json` takes it, each text cut to `limit` characters."""
    kind: Any = type(value)
    return _converter(kind, reading=False)(value, limit)


def from_json(cls: type[_T], value: Any) -> _T:
    """Return the dataclass that was written so, with texts as they were cut.

    Raises ValueError, KeyError, TypeError or AttributeError for anything else.
    """
    read: _T = _converter(typing.cast(Any, cls), reading=True)(value, 0)
    return read


@cache
def shown_fields(cls: type) -> Mapping[str, Any]:
    """Return the types of a dataclass's fields by their names, but for internal ones."""
    hints = typing.get_type_hints(cls, include_extras=True)
    return {name: kind for name, kind in hints.items() if _form(kind)[0] != INTERNAL}


def _form(kind: Any) -> tuple[Any, Any]:
    """Return how a type is made, and of what: by its annotation where it has one."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is Annotated:
        return arguments[1], arguments[0]
    if origin in (Union, UnionType):
        (inner,) = (one for one in arguments if one is not NoneType)
        return Union, inner
    if origin is Literal:
        return Literal, arguments
    if origin is not None:
        if issubclass(origin, Mapping):
            return Mapping, arguments[-1]
        return Sequence, arguments[0]  # a tuple's are alike
    if is_dataclass(kind) or hasattr(kind, "_fields"):  # a NamedTuple
        return dataclass, kind
    return (StrEnum if issubclass(kind, StrEnum) else type), kind


@cache
def converters(cls: type, *, reading: bool) -> Mapping[str, _Convert]:
    """Return what converts each field of a dataclass; it takes the limit of texts, too."""
    return {name: _converter(kind, reading=reading) for name, kind in shown_fields(cls).items()}


@cache
def _converter(kind: Any, *, reading: bool) -> _Convert:
    form, of = _form(kind)
    if form is dataclass:
        shown, get = shown_fields(of), getitem if reading else getattr
        known = converters(of, reading=reading).items()
        changed = [each for each in known if each[1] is not _as_it_is]

        def convert_fields(value: Any, limit: int) -> Any:
            """Convert the fields one by one."""
            found = {name: get(value, name) for name in shown}
            for name, convert in changed:
                found[name] = convert(found[name], limit)
            return of(**found) if reading else found

        return convert_fields
    whole = _readers(of) if reading else _WRITERS
    if form in whole:
        return whole[form]
    convert = _converter(of, reading=reading)
    if form is Union and convert is not _as_it_is:
        return lambda value, limit: None if value is None else convert(value, limit)
    if form is Mapping:
        return lambda value, limit: {name: convert(one, limit) for name, one in value.items()}
    if form is Sequence:
        return lambda value, limit: [convert(one, limit) for one in value]
    return convert


def _as_it_is(value: Any, _: int) -> Any:
    return value


_WRITERS: Mapping[Any, _Convert] = {
    INSTANT: lambda at, _: rfc3339(at, milliseconds=True),
    TEXT: clean,
    SENTENCE: lambda text, limit: clean(text, 2 * limit),
    StrEnum: lambda word, _: word.value,
    Literal: _as_it_is,
    type: _as_it_is,
}


def _readers(of: Any) -> Mapping[Any, _Convert]:
    def plain(value: Any, _: int) -> Any:
        """Return the value as it is, if it is of this type."""
        if not isinstance(value, (int, float) if of is float else of):
            raise TypeError(f"expected {of.__name__}, got {type(value).__name__}")
        return value

    return {
        INSTANT: lambda text, _: datetime.fromisoformat(text).timestamp(),
        StrEnum: lambda word, _: of(word),
        Literal: lambda word, _: of[of.index(word)],
        type: plain,
    }


def quoted(text: str) -> str:
    """Return text in quotes, unless it is one word that passes for nothing around it."""
    return text if re.fullmatch(r"[^\s\"=()<>]+", text) else json.dumps(text, ensure_ascii=False)


class Schemas:
    """The JSON Schemas of dataclasses and enums, each a component that others refer to."""

    def __init__(self, prefix: str, names: Mapping[type, str]) -> None:
        """Begin without `components`, to which references are `prefix` and the name of one.

        `names` has names of classes whose own are not for users; their docstrings are.
        """
        self.components: dict[str, dict[str, Any]] = {}
        self._prefix, self._names = prefix, names

    def of(self, kind: Any) -> dict[str, Any]:
        """Return the schema of a type, and keep the components that it refers to."""
        form, of = _form(kind)
        if form == INSTANT:
            return {"format": "date-time", "type": "string"}
        if form is Union:
            return {"anyOf": [self.of(of), {"type": "null"}]}
        if form is Literal:
            return {**({"const": of[0]} if len(of) == 1 else {"enum": list(of)}), "type": "string"}
        if form is Mapping:
            return {"additionalProperties": self.of(of), "type": "object"}
        if form is Sequence:
            return {"items": self.of(of), "type": "array"}
        if form is type:
            return {"type": _SIMPLE[kind]}
        return self._named(kind) if form in (dataclass, StrEnum) else self.of(of)

    def _named(self, kind: Any) -> dict[str, Any]:
        name = self._names.get(kind, kind.__name__)
        if name not in self.components:
            component: dict[str, Any] = {"description": getdoc(kind)}
            self.components[name] = component
            if issubclass(kind, StrEnum):
                component |= {"enum": [word.value for word in kind], "type": "string"}
            else:
                properties = {field: self.of(one) for field, one in shown_fields(kind).items()}
                required = list(properties)
                component |= {"properties": properties, "required": required, "type": "object"}
            component["title"] = name
        return {"$ref": self._prefix + name}


@dataclass(frozen=True, slots=True)
class Links:
    """Where people are sent: `runbook_url` has `{rule}` in it, `external_url` is our own.

    `campaign_url` is where TalkOver shows a campaign; empty: nobody said where.
    """

    runbook_url: str
    external_url: str | None = None
    campaign_url: str = ""

    # Not format(): a URL may have other braces in it.
    def runbook(self, rule: str) -> str:
        """Return where the runbook of a rule is."""
        return self.runbook_url.replace("{rule}", rule)

    def campaign(self, environment: str, campaign_id: str) -> str:
        """Return where TalkOver shows a campaign; empty: nobody said where."""
        url = self.campaign_url.replace("{environment}", environment)
        return url.replace("{campaign_id}", campaign_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class EventRecord:
    """One alert event, as in the log. event_id is the key to deduplicate by, summary its title."""

    # A field by the name of one of `Event` is that one; `record_of` makes the others.
    timestamp: Instant
    level: Literal["critical", "warning", "info"]
    event: EventKind
    status: EventStatus
    event_id: str
    fingerprint: str
    epoch: str
    seq: int
    rule: str
    severity: Severity
    previous_severity: Severity | None
    environment: str
    campaign_id: str | None
    campaign_name: Text
    labels: Labels
    sftp_host: Text
    import_schedule: Text
    summary: Sentence
    since: Instant | None
    observed_at: Instant
    last_passed_at: Instant | None
    evidence: Mapping[str, Text]
    next_step: Sentence
    runbook_url: str
    url: str | None
    impact: Sentence | None
    impact_at: Instant | None
    reason: str | None
    muted_by: str | None
    initial: bool
    redelivery: bool
    durable: bool


EVENT_FIELDS: Final = tuple(shown_fields(EventRecord))
"""The names of the fields of an event's log line, in their order."""

_SAME = tuple(name for name in EVENT_FIELDS if hasattr(Event, name))


def where_of(about: Event | EventRecord) -> str:
    """Return what an event is about, as titles say it: of a campaign its name, else its id."""
    who = clean(about.campaign_name, 64) or about.campaign_id
    return f"{about.environment}/{who}" if who else about.environment or THE_MONITOR


def record_of(event: Event, links: Links) -> EventRecord:
    """Return the event as it is shown: the summary of an alert says whose it is."""
    url = None
    if links.external_url is not None and event.campaign_id is not None:
        campaigns = f"{links.external_url.rstrip('/')}/campaigns"
        url = f"{campaigns}/{event.environment}/{event.campaign_id}"
    same = {name: getattr(event, name) for name in _SAME}
    if event.kind is EventKind.ALERT:
        same["summary"] = f"{where_of(event)}: {event.summary}"
    return EventRecord(
        **same,
        timestamp=event.decided_at,
        level="info" if event.status is EventStatus.RESOLVED else event.severity.value,
        event=event.kind,
        runbook_url=links.runbook(event.rule) if event.kind is EventKind.ALERT else "",
        url=url,
    )


def event_line(event: Event, links: Links) -> bytes:
    """Return the event as one JSON line, ASCII-escaped, at most 4,096 bytes, newline included."""
    record = record_of(event, links)
    for limit in TEXT_LIMITS:
        line = json.dumps(to_json(record, limit)).encode("ascii") + b"\n"
        if len(line) <= LINE_LIMIT:
            break
    return line
