"""Tokens: where they come from, read anew each time, and shown nowhere."""

import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import SecretStr

# No token is so long, but many a file given by mistake is.
MAX_TOKEN_BYTES = 4096
# What goes into an HTTP header: a line end within it would start another header.
_TOKEN = re.compile(rb"[\x21-\x7e]+")
_STRANGE = "has blanks, control or non-ASCII characters: no token has"
_BOM = b"\xef\xbb\xbf"
_ESCAPED = re.compile(r"\\([0-7]{3})")


class SecretError(ValueError):
    """A token that cannot be used: the message names where it comes from, never what is in it."""

    def __init__(self, message: str, *, exposed: bool = False) -> None:
        super().__init__(message)
        self.exposed = exposed

    @property
    def exit_code(self) -> int:
        """77 for a file that others can read, else 78."""
        return os.EX_NOPERM if self.exposed else os.EX_CONFIG


@dataclass(frozen=True, slots=True)
class TokenSource:
    """Where an environment's token comes from: a file, or an environment variable's `value`.

    Files in `credentials` ($CREDENTIALS_DIRECTORY of systemd), and those that `mounts` (the table
    of mounted file systems) says are read-only, may be readable by others: nobody can change that.
    """

    file: Path | None = None
    variable: str | None = None
    value: SecretStr | None = field(default=None, repr=False)
    credentials: Path | None = field(default=None, repr=False)
    mounts: Path = field(default=Path("/proc/self/mountinfo"), repr=False)

    def read(self) -> str:
        """Return the token as it is now, without its line end; SecretError says why not."""
        if self.file is not None:
            raw, origin = self._content(self.file), str(self.file)
        else:
            value = self.value.get_secret_value() if self.value else ""
            # os.environ has bytes that are no UTF-8 as surrogates.
            raw, origin = value.encode("utf-8", "surrogateescape"), f"${{{self.variable}}}"
        token = raw.rstrip(b"\r\n")
        for is_wrong, why in (
            (len(raw) > MAX_TOKEN_BYTES, f"is longer than {MAX_TOKEN_BYTES:,} bytes: no token is"),
            (not token, "is empty"),
            (token.startswith(_BOM), "starts with a byte order mark: save it without one"),
            (b"\n" in token or b"\r" in token, "has more than one line"),
            (not _TOKEN.fullmatch(token), _STRANGE),
        ):
            if is_wrong:
                raise SecretError(f"{origin} {why}")
        return token.decode("ascii")

    def _content(self, path: Path) -> bytes:
        # Without O_NONBLOCK, opening a FIFO would wait for somebody to write into it.
        flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
        try:
            descriptor = os.open(path, flags)
            try:
                # Of what was opened, not of the path: by now that may lead to another file.
                mode = os.fstat(descriptor).st_mode
                if not stat.S_ISREG(mode):
                    raise SecretError(f"{path} is not a regular file")
                if mode & stat.S_IROTH and not self._cannot_be_hidden(path.resolve()):
                    why = f"{path} can be read by others: chmod o= it, and replace the token"
                    raise SecretError(why, exposed=True)
                return os.read(descriptor, MAX_TOKEN_BYTES + 1)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise SecretError(f"{path} cannot be read: {error.strerror}") from None

    def _cannot_be_hidden(self, real: Path) -> bool:
        if self.credentials is not None and real.is_relative_to(self.credentials.resolve()):
            return True
        try:
            return on_read_only_tmpfs(real, self.mounts.read_text(errors="replace"))
        except OSError:
            return False


def token_source(
    environ: Mapping[str, str], *, file: Path | None = None, variable: str | None = None
) -> TokenSource:
    """Return the source that is a file, or a variable of `environ` as it is now."""
    directory = environ.get("CREDENTIALS_DIRECTORY")
    value = None if variable is None else SecretStr(environ.get(variable, ""))
    return TokenSource(file, variable, value, Path(directory) if directory else None)


def on_read_only_tmpfs(path: Path, mounts: str) -> bool:
    """Whether a resolved path is on a tmpfs mounted read-only, as Kubernetes mounts secrets."""
    # A line of /proc/self/mountinfo: the 5th field is where, the 6th how, after a dash the type.
    deepest, found = -1, False
    for line in mounts.splitlines():
        before, _, after = line.partition(" - ")
        fields = before.split()
        if len(fields) < 6:
            continue
        point = Path(_ESCAPED.sub(lambda match: chr(int(match[1], 8)), fields[4]))
        # Of two mounts on one point the later hides the earlier one.
        if path.is_relative_to(point) and len(point.parts) >= deepest:
            deepest = len(point.parts)
            found = "ro" in fields[5].split(",") and after.startswith("tmpfs ")
    return found
