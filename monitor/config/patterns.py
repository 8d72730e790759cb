"""Regular expressions on the names of campaigns, by RE2: none of them takes long on any name.

Names come from outside, and an engine that backtracks can be made to stand for ever by one.
"""

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import re2

# Text to RE2, a count to other engines: nobody would see that it matches something else.
_TEXT_LIKE_A_COUNT = re.compile(r"(?<!\\)(?:\\\\)*\{(,[0-9]*|[0-9]{5,}(,[0-9]*)?)\}")
_ASCII_CLASS = re.compile(r"(?<!\\)(?:\\\\)*(\\[wWdDsSbB])")


def expression(text: str) -> str:
    """Return a regular expression that RE2 takes; ValueError says what it cannot express."""
    if found := _TEXT_LIKE_A_COUNT.search(text):
        count = "{0,3}" if found[1].startswith(",") else "at most 1,000"
        raise ValueError(f"expected a regular expression with counts such as {count}")
    try:
        _compiled(text)
    except re2.error as error:
        raise ValueError(f"expected a regular expression of RE2 ({_why(error)})") from None
    return text


def matches(expressions: Sequence[str], name: str) -> bool:
    """Whether the whole name matches one of these expressions."""
    # Bytes are matched three times as fast: of text, the library counts the characters.
    raw = name.encode(errors="replace")
    return any(_compiled(expression).fullmatch(raw) is not None for expression in expressions)


def ascii_only(text: str) -> str:
    """Return the classes in an expression that know ASCII alone, such as w and d; "" for none."""
    return ", ".join(dict.fromkeys(_ASCII_CLASS.findall(text)))


@lru_cache(maxsize=4096)
def _compiled(text: str) -> Any:
    options = re2.Options()
    # An error is reported by us, with its place; RE2 would print it on standard error.
    options.log_errors = False
    options.never_capture = True
    return re2.compile(text, options)


def _why(error: Exception) -> str:
    # The library gives bytes. Behind the colon is part of the expression, which may hold a secret.
    raw = error.args[0] if error.args else b""
    text = raw.decode(errors="replace") if isinstance(raw, bytes) else str(raw)
    return text.partition(": ")[0]
