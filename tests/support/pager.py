"""The way to the pager with the real programs: Prometheus, Alertmanager, and what on-call is sent.

Both run with the files under deploy/. Of those, copies differ in what a test cannot have: in where
the others listen, in where secrets lie and notifications go, and in how long everything waits.
"""

import asyncio
import json
import re
import signal
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from aiohttp import web

from support.command import Running, running_program
from support.documents import read_yaml
from support.peers import require_peer

DEPLOY = Path(__file__).parents[2] / "deploy"

GROUP_WAIT = 5
"""Seconds that Alertmanager waits for others of a group; 30 in the shipped file."""

RESEND_DELAY = 5
"""Seconds until Prometheus tells Alertmanager of an alert again; a minute by default."""

ABSENT_FOR = 5
"""Seconds until a monitor that is not there, or none that reaches its database, is a page."""

PATIENCE = 90.0
"""Seconds until a wait fails the test: many times what a busy machine needs."""


@dataclass(frozen=True)
class Sent:
    """A notification as it was received: when (the loop's seconds), where, and what it says."""

    at: float
    receiver: str
    document: Mapping[str, Any]


@dataclass
class OnCall:
    """Stands for PagerDuty, Slack and the dead man's switch: takes all, and says 202."""

    url: str = ""
    sent: list[Sent] = field(default_factory=list)
    _came: asyncio.Event = field(default_factory=asyncio.Event)

    def pages(self, action: str = "trigger", **component: str) -> list[Sent]:
        """Return what PagerDuty got so far: these actions, with these fields of the payload."""
        return [
            one
            for one in self.sent
            if one.receiver == "pagerduty" and one.document["event_action"] == action
            if component.items() <= one.document["payload"].items()
        ]

    def rings(self) -> list[Sent]:
        """Return the pages that rang: others add to the incident that is open under their key."""
        rang, open_keys = [], set()
        for one in self.told("pagerduty"):
            key = one.document["dedup_key"]
            if one.document["event_action"] == "resolve":
                open_keys.discard(key)
            elif key not in open_keys:
                open_keys.add(key)
                rang.append(one)
        return rang

    def told(self, receiver: str) -> list[Sent]:
        """Return what this receiver got so far."""
        return [one for one in self.sent if one.receiver == receiver]

    async def until(self, condition: Callable[[], list[Sent]]) -> Sent:
        """Return the first that the condition gives; it is looked at after each notification."""
        try:
            async with asyncio.timeout(PATIENCE):
                while not (found := condition()):
                    self._came.clear()
                    await self._came.wait()
        except TimeoutError:
            raise AssertionError("\n".join(["not received; but:", *map(str, self.sent)])) from None
        return found[0]

    async def page(self, action: str = "trigger", **component: str) -> Sent:
        """Return the first such page, now or to come."""
        return await self.until(lambda: self.pages(action, **component))

    async def take(self, request: web.Request) -> web.Response:
        """Take a notification down."""
        now = asyncio.get_running_loop().time()
        self.sent.append(Sent(now, request.match_info["receiver"], await request.json()))
        self._came.set()
        return web.json_response({"ok": True}, status=202)


@asynccontextmanager
async def on_call() -> AsyncIterator[OnCall]:
    """Run a receiver of notifications on a free port."""
    receiver = OnCall()
    application = web.Application()
    application.router.add_post("/{receiver}", receiver.take)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        receiver.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield receiver
    finally:
        await runner.cleanup()


@dataclass
class Alertmanager:
    """An Alertmanager that runs, and whom it tells."""

    address: str
    on_call: OnCall

    @property
    def url(self) -> str:
        """Where it listens, without a slash at the end."""
        return f"http://{self.address}"

    async def alerts(self, **labels: str) -> list[dict[str, Any]]:
        """Return the alerts with these labels that it holds, each with what mutes it."""
        async with httpx.AsyncClient(base_url=self.url, trust_env=False) as client:
            answer = await client.get("/api/v2/alerts")
        return [one for one in answer.json() if labels.items() <= one["labels"].items()]


@asynccontextmanager
async def alertmanager(folder: Path) -> AsyncIterator[Alertmanager]:
    """Run Alertmanager with the shipped file, on a free port, with a receiver of its own."""
    async with on_call() as receiver:
        config = _alertmanager_config(folder, receiver.url)
        command = (
            require_peer("alertmanager"),
            f"--config.file={config}",
            f"--storage.path={folder / 'alertmanager'}",
            "--web.listen-address=127.0.0.1:0",
            "--cluster.listen-address=",
        )
        async with running_program(*command) as process:
            yield Alertmanager(await _address(process), receiver)


@dataclass
class Prometheus:
    """A Prometheus that runs."""

    process: Running
    address: str
    folder: Path
    alertmanager: str

    def scrape(self, address: str) -> None:
        """Scrape the monitor at this address (host:port), and nothing else, from now on."""
        _prometheus_config(self.folder, self.alertmanager, address)
        self.process.process.send_signal(signal.SIGHUP)

    async def ask(self, query: str) -> list[dict[str, Any]]:
        """Return the series that this query has now: none while Prometheus still starts."""
        async with httpx.AsyncClient(base_url=f"http://{self.address}", trust_env=False) as client:
            answer = await client.get("/api/v1/query", params={"query": query})
        if answer.status_code == 503:
            return []
        found: list[dict[str, Any]] = answer.raise_for_status().json()["data"]["result"]
        return found


@asynccontextmanager
async def prometheus(
    folder: Path,
    alerted: Alertmanager,
    *scraped: str,
    name: str = "prometheus",
    window: int = 3600,
) -> AsyncIterator[Prometheus]:
    """Run Prometheus with the shipped files; `scraped` are the replicas' addresses (host:port).

    A second one of a pair needs a `name` of its own; `window` seconds stand for the hour for which
    the rules hold an alert. Gives it once the way to on-call is open,
    which is what the dead man's switch is told.
    """
    _rules(folder, window)
    command = (
        require_peer("prometheus"),
        f"--config.file={_prometheus_config(folder, alerted.address, *scraped)}",
        f"--storage.tsdb.path={folder / name}",
        f"--rules.alert.resend-delay={RESEND_DELAY}s",
        "--web.listen-address=127.0.0.1:0",
    )
    async with running_program(*command) as process:
        # What fires before Prometheus knows its Alertmanager comes with the next resend only.
        await alerted.on_call.until(lambda: alerted.on_call.told("watchdog"))
        yield Prometheus(process, await _address(process), folder, alerted.address)


async def _address(process: Running) -> str:
    """Return where a program of Prometheus' family listens, once it does."""

    def listening() -> list[str]:
        return re.findall(r'msg="Listening on" address=(\S+)', "\n".join(process.err))

    return (await process.until(listening, PATIENCE))[0]


def _shipped(name: str) -> Any:
    return read_yaml((DEPLOY / name).read_text())


def _written(file: Path, document: object) -> Path:
    file.write_text(json.dumps(document), encoding="utf-8")
    return file


def _alertmanager_config(folder: Path, receiver: str) -> Path:
    config = _shipped("alertmanager/alertmanager.yaml")
    config["global"] = {"pagerduty_url": f"{receiver}/pagerduty"}
    config["templates"] = [str(DEPLOY / "alertmanager" / one) for one in config["templates"]]
    config["route"] |= {"group_wait": f"{GROUP_WAIT}s", "group_interval": "2s"}
    of_name = {one["name"]: one for one in config["receivers"]}
    secrets = {"routing_key_file": "a-routing-key", "api_url_file": f"{receiver}/slack"}
    for name, text in secrets.items():
        (folder / name).write_text(text, encoding="utf-8")
    for name in ("pagerduty", "pagerduty-retail"):
        (pagerduty,) = of_name[name]["pagerduty_configs"]
        pagerduty["routing_key_file"] = str(folder / "routing_key_file")
    (slack,) = of_name["slack"]["slack_configs"]
    slack["api_url_file"] = str(folder / "api_url_file")
    (switch,) = of_name["dead-mans-switch"]["webhook_configs"]
    switch["url"] = f"{receiver}/watchdog"
    return _written(folder / "alertmanager.yaml", config)


def _prometheus_config(folder: Path, alerted: str, *scraped: str) -> Path:
    config = _shipped("prometheus/prometheus.yaml")
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    (job,) = config["scrape_configs"]
    job |= {"scrape_timeout": "1s", "static_configs": [{"targets": scraped}]}
    (alerting,) = config["alerting"]["alertmanagers"]
    alerting["static_configs"] = [{"targets": [alerted]}]
    return _written(folder / "prometheus.yaml", config)


def _rules(folder: Path, window: int) -> None:
    rules = _shipped("prometheus/sftp-monitor.rules.yaml")
    for group in rules["groups"]:
        group["interval"] = "1s"
        for rule in group["rules"]:
            if rule.get("alert") in ("SftpMonitorAbsent", "SftpMonitorStateUnavailable"):
                rule["for"] = f"{ABSENT_FOR}s"
            if rule.get("record") == "sftp_monitor:alert:held":
                rule["expr"] = rule["expr"].replace("[1h]", f"[{window}s]")
    _written(folder / "sftp-monitor.rules.yaml", rules)
