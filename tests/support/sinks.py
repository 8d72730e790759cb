"""Sinks as the config asks for them, without a daemon around them."""

from collections.abc import Callable
from pathlib import Path

from monitor.adapters.sinks import Sink, SinkContext, WriteLine
from monitor.adapters.sinks import file as file_module
from monitor.adapters.sinks import log as log_module
from monitor.config.model import AlertFile, Log
from monitor.core.snapshot import Snapshot
from monitor.serialize import Links
from support.builders import NOW


async def nowhere(line: bytes) -> None:
    """Write a line to no place at all."""


def a_context(
    links: Links,
    write: WriteLine = nowhere,
    now: Callable[[], float] = lambda: NOW,
    snapshot: Callable[[], Snapshot] = lambda: Snapshot({}, NOW),
    *,
    threaded: bool = True,
) -> SinkContext:
    return SinkContext(links, write, now, snapshot, threaded=threaded)


def a_file_sink(path: Path, links: Links, *, threaded: bool = True) -> Sink:
    context = a_context(links, threaded=threaded)
    (sink,) = file_module.sinks_of(AlertFile.model_construct(path=path), context)
    return sink


def a_log_sink(write: WriteLine, links: Links, *, for_people: bool) -> Sink:
    log = Log.model_construct(format="console" if for_people else "json")
    (sink,) = log_module.sinks_of(log, a_context(links, write))
    return sink
