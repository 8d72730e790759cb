"""Who may come in: the web config file as it is now, and HTTP basic authentication with bcrypt."""

import asyncio
import binascii
import hashlib
import logging
import os
from base64 import b64decode
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import bcrypt
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from monitor.adapters.web.security import SECURITY_HEADERS
from monitor.config import Access

UNAUTHENTICATED_PATHS = frozenset({"/-/healthy", "/-/ready"})
"""Probe endpoints, exempt from basic auth."""

CACHED = 100
"""So many successful verifications are cached, so that a scrape costs no hash."""

LONGEST = 72
"""Bytes of a password that bcrypt looks at; the library refuses more, others cut."""

logger = logging.getLogger(__name__)

_Stamp = tuple[tuple[int, ...] | None, ...]


class WebConfigReloader:
    """What the web config file says, read again when it or a file that it names has changed.

    A change is in force for the next connection, and for the next request of those that are open.
    """

    def __init__(self, read: Callable[[], Access]) -> None:
        """Read it; raises ConfigError. `read` returns what the file says at that moment."""
        self._read = read
        self._access = read()
        self._stamp = _stamp(self._access.files)

    @property
    def access(self) -> Access:
        """What is in force now. A new file that is wrong is logged once, and changes nothing."""
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


class BasicAuth:
    """Verifies passwords, one after the other in a thread of its own: a hash takes 50 ms or more.

    An unknown user takes as long as a known one, and a wrong password as long as a right one.
    """

    def __init__(self) -> None:
        """Start with an empty cache; the thread starts with the first password."""
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="bcrypt")
        self._one_at_a_time = asyncio.Lock()
        self._key = os.urandom(32)
        self._verified: set[bytes] = set()

    def required(self, config: WebConfigReloader) -> Middleware:
        """Return the middleware that answers 401 unless a user's name and password are given."""

        @web.middleware
        async def verified(request: web.Request, handler: Handler) -> web.StreamResponse:
            """Pass on who needs no password, or gives the right one."""
            users = config.access.users
            if users and request.path not in UNAUTHENTICATED_PATHS:
                given = request.headers.get("Authorization", "")
                if not await self.verify(users, given):
                    wanted = 'Basic realm="sftp-monitor", charset="UTF-8"'
                    raise web.HTTPUnauthorized(
                        text="a user name and its password are wanted",
                        headers={"WWW-Authenticate": wanted},
                    )
            return await handler(request)

        return verified

    async def verify(self, users: Mapping[str, str], authorization: str) -> bool:
        """Return whether this header has a user's name and password; `users` are bcrypt hashes."""
        credentials = _credentials(authorization)
        if credentials is None:
            return False
        name, password = credentials
        hashed = users.get(name)
        # Keyed, so that a dump of our memory is nothing to try passwords on without bcrypt.
        pair = hashlib.blake2b(repr((name, hashed, password)).encode(), key=self._key).digest()
        # Before the queue: whoever tries passwords must not hold up Prometheus.
        if pair in self._verified:
            return True
        async with self._one_at_a_time:
            # Whoever waited for the same pair need not have it hashed again.
            if pair in self._verified:
                return True
            loop = asyncio.get_running_loop()
            highest = max(map(_cost, users.values()))
            if not await loop.run_in_executor(self._thread, matches, password, hashed, highest):
                return False
            if len(self._verified) >= CACHED:
                self._verified.clear()
            self._verified.add(pair)
            return True

    def close(self) -> None:
        """Let the thread end; nobody waits for it."""
        self._thread.shutdown(wait=False, cancel_futures=True)


def matches(password: bytes, hashed: str | None, highest: int) -> bool:
    """Return whether the password is right; takes as long as one hash of the cost `highest`.

    `hashed` is None for an unknown user: then a dummy hash of that cost is compared.
    """
    known = hashed or _dummy(highest)
    right = bcrypt.checkpw(password[:LONGEST], known.encode())
    # A cost of c takes 2^c, and 2^c + 2^c + 2^(c+1) + … + 2^(d-1) is 2^d.
    for cost in range(_cost(known), highest):
        bcrypt.checkpw(password[:LONGEST], _dummy(cost).encode())
    return right and hashed is not None


def _credentials(authorization: str) -> tuple[str, bytes] | None:
    scheme, _, encoded = authorization.partition(" ")
    try:
        raw = b64decode(encoded.strip(), validate=True)
        name, colon, password = raw.partition(b":")
        return (name.decode(), password) if colon and scheme.lower() == "basic" else None
    except (binascii.Error, ValueError):
        return None


def _dummy(cost: int) -> str:
    """Return a hash of this cost that no known password has."""
    return f"$2b${cost:02d}${'.' * 53}"


def _cost(hashed: str) -> int:
    return int(hashed.split("$")[2])


def _stamp(files: Sequence[Path]) -> _Stamp:
    """Return what changes whenever one of the files does; a file that is gone has None."""
    return tuple(_one_stamp(path) for path in files)


def _one_stamp(path: Path) -> tuple[int, ...] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino
