"""From annotated values to JSON, and to the JSON Schema that describes it.

The fields of a dataclass and their types are the only declaration: log line, JSON API and OpenAPI
all come of them, so they cannot differ. See `model` for the annotations.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, is_dataclass
from datetime import datetime
from enum import StrEnum
from functools import cache, partial
from inspect import getdoc
from types import NoneType, UnionType
from typing import (
    Annotated,
    Any,
    Final,
    Literal,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

from monitor.core.model import INSTANT, INTERNAL, LABELS, SENTENCE, TEXT
from monitor.core.text import clean, rfc3339

TEXT_LIMITS: Final = (256, 128, 64, 32, 16)
"""Characters of one text: the usual limit, and the smaller ones for what must fit somewhere."""

LABELS_LIMIT: Final = 1024
"""Bytes of labels as JSON."""

_SIMPLE = {str: "string", int: "integer", float: "number", bool: "boolean"}

Names = Mapping[type, tuple[str, str]]
"""Names and descriptions of classes whose own are not for users."""

_Writer = Callable[[Any, int], Any]
_Reader = Callable[[Any], Any]
_T = TypeVar("_T")


def to_json(value: Any, limit: int = TEXT_LIMITS[0]) -> Any:
    """Return a dataclass as `json` takes it, each text cut to `limit` characters."""
    kind: Any = type(value)
    return _writer(kind)(value, limit)


def from_json(cls: type[_T], value: Any) -> _T:
    """Return the dataclass that was written so, with texts as they were cut.

    Raises ValueError, KeyError, TypeError or AttributeError for anything else.
    """
    kind: Any = cls
    read: _T = _reader(kind)(value)
    return read


@cache
def shown_fields(cls: type) -> Mapping[str, Any]:
    """Return the types of a dataclass's fields by their names, but for internal ones."""
    hints = get_type_hints(cls, include_extras=True)
    return {name: kind for name, kind in hints.items() if _form(kind)[0] != INTERNAL}


def _form(kind: Any) -> tuple[Any, Any]:
    """Return how a type is made, and of what: by its annotation where it has one."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return arguments[1], arguments[0]
    if origin in (Union, UnionType):
        (inner,) = (one for one in arguments if one is not NoneType)
        return Union, inner
    if origin is Literal:
        return Literal, arguments
    if origin is not None:
        return (Mapping, arguments[1]) if issubclass(origin, Mapping) else (Sequence, arguments[0])
    if is_dataclass(kind):
        return dataclass, kind
    return (StrEnum if issubclass(kind, StrEnum) else type), kind


@cache
def _writer(kind: Any) -> _Writer:
    form, of = _form(kind)
    if form in _WRITERS:
        return _WRITERS[form]
    if form is dataclass:
        fields = {name: _writer(one) for name, one in shown_fields(kind).items()}
        return lambda value, limit: {
            name: write(getattr(value, name), limit) for name, write in fields.items()
        }
    write = _writer(of)
    if form is Union:
        return lambda value, limit: None if value is None else write(value, limit)
    if form is Mapping:
        return lambda value, limit: {name: write(one, limit) for name, one in value.items()}
    if form is Sequence:
        return lambda value, limit: [write(one, limit) for one in value]
    return write


def _labels(labels: Mapping[str, str], limit: int) -> dict[str, str]:
    for cut in [size for size in TEXT_LIMITS if size <= limit]:
        shown = {key: clean(value, cut) for key, value in labels.items()}
        if len(json.dumps(shown)) <= LABELS_LIMIT:
            return shown
    while len(json.dumps(shown)) > LABELS_LIMIT:
        shown.popitem()
    return shown


_WRITERS: Mapping[Any, _Writer] = {
    INSTANT: lambda at, _: rfc3339(at, milliseconds=True),
    TEXT: clean,
    SENTENCE: lambda text, limit: clean(text, 2 * limit),
    LABELS: _labels,
    StrEnum: lambda word, _: word.value,
    Literal: lambda word, _: word,
    type: lambda value, _: value,
}


@cache
def _reader(kind: Any) -> _Reader:
    form, of = _form(kind)
    if form == INSTANT:
        return lambda text: datetime.fromisoformat(text).timestamp()
    if form is dataclass:
        fields = {name: _reader(one) for name, one in shown_fields(kind).items()}
        return lambda value: kind(**{name: read(value[name]) for name, read in fields.items()})
    if form is Literal:
        return lambda value: of[of.index(value)]
    if form in (StrEnum, type):
        return kind if form is StrEnum else partial(_plain, kind)
    read = _reader(of)
    if form is Union:
        return lambda value: None if value is None else read(value)
    if form is Mapping:
        return lambda value: {name: read(one) for name, one in value.items()}
    if form is Sequence:
        return lambda value: [read(one) for one in value]
    return read


def _plain(kind: type, value: Any) -> Any:
    if not isinstance(value, (int, float) if kind is float else kind):
        raise TypeError(f"expected {kind.__name__}, got {type(value).__name__}")
    return value


class Schemas:
    """The JSON Schemas of dataclasses and enums, each a component that others refer to."""

    def __init__(self, prefix: str, names: Names) -> None:
        """Begin without any; references are `prefix` and the name of a component."""
        self._prefix, self._names = prefix, names
        self._components: dict[str, dict[str, Any]] = {}

    @property
    def components(self) -> dict[str, dict[str, Any]]:
        """The components by their names, in the order of these."""
        return dict(sorted(self._components.items()))

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
        name, about = self._names.get(kind, (kind.__name__, getdoc(kind)))
        if name not in self._components:
            component = self._components[name] = {"description": about}
            if issubclass(kind, StrEnum):
                component |= {"enum": [word.value for word in kind], "type": "string"}
            else:
                properties = {field: self.of(one) for field, one in shown_fields(kind).items()}
                required = list(properties)
                component |= {"properties": properties, "required": required, "type": "object"}
            component["title"] = name
        return {"$ref": self._prefix + name}
