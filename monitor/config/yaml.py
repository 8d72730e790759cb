"""YAML text → plain values with their places. What a scalar means is left to its key.

ruamel's constructors stop at the first duplicate key, and read the id `6e12345` as infinity; so
the nodes of `compose` are walked here. That the file is a bomb, a riddle or no YAML at all is one
clear problem each.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.composer import MaxDepthExceededError
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.reader import ReaderError

from monitor.config.problems import ConfigError, Place, Problem, problem
from monitor.config.scalars import Text, expand
from monitor.core.text import clean

MAX_BYTES = 64 * 1024 * 1024
"""A hundred thousand campaigns fit into this many times; /dev/zero does not."""

MAX_REPEATED = 10_000
"""So many values may come from aliases; a bomb of them reaches billions in ten lines."""

MAX_DEPTH = 64
"""A config is 8 deep; Python gives up at some hundreds, and the scanner gets slow before."""
TOO_DEEP = f"the file is nested more than {MAX_DEPTH} deep"

_CORE_TAGS = "tag:yaml.org,2002:"
_NULL = _CORE_TAGS + "null"


@dataclass
class Document:
    """A parsed file: dicts, lists, `Text` and None; the line of each; what was wrong so far."""

    file: str
    value: Any = None
    lines: dict[Place, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def line(self, place: Place) -> int | None:
        """Return the line of a place, or of the nearest one around it that is in the file."""
        while place and place not in self.lines:
            place = place[:-1]
        return self.lines.get(place)

    def problem(self, place: Place, message: str, *, exposed_secret: bool = False) -> Problem:
        """Return a problem with its line."""
        line = self.line(place)
        return problem(self.file, line, place, message, exposed_secret=exposed_secret)

    def environments(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """Yield the environments that are mappings at least, with their indexes."""
        yield from mappings(self.value.get("environments"))


def mappings(value: Any) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the mappings of what may be a list, with their indexes; nothing is an empty one."""
    for index, item in enumerate(value if isinstance(value, list) else ()):
        if item is None or isinstance(item, dict):
            yield index, item or {}


def read_text(path: Path) -> str:
    """Return the text of a file, without a byte order mark; ConfigError tells why not."""
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "not a path"
        raise ConfigError([problem(str(path), None, (), f"cannot be read: {why}")]) from None
    if len(raw) > MAX_BYTES:
        raise ConfigError([problem(str(path), None, (), "is longer than 64 MiB")])
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ConfigError([problem(str(path), line, (), "is not UTF-8")]) from None


def parse(text: str, file: str, environ: Mapping[str, str]) -> Document:
    """Return the document in `text`, its scalars expanded; ConfigError when it is none."""
    document = Document(file)
    root = _compose(text, file)
    if root is None:
        raise ConfigError([problem(file, None, (), "the file is empty")])
    if not isinstance(root, MappingNode):
        message = "expected keys and values at the top, such as environments:"
        raise ConfigError([problem(file, root.start_mark.line + 1, (), message)])
    document.value = _Walk(document, environ).value(root, ())
    if not isinstance(document.value, dict):
        raise ConfigError(document.problems)
    return document


def _compose(text: str, file: str) -> Any:
    yaml = YAML(typ="rt", pure=True)
    yaml.max_depth = MAX_DEPTH
    # YAML lets a name be given to another anchor; ruamel would warn on standard error.
    yaml.composer.warn_double_anchors = False
    try:
        return yaml.compose(text)
    except MarkedYAMLError as error:
        raise ConfigError([_not_yaml(error, file)]) from None
    except ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        message = f"not YAML: the character U+{error.character:04X} is not allowed"
        raise ConfigError([problem(file, line, (), message)]) from None
    # Its scanner lets Python's own errors through, as for the escape "\UFFFFFFFF".
    except (YAMLError, ArithmeticError, LookupError, ValueError, TypeError, AttributeError):
        raise ConfigError([problem(file, None, (), "not YAML: it cannot be read")]) from None


def _not_yaml(error: MarkedYAMLError, file: str) -> Problem:
    """Return why this is no YAML, without the excerpt of the file that the library adds."""
    mark, why = error.problem_mark, str(error.problem or error.context)
    message = clean(f"not YAML: {why}", 200)
    if r"'\t'" in why:
        message = "not YAML: a tab cannot indent; use blanks"
    elif "another document" in why:
        message = "expected one document; a second one starts here"
    elif isinstance(error, MaxDepthExceededError):
        message = TOO_DEEP
    elif "end of stream" in why:
        # What is wrong is not the end of the file, but what has none.
        mark, message = error.context_mark or mark, "not YAML: what starts here does not end"
    return problem(file, None if mark is None else mark.line + 1, (), message)


@dataclass
class _Walk:
    """From nodes to values, with every problem on the way."""

    document: Document
    environ: Mapping[str, str]
    seen: set[int] = field(default_factory=set)
    around: list[int] = field(default_factory=list)
    repeated: int = 0

    def value(self, node: Node, place: Place) -> Any:
        """Return the value of a node; one that has none was reported, and is broken text."""
        # A value behind a key has the line of the key already, which is where people look.
        self.document.lines.setdefault(place, node.start_mark.line + 1)
        self._limit(node)
        if id(node) in self.around:
            return self._broken(place, "expected a value; this alias refers to what it stands in")
        if not str(node.tag).startswith(_CORE_TAGS):
            return self._broken(place, "expected a value without a tag (!…)")
        return self._inside(node, place)

    def _inside(self, node: Node, place: Place) -> Any:
        if isinstance(node, ScalarNode):
            return self._scalar(node, place)
        self.around.append(id(node))
        if isinstance(node, SequenceNode):
            value: Any = [self.value(item, (*place, i)) for i, item in enumerate(node.value)]
        elif isinstance(node, MappingNode):
            value = self._mapping(node, place)
        self.around.pop()
        return value

    def _mapping(self, node: MappingNode, place: Place) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            key = key_node.value if isinstance(key_node, ScalarNode) else None
            if key is None:
                self._report(line, place, "expected a key that is a single word")
            elif key == "<<":
                self._report(line, (*place, key), "YAML 1.2 has no merge keys: write the keys out")
            elif key in found:
                first = self.document.line((*place, key))
                message = f"this key is given twice; the first time at line {first}"
                self._report(line, (*place, key), message)
            else:
                self.document.lines.setdefault((*place, key), line)
                found[key] = self.value(value_node, (*place, key))
        return found

    def _scalar(self, node: ScalarNode, place: Place) -> Text | None:
        written = _whole(str(node.value))
        if node.tag == _NULL:
            return None
        try:
            return Text(expand(written, self.environ), written)
        except ValueError as error:
            return self._broken(place, str(error))

    def _limit(self, node: Node) -> None:
        """Stop where aliases make a value of no end, in breadth or in depth."""
        self.repeated += id(node) in self.seen
        self.seen.add(id(node))
        message = ""
        if self.repeated > MAX_REPEATED:
            message = f"aliases (*name) repeat more than {MAX_REPEATED:,} values"
        elif len(self.around) > MAX_DEPTH:
            message = TOO_DEEP
        if message:
            raise ConfigError([problem(self.document.file, None, (), message)])

    def _broken(self, place: Place, message: str) -> Text:
        self.document.problems.append(self.document.problem(place, message))
        return Text("", broken=True)

    def _report(self, line: int, place: Place, message: str) -> None:
        self.document.problems.append(problem(self.document.file, line, place, message))


def _whole(text: str) -> str:
    """Return the text with surrogate pairs as the characters they are: so JSON escapes an emoji."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")
