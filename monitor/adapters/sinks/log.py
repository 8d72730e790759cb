"""Standard output: alert events as JSON lines for pipelines, or as lines for people.

They do not go through `logging`, which swallows a full disk: this sink knows whether it worked.
"""

from functools import partial

from monitor.adapters.sinks import Sink, SinkContext
from monitor.config.model import Log
from monitor.core.model import Event, EventStatus
from monitor.core.text import clean, rfc3339
from monitor.serialize import EventRecord, event_line, quoted, record_of, where_of


def sinks_of(log: Log, context: SinkContext) -> list[Sink]:
    """Return the sink that is always there."""
    return [Sink("log", partial(_deliver, log, context))]


async def _deliver(log: Log, context: SinkContext, event: Event) -> None:
    line = event_line(event, context.links)
    if log.format == "console":
        text = to_text(record_of(event, context.links))
        line = f"{rfc3339(event.decided_at)[11:19]} {text}\n".encode("utf-8", "replace")
    # Standard output cannot be read back: after a crash its last line may be half of one.
    await context.write(b"\n" + line if event.redelivery else line)


def to_text(event: EventRecord) -> str:
    """Return the event as one line for people, without its time."""
    over = event.status is EventStatus.RESOLVED
    loud = "resolved" if over else f"{event.status.value} {event.severity.value}"
    who = clean(event.campaign_name or event.campaign_id or "", 60)
    where = f"{event.environment}/{quoted(who)}" if who else where_of(event)
    host = f" ({quoted(clean(event.sftp_host, 60))})" if event.sftp_host else ""
    why = f" [{event.reason}{f' by {event.muted_by}' if event.muted_by else ''}]" if over else ""
    since = "" if event.since is None or over else f", since {rfc3339(event.since)}"
    impact = f"; {clean(event.impact, 120)}" if event.impact and not over else ""
    summary = event.summary.removeprefix(f"{where_of(event)}: ")  # it stands before, quoted
    what = f"{clean(summary, 200)}{since}{impact}{why}"
    return f"{loud:<17} {event.rule:<19} {where}{host}: {what}"
