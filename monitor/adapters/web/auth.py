"""Who may come in: the web config file as it is now, basic authentication, and no other site."""

import hashlib
import logging
import os
import re
import secrets
from base64 import b64decode
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import bcrypt
from aiohttp import web

from monitor.adapters.web.workers import Worker
from monitor.config import Access

SECURITY_HEADERS: Mapping[str, str] = {
    "Server": "sftp-monitor",
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; img-src 'self'; script-src 'self'; "
        "connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
"""On every answer, errors included; those that the web config file names have its value."""

USER = web.RequestKey("user", str)
"""Who a request is by, where a password was needed."""

CACHED = 100  # so many successful verifications are cached, so that a scrape costs no hash
_UNAUTHENTICATED_PATHS = frozenset({"/-/healthy", "/-/ready"})  # probe endpoints
_LONGEST = 72  # bytes of a password that bcrypt reads; the library refuses more, others cut

logger = logging.getLogger(__name__)


class WebConfigReloader:
    """What the web config file says: `read` at once, and anew where one of its files changed."""

    def __init__(self, read: Callable[[], Access]) -> None:
        self._read, self._access = read, read()
        self._stamps = [_stamp(path) for path in self._access.files]

    @property
    def access(self) -> Access:
        """What is in force now."""
        # Four calls of stat are cheaper than remembering when the last ones were.
        stamps = [_stamp(path) for path in self._access.files]
        if stamps != self._stamps:
            self._stamps = stamps
            self.reload()
        return self._access

    def reload(self) -> None:
        """Read the file, if there is one, now. One that is wrong is logged, and changes nothing."""
        before, problem = self._access, "TLS on or off needs a restart"
        if not before.files:
            return
        try:
            access = self._read()
        # Whatever it is, it must not keep out whoever comes in just now.
        except Exception as error:
            access, problem = before, getattr(error, "problems", (type(error).__name__,))[0]
        if access is before or (access.tls is None) != (before.tls is None):
            logger.error("the web config file stays as it was: %s", problem)
            return
        # Other files than before were not compared yet: the next time they are read once more.
        if access.files != before.files:
            self._stamps = []
        self._access = access
        logger.info("the web config file was read again")


class BasicAuth:
    """Verifies passwords, one after the other in a thread: a hash takes 50 ms or more."""

    def __init__(self) -> None:
        self.worker = Worker("bcrypt", web.HTTPTooManyRequests)
        self._key = os.urandom(32)
        self._verified: set[bytes] = set()

    async def require(self, request: web.Request, users: Mapping[str, str]) -> None:
        """Raise HTTPUnauthorized unless a user's name and password are given, or none is needed."""
        if not users or request.path in _UNAUTHENTICATED_PATHS:
            return
        user = await self.verify(users, request.headers.get("Authorization", ""))
        if user is None:
            wanted = {"WWW-Authenticate": 'Basic realm="sftp-monitor", charset="UTF-8"'}
            text = "a user name and its password are wanted"
            raise web.HTTPUnauthorized(text=text, headers=wanted)
        request[USER] = user

    async def verify(self, users: Mapping[str, str], authorization: str) -> str | None:
        """Return the user whose name and password this header has; `users` are bcrypt hashes."""
        scheme, _, encoded = authorization.partition(" ")
        try:
            given, colon, password = b64decode(encoded.strip(), validate=True).partition(b":")
            name = given.decode()
        except ValueError:
            return None
        if not colon or scheme.lower() != "basic":
            return None
        hashed = users.get(name)
        # Keyed, so that a dump of our memory is nothing to try passwords on without bcrypt.
        pair = hashlib.blake2b(repr((name, hashed, password)).encode(), key=self._key).digest()
        # Before any work: whoever tries passwords must not hold up Prometheus.
        if pair in self._verified:
            return name
        highest = max(int(each.split("$")[2]) for each in users.values())
        check = partial(matches, password, hashed, highest)
        if right := await self.worker.run(pair, lambda: check):
            if len(self._verified) >= CACHED:
                self._verified.clear()
            self._verified.add(pair)
        return name if right else None


def matches(password: bytes, hashed: str | None, highest: int) -> bool:
    """Return whether the password is right; no user (None) takes as long as the cost `highest`."""
    known = hashed or f"$2b${highest:02d}${'.' * 53}"
    return bcrypt.checkpw(password[:_LONGEST], known.encode()) and hashed is not None


def refuse_pages(request: web.Request) -> None:
    """Raise HTTPForbidden for what a page in a browser sends: of another site, for ours do not."""
    if "Origin" in request.headers or request.headers.get("Sec-Fetch-Site", "none") != "none":
        raise web.HTTPForbidden(text="a page in a browser may not ask for this")


def refuse_names(request: web.Request, external_url: str | None) -> None:
    """Raise HTTPMisdirectedRequest for a Host that may be somebody else's name, made to lead here.

    A browser takes us for the server of such a page (DNS rebinding), but never by an address,
    localhost or the host of `external_url`.
    """
    name = re.sub(r"\.?(:[0-9]*)?$", "", request.headers.get("Host", "").lower())
    if name in {"", "localhost", urlsplit(external_url or "").hostname}:
        return
    try:
        ip_address(name.removeprefix("[").removesuffix("]"))
    except ValueError:
        text = "expected localhost, an address or the host of web.external_url as Host"
        raise web.HTTPMisdirectedRequest(text=text) from None


def subjects_of(certificate: Mapping[str, Any] | None) -> set[str]:
    """Return the common names of a client's certificate, as `ssl` gives it; None has none."""
    parts = (part for group in (certificate or {}).get("subject", ()) for part in group)
    return {value for name, value in parts if name == "commonName"}


@contextmanager
def key_beside(state: Path | None) -> Iterator[str]:
    """Give a new key, which lies beside the state until the end, for its owner alone.

    Without a state it is empty, and opens nothing. Raises OSError.
    """
    if state is None:
        yield ""
        return
    path, key = key_path(state), secrets.token_urlsafe(32)
    # Never half there, and whatever is: replicas on one PostgreSQL may run in one folder.
    written = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    with os.fdopen(os.open(written, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(key)
    written.replace(path)
    try:
        yield key
    finally:
        # One that stays opens nothing: the next start has another one.
        with suppress(OSError):
            if path.read_text() == key:
                path.unlink()


def key_path(state: Path) -> Path:
    """Return where the key beside a state is."""
    return state.with_name(f"{state.name}.key")


def _stamp(path: Path) -> tuple[int, ...] | None:
    """Return what changes whenever the file does; None for one that is gone."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino
