"""What a scrape of 100,000 campaigns costs, and for how long it holds up the event loop.

    .venv/bin/python -m benchmarks.scrape --environments 10 --campaigns 10000

The real board and page of a monitor that knows all its campaigns, rendered in a thread as the web
server does it, while a timer on the loop notes how late it is run. Beside it, in the same run, the
same board through a plain custom collector and prometheus-client's `generate_latest`.

Both are counted in CPU that this process used, so that it does not matter what else the machine
does: a stall is what was computed between the instant at which the loop should have run and the
one at which it did.
"""

import argparse
import asyncio
import gc
import gzip
import logging
import os
import tempfile
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import structlog
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from monitor.adapters.metrics import SelfMetrics
from monitor.adapters.metrics.exposition import CAMPAIGN_FAMILIES, campaign_values
from monitor.adapters.store import MEMORY, Loaded, Store
from monitor.adapters.web.handlers import GZIP_LEVEL
from monitor.clocks import SystemClock
from monitor.config import Config, EnvironmentConfig, load_config, narrowed
from monitor.core.model import Answer, SftpConfig
from monitor.core.snapshot import Snapshot
from monitor.core.status import CampaignStatus, LastKnown
from monitor.polling import PollerManager
from monitor.reporting import Report

ONE_ENVIRONMENT = """
environments:
  - {name: e, base_url: "http://127.0.0.1:9/api/v1", token: "${TOKEN}", campaigns: [{id: c}]}
web: {listen_address: "127.0.0.1:0"}
"""


class PlainCollector(Collector):
    """The gauges of campaigns as prometheus-client's documentation has it."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._board = snapshot

    def collect(self) -> Iterator[Metric]:
        """Yield every gauge of the campaigns."""
        for name, about in [*CAMPAIGN_FAMILIES.items()][1:-2]:
            family = GaugeMetricFamily(name, about, labels=["environment", "campaign_id"])
            for _, entry in self._board.entries():
                number = campaign_values(entry).get(name)
                if number is not None:
                    key = [entry.target.environment, entry.target.campaign_id]
                    family.add_metric(key, float(number))
            yield family


CREATED_AT = 1767225600.0  # 2026-01-01


def config_of(environments: int, campaigns: int) -> Config:
    """Return a config of so many environments with so many campaigns each."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "monitor.yaml"
        file.write_text(ONE_ENVIRONMENT)
        # Loaded once and multiplied: YAML of 100,000 campaigns is another matter.
        config = load_config(file, {**os.environ, "TOKEN": "talq_benchmark"})
    one = config.environments[0]
    many = (_environment(one, f"e-{number}", campaigns) for number in range(environments))
    return config.model_copy(update={"environments": tuple(many)})


def _environment(one: EnvironmentConfig, name: str, campaigns: int) -> EnvironmentConfig:
    (first,) = one.campaigns
    keys = [f"{name}-c-{number}" for number in range(campaigns)]
    listed = tuple(first.model_copy(update={"id": key, "name": f"Campaign {key}"}) for key in keys)
    made = one.model_copy(update={"name": name, "campaigns": listed})
    return narrowed(made, lambda _: True)  # its targets anew


def known(config: Config, now: float) -> Loaded:
    """Return a state in which every campaign was read within the last five minutes."""
    statuses = {
        (environment.name, key): status(environment.name, key, now - place % 300, now)
        for environment in config.environments
        for place, key in enumerate(environment.resolved.targets)
    }
    return Loaded(campaigns=statuses, environments={}, next_call_at={}, target_sets={}, problems=())


def status(environment: str, key: str, read_at: float, now: float) -> CampaignStatus:
    """Return what is remembered of a campaign that was well when it was read."""
    last_known = LastKnown(
        config=answer(key, now),
        first_seen_at=now - 1e5,
        last_read_at=read_at,
        enabled_seen=True,
    )
    return CampaignStatus(
        environment=environment, campaign_id=key, last_known=last_known, polled_at=read_at
    )


def answer(key: str, now: float) -> SftpConfig:
    """Return what the platform says of a campaign: all is well, as `polls.Server` has it."""
    return SftpConfig(
        id=f"config-of-{key}",
        campaign_id=key,
        host="sftp.example.com",
        is_enabled=True,
        port=22,
        username="leads",
        auth_type="password",
        import_path="/in",
        export_path="/out",
        import_schedule="daily",
        last_test_at=now - 3600,
        last_test_success=True,
        created_at=CREATED_AT,
        updated_at=CREATED_AT,
    )


class Stopwatch:
    """Measures one step after the other, with a timer on the loop beside it."""

    def __init__(self) -> None:
        self.late = 0.0
        print(f"{'':34}{'CPU s':>8}{'stall ms':>10}{'RSS MB':>9}")

    async def tick(self) -> None:
        """Note how late the loop runs a timer of a millisecond; for ever."""
        while True:
            started = time.process_time()
            await asyncio.sleep(0.001)
            self.late = max(self.late, time.process_time() - started - 0.001)

    async def step(self, name: str, work: Awaitable[Any]) -> Any:
        """Do the work and print what it took."""
        await asyncio.sleep(0.01)
        self.late, cpu = 0.0, time.process_time()
        result = await work
        used = time.process_time() - cpu
        await asyncio.sleep(0.01)
        print(f"{name:34}{used:8.2f}{self.late * 1000:10.0f}{_memory():9.0f}", flush=True)
        return result


def _memory() -> float:
    for row in Path("/proc/self/status").read_text().splitlines():
        if row.startswith("VmRSS:"):
            return int(row.split()[1]) / 1024
    return 0.0


def not_started(_name: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    # Nobody is called: what is polled here is decided by `answer`.
    work.close()
    return asyncio.ensure_future(asyncio.sleep(0))


async def not_reloaded() -> Sequence[str]:
    return []


def change(manager: PollerManager, part: float, now: float) -> None:
    """Have this part of all campaigns polled."""
    for poller in manager.pollers.values():
        keys = list(poller.state.settings.targets)
        for key in keys[: max(1, round(len(keys) * part))]:
            poller.state.decide(key, Answer(answer(key, now)), 0, 0.0)


async def applied(manager: PollerManager, config: Config, loaded: Loaded) -> None:
    parts, _ = await manager.prepare(config)
    await manager.take(parts, loaded)


async def measure(environments: int, campaigns: int) -> None:
    """Measure everything and print it."""
    clock, own, watch = SystemClock(), SelfMetrics("benchmark"), Stopwatch()
    ticking = asyncio.create_task(watch.tick())
    await watch.step("idle", asyncio.sleep(1))
    config = config_of(environments, campaigns)
    store = Store(MEMORY, now=clock.wall())
    manager = PollerManager(store, clock, own, not_started)
    loaded = known(config, clock.wall())
    await watch.step("start: plan all polls", applied(manager, config, loaded))
    await watch.step("reload: nothing changed", applied(manager, config, loaded))
    del loaded
    # As `sftp-monitor run` does it, once everything is loaded.
    gc.collect()
    gc.freeze()
    report = Report(config, manager, store, (), own, clock, lambda: True, not_reloaded)
    await measure_scrapes(watch, manager, report)
    ticking.cancel()


async def measure_scrapes(watch: Stopwatch, manager: PollerManager, report: Report) -> None:
    """Scrape while nothing, little and everything has changed; the others for comparison."""
    now, threads, loop = time.time(), ThreadPoolExecutor(1), asyncio.get_running_loop()

    def aside(work: Callable[[], bytes]) -> Awaitable[bytes]:
        return loop.run_in_executor(threads, work)

    async def snapshot() -> Snapshot:
        return report.snapshot()

    async def scrape() -> bytes:
        return await aside(report.metrics(openmetrics=False))

    await watch.step("board, on the loop", snapshot())
    await watch.step("scrape: the first", scrape())
    await watch.step("scrape: nothing changed", scrape())
    change(manager, 0.01, now)
    await watch.step("scrape: 1 % changed", scrape())
    change(manager, 1.0, now)
    page: bytes = await watch.step("scrape: all changed", scrape())
    print(f"the page has {len(page) / 1e6:.0f} MB, {page.count(b'campaign_id=')} series")
    await watch.step("gzip of it", aside(partial(gzip.compress, page, GZIP_LEVEL)))
    del page
    await watch.step("heartbeat", report.heartbeat())
    registry = CollectorRegistry()
    registry.register(PlainCollector(report.snapshot()))
    await watch.step("plain, 8 of 11 families", aside(partial(generate_latest, registry)))


def main() -> None:
    """Read the arguments and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--environments", type=int, default=10)
    parser.add_argument("--campaigns", type=int, default=10_000)
    arguments = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    asyncio.run(measure(arguments.environments, arguments.campaigns))


if __name__ == "__main__":
    main()
