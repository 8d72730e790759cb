"""A real PostgreSQL for tests: on a socket in a folder of its own, a database for each test.

Where root runs the tests it is another user's, for it refuses to be root's.
"""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, LiteralString, cast
from urllib.parse import quote

import psycopg

from monitor.config.sections import State
from support.peers import require_peer

OWNER = "sftp_monitor"
_NUMBERS = count(1)
# A disk that loses what was written is no matter here, and makes each test faster.
FAST = ("fsync=off", "synchronous_commit=off", "full_page_writes=off")


@dataclass
class Server:
    """A server that may be stopped and started again; `settings` are those of postgresql.conf."""

    folder: Path
    bin: Path
    settings: tuple[str, ...] = FAST
    port: int = 5432
    _user: Sequence[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        if os.geteuid() == 0:
            user = "postgres" if _is_user("postgres") else "nobody"
            shutil.chown(self.folder, user)
            self._user = ["runuser", "-u", user, "--"]

    def make(self) -> None:
        """Make its files, and databases for tests to be made from."""
        self.command("initdb", "-A", "trust", "-U", "postgres", "-E", "UTF8", "--no-sync",
                     "--locale=C.UTF-8", "-D", str(self.data))  # fmt: skip
        self.start()
        self.execute(f"CREATE ROLE {OWNER} LOGIN", f"CREATE DATABASE template OWNER {OWNER}")

    @property
    def data(self) -> Path:
        """Where its files are."""
        return self.folder / "data"

    def command(self, name: str, *arguments: str) -> None:
        """Run one of PostgreSQL's programs as its user."""
        done = subprocess.run(
            [*self._user, str(self.bin / name), *arguments],
            cwd="/", text=True, check=False, timeout=60,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr

    def start(self) -> None:
        """Start it, and return once it takes connections."""
        listens = [f"unix_socket_directories={self.folder}", "listen_addresses=127.0.0.1"]
        every = [*listens, f"port={self.port}", *self.settings]
        options = " ".join(f"-c {one}" for one in every)
        log = str(self.folder / "log")
        self.command("pg_ctl", "-D", str(self.data), "-l", log, "-w", "-o", options, "start")

    def stop(self, how: str = "fast") -> None:
        """Stop it: `fast` ends its transactions, `immediate` is a crash."""
        self.command("pg_ctl", "-D", str(self.data), "-w", "-m", how, "stop")

    def execute(self, *statements: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        """Run statements as the superuser; return the rows of the last one."""
        place = {"host": str(self.folder), "port": self.port, "user": "postgres"}
        found: list[tuple[Any, ...]] = []
        with psycopg.connect(dbname=database, autocommit=True, **place) as own:  # type: ignore[arg-type]
            for statement in statements:
                cursor = own.execute(cast("LiteralString", statement))
                found = cursor.fetchall() if cursor.description else []
        return found

    def url(self, database: str, user: str = OWNER, host: str = "", port: int = 0) -> str:
        """Return where a database is."""
        where = host or quote(str(self.folder), safe="")
        return f"postgresql://{user}@{where}:{port or self.port}/{database}"

    def database(self, template: str = "template") -> str:
        """Make a database, and return its name."""
        name = f"test_{next(_NUMBERS)}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {template} OWNER {OWNER}")
        return name


def state_on(url: str, **more: Any) -> State:
    """Return the section of a config that has this state."""
    return State.model_construct(**{"url": url, "password_file": None, "migrate": True, **more})


@contextmanager
def a_server(*settings: str, port: int = 5432, data: Path | None = None) -> Iterator[Server]:
    """Make a server, or one of a copy of another one's files; it is gone at the end."""
    programs = Path(require_peer("postgres")).parent
    # Short: the name of a socket has 107 characters at most.
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    folder.chmod(0o755)
    server = Server(folder, programs, (*FAST, *settings), port)
    try:
        if data is None:
            server.make()
        yield server
    finally:
        if (server.data / "postmaster.pid").exists():
            server.stop("immediate")
        shutil.rmtree(folder)


def environ_without_postgres(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return an environment that says nothing to libpq."""
    return {name: value for name, value in environ.items() if not name.startswith("PG")}


def _is_user(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True
