"""A test that an operator asks for: polled before, guarded, stored, sent, polled after."""

import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from monitor.adapters.store import Store, rows
from monitor.core.attempt import Attempt, Result, TestAnswer, TestReport, Trigger, login_of
from monitor.core.guards import EnvironmentTests, Guard, Hold, NotRun, Reason, Suspension
from monitor.core.model import HOUR, MINUTE, NoConfig, PollError, SftpConfig
from monitor.core.model import Reason as Failure
from monitor.core.outcomes import Step
from monitor.core.snapshot import HistoryQuery
from monitor.daemon import Daemon
from monitor.polling import Poller
from support.daemons import World
from support.virtual import START, config, run, virtual_seconds

Outcome = Attempt | Hold | NotRun

ON = "connection_tests: {enabled: true, between: ''}\n"
LOGIN = "@sftp.example.com:22"


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(tmp_path)
    world.configure(["c-1", "c-2"], ON)
    platform(world)
    return world


def platform(world: World, *, error: str = "", **changes: Any) -> None:
    """Have c-1 tested two hours ago, and let tests pass, or fail with this error."""
    record = {"last_test_at": START - 2 * HOUR, "last_test_success": True, **changes}

    def test(campaign_id: str) -> TestAnswer:
        at = world.clock.wall()
        record.update(last_test_at=at, last_test_success=not error)
        return TestAnswer(TestReport(not error, at, error), status=200)

    world.api().says["c-1"] = lambda: config("c-1", world.clock.wall(), **record)
    world.api().tests = test


def told(world: World, story: Callable[[Poller, Daemon], Any], seconds: float = 10.0) -> Any:
    """Return what the story gives, told on a daemon that has polled for a while."""

    async def whole() -> Any:
        async with world.daemon() as daemon:
            await virtual_seconds(seconds)
            return await story(daemon.report.manager.pollers["production"], daemon)

    return run(whole())


async def run_now(poller: Poller, key: str, by: str, **how: bool) -> Outcome:
    """Run a test to its end, its polls included."""
    begun = await poller.runner.begin_now(key, by, **how)
    return await poller.runner.finish(begun) if isinstance(begun, Step) else begun


def by_hand(world: World, prepare: Callable[[Poller], None] | None = None, **how: bool) -> Outcome:
    """Return what came of a test of c-1 by hand."""

    async def story(poller: Poller, _: Daemon) -> Outcome:
        if prepare is not None:
            prepare(poller)
        return await run_now(poller, "c-1", "anna", **how)

    outcome: Outcome = told(world, story)
    return outcome


def posts(world: World, campaign_id: str = "") -> int:
    """Return how many tests were sent, of this campaign or of all."""
    return sum(key.startswith(f"test {campaign_id}") for _, key in world.api().calls)


def with_guard(**fields: Any) -> Callable[[Poller], None]:
    """Put a guard of the login in force, its instants relative to now."""

    def prepare(poller: Poller) -> None:
        poller.tester._book[LOGIN] = Guard(**fields)

    return prepare


def with_tests(**fields: Any) -> Callable[[Poller], None]:
    """Put what is remembered of the environment's tests in force."""

    def prepare(poller: Poller) -> None:
        status = poller.state.status
        poller.state.status = replace(status, tests=replace(status.tests, **fields))

    return prepare


BLOCKED = with_guard(failures=(START - HOUR, START - HOUR / 2), cleared_at=START - 3 * HOUR)
JUST_TESTED = with_guard(last_at=START)
UNDER_WAY = with_guard(under_way=START, last_at=START)
FAILING = with_tests(failing_since=START)
BOTH = {"force": True, "unblock": True}


def test_it_is_polled_before_and_after_and_the_attempt_says_by_whom(world: World) -> None:
    outcome = by_hand(world)
    assert isinstance(outcome, Attempt)
    assert (outcome.trigger, outcome.by, outcome.result) == (Trigger.COMMAND, "anna", Result.PASSED)
    calls = [key for _, key in world.api().calls]
    assert calls[-3:] == ["c-1", "test c-1", "c-1"]


def test_the_history_and_the_log_have_it_with_the_operator(world: World) -> None:
    by_hand(world)
    store = Store(world.folder / "state.db", now=world.clock.start)
    (note,) = (
        one for one in store.history(HistoryQuery()).values() if one.rule == "connection_test"
    )
    assert (note.evidence["trigger"], note.evidence["by"]) == ("command", "anna")
    run(store.aclose())


def test_the_attempt_is_on_disk_before_it_is_sent(world: World) -> None:
    stored: list[tuple[Trigger, Result]] = []
    send = world.api().tests
    assert send is not None

    def looked_at(campaign_id: str) -> TestAnswer:
        status = rows.load(sqlite3.connect(world.folder / "state.db")).campaigns
        last = status["production", campaign_id].tests.last
        assert last is not None
        stored.append((last.trigger, last.result))
        return send(campaign_id)

    world.api().tests = looked_at
    by_hand(world)
    assert stored == [(Trigger.COMMAND, Result.UNKNOWN)]


def test_a_config_that_is_switched_off_may_be_tested(world: World) -> None:
    platform(world, is_enabled=False)
    assert isinstance(by_hand(world), Attempt)


def test_so_may_one_whose_tests_are_off(world: World) -> None:
    world.configure(["c-1", "c-2"])
    assert isinstance(by_hand(world), Attempt)


GUARDS: dict[str, tuple[Callable[[Poller], None], dict[str, bool], Reason | None]] = {
    "a gap": (JUST_TESTED, {}, Reason.LOGIN),
    "a gap, forced": (JUST_TESTED, {"force": True}, None),
    "a gap, unblocked": (JUST_TESTED, {"unblock": True}, Reason.LOGIN),
    "one under way, forced": (UNDER_WAY, {"force": True}, Reason.LOGIN),
    "a blocked login": (BLOCKED, {}, Reason.LOGIN),
    "a blocked login, forced": (BLOCKED, {"force": True}, Reason.LOGIN),
    "a blocked login, unblocked": (BLOCKED, {"unblock": True}, None),
    "everybody, forced": (FAILING, BOTH, Reason.EVERYBODY),
    "suspended, forced": (with_tests(suspended=Suspension("why", START)), BOTH, Reason.SUSPENDED),
    "the budget, forced": (with_tests(next_at=START + HOUR), {"force": True}, Reason.BUDGET),
}  # fmt: skip


@pytest.mark.parametrize("case", GUARDS)
def test_what_a_guard_holds_and_what_an_operator_may_override(world: World, case: str) -> None:
    prepare, how, reason = GUARDS[case]
    # The record would clear the login: it was tested before.
    platform(world, last_test_at=START - 4 * HOUR)
    outcome = by_hand(world, prepare, **how)
    if reason is None:
        assert isinstance(outcome, Attempt)
    else:
        assert isinstance(outcome, Hold)
        assert outcome.reason is reason
        assert outcome.ends
    assert posts(world) == (reason is None)


def test_a_host_that_is_blocked_is_overridden_by_nothing(world: World) -> None:
    def prepare(poller: Poller) -> None:
        poller.tester._book["sftp.example.com:22"] = Guard(failures=(START - 5 * HOUR,) * 3)

    outcome = by_hand(world, prepare, force=True, unblock=True)
    assert isinstance(outcome, Hold)
    assert (outcome.reason, outcome.until) == (Reason.HOST, START + HOUR)


def test_an_unblocked_login_has_its_failures_before_it_again(world: World) -> None:
    platform(world, error="Authentication failed", last_test_at=START - 4 * HOUR)
    guards: list[Guard] = []

    async def story(poller: Poller, _: Daemon) -> None:
        BLOCKED(poller)
        await run_now(poller, "c-1", "anna", unblock=True)
        guards.append(poller.tester._book[LOGIN])

    told(world, story)
    assert len(guards[0].fails) == 1


def test_a_hold_of_another_kind_leaves_the_block_as_it_is(world: World) -> None:
    platform(world, last_test_at=START - 4 * HOUR)
    guards: list[Guard] = []

    async def story(poller: Poller, _: Daemon) -> None:
        BLOCKED(poller)
        with_tests(failing_since=START)(poller)
        await run_now(poller, "c-1", "anna", unblock=True)
        guards.append(poller.tester._book[LOGIN])

    told(world, story)
    assert len(guards[0].fails) == 2


def test_outside_of_between_only_force_lets_it_out(world: World) -> None:
    world.configure(["c-1", "c-2"], "connection_tests: {enabled: true, between: 10:00-11:00}\n")
    outcome = by_hand(world)
    assert isinstance(outcome, NotRun)
    assert "2027-01-15T10:00:00Z" in outcome.why
    assert isinstance(
        by_hand(World(world.folder, apis=world.apis, clock=world.clock), force=True), Attempt
    )


@pytest.mark.parametrize(
    ("seen", "why"),
    [
        (NoConfig(by_404=True), "no SFTP config"),
        (PollError(Failure.SCHEMA_MISMATCH), "cannot be read: schema_mismatch"),
    ],
)
def test_what_cannot_be_tested_is_said(world: World, seen: Any, why: str) -> None:
    world.api().says["c-1"] = seen
    outcome = by_hand(world)
    assert isinstance(outcome, NotRun)
    assert why in outcome.why
    assert posts(world) == 0


@pytest.mark.parametrize("status", [401, 403, 404, 409, 429])
def test_one_that_is_turned_away_is_no_attempt(world: World, status: int) -> None:
    error = PollError(Failure.FORBIDDEN, "no")
    world.api().tests = lambda _: TestAnswer(error, status=status)
    outcome = by_hand(world)
    assert outcome == NotRun("no test was run: forbidden no")


def test_a_lost_answer_takes_the_result_of_the_record(world: World) -> None:
    send = world.api().tests
    assert send is not None

    def lost(campaign_id: str) -> TestAnswer:
        send(campaign_id)
        return TestAnswer(PollError(Failure.TIMEOUT))

    world.api().tests = lost
    outcome = by_hand(world)
    assert isinstance(outcome, Attempt)
    assert outcome.result is Result.PASSED
    assert posts(world) == 1


@pytest.mark.slow(seconds=1)
def test_a_scheduled_test_that_is_due_does_not_come_between(world: World) -> None:
    async def story(poller: Poller, _: Daemon) -> Outcome:
        BLOCKED(poller)
        await virtual_seconds(25 * HOUR)
        assert posts(world, "c-1") == 0
        return await run_now(poller, "c-1", "anna", unblock=True)

    platform(world, last_test_at=START - 40 * HOUR)
    # Else a passed test of the other one would end the block.
    world.api().says["c-2"] = config("c-2", START, host="elsewhere.example.com")
    outcome = told(world, story)
    assert isinstance(outcome, Attempt)
    assert (outcome.trigger, posts(world, "c-1")) == (Trigger.COMMAND, 1)


def test_a_reload_lets_a_test_end_on_the_connection_it_was_sent_on(world: World) -> None:
    world.api().latency = 20.0

    async def story(poller: Poller, daemon: Daemon) -> bool:
        await virtual_seconds(200)
        begun = await poller.runner.begin_now("c-1", "anna")
        assert isinstance(begun, Step)
        poller.runner.spawn(poller.runner.finish(begun))
        await virtual_seconds(1)
        await daemon.reload()
        await virtual_seconds(10)
        return world.api().closed

    assert told(world, story) is False


def test_suspending_by_hand_holds_every_test_until_it_is_resumed(world: World) -> None:
    async def story(poller: Poller, daemon: Daemon) -> list[Outcome]:
        manager = daemon.report.manager
        manager.switch_tests(None, "anna", on=False)
        suspended = poller.state.status.tests.suspended
        assert suspended is not None
        assert suspended.by == "anna"
        held = await run_now(poller, "c-1", "anna")
        manager.switch_tests("production", "ben", on=True)
        return [held, await run_now(poller, "c-1", "anna")]

    held, sent = told(world, story)
    assert isinstance(held, Hold)
    assert held.reason is Reason.SUSPENDED
    assert isinstance(sent, Attempt)


def test_what_is_shown_of_the_next_test_is_right_at_once(world: World) -> None:
    async def story(poller: Poller, daemon: Daemon) -> list[tuple[Reason | None, bool]]:
        shown: list[tuple[Reason | None, bool]] = []
        for on in (True, False, True):
            daemon.report.manager.switch_tests(None, "anna", on=on)
            plan = poller.snapshot().planned["c-1"]
            shown.append((plan.hold and plan.hold.reason, plan.at is None))
        api = world.api()
        api.says.update(dict.fromkeys(["c-1", "c-2"], PollError(Failure.TIMEOUT)))
        await virtual_seconds(HOUR)
        assert poller.state.status.breaker_open
        assert not poller.snapshot().planned
        return shown

    assert told(world, story) == [(None, False), (Reason.SUSPENDED, True), (None, False)]


def test_a_suspension_by_hand_is_there_after_a_restart_and_never_alerts(world: World) -> None:
    async def suspend(_: Poller, daemon: Daemon) -> None:
        daemon.report.manager.switch_tests("production", "anna", on=False)

    async def look(poller: Poller, _: Daemon) -> EnvironmentTests:
        return poller.state.status.tests

    told(world, suspend)
    world.clock.step(15 * MINUTE)
    again = told(world, look, seconds=600.0)
    assert again.suspended is not None
    assert (again.suspended.by, world.told()) == ("anna", [])


def test_the_login_of_the_fixture_is_the_one_of_its_config() -> None:
    known = config("c-1", START)
    assert isinstance(known, SftpConfig)
    assert login_of(known) == LOGIN
