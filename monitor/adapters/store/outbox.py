"""How events are read again: what waits for a sink, and the history; SQL as in `rows`."""

from dataclasses import replace

from monitor.adapters.store import rows
from monitor.core.model import Event, EventKind, EventStatus
from monitor.core.snapshot import HistoryQuery
from monitor.core.text import clean


def newest(connection: rows.Connection) -> int:
    """Return the row of the newest event; 0 where there is none."""
    return int(connection.execute("SELECT coalesce(max(id), 0) FROM event").fetchone()[0])


def waiting(
    connection: rows.Connection, sink: str, lost: set[str], of: str | None = None
) -> list[rows.Entry] | None:
    """Return what waits for a sink, in order (None: it is new), or of it that `of` an environment.

    `lost` gets the names of what is damaged.
    """
    began = connection.execute(
        "SELECT event_row FROM cursor WHERE sink = ? AND environment = ''", (sink,)
    ).fetchone()
    if of is not None:
        # That of '' is never moved where others read it; this one spares reading all since.
        newest = "SELECT max(event_row) FROM cursor WHERE sink = ? AND environment IN ('', ?)"
        began = connection.execute(newest, (sink, of)).fetchone()
    if began is not None and not isinstance(began[0], int):
        lost.add(f"the stored cursor of {sink} cannot be read")
        # How far it was is in those of the environments, too.
        least = "SELECT min(event_row) FROM cursor WHERE sink = ? AND environment <> ''"
        began = connection.execute(least, (sink,)).fetchone()
    if began is None or not isinstance(began[0], int):
        return None
    query = (
        "SELECT event.id, event.event_id, event.body,"
        " (SELECT event_id FROM event AS e WHERE e.id < event.id AND e.status <> 'recorded'"
        " ORDER BY e.id DESC LIMIT 1)"
        " FROM event LEFT JOIN cursor"
        " ON cursor.sink = ? AND cursor.environment = event.environment"
        " WHERE event.id > ? AND event.id > coalesce(CAST(cursor.event_row AS BIGINT), 0)"
        " AND event.status <> 'recorded'"
    )
    entries, values = list[rows.Entry](), (sink, *began)
    if of is not None:
        query, values = query + " AND event.environment = ?", (*values, of)
    for row_id, event_id, body, before in connection.execute(query + " ORDER BY event.id", values):
        if (event := _event(event_id, body)) is None:
            lost.add(clean(f"the stored event {event_id} cannot be read", 300))
        else:
            entries.append(rows.Entry(event, row_id=row_id, before=before))
    return entries


def history(connection: rows.Connection, wanted: HistoryQuery) -> dict[int, Event]:
    """Return the events that pass the filter, newest first; what cannot be decoded is left out."""
    events = dict[int, Event]()
    # Once more for what was left out: fewer than the limit would read as the end of the history.
    while (missing := wanted.limit - len(events)) > 0:
        where, values = _filter(wanted)
        query = f"SELECT id, event_id, body FROM event WHERE {where} ORDER BY id DESC LIMIT ?"  # noqa: S608
        found = connection.execute(query, (*values, missing)).fetchall()
        decoded = ((row_id, _event(event_id, body)) for row_id, event_id, body in found)
        events.update((row_id, event) for row_id, event in decoded if event is not None)
        if len(found) < missing:
            break
        wanted = replace(wanted, next=found[-1][0])
    return events


def counts(connection: rows.Connection, wanted: HistoryQuery) -> dict[str, int]:
    """Return how many events of each status pass the filter, whatever page is asked for."""
    where, values = _filter(replace(wanted, next=None))
    query = f"SELECT status, count(*) FROM event WHERE {where} GROUP BY status"  # noqa: S608
    found = dict(connection.execute(query, values))
    return {status.value: found.get(status, 0) for status in EventStatus}


def _filter(wanted: HistoryQuery) -> tuple[str, list[str | float]]:
    """Return the condition of a query on events, and its values."""
    of_none = "campaign_id IS NULL AND '' = ?"
    conditions = {
        "decided_at >= ?": wanted.since,
        "environment = ?": wanted.environment,
        of_none if wanted.campaign_id == "" else "campaign_id = ?": wanted.campaign_id,
        "rule = ?": wanted.rule,
        "id < ?": wanted.next,
    }
    if wanted.kind is EventKind.ALERT:
        conditions["status <> ?"] = EventStatus.RECORDED
    elif wanted.kind is not None:
        conditions["? = rule"] = wanted.kind  # both of them, where a rule is asked for, too
    asked = {text: value for text, value in conditions.items() if value is not None}
    return " AND ".join(asked) or "TRUE", list(asked.values())


def _event(event_id: str, body: str) -> Event | None:
    """Return a stored event, with the epoch that is in its id; None: it cannot be decoded."""
    event = rows.EVENT.decode(body)
    event = event and replace(event, epoch="".join(str(event_id).split("-")[1:2]))
    # Else it would be sent under the id of another one.
    return event if event and event.event_id == event_id else None
