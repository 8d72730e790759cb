"""Scalars as the file has them, and the expansion of `${VAR}` in them."""

import re
import unicodedata
from collections.abc import Mapping

# The closing brace is optional, so that one left out is told and not taken for text.
# A dollar before it makes it text: $${.
_REFERENCE = re.compile(r"\$\$\{|\$\{([^}]*)(\}?)")
_NAME = r"[A-Za-z_][A-Za-z0-9_]*"
_INSIDE = re.compile(rf"({_NAME})(?::-(.*))?", re.DOTALL)
REFERENCE = rf"\$\{{({_NAME})\}}"
"""A regular expression for text that is one `${VAR}` and nothing else."""
_UNPRINTABLE = {"Cc", "Cs"}
BLANK = "[\x85\xa0\u1680\u2000-\u200b\u2028\u2029\u202f\u205f\u3000\ufeff]"
"""A regular expression for a blank that looks like a space, or a line's end, and is none."""
_LONGEST_QUOTE = 60
_KINDS: Mapping[type, str] = {type(None): "nothing", dict: "a mapping", list: "a list"}


class Text(str):
    """A scalar after expansion; the key it belongs to decides which type it has.

    `written` is what stands in the file. Messages and `repr` show that alone, for an expansion may
    hold a secret. A `broken` one was reported already: it has no value to complain about again.
    """

    written: str
    broken: bool

    def __new__(cls, value: str, written: str | None = None, *, broken: bool = False) -> "Text":
        """Make a scalar that stands in the file as `written` (None: just like its value)."""
        text = super().__new__(cls, value)
        text.written = value if written is None else written
        text.broken = broken
        return text

    def __repr__(self) -> str:
        return f"Text(written={self.written!r})"


def reference(written: str) -> str:
    """Return the name in text that is one `${VAR}` and nothing else; ValueError for any other."""
    match = re.fullmatch(REFERENCE, written)
    if match is None:
        raise ValueError
    return match[1]


def expand(written: str, environ: Mapping[str, str]) -> str:
    """Return the scalar with `${VAR}` and `${VAR:-default}` expanded, once; `$${` is a plain `${`.

    The default stands in for a variable that is unset or empty, as in a shell. ValueError names
    every variable that is unset, or tells what is not a reference, or not text.
    """
    unset = []

    def value_of(match: re.Match[str]) -> str:
        """Return what one reference stands for; one that is unset is noted."""
        if match[1] is None:
            return "${"
        inside = _INSIDE.fullmatch(match[1])
        if not match[2] or inside is None:
            raise ValueError("expected ${VAR} or ${VAR:-default} after the ${")
        name, default = inside[1], inside[2]
        value = environ.get(name)
        if default is not None:
            return value or str(default)
        if value is None:
            unset.append(name)
            return ""
        return value

    value = _REFERENCE.sub(value_of, written)
    if unset:
        names = " and ".join(dict.fromkeys(unset))
        raise ValueError(f"the environment variable {names} is not set, and there is no default")
    # What is printable has none of them, and is nearly all that there is.
    printable = value.isprintable()
    if not printable and any(unicodedata.category(one) in _UNPRINTABLE for one in value):
        raise ValueError("expected text without line breaks, control characters and surrogates")
    return value


def no_space(text: str) -> str | None:
    """Return the name of the first blank in a text that looks like a space and is none, if any."""
    found = re.search(BLANK, text)
    if found is None:
        return None
    return f"U+{ord(found[0]):04X} ({unicodedata.name(found[0], 'next line').lower()})"


def describe(value: object) -> str:
    """Return what was found, for a message: a scalar as it stands in the file, cut short."""
    if type(value) in _KINDS:
        return _KINDS[type(value)]
    text = value.written if isinstance(value, Text) else str(value)
    # repr escapes what a terminal would obey, and keeps blanks as they are.
    return repr(text if len(text) <= _LONGEST_QUOTE else text[:_LONGEST_QUOTE] + "…")
