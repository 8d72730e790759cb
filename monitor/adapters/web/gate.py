"""Who may come in: the web config file as it is now, looked at whenever somebody comes."""

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from monitor.adapters.web.guard import SECURITY_HEADERS
from monitor.adapters.web.passwords import Passwords
from monitor.config import Access

logger = logging.getLogger(__name__)

OPEN_TO_ALL = frozenset({"/-/healthy", "/-/ready"})
"""What supervisors ask, who know no password."""

_Stamp = tuple[tuple[int, ...] | None, ...]


class Gate:
    """What the web config file says, read again when it or a file that it names has changed."""

    def __init__(self, read: Callable[[], Access]) -> None:
        """Read it; raises ConfigError. `read` gives what the file says at that moment."""
        self._read = read
        self._access = read()
        self._stamp = _stamp(self._access.files)
        self.passwords = Passwords()

    @property
    def access(self) -> Access:
        """What is in force now. A new file that is wrong is told once, and changes nothing."""
        # Four calls of stat are cheaper than remembering when the last ones were.
        stamp = _stamp(self._access.files)
        if stamp != self._stamp:
            self._stamp = stamp
            self.read_again()
        return self._access

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers of every answer."""
        return {**SECURITY_HEADERS, **self._access.headers}

    def read_again(self) -> None:
        """Read the file, whether it looks changed or not, and take it."""
        self.take(self.read())

    def read(self) -> Access:
        """Return what the file says now; or what is in force where it cannot be used."""
        try:
            return self._read() if self._access.files else self._access
        # Whatever it is, it must not keep out whoever comes in just now.
        except Exception as error:
            why = getattr(error, "problems", (type(error).__name__,))[0]
            logger.error("the web config file stays as it was: %s", why)
            return self._access

    def take(self, access: Access) -> None:
        """Put in force what was read; that TLS is used, or is not, never changes."""
        if access is self._access:
            return
        if (access.tls is None) != (self._access.tls is None):
            logger.error("the web config file stays as it was: TLS on or off needs a restart")
            return
        # Other files than before were not looked at yet: the next time they are read once more.
        if access.files != self._access.files:
            self._stamp = ()
        self._access = access
        logger.info("the web config file was read again")


def with_password(gate: Gate) -> Middleware:
    """Return what answers 401 to those who need a password, and have none that is right."""

    @web.middleware
    async def ask(request: web.Request, handler: Handler) -> web.StreamResponse:
        """Let those in who have a password, or need none."""
        users = gate.access.users
        if users and request.path not in OPEN_TO_ALL:
            given = request.headers.get("Authorization", "")
            if not await gate.passwords.right(users, given):
                wanted = 'Basic realm="sftp-monitor", charset="UTF-8"'
                raise web.HTTPUnauthorized(
                    text="a user name and its password are wanted",
                    headers={"WWW-Authenticate": wanted},
                )
        return await handler(request)

    return ask


def _stamp(files: Sequence[Path]) -> _Stamp:
    """Return what changes whenever one of the files does; a file that is gone has None."""
    return tuple(_one_stamp(path) for path in files)


def _one_stamp(path: Path) -> tuple[int, ...] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino
