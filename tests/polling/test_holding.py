"""The leases of a replica as its loop holds them: every seam to the database, on virtual time."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from monitor.adapters.store import StorageError
from monitor.core.leases import DatabaseClock
from monitor.core.model import Seconds
from support.replicas import Fate, OneReplica, Replicas, run
from support.virtual import virtual_seconds

NAMES = ["e1", "e2"]


class Script:
    """What becomes of the transactions of a replica: as `now` says until it says otherwise."""

    def __init__(self) -> None:
        self.now: Callable[[str], Fate] = lambda _: Fate()

    def __call__(self, what: str) -> Fate:
        return self.now(what)

    def all(self, fate: Fate) -> None:
        self.now = lambda _: fate

    def only(self, what: str, fate: Fate) -> None:
        self.now = lambda which: fate if which == what else Fate()


LOST = Fate(answered=False)
REFUSED = Fate(done=False)
HANGS = Fate(back=None, done=False)
DONE_BUT_HANGS = Fate(back=None)


async def alone(world: Replicas, script: Script | None = None) -> OneReplica:
    """Return a replica that holds everything."""
    one = world.start("a", NAMES, fate=script or Script())
    await virtual_seconds(35)
    assert world.shares(NAMES) == {"a": NAMES}
    return one


def test_the_first_replica_polls_within_five_seconds_whatever_its_own_clock_says() -> None:
    async def story() -> None:
        world = Replicas()
        world.start("a", NAMES)
        await virtual_seconds(5)
        assert world.shares(NAMES) == {"a": NAMES}
        # It was two hours slow: what it has announced is dated by the database.
        row, now = world.database.replicas["a"], world.database.now()
        assert abs(row.started_at - (now - 5)) < 0.1
        assert abs(world.all["a"].holding.now() - now) < 0.1
        await world.aclose()

    run(story())


@pytest.mark.parametrize("fate", [HANGS, DONE_BUT_HANGS, REFUSED, LOST])
def test_a_right_ends_25_s_after_the_last_answered_renewal_was_sent_whatever_the_loop_waits_for(
    fate: Fate,
) -> None:
    async def story() -> None:
        world, script = Replicas(), Script()
        one = await alone(world, script)
        ends = min(one.holding.held.values()) - one.holding.clock.elapsed()
        script.all(fate)
        await virtual_seconds(ends - 0.01)
        assert one.has("e1")
        assert one.polled.polling == {*NAMES}
        await virtual_seconds(0.2)
        assert not one.has("e1")
        assert one.polled.polling == set()
        assert one.polled.of("e1") == ["take_over", "suspend"]
        await world.aclose()

    run(story())


@pytest.mark.parametrize("late", [6.0, 9.0, 9.9])
def test_a_late_answer_counts_from_when_its_renewal_was_sent(late: float) -> None:
    async def story() -> None:
        world, script = Replicas(), Script()
        one = await alone(world, script)
        script.only("renew", Fate(back=late))
        sent = one.holding.clock.elapsed()
        await virtual_seconds(10 + late)
        assert max(one.holding.held.values()) <= sent + 10 + 25
        await virtual_seconds(120)
        assert world.shares(NAMES) == {"a": NAMES}  # slow, but in time
        assert one.polled.of("e1") == ["take_over"]
        await world.aclose()

    run(story())


def test_it_comes_back_by_itself_and_loads_anew_under_another_fence() -> None:
    async def story() -> None:
        world, script = Replicas(), Script()
        one = world.start("a", NAMES, fate=script)
        await virtual_seconds(35)
        before = world.database.leases["e1"].fence
        script.all(REFUSED)
        await virtual_seconds(180)
        script.all(Fate())
        await virtual_seconds(6)
        assert world.shares(NAMES) == {"a": NAMES}
        # A commit that hung since before cannot come after what was loaded now.
        assert world.database.leases["e1"].fence != before
        assert one.polled.of("e1") == ["take_over", "suspend", "take_over"]
        await world.aclose()

    run(story())


def test_a_take_whose_answer_was_lost_is_taken_again() -> None:
    async def story() -> None:
        world, script = Replicas(), Script()
        script.only("take", LOST)
        one = world.start("a", NAMES, fate=script)
        await virtual_seconds(4)
        assert {lease.holder for lease in world.database.leases.values()} == {"a"}
        assert one.holding.held == {}
        script.all(Fate())
        await virtual_seconds(11)
        assert world.shares(NAMES) == {"a": NAMES}
        await world.aclose()

    run(story())


def test_one_that_was_overtaken_is_suspended_forgotten_and_one_line_in_the_log() -> None:
    async def story() -> None:
        world = Replicas()
        one = await alone(world)
        lease = world.database.leases["e1"]
        world.database.leases["e1"] = replace(lease, holder="b", fence="other")
        await virtual_seconds(12)
        assert world.shares(NAMES) == {"a": ["e2"]}
        assert one.polled.of("e1") == ["take_over", "suspend"]
        await world.aclose()

    with capture_logs() as logged:
        run(story())
    lines = [one for one in logged if one["event"] == "environment_overtaken"]
    assert [(one["environment"], one["by"]) for one in lines] == [("e1", "b")]


@pytest.mark.parametrize("seconds", [20.0, 26.0, 45.0, 90.0])
def test_a_process_that_was_stopped_knows_at_once_that_its_right_has_ended(
    seconds: Seconds,
) -> None:
    async def story() -> None:
        world = Replicas()
        one = await alone(world)
        world.start("b", NAMES)
        await virtual_seconds(40)
        mine = world.shares(NAMES)["a"]
        one.process.stopped = True
        await virtual_seconds(seconds)
        taken = world.shares(NAMES).get("b", [])
        one.process.cont()
        for name in taken:
            assert not one.has(name)
        assert taken == (mine if seconds > 30 else [])
        await virtual_seconds(0.2)
        assert one.polled.polling == {name for name in mine if one.has(name)}
        await virtual_seconds(60)
        assert world.twice == []
        assert sorted(name for held in world.shares(NAMES).values() for name in held) == NAMES
        await world.aclose()

    run(story())


@pytest.mark.parametrize("step", [30.0, -30.0, 3600.0, -3600.0])
def test_a_database_whose_clock_steps_moves_nothing(step: float) -> None:
    async def story() -> None:
        world = Replicas()
        world.start("a", NAMES)
        world.start("b", NAMES)
        await virtual_seconds(200)
        before = world.shares(NAMES)
        world.database.offset += step
        await virtual_seconds(200)
        assert world.shares(NAMES) == before
        assert {what for one in world.running for _, what, _ in one.polled.calls} == {"take_over"}
        assert abs(world.all["a"].holding.now() - world.database.now()) < 0.1
        await world.aclose()

    run(story())


@pytest.mark.parametrize("seen", [True, False])
def test_after_a_step_nothing_is_taken_that_a_replica_without_the_database_may_hold(
    monkeypatch: pytest.MonkeyPatch, seen: bool
) -> None:
    async def story() -> None:
        world, script = Replicas(), Script()
        await alone(world, script)
        world.start("b", NAMES)
        await virtual_seconds(100)
        script.all(HANGS)
        world.database.offset += 30.0
        await virtual_seconds(60)
        assert world.shares(NAMES) == {"b": NAMES}
        # That the test can fail: two act at once where the step is not seen.
        assert [one.split()[0] for one in world.twice] == ([] if seen else NAMES)
        await world.aclose()

    if not seen:
        seeing = DatabaseClock.after
        monkeypatch.setattr(DatabaseClock, "after", lambda *args: (seeing(*args)[0], False))
    run(story())


def test_a_reload_lets_go_at_once_what_it_takes_out_even_without_the_database() -> None:
    async def story() -> None:
        world, script = Replicas(), Script()
        one = await alone(world, script)
        one.holding.configure(["e2"], "c2")
        await virtual_seconds(0.1)
        assert one.polled.of("e1") == ["take_over", "hand_over"]
        assert world.database.leases["e1"].holder == ""
        script.all(HANGS)
        one.holding.configure([], "c3")
        await virtual_seconds(11)
        assert one.polled.of("e2") == ["take_over", "hand_over"]
        assert one.holding.held == {}
        # It did not reach the table: it does as soon as that answers again.
        assert world.database.leases["e2"].holder == "a"
        script.all(Fate())
        await virtual_seconds(5)
        assert world.database.leases["e2"].holder == ""
        await world.aclose()

    run(story())


def test_what_no_config_has_any_more_is_buried_once_after_five_minutes() -> None:
    async def story() -> None:
        world = Replicas()
        one = await alone(world)
        world.start("b", NAMES)
        await virtual_seconds(400)
        for each in world.running:
            each.holding.configure(["e2"], "c2")
        await virtual_seconds(290)
        buried = [what for each in world.running for what in each.polled.of("e1")]
        assert "bury" not in buried
        await virtual_seconds(25)
        buried = [what for each in world.running for what in each.polled.of("e1")]
        assert buried.count("bury") == 1
        assert world.holders("e1") == []
        assert one.holding.held.keys() <= {"e2"}
        await world.aclose()

    run(story())


@pytest.mark.parametrize(
    "error", [StorageError(Path("database"), "damaged"), ValueError("a row that is not ours")]
)
def test_an_environment_that_cannot_be_loaded_goes_to_another_replica(
    error: Exception,
) -> None:
    async def story() -> None:
        world = Replicas()
        one = world.start("a", NAMES)
        one.polled.refuses = lambda what, name: (
            error if (what, name) == ("take_over", "e1") else None
        )
        await virtual_seconds(5)
        assert world.shares(NAMES) == {"a": ["e2"]}
        world.start("b", NAMES)
        await virtual_seconds(25)
        assert "e1" in world.shares(NAMES)["b"]
        assert not one.task.done()
        await world.aclose()

    with capture_logs() as logged:
        run(story())
    assert {one["environment"] for one in logged if one["event"] == "environment_let_go"} == {"e1"}


def test_a_load_that_takes_longer_than_a_lease_delays_no_renewal() -> None:
    async def story() -> None:
        world = Replicas()
        one = world.start("a", NAMES)
        one.polled.loads = 100.0
        await virtual_seconds(90)
        assert world.shares(NAMES) == {"a": NAMES}
        await virtual_seconds(20)
        assert one.polled.polling == {*NAMES}
        await world.aclose()

    run(story())


# --- the end


def test_at_a_stop_all_is_handed_over_at_once_and_the_row_is_gone() -> None:
    async def story() -> None:
        world = Replicas()
        one = await alone(world)
        one.polled.ends = 5.0
        began = asyncio.get_running_loop().time()
        await one.aclose()
        assert asyncio.get_running_loop().time() - began < 5.5
        assert world.database.replicas == {}
        assert {lease.holder for lease in world.database.leases.values()} == {""}
        assert [one.polled.of(name)[-1] for name in NAMES] == ["hand_over", "hand_over"]
        await world.aclose()

    run(story())


@pytest.mark.parametrize("fate", [HANGS, REFUSED, LOST])
def test_a_stop_ends_within_ten_seconds_whatever_hangs(fate: Fate) -> None:
    async def story() -> None:
        world, script = Replicas(), Script()
        one = await alone(world, script)
        one.polled.ends = 60.0
        script.all(fate)
        began = asyncio.get_running_loop().time()
        await one.aclose()
        assert asyncio.get_running_loop().time() - began <= 10.01
        assert one.polled.polling == set()
        assert one.polled.of("e1")[-2:] == ["hand_over", "suspend"]
        await world.aclose()

    run(story())


@pytest.mark.parametrize("hangs", ["renew", "take", "let_go"])
@pytest.mark.parametrize("done", [True, False])
def test_a_stop_while_the_table_is_awaited_leaves_nothing_held(hangs: str, done: bool) -> None:
    async def story() -> None:
        world, script = Replicas(), Script()
        script.only(hangs, Fate(back=None, done=done))
        one = world.start("a", NAMES, fate=script)
        await virtual_seconds(4)
        if hangs == "let_go":
            one.holding.configure(["e2"], "c2")
            await virtual_seconds(0.1)
        await one.aclose()
        assert world.database.replicas == {}
        assert {lease.holder for lease in world.database.leases.values()} <= {""}
        await world.aclose()

    run(story())


@pytest.mark.parametrize("after", [3.05, 3.5, 35.0])
def test_a_stop_amid_a_takeover_or_a_hand_over_ends_both(after: float) -> None:
    async def story() -> None:
        world = Replicas()
        one = world.start("a", NAMES)
        one.polled.loads, one.polled.ends = 2.0, 2.0
        await virtual_seconds(after)
        if after > 30:
            one.holding.configure(["e2"], "c2")
            await virtual_seconds(1)
        await one.aclose()
        assert one.polled.polling == set()
        assert one.polled.of("e1").count("hand_over") <= 1  # the one under way is waited for
        assert {lease.holder for lease in world.database.leases.values()} == {""}
        await world.aclose()

    run(story())


# --- the database is away


def test_after_two_minutes_each_replica_says_so_and_its_end_past_the_store() -> None:
    async def story() -> None:
        world, script = Replicas(), Script()
        one = await alone(world, script)
        script.all(HANGS)
        await virtual_seconds(115)
        assert one.events == []
        await virtual_seconds(20)
        (event,) = one.events
        assert (event.rule, event.status.value) == ("state_unavailable", "firing")
        await virtual_seconds(300)
        assert len(one.events) == 1
        script.all(Fate())
        await virtual_seconds(15)
        assert [one.status.value for one in one.events] == ["firing", "resolved"]
        await world.aclose()

    run(story())


def test_a_start_without_a_database_says_so_by_its_own_clock() -> None:
    async def story() -> None:
        world, script = Replicas(), Script()
        script.all(REFUSED)
        one = world.start("a", NAMES, fate=script)
        await virtual_seconds(125)
        (event,) = one.events
        assert event.decided_at == pytest.approx(one.holding.clock.wall(), abs=6)
        assert event.evidence["reason"] == "the connection was lost"
        await world.aclose()

    run(story())


# --- a thousand environments, a rolling update


@pytest.mark.slow
def test_a_rolling_update_moves_each_environment_at_most_twice_and_ends_on_the_new_config() -> None:
    names = [f"e{n}" for n in range(6)]

    async def story() -> None:
        world = Replicas()
        for one in "abc":
            world.start(one, names)
        await virtual_seconds(1000)
        for one in "abc":
            world.start(f"{one}2", names, "c2")
            await virtual_seconds(20)
            await world.all[one].aclose()
            await virtual_seconds(20)
        assert sorted(name for held in world.shares(names).values() for name in held) == sorted(
            names
        )
        await virtual_seconds(1300)
        shares = world.shares(names)
        assert shares.keys() <= {"a2", "b2", "c2"}
        new = [world.all[f"{one}2"] for one in "abc"]
        moves = {name: sum(one.polled.of(name).count("take_over") for one in new) for name in names}
        assert max(moves.values()) <= 2
        assert world.twice == []
        await world.aclose()

    run(story())
