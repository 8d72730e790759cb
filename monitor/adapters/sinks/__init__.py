"""The places that are told of alerts: one small module each, with one method, `deliver`."""

from typing import Protocol

from monitor.core.model import Told


class Sink(Protocol):
    """A place that is told. `name` is its key in the database and its metric label."""

    name: str

    async def deliver(self, told: Told) -> None:
        """Tell one event, in order; return only when it is told.

        Raises OSError when it could not be: it is tried again, and nothing overtakes it.
        """


__all__ = ["Sink"]
