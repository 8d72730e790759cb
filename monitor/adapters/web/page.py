"""The status page: a board as HTML that needs no script. Pure, so that any thread may do it."""

from collections.abc import Iterable
from dataclasses import dataclass
from heapq import nsmallest

from jinja2 import Environment, PackageLoader, StrictUndefined

from monitor.adapters.web.serializers import text
from monitor.core import board as boards
from monitor.core.board import ActiveAlert, Board, Entry, EnvironmentBoard, Findings, Health
from monitor.core.model import Instant, SftpConfig, Verdict
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


@dataclass(frozen=True, slots=True)
class When:
    """An instant for people: how long ago (or ahead), and exactly."""

    relative: str
    exact: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One active alert: what is wrong, since when, and what to do first.

    `by_now` is what the last poll found, where that is something else.
    """

    rule: str
    severity: str
    state: str
    muted_by: str | None
    summary: str
    by_now: str
    next_step: str
    since: When | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One campaign. `note` says more than the problems, `tested` is the word for its last test."""

    environment: str
    campaign_id: str
    name: str
    health: str
    problems: list[Problem]
    note: str
    tested: str
    tested_at: When | None
    host: str
    schedule: str
    seen: When | None


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvironmentRow:
    """One environment: what its API does in one word, since when, and its budget."""

    name: str
    api: str
    api_since: When | None
    problems: list[Problem]
    unlisted: str
    campaigns: int
    per_minute: float
    available: int
    interval: str
    swept: When | None


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
        not_ready=None if not_ready is None else text(not_ready),
        now=rfc3339(board.now),
        totals=_totals(board),
        firing=sum(active.alert.told for *_, active in board.active_alerts()),
        total=len(everything),
        environments=[_environment_row(each) for each in board.environments.values()],
        rows=[_row(environment, entry) for *_, environment, entry in shown],
    )
    return page.encode()


def _totals(board: Board) -> dict[str, int]:
    """Return how many campaigns have each health, and how many environments themselves are ill."""
    totals = dict.fromkeys(Health, 0)
    for environment in board.environments.values():
        for health, count in environment.counts().items():
            totals[health] += count
        own = boards.worst_firing(environment.active_alerts())
        totals[own] += own is not Health.HEALTHY
    return {health.value: count for health, count in totals.items()}


def _environment_row(board: EnvironmentBoard) -> EnvironmentRow:
    known, now = board.status, board.now
    api, since = {None: "not called yet", True: "answers", False: "fails"}[known.up], None
    if known.outage_at is not None:
        api, since = "does not answer", known.outage_at
    elif known.rejected_at is not None:
        api, since = "rejects the token", known.rejected_at
    return EnvironmentRow(
        name=known.name,
        api=api,
        api_since=_when(since, now),
        problems=_problems(board.active_alerts(), board.findings, now),
        unlisted="" if board.listing_error is None else board.listing_error.reason.value,
        campaigns=len(board.campaigns),
        per_minute=board.per_minute,
        available=board.available,
        interval=span(board.interval),
        swept=_when(known.swept_at, now),
    )


def _row(environment: EnvironmentBoard, entry: Entry) -> Row:
    target, memory, now = entry.target, entry.status.memory, environment.now
    config, found = memory.config, environment.findings_of(entry)
    return Row(
        environment=target.environment,
        campaign_id=target.campaign_id,
        name=text(target.name) or target.campaign_id,
        health=environment.health(entry).value,
        problems=_problems(entry.active_alerts(), found, now),
        note=_note(environment, entry),
        tested=_tested(config),
        tested_at=_when(config.last_test_at, now + environment.ahead) if config else None,
        host=_host(config),
        schedule=text(config.import_schedule or "") if config else "",
        seen=_when(memory.seen_at, now),
    )


def _problems(alerts: Iterable[ActiveAlert], found: Findings | None, now: Instant) -> list[Problem]:
    return [
        Problem(
            rule=alert.rule,
            severity=severity.value,
            state=alert.shown_as,
            muted_by=alert.muted_by,
            summary=text(alert.summary),
            by_now=_by_now(alert.rule, found or {}),
            next_step=rule.next_step_for(alert),
            since=_when(alert.since, now),
        )
        for alert, rule, severity in alerts
    ]


def _by_now(rule: str, found: Findings) -> str:
    """Return what an alert's rule found last, where it is not what the alert says."""
    if rule not in found or found[rule].verdict is Verdict.UNHEALTHY:
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


def _tested(config: SftpConfig | None) -> str:
    if config is None:
        return ""
    return {None: "never", True: "passed", False: "failed"}[config.last_test_success]


def _host(config: SftpConfig | None) -> str:
    if config is None:
        return ""
    host = text(config.host)
    return host if config.port is None else f"{host}:{config.port}"


def _when(at: Instant | None, now: Instant) -> When | None:
    if at is None:
        return None
    relative = f"{span(now - at)} ago" if at <= now else f"in {span(at - now)}"
    return When(relative, rfc3339(at))
