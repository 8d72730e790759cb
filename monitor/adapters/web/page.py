"""The status page: a board as HTML that needs no script. Pure, so that any thread may do it."""

from collections.abc import Mapping
from dataclasses import dataclass
from heapq import nsmallest

from jinja2 import Environment, PackageLoader, StrictUndefined

from monitor.adapters.web.views import text, with_rules
from monitor.core.board import Board, Entry, EnvironmentBoard, Health
from monitor.core.model import Alert, Instant, SftpConfig
from monitor.core.rule import BaseRule
from monitor.core.sharding import WHOLE, Shard
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
    """One active alert: what is wrong, since when, and what to do first."""

    rule: str
    severity: str
    state: str
    muted_by: str | None
    summary: str
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


def status_page(board: Board, version: str, not_ready: str | None, shard: Shard = WHOLE) -> bytes:
    """Return the page in UTF-8, the worst campaigns first; `not_ready` says why, if so."""
    everything = [
        (_BADNESS[environment.health(entry)], entry.target.name, place, environment, entry)
        for place, (environment, entry) in enumerate(board.entries())
    ]
    # The place decides between equals, for entries have no order of their own.
    shown = nsmallest(ROWS, everything, key=lambda each: each[:3])
    page = _TEMPLATES.get_template("status.html").render(
        version=version,
        shard=shard,
        elsewhere=len(board.elsewhere),
        not_ready=None if not_ready is None else text(not_ready),
        now=rfc3339(board.now),
        totals=_totals(board),
        total=len(everything),
        environments=[_environment_row(each) for each in board.environments.values()],
        rows=[_row(environment, entry) for *_, environment, entry in shown],
    )
    return page.encode()


def _totals(board: Board) -> dict[str, int]:
    counts = [environment.counts() for environment in board.environments.values()]
    return {health.value: sum(count[health] for count in counts) for health in Health}


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
        problems=_problems(known.alerts, board.rules, now),
        unlisted="" if board.listing_error is None else board.listing_error.reason.value,
        campaigns=len(board.campaigns),
        per_minute=board.per_minute,
        available=board.available,
        interval=span(board.interval),
        swept=_when(known.swept_at, now),
    )


def _row(environment: EnvironmentBoard, entry: Entry) -> Row:
    target, memory, now = entry.target, entry.status.memory, environment.now
    config = memory.config
    return Row(
        environment=target.environment,
        campaign_id=target.campaign_id,
        name=text(target.name) or target.campaign_id,
        health=environment.health(entry).value,
        problems=_problems(entry.status.alerts, target.rules, now),
        note=_note(environment, entry),
        tested=_tested(config),
        tested_at=_when(config.last_test_at, now + environment.ahead) if config else None,
        host=_host(config),
        schedule=text(config.import_schedule or "") if config else "",
        seen=_when(memory.seen_at, now),
    )


def _problems(
    alerts: Mapping[str, Alert], rules: Mapping[str, BaseRule], now: Instant
) -> list[Problem]:
    return [
        Problem(
            rule=alert.rule,
            severity=(alert.told_severity or rule.severity).value,
            state=alert.shown_as,
            muted_by=alert.muted_by,
            summary=text(alert.summary),
            next_step=rule.next_step,
            since=_when(alert.since, now),
        )
        for alert, rule in with_rules(alerts, rules)
    ]


def _note(environment: EnvironmentBoard, entry: Entry) -> str:
    error = entry.status.error
    if error is not None:
        return text(f"The last poll failed: {error.reason} {error.detail}")
    if entry.status.memory.seen_at is None:
        return "Not read yet."
    if environment.status.breaker_open:
        return "Not read while the environment's API gives nothing."
    if environment.health(entry) is Health.UNKNOWN:
        return "Not read for too long."
    return "" if any(alert.active for alert in entry.status.alerts.values()) else "Nothing."


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
