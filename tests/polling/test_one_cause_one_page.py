"""One cause, one page: what the daemon tells where every campaign is refused, or none is listed."""

from pathlib import Path

import pytest

from monitor.core.model import MINUTE, NoConfig, Observation, PollError, Reason
from support.daemons import World
from support.virtual import START, config, run, virtual_seconds

REFUSALS: dict[str, Observation] = {
    "402": PollError(Reason.HTTP_4XX, "402 UNPAID: pay", 402),
    "406 of a firewall": PollError(Reason.HTTP_4XX, "406, text/html (Server: waf)", 406),
    "410": PollError(Reason.HTTP_4XX, "410 gone", 410),
    "gzip": PollError(Reason.BAD_ENCODING, "Content-Encoding gzip, asked for identity", 200),
    "success: false": PollError(Reason.API_ERROR, "MAINTENANCE: back at 8", 200),
    "a renamed field": PollError(Reason.SCHEMA_MISMATCH, "Field required - at `$.data.host`", 200),
    "a cache": PollError(Reason.CACHED, "200 out of a cache, 3 h old (Age)", 200),
    "another campaign": PollError(Reason.WRONG_CAMPAIGN, "the answer is about campaign 7", 200),
    "no fields of the test": config("", START, has_test_fields=False),
}

DISCOVERING = (
    "environments:\n  - name: production\n    base_url: http://127.0.0.1:9/api/v1\n"
    "    token: ${TOKEN}\n    discovery: {enabled: true, every: 5m}\n"
)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def from_then_on(world: World, seen: Observation, *keys: str, until: float = 1e9) -> None:
    """Answer about these campaigns like this from the 12th minute on."""
    for key in keys:
        world.api().says[key] = lambda key=key: (  # type: ignore[misc]
            seen
            if START + 12 * MINUTE <= world.clock.wall() < START + until
            else config(key, START)
        )


def watch(world: World, minutes: float) -> None:
    async def story() -> None:
        async with world.daemon():
            await virtual_seconds(minutes * MINUTE)

    run(story())


@pytest.mark.matrix(fast=3)
@pytest.mark.parametrize("count", [3, 40])
@pytest.mark.parametrize("what", REFUSALS)
def test_faults_2_and_20_a_refusal_of_every_campaign_is_one_alert_with_the_words_of_the_api(
    world: World, what: str, count: int
) -> None:
    keys, seen = [f"c-{n}" for n in range(count)], REFUSALS[what]
    world.configure(keys)
    from_then_on(world, seen, *keys, until=60 * MINUTE)
    watch(world, 80)
    assert world.told() == [("firing", "api_refusing", None), ("resolved", "api_refusing", None)]
    detail = seen.detail if isinstance(seen, PollError) else "last_test_at or last_test_success"
    assert detail in world.events()[0]["evidence"]["detail"]


@pytest.mark.matrix(fast=1)
@pytest.mark.parametrize("what", ["402", "gzip", "a cache"])
def test_one_that_can_be_read_and_it_is_those_campaigns_own_matter(world: World, what: str) -> None:
    """After the third in a row it is asked: who was readable last, and is so, breaks the run."""
    keys = [f"c-{n}" for n in range(13)]
    world.configure(keys)
    from_then_on(world, REFUSALS[what], *keys[1:])
    watch(world, 40)
    assert {rule for _, rule, _ in world.told()} == {"unreadable"}


def test_the_polls_after_the_third_go_to_those_that_were_readable_last(world: World) -> None:
    keys = [f"c-{n}" for n in range(30)]
    world.configure(keys)
    from_then_on(world, REFUSALS["402"], *keys)
    watch(world, 16)
    calls = [(at, key) for at, key in world.api().calls if at >= 12 * MINUTE]
    before = {key: at for at, key in world.api().calls if at < 12 * MINUTE}
    asked = [key for _, key in calls[3:10]]
    latest = sorted(before.keys() - {key for _, key in calls[:3]}, key=lambda key: -before[key])
    assert set(latest[:3]) <= set(asked)
    # In less than half of the time that ten take in turn.
    assert calls[9][0] - calls[0][0] < 50


@pytest.mark.slow
def test_while_it_lasts_every_other_probe_asks_one_that_had_a_config(world: World) -> None:
    """Of those that never had one a 404 says nothing: they must not keep it open for hours."""
    world.write_config(DISCOVERING)
    had, never = [f"c-{n}" for n in range(5)], [f"n-{n}" for n in range(200)]
    world.api().lists(*had, *never)
    world.api().says = dict.fromkeys(never, NoConfig(by_404=True))
    from_then_on(world, NoConfig(by_404=True), *had, until=40 * MINUTE)
    watch(world, 42)
    assert world.told() == [("firing", "api_refusing", None), ("resolved", "api_refusing", None)]


# --- discovery_failing


@pytest.mark.parametrize("what", ["refused", "empty", "half"])
def test_fault_31_a_listing_that_is_not_believed_is_told_after_four_times_every(
    world: World, what: str
) -> None:
    world.write_config(DISCOVERING)
    keys = [f"c-{n}" for n in range(20)]
    world.api().lists(*keys)

    async def story() -> None:
        async with world.daemon():
            await virtual_seconds(12 * MINUTE)
            if what == "refused":
                world.api().listing = PollError(Reason.FORBIDDEN, "403 NOT_YOURS: no", 403)
            await _lists_badly(world, what, keys)

    run(story())
    rules = [(status, rule) for status, rule, _ in world.told()]
    if what == "half":  # believed when it has come three times
        assert ("firing", "discovery_failing") not in rules
        return
    assert rules == [("firing", "discovery_failing"), ("resolved", "discovery_failing")]
    firing = world.events()[0]
    assert firing["severity"] == "warning"
    told = "forbidden 403 NOT_YOURS: no" if what == "refused" else "the listing has 0 campaigns, 20"
    assert told in firing["evidence"]["reason"]
    assert firing["timestamp"][:16] == "2027-01-15T08:30"


async def _lists_badly(world: World, what: str, keys: list[str]) -> None:
    if what != "refused":
        world.api().lists(*(keys[:5] if what == "half" else []))
    await virtual_seconds(30 * MINUTE)
    world.api().lists(*keys)
    await virtual_seconds(6 * MINUTE)


def test_a_restart_neither_hides_it_nor_tells_of_a_night_without_us(world: World) -> None:
    world.write_config(DISCOVERING)
    world.api().lists("c-1", "c-2")

    async def story() -> None:
        async with world.daemon():
            await virtual_seconds(3 * MINUTE)
        await virtual_seconds(12 * 60 * MINUTE)
        async with world.daemon():
            await virtual_seconds(3 * MINUTE)
        assert world.told() == []
        world.api().listing = PollError(Reason.HTTP_5XX, "500")
        async with world.daemon():
            await virtual_seconds(11 * MINUTE)
        assert world.told() == []
        async with world.daemon():
            await virtual_seconds(11 * MINUTE)

    run(story())
    assert world.told() == [("firing", "discovery_failing", None)]


@pytest.mark.slow(seconds=1)
def test_after_an_outage_of_a_night_the_next_listing_tells(world: World) -> None:
    world.write_config(DISCOVERING)
    world.api().lists("c-1", "c-2", "c-3")

    async def story() -> None:
        async with world.daemon():
            await virtual_seconds(3 * MINUTE)
            down = PollError(Reason.TIMEOUT, "")
            world.api().listing = down
            world.api().says = dict.fromkeys(("c-1", "c-2", "c-3"), down)
            await virtual_seconds(9 * 60 * MINUTE)
            world.api().lists("c-1", "c-2", "c-3")
            world.api().says = {}
            await virtual_seconds(20 * MINUTE)

    run(story())
    assert {rule for _, rule, _ in world.told()} == {"api_unreachable"}


def test_the_last_success_is_a_metric_where_discovery_is_on(world: World) -> None:
    async def page(minutes: float) -> str:
        async with world.daemon() as daemon:
            await virtual_seconds(minutes * MINUTE)
            return daemon.report.metrics(False)().decode()

    name = "sftp_monitor_discovery_last_success_timestamp_seconds"
    world.configure(["c-1"])
    assert name not in run(page(1))
    world.write_config(DISCOVERING)
    world.api().listing = PollError(Reason.FORBIDDEN)
    assert f"{name}{{" not in run(page(1))
    world.api().lists("c-1")
    assert f'{name}{{environment="production"}} 1.8' in run(page(7))
