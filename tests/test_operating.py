"""docs/operating.md is followed: its commands are run as they stand, its snippets are read."""

import asyncio
import json
import os
import re
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest

from monitor.serialize import Links, record_of, to_json
from support.command import COMMAND
from support.documents import read_yaml
from support.events import FIRING
from support.peers import require_peer

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "operating.md").read_text(encoding="utf-8")
RULES = ROOT / "deploy" / "prometheus" / "sftp-monitor.rules.yaml"

PORTS = ("8900", "10022", "10023", "9090", "9093", "9095", "5432")
PEERS = ("prometheus", "promtool", "alertmanager", "amtool")
KILLED_AND_BACK = """
kill -KILL "$(cat sftp-monitor.db.lock)"
until [ "$(grep -c '"event": "started"' monitor.jsonl)" = 2 ]; do sleep 0.2; done
"""
THE_END = """
kill $(jobs -p)
wait || true
echo over
"""
# The daemon's role may not change the schema, nor come without TLS.
NO_RIGHT = """
export PGPASSWORD=$(cat password)
! psql "postgresql://sftp_monitor@$at" -c 'CREATE TABLE mine ()' 2> refused
grep 'permission denied for schema public' refused
! psql "postgresql://sftp_monitor@localhost:5432/sftp_monitor?sslmode=disable" 2> refused
grep 'no pg_hba.conf entry .* no encryption' refused
database stop
"""
RUNBOOK = "/docs/runbooks/stale_test.md"
WITHIN = 150.0
"""Seconds until the page must be there: two scrapes and evaluations of 15 s, on a busy machine."""


def section(heading: str) -> str:
    """Return the text under a heading."""
    (text,) = re.findall(rf"^## {heading}\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    return str(text)


def blocks(text: str, language: str) -> list[str]:
    """Return the blocks of code in this language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def free_ports() -> dict[str, str]:
    """Return for each port of the page one that nobody has."""
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in PORTS]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return {port: str(one.getsockname()[1]) for port, one in zip(PORTS, sockets, strict=True)}


def with_ports(text: str, ports: Mapping[str, str]) -> str:
    return re.sub(rf"\b({'|'.join(ports)})\b", lambda found: ports[found[0]], text)


def a_machine(folder: Path, ports: Mapping[str, str], *peers: str) -> Path:
    """Make the folder that the page starts from, with everything installed; return it."""
    project, programs = folder / "project", folder / "project" / "venv" / "bin"
    programs.mkdir(parents=True)
    (programs / "python").symlink_to(sys.executable)
    (programs / "sftp-monitor").symlink_to(COMMAND)
    for name in peers:
        (programs / name).symlink_to(require_peer(name))
    shutil.copytree(ROOT / "deploy" / "prometheus", project / "deploy" / "prometheus")
    for file in (project / "deploy" / "prometheus").iterdir():
        file.write_text(with_ports(file.read_text(encoding="utf-8"), ports), encoding="utf-8")
    return project


@asynccontextmanager
async def shell(
    script: str, folder: Path, **more: str
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run a script in bash, which is killed at the end with all that it started."""
    # A link to the interpreter does not lead to its packages.
    paths = os.pathsep.join(path for path in sys.path if path)
    environ = {**os.environ, "PYTHONPATH": paths, **more}
    process = await asyncio.create_subprocess_exec(
        *("bash", "-euc", script),
        cwd=folder,
        env=environ,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


@pytest.mark.slow
async def test_whoever_follows_the_page_from_nothing_ends_with_a_page_at_the_receiver(
    tmp_path: Path,
) -> None:
    ports = free_ports()
    project = a_machine(tmp_path, ports, *PEERS)
    (script,) = blocks(section("From nothing to a page"), "bash")
    script += KILLED_AND_BACK + THE_END
    async with shell(with_ports(script, ports), project) as process:
        async with asyncio.timeout(WITHIN):
            said, _ = await process.communicate()
        trial = project / "trial"
        logs = [file.read_text() for file in trial.glob("*.log")]
        assert process.returncode == 0, "\n".join([said.decode(), *logs])
        pages = (trial / "pages.txt").read_text().splitlines()
        assert [page for page in pages if page.startswith("firing") and page.endswith(RUNBOOK)]
        assert said.decode().splitlines()[-1] == "over"
        # What the monitor has said last: it was stopped, not killed, by the page's own command.
        last = (trial / "monitor.jsonl").read_text().splitlines()[-1]
        assert json.loads(last)["event"] == "stopping"


@contextmanager
def room_for_a_server() -> Iterator[Path]:
    """Make a folder that PostgreSQL's user can enter; at the end no server of it is left."""
    room = Path(tempfile.mkdtemp(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None))
    room.chmod(0o755)
    try:
        yield room
    finally:
        for running in room.glob("*/data/postmaster.pid"):
            os.kill(int(running.read_text().split()[0]), signal.SIGQUIT)
        shutil.rmtree(room)


@pytest.mark.slow(seconds=110)
async def test_whoever_follows_the_page_has_replicas_that_survive_a_death_and_their_database(
    tmp_path: Path,
) -> None:
    require_peer("postgres")
    ports = free_ports()
    project = a_machine(tmp_path, ports)
    (script,) = blocks(section("Several replicas"), "bash")
    script = with_ports(script + NO_RIGHT + THE_END, ports)
    with room_for_a_server() as room:
        async with shell(script, project, TMPDIR=str(room)) as process:
            async with asyncio.timeout(2 * WITHIN):
                said, _ = await process.communicate()
            trial = project / "replicas"
            shown = [said.decode(), *(file.read_text() for file in room.glob("*/*log"))]
            assert process.returncode == 0, "\n".join(shown)
    lines = [
        json.loads(line)
        for port in ("10022", "10023")
        for line in (trial / f"{ports[port]}.jsonl").read_text().splitlines()
    ]
    assert [line["event"] for line in lines].count("stopping") == 2
    taken = [line["timestamp"] for line in lines if line["event"] == "environment_taken_over"]
    assert len(taken) >= 2
    alerts = [line for line in lines if line["event"] == "alert"]
    sent = [line["event_id"] for line in alerts if not line["redelivery"]]
    assert len(sent) == len(set(sent)) > 0, "what comes again is marked"


async def test_the_urls_of_the_rules_are_replaced_by_the_command_on_the_page(
    tmp_path: Path,
) -> None:
    commands = [line.strip() for line in PAGE.splitlines() if "sftp-monitor export rules" in line]
    async with shell(f"PATH={COMMAND.parent}:$PATH; {commands[0]}", tmp_path) as process:
        said, _ = await process.communicate()
    rules = said.decode()
    hosts = set(re.findall(r"_url: [^\n]*?https?://([^/]+)/", rules))
    assert hosts == {"wiki.example", "grafana.example"}
    assert "github.com" not in rules
    assert "localhost" not in rules


def test_every_yaml_on_the_page_can_be_read() -> None:
    snippets = blocks(PAGE, "yaml")
    assert len(snippets) >= 2
    for snippet in snippets:
        assert read_yaml(snippet)


def test_the_pipelines_route_by_fields_that_an_event_has() -> None:
    record = to_json(
        record_of(replace(FIRING, epoch="e90c4"), Links("https://runbooks.example/{rule}"))
    )
    pipelines = section("Log pipelines")
    vector, loki = blocks(pipelines, "yaml")
    (elk,) = blocks(pipelines, "text")
    routed = read_yaml(vector)["transforms"]
    named = set(re.findall(r"(?<!\w)\.(\w+)", routed["alerts"]["condition"]))
    named |= set(routed["once"]["fields"]["match"])
    named |= set(re.findall(r"\[sftp\]\[(\w+)\]", elk))
    assert named <= record.keys()
    assert {"event", "event_id", "initial"} <= named
    # Whatever it counts of the last minutes is over after these: only silence can be asked for.
    rules = [rule["expr"] for group in read_yaml(loki)["groups"] for rule in group["rules"]]
    lines = [re.fullmatch(r"absent_over_time\(\{.+\} \|= `(.+)` \[15m\]\)", one) for one in rules]
    assert [line and line[1] for line in lines] == ['"event": "heartbeat"'] * 2
