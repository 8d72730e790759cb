"""How a key of the file reads its scalar: one `Key` annotation for values, messages and editors."""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

from pydantic import Field, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from monitor.config.durations import parse_duration
from monitor.config.scalars import Text, describe

REPORTED = "reported"
"""The type of a pydantic error about text that the parser has complained about already."""

W = TypeVar("W", bound=StrEnum)

_INTEGER = re.compile(r"[-+]?[0-9]{1,18}")
_NUMBER = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]{1,2})?")
_EXPANSION = {"type": "string", "pattern": r"\$\{"}


# Compared by identity: typing hashes what is in Annotated, and `schema` has no hash.
@dataclass(frozen=True, eq=False)
class Key:
    """The type of a key.

    `parse` reads its text (ValueError may say what is wrong), `expected` says what it takes,
    `schema` tells editors. Where a key does not expand, `parse` reads what is written in the file;
    what is `secret` is never repeated in a message.
    """

    parse: Callable[[str], object]
    expected: str
    schema: dict[str, Any]
    expands: bool = True
    secret: bool = False

    def read(self, value: object) -> object:
        """Return the value that a scalar of the file means; ValueError says what was expected."""
        if isinstance(value, Text) and value.broken:
            raise PydanticCustomError(REPORTED, "was reported")
        found = "" if self.secret else f", found {describe(value)}"
        try:
            return self.parse(self._text(value))
        except ValueError as error:
            why = str(error) or f"expected {self.expected}"
            raise ValueError(f"{why}{found}") from None

    def _text(self, value: object) -> str:
        """Return what is to be parsed; ValueError for a value that is no scalar."""
        if isinstance(value, Text) and not self.expands:
            return value.written
        # A default is a value of Python's; all that comes from the file is text.
        if isinstance(value, bool):
            return str(value).lower()
        if isinstance(value, str | int | float):
            return str(value)
        raise ValueError

    def __get_pydantic_core_schema__(
        self, source: object, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        # Plain, since pydantic reads for itself what YAML 1.2 does not: `yes` as true, for one.
        return core_schema.no_info_plain_validator_function(self.read)

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        if not self.expands or self.schema == {"type": "string"}:
            return self.schema
        return {"anyOf": [self.schema, _EXPANSION]}


def key(default: Any, about: str) -> Any:
    """Declare a key of the file: its default, written as in the file, and its help text."""
    # pydantic does not validate defaults by itself: text would stand where seconds belong.
    return Field(default, description=about, validate_default=True)


def required(about: str) -> Any:
    """Declare a key of the file that must be there."""
    return Field(description=about)


def word_of(words: type[W]) -> Callable[[str], W]:
    """Return the reader of one of a few words."""

    def parse(text: str) -> W:
        """Return the word; ValueError names those there are."""
        if text not in set(words):
            raise ValueError(f"expected one of {', '.join(words)}")
        return words(text)

    return parse


def one_of(words: type[StrEnum]) -> Key:
    """Return the type of a key that takes one of a few words."""
    return Key(word_of(words), f"one of {', '.join(words)}", {"enum": [str(w) for w in words]})


def matching(pattern: str, expected: str) -> Key:
    """Return the type of a key whose whole text matches a pattern."""
    compiled = re.compile(pattern)

    def parse(text: str) -> str:
        """Return text that matches as a whole; ValueError for any other."""
        if not compiled.fullmatch(text):
            raise ValueError
        return text

    return Key(parse, expected, {"type": "string", "pattern": f"^({pattern})$"})


def whole_number(least: int, most: int) -> Key:
    """Return the type of a key that takes a whole number in this range."""

    def parse(text: str) -> int:
        """Return the number; ValueError for none, and out of range."""
        if not _INTEGER.fullmatch(text) or not least <= int(text) <= most:
            raise ValueError
        return int(text)

    expected = f"a whole number from {least:,} to {most:,}"
    return Key(parse, expected, {"type": "integer", "minimum": least, "maximum": most})


def true_or_false(text: str) -> bool:
    """Return what `true` or `false` means, in any case that YAML 1.2 has for them."""
    if text not in {"true", "True", "TRUE", "false", "False", "FALSE"}:
        raise ValueError
    return text.lower() == "true"


def number(text: str) -> float:
    """Return a finite number."""
    if not _NUMBER.fullmatch(text):
        raise ValueError
    value = float(text)
    # Digits enough are infinity, too.
    if not math.isfinite(value):
        raise ValueError
    return value


def share(text: str) -> float:
    """Return a number above 0 and at most 1."""
    part = number(text)
    if not 0 < part <= 1:
        raise ValueError
    return part


def positive_duration(text: str) -> float:
    """Return the seconds of a duration that is not 0."""
    seconds = parse_duration(text)
    if seconds == 0:
        raise ValueError("expected a duration longer than 0")
    return seconds


def expression(text: str) -> str:
    """Return a regular expression that compiles."""
    try:
        re.compile(text)
    # A count such as a{99999999999} overflows, thousands of brackets recurse.
    except (re.error, OverflowError, RecursionError):
        raise ValueError("expected a regular expression") from None
    return text


def path(text: str) -> Path:
    """Return a path that is not empty."""
    if not text:
        raise ValueError
    return Path(text)
