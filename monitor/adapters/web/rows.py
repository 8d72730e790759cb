"""From campaigns to the rows of the overview: as what each is shown, in which order. Pure."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Any, Final, NamedTuple

from monitor.core.alerts import Impact
from monitor.core.explanation import why_unread
from monitor.core.model import Instant, Severity
from monitor.core.snapshot import ActiveAlert, Entry, EnvironmentSnapshot, Health, Snapshot, doubts

ROWS: Final = 100  # campaigns on a page
FIRST: Final = 25  # campaigns of a group; its others come after all groups
STATES: Final = (
    *list(Health)[:-1], "info", "pending", "partly unknown", "muted", Health.HEALTHY
)  # fmt: skip
"""What a campaign is shown as, in the order of the page; of the last two each has but a line."""

_QUIET, _LED = STATES[-2:], ("pending", Health.CRITICAL, Health.WARNING)
_SHOWN_AS = ("firing", "pending", "muted")


class Row(NamedTuple):
    """A campaign as it is shown: under `title`, a rule or why it is unknown, and since when.

    `alerts` begin with that rule's, at whose `host` it is; under none it is at no host. `why` says
    what is unknown of it, where something is.
    """

    environment: EnvironmentSnapshot
    entry: Entry
    health: Health
    state: str
    title: str
    since: Instant
    host: str
    alerts: Sequence[ActiveAlert]
    why: str

    @property
    def led(self) -> bool:
        """Whether it stands under a rule."""
        return bool(self.alerts) and self.alerts[0].alert.rule == self.title

    @property
    def impact(self) -> Impact:
        """What is at stake now."""
        return self.entry.impact(self.environment.now)


class Part(NamedTuple):
    """Rows of a group, the oldest first: of `rows` those that are `shown`, from `begin` on."""

    rows: Sequence[Row]
    shown: Sequence[Row]
    begin: int


def _urgency(active: ActiveAlert, rule: str = "") -> tuple[Any, ...]:
    """Return what alerts are sorted by: those that fire first, of them those of `rule`, if any."""
    alert = active.alert
    severity, since = [*Severity].index(active.severity), alert.since or 0.0
    return _SHOWN_AS.index(alert.shown_as), rule not in ("", alert.rule), severity, since


def row_of(rule: str, environment: EnvironmentSnapshot, entry: Entry) -> Row:
    """Return a campaign's row; it stands under `rule`, if any, where that fires."""
    health = environment.health(entry)
    alerts, known = [*entry.active_alerts()], entry.status.last_known
    if len(alerts) > 1:
        alerts.sort(key=partial(_urgency, rule=rule))
    config, shown_as = known.config, alerts[0].alert.shown_as if alerts else ""
    why, state = _unknown(environment, entry), str(health)
    if health is Health.HEALTHY:
        disabled = config is not None and not config.is_enabled
        quiet = disabled or entry.target.muted_status is not None
        calm = "muted" if quiet else "partly unknown" if why else state
        state = {"": calm, "firing": "info"}.get(shown_as, shown_as)
    title, since, host = why or "unknown", known.last_read_at or 0.0, ""
    if state in _QUIET:
        title, since = "", 0.0  # by name alone, all together
    elif shown_as == "firing" or state in _LED:
        title, since = alerts[0].alert.rule, alerts[0].alert.since or since
        host = config.host if config else ""
    return Row(environment, entry, health, state, title, since, host, alerts, why)


def _unknown(environment: EnvironmentSnapshot, entry: Entry) -> str:
    """Return why a campaign, or what rules say of it, is unknown; empty: it is not."""
    if why := why_unread(environment, entry):
        return why
    if entry.findings is None:  # which are never stored: what others hold is shown without
        return "not read since the start" if environment.holder is None else ""
    return "; ".join(doubts((one.verdict, one.summary) for one in entry.findings.values()))


def groups_of(rows: Iterable[Row]) -> Sequence[Sequence[Row]]:
    """Return the rows of the same trouble at the same place together: the worst and oldest first.

    Where it has but one campaign at its host, it is together with others of that trouble.
    """
    ordered = sorted(rows, key=lambda row: (row.since, row.entry.target.name))
    crowds = Counter((row.state, row.title, row.host) for row in ordered)
    groups = dict[tuple[str, str, str], list[Row]]()
    for row in ordered:
        place = row.state, row.title, row.host
        groups.setdefault(place if crowds[place] > 1 else (*place[:2], ""), []).append(row)
    return sorted(groups.values(), key=lambda group: STATES.index(group[0].state))


def on_page(groups: Sequence[Sequence[Row]], page: int) -> Iterator[Part]:
    """Yield what is on a page: the first rows of each group, then the others, the quiet last."""
    loud = [group for group in groups if group[0].state not in _QUIET]
    pieces = [(group, 0, FIRST) for group in loud] + [(group, FIRST, len(group)) for group in loud]
    skip, left = (page - 1) * ROWS, ROWS
    for group, begin, end in pieces + [(group, 0, len(group)) for group in groups[len(loud) :]]:
        rows = group[begin:end][skip : skip + left]
        if rows:
            yield Part(group, rows, begin + skip)
        skip, left = max(0, skip - len(group[begin:end])), left - len(rows)


def banners(snapshot: Snapshot) -> Sequence[Sequence[tuple[EnvironmentSnapshot, ActiveAlert]]]:
    """Return the environments' own alerts, those of a rule together; muted ones are left out."""
    all_own = ((of, one) for of in snapshot.environments.values() for one in of.active_alerts())
    own = [(of, active) for of, active in all_own if active.alert.muted_by is None]
    found = dict[tuple[str, str], list[tuple[EnvironmentSnapshot, ActiveAlert]]]()
    for of, active in sorted(own, key=lambda each: _urgency(each[1])):
        found.setdefault((active.alert.rule, active.alert.shown_as), []).append((of, active))
    return list(found.values())
