"""Standard output: alert events as JSON lines, or as lines for people.

They do not go through `logging`, which swallows a full disk: this sink knows whether it worked.
"""

from monitor.adapters.sinks import Sink, SinkContext, WriteLine
from monitor.config.model import Log
from monitor.core.model import Event, EventStatus
from monitor.core.text import clean, rfc3339
from monitor.serialize import EventRecord, Links, event_line, record_of


def sinks_of(log: Log, context: SinkContext) -> list[Sink]:
    """Return the sink that is always there."""
    return [LogSink(context.write, context.links, for_people=log.format == "console")]


class LogSink(Sink):
    """Writes alert events to standard output, as JSON for pipelines or as lines for people."""

    name = "log"

    def __init__(self, write: WriteLine, links: Links, *, for_people: bool) -> None:
        self._write, self._links, self._for_people = write, links, for_people

    async def deliver(self, event: Event) -> None:
        """Write the event as one line. Raises OSError when it could not be written."""
        line = event_line(event, self._links)
        if self._for_people:
            text = to_text(record_of(event, self._links))
            line = f"{rfc3339(event.decided_at)[11:19]} {text}\n".encode("utf-8", "replace")
        # Standard output cannot be read back: after a crash its last line may be half of one.
        await self._write(b"\n" + line if event.redelivery else line)


def to_text(event: EventRecord) -> str:
    """Return the event as one line for people, without its time."""
    over = event.status is EventStatus.RESOLVED
    loud = "resolved" if over else f"{event.status.value} {event.severity.value}"
    who = clean(event.campaign_name or event.campaign_id or "", 60)
    where = f"{event.environment}/{who}" if who else event.environment
    host = f" ({clean(event.sftp_host, 60)})" if event.sftp_host else ""
    why = f" [{event.reason}{f' by {event.muted_by}' if event.muted_by else ''}]" if over else ""
    since = "" if event.since is None or over else f", since {rfc3339(event.since)}"
    return f"{loud:<17} {event.rule:<19} {where}{host}: {clean(event.summary, 200)}{since}{why}"
