"""How a key of the file is declared, once: type, default, help, checks, and how it is shown."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self
from unicodedata import category

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from monitor.config.document import Document, Place, describe

# A place in a section, and what is wrong there.
Conflict = tuple[Place, str]
# What is behind ${ is optional, so that a mistake in it is reported and not taken for text.
# A dollar before it makes it text: $${.
_REFERENCES = re.compile(r"\$\$\{|\$\{(?:([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\})?")


class Expanded(str):
    """Text with what `${VAR}` stood for in it: used like any other, shown as it is `written`."""

    written: str


def literal(value: object) -> object:
    """Return a value as the file has to have it, so that nothing in it is expanded."""
    if isinstance(value, Expanded):
        return value.written
    return value if isinstance(value, bool | int | float) else str(value).replace("${", "$${")


def expand(written: str, environ: Mapping[str, str]) -> str:
    """Return text with `${VAR}` and `${VAR:-default}` expanded once, and `$${` as a plain `${`."""
    if "$" not in written and written.isprintable():
        return written  # nearly all that there is
    unset = []

    def value_of(match: re.Match[str]) -> str:
        """Return what stands for one `$`."""
        name, default = match[1], match[2]
        if match[0] == "$${":
            return "${"
        if name is None:
            raise ValueError("expected ${VAR} or ${VAR:-default} after the ${")
        if default is None and name not in environ:
            unset.append(name)
        return environ.get(name, "") or default or ""

    value = _REFERENCES.sub(value_of, written)
    if unset:
        names = " and ".join(dict.fromkeys(unset))
        raise ValueError(f"the environment variable {names} is not set, and there is no default")
    # What is printable has none of them, and is nearly all that there is.
    if not value.isprintable() and any(category(one) in {"Cc", "Cs"} for one in value):
        raise ValueError("expected text without line breaks, control characters and surrogates")
    return value


# Compared by identity: typing hashes what is in Annotated, and `schema` has no hash.
@dataclass(frozen=True, eq=False)
class Key:
    """The type of a key: how its scalar is read, what it takes, and how it is shown."""

    parse: Callable[[str], Any]  # ValueError may say what is wrong
    expected: str
    schema: dict[str, Any]  # for editors
    show: Callable[[Any], Any] = literal
    pattern: str = "(?s).*"  # that of the whole text
    fits: Callable[[Any], bool] = lambda _: True
    expands: bool = True
    secret: bool = False  # in no message

    def read(self, value: object, document: Document | None = None) -> Any:
        """Return the value that a scalar of the file means; ValueError says what was expected."""
        why = ""
        if isinstance(value, (str, int, float)):
            # A default is a value of Python's; all that comes from the file is text.
            text = str(value).lower() if isinstance(value, bool) else str(value)
            if self.expands:
                text = expand(text, document.environ if document else {})
            try:
                if self._takes(text) and self.fits(meaning := self.parse(text)):
                    if self.expands and type(meaning) is str and "${" in str(value):
                        meaning = Expanded(meaning)
                        meaning.written = str(value)
                    return meaning
            except ValueError as error:
                why = str(error)
        why = why or f"expected {self.expected}"
        raise ValueError(why if self.secret else f"{why}, found {describe(value)}")

    @cached_property
    def _takes(self) -> Callable[[str], object]:
        return re.compile(self.pattern).fullmatch

    def __get_pydantic_core_schema__(self, source: object, handler: object) -> CoreSchema:
        # Plain, since pydantic reads for itself what YAML 1.2 does not: `yes` as true, for one.
        return core_schema.with_info_plain_validator_function(
            lambda value, info: self.read(value, info.context),
            serialization=core_schema.plain_serializer_function_ser_schema(self.show),
        )

    def __get_pydantic_json_schema__(self, schema: object, handler: object) -> dict[str, Any]:
        # A copy, into which pydantic puts title and default.
        if not self.expands or self.schema == {"type": "string"}:
            return dict(self.schema)
        return {"anyOf": [dict(self.schema), {"type": "string", "pattern": r"\$\{"}]}


def key(default: Any, about: str, **more: Any) -> Any:
    """Declare a key of the file: its default, written as in the file (...: none), and its help."""
    # pydantic does not validate defaults by itself: text would stand where seconds belong.
    return Field(default, description=about, **{"validate_default": True, **more})


def made(make: Callable[..., Any], shown: Any, about: str) -> Any:
    """Declare a key whose default is made, maybe of the keys before it; editors get `shown`."""
    return Field(default_factory=make, description=about, json_schema_extra={"default": shown})


class Section(BaseModel):
    """A mapping of the file: frozen, without keys that nobody knows; nothing is an empty one."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    def _conflicts(self) -> Iterator[Conflict]:
        """Yield what is wrong between keys that are right by themselves: place in it, message."""
        return iter(())

    @model_validator(mode="before")
    @classmethod
    def _nothing_is_empty(cls, value: object) -> object:
        return {} if value is None else value

    @model_validator(mode="after")
    def _no_conflicts(self) -> Self:
        if found := tuple(self._conflicts()):
            raise PydanticCustomError("conflicts", "keys contradict each other", {"found": found})
        return self


class Layer(Section):
    """A section that stands over others of its kind: what is set in it beats what is set there."""

    def __eq__(self, other: object) -> bool:
        # A default that is written out beats other layers, too.
        alike = isinstance(other, Layer) and self.model_fields_set == other.model_fields_set
        return alike and super().__eq__(other)

    __hash__ = None  # type: ignore[assignment]

    def under(self, *layers: "Layer") -> Self:
        """Return this with layers over it, field by field; a later one beats an earlier one."""
        merged = self
        for layer in layers:
            found = {name: getattr(layer, name) for name in layer.model_fields_set}
            for name, value in found.items():
                if isinstance(value, Layer):
                    found[name] = getattr(merged, name).under(value)
            merged = merged.model_copy(update=found)
        return merged

    def written(self) -> dict[str, Any]:
        """Return what is set in it, as the file has it, such as `for: 5m`."""
        return self.model_dump(by_alias=True, exclude_unset=True)
