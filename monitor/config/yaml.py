"""A YAML file → plain values with their places: what a scalar means is left to its key."""

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

import yaml
from yaml.error import MarkedYAMLError, YAMLError
from yaml.reader import ReaderError

from monitor.config.document import (
    BLANK,
    ConfigError,
    Document,
    Items,
    Keys,
    Place,
    Problem,
    no_space,
)
from monitor.core.text import clean, redact

# A hundred thousand campaigns fit into this many times; /dev/zero does not.
_MAX_BYTES = 64 * 1024 * 1024
# A config is 8 deep; Python gives up at some hundreds.
_MAX_DEPTH = 64
# So many values may come from aliases; a bomb of them reaches billions in ten lines.
MAX_REPEATED = 10_000
_TOO_DEEP = f"the file is nested more than {_MAX_DEPTH} deep"
_CORE_TAGS = "tag:yaml.org,2002:"
_NULL = f"{_CORE_TAGS}null"
_NOTHING = {"", "~", "null", "Null", "NULL"}
# JSON escapes 😀 as a pair of surrogates, which the C parser takes for mistakes.
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
_QUOTED = re.compile(r"\"[^\"]*\"|'[^']*'|#.*")
# A blank is misplaced where it should part or indent; within text it may be meant.
_MISPLACED = re.compile(rf"(?:^[ -]*|[:,\[{{-] *){BLANK}|[\x85\u2028\u2029]")


def read_bytes(path: Path) -> bytes:
    """Return what is in a file; ConfigError says why not."""
    try:
        with path.open("rb") as file:
            raw = file.read(_MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "not a path"
        _stop(str(path), None, f"cannot be read: {why}")
    if len(raw) > _MAX_BYTES:
        _stop(str(path), None, "is longer than 64 MiB")
    return raw


def parse(raw: bytes, file: str, environ: Mapping[str, str] = {}) -> Document:
    """Return the document in `raw`; ConfigError where it is none."""
    document, around = Document(file, environ), list[Any]()
    try:
        next_event = _events(raw.decode("utf-8-sig"), file, around).__next__
    except UnicodeDecodeError as error:
        _stop(file, error.object.count(b"\n", 0, error.start) + 1, "is not UTF-8")
    reader = _Reader(document, next_event, around)
    next_event()
    while not isinstance(start := next_event(), yaml.StreamEndEvent):
        event = next_event()
        line = event.start_mark.line + 1
        value = reader.value(event, (), line)
        next_event()
        # A file may end in --- and a comment, which is a document with nothing in it.
        if value is None:
            continue
        if document.value is not None:
            line = start.start_mark.line + 1
            _stop(file, line, "expected one document; a second one starts here")
        if not isinstance(event, yaml.MappingStartEvent):
            _stop(file, line, "expected keys and values at the top, such as environments:")
        document.value, document.first = value, line
    if document.value is None:
        _stop(file, None, "the file is empty")
    if not isinstance(document.value, dict):
        raise ConfigError(document.problems)
    return document


def _stop(file: str, line: int | None, message: str) -> NoReturn:
    raise ConfigError([Problem(file, line, "", redact(message))]) from None


class _Reader:
    """From the parser's events to values, with every problem on the way.

    `around` are the events that began what is being read.
    """

    def __init__(
        self, document: Document, next_event: Callable[[], Any], around: list[Any]
    ) -> None:
        self._document, self._next, self._around = document, next_event, around
        # The value of each anchor; none while that is being read.
        self._anchored: dict[str, list[Any]] = {}
        self._repeated = 0

    def value(self, event: Any, place: Place, line: int) -> Any:
        """Return the value that an event begins; what has none is reported, at this line."""
        kind = event.__class__
        # Nearly all that there is.
        if kind is yaml.ScalarEvent and event.anchor is event.tag is None:
            return _scalar(event)
        if kind is yaml.AliasEvent:
            return self._repeat(event, place, line)
        known, anchored = len(self._document.problems), list[Any]()
        if event.anchor is not None:
            self._anchored[event.anchor] = anchored  # which may be given again
        if kind is yaml.ScalarEvent:
            found: Any = _scalar(event)
        else:
            self._check_depth(len(self._around), event)
            self._around.append(event)
            found = (self._keys if kind is yaml.MappingStartEvent else self._items)(place)
            self._around.pop()
        if event.tag not in {None, "!"} and not event.tag.startswith(_CORE_TAGS):
            del self._document.problems[known:]
            found = self._document.report(place, "expected a value without a tag (!…)", line)
        anchored.append(found)
        return found

    def _keys(self, place: Place) -> Keys:
        found, document, next_event = Keys(), self._document, self._next
        lines = found.lines = {}
        while (event := next_event()).__class__ is not yaml.MappingEndEvent:
            line, known, message = event.start_mark.line + 1, len(document.problems), ""
            is_word = event.__class__ is yaml.ScalarEvent and event.anchor is None
            key = event.value if is_word else self.value(event, place, line)
            here = (*place, key)
            if not isinstance(key, str):
                here, message = place, "expected a key that is a single word"
            elif key == "<<":
                message = "YAML 1.2 has no merge keys: write the keys out"
            elif key in found:
                message = f"this key is given twice; the first time at line {lines[key]}"
            # A value behind a key has the line of the key.
            value = self.value(next_event(), here, line)
            if message:
                del document.problems[known:]
                document.report(here, message, line)
            else:
                found[key], lines[key] = value, line
        return found

    def _items(self, place: Place) -> Items:
        found = Items()
        found.lines = []
        while (event := self._next()).__class__ is not yaml.SequenceEndEvent:
            line = event.start_mark.line + 1
            found.append(self.value(event, (*place, len(found)), line))
            found.lines.append(line)
        return found

    def _repeat(self, event: Any, place: Place, line: int) -> Any:
        """Return what an alias stands for."""
        anchored = self._anchored.get(event.anchor)
        if anchored is None:
            why = clean(f"not YAML: found undefined alias {event.anchor!r}", 200)
            _stop(self._document.file, event.start_mark.line + 1, why)
        if not anchored:
            why = "expected a value; this alias refers to what it stands in"
            return self._document.report(place, why, line)
        return self._copy(anchored[0], len(self._around), event)

    def _copy(self, value: Any, depth: int, event: Any) -> Any:
        # Aliases can make a value of no end, in breadth or in depth.
        self._repeated += 1
        if self._repeated > MAX_REPEATED:
            why = f"aliases (*name) repeat more than {MAX_REPEATED:,} values"
            _stop(self._document.file, None, why)
        self._check_depth(depth, event)
        if isinstance(value, Keys):
            found: Any = Keys(
                (key, self._copy(one, depth + 1, event)) for key, one in value.items()
            )
        elif isinstance(value, Items):
            found = Items(self._copy(one, depth + 1, event) for one in value)
        else:
            return value
        found.lines = value.lines
        return found

    def _check_depth(self, depth: int, event: Any) -> None:
        if depth > _MAX_DEPTH:
            _stop(self._document.file, event.start_mark.line + 1, _TOO_DEEP)


def _scalar(event: Any) -> str | None:
    text: str = event.value
    if (event.implicit[0] and text in _NOTHING) or event.tag == _NULL:
        return None
    # JSON escapes an emoji as a pair of surrogates, which become the character they are.
    if not text.isascii():
        text = text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")
    return text


def _events(text: str, file: str, around: list[Any]) -> Iterator[Any]:
    """Yield what the parser finds; ConfigError where it gives up, within what is `around`."""
    try:
        next_event = (yaml.BaseLoader if _SURROGATE.search(text) else yaml.CBaseLoader)(
            text
        ).get_event
        while True:
            yield next_event()
    except MarkedYAMLError as error:
        _stop(file, *_no_yaml(text, error, around))
    except ReaderError as error:
        line = text.encode()[: error.position].count(b"\n") + 1
        _stop(file, line, f"not YAML: the character U+{error.character:04X} is not allowed")
    # Its scanner lets Python's own errors through, as for the escape "\UFFFFFFFF".
    except (YAMLError, ArithmeticError, LookupError, ValueError, TypeError, AttributeError):
        _stop(file, None, "not YAML: it cannot be read")


def _no_yaml(text: str, error: MarkedYAMLError, opened: list[Any]) -> tuple[int | None, str]:
    """Return where and why this is no YAML, without the excerpt of the file that PyYAML adds."""
    mark, why = error.problem_mark or error.context_mark, str(error.problem or error.context)
    if mark is None:
        return None, clean(f"not YAML: {why}", 200)
    # The parser's own may be behind the last line.
    line = min(mark.line + 1, len(text.rstrip().splitlines()) or 1)
    first, rest = error.context_mark or mark, text[mark.index :]
    lines = text.split("\n")[: mark.line + 1]
    for number in range(max(first.line - 1, 0), len(lines)):
        # A blank that is no space, on the lines with the mistake or just before it.
        if found := _MISPLACED.search(_QUOTED.sub("", lines[number])):
            return number + 1, f"not YAML: {no_space(found[0])} stands where a space should"
    if rest.startswith("\t"):
        return line, "not YAML: a tab cannot indent; use blanks"
    brackets = [event.start_mark for event in opened if getattr(event, "flow_style", False)]
    if "end of stream" in why or (brackets and not rest.strip()):
        # What is wrong is not the end of the file, but what has none.
        start = brackets[-1] if brackets and "quoted" not in str(error.context) else first
        return start.line + 1, "not YAML: what starts here does not end"
    why = why.replace(" in this context", " here")
    if why == "found unexpected ':'":
        why = "expected a space behind the colon"
    if "node content" in why or "cannot start any token" in why:
        why = f"a value cannot begin with {rest[:1]!r} here; put it in quotes"
    return line, clean(f"not YAML: {why}", 200)
