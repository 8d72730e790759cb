"""What may be asked for in a URL's query, and in a request's Accept headers."""

import re
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

from monitor.adapters.web.context import HistoryQuery
from monitor.adapters.web.views import Wanted
from monitor.core.board import Board, Entry, EnvironmentBoard, Health
from monitor.core.model import Instant
from monitor.core.text import clean

LIMIT_DEFAULT, LIMIT_MAX = 100, 1000
"""Events on one page."""

_RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)", re.ASCII)

# The largest integer of SQLite; a larger one is an OverflowError when it is bound.
_ROW_MAX = 2**63 - 1

Query = Mapping[str, Sequence[str]]
"""Each parameter of a URL's query with its values."""


class BadQueryError(ValueError):
    """A query parameter is not understood; the message says what was expected."""


def campaigns_wanted(query: Query, board: Board) -> Wanted:
    """Return the filter that `environment` and `health` (repeatable) ask for.

    Raises BadQueryError, for an environment that is not there, too: no campaigns would read as
    nothing wrong.
    """
    _only(query, {"environment", "health"})
    environment = _single(query, "environment")
    if environment is not None and environment not in board.environments:
        raise _expected("environment", f"one of {', '.join(board.environments)}", environment)
    healths = frozenset(_health(value) for value in query.get("health", ()))

    def wanted(of: EnvironmentBoard, entry: Entry) -> bool:
        """Return whether the campaign passes both filters."""
        return (environment is None or of.status.name == environment) and (
            not healths or of.health(entry) in healths
        )

    return wanted


def history_query(query: Query) -> HistoryQuery:
    """Return which events are asked for; raises BadQueryError."""
    _only(query, {"environment", "campaign_id", "since", "cursor", "limit"})
    limit = _integer(query, "limit", 1, LIMIT_MAX)
    return HistoryQuery(
        limit=LIMIT_DEFAULT if limit is None else limit,
        environment=_single(query, "environment"),
        campaign_id=_single(query, "campaign_id"),
        since=_since(query),
        cursor=_integer(query, "cursor", 0, _ROW_MAX),
    )


def nothing_asked(query: Query) -> None:
    """Raise BadQueryError if there is any parameter."""
    _only(query, frozenset())


def quality(header: str, name: str) -> float:
    """Return how much `Accept` or `Accept-Encoding` wants `name`: 0 (not at all) to 1.

    Wildcards do not count: who does not name what is special here gets what is usual.
    """
    best = 0.0
    for offer in header.split(","):
        what, *parameters = (part.strip().lower() for part in offer.split(";"))
        if what == name:
            weights = [p.removeprefix("q=") for p in parameters if p.startswith("q=")]
            best = max(best, _weight(weights[0]) if weights else 1.0)
    return best


def _weight(text: str) -> float:
    return float(text) if re.fullmatch(r"[01](\.\d{0,3})?", text, re.ASCII) else 0.0


def _only(query: Query, known: Collection[str]) -> None:
    for name in query:
        if name not in known:
            what = f"one of {', '.join(sorted(known))}" if known else "no parameter at all"
            raise BadQueryError(f"expected {what}, got {clean(name, 64)!r}")


def _single(query: Query, name: str) -> str | None:
    values = query.get(name, ())
    if len(values) > 1:
        raise BadQueryError(f"{name}: expected one value, got {len(values)}")
    return values[0] if values else None


def _health(value: str) -> Health:
    try:
        return Health(value)
    except ValueError:
        raise _expected("health", f"one of {', '.join(Health)}", value) from None


def _integer(query: Query, name: str, least: int, most: int) -> int | None:
    value = _single(query, name)
    if value is None:
        return None
    # Digits only: int() takes blanks, underscores and other scripts' digits, too.
    if re.fullmatch(r"\d{1,19}", value, re.ASCII) and least <= int(value) <= most:
        return int(value)
    raise _expected(name, f"an integer from {least} to {most}", value)


def _since(query: Query) -> Instant | None:
    value = _single(query, "since")
    if value is None:
        return None
    if _RFC3339.fullmatch(value):
        try:
            return datetime.fromisoformat(value).timestamp()
        except ValueError:
            pass
    raise _expected("since", "an RFC 3339 time such as 2026-10-23T09:30:00Z", value)


def _expected(name: str, what: str, value: str) -> BadQueryError:
    return BadQueryError(f"{name}: expected {what}, got {clean(value, 64)!r}")
