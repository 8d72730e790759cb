"""What every sink can do."""

from typing import Protocol, runtime_checkable

from monitor.core.model import Event


class RefusedError(Exception):
    """The receiver will never take this event: it is passed over, or it would block all others."""


class Sink(Protocol):
    """A place that is told. `name` is its key in the database and its metric label."""

    name: str

    async def deliver(self, event: Event) -> None:
        """Tell one event, in order; return only when it is told.

        Raises OSError when it could not be: it is tried again, and nothing overtakes it; or
        RefusedError, when it never can be.
        """

    async def has(self, event_id: str, before: str | None) -> bool | None:
        """Return whether an event was told before the last crash; None: nobody can know.

        `before` is the id of the event that is told before it, where there is one. Asked at the
        start, of what waits. Raises OSError like `deliver`.
        """


@runtime_checkable
class RepeatingSink(Sink, Protocol):
    """A place that forgets what it is not told again and again."""

    async def repeat(self) -> None:
        """Tell again all that is so now. Raises OSError like `deliver`."""
