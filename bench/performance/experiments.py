"""What is done to measure: each experiment yields samples, of those compared in turns."""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from performance import peers
from performance.daemon import NOBODY, Daemon, store, tested_at, watched, write_config
from performance.events import backlog, latency
from performance.polls import paced, polls
from performance.programs import COMMAND, ENVIRONMENTS, cpu_of, get, post
from performance.scale import Samples, Scale
from support.peers import find_peer


def sizes(scale: Scale, folder: Path) -> Samples:
    """Start, reloads, pages and memory of the daemon, at each number of campaigns."""
    with peers.nginx(folder / "api", tested_at()) as api:
        for size in scale.sizes:
            for repeat in range(1 if size == scale.largest else scale.repeats):
                place = folder / f"{size}-{repeat}"
                place.mkdir()
                for name, value in _size(
                    place, api, size, ENVIRONMENTS if size == scale.largest else 1
                ):
                    yield f"{name}@{size}", value


def _size(folder: Path, api: peers.NginxApi, size: int, environments: int) -> Samples:
    store(folder / "state.db", size, 300.0, environments)
    config = write_config(folder, api.url, size, environments)
    began = time.perf_counter()
    with watched(config) as (daemon, stalls):
        yield "start-wall", time.perf_counter() - began
        yield "start", daemon.process.cpu()
        yield "stall-start", stalls.take()
        text = config.read_text()
        pages = [f"/api/v1/campaigns?environment=e-{n}" for n in range(environments)]
        steps: Mapping[str, Callable[[], Any]] = {
            "metrics-first": lambda: get(f"{daemon.url}/metrics"),
            "metrics": lambda: get(f"{daemon.url}/metrics"),
            "reload": lambda: post(f"{daemon.url}/-/reload"),
            "relabel": lambda: _relabel(daemon, config, text),
            "list-first": lambda: _all_pages(daemon.url, pages),
            "list": lambda: _all_pages(daemon.url, pages),
            "polls": lambda: time.sleep(2),
        }
        for name, step in steps.items():
            cpu = daemon.process.cpu()
            step()
            yield name, daemon.process.cpu() - cpu
            yield f"stall-{name}", stalls.take()
        yield "memory", daemon.process.memory()


def _relabel(daemon: Daemon, config: Path, text: str) -> None:
    config.write_text(text.replace("team: retail", "team: leads"))
    post(f"{daemon.url}/-/reload")


def _all_pages(url: str, paths: Sequence[str]) -> None:
    """Read each of these lists to its end."""
    for path in paths:
        found = json.loads(get(f"{url}{path}&limit=1000"))
        while found.get("next"):
            found = json.loads(get(f"{url}{path}&limit=1000&next={quote(str(found['next']))}"))


def commands(scale: Scale, folder: Path) -> Samples:
    """CPU of commands from their start to their end, beside those of the peers that are there."""
    config = write_config(folder, NOBODY, 3)
    named: dict[str, list[str | Path]] = {
        "version": [COMMAND, "--version"],
        "rules": [COMMAND, "rules"],
        "config-check": [COMMAND, "config", "check", config],
    }
    for peer in ("blackbox_exporter", "prometheus"):
        if found := find_peer(peer):
            named[f"{peer}-version"] = [found, "--version"]
    for _ in range(scale.windows):
        for name, command in named.items():
            yield name, cpu_of(command)


@dataclass(frozen=True)
class Experiment:
    """What yields samples, in a folder of its own, and the peers without which it cannot."""

    run: Callable[[Scale, Path], Samples]
    needs: tuple[str, ...] = ()


EXPERIMENTS = {
    "commands": Experiment(commands),
    "polls": Experiment(polls, ("nginx", "blackbox_exporter")),
    "paced": Experiment(paced, ("nginx", "blackbox_exporter", "prometheus")),
    "latency": Experiment(latency),
    "backlog": Experiment(backlog),
    "sizes": Experiment(sizes, ("nginx",)),
}
"""In the order in which they run: the longest last."""
