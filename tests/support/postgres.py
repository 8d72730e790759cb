"""A real PostgreSQL for tests: on a socket in a folder of its own, a database for each test.

Where root runs the tests it is another user's, for it refuses to be root's.
"""

import asyncio
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import threading
from collections.abc import AsyncIterator, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, Literal, Self
from urllib.parse import quote

import psycopg

from monitor.adapters.store import Loaded, open_state
from monitor.adapters.store.shared import SharedStore
from monitor.config.sections import State
from monitor.core.leases import Replica
from support.peers import require_peer

OWNER, GUARDED = "sftp_monitor", "with_password"
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
        # One role has a password; all others are trusted.
        rules = self.data / "pg_hba.conf"
        rules.write_text(f"local all {GUARDED} scram-sha-256\n{rules.read_text()}")
        self.start()
        self.execute(f"CREATE ROLE {GUARDED} LOGIN")
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
        listens = [f"unix_socket_directories={self.folder}", "listen_addresses="]
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
                cursor = own.execute(statement.encode())
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


def replica(name: str = "one", *environments: str, config: str = "hash") -> Replica:
    """Return what a replica announces that has just started."""
    return Replica(name, f"{name}.example:10022", frozenset(environments), config, 0.0, 0.0, 0.0)


@asynccontextmanager
async def opened(
    state: State, take: Collection[str] = (), sinks: Collection[str] = (), name: str = "one"
) -> AsyncIterator[SharedStore]:
    """Open a store as the daemon does, and take environments over."""
    executor = ThreadPoolExecutor(1, "state")
    store = open_state(state, 0.0, executor, lambda name, work: asyncio.create_task(work))
    assert isinstance(store, SharedStore)
    assert store.leases is not None
    try:
        for sink in sinks:
            store.add_sink(sink)
        await store.leases.renew(replica(name, *take))
        await take_over(store, *take)
        yield store
    finally:
        await store.aclose()


async def take_over(store: SharedStore, *names: str) -> dict[str, Loaded]:
    """Take environments that are free, and return what is remembered of them."""
    assert store.leases is not None
    fences = await store.leases.take(names)
    assert fences.keys() == set(names)
    return {name: await store.take_over(name, fence) for name, fence in fences.items()}


@contextmanager
def a_server(*settings: str) -> Iterator[Server]:
    """Make a server; it is gone at the end."""
    programs = Path(require_peer("postgres")).parent
    # Short: the name of a socket has 107 characters at most.
    room = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    folder = Path(tempfile.mkdtemp(prefix="pg-", dir=room))
    folder.chmod(0o755)
    server = Server(folder, programs, (*FAST, *settings))
    try:
        server.make()
        yield server
    finally:
        if (server.data / "postmaster.pid").exists():
            server.stop("immediate")
        shutil.rmtree(folder)


@contextmanager
def failing(server: Server, database: str, code: str, table: str = "event") -> Iterator[None]:
    """Have every transaction that adds to a table fail half-way, with this SQLSTATE."""
    server.execute(
        "CREATE FUNCTION fails() RETURNS trigger LANGUAGE plpgsql AS"
        f" $$ BEGIN RAISE EXCEPTION 'it fails' USING ERRCODE = '{code}'; END $$",
        f"CREATE TRIGGER fails BEFORE INSERT ON {table} EXECUTE FUNCTION fails()",
        database=database,
    )
    try:
        yield
    finally:
        server.execute("DROP FUNCTION fails() CASCADE", database=database)


class Between:
    """A proxy before a server's socket, on threads of its own; a context manager.

    `cut`: once a client says COMMIT, both are cut off: at its `request`, which the server never
    gets, or at the server's `answer`, which the client never gets. `held`: nothing gets through.
    """

    def __init__(self, server: Server) -> None:
        self._target = str(server.folder / f".s.PGSQL.{server.port}")
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self.port: int = self._listening.getsockname()[1]
        self.cut: Literal["request", "answer"] | None = None
        self.held = threading.Event()

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        for one in (self._listening, *self._open):
            _shut(one)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            server = socket.socket(socket.AF_UNIX)
            try:
                server.connect(self._target)
            except OSError:  # it is stopped
                _shut(client)
                _shut(server)
                continue
            self._open += [client, server]
            ended: list[bool] = []
            for source, sink, asks in ((client, server, True), (server, client, False)):
                arguments = (source, sink, ended, asks)
                threading.Thread(target=self._pump, args=arguments, daemon=True).start()

    def _pump(
        self, source: socket.socket, sink: socket.socket, ended: list[bool], asks: bool
    ) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                if self.held.is_set():
                    continue
                if asks and self.cut and b"COMMIT\0" in data:
                    if self.cut == "request":
                        break
                    ended.append(True)
                elif not asks and ended:
                    self.cut = None
                    break
                sink.sendall(data)
        self.cut = None if ended or (asks and self.cut == "request") else self.cut
        _shut(source)
        _shut(sink)


def _shut(one: socket.socket) -> None:
    with suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
    one.close()


def _is_user(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True
