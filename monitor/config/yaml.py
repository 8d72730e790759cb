"""A YAML file → plain values with their places. What a scalar means is left to its key."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from monitor.config.nodes import MAX_DEPTH, TOO_DEEP, Node, Pairs, compose
from monitor.config.problems import COMMAND_LINE, ConfigError, Place, Problem, problem
from monitor.config.scalars import Text, expand

MAX_BYTES = 64 * 1024 * 1024
"""A hundred thousand campaigns fit into this many times; /dev/zero does not."""

MAX_REPEATED = 10_000
"""So many values may come from aliases; a bomb of them reaches billions in ten lines."""

_CORE_TAGS = "tag:yaml.org,2002:"


@dataclass
class Document:
    """A parsed file: dicts, lists, `Text` and None; the line of each; what was wrong so far.

    `flags` has the places at which a flag of the command line stands instead of the file.
    """

    file: str
    value: Any = None
    lines: dict[Place, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    flags: dict[Place, str] = field(default_factory=dict)

    def line(self, place: Place) -> int | None:
        """Return the line of a place, or of the nearest one around it that is in the file."""
        while place and place not in self.lines:
            place = place[:-1]
        return self.lines.get(place)

    def problem(self, place: Place, message: str, *, exposed_secret: bool = False) -> Problem:
        """Return a problem with its line, or with its flag."""
        if place in self.flags:
            return Problem(COMMAND_LINE, None, self.flags[place], message)
        line = self.line(place)
        return problem(self.file, line, place, message, exposed_secret=exposed_secret)

    def put(self, place: Place, value: str, flag: str) -> None:
        """Put the value of a flag in place of what the file says, in a section of the file."""
        section, key = place
        around = self.value.setdefault(section, None)
        if around is None:
            around = self.value[section] = {}
        if isinstance(around, dict):
            around[key] = Text(value)
            self.flags[place] = flag


def mappings(value: Any) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the mappings of what may be a list, with their indexes; nothing is an empty one."""
    for index, item in enumerate(value if isinstance(value, list) else ()):
        if item is None or isinstance(item, dict):
            yield index, item or {}


def read_bytes(path: Path) -> bytes:
    """Return what is in a file; ConfigError tells why not."""
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "not a path"
        raise ConfigError([problem(str(path), None, (), f"cannot be read: {why}")]) from None
    if len(raw) > MAX_BYTES:
        raise ConfigError([problem(str(path), None, (), "is longer than 64 MiB")])
    return raw


def parse(raw: bytes | str, file: str, environ: Mapping[str, str]) -> Document:
    """Return the document in `raw`, its scalars expanded; ConfigError when it is none."""
    document = Document(file)
    root = compose(raw if isinstance(raw, str) else _decoded(raw, file), file)
    if root is None:
        raise ConfigError([problem(file, None, (), "the file is empty")])
    if not isinstance(root.value, Pairs):
        message = "expected keys and values at the top, such as environments:"
        raise ConfigError([problem(file, root.line, (), message)])
    document.value = _Walk(document, environ).value(root, ())
    if not isinstance(document.value, dict):
        raise ConfigError(document.problems)
    return document


def _decoded(raw: bytes, file: str) -> str:
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ConfigError([problem(file, line, (), "is not UTF-8")]) from None


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
        self.document.lines.setdefault(place, node.line)
        self._limit(node)
        if id(node) in self.around:
            return self._broken(place, "expected a value; this alias refers to what it stands in")
        if node.tag is not None and not node.tag.startswith(_CORE_TAGS):
            return self._broken(place, "expected a value without a tag (!…)")
        if isinstance(node.value, str):
            return None if node.null else self._scalar(node.value, place)
        self.around.append(id(node))
        value: Any
        if isinstance(node.value, Pairs):
            value = self._mapping(node.value, place)
        else:
            value = [self.value(item, (*place, index)) for index, item in enumerate(node.value)]
        self.around.pop()
        return value

    def _mapping(self, pairs: Pairs, place: Place) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key_node, value_node in pairs:
            key = key_node.value
            if not isinstance(key, str):
                self._report(key_node.line, place, "expected a key that is a single word")
                continue
            here = (*place, key)
            if key == "<<":
                self._report(key_node.line, here, "YAML 1.2 has no merge keys: write the keys out")
            elif key in found:
                first = self.document.line(here)
                message = f"this key is given twice; the first time at line {first}"
                self._report(key_node.line, here, message)
            else:
                self.document.lines.setdefault(here, key_node.line)
                found[key] = self.value(value_node, here)
        return found

    def _scalar(self, written: str, place: Place) -> Text:
        if not written.isascii():
            # JSON escapes an emoji as a pair of surrogates, which become the character they are.
            written = written.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")
        try:
            return Text(expand(written, self.environ), written)
        except ValueError as error:
            return self._broken(place, str(error))

    def _limit(self, node: Node) -> None:
        """Stop where aliases make a value of no end, in breadth or in depth."""
        self.repeated += id(node) in self.seen
        self.seen.add(id(node))
        if self.repeated > MAX_REPEATED or len(self.around) > MAX_DEPTH:
            endless = f"aliases (*name) repeat more than {MAX_REPEATED:,} values"
            message = endless if self.repeated > MAX_REPEATED else TOO_DEEP
            raise ConfigError([problem(self.document.file, None, (), message)])

    def _broken(self, place: Place, message: str) -> Text:
        self.document.problems.append(self.document.problem(place, message))
        return Text("", broken=True)

    def _report(self, line: int, place: Place, message: str) -> None:
        self.document.problems.append(problem(self.document.file, line, place, message))
