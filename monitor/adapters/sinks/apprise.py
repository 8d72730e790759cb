"""Everything else that notifies people, through the package apprise: mail, PagerDuty, Slack, more.

It is an extra, so it is imported when the first event is sent.
"""

import asyncio
import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from monitor.adapters.sinks import Sink, SinkContext
from monitor.config import SecretError, TokenSource
from monitor.config.model import Apprise
from monitor.core.model import Event, EventStatus, Seconds, Severity
from monitor.serialize import Links, event_json

WITHIN: Seconds = 30.0
"""What a delivery may take: a mail is several exchanges."""


def sinks_of(services: Sequence[Apprise], context: SinkContext) -> list[Sink]:
    """Return a sink for each of `notify.apprise`."""
    numbered = enumerate(services, 1)
    return [AppriseSink(number, each.url_file, context.links) for number, each in numbered]


class AppriseSink(Sink):
    """Notifies people through one apprise URL."""

    def __init__(self, number: int, url: TokenSource, links: Links) -> None:
        """Send through the URL that is in the file then; `number` counts the URLs from 1."""
        self.name = f"apprise-{number}"
        self._url, self._links = url, links
        # Its own: apprise blocks, and a service that hangs must hold up nothing else.
        self._thread = ThreadPoolExecutor(1, self.name)

    async def deliver(self, event: Event) -> None:
        """Send the event. Raises OSError when apprise could not, which does not say why."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(WITHIN):
                await loop.run_in_executor(self._thread, self._send, event)
        except TimeoutError:
            raise OSError(f"not sent within {WITHIN:g} s") from None
        except SecretError as error:
            raise OSError(str(error)) from None

    def _send(self, event: Event) -> None:
        import apprise  # noqa: PLC0415 - it is an extra, and takes half a second

        # It logs URLs, and there are passwords in them.
        logging.getLogger("apprise").setLevel(logging.CRITICAL + 1)
        service = apprise.Apprise()
        if not service.add(self._url.read()):
            raise OSError("the file holds no URL that apprise knows")
        kind = "failure" if event.severity is Severity.CRITICAL else event.severity.value
        over = event.status is EventStatus.RESOLVED
        title, body = to_text(event, self._links)
        if not service.notify(title=title, body=body, notify_type="success" if over else kind):
            raise OSError("the service was not reached, or refused the message")


def to_text(event: Event, links: Links) -> tuple[str, str]:
    """Return title and body of the message about an event, for people."""
    said = event_json(event, links)
    who = said["campaign_name"] or said["campaign_id"] or said["environment"]
    over = event.status is EventStatus.RESOLVED
    loud = "RESOLVED" if over else f"{said['status']} {said['severity']}".upper()
    lines = {
        "Environment": said["environment"],
        "Campaign": said["campaign_id"],
        "Host": said["sftp_host"],
        "Since": said["since"],
        "Reason": said["reason"],
        "Next step": said["next_step"],
        "Runbook": said["runbook_url"],
        "More": said["url"],
        "Event": said["event_id"],
    }
    known = [f"{name}: {value}" for name, value in lines.items() if value]
    return f"{loud} {said['rule']}: {who}", "\n".join([said["summary"], "", *known])
