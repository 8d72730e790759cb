"""The budget holds for all calls together, whatever happens, and says so where it is too small."""

import itertools
from bisect import bisect_left
from collections import defaultdict
from pathlib import Path

import pytest

from monitor.core.model import PollError, Reason
from support.daemons import World
from support.virtual import START, config, run, virtual_seconds

MINUTE = 60.0
BUDGET = 5
"""Calls a minute; small, so that a test has few of them."""

ENVIRONMENT = (
    "environments:\n  - name: production\n    base_url: http://127.0.0.1:9/api/v1\n"
    f"    token: ${{TOKEN}}\n    requests_per_minute: {2 * BUDGET}\n    budget_share: 0.5\n"
)
EFFECTIVE = "sftp_monitor_effective_interval_seconds{"


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def fullest_minute(calls: list[float]) -> int:
    """Return how many calls the fullest window of 60 s holds, wherever it begins."""
    return max(bisect_left(calls, at + MINUTE) - index for index, at in enumerate(calls))


def test_fault_28_listings_polls_probes_and_restarts_share_one_budget(world: World) -> None:
    keys = [f"c-{n}" for n in range(25)]

    async def story() -> list[tuple[float, str]]:
        world.write_config(ENVIRONMENT + "    discovery: {enabled: true, every: 1m}\n")
        api = world.api()
        api.lists(*keys)
        api.says = {key: config(key, START, last_test_success=False) for key in keys[:5]}
        for _ in range(3):
            async with world.daemon():
                await virtual_seconds(20)
        async with world.daemon() as daemon:
            await virtual_seconds(5 * MINUTE)
            sick, api.says = api.says, dict.fromkeys(keys, PollError(Reason.TIMEOUT))
            await virtual_seconds(2 * MINUTE)
            api.says = sick
            await virtual_seconds(5 * MINUTE)
            api.refuse = 30.0
            await virtual_seconds(MINUTE)
            api.refuse = None
            assert await daemon.reload() == []
            await virtual_seconds(5 * MINUTE)
        return api.calls

    calls = run(story())
    assert sum(key == "*" for _, key in calls) >= 5
    assert fullest_minute([at for at, _ in calls]) <= BUDGET


@pytest.mark.slow
def test_fault_30_a_budget_that_is_too_small_stretches_evenly_and_says_so(world: World) -> None:
    keys = [f"c-{n}" for n in range(80)]

    async def story() -> tuple[list[tuple[float, str]], str]:
        listed = ", ".join(f"{{id: {key}}}" for key in keys)
        world.write_config(f"{ENVIRONMENT}    campaigns: [{listed}]\n")
        async with world.daemon() as daemon:
            await virtual_seconds(55 * MINUTE)
            return world.api().calls, daemon.report.metrics(False)().decode()

    calls, page = run(story())
    interval = 80 / (0.97 * BUDGET) * MINUTE
    told = next(line for line in page.splitlines() if line.startswith(EFFECTIVE))
    assert float(told.split()[-1]) == pytest.approx(interval)
    assert world.told() == [("firing", "budget_insufficient", None)]
    assert world.events()[0]["evidence"] == {"effective_interval": "16 min", "allowed": "15 min"}
    seen: dict[str, list[float]] = defaultdict(list)
    for at, key in calls:
        seen[key].append(at)
    assert seen.keys() == set(keys)
    gaps = [later - at for one in seen.values() for at, later in itertools.pairwise(one)]
    assert max(gaps) <= 1.6 * interval
