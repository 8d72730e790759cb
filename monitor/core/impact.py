"""What is at stake: when a campaign calls next, by its listing."""

from collections import Counter
from collections.abc import Iterable
from datetime import date, datetime, timedelta

from monitor.core.alerts import Impact
from monitor.core.attempt import Window
from monitor.core.connection_tests import Opening, zone_of
from monitor.core.model import CallTimes, Instant
from monitor.core.rule import Target
from monitor.core.text import clean, span

A_WEEK_AND_BOTH_ENDS = 9  # days: yesterday's window may go over midnight

LOOKED_AT = 200  # different call times: to work out more would hold up the polls


def has_ended(calls: CallTimes, now: Instant) -> bool:
    """Return whether the campaign's last day is over."""
    return bool(calls.last_day) and _today(calls, now) > date.fromisoformat(calls.last_day)


def impact_of(calls: CallTimes, import_schedule: str, now: Instant) -> Impact:
    """Return what is at stake of a campaign that calls so, and whose lists are imported so."""
    if has_ended(calls, now):
        return Impact(f"no calls any more (ended {calls.last_day})")
    imports = f"; imports {clean(import_schedule, 32)}" if import_schedule else ""
    window = next_calls(calls, now)
    if window is None:
        return Impact(imports.removeprefix("; "))
    begin, end = window
    zone = zone_of(calls.zone)
    if begin <= now:
        until = f"{datetime.fromtimestamp(end, zone):%H:%M} {zone}"
        return Impact(f"calling now until {until}{imports}", begin)
    starts = f"{datetime.fromtimestamp(begin, zone):%a %H:%M} {zone}"
    return Impact(f"calls start {starts}, in {span(begin - now)}{imports}", begin)


def impact_of_all(targets: Iterable[Target], now: Instant) -> Impact:
    """Return what is at stake where something is wrong for all of these campaigns."""
    kinds = Counter(one.calls for one in targets if one.muted_status is None)
    count = f"{kinds.total()} campaign{'s' * (kinds.total() != 1)}" if kinds else ""
    looked_at, cut = [*kinds][:LOOKED_AT], len(kinds) > LOOKED_AT
    begins = {one: window[0] for one in looked_at if (window := next_calls(one, now))}
    if not begins:
        return Impact(count)
    first = min(begins, key=begins.__getitem__)
    calling = sum(kinds[one] for one, begin in begins.items() if begin <= now)
    if calling:
        return Impact(f"{count}, {'at least ' * cut}{calling} calling now", begins[first])
    soon = f"{impact_of(first, '', now).text}{' or sooner' * cut}"
    return Impact(f"{count}; {soon}", begins[first])


def next_calls(calls: CallTimes, now: Instant) -> tuple[Instant, Instant] | None:
    """Return when calls begin and end next, those of now included; None where that is unknown."""
    if not calls.windows:
        return None
    day = _today(calls, now) - timedelta(days=1)
    if calls.first_day:
        day = max(day, date.fromisoformat(calls.first_day))
    # No day comes after that year's last one, and nobody calls then.
    if day.year == date.max.year:
        return None
    for one in (day + timedelta(days=n) for n in range(A_WEEK_AND_BOTH_ENDS)):
        over = bool(calls.last_day) and one > date.fromisoformat(calls.last_day)
        if over or (calls.days and one.isoweekday() not in calls.days):
            continue
        for window in sorted(calls.windows):
            begin, end = Opening(Window(*window), zone_of(calls.zone)).on(one)
            if max(now, begin) < end:
                return begin, end
    return None


def _today(calls: CallTimes, now: Instant) -> date:
    return datetime.fromtimestamp(now, zone_of(calls.zone)).date()
