"""Where events are delivered to: a module for the log, the file, and each key of `config.notify`.

A new sink is a key of `Notify` in `config.model`, and a module here by the name of that key, whose
`sinks_of` makes a sink, or several, of the key's value.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from importlib import import_module

from monitor.config import Config
from monitor.core.model import DAY, HOUR, Instant, Seconds
from monitor.core.snapshot import Snapshot
from monitor.serialize import Links

HOLD: Seconds = HOUR
"""How long an alert that is not sent again still fires: over our death, as the shipped rules do."""

HOLDS = {False: HOLD, True: DAY}
"""The same by whether replicas share the state: none sends again while their database is away."""


class PermanentDeliveryError(Exception):
    """The receiver will never take this event: it is passed over, or it would block all others."""


class UncertainDeliveryError(OSError):
    """Nobody knows whether the receiver took this event: when it is sent again, it is marked."""


@dataclass(frozen=True, slots=True)
class Sink:
    """Where events are delivered to, and what else can be asked of it.

    `name` is its key in the database and its metric label. `deliver` returns only when the event is
    taken; it raises OSError when it is to be tried again, PermanentDeliveryError when it never will
    be. It takes several `at_once` where a crash halfway repeats none, or repeating does no harm.
    `has` returns how many of these events, which stand in their order,
    were delivered before the last crash, by their ids and that of the one before them, if there is
    one; None: nobody can know. `resend` sends again all that fires, to what expires alerts. All
    raise OSError like `deliver`.
    """

    name: str
    deliver: Callable[..., Awaitable[None]]
    at_once: bool = False
    has: Callable[[Sequence[str], str | None], Awaitable[int | None]] | None = None
    resend: Callable[[], Awaitable[None]] | None = None


WriteLine = Callable[[bytes], Awaitable[None]]
"""Writes one whole line; returns when it is written, raises OSError when it was not."""


@dataclass(frozen=True, slots=True)
class SinkContext:
    """What sinks may need beside their settings.

    `write` writes to standard output. Unless `threaded`, a file is written by the loop's own
    thread: on virtual time no other may run.
    """

    links: Links
    write: WriteLine
    now: Callable[[], Instant]
    snapshot: Callable[[], Snapshot]
    hold: Seconds = HOLD
    threaded: bool = True


def links_of(config: Config) -> Links:
    """Return where events point to under this config."""
    return Links(config.alerts.runbook_url, config.web.external_url, config.links.campaign_url)


def sinks_of(config: Config, context: SinkContext) -> Sequence[Sink]:
    """Return the sinks that the config asks for."""
    settings = {"log": config.log, "file": config.alerts.file, **dict(config.notify)}
    modules = {name: import_module(f"{__name__}.{name}") for name in settings}
    return [sink for name, own in settings.items() for sink in modules[name].sinks_of(own, context)]
