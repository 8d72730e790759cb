"""From a snapshot to what is answered: JSON, and HTML without a script. Pure, for any thread."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from heapq import nsmallest
from typing import Any, Final, TypeVar

from jinja2 import Environment, PackageLoader, StrictUndefined

from monitor.adapters.web import schemas
from monitor.core import snapshot as snapshots
from monitor.core.alerts import recheck_at
from monitor.core.model import Instant, Verdict, fingerprint
from monitor.core.rule import BaseRule
from monitor.core.snapshot import (
    ActiveAlert,
    Entry,
    EnvironmentSnapshot,
    Findings,
    Health,
    Snapshot,
)
from monitor.core.status import EnvironmentStatus
from monitor.core.text import clean, rfc3339, span
from monitor.serialize import TEXT_LIMITS, shown_fields

LIMIT: Final = 1000
"""Items of a page: at most, and unless fewer are asked for."""

Key = tuple[str, ...]
"""What a list is ordered by, and paged on by: an item that is gone leaves its place behind."""

ROWS = 1000
"""So many campaigns are shown, the worst; the others are only counted."""

text = partial(clean, limit=TEXT_LIMITS[0])
"""Return a text that came from outside, fit to be shown."""

_T = TypeVar("_T")

_TEMPLATES = Environment(
    loader=PackageLoader("monitor.adapters.web"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def campaigns_page(
    snapshot: Snapshot,
    environment: str | None = None,
    health: Sequence[str] = (),
    limit: int = LIMIT,
    next: Key | None = None,
) -> schemas.CampaignsAnswer:
    """Return a page of the campaigns of an environment and of these healths; None, (): of all."""
    chosen = (
        (of, entry)
        for of, entry in snapshot.entries()
        if environment in (None, of.status.name) and (not health or of.health(entry) in health)
    )
    found, more = _page(
        chosen, lambda it: (it[0].status.name, it[1].target.campaign_id), limit, next
    )
    return schemas.CampaignsAnswer(campaigns=[campaign(*each) for each in found], next=more)


def alerts_page(
    snapshot: Snapshot, limit: int = LIMIT, next: Key | None = None
) -> schemas.AlertsAnswer:
    """Return a page of the active alerts; its keys are (environment, campaign or "", rule)."""

    def key_of(each: tuple[EnvironmentSnapshot, Entry | None, ActiveAlert]) -> Key:
        """Return what an alert is ordered by."""
        of, entry, active = each
        return of.status.name, entry.target.campaign_id if entry else "", active.alert.rule

    found, more = _page(snapshot.active_alerts(), key_of, limit, next)
    return schemas.AlertsAnswer(alerts=[_alert(*each) for each in found], next=more)


def campaign(environment: EnvironmentSnapshot, entry: Entry) -> schemas.CampaignAnswer:
    """Return what is known of one campaign."""
    known, last_known = entry.status, entry.status.last_known
    last_read_at = last_known.last_read_at
    return answer_of(
        schemas.CampaignAnswer,
        entry.target,
        known,
        last_known,
        health=environment.health(entry),
        evidence_at=last_read_at,
        evidence_age_seconds=None
        if last_read_at is None
        else max(0.0, environment.now - last_read_at),
        configured=None if last_read_at is None else last_known.missing_since is None,
        findings=_findings(environment.findings_of(entry), entry.target.rules),
        alerts=[_alert(environment, entry, active) for active in entry.active_alerts()],
    )


def answer_of(cls: type[_T], *sources: Any, **more: Any) -> _T:
    """Return an answer of `more`, and of what the sources have by the same names as its fields."""
    kind: Any = cls  # for mypy, which takes no type variable for hashable
    for name in shown_fields(kind).keys() - more.keys():
        more[name] = next(getattr(one, name) for one in sources if hasattr(one, name))
    return cls(**more)


def _page(
    items: Iterable[_T], key_of: Callable[[_T], Key], limit: int, after: Key | None
) -> tuple[list[_T], str | None]:
    """Return the first items after a key, and the `next` of their page."""
    rest = (each for each in items if after is None or key_of(each) > after)
    found = nsmallest(limit + 1, rest, key=key_of)
    return found[:limit], "/".join(key_of(found[limit - 1])) if len(found) > limit else None


def _alert(
    environment: EnvironmentSnapshot, entry: Entry | None, active: ActiveAlert
) -> schemas.AlertAnswer:
    alert, rule, severity = active
    name, at = environment.status.name, recheck_at(alert, rule)
    campaign_id = None if entry is None else entry.target.campaign_id
    return answer_of(
        schemas.AlertAnswer,
        alert,
        alert.fired_as or (environment if entry is None else entry).labels,
        environment=name,
        campaign_id=campaign_id,
        severity=severity,
        state=alert.shown_as,
        changes_at=at,
        changes_in_seconds=None if at is None else max(0.0, at - environment.now),
        next_step=alert.next_step or rule.next_step,
        fingerprint=fingerprint(name, campaign_id, alert.rule),
    )


def environment(snapshot: EnvironmentSnapshot) -> schemas.EnvironmentAnswer:
    """Return the state of one environment."""
    known = snapshot.status
    return answer_of(
        schemas.EnvironmentAnswer,
        known,
        snapshot,
        labels=snapshot.labels.labels,
        reachable=known.up,
        outage_since=known.outage_at,
        token_rejected_since=known.rejected_at,
        budget=schemas.BudgetAnswer(
            requests_per_minute=snapshot.per_minute, available_requests=snapshot.available
        ),
        counts=schemas.CountsAnswer(**{health.value: n for health, n in snapshot.counts().items()}),
        sweep=schemas.SweepAnswer(
            swept_at=known.swept_at,
            polled=snapshot.swept,
            campaigns=len(snapshot.campaigns),
            interval_seconds=snapshot.interval,
            lag_seconds=snapshot.lag,
        ),
        findings=_findings(snapshot.findings, snapshot.rules),
        alerts=[_alert(snapshot, None, active) for active in snapshot.active_alerts()],
    )


def _findings(
    found: Findings | None, rules: Mapping[str, BaseRule]
) -> list[schemas.FindingAnswer] | None:
    made = partial(answer_of, schemas.FindingAnswer)
    return None if found is None else [made(found[name], rules[name], rule=name) for name in found]


def status_page(snapshot: Snapshot, version: str, not_ready: str | None) -> bytes:
    """Return the page in UTF-8, the worst campaigns first; `not_ready` says why, if so."""
    everything, badness = list(snapshot.entries()), list(Health).index  # declared worst first
    # Equals stay in the order of the config.
    worst = nsmallest(
        ROWS, everything, lambda it: (badness(it[0].health(it[1])), it[1].target.name)
    )
    page = _TEMPLATES.get_template("status.html").render(
        version=version,
        not_ready=not_ready,
        snapshot=snapshot,
        totals=_totals(snapshot),
        firing=sum(active.alert.notified for *_, active in snapshot.active_alerts()),
        total=len(everything),
        rows=worst,
    )
    return page.encode()


def _totals(snapshot: Snapshot) -> Mapping[Health, int]:
    """Return how many campaigns have each health, and how many environments themselves are ill."""
    totals = Counter(dict.fromkeys(Health, 0))
    for one in snapshot.environments.values():
        totals.update(one.counts())
        own = snapshots.worst_firing(one.active_alerts())
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


def _note(environment: EnvironmentSnapshot, entry: Entry) -> str:
    error = entry.status.error
    if error is not None:
        return text(f"The last poll failed: {error.reason} {error.detail}")
    if entry.status.last_known.last_read_at is None:
        return "Not read yet."
    if environment.status.breaker_open:
        return "Not read while the environment's API gives nothing."
    if not environment.is_current(entry):
        return "Not read for too long."
    if entry.findings is None:
        return "Not read since the start."
    doubts = snapshots.doubts((found.verdict, found.summary) for found in entry.findings.values())
    if doubts:
        return text(f"Unknown: {'; '.join(doubts)}")
    return "" if any(entry.active_alerts()) else "Nothing."


def _relative(at: Instant, now: Instant) -> str:
    return f"{span(now - at)} ago" if at <= now else f"in {span(at - now)}"


_TEMPLATES.filters.update(text=text, exact=rfc3339, relative=_relative, span=span)
_TEMPLATES.globals.update(api=_api, by_now=_by_now, note=_note)
