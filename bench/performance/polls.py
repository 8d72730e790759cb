"""What a poll costs, beside a probe of blackbox_exporter, and beside Prometheus with it."""

import http.client
import random
import time
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from threading import Event, Thread
from typing import Any
from urllib.parse import quote

from performance import peers
from performance.daemon import UNLIMITED, Daemon, started, tested_at, write_config
from performance.programs import Program
from performance.scale import Samples, Scale

CONCURRENCY = 8
"""Requests under way at once, of both: the monitor's default for an environment."""


def polls(scale: Scale, folder: Path) -> Samples:
    """CPU of a poll of the monitor and of a probe of blackbox_exporter, as fast as may be."""
    for scheme in ("http", "tls"):
        with peers.nginx(folder / scheme, tested_at(), tls=scheme == "tls") as api:
            turns = {
                f"poll-{scheme}": partial(_saturated, scale, folder / scheme, api),
                f"probe-{scheme}": partial(_probed, scale, folder / scheme, api),
            }
            for window in range(scale.windows):
                for name in turns if window % 2 else reversed(turns):
                    yield name, turns[name]()


def _api(api: peers.NginxApi) -> dict[str, Any]:
    return {**UNLIMITED, **({"ca_file": str(api.ca_file)} if "https" in api.url else {})}


def _saturated(scale: Scale, folder: Path, api: peers.NginxApi) -> float:
    """Return the CPU of a poll of more campaigns than can be polled each second."""
    polling = {"interval": "1s", "unhealthy_interval": "1s", "timeout": "1s"}
    (folder / "state.db").unlink(missing_ok=True)
    config = write_config(folder, api.url, scale.saturating, environment=_api(api), polling=polling)
    with started(config) as daemon:
        _answered(api, 1.2 * scale.saturating)
        answered, cpu = api.requests(), daemon.process.cpu()
        time.sleep(scale.seconds)
        cost = (daemon.process.cpu() - cpu) / (api.requests() - answered)
        _all_read(scale, daemon, scale.saturating)
        return cost


def _answered(api: peers.NginxApi, more: float) -> None:
    """Return once the API has answered so many requests more."""
    begun = api.requests()
    while api.requests() < begun + more:
        time.sleep(0.1)


def _all_read(scale: Scale, daemon: Daemon, campaigns: int) -> None:
    """Make sure that what was cheap was done: hardly a poll failed, of hardly a campaign.

    On a busy machine now and then an answer takes longer than the second that it may.
    """
    read = daemon.metric("sftp_monitor_campaign_up{")
    polled = daemon.metric("sftp_monitor_api_requests_total{")
    failed = daemon.metric("sftp_monitor_api_request_failures_total{")
    if read < scale.answered * campaigns or failed > (1 - scale.answered) * polled:
        found = f"{read:.0f} of {campaigns} campaigns were read, {failed:.0f} of {polled:.0f}"
        raise RuntimeError(f"{found} polls failed: not a fair figure")


def _probed(scale: Scale, folder: Path, api: peers.NginxApi) -> float:
    """Return the CPU of a probe, asked for by as many at once as the monitor polls at once."""
    with peers.blackbox(folder, api) as (process, url):
        end, failed = Event(), Event()
        askers = [Thread(target=_ask, args=(url, api, end, failed)) for _ in range(CONCURRENCY)]
        for asker in askers:
            asker.start()
        try:
            _answered(api, 100)
            answered, cpu = api.requests(), process.cpu()
            time.sleep(scale.seconds)
            cost = (process.cpu() - cpu) / (api.requests() - answered)
        finally:
            end.set()
            for asker in askers:
                asker.join()
        if failed.is_set():
            raise RuntimeError("a probe failed: not a fair figure")
        return cost


def _ask(url: str, api: peers.NginxApi, end: Event, failed: Event) -> None:
    """Ask blackbox_exporter for one probe after the other, over one connection."""
    connection = http.client.HTTPConnection(url.split("/")[2])
    while not end.is_set():
        campaign = f"c-{random.randrange(2000)}"
        target = quote(peers.url_of(api, campaign), safe="")
        connection.request("GET", f"/probe?module=sftp&target={target}")
        if b"\nprobe_success 1\n" not in connection.getresponse().read():
            failed.set()
    connection.close()


def paced(scale: Scale, folder: Path) -> Samples:
    """CPU of a poll over TLS at 100 a second: the monitor beside Prometheus with blackbox_exporter.

    Both run at the same time, each with an nginx of its own.
    """
    every = max(1, scale.paced // 100)
    polling = {"interval": f"{every}s", "unhealthy_interval": f"{every}s", "timeout": f"{every}s"}
    with ExitStack() as stack:
        ours = stack.enter_context(peers.nginx(folder / "ours", tested_at(), tls=True))
        theirs = stack.enter_context(peers.nginx(folder / "theirs", tested_at(), tls=True))
        exporter, url = stack.enter_context(peers.blackbox(folder / "theirs", theirs))
        prometheus = stack.enter_context(
            peers.prometheus(folder / "theirs", theirs, url, scale.paced, every)
        )
        config = write_config(
            folder / "ours", ours.url, scale.paced, environment=_api(ours), polling=polling
        )
        daemon = stack.enter_context(started(config))
        processes = (daemon.process, prometheus, exporter)
        for api in (ours, theirs):
            _answered(api, 1.2 * scale.paced)
        for _ in range(scale.windows):
            began, before = time.monotonic(), _state(processes, ours, theirs)
            time.sleep(2 * scale.seconds)
            seconds, after = time.monotonic() - began, _state(processes, ours, theirs)
            own, scraper, prober, polled, probed = (
                b - a for a, b in zip(before, after, strict=True)
            )
            due = seconds * scale.paced / every
            if min(polled, probed) < scale.kept_up * due:
                found = f"{polled:.0f} polls and {probed:.0f} probes where {due:.0f} were due"
                raise RuntimeError(f"{found}: too busy a machine for a fair figure")
            yield "paced-poll", own / polled
            yield "paced-probe", (scraper + prober) / probed
        _all_read(scale, daemon, scale.paced)
        yield "memory-ours", daemon.process.memory()
        yield "memory-theirs", prometheus.memory() + exporter.memory()


def _state(processes: Sequence[Program], *apis: peers.NginxApi) -> list[float]:
    """Return the CPU of each process so far, and then the requests that each API had."""
    return [*(process.cpu() for process in processes), *(api.requests() for api in apis)]
