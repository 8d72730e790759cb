"""A parsed document → the file's model, or every problem that its keys have."""

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from monitor.config.keys import REPORTED
from monitor.config.problems import Place, Problem
from monitor.config.scalars import Text, describe
from monitor.config.schema import AnyFile, file_model
from monitor.config.section import CONFLICTS, Section
from monitor.config.yaml import Document
from monitor.core.environment_rules import ENVIRONMENT_RULES

S = TypeVar("S", bound=Section)

_STRUCTURES = {
    "model_type": "keys and values",
    "model_attributes_type": "keys and values",
    "dict_type": "keys and values",
    "list_type": "a list",
}


def validate(document: Document) -> tuple[AnyFile | None, list[Problem]]:
    """Return the config file's model, or None and what is wrong with its keys."""
    return validate_as(file_model(), document)


def validate_as(model: type[S], document: Document) -> tuple[S | None, list[Problem]]:
    """Return the document as such a section, or None and what is wrong with its keys."""
    try:
        return model.model_validate(document.value), []
    except ValidationError as error:
        schema = model.model_json_schema()
        details = error.errors(include_url=False)
        return None, [
            document.problem(place, message)
            for detail in details
            for place, message in _told(detail, schema)
        ]


def _told(detail: ErrorDetails, schema: Mapping[str, Any]) -> Iterator[tuple[Place, str]]:
    """Yield the places and messages that one error of pydantic stands for."""
    # pydantic adds this part where a key itself is wrong, such as a label's name.
    place = tuple(part for part in detail["loc"] if part != "[key]")
    kind, context = detail["type"], detail.get("ctx", {})
    if kind == REPORTED:
        return
    if kind == CONFLICTS:
        for key, message in context["found"]:
            yield ((*place, key) if key else place), message
    elif kind == "missing":
        yield place, "expected this key, which is required"
    elif kind == "too_short":
        yield place, "expected at least one item"
    elif kind == "extra_forbidden":
        yield place, _unknown(place, schema)
    elif kind in _STRUCTURES:
        if isinstance(detail["input"], Text) and detail["input"].broken:
            return
        yield place, f"expected {_STRUCTURES[kind]}, found {describe(detail['input'])}"
    else:
        # The message of pydantic is ours with `Value error, ` before it.
        yield place, str(context.get("error", detail["msg"]))


def _unknown(place: Place, schema: Mapping[str, Any]) -> str:
    *around, last = place
    if last in ENVIRONMENT_RULES and "rules" in around:
        return f"{last} is about a whole environment: set it in rules or environments[].rules"
    known = _keys_at(tuple(around), schema)
    similar = get_close_matches(str(last), known, n=1)
    if similar:
        return f"unknown key; did you mean {similar[0]}?"
    return f"unknown key; expected one of {', '.join(known)}"


def _keys_at(place: Place, schema: Mapping[str, Any]) -> list[str]:
    """Return the keys that the JSON Schema of the file has at a place."""
    found = _resolved(schema, schema)
    for part in place:
        step = found["items"] if isinstance(part, int) else found["properties"][part]
        found = _resolved(step, schema)
    return list(found["properties"])


def _resolved(part: Mapping[str, Any], schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a part of the schema after its reference; of several ways, the mapping."""
    ways = [part, *part.get("anyOf", ())]
    reference = next((way["$ref"] for way in ways if "$ref" in way), None)
    if reference is None:
        return part
    found: Mapping[str, Any] = schema["$defs"][reference.removeprefix("#/$defs/")]
    return found
