"""HTTP basic authentication with bcrypt: as slow for a wrong user as for a wrong password."""

import asyncio
import binascii
import hashlib
import os
from base64 import b64decode
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import bcrypt

REMEMBERED = 100
"""So many pairs that were right are remembered, so that a scrape costs no hash."""

LONGEST = 72
"""Bytes of a password that bcrypt looks at; the library refuses more, others cut."""


class Passwords:
    """Checks passwords, one after the other in a thread of its own: a hash takes 50 ms and more."""

    def __init__(self) -> None:
        """Know nobody yet; the thread starts with the first password."""
        self._threads = ThreadPoolExecutor(1, thread_name_prefix="bcrypt")
        self._one_at_a_time = asyncio.Lock()
        self._key = os.urandom(32)
        self._right: set[bytes] = set()

    async def right(self, users: Mapping[str, str], authorization: str) -> bool:
        """Return whether this header has a user's name and password; `users` are bcrypt hashes."""
        credentials = _credentials(authorization)
        if credentials is None:
            return False
        name, password = credentials
        hashed = users.get(name)
        # Keyed, so that a dump of our memory is nothing to try passwords on without bcrypt.
        pair = hashlib.blake2b(repr((name, hashed, password)).encode(), key=self._key).digest()
        if pair in self._right:
            return True
        async with self._one_at_a_time:
            # Whoever waited for the same pair need not have it hashed again.
            if pair in self._right:
                return True
            loop = asyncio.get_running_loop()
            dearest = max(map(_cost, users.values()))
            if not await loop.run_in_executor(self._threads, _matches, password, hashed, dearest):
                return False
            if len(self._right) >= REMEMBERED:
                self._right.clear()
            self._right.add(pair)
            return True

    def close(self) -> None:
        """Let the thread end; nobody waits for it."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def _credentials(authorization: str) -> tuple[str, bytes] | None:
    scheme, _, encoded = authorization.partition(" ")
    try:
        raw = b64decode(encoded.strip(), validate=True)
        name, colon, password = raw.partition(b":")
        return (name.decode(), password) if colon and scheme.lower() == "basic" else None
    except (binascii.Error, ValueError):
        return None


def _matches(password: bytes, hashed: str | None, dearest: int) -> bool:
    """Return whether the password is right; takes as long as a hash of the cost `dearest`."""
    known = (hashed or _nobodys(dearest)).encode()
    right = bcrypt.checkpw(password[:LONGEST], known)
    # A cost of c takes 2^c, and 2^c + 2^c + 2^(c+1) + … + 2^(d-1) is 2^d.
    for cost in range(_cost(known.decode()), dearest):
        bcrypt.checkpw(password[:LONGEST], _nobodys(cost).encode())
    return right and hashed is not None


def _nobodys(cost: int) -> str:
    """Return a hash of this cost that no known password has."""
    return f"$2b${cost:02d}${'.' * 53}"


def _cost(hashed: str) -> int:
    return int(hashed.split("$")[2])
