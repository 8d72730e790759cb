"""A canary token through every fault, at debug level: is any of it in anything that comes out?

Each fault is an API of its own that echoes the token it was sent, wherever the API could put it,
behind texts of all lengths, so that every limit cuts through the token once. Searched is for any
twelve of its characters in a row, in either case, and for its Base64.
"""

import argparse
import asyncio
import json
import os
import re
import signal
import ssl
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import trustme

from support.command import QUICK, called, finished, running
from support.misbehaving import Misbehaving, Peer, Request, hangs
from torture.echoes import ECHOES, LISTINGS, TOKEN_FILES, mistaken
from torture.figures import Figure
from torture.haystack import Haystack

LIKE_A_TOKEN = "talq_canaryX7k2Qw9Zr4Tn8Vb3Mh6Lp1Dc5"
PLAIN = "CanaryJ4f8Ys2Gd7Xa3Ke9Wu6Bo1Ri5NqTz"
"""A token that does not look like one: only who knows it can take it out."""

RUNS = (
    (LIKE_A_TOKEN, "json", signal.SIGABRT),
    (PLAIN, "console", signal.SIGTERM),
    (PLAIN, "json", signal.SIGTERM),
    (LIKE_A_TOKEN, "console", signal.SIGABRT),
)
"""Token, log format, and how it ends.

SIGABRT has the threads' stacks dumped to standard error, and goes with asyncio's debug mode.
"""

LONGEST, STEP = 300, 7
"""So many characters are before the token at most; and so many more than at the answer before."""

POLLS = LONGEST // STEP + 1
"""How often each API is asked."""

POLLING = dict.fromkeys(QUICK, "2s")
SELDOM = {**dict.fromkeys(QUICK, "15s"), "timeout": "2s"}
"""`polling` where few answers are enough: the polls after them cost most, and echo nothing new."""

STARTS_WITHIN = 120.0
"""Seconds: there are more APIs than most daemons have, and asyncio's debug mode is slow."""

SCRIPTS = {**ECHOES, **LISTINGS}
FAULTS = (*SCRIPTS, "tls-unknown-authority", "tls-greeting")

PAGES = (
    "/", "/metrics", "/openapi.json", "/-/ready", "/-/healthy", "/api/v1/status",
    "/api/v1/campaigns", "/api/v1/alerts", "/api/v1/events",
)  # fmt: skip

BROKEN_RULE = """

from monitor.core.rule import Rule
from monitor.core.rules import campaign_rule


@campaign_rule
class Breaks(Rule):
    name = "breaks"
    meaning = "it breaks, with all that a rule can know"
    next_step = "none"

    def evaluate(self, inputs):
        raise RuntimeError(repr(inputs))
"""
"""A module that Python imports at start by its name, sitecustomize."""


@dataclass
class Apis:
    """The APIs, told apart by the token that each is sent: its last digits are a number."""

    asked: dict[str, int] = field(default_factory=dict)
    _came: asyncio.Event = field(default_factory=asyncio.Event)

    async def script(self, request: Request, peer: Peer) -> None:
        """Misbehave as the API that this token is for."""
        token = request.headers["authorization"].removeprefix("Bearer ")
        fault = FAULTS[int(token[-3:])]
        times = self.asked[fault] = self.asked.get(fault, 0) + 1
        self._came.set()
        # Every other time the token stands so often that any limit cuts through one of them.
        echo = "x" * (STEP * times % LONGEST) + token * (1 if times % 2 else 8)
        await SCRIPTS[fault](echo)(request, peer)

    async def until_asked(self, polls: int) -> None:
        """Return once each was asked, and all of them so often: an API may well ask for a pause."""
        async with asyncio.timeout(STARTS_WITHIN + 20 * polls):
            while len(self.asked) < len(SCRIPTS) or self.answers < polls * len(SCRIPTS):
                self._came.clear()
                await self._came.wait()

    @property
    def answers(self) -> int:
        """How many answers there were in all."""
        return sum(self.asked.values())


@dataclass
class Run:
    """One daemon at debug level on all of the faults, in a folder of its own."""

    token: str
    output: str
    folder: Path
    apis: Apis
    haystack: Haystack = field(default_factory=Haystack)
    mistakes: int = 0

    def write(self, urls: Mapping[str, str], polling: Mapping[str, str]) -> None:
        """Write the config, with the URL of each fault's API, and the tokens' files."""
        (self.folder / "sitecustomize.py").write_text(BROKEN_RULE)
        environments = []
        for number, fault in enumerate(FAULTS):
            file = self.folder / f"token-{number}"
            file.touch(mode=0o600)
            file.write_text(f"{self.token}{number:03d}")
            discovers = {"discovery": {"enabled": True}}
            watched = discovers if fault in LISTINGS else {"campaigns": [{"id": "campaign-uuid"}]}
            environments.append(
                {
                    "name": fault,
                    "base_url": urls[fault],
                    "token_file": file.name,
                    "requests_per_minute": 6000,
                    **watched,
                }
            )
        document = {
            "environments": environments,
            "polling": polling,
            "alerts": {"file": {"path": "alerts.log"}},
            "web": {"listen_address": "127.0.0.1:0"},
            "state": {"path": str(self.folder / "state.db")},
        }
        self.config.write_text(json.dumps(document))

    @property
    def config(self) -> Path:
        """The config file."""
        return self.folder / "config.yaml"

    async def live(self, polls: int, end: signal.Signals) -> None:
        """Run the daemon through all of it; what it says is in the haystack afterwards."""
        debug = {
            "PYTHONPATH": str(self.folder),
            "PYTHONFAULTHANDLER": "1",
            "PYTHONASYNCIODEBUG": "1" if end is signal.SIGABRT else "",
        }
        flags = ("--log.level", "debug", "--log.format", self.output)
        async with running("run", "--config.file", self.config, *flags, **debug) as process:
            started = await process.line("started", STARTS_WITHIN)
            url = re.search(r"http://[0-9.:]+", started)
            assert url is not None, started
            async with httpx.AsyncClient(base_url=url[0], trust_env=False, timeout=60) as web:
                await self.apis.until_asked(polls)
                await self._look_at(web)
                await self._reload_mistakes(web)
            self.haystack.add("command line", command_line(process.process.pid))
            await process.end(end)
        self.haystack.add("standard output", *process.out)
        self.haystack.add("standard error", *process.err)
        # Not its name: of a long traceback only the end is logged.
        assert "rule_broke" in "".join(process.out), "the broken rule did not break"
        for file in self.folder.iterdir():
            if file.name.startswith(("state.db", "alerts.log")):
                self.haystack.add(f"file {file.name}", file.read_bytes())

    async def _look_at(self, web: httpx.AsyncClient) -> None:
        """Take down all that the web says, also about paths that have the token in them."""
        token = f"{self.token}000"
        campaigns = [f"/api/v1/campaigns/{name}/campaign-uuid" for name in FAULTS]
        for path in (*PAGES, *campaigns, f"/{token}", f"/api/v1/campaigns/{token}/{token}"):
            answer = await web.get(path, headers={"Authorization": f"Bearer {token}"})
            name = path.replace(token, "TOKEN").split("/campaigns/")[0]
            self.haystack.add(f"page {name}", answer.content)
        accept = {"Accept": "application/openmetrics-text"}
        self.haystack.add("page /metrics", (await web.get("/metrics", headers=accept)).content)

    async def _reload_mistakes(self, web: httpx.AsyncClient) -> None:
        """Make each mistake, and have the daemon read the config with it."""
        good, first = self.config.read_text(), self.folder / "token-0"
        token = first.read_text()
        for text in mistaken(good, token):
            self.config.write_text(text)
            await self._reload(web)
        self.config.write_text(good)
        for made in TOKEN_FILES.values():
            first.write_bytes(made(token))
            await self._reload(web)
        first.write_text(token)
        first.chmod(0o644)
        await self._reload(web)
        first.chmod(0o600)

    async def _reload(self, web: httpx.AsyncClient) -> None:
        answer = await web.post("/-/reload")
        assert answer.status_code == 500, answer.text
        self.mistakes += 1
        self.haystack.add("page /-/reload", answer.content)


def command_line(pid: int) -> bytes:
    """Return what everybody on the machine sees of a process."""
    return Path(f"/proc/{pid}/cmdline").read_bytes()


async def commands(run: Run) -> None:
    """Run each command on the config, and `config check` on every mistake."""
    token = f"{run.token}000"
    for arguments in (
        ("check", "--config.file", run.config),
        ("check", "--config.file", run.config, "--format", "json"),
        ("config", "check", run.config),
        ("config", "show", run.config),
        ("events", "--config.file", run.config),
    ):
        await _finish(run, *arguments)
    for text in mistaken(run.config.read_text(), token):
        run.config.write_text(text)
        ended = await called("config", "check", run.config)
        assert ended.code == os.EX_CONFIG, ended
        run.haystack.add("commands", ended.out, ended.err)


async def _finish(run: Run, *arguments: str | Path) -> None:
    ended = await finished(*arguments, PYTHONPATH=str(run.folder))
    run.haystack.add("commands", ended.out, ended.err)


async def one_run(
    token: str, output: str, end: signal.Signals, polls: int, *, with_commands: bool
) -> Run:
    """Have one daemon live through all of it."""
    authority = trustme.CA()
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(tls)
    apis = Apis()
    with tempfile.TemporaryDirectory() as folder:
        async with (
            Misbehaving(apis.script) as plain,
            Misbehaving(hangs, tls) as stranger,
            Misbehaving(hangs, greeting=token.encode()) as greeting,
        ):
            urls = dict.fromkeys(SCRIPTS, plain.url)
            urls["tls-unknown-authority"] = stranger.url
            urls["tls-greeting"] = greeting.url.replace("http:", "https:")
            run = Run(token, output, Path(folder), apis)
            run.write(urls, SELDOM if polls < 5 else POLLING)
            await run.live(polls, end)
            if with_commands:
                await commands(run)
    return run


def main(argv: Sequence[str]) -> list[Figure]:
    """Run a daemon for each kind of token and of output, and search all that they said."""
    parser = argparse.ArgumentParser(prog="secrets", description=main.__doc__)
    parser.add_argument("--polls", type=int, default=POLLS, help="of each API")
    parser.add_argument("--runs", type=int, default=len(RUNS))
    options = parser.parse_args(argv)
    runs = []
    for number, (token, output, end) in enumerate(RUNS[: options.runs]):
        print(f"run {number + 1} of {options.runs}: {output}", file=sys.stderr)
        job = one_run(token, output, end, options.polls, with_commands=number == 0)
        runs.append(asyncio.run(job))
    return [figure(runs)]


def figure(runs: Sequence[Run]) -> Figure:
    """Return what was promised, and what it came to."""
    hits = [hit for run in runs for hit in run.haystack.hits(run.token)]
    channels = {channel for run in runs for channel in run.haystack.channels}
    print(f"searched: {', '.join(sorted(channels))}", *hits[:20], sep="\n", file=sys.stderr)
    answers = sum(run.apis.answers for run in runs)
    size = sum(run.haystack.size for run in runs)
    return Figure(
        "No token appears in any output, at any log level",
        f"{len(FAULTS)} APIs that echo the token they were sent and "
        f"{sum(run.mistakes for run in runs)} mistakes in config and token files, {len(runs)} "
        "daemons at debug level; searched for any 12 characters of the token in a row",
        f"{answers:,} answers; {len(channels)} channels, {size / 1e6:,.1f} MB: {len(hits)} hits",
        not hits,
    )
