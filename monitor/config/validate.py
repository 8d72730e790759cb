"""A parsed document → the section that it is, or every problem that its keys have."""

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from functools import cached_property
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from monitor.config.keys import CONFLICTS, REPORTED, Context, Section
from monitor.config.problems import Place, Problem
from monitor.config.scalars import Text, describe, no_space
from monitor.config.yaml import Document
from monitor.core.environment_rules import ENVIRONMENT_RULES

S = TypeVar("S", bound=Section)

_STRUCTURES = {
    "model_type": "keys and values",
    "model_attributes_type": "keys and values",
    "dict_type": "keys and values",
    "tuple_type": "a list",
}

_SILENT = {REPORTED, "default_factory_not_called"}
"""Errors of pydantic that follow from others."""


def validate(
    section: type[S], document: Document, context: Context, key: str | None = None
) -> tuple[S | None, list[Problem]]:
    """Return the document, or what is behind a key of it, as such a section.

    None where there is anything wrong with it, and what that is.
    """
    value, place = (document.value, ()) if key is None else (document.value[key], (key,))
    try:
        return section.model_validate(value, context=context), []
    except ValidationError as error:
        details = error.errors(include_url=False)
        return None, list(_Reader(section, document, place).problems(details))


class _Reader:
    """What pydantic says in our words."""

    def __init__(self, section: type[Section], document: Document, place: Place) -> None:
        self._section = section
        self._document = document
        self._place = place

    def problems(self, details: list[ErrorDetails]) -> Iterator[Problem]:
        for detail in details:
            # pydantic adds this part where a key itself is wrong, such as a label's name.
            place = tuple(part for part in detail["loc"] if part != "[key]")
            secret = detail.get("ctx", {}).get("exposed_secret", False)
            for where, message in self._messages(detail, place):
                at = (*self._place, *where)
                yield self._document.problem(at, message, exposed_secret=secret)

    def _messages(self, detail: ErrorDetails, place: Place) -> Iterator[tuple[Place, str]]:
        """Yield the places and messages that one error of pydantic stands for."""
        kind, context, found = detail["type"], detail.get("ctx", {}), detail["input"]
        if kind in _SILENT or (isinstance(found, Text) and found.broken):
            return
        if kind == CONFLICTS:
            for key, message in context["found"]:
                yield (*place, *key), message
        elif kind == "missing":
            yield place, "expected this key, which is required"
        elif kind == "too_short":
            # Items that are wrong are none to pydantic, and were reported.
            if not found:
                yield place, "expected at least one item"
        elif kind == "extra_forbidden":
            yield place, self._unknown(place)
        elif kind in _STRUCTURES:
            yield place, f"expected {_STRUCTURES[kind]}, found {describe(found)}"
        else:
            # The message of pydantic is ours with `Value error, ` before it.
            yield place, str(context.get("error", detail["msg"]))

    def _unknown(self, place: Place) -> str:
        *around, last = place
        if last in ENVIRONMENT_RULES and "rules" in around:
            return f"{last} is about a whole environment: set it in rules or environments[].rules"
        if blank := no_space(str(last)):
            return f"unknown key; {blank} in it is no space"
        known = list(self._at(tuple(around))["properties"])
        if similar := get_close_matches(str(last), known, n=1):
            return f"unknown key; did you mean {similar[0]}?"
        return f"unknown key; expected one of {', '.join(known)}"

    @cached_property
    def _schema(self) -> Mapping[str, Any]:
        return self._section.model_json_schema()

    def _at(self, place: Place) -> Mapping[str, Any]:
        """Return the part of the file's JSON Schema at a place; of several ways, the mapping."""
        found = self._schema
        for part in place:
            found = found["items"] if isinstance(part, int) else found["properties"][part]
            ways = (found, *found.get("anyOf", ()))
            for name in (way["$ref"].removeprefix("#/$defs/") for way in ways if "$ref" in way):
                found = self._schema["$defs"][name]
        return found
