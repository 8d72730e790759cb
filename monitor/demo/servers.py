"""Customers' SFTP servers: who may log in, what is in the way, and their own log of logins."""

from dataclasses import dataclass, field
from enum import Enum


class Network(Enum):
    """What becomes of a connection to a host."""

    OPEN = "open"
    CLOSED = "closed"  # a firewall drops it: it times out
    REFUSING = "refusing"  # nothing listens there


@dataclass(frozen=True, slots=True)
class Login:
    """A line of a server's log: who tried to log in, when, and whether that failed."""

    at: float
    username: str
    failed: bool


@dataclass(slots=True)
class Server:
    """A customer's SFTP server. `passwords` are by user name; a private key is one, too.

    After `locks_after` failed logins in a row it lets a user in no more; None: it never locks.
    """

    passwords: dict[str, str] = field(default_factory=dict)
    port: int = 22
    network: Network = Network.OPEN
    host_key: str = "host key 1"
    locks_after: int | None = None
    removed: set[tuple[str, str]] = field(default_factory=set)  # folders: user name, path
    failures: dict[str, int] = field(default_factory=dict)  # in a row, by user name
    log: list[Login] = field(default_factory=list)

    def locked(self, username: str) -> bool:
        """Return whether the user is locked out, whatever the password."""
        return self.locks_after is not None and self.failures.get(username, 0) >= self.locks_after

    def unlock(self, username: str) -> None:
        """Let a user in again who was locked out."""
        self.failures.pop(username, None)

    def lets_in(self, username: str, password: str) -> bool:
        """Return whether a login would succeed, without trying it."""
        return self.passwords.get(username) == password and not self.locked(username)

    def log_in(self, username: str, password: str, now: float) -> bool:
        """Return whether a login succeeds; it is logged, and a failed one counts."""
        success = self.lets_in(username, password)
        self.failures[username] = 0 if success else self.failures.get(username, 0) + 1
        self.log.append(Login(now, username, failed=not success))
        return success
