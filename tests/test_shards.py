"""Shards on virtual time: who polls what, and what is told when an environment moves."""

import asyncio
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families as read_text

from monitor.core.sharding import Shard, owner
from monitor.daemon import Daemon
from support.daemons import World
from support.scrapes import Scrape
from support.virtual import START, FakeApi, config, run, virtual_seconds

MINUTE = 60.0
DAY = 86400.0

STAYS, MOVES = "acme", "production"
"""With one shard more the second environment is the new shard's."""

ALONE, FIRST, SECOND = Shard(0, 1), Shard(0, 2), Shard(1, 2)


class Cluster:
    """Two folders, each with a state and a config file of its own, on the same APIs and clock."""

    def __init__(self, folder: Path) -> None:
        self.old = World(_made(folder / "shard-0"))
        self.new = World(_made(folder / "shard-1"), self.old.clock, self.old.apis)
        self.configure(STAYS, MOVES)

    def configure(self, *environments: str) -> None:
        """Write the config file of both: these environments, with one campaign each."""
        written = "".join(
            f"  - name: {name}\n"
            "    base_url: http://127.0.0.1:9/api/v1\n"
            f"    token: ${{TOKEN_{number}}}\n"
            "    campaigns: [{id: c-1}]\n"
            for number, name in enumerate(environments)
        )
        for world in (self.old, self.new):
            world.write_config(f"environments:\n{written}")

    def api(self, environment: str) -> FakeApi:
        return self.old.api(environment)

    def breaks(self, *environments: str) -> None:
        """Have the campaign of these environments fail its connection test."""
        for name in environments:
            self.api(name).says["c-1"] = config("c-1", START, last_test_success=False)


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


TOKENS = {f"TOKEN_{number}": f"talq_test_{number}" for number in range(3)}


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    return Cluster(tmp_path)


async def _runs(world: World, shard: Shard, minutes: float = 10) -> None:
    """Run a shard for a while, and stop it."""
    async with world.daemon(TOKENS, shard):
        await virtual_seconds(minutes * MINUTE)


async def _both_run(cluster: Cluster, minutes: float = 10) -> None:
    """Run both shards side by side for a while, and stop them."""
    await asyncio.gather(_runs(cluster.old, FIRST, minutes), _runs(cluster.new, SECOND, minutes))


def _said(events: Iterable[dict[str, Any]]) -> list[tuple[Any, ...]]:
    return [(event["status"], event["environment"], event["seq"]) for event in events]


def _scraped(daemon: Daemon) -> Scrape:
    return Scrape(read_text(daemon.report.metrics(False)().decode()))


def test_the_names_here_stay_and_move() -> None:
    assert (owner(STAYS, 2), owner(MOVES, 2)) == (0, 1)


# --- side by side ------------------------------------------------------------------------------


def test_each_environment_is_polled_by_its_owner_alone(cluster: Cluster) -> None:
    async def story() -> list[tuple[str, ...]]:
        shards = cluster.old.daemon(TOKENS, FIRST), cluster.new.daemon(TOKENS, SECOND)
        async with shards[0] as old, shards[1] as new:
            await virtual_seconds(MINUTE)
            return [tuple(daemon.report.board().environments) for daemon in (old, new)]

    assert run(story()) == [(STAYS,), (MOVES,)]
    for name in (STAYS, MOVES):
        # Connected once, so that one budget is spent.
        assert len(cluster.api(name).tokens) == 1
        assert len(cluster.api(name).calls) == 1


def test_every_shard_says_of_every_environment_whether_it_owns_it(cluster: Cluster) -> None:
    async def story() -> list[Scrape]:
        shards = cluster.old.daemon(TOKENS, FIRST), cluster.new.daemon(TOKENS, SECOND)
        async with shards[0] as old, shards[1] as new:
            return [_scraped(old), _scraped(new)]

    old, new = run(story())
    for page, ordinal in ((old, 0), (new, 1)):
        assert (page.value("shard_ordinal"), page.value("total_shards")) == (ordinal, 2)
        assert page.value("environment_owned", environment=STAYS) == float(ordinal == 0)
        assert page.value("environment_owned", environment=MOVES) == float(ordinal == 1)
    assert new.value("budget_requests_per_minute", environment=STAYS) is None


def test_an_event_says_which_shard_tells_it(cluster: Cluster) -> None:
    cluster.breaks(STAYS, MOVES)
    run(_both_run(cluster))
    assert [event["shard"] for event in cluster.old.events()] == [0]
    assert [event["shard"] for event in cluster.new.events()] == [1]


def test_a_shard_without_an_environment_is_ready_and_polls_nothing(cluster: Cluster) -> None:
    cluster.configure(MOVES)

    async def story() -> tuple[str | None, bool]:
        async with cluster.old.daemon(TOKENS, FIRST) as daemon:
            await virtual_seconds(MINUTE)
            return daemon.report.ready(), daemon.report.healthy()

    assert run(story()) == (None, True)
    assert cluster.api(MOVES).calls == []


def test_a_reload_brings_only_what_the_shard_owns(cluster: Cluster) -> None:
    cluster.configure(MOVES)

    async def story() -> Scrape:
        async with cluster.old.daemon(TOKENS, FIRST) as daemon:
            cluster.configure(MOVES, STAYS)
            assert await daemon.reload() == []
            await virtual_seconds(MINUTE)
            return _scraped(daemon)

    page = run(story())
    assert page.value("environment_owned", environment=STAYS) == 1
    assert page.value("environment_owned", environment=MOVES) == 0
    assert len(cluster.api(STAYS).calls) == 1
    assert cluster.api(MOVES).calls == []


# --- from one shard to two ---------------------------------------------------------------------


def test_a_moved_alert_is_told_again_by_the_new_owner_and_not_a_word_by_the_old(
    cluster: Cluster,
) -> None:
    cluster.breaks(STAYS, MOVES)

    async def story() -> int:
        await _runs(cluster.old, ALONE)
        told = len(cluster.old.lines)
        await _both_run(cluster)
        return told

    told = run(story())
    assert {event["environment"] for event in cluster.old.events()[:told]} == {STAYS, MOVES}
    assert cluster.old.events()[told:] == []
    before = next(event for event in cluster.old.events() if event["environment"] == MOVES)
    (again,) = cluster.new.events()
    assert (again["status"], again["environment"], again["seq"]) == ("firing", MOVES, 1)
    assert again["fingerprint"] == before["fingerprint"]
    assert again["epoch"] != before["epoch"]
    assert again["since"] == before["since"]
    assert not again["redelivery"]


def test_a_restart_of_both_shards_tells_nothing(cluster: Cluster) -> None:
    cluster.breaks(STAYS, MOVES)

    async def story() -> int:
        await _runs(cluster.old, ALONE)
        await _both_run(cluster)
        told = len(cluster.old.lines) + len(cluster.new.lines)
        await _both_run(cluster)
        return told

    told = run(story())
    assert told == 3
    assert len(cluster.old.lines) + len(cluster.new.lines) == told


def test_the_end_of_a_moved_alert_is_told_by_the_new_owner(cluster: Cluster) -> None:
    cluster.breaks(MOVES)

    async def story() -> None:
        await _runs(cluster.old, ALONE)
        await _both_run(cluster)
        cluster.api(MOVES).says["c-1"] = config("c-1", START, last_test_at=START + 1)
        await _both_run(cluster)

    run(story())
    assert _said(cluster.old.events()) == [("firing", MOVES, 1)]
    assert _said(cluster.new.events()) == [("firing", MOVES, 1), ("resolved", MOVES, 2)]


def test_a_moved_environment_starts_clean(cluster: Cluster) -> None:
    async def story() -> list[float | None]:
        await _runs(cluster.old, ALONE)
        swept = []
        async with cluster.new.daemon(TOKENS, SECOND) as daemon:
            for _ in range(2):
                board = daemon.report.board().environments[MOVES]
                swept.append(board.status.swept_at)
                await virtual_seconds(MINUTE)
        return swept

    # Until its owner has swept it, nobody may take the silence for health.
    assert run(story()) == [None, pytest.approx(START + 10 * MINUTE, abs=10)]


# --- what the old owner keeps ------------------------------------------------------------------


def test_one_that_leaves_the_config_together_with_a_new_shard_is_resolved_all_the_same(
    cluster: Cluster,
) -> None:
    cluster.breaks(MOVES)

    async def story() -> None:
        await _runs(cluster.old, ALONE)
        cluster.configure(STAYS)
        await _both_run(cluster)

    run(story())
    # The new owner never knew of it: nobody else would ever close that page.
    assert _said(cluster.old.events()) == [("firing", MOVES, 1), ("resolved", MOVES, 2)]
    assert cluster.new.events() == []


def test_what_was_decided_before_the_move_is_told_all_the_same(cluster: Cluster) -> None:
    cluster.breaks(MOVES)

    async def story() -> None:
        cluster.old.full = True
        await _runs(cluster.old, ALONE)
        cluster.old.full = False
        await _runs(cluster.old, FIRST)

    run(story())
    assert _said(cluster.old.events()) == [("firing", MOVES, 1)]
    assert len(cluster.api(MOVES).tokens) == 1
