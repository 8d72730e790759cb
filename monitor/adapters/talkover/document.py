"""The body of an answer → its data: strict JSON, strict types, clean text, or a `PollError`.

The standard library reads the JSON, since msgspec accepts duplicate keys, and bad numbers in
fields that it skips; msgspec then holds the types against what the API's reference says.
"""

import json
import math
import re
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from monitor.core.model import PollError, Reason
from monitor.core.text import clean

TEXT_MAX = 256
"""How many characters of any of the API's strings are kept."""

# int() takes quadratic time, and its own limit of digits can be switched off from outside.
_DIGITS_MAX = 32
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")

Shape = TypeVar("Shape", bound=Struct)


class MismatchError(ValueError):
    """A value that the type alone does not refuse; the message names the field."""


def read_body(body: bytes, shape: type[Shape]) -> Shape | PollError:
    """Return the body of a 200 in this shape, or why it has another. Never raises."""
    try:
        document = load_json(body)
    except ValueError as error:
        return PollError(Reason.MALFORMED, str(error))
    # Asked before the shape: an error body has no data, and would pass for a wrong schema.
    if isinstance(document, dict) and document.get("success") is False:
        return PollError(Reason.API_ERROR, api_message(document))
    try:
        return msgspec.convert(document, shape)
    except msgspec.ValidationError as error:
        return PollError(Reason.SCHEMA_MISMATCH, str(error))


def load_json(body: bytes) -> object:
    """Return the document, of UTF-8 JSON with unique keys, finite numbers and whole characters.

    Raises `ValueError`, with a message that quotes nothing of the body.
    """
    try:
        # Not left to json.loads(): of bytes it takes UTF-16 and lone surrogates, too.
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        raise ValueError("the body is not UTF-8") from None
    try:
        document = json.loads(
            text,
            object_pairs_hook=_unique,
            parse_constant=_no_constant,
            parse_float=_finite,
            parse_int=_sensible,
        )
        # Only an escape can bring half a pair in; encoding tells it from a whole one.
        if _SURROGATE.search(text):
            json.dumps(document, ensure_ascii=False).encode("utf-8")
    except RecursionError:
        raise ValueError("the body is nested too deeply") from None
    except UnicodeEncodeError:
        raise ValueError("half a surrogate pair in a string") from None
    return document


def api_message(document: dict[str, Any]) -> str:
    """Return `CODE: message` of an error body in either of the API's two forms, or ''."""
    error = document.get("error")
    source = error if isinstance(error, dict) else document
    parts = (source.get("code"), source.get("message"))
    return ": ".join(part for part in parts if isinstance(part, str) and part)


def required_text(field: str, text: str, limit: int = TEXT_MAX) -> str:
    """Return the text, clean, of at most `limit` characters.

    `field` is its path in the body. Raises `MismatchError` where nothing is left to see.
    """
    cleaned = clean(text, limit)
    if not cleaned:
        raise MismatchError(f"Expected text, got none - at `{field}`")
    return cleaned


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("a key occurs twice in one object")
    return made


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("a number beyond all bounds")
    return number


def _sensible(text: str) -> int:
    if len(text) > _DIGITS_MAX:
        raise ValueError(f"a number of {len(text)} digits")
    return int(text)
