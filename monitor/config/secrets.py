"""Tokens: where they come from, read anew each time, and shown nowhere."""

import os
import re
import stat
from base64 import b64encode
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import SecretStr

if TYPE_CHECKING:
    import httpx

# No token is so long, but many a file given by mistake is.
MAX_TOKEN_BYTES = 4096
# What goes into an HTTP header: a line end within it would start another header.
_TOKEN = re.compile(rb"[\x21-\x7e]+")
_STRANGE = "has blanks, control or non-ASCII characters: no token has"
# What is found where a token should be: whole text, to what is said of it.
_MISTAKES = {
    rb"(['\"]).*\1": "is in quotes: write it without them",
    rb"(?i)(export\s+)?\w*(token|key|secret|password|url)\w*=.+": "is KEY=value: the value will do",
    rb"(?i)bearer\s.*": "starts with Bearer: write the token alone",
    rb"\{\s*['\"].*\}": "is JSON: write the token alone",
    rb"(?i).*(\$\{|\{\{).*|<.*>|(change|replace)[-_]?me|your[-_].*": "is a placeholder: fill it in",
    rb"(vault|op|arn|ssm|env|file|sops|ref\+\w+):.*/.*": "is a reference that nobody resolved",
}
_BOM = b"\xef\xbb\xbf"
_OTHERS = {
    stat.S_IROTH: "read by others: chmod o= it, and replace the secret",
    stat.S_IWOTH: "changed by others: chmod o-w it, and see to what is in it",
}
_MOUNTS = Path("/proc/self/mountinfo")
# A line of it: its device, whether it is `ro`, and after a dash its type.
_MOUNT = re.compile(r"^\d+ \d+ (\d+:\d+) \S+ \S+ (ro|rw)\b.* - (\S+) ", re.MULTILINE)


class SecretError(ValueError):
    """A token that cannot be used: the message names where it comes from, never what is in it."""

    def __init__(self, message: str, *, exposed: bool = False) -> None:
        super().__init__(message)
        self.exposed = exposed  # in a file that others can read
        self.exit_code = os.EX_NOPERM if exposed else os.EX_CONFIG


@dataclass(frozen=True, slots=True)
class TokenSource:
    """Where an environment's token comes from: a file, or an environment variable's `value`.

    `mounts` is the table of mounted file systems.
    """

    file: Path | None = None
    variable: str | None = None
    value: SecretStr | None = field(default=None, repr=False)
    mounts: Path = field(default=_MOUNTS, repr=False)

    @property
    def origin(self) -> str:
        """The path of the file, or the reference to the variable."""
        return f"${{{self.variable}}}" if self.file is None else str(self.file)

    def read(self) -> str:
        """Return the token as it is now, without its line end; SecretError says why not."""
        if self.file is not None:
            raw = self._content(self.file)
        else:
            value = self.value.get_secret_value() if self.value else ""
            # os.environ has bytes that are no UTF-8 as surrogates.
            raw = value.encode("utf-8", "surrogateescape")
        token = raw.rstrip(b"\r\n")
        for is_wrong, why in (
            (len(raw) > MAX_TOKEN_BYTES, f"is longer than {MAX_TOKEN_BYTES:,} bytes: no token is"),
            (not token, "is empty"),
            (token.startswith(_BOM), "starts with a byte order mark: save it without one"),
            (b"\n" in token or b"\r" in token, "has more than one line"),
            *((re.fullmatch(mistake, token), why) for mistake, why in _MISTAKES.items()),
            (not _TOKEN.fullmatch(token), _STRANGE),
        ):
            if is_wrong:
                raise SecretError(f"{self.origin} {why}")
        return token.decode("ascii")

    def _content(self, path: Path) -> bytes:
        # Without O_NONBLOCK, opening a FIFO would wait for somebody to write into it.
        flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
        try:
            descriptor = os.open(path, flags)
            try:
                # Of what was opened, not of the path: by now that may lead to another file.
                status = os.fstat(descriptor)
                if not stat.S_ISREG(status.st_mode):
                    raise SecretError(f"{path} is not a regular file")
                not_open(path, stat.S_IRWXO, status, self.mounts)
                return os.read(descriptor, MAX_TOKEN_BYTES + 1)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise SecretError(f"{path} cannot be read: {error.strerror}") from None


def not_open(
    path: Path, others: int, status: os.stat_result | None = None, mounts: Path = _MOUNTS
) -> Path:
    """Return the path of a file; SecretError where others may do with it one of these bits.

    They may where nobody can change it: in memory that `mounts` says is read-only.
    """
    status = status or path.stat()
    found = [what for bit, what in _OTHERS.items() if status.st_mode & others & bit]
    with suppress(OSError):
        if found and is_read_only_memory(status.st_dev, mounts.read_text(errors="replace")):
            return path
    if found:
        raise SecretError(f"{path} can be {found[0]}", exposed=True)
    return path


def proxy_of(url: str, credentials: TokenSource | None) -> "httpx.Proxy | None":
    """Return a proxy with its user and password as they are now; SecretError says why not."""
    import httpx  # noqa: PLC0415 - a command that only reads a config does without

    user = b64encode(credentials.read().encode()).decode() if credentials else ""
    # aiohttp makes Proxy-Authorization of it, for the proxy alone.
    headers = {"Authorization": f"Basic {user}"} if user else {}
    return httpx.Proxy(url, headers=headers) if url else None


def is_read_only_memory(device: int, mounts: str) -> bool:
    """Whether a device is as Kubernetes mounts secrets, and systemd credentials: never writable."""
    number = f"{os.major(device)}:{os.minor(device)}"
    found = {(kind, how) for at, how, kind in _MOUNT.findall(mounts) if at == number}
    return found in ({("tmpfs", "ro")}, {("ramfs", "ro")})
