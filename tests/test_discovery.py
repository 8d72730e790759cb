"""Discovery in the daemon, on virtual time: who is watched when, what is told, what it costs."""

import itertools
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from monitor.adapters.store import schema
from monitor.core.model import NoConfig, PollError, Reason
from monitor.daemon import Daemon
from support.daemons import World
from support.virtual import START, config, listed, run, virtual_seconds

MINUTE = 60.0
EVERY = 15 * MINUTE


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def discovering(world: World, *lines: str, keys: str = "", more: str = "") -> None:
    """Write a config with discovery, these keys of it, and these lines of the environment."""
    world.write_config(
        "environments:\n"
        "  - name: production\n"
        "    base_url: http://127.0.0.1:9/api/v1\n"
        "    token: ${TOKEN}\n"
        f"    discovery: {{enabled: true{keys}}}\n"
        + "".join(f"    {line}\n" for line in lines)
        + more
    )


def watched(daemon: Daemon) -> list[str]:
    return list(daemon.report.snapshot().environments["production"].campaigns)


def failing(world: World, *campaigns: str) -> None:
    for key in campaigns:
        world.api().says[key] = config(key, START, last_test_success=False)


def listings(world: World) -> list[float]:
    """Return when a page of the listing was asked for."""
    return [at for at, key in world.api().calls if key == "*"]


def polls(world: World, campaign: str) -> list[float]:
    return [at for at, key in world.api().calls if key == campaign]


def reasons(world: World) -> list[tuple[str, str | None, str | None]]:
    return [(one["status"], one["campaign_id"], one["reason"]) for one in world.events()]


# --- who is watched


def test_what_is_listed_is_watched_from_the_start(world: World) -> None:
    async def story() -> list[str]:
        discovering(world)
        world.api().lists("c-1", "c-2", "c-3")
        failing(world, "c-2")
        async with world.daemon() as daemon:
            await virtual_seconds(10)
            return watched(daemon)

    assert run(story()) == ["c-1", "c-2", "c-3"]
    assert world.told() == [("firing", "failed_test", "c-2")]
    assert world.events()[0]["campaign_name"] == "Campaign c-2"
    assert [key for _, key in world.api().calls] == ["*", "c-1", "c-2", "c-3"]


def test_a_new_campaign_joins_with_the_next_listing_and_the_others_keep_their_slots(
    world: World,
) -> None:
    async def story() -> list[float]:
        discovering(world)
        api = world.api()
        api.lists("c-1")
        async with world.daemon():
            await virtual_seconds(2 * MINUTE)
            api.lists("c-1", "c-2")
            failing(world, "c-2")
            await virtual_seconds(EVERY)
            assert world.told() == [("firing", "failed_test", "c-2")]
            await virtual_seconds(EVERY)
        return polls(world, "c-1")

    at = run(story())
    gaps = [round(after - before) for before, after in itertools.pairwise(at[1:])]
    assert set(gaps) == {300}


def test_include_and_exclude_choose_by_name(world: World) -> None:
    async def story() -> list[str]:
        discovering(world, keys=", include: ['Retail .*'], exclude: ['.* test']")
        names = ("Retail A", "Retail test", "Wholesale")
        world.api().listing = [listed(f"c-{n}", name=name) for n, name in enumerate(names)]
        async with world.daemon() as daemon:
            await virtual_seconds(10)
            return watched(daemon)

    assert run(story()) == ["c-0"]


def test_overrides_give_a_discovered_campaign_its_labels_and_rules(world: World) -> None:
    async def story() -> None:
        discovering(
            world,
            "overrides:",
            "  - match: {name: 'Retail .*', campaign_type: sales}",
            "    labels: {team: retail}",
            "    rules: {failed_test: {severity: warning}}",
        )
        world.api().listing = [
            listed("c-1", name="Retail A", kind="sales"),
            listed("c-2", name="Retail B", kind="reminder"),
        ]
        failing(world, "c-1", "c-2")
        async with world.daemon():
            await virtual_seconds(10)

    run(story())
    told = {one["campaign_id"]: (one["severity"], one["labels"]) for one in world.events()}
    assert told == {"c-1": ("warning", {"team": "retail"}), "c-2": ("critical", {})}


def test_what_the_file_says_of_a_campaign_wins(world: World) -> None:
    async def story() -> list[str]:
        discovering(world, "campaigns: [{id: c-1, name: Ours, labels: {team: ours}}, {id: c-9}]")
        world.api().lists("c-2", "c-1")
        failing(world, "c-1")
        async with world.daemon() as daemon:
            await virtual_seconds(10)
            return watched(daemon)

    assert run(story()) == ["c-1", "c-9", "c-2"]
    (event,) = world.events()
    assert (event["campaign_name"], event["labels"]) == ("Ours", {"team": "ours"})


# --- who leaves


def test_a_campaign_is_removed_after_three_listings_without_it(world: World) -> None:
    async def story() -> list[int]:
        discovering(world)
        api, told = world.api(), []
        api.lists("c-1", "c-2", "c-3")
        failing(world, "c-3")
        async with world.daemon():
            await virtual_seconds(MINUTE)
            api.lists("c-1", "c-2")
            for _ in range(3):
                await virtual_seconds(EVERY)
                told.append(len(world.told()))
            calls = len(polls(world, "c-3"))
            await virtual_seconds(EVERY)
            assert len(polls(world, "c-3")) == calls
        return told

    assert run(story()) == [1, 1, 2]
    assert reasons(world) == [("firing", "c-3", None), ("resolved", "c-3", "campaign_removed")]


@pytest.mark.slow
def test_a_campaign_that_came_back_in_time_never_left(world: World) -> None:
    async def story() -> None:
        discovering(world)
        api = world.api()
        api.lists("c-1", "c-2", "c-3")
        failing(world, "c-3")
        async with world.daemon():
            await virtual_seconds(MINUTE)
            api.lists("c-1", "c-2")
            await virtual_seconds(2 * EVERY)
            api.lists("c-1", "c-2", "c-3")
            await virtual_seconds(EVERY)
            api.lists("c-1", "c-2")
            await virtual_seconds(2 * EVERY)

    run(story())
    assert reasons(world) == [("firing", "c-3", None)]


@pytest.mark.slow
def test_an_empty_listing_is_distrusted_for_ever_and_says_so_once(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    async def story() -> list[str]:
        discovering(world)
        world.api().lists("c-1", "c-2")
        failing(world, "c-1")
        async with world.daemon() as daemon:
            await virtual_seconds(MINUTE)
            world.api().lists()
            await virtual_seconds(10 * EVERY)
            return watched(daemon)

    assert run(story()) == ["c-1", "c-2"]
    # That the listing is not believed is told, too: after four times `every`.
    assert reasons(world) == [("firing", "c-1", None), ("firing", None, None)]
    said = [line for line in capsys.readouterr().out.splitlines() if "listing_distrusted" in line]
    assert len(said) == 1


def test_a_listing_half_as_long_is_believed_when_it_came_three_times(world: World) -> None:
    async def story() -> list[list[str]]:
        discovering(world)
        api, seen = world.api(), []
        api.lists("c-1", "c-2", "c-3", "c-4")
        async with world.daemon() as daemon:
            await virtual_seconds(MINUTE)
            api.lists("c-1", "c-2")
            for _ in range(3):
                await virtual_seconds(EVERY)
                seen.append(watched(daemon))
        return seen

    everyone = ["c-1", "c-2", "c-3", "c-4"]
    assert run(story()) == [everyone, everyone, ["c-1", "c-2"]]


def test_fault_31_lies_are_capped_and_the_known_ones_stay(world: World) -> None:
    async def story() -> list[str]:
        discovering(world, keys=", max_campaigns: 3")
        api = world.api()
        api.lists("c-1", "c-2")
        async with world.daemon() as daemon:
            await virtual_seconds(MINUTE)
            api.per_page = 10
            api.lists(*(f"lie-{number}" for number in range(1000)))
            before = len(listings(world))
            await virtual_seconds(4 * EVERY)
            assert len(listings(world)) - before <= 4 * 2
            return watched(daemon)

    assert run(story()) == ["c-1", "c-2", "lie-0"]


def test_discovery_that_is_switched_off_removes_whom_it_found(world: World) -> None:
    async def story() -> list[str]:
        discovering(world, "campaigns: [{id: c-1}]")
        world.api().lists("c-1", "c-2")
        failing(world, "c-1", "c-2")
        async with world.daemon() as daemon:
            await virtual_seconds(MINUTE)
            world.configure(["c-1"])
            assert await daemon.reload() == []
            calls = len(listings(world))
            await virtual_seconds(2 * EVERY)
            assert len(listings(world)) == calls
            return watched(daemon)

    assert run(story()) == ["c-1"]
    assert ("resolved", "c-2", "campaign_removed") in reasons(world)
    assert len(world.events()) == 3


def test_campaigns_that_move_from_the_file_to_discovery_are_told_nothing(world: World) -> None:
    async def story() -> list[str]:
        world.configure(["c-1", "c-2"])
        api = world.api()
        failing(world, "c-1", "c-2")
        async with world.daemon() as daemon:
            await virtual_seconds(MINUTE)
            api.lists("c-2", "c-1")
            discovering(world)
            assert await daemon.reload() == []
            await virtual_seconds(MINUTE)
            return watched(daemon)

    assert sorted(run(story())) == ["c-1", "c-2"]
    assert sorted(world.told()) == [
        ("firing", "failed_test", "c-1"),
        ("firing", "failed_test", "c-2"),
    ]


# --- statuses


@pytest.mark.slow
def test_a_paused_campaign_is_muted_and_not_removed(world: World) -> None:
    async def story() -> list[float]:
        discovering(world)
        api = world.api()
        api.lists("c-1")
        failing(world, "c-1")
        async with world.daemon():
            await virtual_seconds(MINUTE)
            api.lists("c-1", status="paused")
            await virtual_seconds(EVERY)
            paused = len(polls(world, "c-1"))
            await virtual_seconds(2 * 3600)
            assert len(polls(world, "c-1")) - paused <= 4
            api.lists("c-1")
            await virtual_seconds(EVERY)
        return polls(world, "c-1")

    run(story())
    assert [(e["status"], e["reason"], e["muted_by"]) for e in world.events()] == [
        ("firing", None, None),
        ("resolved", "muted", "campaign_status"),
        ("firing", None, None),
    ]


def test_the_status_of_a_campaign_of_the_file_comes_from_the_listing(world: World) -> None:
    async def story() -> None:
        discovering(world, "campaigns: [{id: c-1}, {id: c-2}]", keys=", statuses: [paused]")
        world.api().listing = [listed("c-1"), listed("c-2", status="paused")]
        failing(world, "c-1", "c-2")
        async with world.daemon():
            await virtual_seconds(20 * MINUTE)

    run(story())
    # Listed first, so that nothing is told of c-1 before its status is known.
    assert world.told() == [("firing", "failed_test", "c-2")]


# --- missing


def _without_config(world: World, relist: Callable[[], None]) -> list[tuple[str, str, str | None]]:
    async def story() -> None:
        discovering(world)
        api = world.api()
        api.lists("c-1", "c-2", "c-3")
        async with world.daemon():
            await virtual_seconds(6 * MINUTE)
            api.says["c-3"] = NoConfig(by_404=True)
            relist()
            await virtual_seconds(4 * EVERY)

    run(story())
    return world.told()


@pytest.mark.slow
def test_a_config_that_is_gone_is_missing_once_a_listing_still_has_the_campaign(
    world: World,
) -> None:
    told = _without_config(world, lambda: None)
    assert told == [("firing", "missing", "c-3")]
    gone = world.events()[0]["evidence"]["missing_since"]
    assert world.events()[0]["timestamp"] >= "2027-01-15T08:15"
    assert gone < "2027-01-15T08:15"


def test_a_campaign_that_is_gone_with_its_config_is_not_missing(world: World) -> None:
    assert _without_config(world, lambda: world.api().lists("c-1", "c-2")) == []


def test_a_discovered_campaign_without_a_config_does_not_use_sftp(world: World) -> None:
    async def story() -> dict[str, int]:
        discovering(world)
        world.api().lists("c-1", "c-2", "c-3")
        world.api().says = {f"c-{n}": NoConfig(by_404=True) for n in (1, 2, 3)}
        async with world.daemon() as daemon:
            await virtual_seconds(EVERY)
            counts = daemon.report.snapshot().environments["production"].counts()
            return {health.value: count for health, count in counts.items() if count}

    assert run(story()) == {"healthy": 3}
    assert world.told() == []


# --- a restart


def test_a_restart_knows_the_discovered_campaigns_at_once_and_tells_nothing(world: World) -> None:
    async def story() -> None:
        discovering(world)
        api = world.api()
        api.lists("c-1", "c-2")
        failing(world, "c-1")
        async with world.daemon():
            await virtual_seconds(MINUTE)
        api.listing = PollError(Reason.HTTP_5XX)
        async with world.daemon() as daemon:
            assert watched(daemon) == ["c-1", "c-2"]
            await virtual_seconds(10 * MINUTE)

    run(story())
    assert reasons(world) == [("firing", "c-1", None)]


def test_a_restart_knows_when_the_last_listing_was_that_merely_confirmed_who_is_there(
    world: World,
) -> None:
    async def story() -> list[float | None]:
        discovering(world)
        world.api().lists("c-1")
        async with world.daemon() as daemon:
            await virtual_seconds(3 * EVERY)
            before = listed_at(daemon)
        world.api().listing = PollError(Reason.FORBIDDEN)
        async with world.daemon() as daemon:
            await virtual_seconds(10)
            return [before, listed_at(daemon)]

    def listed_at(daemon: Daemon) -> float | None:
        (entry,) = daemon.report.snapshot().environments["production"].campaigns.values()
        return entry.target.listed_at

    before, after = run(story())
    assert before == after
    assert before is not None
    assert before > START + 2 * EVERY


def test_absences_are_counted_over_restarts(world: World) -> None:
    async def story() -> None:
        discovering(world)
        api = world.api()
        api.lists("c-1", "c-2", "c-3")
        failing(world, "c-3")
        async with world.daemon():
            await virtual_seconds(MINUTE)
        api.lists("c-1", "c-2")
        for _ in range(3):
            async with world.daemon():
                await virtual_seconds(MINUTE)

    run(story())
    assert reasons(world) == [("firing", "c-3", None), ("resolved", "c-3", "campaign_removed")]


def test_a_stored_listing_that_cannot_be_read_removes_nobody(world: World) -> None:
    async def story() -> None:
        discovering(world)
        world.api().lists("c-1", "c-2")
        failing(world, "c-1")
        async with world.daemon():
            await virtual_seconds(MINUTE)
        with closing(schema.open_for_writing(world.folder / "state.db")) as connection:
            connection.execute("UPDATE listing SET body = 'nonsense'")
        async with world.daemon():
            await virtual_seconds(MINUTE)

    run(story())
    assert reasons(world) == [("firing", "c-1", None)]


def test_an_environment_that_is_removed_takes_its_discovered_campaigns_with_it(
    world: World,
) -> None:
    async def story() -> None:
        discovering(world)
        world.api().lists("c-1", "c-2")
        failing(world, "c-1")
        async with world.daemon() as daemon:
            await virtual_seconds(MINUTE)
            world.write_config(
                "environments:\n  - name: staging\n    base_url: http://127.0.0.1:9/api/v1\n"
                "    token: ${TOKEN}\n    campaigns: [{id: c-9}]\n"
            )
            assert await daemon.reload() == []
            await virtual_seconds(MINUTE)

    run(story())
    assert reasons(world) == [("firing", "c-1", None), ("resolved", "c-1", "environment_removed")]


# --- what it costs, and what fails


@pytest.mark.slow
def test_each_page_is_a_call_within_the_budget(world: World) -> None:
    async def story() -> None:
        discovering(world, keys=", every: 10m")
        api = world.api()
        api.per_page = 20
        api.lists(*(f"c-{number}" for number in range(200)))
        async with world.daemon():
            await virtual_seconds(25 * MINUTE)

    run(story())
    calls = [at for at, _ in world.api().calls]
    assert all(sum(at <= other < at + 60 for other in calls) <= 50 for at in calls)
    pages = listings(world)
    assert len(pages) == 30
    assert 600 <= pages[10] - pages[9] <= 660
    assert 600 <= pages[20] - pages[19] <= 660


def test_a_listing_that_fails_is_tried_again_a_minute_later_where_nobody_is_known(
    world: World,
) -> None:
    async def story() -> list[str]:
        discovering(world)
        api = world.api()
        api.listing = PollError(Reason.SCHEMA_MISMATCH)
        async with world.daemon() as daemon:
            await virtual_seconds(2.5 * MINUTE)
            api.lists("c-1")
            await virtual_seconds(MINUTE)
            return watched(daemon)

    assert run(story()) == ["c-1"]
    assert [round(at) for at in listings(world)] == [0, 60, 120, 180]


def test_a_page_that_fails_ends_the_listing_which_changes_nothing(world: World) -> None:
    async def story() -> list[str]:
        discovering(world)
        api = world.api()
        api.lists("c-1", "c-2")
        async with world.daemon() as daemon:
            await virtual_seconds(MINUTE)
            api.listing = PollError(Reason.SCHEMA_MISMATCH)
            await virtual_seconds(4 * EVERY)
            return watched(daemon)

    assert run(story()) == ["c-1", "c-2"]
    assert len(listings(world)) == 5


@pytest.mark.matrix
@pytest.mark.parametrize(
    ("reason", "rule"),
    [
        (Reason.TIMEOUT, "api_unreachable"),
        (Reason.NOT_FOUND, "api_unreachable"),
        (Reason.UNAUTHORIZED, "token_rejected"),
        (Reason.FORBIDDEN, "token_rejected"),
    ],
)
def test_that_nobody_can_be_listed_is_told_where_nobody_is_known(
    world: World, reason: Reason, rule: str
) -> None:
    async def story() -> list[str]:
        discovering(world)
        api = world.api()
        api.listing = PollError(reason)
        async with world.daemon() as daemon:
            await virtual_seconds(EVERY)
            api.lists("c-1")
            await virtual_seconds(6 * MINUTE)
            return watched(daemon)

    # The probe that closes the breaker was a page of the listing already.
    assert run(story()) == ["c-1"]
    assert world.told() == [("firing", rule, None), ("resolved", rule, None)]


@pytest.mark.matrix
@pytest.mark.parametrize("reason", [Reason.NOT_FOUND, Reason.FORBIDDEN])
def test_a_listing_that_is_refused_beside_readable_campaigns_is_no_alert(
    world: World, reason: Reason
) -> None:
    async def story() -> None:
        discovering(world, "campaigns: [{id: c-1}, {id: c-2}, {id: c-3}]")
        world.api().listing = PollError(reason)
        async with world.daemon() as daemon:
            await virtual_seconds(4 * EVERY)
            assert daemon.report.snapshot().environments["production"].status.swept_at is not None

    run(story())
    assert world.told() == []
    assert len(polls(world, "c-1")) >= 11


def test_fault_6_a_listing_that_succeeds_shows_that_the_base_url_is_right(world: World) -> None:
    async def story() -> None:
        discovering(world, "campaigns: [{id: c-1}, {id: c-2}, {id: c-3}]")
        api = world.api()
        api.says = {f"c-{n}": NoConfig(by_404=True) for n in (1, 2, 3)}
        api.listing = PollError(Reason.HTTP_5XX)
        async with world.daemon():
            await virtual_seconds(10)
            api.lists("c-1", "c-2", "c-3")
            await virtual_seconds(5 * MINUTE)

    run(story())
    assert sorted(world.told()) == [("firing", "missing", f"c-{n}") for n in (1, 2, 3)]


def test_the_first_sweep_ends_with_those_whom_the_first_listing_found(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    async def story() -> None:
        discovering(world, "campaigns: [{id: c-1}]")
        api = world.api()
        api.latency = 5.0
        api.lists("c-2", "c-3")
        async with world.daemon():
            await virtual_seconds(2 * MINUTE)

    run(story())
    (line,) = [one for one in capsys.readouterr().out.splitlines() if "sweep_complete" in one]
    assert "healthy=3" in line.replace("'", "").replace(": ", "=")
