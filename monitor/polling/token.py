"""The token of one environment, read again whenever it may have changed."""

import structlog

from monitor.config import SecretError, TokenSource

log = structlog.get_logger()


class Token:
    """A token and where it comes from. `generation` counts how often it was read."""

    def __init__(self, environment: str, source: TokenSource) -> None:
        """Read the token; raises SecretError when it cannot be."""
        self.generation = 0
        self.value = source.read()
        self._environment = environment
        self._source = source

    def count_on_from(self, before: "Token") -> None:
        """Take the place of a token that was read before: a reload has read it again."""
        # Counted from 0, no 401 to it would ever look later than one to its predecessor.
        self.generation = before.generation + 1

    def read_again(self) -> None:
        """Read the token again, after it was rejected; the same one counts as read, too."""
        # The breaker waits for a 401 to a later generation, be it of the same token.
        if not self.changed():
            self.generation += 1

    def changed(self) -> bool:
        """Take another token if the source has one by now; a broken file keeps the old one."""
        try:
            value = self._source.read()
        except SecretError as error:
            log.warning("token_unreadable", environment=self._environment, problem=str(error))
            return False
        if value == self.value:
            return False
        self.value = value
        self.generation += 1
        log.info("token_changed", environment=self._environment)
        return True
