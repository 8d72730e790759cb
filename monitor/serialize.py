"""From annotated values to JSON, and to the JSON Schema that describes it.

The fields of a dataclass and their types are the only declaration: log line, JSON API and OpenAPI
all come of them, so they cannot differ. See `model` for the annotations.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import is_dataclass
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

from monitor.core.model import INSTANT
from monitor.core.shown import INTERNAL, LABELS, SENTENCE, TEXT
from monitor.core.text import clean, rfc3339

TEXT_LIMITS: Final = (256, 128, 64, 32, 16)
"""Characters of one text: the usual limit, and the smaller ones for what must fit somewhere."""

LABELS_LIMIT: Final = 1024
"""Bytes of labels as JSON."""

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
    return {name: kind for name, kind in hints.items() if _mark(kind) != INTERNAL}


@cache
def _writer(kind: Any) -> _Writer:
    mark, origin, arguments = _mark(kind), get_origin(kind), get_args(kind)
    if mark is not None:
        return _WRITERS.get(mark) or _writer(arguments[0])
    if _is_dataclass(kind):
        fields = {name: _writer(one) for name, one in shown_fields(kind).items()}
        return lambda value, limit: {
            name: write(getattr(value, name), limit) for name, write in fields.items()
        }
    if origin in (Union, UnionType):
        write = _writer(_not_none(arguments))
        return lambda value, limit: None if value is None else write(value, limit)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        write = _writer(arguments[1])
        return lambda value, limit: {name: write(one, limit) for name, one in value.items()}
    if isinstance(origin, type) and issubclass(origin, Sequence):
        write = _writer(arguments[0])
        return lambda value, limit: [write(one, limit) for one in value]
    return _value if _is_enum(kind) else _as_it_is


def _as_it_is(value: Any, _limit: int) -> Any:
    return value


def _value(word: StrEnum, _limit: int) -> str:
    return word.value


def _labels(labels: Mapping[str, str], limit: int) -> dict[str, str]:
    for cut in [size for size in TEXT_LIMITS if size <= limit]:
        shown = {key: clean(value, cut) for key, value in labels.items()}
        if len(json.dumps(shown)) <= LABELS_LIMIT:
            return shown
    while len(json.dumps(shown)) > LABELS_LIMIT:
        shown.popitem()
    return shown


_WRITERS: Mapping[str, _Writer] = {
    INSTANT: lambda at, _: rfc3339(at, milliseconds=True),
    TEXT: clean,
    SENTENCE: lambda text, limit: clean(text, 2 * limit),
    LABELS: _labels,
}


@cache
def _reader(kind: Any) -> _Reader:
    mark, origin, arguments = _mark(kind), get_origin(kind), get_args(kind)
    if mark == INSTANT:
        return lambda text: datetime.fromisoformat(text).timestamp()
    if mark is not None:
        return _reader(arguments[0])
    if _is_dataclass(kind):
        fields = {name: _reader(one) for name, one in shown_fields(kind).items()}
        return lambda value: kind(**{name: read(value[name]) for name, read in fields.items()})
    if origin in (Union, UnionType):
        read = _reader(_not_none(arguments))
        return lambda value: None if value is None else read(value)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        read = _reader(arguments[1])
        return lambda value: {name: read(one) for name, one in value.items()}
    if isinstance(origin, type) and issubclass(origin, Sequence):
        read = _reader(arguments[0])
        return lambda value: [read(one) for one in value]
    if origin is Literal:
        return lambda value: arguments[arguments.index(value)]
    return kind if _is_enum(kind) else partial(_plain, kind)


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
        mark, origin, arguments = _mark(kind), get_origin(kind), get_args(kind)
        if mark == INSTANT:
            return {"format": "date-time", "type": "string"}
        if mark is not None:
            return self.of(arguments[0])
        if origin in (Union, UnionType):
            return {"anyOf": [self.of(_not_none(arguments)), {"type": "null"}]}
        if origin is Literal:
            words = {"const": arguments[0]} if len(arguments) == 1 else {"enum": list(arguments)}
            return {**words, "type": "string"}
        if isinstance(origin, type) and issubclass(origin, Mapping):
            return {"additionalProperties": self.of(arguments[1]), "type": "object"}
        if isinstance(origin, type) and issubclass(origin, Sequence):
            return {"items": self.of(arguments[0]), "type": "array"}
        return self._named(kind)

    def _named(self, kind: type) -> dict[str, Any]:
        simple = {str: "string", int: "integer", float: "number", bool: "boolean"}
        if kind in simple:
            return {"type": simple[kind]}
        name, about = self._names.get(kind, (kind.__name__, getdoc(kind)))
        if name not in self._components:
            component = self._components[name] = {"description": about}
            component.update(self._enum(kind) if _is_enum(kind) else self._object(kind))
            component["title"] = name
        return {"$ref": self._prefix + name}

    def _enum(self, kind: type[StrEnum]) -> dict[str, Any]:
        return {"enum": [word.value for word in kind], "type": "string"}

    def _object(self, kind: type) -> dict[str, Any]:
        properties = {name: self.of(one) for name, one in shown_fields(kind).items()}
        return {"properties": properties, "required": list(properties), "type": "object"}


def _is_dataclass(kind: Any) -> bool:
    return isinstance(kind, type) and is_dataclass(kind)


def _is_enum(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, StrEnum)


def _mark(kind: Any) -> Any:
    """Return the annotation of an annotated type, or None."""
    return get_args(kind)[1] if get_origin(kind) is Annotated else None


def _not_none(arguments: tuple[Any, ...]) -> Any:
    (kind,) = (one for one in arguments if one is not NoneType)
    return kind
