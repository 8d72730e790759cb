"""YAML text → nodes: scalars as they are written, lists, pairs, and the line of each.

They are composed from the events of PyYAML's C parser, since its own composer dies of a million
brackets and takes no anchor twice. What is no YAML is one problem that says where and why.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NoReturn

import yaml
from yaml.error import MarkedYAMLError, YAMLError
from yaml.reader import ReaderError

from monitor.config.problems import ConfigError, problem
from monitor.config.scalars import BLANK, no_space
from monitor.core.text import clean

MAX_DEPTH = 64
"""A config is 8 deep; Python gives up at some hundreds."""

TOO_DEEP = f"the file is nested more than {MAX_DEPTH} deep"

_NULLS = {"", "~", "null", "Null", "NULL"}
_NULL_TAG = "tag:yaml.org,2002:null"
_QUOTED = re.compile(r"\"[^\"]*\"|'[^']*'|#.*")
# A blank is misplaced where it should part or indent; within text it may be meant.
_MISPLACED = re.compile(rf"(?:^[ -]*|[:,\[{{-] *){BLANK}|[\x85\u2028\u2029]")


class Pairs(list[tuple["Node", "Node"]]):
    """Keys with their values, in the order of the file."""


@dataclass(slots=True, eq=False)
class Node:
    """A value of the file, which begins at `line`, from 1; `tag` is the one that it is given.

    A single value is as it is written; `null` where that is a plain `null`, or nothing at all.
    """

    line: int
    tag: str | None
    value: "str | list[Node] | Pairs"
    null: bool = False


def compose(text: str, file: str) -> Node | None:
    """Return the root of the one document in a text, None where it has none.

    An alias is the very node that it stands for, which may be one around it. ConfigError for all
    that is no YAML, too deep, or more than one document.
    """
    try:
        return _Composer(text, file, yaml.CBaseLoader).root()
    except _PairError:
        # JSON escapes 😀 as a pair of surrogates, which the C parser takes for mistakes.
        return _Composer(text, file, yaml.BaseLoader).root()


class _PairError(Exception):
    """The C parser does not take an escape, which may be one of a pair."""


class _Composer:
    def __init__(self, text: str, file: str, loader: Any) -> None:
        self._text = text
        self._file = file
        self._loader = loader
        self._events: Iterator[Any] = iter(())
        self._anchors: dict[str, Node] = {}
        self._open: list[int] = []

    def root(self) -> Node | None:
        try:
            self._events = yaml.parse(self._text, Loader=self._loader)
            return self._only_root()
        except MarkedYAMLError as error:
            self._not_yaml(error)
        except ReaderError as error:
            before = self._text.encode()[: error.position]
            message = f"not YAML: the character U+{error.character:04X} is not allowed"
            self._stop(before.count(b"\n") + 1, message)
        # Its scanner lets Python's own errors through, as for the escape "\UFFFFFFFF".
        except (YAMLError, ArithmeticError, LookupError, ValueError, TypeError, AttributeError):
            self._stop(None, "not YAML: it cannot be read")

    def _only_root(self) -> Node | None:
        found: Node | None = None
        for event in self._events:
            if not isinstance(event, yaml.DocumentStartEvent):
                continue
            self._anchors = {}
            node = self._node(next(self._events), 0)
            # A file may end in --- and a comment, which is a document with nothing in it.
            if node.null:
                continue
            if found is not None:
                line = event.start_mark.line + 1  # type: ignore[union-attr]
                self._stop(line, "expected one document; a second one starts here")
            found = node
        return found

    def _node(self, event: Any, depth: int) -> Node:
        line: int = event.start_mark.line + 1
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in self._anchors:
                self._stop(line, f"not YAML: found undefined alias {event.anchor!r}")
            return self._anchors[event.anchor]
        if depth > MAX_DEPTH:
            self._stop(line, TOO_DEEP)
        if isinstance(event, yaml.ScalarEvent):
            null = event.tag == _NULL_TAG or (event.implicit[0] and event.value in _NULLS)
            node = Node(line, event.tag, event.value, null)
        else:
            a_list = isinstance(event, yaml.SequenceStartEvent)
            node = Node(line, event.tag, list[Node]() if a_list else Pairs())
        if event.anchor is not None:
            self._anchors[event.anchor] = node
        if not isinstance(node.value, str):
            self._fill(node.value, event, depth + 1)
        return node

    def _fill(self, found: list[Node] | Pairs, start: Any, depth: int) -> None:
        """Put into a list or a mapping what the events up to its end say."""
        if start.flow_style:
            self._open.append(start.start_mark.line + 1)
        while not isinstance(event := next(self._events), yaml.CollectionEndEvent):
            first = self._node(event, depth)
            if isinstance(found, Pairs):
                found.append((first, self._node(next(self._events), depth)))
            else:
                found.append(first)
        if start.flow_style:
            self._open.pop()

    # -- what is no YAML ----------------------------------------------------------------------

    def _not_yaml(self, error: MarkedYAMLError) -> NoReturn:
        """Stop with why this is no YAML, without the excerpt of the file that the library adds."""
        mark, why = error.problem_mark or error.context_mark, str(error.problem or error.context)
        if why == "found invalid Unicode character escape code":
            raise _PairError
        line = None if mark is None else mark.line + 1
        rest = "" if mark is None else self._text[mark.index :]
        if mark is not None:
            self._stop_at_blank(error.context_mark or mark, mark)
        if rest.startswith("\t"):
            self._stop(line, "not YAML: a tab cannot indent; use blanks")
        if "end of stream" in why or (self._open and not rest.strip()):
            # What is wrong is not the end of the file, but what has none.
            start = error.context_mark
            if self._open and "quoted" not in str(error.context):
                line = self._open[-1]
            elif start is not None:
                line = start.line + 1
            self._stop(line, "not YAML: what starts here does not end")
        why = why.replace(" in this context", " here")
        if why == "found unexpected ':'":
            why = "expected a space behind the colon"
        if "node content" in why or "cannot start any token" in why:
            why = f"a value cannot begin with {rest[:1]!r} here; put it in quotes"
        self._stop(line, clean(f"not YAML: {why}", 200))

    def _stop_at_blank(self, start: Any, end: Any) -> None:
        """Stop at a blank that is no space, on the lines with the mistake or just before it."""
        lines = self._text.split("\n")
        for number in range(max(start.line - 1, 0), min(end.line + 1, len(lines))):
            if found := _MISPLACED.search(_QUOTED.sub("", lines[number])):
                message = f"not YAML: {no_space(found[0])} stands where a space should"
                self._stop(number + 1, message)

    def _stop(self, line: int | None, message: str) -> NoReturn:
        raise ConfigError([problem(self._file, line, (), message)]) from None
