"""A YAML file → plain values with their places: what a scalar means is left to its key."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import yaml
from yaml.composer import Composer
from yaml.error import MarkedYAMLError, YAMLError
from yaml.reader import ReaderError

from monitor.config.document import BLANK, ConfigError, Document, Place, Problem, no_space
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
    try:
        root = _compose(raw.decode("utf-8-sig"), file)
    except UnicodeDecodeError as error:
        _stop(file, error.object.count(b"\n", 0, error.start) + 1, "is not UTF-8")
    if root is None:
        _stop(file, None, "the file is empty")
    if not isinstance(root, yaml.MappingNode):
        why = "expected keys and values at the top, such as environments:"
        _stop(file, root.start_mark.line + 1, why)
    document = Document(file, environ)
    document.value = _Walk(document).value(root, ())
    if not isinstance(document.value, dict):
        raise ConfigError(document.problems)
    return document


def _stop(file: str, line: int | None, message: str) -> NoReturn:
    raise ConfigError([Problem(file, line, "", redact(message))]) from None


@dataclass
class _Walk:
    """From nodes to values, with every problem on the way."""

    document: Document
    seen: set[yaml.Node] = field(default_factory=set)
    around: list[yaml.Node] = field(default_factory=list)
    repeated: int = 0

    def value(self, node: yaml.Node, place: Place) -> Any:
        """Return the value of a node; what has none is reported."""
        # A value behind a key has the line of the key already.
        self.document.lines.setdefault(place, node.start_mark.line + 1)
        self.repeated += node in self.seen
        self.seen.add(node)
        # Aliases can make a value of no end, in breadth or in depth.
        if self.repeated > MAX_REPEATED:
            why = f"aliases (*name) repeat more than {MAX_REPEATED:,} values"
            _stop(self.document.file, None, why)
        if len(self.around) > _MAX_DEPTH:
            _stop(self.document.file, None, _TOO_DEEP)
        if node in self.around:
            why = "expected a value; this alias refers to what it stands in"
            return self.document.report(place, why)
        if not node.tag.startswith(_CORE_TAGS):
            return self.document.report(place, "expected a value without a tag (!…)")
        if isinstance(node, yaml.ScalarNode):
            # JSON escapes an emoji as a pair of surrogates, which become the character they are.
            text: str = node.value
            if not text.isascii():
                text = text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")
            return None if node.tag == _NULL else text
        self.around.append(node)
        if isinstance(node, yaml.MappingNode):
            value: Any = self._mapping(node, place)
        else:
            value = [self.value(item, (*place, index)) for index, item in enumerate(node.value)]
        self.around.pop()
        return value

    def _mapping(self, node: yaml.MappingNode, place: Place) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key, line = key_node.value, key_node.start_mark.line + 1
            here: Place = (*place, key)
            if not isinstance(key, str):
                here, message = place, "expected a key that is a single word"
            elif key == "<<":
                message = "YAML 1.2 has no merge keys: write the keys out"
            elif key in found:
                first = self.document.line(here)
                message = f"this key is given twice; the first time at line {first}"
            else:
                self.document.lines.setdefault(here, line)
                found[key] = self.value(value_node, here)
                continue
            self.document.report(here, message, line)
        return found


class _Composer(Composer):
    """PyYAML's, which by itself takes no anchor twice and dies of a million brackets."""

    open: list[Any]  # the events that began the nodes which are being composed

    def compose_node(self, parent: Any, index: Any) -> Any:
        """Compose one node: not too deep, and under an anchor that may be given again."""
        event = self.peek_event()  # type: ignore[attr-defined]
        # Nearly all that there is, in half the time.
        if isinstance(event, yaml.ScalarEvent) and event.anchor is None:
            return self.compose_scalar_node(None)  # type: ignore[arg-type]
        if isinstance(event, yaml.AliasEvent):
            return super().compose_node(parent, index)
        if len(self.open) > _MAX_DEPTH:
            raise MarkedYAMLError(problem=_TOO_DEEP, problem_mark=event.start_mark)
        self.anchors.pop(event.anchor, None)
        self.open.append(event)
        node = super().compose_node(parent, index)
        self.open.pop()
        return node


class _Loader(yaml.CBaseLoader, _Composer):
    """On the C parser."""


class _PythonLoader(yaml.BaseLoader, _Composer):
    """JSON escapes 😀 as a pair of surrogates, which the C parser takes for mistakes."""


for _loader in (_Loader, _PythonLoader):
    _loader.add_implicit_resolver(_NULL, re.compile(r"(~|null|Null|NULL|)\Z"), ["~", "n", "N", ""])


def _compose(text: str, file: str, kind: Any = _Loader) -> yaml.Node | None:
    """Return the root of the one document in a text, None where it has none."""
    found: yaml.Node | None = None
    opened: list[Any] = []
    try:
        loader = kind(text)
        loader.anchors, loader.open = {}, opened
        loader.get_event()
        while not loader.check_event(yaml.StreamEndEvent):
            start = loader.peek_event().start_mark
            node = loader.compose_document()
            # A file may end in --- and a comment, which is a document with nothing in it.
            if found is not None and node.tag != _NULL:
                _stop(file, start.line + 1, "expected one document; a second one starts here")
            found = found if node.tag == _NULL else node
    except MarkedYAMLError as error:
        if error.problem == "found invalid Unicode character escape code" and kind is _Loader:
            return _compose(text, file, _PythonLoader)
        _stop(file, *_no_yaml(text, error, opened))
    except ReaderError as error:
        line = text.encode()[: error.position].count(b"\n") + 1
        _stop(file, line, f"not YAML: the character U+{error.character:04X} is not allowed")
    # Its scanner lets Python's own errors through, as for the escape "\UFFFFFFFF".
    except (YAMLError, ArithmeticError, LookupError, ValueError, TypeError, AttributeError):
        _stop(file, None, "not YAML: it cannot be read")
    return found


def _no_yaml(text: str, error: MarkedYAMLError, opened: list[Any]) -> tuple[int | None, str]:
    """Return where and why this is no YAML, without the excerpt of the file that PyYAML adds."""
    mark, why = error.problem_mark or error.context_mark, str(error.problem or error.context)
    if mark is None:
        return None, clean(f"not YAML: {why}", 200)
    # The parser's own may be behind the last line.
    line = min(mark.line + 1, len(text.rstrip().splitlines()) or 1)
    if why == _TOO_DEEP:
        return line, why
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
