"""What a parsed file is: values with their lines, and whatever is wrong with them."""

import re
import unicodedata
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from os import EX_CONFIG, EX_NOPERM
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from monitor.core.environment_rules import ENVIRONMENT_RULES
from monitor.core.text import clean, redact

S = TypeVar("S", bound=BaseModel)

# Where a value stands in the document: keys and list indexes from the top down.
Place = tuple[str | int, ...]
# What looks like a space, or a line's end, and is none.
BLANK = "[\x85\xa0\u1680\u2000-\u200b\u2028\u2029\u202f\u205f\u3000\ufeff]"
# What stands for a value that cannot be read: that was reported, and nothing about it is again.
_REPORTED = object()
_FOUND: Mapping[type, str] = {type(None): "nothing", dict: "a mapping", list: "a list"}
_MAPPINGS = ("model_type", "model_attributes_type", "dict_type")
_MESSAGES = {
    **dict.fromkeys(_MAPPINGS, "expected keys and values, found {}"),
    "tuple_type": "expected a list, found {}",
    "missing": "expected this key, which is required",
    "too_short": "expected at least one item",
}


def no_space(text: str) -> str | None:
    """Return the name of the first blank in a text that looks like a space and is none, if any."""
    if found := re.search(BLANK, text):
        return f"U+{ord(found[0]):04X} ({unicodedata.name(found[0], 'next line').lower()})"
    return None


def describe(value: object) -> str:
    """Return what was found, for a message: text as it stands in the file, cut short."""
    for kind, name in _FOUND.items():
        if isinstance(value, kind):
            return name
    text = str(value)
    # repr escapes what a terminal would obey, and keeps blanks as they are.
    return repr(text if len(text) <= 60 else text[:60] + "…")


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: where it stands and what was expected, never a secret."""

    file: str
    line: int | None  # from 1
    key: str  # empty for the file as a whole
    message: str
    exposed_secret: bool = False  # a secret file that others can read

    def __str__(self) -> str:
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        return ": ".join(part for part in (place, self.key, self.message) if part)


class ConfigError(Exception):
    """The config cannot be used. `problems` has everything that is wrong, in file order.

    `exit_code` is 77 where a secret that others can read is all of it, else 78.
    """

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(sorted(problems, key=lambda problem: problem.line or 0))
        super().__init__("\n".join(str(problem) for problem in self.problems))
        exposed = {problem.exposed_secret for problem in self.problems} == {True}
        self.exit_code = EX_NOPERM if exposed else EX_CONFIG


class Keys(dict[str, Any]):
    """A mapping of the file, with the line of each key."""

    lines: dict[str, int]


class Items(list[Any]):
    """A list of the file, with the line of each item."""

    lines: list[int]


@dataclass
class Document:
    """A parsed file: dicts, lists, text as it is written, and None; their lines; what is wrong."""

    file: str
    # What its ${VAR} mean: secrets, too.
    environ: Mapping[str, str] = field(default_factory=dict, repr=False)
    value: Any = None
    first: int | None = None  # the line where it begins
    problems: list[Problem] = field(default_factory=list)
    secrets: set[str] = field(default_factory=set, repr=False)
    unread: list[str] | None = None  # where secrets are that are not to be read; None: they are
    flags: dict[Place, str] = field(default_factory=dict)  # where a flag stands instead of the file

    @property
    def folder(self) -> Path:
        """Where relative paths of the file start."""
        return Path(self.file).absolute().parent

    def line(self, place: Place) -> int | None:
        """Return the line of a place, or of the nearest one around it that is in the file."""
        line, around = self.first, self.value
        for part in place:
            try:
                line, around = around.lines[part], around[part]
            except (AttributeError, LookupError, TypeError):
                break
        return line

    def lines_of(self, *names: str) -> Iterator[tuple[Place, int]]:
        """Yield the places of keys of these names, and all places below them, with their lines."""
        return _lines(self.value, (), names, below=False)

    def report(
        self, place: Place, message: str, line: int | None = None, *, exposed: bool = False
    ) -> object:
        """Add a problem, without what looks like a token; return what may stand for the value."""
        if place in self.flags:
            found = Problem("command line", None, self.flags[place], message)
        else:
            # A token pasted at the wrong place may have become a key.
            key = redact(clean(key_path(place), 256))
            found = Problem(self.file, line or self.line(place), key, redact(message), exposed)
        self.problems.append(found)
        return _REPORTED

    def put(self, flag: str, written: str) -> None:
        """Put a flag in place of what the file says: --log.level stands for the key log.level."""
        section, _, name = flag.removeprefix("--").partition(".")
        around = self.value[section] = self.value.get(section) or {}
        if isinstance(around, dict):
            place = (section, re.sub("[.-]", "_", name))
            around[place[1]] = written
            self.flags[place] = flag

    def check(self) -> None:
        """Raise ConfigError where anything was reported."""
        if self.problems:
            raise ConfigError(self.problems)

    def read_as(self, section: type[S]) -> S:
        """Return the document as such a section; ConfigError has all that is wrong by then."""
        try:
            found = section.model_validate(self.value, context=self)
        except ValidationError as error:
            for detail in error.errors(include_url=False):
                # pydantic adds this part where a key itself is wrong, such as a label's name.
                place = tuple(part for part in detail["loc"] if part != "[key]")
                exposed = getattr(detail.get("ctx", {}).get("error"), "exposed", False)
                for within, message in _messages(section, detail, place):
                    self.report((*place, *within), message, exposed=exposed)
        # A key that is given twice can be read, but merging it would be guessing which one counts.
        self.check()
        return found


def _lines(
    value: Any, place: Place, names: Collection[str], *, below: bool
) -> Iterator[tuple[Place, int]]:
    lines: Any = value.lines if isinstance(value, Keys | Items) else ()
    for key in lines if isinstance(value, Keys) else range(len(lines)):
        within = below or key in names
        if within:
            yield (*place, key), lines[key]
        if value[key]:
            yield from _lines(value[key], (*place, key), names, below=within)


def key_path(place: Place) -> str:
    """Return a place as people write it: `environments[0].polling.interval`."""
    parts = (f"[{part}]" if isinstance(part, int) else f".{part}" for part in place)
    return "".join(parts).removeprefix(".")


def _messages(
    section: type[BaseModel], detail: ErrorDetails, place: Place
) -> Iterable[tuple[Place, str]]:
    """Return what one error of pydantic stands for: places within its own, and messages."""
    kind, context, found = detail["type"], detail.get("ctx", {}), detail["input"]
    # Errors that follow from others; items that are wrong are none to pydantic.
    follows = kind == "default_factory_not_called" or (kind == "too_short" and found)
    if follows or found is _REPORTED:
        return ()
    if kind == "conflicts":
        conflicts: Iterable[tuple[Place, str]] = context["found"]
        return conflicts
    if kind == "extra_forbidden":
        message = _unknown(section, place)
    elif kind in _MESSAGES:
        message = _MESSAGES[kind].format(describe(found))
    else:
        # The message of pydantic is ours with `Value error, ` before it.
        message = str(context.get("error", detail["msg"]))
    return [((), message)]


def _unknown(section: type[BaseModel], place: Place) -> str:
    *around, last = place
    if last in ENVIRONMENT_RULES and "rules" in around:
        return f"{last} is about a whole environment: set it in rules or environments[].rules"
    if blank := no_space(str(last)):
        return f"unknown key; {blank} in it is no space"
    schema = section.model_json_schema()
    found = schema
    # Down the file's JSON Schema; of several ways, the mapping.
    for part in around:
        found = found["items"] if isinstance(part, int) else found["properties"][part]
        for way in (found, *found.get("anyOf", ())):
            if "$ref" in way:
                found = schema["$defs"][way["$ref"].removeprefix("#/$defs/")]
    known = list(found["properties"])
    if similar := get_close_matches(str(last), known, n=1):
        return f"unknown key; did you mean {similar[0]}?"
    return f"unknown key; expected one of {', '.join(known)}"
