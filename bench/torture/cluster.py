"""Three replicas as they are run, each behind wires that may be cut, on one real PostgreSQL.

Every replica has a folder of its own, as on a host of its own.
"""

import asyncio
import json
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from support.command import COMMAND
from support.fake_platform import TOKEN
from support.peers import require_peer
from support.postgres import FAST, Server
from torture.places import (
    BUDGET,
    ENVIRONMENTS,
    FLAPPING,
    LIMIT,
    STEADY,
    TESTED,
    Places,
    Wire,
)
from torture.witness import Record, Told

LOGIN_GAP = 20.0
ROOM = "160m"
"""The disk of the database, where we may mount one."""

POLLING = dict.fromkeys(("interval", "unhealthy_interval", "timeout", "probe_interval"), "2s")


@dataclass
class Node:
    """One replica: its folder, its wires, and the process that runs now."""

    name: str
    folder: Path
    database: Wire
    api: Wire
    receiver: str
    told: list[Told]
    process: asyncio.subprocess.Process | None = None
    born: int = 0
    complaints: list[str] = field(default_factory=list)
    _started: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def life(self) -> str:
        """The name of this life: the API and the receiver see it."""
        return f"{self.name}.{self.born}"

    async def start(self) -> None:
        """Start it, and return once it has said so."""
        self.born, self._started = self.born + 1, asyncio.Event()
        environ = {
            "API": f"http://127.0.0.1:{self.api.port}/{self.life}",
            "RECEIVER": f"{self.receiver}/{self.life}",
            "DATABASE": f"postgresql://sftp_monitor@127.0.0.1:{self.database.port}/monitor",
            **{f"TOKEN_{name}": f"{TOKEN}_{name}" for name in ENVIRONMENTS},
        }
        self.process = await asyncio.create_subprocess_exec(
            COMMAND, "run", "--config.file", self.folder / "config.yaml",
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT, limit=2**20,
            env={**os.environ, **environ}, start_new_session=True, cwd=self.folder,
        )  # fmt: skip
        self._reading = asyncio.create_task(self._read(self.process, self.life, self._started))
        async with asyncio.timeout(120):
            await self._started.wait()
        assert self.process.returncode is None, self.complaints

    async def end(self, number: signal.Signals, within: float = 30.0) -> int:
        """Send a signal; return the exit code, once all that it said is read."""
        assert self.process is not None
        self.process.send_signal(number)
        async with asyncio.timeout(within):
            code = await self.process.wait()
            await self._reading
        return code

    def send(self, number: signal.Signals) -> None:
        """Send a signal."""
        assert self.process is not None
        self.process.send_signal(number)

    async def _read(
        self, process: asyncio.subprocess.Process, life: str, started: asyncio.Event
    ) -> None:
        assert process.stdout is not None
        with (self.folder / f"{life}.log").open("wb") as log:
            while line := await process.stdout.readline():
                log.write(line)
                log.flush()
                at = asyncio.get_running_loop().time()
                try:
                    record: Record = json.loads(line)
                except ValueError:
                    self.complaints += [f"{life}: {line.decode().rstrip()}"] if line.strip() else []
                    continue
                if record["event"] == "alert":
                    self.told.append(Told(at, life, record))
                elif record["event"] == "started":
                    started.set()
                elif "exception" in record or record["event"] == "task_ended":
                    self.complaints.append(f"{life}: {line.decode().rstrip()}")
        await process.wait()
        started.set()


def write_config(folder: Path, **rules: Any) -> None:
    """Write the config of all replicas; what differs is in the process environment."""
    campaigns = [{"id": one} for one in (*STEADY, *FLAPPING)]
    # What was not tested for three times `every` is stale, and after some of the faults it is.
    not_stale = {"stale_test": {"enabled": False}}
    tested = {"id": TESTED, "connection_tests": {"enabled": True}, "rules": not_stale}
    limits = {"requests_per_minute": LIMIT, "budget_share": BUDGET / LIMIT}
    document = {
        "environments": [
            {"name": name, "base_url": f"${{API}}/{name}/api/v1", "token": f"${{TOKEN_{name}}}",
             "campaigns": [*campaigns, tested], **limits}
            for name in ENVIRONMENTS
        ],
        "polling": POLLING,
        "connection_tests": {
            "every": "30s", "between": "", "login_gap": f"{LOGIN_GAP:g}s", "host_gap": "1s",
            "budget_share": 1.0, "retry_after": "30s", "confirm_after": "10s",
        },
        "web": {"listen_address": "127.0.0.1:0"},
        "state": {"url": "${DATABASE}"},
        "alerts": {"file": {"path": "alerts.jsonl"}},
        "notify": {"webhooks": [{"url": "${RECEIVER}", "secret_file": "secret"}]},
        "rules": rules,
    }  # fmt: skip
    secret = folder / "secret"
    secret.touch(mode=0o600)
    secret.write_text("a-secret-that-signs-events")
    (folder / "config.yaml").write_text(json.dumps(document, indent=1))


@contextmanager
def a_disk() -> Iterator[Path]:
    """Give a folder on a disk of its own, small, where we may mount one."""
    folder = Path(tempfile.mkdtemp(prefix="pg-", dir="/dev/shm"))
    mounted = os.geteuid() == 0 and not subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={ROOM}", "tmpfs", folder], check=False
    ).returncode  # fmt: skip
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        if mounted:
            subprocess.run(["umount", "-l", folder], check=True)
        shutil.rmtree(folder)


@dataclass
class Cluster:
    """All of it. `server` is the database that is the truth now; a promotion makes it another."""

    folder: Path
    places: Places
    nodes: list[Node] = field(default_factory=list)
    told: list[Told] = field(default_factory=list)
    servers: list[Server] = field(default_factory=list)

    @property
    def server(self) -> Server:
        """The database that all replicas use."""
        return self.servers[-1]

    def rows(self) -> list[tuple[str, str, str, str, int]]:
        """Return id, environment, rule, status and row of every alert event, in order."""
        query = (
            "SELECT event_id, environment, rule, status, id FROM event"
            " WHERE status <> 'recorded' ORDER BY id"
        )
        return self.server.execute(query, database="monitor")

    def files(self) -> Mapping[str, list[Record]]:
        """Return what is in each replica's file, in order."""
        found = {}
        for node in self.nodes:
            file = node.folder / "alerts.jsonl"
            # One that was never given anything to deliver has made none.
            lines = file.read_text().splitlines() if file.exists() else []
            found[node.name] = [json.loads(line) for line in lines if line]
        return found

    def use(self, server: Server) -> None:
        """Have all replicas connect to another server from now on."""
        self.servers.append(server)
        for node in self.nodes:
            node.database.target = socket_of(server)
            node.database.reset()


def socket_of(server: Server) -> Path:
    """Return the socket of a server."""
    return server.folder / f".s.PGSQL.{server.port}"


@asynccontextmanager
async def a_cluster(folder: Path, *settings: str) -> AsyncIterator[Cluster]:
    """Run three replicas; they end with a kill."""
    async with AsyncExitStack() as stack:
        disk = stack.enter_context(a_disk())
        server = Server(
            disk, _programs(), (*FAST, "max_wal_size=48MB", "min_wal_size=32MB", *settings)
        )
        cluster = Cluster(folder, Places())
        cluster.servers.append(server)
        stack.callback(_stop_all, cluster)
        await asyncio.to_thread(server.make)
        server.execute("CREATE DATABASE monitor OWNER sftp_monitor")
        await stack.enter_async_context(cluster.places.served())
        port = cluster.places.port
        for number in range(3):
            place = folder / f"r{number}"
            place.mkdir(parents=True)
            write_config(place)
            database, api = Wire(socket_of(server)), Wire(port)
            for wire in (database, api):
                await wire.open()
                stack.push_async_callback(wire.aclose)
            receiver = f"http://127.0.0.1:{port}/receiver"
            node = Node(f"r{number}", place, database, api, receiver, cluster.told)
            cluster.nodes.append(node)
            stack.push_async_callback(_kill, node)
        await asyncio.gather(*(node.start() for node in cluster.nodes))
        yield cluster


def _programs() -> Path:
    # Where all of them are: on the path there may be a link to this one alone.
    return Path(require_peer("postgres")).resolve().parent


def _stop_all(cluster: Cluster) -> None:
    for server in cluster.servers:
        if (server.data / "postmaster.pid").exists():
            with suppress(AssertionError):
                server.stop("immediate")
    for server in cluster.servers[1:]:
        shutil.rmtree(server.folder)


async def _kill(node: Node) -> None:
    if node.process is not None and node.process.returncode is None:
        await node.end(signal.SIGKILL)
