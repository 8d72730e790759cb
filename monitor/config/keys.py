"""How a key of the file is declared, once: type, default, help, checks, and how it is shown.

A `Key` reads a scalar, says what it expects, and shows it again. Whatever it needs beside the text,
such as the folder that relative paths start at, comes as the `Context` of pydantic's validation.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    ValidationInfo,
    model_validator,
)
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from monitor.config.scalars import Text, describe

REPORTED = "reported"
"""The type of a pydantic error about text that the parser has complained about already."""

CONFLICTS = "conflicts"
"""The type of a pydantic error that stands for several: what `Section.conflicts` found."""

Conflict = tuple[tuple[str | int, ...], str]
"""A place in a section, and what is wrong there."""

_INTEGER = re.compile(r"[-+]?[0-9]{1,18}")


@dataclass(frozen=True, slots=True)
class Context:
    """Where the file is, and the environment variables that it is read with."""

    folder: Path
    environ: Mapping[str, str]


def literal(value: object) -> str:
    """Return a value as the file has to have it, so that nothing in it is expanded."""
    return str(value).replace("${", "$${")


def unusable(why: str, *, exposed_secret: bool = False) -> PydanticCustomError:
    """Return the error for a key that is right, and names what cannot be used."""
    about = {"error": why, "exposed_secret": exposed_secret}
    return PydanticCustomError("unusable", "cannot be used", about)


# Compared by identity: typing hashes what is in Annotated, and `schema` has no hash.
@dataclass(frozen=True, eq=False)
class Key:
    """The type of a key.

    `parse` reads its text (ValueError may say what is wrong), `expected` says what it takes,
    `schema` is for editors, `show` gives what `config show` has. Where a key does not expand,
    `parse` reads what is written in the file; what is `secret` is never repeated in a message. With
    `in_context`, `parse` is given the Context as well; `otherwise` gives the value where the file
    has none.
    """

    parse: Callable[..., Any]
    expected: str
    schema: dict[str, Any]
    show: Callable[[Any], Any] = literal
    expands: bool = True
    secret: bool = False
    in_context: bool = False
    otherwise: Callable[[Context], Any] | None = None

    def read(self, value: object, context: Context | None = None) -> Any:
        """Return the value that a scalar of the file means; ValueError says what was expected."""
        if isinstance(value, Text) and value.broken:
            raise PydanticCustomError(REPORTED, "was reported")
        if value is None and self.otherwise is not None and context is not None:
            return self.otherwise(context)
        found = "" if self.secret else f", found {describe(value)}"
        try:
            text = self._text(value)
            return self.parse(text, context) if self.in_context else self.parse(text)
        except PydanticCustomError:
            raise
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
        def validate(value: object, info: ValidationInfo) -> object:
            return self.read(value, info.context)

        # Plain, since pydantic reads for itself what YAML 1.2 does not: `yes` as true, for one.
        return core_schema.with_info_plain_validator_function(
            validate, serialization=core_schema.plain_serializer_function_ser_schema(self.show)
        )

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        # A copy, into which pydantic puts title and default.
        if not self.expands or self.schema == {"type": "string"}:
            return dict(self.schema)
        nothing = [] if self.otherwise is None else [{"type": "null"}]
        return {"anyOf": [dict(self.schema), {"type": "string", "pattern": r"\$\{"}, *nothing]}


def key(default: Any, about: str) -> Any:
    """Declare a key of the file: its default, written as in the file, and its help text."""
    # pydantic does not validate defaults by itself: text would stand where seconds belong.
    return Field(default, description=about, validate_default=True)


def computed(default: Callable[[dict[str, Any]], Any], shown: Any, about: str) -> Any:
    """Declare a key whose default is a value made of the keys before it; editors see `shown`."""
    return Field(default_factory=default, description=about, json_schema_extra={"default": shown})


def required(about: str, *, secret: bool = False) -> Any:
    """Declare a key of the file that must be there; a `secret` one is not in any `repr`."""
    return Field(description=about, repr=not secret)


class Section(BaseModel):
    """A mapping of the file: frozen, and without keys that nobody knows.

    A section without a value (`rules:` and nothing more) is as if it were left out.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    def conflicts(self) -> Iterator[Conflict]:
        """Yield what is wrong between keys that are right by themselves: place in it, message."""
        return iter(())

    @model_validator(mode="before")
    @classmethod
    def _nothing_is_empty(cls, value: object) -> object:
        return {} if value is None else value

    @model_validator(mode="after")
    def _no_conflicts(self) -> Self:
        if found := tuple(self.conflicts()):
            raise PydanticCustomError(CONFLICTS, "keys contradict each other", {"found": found})
        return self


@dataclass(frozen=True, eq=False)
class ReadBy:
    """The type of a key that a Section reads, and that is kept as plain values.

    `section` is asked each time that the schema is made, `keep` takes what was read, `show` gives
    back what the file has.
    """

    section: Callable[[], type[Section]]
    keep: Callable[[Any], Any]
    show: Callable[[Any], Any]

    def __get_pydantic_core_schema__(
        self, source: object, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_after_validator_function(
            self.keep,
            handler.generate_schema(self.section()),
            serialization=core_schema.plain_serializer_function_ser_schema(self.show),
        )


def one_of(*words: str) -> Key:
    """Return the type of a key that takes one of a few words, or members of an enumeration."""
    known = {str(word): word for word in words}

    def parse(text: str) -> str:
        """Return the word; ValueError for any other."""
        if text not in known:
            raise ValueError
        return known[text]

    return Key(parse, f"one of {', '.join(known)}", {"enum": list(known)}, show=str)


def matching(pattern: str, expected: str, **more: Any) -> Key:
    """Return the type of a key whose whole text matches a pattern."""
    compiled = re.compile(pattern)

    def parse(text: str) -> str:
        """Return text that matches as a whole; ValueError for any other."""
        if not compiled.fullmatch(text):
            raise ValueError
        return text

    return Key(parse, expected, {"type": "string", "pattern": f"^({pattern})$"}, **more)


def whole_number(least: int, most: int) -> Key:
    """Return the type of a key that takes a whole number in this range."""

    def parse(text: str) -> int:
        """Return the number; ValueError for none, and out of range."""
        if not _INTEGER.fullmatch(text) or not least <= int(text) <= most:
            raise ValueError
        return int(text)

    expected = f"a whole number from {least:,} to {most:,}"
    schema = {"type": "integer", "minimum": least, "maximum": most}
    return Key(parse, expected, schema, show=int)
