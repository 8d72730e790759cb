"""The installed command as a process: its exit code, its lines as they come, its HTTP server.

Whoever waits here waits for a line, an answer or the end of the process, with a deadline; what
the process has said until then is in the message when the deadline passes.
"""

import asyncio
import json
import logging
import os
import signal
import sys
import sysconfig
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any, TypeVar

import httpx
import structlog

from monitor import cli
from support.fake_platform import TOKEN, FakePlatform

COMMAND = Path(sysconfig.get_path("scripts")) / "sftp-monitor"

DEADLINE = 30.0
"""Seconds until a wait fails the test: many times what a busy machine needs."""

Record = Mapping[str, Any]
T = TypeVar("T")


@dataclass(frozen=True)
class Finished:
    """A process that has ended."""

    code: int
    out: str
    err: str


async def finished(*arguments: str | Path, **environ: str) -> Finished:
    """Run the command to its end, with these variables beside the environment's."""
    async with running(*arguments, **environ) as process:
        code = await process.end()
    return Finished(code, "\n".join(process.out), "\n".join(process.err))


async def called(*arguments: str | Path, **environ: str) -> Finished:
    """Run the command as `finished` does, but in a thread of this process: ten times as cheap.

    For what it says and with which code it ends; not for signals, streams and `run`.
    """
    return await asyncio.to_thread(_call, [str(argument) for argument in arguments], environ)


def _call(arguments: Sequence[str], environ: Mapping[str, str]) -> Finished:
    with _one_call, TemporaryFile("w+") as out, TemporaryFile("w+") as err, own_logging():
        argv, variables = sys.argv, dict(os.environ)
        sys.argv = [str(COMMAND), *arguments]
        os.environ.update(environ)
        try:
            with redirect_stdout(out), redirect_stderr(err):
                code = _exit_code(cli.main)
        finally:
            sys.argv = argv
            os.environ.clear()
            os.environ.update(variables)
        return Finished(code, *(_text(stream) for stream in (out, err)))


_one_call = threading.Lock()
"""Arguments, streams and variables are the process's: one call at a time."""


def _exit_code(main: Callable[[], None]) -> int:
    try:
        main()
    except SystemExit as ended:
        return int(ended.code or 0)
    raise AssertionError("it did not end by an exit code")


def _text(stream: IO[str]) -> str:
    # By its descriptor it is written, too, so that its own position says nothing.
    stream.seek(0)
    return "\n".join(stream.read().splitlines())


@contextmanager
def own_logging() -> Iterator[None]:
    """Put back at the end how this process logs."""
    root, configured = logging.getLogger(), structlog.get_config()
    handlers, level = list(root.handlers), root.level
    try:
        yield
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
        structlog.configure(**configured)


@dataclass
class Running:
    """A process that runs; `out` and `err` are its lines so far."""

    process: asyncio.subprocess.Process
    out: list[str] = field(default_factory=list)
    err: list[str] = field(default_factory=list)
    _open: int = 2
    _said: asyncio.Event = field(default_factory=asyncio.Event)
    _readers: list[asyncio.Task[None]] = field(default_factory=list)

    @property
    def records(self) -> list[Record]:
        """Every line of standard output so far, each of which must be a JSON object.

        But for an empty one: where alerts waited, it ends what a crash may have broken off.
        """
        return [json.loads(line) for line in self.out if line]

    def alerts(self, **fields: object) -> list[Record]:
        """Return the alert events so far that have these fields."""
        return [one for one in self.records if _has(one, {"event": "alert", **fields})]

    async def until(self, condition: Callable[[], T], seconds: float = DEADLINE) -> T:
        """Return what the condition gives once that is true; it is looked at after every line."""
        try:
            async with asyncio.timeout(seconds):
                while not (found := condition()):
                    assert self._open, self._message("it ended before")
                    self._said.clear()
                    await self._said.wait()
                return found
        except TimeoutError:
            raise AssertionError(self._message(f"not within {seconds:g} s")) from None

    async def line(self, part: str, seconds: float = DEADLINE) -> str:
        """Return the first line of standard output with `part` in it, now or to come."""
        found = await self.until(lambda: [line for line in self.out if part in line], seconds)
        return found[0]

    async def record(self, **fields: object) -> Record:
        """Return the first line with these fields, now or to come."""
        return (await self.until(lambda: [one for one in self.records if _has(one, fields)]))[0]

    async def alert(self, campaign_id: str | None, rule: str, status: str) -> Record:
        """Return the first such alert event, now or to come."""
        return await self.record(event="alert", campaign_id=campaign_id, rule=rule, status=status)

    async def end(self, number: signal.Signals | None = None, seconds: float = DEADLINE) -> int:
        """Return the exit code, once the process (sent this signal) has ended and is silent."""
        if number is not None:
            self.process.send_signal(number)
        async with asyncio.timeout(seconds):
            code = await self.process.wait()
            await asyncio.gather(*self._readers)
        return code

    def read(self) -> None:
        """Begin to read both streams."""
        for stream, lines in ((self.process.stdout, self.out), (self.process.stderr, self.err)):
            assert stream is not None
            self._readers.append(asyncio.create_task(self._read(stream, lines)))

    async def _read(self, stream: asyncio.StreamReader, lines: list[str]) -> None:
        while line := await stream.readline():
            lines.append(line.decode().rstrip("\n"))
            self._said.set()
        self._open -= 1
        self._said.set()

    def _message(self, problem: str) -> str:
        return "\n".join([f"{problem}; it said:", *self.out, *self.err])


@asynccontextmanager
async def running(
    *arguments: str | Path, before: Sequence[str] = (), **environ: str
) -> AsyncIterator[Running]:
    """Start the command as `running_program` does; `before` is a command that runs it."""
    async with running_program(*before, COMMAND, *arguments, **environ) as started:
        yield started


@asynccontextmanager
async def running_program(*command: str | Path, **environ: str) -> AsyncIterator[Running]:
    """Start any command, in a session of its own; what still runs at the end is killed."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, **environ},
        start_new_session=True,
    )
    started = Running(process)
    started.read()
    try:
        yield started
    finally:
        if process.returncode is None:
            process.kill()
        await started.end()


@dataclass
class Daemon:
    """A daemon that has started: the process, where it listens, and a client of it."""

    process: Running
    web: httpx.AsyncClient

    @property
    def url(self) -> str:
        """Where it listens, without a slash at the end."""
        return str(self.web.base_url).rstrip("/")

    async def text(self, path: str) -> str:
        """Return what it answers on this path, with 200."""
        answer = await self.web.get(path)
        assert answer.status_code == 200, answer.text
        return answer.text

    async def json(self, path: str) -> Any:
        """Return the document that it answers on this path."""
        return json.loads(await self.text(path))


@asynccontextmanager
async def daemon(
    config: Path, *flags: str, before: Sequence[str] = (), **environ: str
) -> AsyncIterator[Daemon]:
    """Run `sftp-monitor run` on this config; gives it once it has started."""
    run = ("run", "--config.file", str(config), *flags)
    async with running(*run, before=before, **environ) as process:
        started = await process.record(event="started")
        async with httpx.AsyncClient(base_url=started["url"], trust_env=False) as web:
            yield Daemon(process, web)


QUICK = {
    "interval": "1s",
    "unhealthy_interval": "1s",
    "timeout": "1s",
    "probe_interval": "1s",
    "token_probe_interval": "1s",
}
"""`polling` of a config for tests: everything soon."""


def write_config(
    folder: Path, platform: FakePlatform, campaigns: Sequence[str], **sections: Any
) -> Path:
    """Write a config file that watches these campaigns, and the token's file; return its path.

    `environment` adds keys to the environment; other `sections` stand instead of the usual ones.
    """
    token = folder / "token"
    if not token.exists():
        token.touch(mode=0o600)
        token.write_text(TOKEN)
    environment = {
        "name": "production",
        "base_url": platform.base_url,
        "token_file": str(token),
        "requests_per_minute": 6000,
        "campaigns": [{"id": one, "name": f"Campaign {one}"} for one in campaigns],
        **sections.pop("environment", {}),
    }
    document = {
        "environments": [environment],
        "polling": QUICK,
        "web": {"listen_address": "127.0.0.1:0"},
        "state": {"path": str(folder / "state.db")},
        **sections,
    }
    file = folder / "config.yaml"
    file.write_text(json.dumps(document, indent=1))
    return file


def files_in(folder: Path) -> set[str]:
    """Return the names of what is in a folder now."""
    return {path.name for path in folder.iterdir()}


def _has(record: Record, fields: Mapping[str, object]) -> bool:
    return all(key in record and record[key] == value for key, value in fields.items())
