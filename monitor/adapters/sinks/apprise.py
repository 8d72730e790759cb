"""Everything else that notifies people, through the package apprise: mail, PagerDuty, Slack, more.

It is an extra, so it is imported when the first event is sent.
"""

import asyncio
import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from monitor.adapters.sinks import Sink, SinkContext, UncertainDeliveryError
from monitor.config import SecretError
from monitor.config.model import Apprise
from monitor.core.model import Event, EventStatus, Seconds, Severity
from monitor.core.text import pairs, plain
from monitor.serialize import Links, record_of, to_json, where_of

WITHIN: Seconds = 30.0
"""What a delivery may take: a mail is several exchanges."""


def sinks_of(services: Sequence[Apprise], context: SinkContext) -> list[Sink]:
    """Return a sink for each of `notify.apprise`; apprise does not say why it could not send."""
    named = {f"apprise-{number}": service for number, service in enumerate(services, 1)}
    # A thread for each: apprise blocks, and a service that hangs must hold up nothing else.
    return [
        Sink(name, partial(_deliver, ThreadPoolExecutor(1, name), service, context.links))
        for name, service in named.items()
    ]


async def _deliver(
    thread: ThreadPoolExecutor, service: Apprise, links: Links, event: Event
) -> None:
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(WITHIN):
            await loop.run_in_executor(thread, _send, service, links, event)
    except TimeoutError:
        raise UncertainDeliveryError(f"not sent within {WITHIN:g} s") from None
    except SecretError as error:
        raise OSError(str(error)) from None


def _send(service: Apprise, links: Links, event: Event) -> None:
    import apprise  # noqa: PLC0415 - it is an extra, and takes half a second

    # It logs URLs, and there are passwords in them.
    logging.getLogger("apprise").setLevel(logging.CRITICAL + 1)
    sender = apprise.Apprise()
    if not sender.add(service.url_file.read()):
        raise OSError("the file holds no URL that apprise knows")
    kind = "failure" if event.severity is Severity.CRITICAL else event.severity.value
    over = event.status is EventStatus.RESOLVED
    title, body = to_text(event, links)
    said = "success" if over else kind
    # Without the format a service that sends HTML takes text for it: mail shows one long line.
    if not sender.notify(title=title, body=body, notify_type=said, body_format="text"):
        raise UncertainDeliveryError("the service was not reached, or refused the message")


def to_text(event: Event, links: Links) -> tuple[str, str]:
    """Return title and body of the message about an event, for people."""
    said = to_json(record_of(event, links))
    over = event.status is EventStatus.RESOLVED
    loud = "RESOLVED" if over else f"{said['status']} {said['severity']}".upper()
    lines = {
        "Environment": said["environment"],
        "Campaign": said["campaign_id"],
        "Labels": plain(pairs(event.labels)),
        "Host": plain(said["sftp_host"]),
        "Since": said["since"],
        "Impact": None if over else said["impact"],
        "Reason": said["reason"],
        "Next step": said["next_step"],
        "Runbook": said["runbook_url"],
        "More": said["url"],
        "Event": said["event_id"],
        "Note": "perhaps it was sent before" if said["redelivery"] else None,
    }
    known = [f"{name}: {value}" for name, value in lines.items() if value]
    title = f"{loud} {said['rule']}: {plain(where_of(event))}"
    return title, "\n".join([plain(said["summary"]), "", *known])
