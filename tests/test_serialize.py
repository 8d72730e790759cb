"""One walk over the types makes the JSON, reads it, and describes it: they cannot differ."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator, FormatChecker

from monitor.core.model import INTERNAL, EventKind, Instant, Labels, Sentence, Text
from monitor.serialize import Links, Schemas, from_json, record_of, shown_fields, to_json
from support.events import FIRING


class Colour(StrEnum):
    """What it looks like."""

    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True, kw_only=True)
class Part:
    """A part of it."""

    name: Text
    secret: Annotated[str, INTERNAL] = ""


@dataclass(frozen=True, kw_only=True)
class Whole:
    """All of it."""

    at: Instant
    perhaps_at: Instant | None
    name: Text
    summary: Sentence
    labels: Labels
    evidence: Mapping[str, Text]
    colour: Colour
    size: Literal["s", "m"]
    kind: Literal["whole"] = "whole"
    count: int
    share: float
    good: bool | None
    parts: Sequence[Part]
    first: Part | None


# What `clean` leaves as it is, so that it comes back as it was.
TEXTS = st.text("abc äß€", max_size=20).map(lambda text: " ".join(text.split()))
# To the millisecond, as they are shown.
INSTANTS = st.integers(-(10**12), 4 * 10**12).map(lambda ms: ms / 1000)
PARTS = st.builds(Part, name=TEXTS)
WHOLES = st.builds(
    Whole,
    at=INSTANTS,
    perhaps_at=st.none() | INSTANTS,
    name=TEXTS,
    summary=TEXTS,
    labels=st.dictionaries(TEXTS, TEXTS, max_size=3),
    evidence=st.dictionaries(TEXTS, TEXTS, max_size=3),
    colour=st.sampled_from(Colour),
    size=st.sampled_from(["s", "m"]),
    count=st.integers(),
    share=st.floats(allow_nan=False, allow_infinity=False),
    good=st.none() | st.booleans(),
    parts=st.lists(PARTS, max_size=3),
    first=st.none() | PARTS,
)

A_WHOLE = Whole(
    at=1_800_000_000.5,
    perhaps_at=None,
    name="a\x00b",
    summary="said",
    labels={"team": "retail"},
    evidence={"port": "22"},
    colour=Colour.BLUE,
    size="m",
    count=3,
    share=0.5,
    good=None,
    parts=[Part(name="p", secret="canary")],
    first=None,
)


def test_a_dataclass_becomes_what_its_types_say_but_for_internal_fields() -> None:
    assert json.loads(json.dumps(to_json(A_WHOLE))) == {
        "at": "2027-01-15T08:00:00.500Z",
        "perhaps_at": None,
        "name": "a b",
        "summary": "said",
        "labels": {"team": "retail"},
        "evidence": {"port": "22"},
        "colour": "blue",
        "size": "m",
        "kind": "whole",
        "count": 3,
        "share": 0.5,
        "good": None,
        "parts": [{"name": "p"}],
        "first": None,
    }
    assert list(to_json(A_WHOLE)) == list(shown_fields(Whole))


@given(WHOLES)
def test_what_was_written_is_read_again_as_it_was(whole: Whole) -> None:
    written = json.loads(json.dumps(to_json(whole)))
    assert from_json(Whole, written) == whole
    assert to_json(from_json(Whole, written)) == written


@given(WHOLES)
def test_what_is_written_keeps_to_the_schema(whole: Whole) -> None:
    schemas = Schemas("#/$defs/", {})
    schema = {**schemas.of(Whole), "$defs": schemas.components}
    validator = Draft202012Validator(schema, format_checker=FormatChecker())
    validator.validate(json.loads(json.dumps(to_json(whole))))


def test_the_schema_names_describes_and_requires_everything() -> None:
    schemas = Schemas("#/", {Part: "Piece"})
    assert schemas.of(Sequence[Whole]) == {"items": {"$ref": "#/Whole"}, "type": "array"}
    assert sorted(schemas.components) == ["Colour", "Piece", "Whole"]
    assert schemas.components["Colour"] == {
        "description": "What it looks like.",
        "enum": ["red", "blue"],
        "type": "string",
        "title": "Colour",
    }
    assert schemas.components["Piece"] == {
        "description": "A part of it.",
        "properties": {"name": {"type": "string"}},
        "required": ["name"],
        "type": "object",
        "title": "Piece",
    }
    whole = schemas.components["Whole"]
    assert whole["required"] == list(shown_fields(Whole))
    instant = {"format": "date-time", "type": "string"}
    text = {"type": "string"}
    texts = {"additionalProperties": text, "type": "object"}
    assert whole["properties"] == {
        "at": instant,
        "perhaps_at": {"anyOf": [instant, {"type": "null"}]},
        "name": text,
        "summary": text,
        "labels": texts,
        "evidence": texts,
        "colour": {"$ref": "#/Colour"},
        "size": {"enum": ["s", "m"], "type": "string"},
        "kind": {"const": "whole", "type": "string"},
        "count": {"type": "integer"},
        "share": {"type": "number"},
        "good": {"anyOf": [{"type": "boolean"}, {"type": "null"}]},
        "parts": {"items": {"$ref": "#/Piece"}, "type": "array"},
        "first": {"anyOf": [{"$ref": "#/Piece"}, {"type": "null"}]},
    }


@pytest.mark.parametrize(
    "change",
    [
        {"at": "yesterday"},
        {"at": None},
        {"name": 1},
        {"colour": "green"},
        {"size": "xl"},
        {"count": "3"},
        {"share": "much"},
        {"good": 1},
        {"parts": 5},
        {"parts": ["p"]},
        {"evidence": []},
    ],
    ids=str,
)
def test_what_was_not_written_so_is_an_error(change: dict[str, Any]) -> None:
    written = json.loads(json.dumps(to_json(A_WHOLE)))
    with pytest.raises((ValueError, TypeError, AttributeError)):
        from_json(Whole, {**written, **change})


@pytest.mark.parametrize("field", shown_fields(Whole))
def test_a_field_that_is_missing_is_an_error(field: str) -> None:
    written = {name: one for name, one in to_json(A_WHOLE).items() if name != field}
    with pytest.raises(KeyError, match=field):
        from_json(Whole, written)


def test_a_field_that_is_not_known_is_passed_over() -> None:
    written = {**to_json(A_WHOLE), "new": 1}
    assert to_json(from_json(Whole, written)) == to_json(A_WHOLE)


LONG = "x" * 2000


@pytest.mark.parametrize("limit", [256, 16])
def test_texts_are_cut_to_the_limit_and_sentences_to_twice_that(limit: int) -> None:
    assert to_json(Part(name=LONG), limit) == {"name": "x" * (limit - 1) + "…"}
    fields = {**vars(A_WHOLE), "summary": LONG, "evidence": {"why": LONG}}
    whole = to_json(Whole(**fields), limit)
    assert (len(whole["summary"]), len(whole["evidence"]["why"])) == (2 * limit, limit)


# --- the title of an event


@pytest.mark.parametrize(
    ("about", "title"),
    [
        ({}, "production/Retail leads: "),
        ({"campaign_name": "L\u202e\x1b[31mead" + 80 * "s"}, f"production/L [31mead{54 * 's'}…: "),
        ({"campaign_name": "\u200b"}, "production/c-1: "),
        ({"campaign_name": ""}, "production/c-1: "),
        ({"campaign_name": "", "campaign_id": None}, "production: "),
        ({"kind": EventKind.CHANGE}, ""),
    ],
    ids=["name", "hostile", "invisible", "no name", "environment", "no alert"],
)
def test_the_summary_of_an_alert_says_first_whose_it_is(about: dict[str, Any], title: str) -> None:
    said = to_json(record_of(replace(FIRING, **about), Links("")))
    assert said["summary"] == title + FIRING.summary
