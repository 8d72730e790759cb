"""The places that are told of alerts: one small module each. A new one is a line in `sinks_of`."""

from collections.abc import Sequence

from monitor.adapters.sinks.alertmanager import AlertmanagerSink, Situation
from monitor.adapters.sinks.apprise import AppriseSink
from monitor.adapters.sinks.file import FileSink
from monitor.adapters.sinks.log import LogSink, WriteLine
from monitor.adapters.sinks.sink import RefusedError, RepeatingSink, Sink
from monitor.adapters.sinks.webhook import WebhookSink
from monitor.config import Config
from monitor.serialize import Links


def links_of(config: Config) -> Links:
    """Return where events point to under this config."""
    return Links(config.alerts.runbook_url, config.web.external_url)


def sinks_of(
    config: Config, write: WriteLine, situation: Situation, *, threaded: bool
) -> Sequence[Sink]:
    """Return the sinks that the config asks for; `write` writes to standard output.

    Unless `threaded`, a file is written by the loop's own thread: on virtual time no other may run.
    """
    links, notify = links_of(config), config.notify
    sinks: list[Sink] = [
        LogSink(write, links, for_people=config.log.format == "console"),
    ]
    if config.alerts.file.path is not None:
        sinks.append(FileSink(config.alerts.file.path, links, threaded=threaded))
    for number, url in enumerate(notify.alertmanager.urls, start=1):
        sinks.append(AlertmanagerSink(number, url, links, situation))
    sinks += [WebhookSink(webhook, links, situation.now) for webhook in notify.webhooks]
    for number, service in enumerate(notify.apprise, start=1):
        sinks.append(AppriseSink(number, service.url_file, links))
    return sinks


__all__ = [
    "RefusedError",
    "RepeatingSink",
    "Sink",
    "Situation",
    "WriteLine",
    "links_of",
    "sinks_of",
]
