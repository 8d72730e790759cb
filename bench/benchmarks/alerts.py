"""How long Prometheus takes to evaluate the shipped rules while 10,000 campaigns fire.

    make benchmark PART=alerts ARGS="--campaigns 10000 --evaluations 5"
    make benchmark PART=alerts ARGS="--rules FILE"        # other rules, such as those of before

A real Prometheus scrapes the page of a monitor whose every campaign has failed its last test, at
the intervals that are shipped; each evaluation is `prometheus_rule_group_last_duration_seconds`.
One that takes longer than its interval is skipped the next time: exit code 1 from half of it on.
Beside it the CPU that Prometheus used from one to the next, scrapes included, so that it does not
matter what else the machine does.
"""

import argparse
import asyncio
import re
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import yaml
from aiohttp import web

from monitor.adapters.metrics import Exposition
from monitor.clocks import SystemClock
from monitor.core.model import HOUR
from monitor.core.snapshot import EnvironmentSnapshot, Snapshot
from monitor.core.status import EnvironmentStatus
from support.boards import AROUND_THE_CLOCK, an_entry, an_environment
from support.builders import a_config
from support.command import running_program
from support.scrapes import some_own_metrics

SHIPPED = Path(__file__).parents[2] / "deploy" / "prometheus" / "sftp-monitor.rules.yaml"
ENVIRONMENTS = 10
CAMPAIGNS = "sftp-monitor"
"""The group that has the alerts of campaigns."""

HOSTS = 50
"""Servers that the campaigns of an environment share."""


def page_of(campaigns: int) -> bytes:
    """Return the metrics of a monitor whose every campaign has failed its last test."""
    now = SystemClock().wall()
    environments = [
        _environment(f"e-{number}", campaigns // ENVIRONMENTS, now)
        for number in range(ENVIRONMENTS)
    ]
    snapshot = Snapshot({each.status.name: each for each in environments}, now)
    return Exposition(some_own_metrics()).render(snapshot, {}, openmetrics=False)


def _environment(name: str, campaigns: int, now: float) -> EnvironmentSnapshot:
    def failed(number: int) -> Any:
        config = a_config(
            host=f"sftp{number % HOSTS}.{name}.example",
            created_at=now - 100 * HOUR,
            last_test_at=now - HOUR,
            last_test_success=False,
        )
        key, called = f"{name}-campaign-{number}", f"Campaign {number} of {name}"
        target = {"environment": name, "name": called, "calls": AROUND_THE_CLOCK}
        return an_entry(key, (now - 60, config), **target)

    entries = [failed(number) for number in range(campaigns)]
    status = EnvironmentStatus(name=name, up=True, swept_at=now - 60)
    return replace(an_environment(*entries, name=name, status=status), now=now)


@asynccontextmanager
async def served(page: bytes) -> AsyncIterator[str]:
    """Serve the page as a monitor does; gives its address (host:port)."""

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=page, content_type="text/plain")

    application = web.Application()
    application.router.add_get("/metrics", metrics)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def config_of(folder: Path, rules: Path, scraped: str) -> Path:
    """Write the config of a Prometheus with these rules, which pages nobody; return its path."""
    config = yaml.safe_load((SHIPPED.parent / "prometheus.yaml").read_text())
    config["rule_files"] = [str(rules.resolve())]
    config["scrape_configs"][0]["static_configs"] = [{"targets": [scraped]}]
    del config["alerting"]
    file = folder / "prometheus.yaml"
    file.write_text(yaml.safe_dump(config), encoding="utf-8")
    return file


def durations(page: str) -> Iterator[tuple[str, float, float]]:
    """Yield each group's name, when it was last evaluated, and how many seconds that took."""

    def of(metric: str) -> dict[str, float]:
        found = re.findall(rf'^{metric}{{rule_group="[^"]*;([^"]+)"}} (\S+)$', page, re.MULTILINE)
        return {name: float(value) for name, value in found}

    at = of("prometheus_rule_group_last_evaluation_timestamp_seconds")
    for name, seconds in of("prometheus_rule_group_last_duration_seconds").items():
        yield name, at[name], seconds


async def evaluated(address: str, firing: int, count: int) -> dict[str, list[float]]:
    """Return what each of so many evaluations took, by group, once so many alerts fire."""
    found: dict[str, dict[float, float]] = {}
    used: list[float] = []
    counted = {"query": 'count(ALERTS{alertstate="firing",alertname!="SftpMonitorWatchdog"})'}
    async with httpx.AsyncClient(base_url=f"http://{address}", timeout=60) as client:
        while not found or min(map(len, found.values())) < count:
            await asyncio.sleep(5)
            answer = (await client.get("/api/v1/query", params=counted)).json()["data"]["result"]
            if not answer or float(answer[0]["value"][1]) < firing:
                continue
            page = (await client.get("/metrics")).text
            for name, at, seconds in durations(page):
                if at not in found.setdefault(name, {}) and name == CAMPAIGNS:
                    used += map(float, re.findall(r"^process_cpu_seconds_total (\S+)$", page, re.M))
                found[name][at] = seconds
    per_evaluation = [after - before for before, after in pairwise(used)]
    print("CPU from one to the next:", ", ".join(f"{one:.1f}" for one in per_evaluation), "s")
    return {name: list(each.values()) for name, each in found.items()}


async def measure(rules: Path, campaigns: int, evaluations: int) -> dict[str, list[float]]:
    """Return how many seconds each evaluation of these rules took, by group."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        async with served(page_of(campaigns)) as scraped:
            command = (
                "prometheus",
                f"--config.file={config_of(folder, rules, scraped)}",
                f"--storage.tsdb.path={folder / 'data'}",
                "--web.listen-address=127.0.0.1:0",
            )
            async with running_program(*command) as process:

                def listening() -> list[str]:
                    return re.findall(r'msg="Listening on" address=(\S+)', "\n".join(process.err))

                (address,) = await process.until(listening)
                return await evaluated(address, campaigns, evaluations)


def left_half(rules: Path, found: dict[str, list[float]]) -> bool:
    """Print what was found; return whether each evaluation left half of its interval."""
    groups = yaml.safe_load(rules.read_text())["groups"]
    intervals = {one["name"]: one.get("interval", "15s") for one in groups}
    for group, seconds in sorted(found.items()):
        took = ", ".join(f"{one:.2f}" for one in seconds)
        print(f"{group:24} every {intervals[group]:>4}: {took} s", flush=True)
    halves = {name: float(interval.rstrip("s")) / 2 for name, interval in intervals.items()}
    return all(max(seconds) < halves[group] for group, seconds in found.items())


def main() -> None:
    """Take the options, and measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--campaigns", type=int, default=10_000)
    parser.add_argument("--evaluations", type=int, default=5)
    parser.add_argument("--rules", type=Path, default=SHIPPED)
    options = parser.parse_args()
    found = asyncio.run(measure(options.rules, options.campaigns, options.evaluations))
    sys.exit(not left_half(options.rules, found))


if __name__ == "__main__":
    main()
