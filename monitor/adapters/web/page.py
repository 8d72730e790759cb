"""The status page: a board as HTML that needs no script. Pure, so that any thread may do it."""

from heapq import nsmallest

from jinja2 import Environment, PackageLoader, StrictUndefined

from monitor.adapters.web.serializers import text
from monitor.core import board as boards
from monitor.core.board import Board, Entry, EnvironmentBoard, Findings, Health
from monitor.core.model import Instant, Verdict
from monitor.core.status import EnvironmentStatus
from monitor.core.text import rfc3339, span

ROWS = 1000
"""So many campaigns are shown, the worst; the others are only counted."""

_TEMPLATES = Environment(
    loader=PackageLoader("monitor.adapters.web"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)

# `Health` is declared worst first.
_BADNESS = {health: place for place, health in enumerate(Health)}


def status_page(board: Board, version: str, not_ready: str | None) -> bytes:
    """Return the page in UTF-8, the worst campaigns first; `not_ready` says why, if so."""
    everything = [
        (_BADNESS[environment.health(entry)], entry.target.name, place, environment, entry)
        for place, (environment, entry) in enumerate(board.entries())
    ]
    # The place decides between equals, for entries have no order of their own.
    shown = nsmallest(ROWS, everything, key=lambda each: each[:3])
    page = _TEMPLATES.get_template("status.html").render(
        version=version,
        not_ready=not_ready,
        board=board,
        totals=_totals(board),
        firing=sum(active.alert.told for *_, active in board.active_alerts()),
        total=len(everything),
        rows=[(environment, entry) for *_, environment, entry in shown],
    )
    return page.encode()


def _totals(board: Board) -> dict[Health, int]:
    """Return how many campaigns have each health, and how many environments themselves are ill."""
    totals = dict.fromkeys(Health, 0)
    for environment in board.environments.values():
        for health, count in environment.counts().items():
            totals[health] += count
        own = boards.worst_firing(environment.active_alerts())
        totals[own] += own is not Health.HEALTHY
    return totals


def _api(known: EnvironmentStatus) -> tuple[str, Instant | None]:
    """Return what the environment's API does, and since when where that is known."""
    if known.outage_at is not None:
        return "does not answer", known.outage_at
    if known.rejected_at is not None:
        return "rejects the token", known.rejected_at
    return {None: "not called yet", True: "answers", False: "fails"}[known.up], None


def _by_now(rule: str, found: Findings | None) -> str:
    """Return what an alert's rule found last, where it is not what the alert says."""
    if found is None or rule not in found or found[rule].verdict is Verdict.UNHEALTHY:
        return ""
    return text(f"By now {found[rule].verdict}: {found[rule].summary}")


def _note(environment: EnvironmentBoard, entry: Entry) -> str:
    error = entry.status.error
    if error is not None:
        return text(f"The last poll failed: {error.reason} {error.detail}")
    if entry.status.memory.seen_at is None:
        return "Not read yet."
    if environment.status.breaker_open:
        return "Not read while the environment's API gives nothing."
    if not environment.is_current(entry):
        return "Not read for too long."
    if entry.findings is None:
        return "Not read since the start."
    doubts = boards.doubts((found.verdict, found.summary) for found in entry.findings.values())
    if doubts:
        return text(f"Unknown: {'; '.join(doubts)}")
    return "" if any(entry.active_alerts()) else "Nothing."


def _relative(at: Instant, now: Instant) -> str:
    return f"{span(now - at)} ago" if at <= now else f"in {span(at - now)}"


_TEMPLATES.filters.update(text=text, exact=rfc3339, relative=_relative, span=span)
_TEMPLATES.globals.update(api=_api, by_now=_by_now, note=_note)
