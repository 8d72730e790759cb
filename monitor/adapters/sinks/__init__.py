"""Where events are delivered to: a module for each sink. A new one is a line in `sinks_of`."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from monitor.adapters.sinks.alertmanager import AlertmanagerContext, AlertmanagerSink
from monitor.adapters.sinks.apprise import AppriseSink
from monitor.adapters.sinks.file import FileSink
from monitor.adapters.sinks.log import LogSink, WriteLine
from monitor.adapters.sinks.webhook import PermanentDeliveryError, WebhookSink
from monitor.config import Config
from monitor.core.model import Event
from monitor.serialize import Links

__all__ = [
    "AlertmanagerContext",
    "PermanentDeliveryError",
    "ReadableSink",
    "ResendingSink",
    "Sink",
    "WriteLine",
    "links_of",
    "sinks_of",
]  # fmt: skip


class Sink(Protocol):
    """Where events are delivered to. `name` is its key in the database and its metric label."""

    name: str

    async def deliver(self, event: Event) -> None:
        """Deliver one event, in order; return only when it is taken.

        Raises OSError when it is to be tried again, PermanentDeliveryError when it never will be.
        """


@runtime_checkable
class ReadableSink(Sink, Protocol):
    """A sink that can be asked what it has; of any other nobody knows."""

    async def has(self, event_id: str, before: str | None) -> bool | None:
        """Return whether an event was delivered before the last crash; None: nobody can know.

        `before` is the id of the event before it, if there is one. Raises OSError like `deliver`.
        """


@runtime_checkable
class ResendingSink(Sink, Protocol):
    """A sink that expires alerts which are not sent again and again."""

    async def resend(self) -> None:
        """Send again all that fires now. Raises OSError like `deliver`."""


def links_of(config: Config) -> Links:
    """Return where events point to under this config."""
    return Links(config.alerts.runbook_url, config.web.external_url)


def sinks_of(
    config: Config, write: WriteLine, context: AlertmanagerContext, *, threaded: bool
) -> Sequence[Sink]:
    """Return the sinks that the config asks for; `write` writes to standard output.

    Unless `threaded`, a file is written by the loop's own thread: on virtual time no other may run.
    """
    links, file, notify = links_of(config), config.alerts.file.path, config.notify
    urls, services = enumerate(notify.alertmanager.urls, 1), enumerate(notify.apprise, 1)
    return [
        LogSink(write, links, for_people=config.log.format == "console"),
        *([] if file is None else [FileSink(file, links, threaded=threaded)]),
        *(AlertmanagerSink(number, url, links, context) for number, url in urls),
        *(WebhookSink(webhook, links, context.now) for webhook in notify.webhooks),
        *(AppriseSink(number, service.url_file, links) for number, service in services),
    ]
