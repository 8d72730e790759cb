"""A connection test of ours, and what comes in between at each of its steps.

The steps: its turn in the budget is waited for; it is about to be stored; it is stored and about to
be sent; the platform runs it; the answer is there, and the config is about to be read.
"""

import asyncio
import itertools
import shutil
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from monitor.adapters.store import Change, Store
from monitor.core.model import Instant, PollError, Reason
from monitor.daemon import Daemon
from monitor.polling import Poller
from support.daemons import World
from support.state_files import execute, full_disk
from support.tested import Said, TestedApi, an_api, configure
from support.virtual import START, run, virtual_seconds

pytestmark = pytest.mark.slow

MINUTE, HOUR, DAY = 60.0, 3600.0, 86_400.0

HOST = "sftp.example.com"

SELDOM: dict[str, Any] = {"interval": "2m", "unhealthy_interval": "1m"}
"""Polls: each test brings its own, and the others say nothing new."""

STEPS = ("waits", "stores", "stored", "runs", "answered")


@dataclass
class Gate:
    """Lets the first through only once it is opened; `reached` is set when that comes."""

    reached: asyncio.Event = field(default_factory=asyncio.Event)
    opened: asyncio.Event = field(default_factory=asyncio.Event)

    async def passed(self) -> None:
        if not self.reached.is_set():
            self.reached.set()
            await self.opened.wait()


@dataclass
class GatedStore:
    """The store as a poller has it, with gates before and after an attempt is on disk."""

    store: Store
    testing: Callable[[], bool]
    before: Gate | None = None
    after: Gate | None = None

    def save(self, change: Change) -> None:
        self.store.save(change)

    async def lease(self, environment: str, until: Instant) -> None:
        if self.before is not None and self.testing():
            await self.before.passed()
        await self.store.lease(environment, until)
        if self.after is not None and self.testing():
            await self.after.passed()


@dataclass
class Scene:
    """A daemon whose first test of campaign c-1 stands still at a step until `go`."""

    stage: World
    api: TestedApi
    daemon: Daemon
    keys: list[str]
    settings: dict[str, Any]
    gate: Gate = field(default_factory=Gate)

    @property
    def poller(self) -> Poller:
        return self.daemon._manager.pollers["production"]

    async def go(self, seconds: float = 0.0) -> None:
        """Let the test go on, and so much time go by."""
        self.gate.opened.set()
        await virtual_seconds(seconds)

    async def reload(self, *campaigns: str, **tests: Any) -> None:
        """Take another config."""
        configure(self.stage, list(campaigns), **(self.settings | tests))
        assert await self.daemon.reload() == []

    def image(self) -> Path:
        """Return a folder with what a kill would leave of the state now."""
        folder = self.stage.folder / "killed"
        folder.mkdir()
        for file in self.stage.folder.glob("state.db*"):
            shutil.copy(file, folder)
        return folder

    def stop_at(self, step: str) -> None:
        """Have the next test stand still at that step."""
        gate, poller = self.gate, self.poller
        store = GatedStore(poller.store, lambda: poller.tester.under_way is not None)

        async def read(_: str) -> None:
            if self.api.posts and not self.api.under_way:
                await gate.passed()

        async def due() -> None:
            # The poll of a campaign that is due for a test has long been answered.
            while (plan := poller.tester.plan("c-1")) is None or (plan.at or 0) + 2 > (
                self.stage.clock.wall()
            ):
                await virtual_seconds(0.5)
            gate.reached.set()

        match step:
            case "waits":
                self.waiting = asyncio.create_task(due())
            case "stores":
                store.before = gate
            case "stored":
                store.after = gate
            case "runs":
                self.api.on_post = lambda _: gate.passed()
            case "answered":
                self.api.on_get = read
        poller.runner.spending.store = store  # type: ignore[assignment]


Act = Callable[[Scene], Awaitable[None]]


def play(
    stage: World,
    step: str,
    act: Act,
    *,
    keys: tuple[str, ...] = ("c-1",),
    broken: bool = False,
    other: TestedApi | None = None,
    **settings: Any,
) -> TestedApi:
    """Let the first test of c-1 stand still at a step, and act; return the API."""
    api = an_api(stage)
    for key in keys:
        api.add(key, HOST)
    if other is not None:
        other.sftp = api.sftp
        other.add("c-9", HOST)
    if broken:
        api.sftp.server(HOST).passwords.clear()
    # A turn in the budget comes 12 s after the one before it.
    known: dict[str, Any] = {**SELDOM, **({"requests_per_minute": 10} if step == "waits" else {})}
    configure(stage, list(keys), **(known | settings))

    async def story() -> None:
        async with stage.daemon() as daemon:
            scene = Scene(stage, api, daemon, list(keys), known | settings)
            scene.stop_at(step)
            async with asyncio.timeout(2 * HOUR):
                await scene.gate.reached.wait()
            await act(scene)
            scene.gate.opened.set()

    run(story())
    return api


@pytest.fixture
def stage(tmp_path: Path) -> World:
    return World(tmp_path)


def apart(api: TestedApi) -> float:
    """Return how close two tests of one campaign came."""
    found = [HOUR]
    for key in {key for _, key in api.posts}:
        times = [at for at, one in api.posts if one == key]
        found += [later - earlier for earlier, later in itertools.pairwise(times)]
    return min(found)


def stored(folder: Path) -> dict[str, bool]:
    """Return each campaign of the state, and whether anything but a tombstone is left of it."""

    async def read() -> dict[str, bool]:
        store = Store(folder / "state.db", now=START)
        loaded = await store.load()
        await store.aclose()
        return {
            key: one.last_known.config is not None for (_, key), one in loaded.campaigns.items()
        }

    return run(read())


# -- nothing in between ------------------------------------------------------------------------


@pytest.mark.matrix
@pytest.mark.parametrize("step", STEPS)
def test_a_test_that_stands_still_at_a_step_goes_on_and_is_run_once(
    stage: World, step: str
) -> None:
    async def act(scene: Scene) -> None:
        assert len(scene.api.posts) == (step in {"runs", "answered"})
        await scene.go(5 * MINUTE)
        assert len(scene.api.posts) == 1
        await virtual_seconds(HOUR)

    api = play(stage, step, act)
    assert len(api.posts) > 2
    assert apart(api) >= 10 * MINUTE


# -- reloads -----------------------------------------------------------------------------------


@pytest.mark.matrix
@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize(
    "tests", [{}, {"confirm_after": "2m"}, {"every": "30m"}], ids=["same", "confirm", "every"]
)
def test_a_reload_at_any_step_loses_and_repeats_no_test(
    stage: World, step: str, tests: dict[str, Any]
) -> None:
    async def act(scene: Scene) -> None:
        await scene.reload("c-1", **tests)
        await scene.go(HOUR)

    api = play(stage, step, act, broken=True)
    assert len(api.failed_logins(HOST)) == 2
    assert apart(api) >= 2 * MINUTE
    assert stage.told() == [("firing", "failed_test", "c-1")]


@pytest.mark.matrix
@pytest.mark.parametrize("step", STEPS)
def test_a_campaign_that_is_removed_at_any_step_stays_away_and_holds_nobody_back(
    stage: World, step: str
) -> None:
    posts: list[int] = []

    async def act(scene: Scene) -> None:
        await scene.reload("c-2")
        # What was sent already runs; nothing else goes out.
        sent = sum(key == "c-1" for _, key in scene.api.posts)
        await scene.go(HOUR)
        posts.append(sum(key == "c-1" for _, key in scene.api.posts) - sent)
        assert list(scene.poller.snapshot().campaigns) == ["c-2"]

    api = play(stage, step, act, keys=("c-1", "c-2"))
    assert posts == [0]
    # Its login is free for the other one.
    assert sum(key == "c-2" for _, key in api.posts) >= 2
    assert stored(stage.folder).get("c-1") is False


@pytest.mark.matrix
@pytest.mark.parametrize("step", STEPS)
def test_a_campaign_that_comes_back_at_any_step_is_tried_no_more_than_it_may_be(
    stage: World, step: str
) -> None:
    async def act(scene: Scene) -> None:
        await scene.reload("c-2")
        await scene.reload("c-1", "c-2")
        await scene.go(2 * HOUR)

    api = play(stage, step, act, keys=("c-1", "c-2"), broken=True)
    assert len(api.failed_logins(HOST)) <= 2


@pytest.mark.matrix
@pytest.mark.parametrize("back", [False, True], ids=["gone", "back"])
@pytest.mark.parametrize("step", STEPS)
def test_an_environment_that_is_removed_at_any_step_holds_no_login_of_others_back(
    stage: World, step: str, *, back: bool
) -> None:
    other = an_api(stage, "other")

    async def act(scene: Scene) -> None:
        configure(scene.stage, {"other": ["c-9"]}, **scene.settings)
        assert await scene.daemon.reload() == []
        if back:
            both = {"production": ["c-1"], "other": ["c-9"]}
            configure(scene.stage, both, **scene.settings)
            assert await scene.daemon.reload() == []
        await scene.go(2 * HOUR)

    api = play(stage, step, act, other=other)
    assert len(other.posts) >= 3
    assert (len(api.posts) >= 3) is back
    assert api.most_at_once <= 1
    assert other.most_at_once == 1


@pytest.mark.matrix
@pytest.mark.parametrize("again", [False, True], ids=["off", "on again"])
@pytest.mark.parametrize("step", STEPS)
def test_tests_that_are_switched_off_at_any_step_stay_off_and_begin_anew(
    stage: World, step: str, *, again: bool
) -> None:
    posts: list[int] = []

    async def act(scene: Scene) -> None:
        await scene.reload("c-1", enabled=False)
        if again:
            await scene.reload("c-1")
        posts.append(len(scene.api.posts))
        await scene.go(2 * HOUR)
        posts.append(len(scene.api.posts))

    api = play(stage, step, act, broken=True)
    if not again:
        assert posts[0] == posts[1]
    assert len(api.failed_logins(HOST)) == (2 if again else posts[1])


@pytest.mark.matrix
@pytest.mark.parametrize("step", STEPS)
def test_at_another_platform_no_test_is_run_before_the_config_there_was_read(
    stage: World, step: str
) -> None:
    elsewhere = TestedApi(stage.clock)
    elsewhere.add("c-1", HOST)

    async def act(scene: Scene) -> None:
        stage.apis["production"] = elsewhere
        file = stage.folder / "monitor.yaml"
        file.write_text(file.read_text().replace("127.0.0.1:9/", "127.0.0.1:7/"))
        assert await scene.daemon.reload() == []
        await scene.go(2 * HOUR)

    play(stage, step, act)
    assert len(elsewhere.posts) >= 3
    assert elsewhere.calls[0][1] == "c-1"


# -- the breaker -------------------------------------------------------------------------------


@pytest.mark.matrix
@pytest.mark.parametrize("step", STEPS[1:])
def test_a_breaker_that_opens_at_any_step_costs_no_test_and_sends_none(
    stage: World, step: str
) -> None:
    posts: list[int] = []

    async def act(scene: Scene) -> None:
        down = PollError(Reason.CONNECT_ERROR)
        scene.api.says = dict.fromkeys(("c-1", "c-2", "c-3", "c-4"), down)
        while not scene.poller.state.status.breaker_open:
            await virtual_seconds(1)
        await scene.go(MINUTE)
        posts.append(len(scene.api.posts))
        await virtual_seconds(2 * HOUR)
        posts.append(len(scene.api.posts))
        scene.api.says = {}
        await virtual_seconds(HOUR)

    api = play(stage, step, act, keys=("c-1", "c-2", "c-3", "c-4"))
    assert posts == [1, 1]
    assert len(api.posts) > 1
    assert apart(api) >= 2 * MINUTE


# -- the disk ----------------------------------------------------------------------------------


@pytest.mark.matrix
@pytest.mark.parametrize("table", ["campaign", "guard", "lease"])
def test_a_test_that_cannot_be_written_down_is_not_sent_until_it_can_be(
    stage: World, table: str
) -> None:
    async def act(scene: Scene) -> None:
        with full_disk(stage.folder / "state.db", table):
            await scene.go(2 * HOUR)
            assert scene.api.posts == []
        await virtual_seconds(HOUR)

    api = play(stage, "waits", act)
    assert len(api.posts) >= 2
    assert len(api.sftp.server(HOST).log) == len(api.posts)


def test_a_disk_that_fails_between_attempt_and_result_loses_neither(stage: World) -> None:
    image: list[Path] = []
    died_at: list[Instant] = []

    async def act(scene: Scene) -> None:
        with full_disk(stage.folder / "state.db", "campaign"):
            await scene.go(5 * MINUTE)
            image.append(scene.image())
            assert len(scene.api.posts) == 1
            died_at.append(stage.clock.wall())

    api = play(stage, "runs", act, broken=True)
    stage.clock.start = died_at[0]
    execute(image[0] / "state.db", "DROP TRIGGER full")
    # Nothing but the attempt is known after a kill then: it counts, and the record tells.
    _restart(stage, api, image[0], 2 * HOUR)
    assert len(api.failed_logins(HOST)) == 2


# -- kill -9 -----------------------------------------------------------------------------------


def _restart(stage: World, api: TestedApi, image: Path, seconds: float) -> None:
    """Run a daemon on what a kill has left; the loop's time begins anew at the clock's `start`."""
    for file in stage.folder.glob("state.db*"):
        file.unlink()
    for file in image.iterdir():
        shutil.move(file, stage.folder)
    api.on_post = api.on_get = None

    async def story() -> None:
        async with stage.daemon():
            await virtual_seconds(seconds)

    run(story())


@pytest.mark.matrix
@pytest.mark.parametrize("ran", [False, True], ids=["lost", "ran"])
@pytest.mark.parametrize("broken", [False, True], ids=["well", "broken"])
@pytest.mark.parametrize("step", STEPS)
def test_a_kill_at_any_step_repeats_no_test_and_tries_no_login_too_often(
    stage: World, step: str, *, broken: bool, ran: bool
) -> None:
    image: list[Path] = []
    died_at: list[Instant] = []

    async def act(scene: Scene) -> None:
        image.append(scene.image())
        if step == "runs" and ran:
            scene.api.sftp.test("c-1", stage.clock.wall())
        died_at.append(stage.clock.wall())

    api = play(stage, step, act, broken=broken)
    api.posts, sent = [one for one in api.posts if one[0] <= died_at[0]], len(api.posts)
    if step != "answered":
        # What the first daemon did after the kill never happened.
        assert sent <= 1
    stage.clock.start = died_at[0] + 1
    _restart(stage, api, image[0], 2 * HOUR)
    failed = api.failed_logins(HOST)
    lost = step in {"stores", "stored"} or (step == "runs" and not ran)
    assert len(failed) == ((1 if lost else 2) if broken else 0)
    if not broken:
        assert len(api.posts) >= 4
    if step in {"stored", "runs", "answered"}:
        # Not again for the same due instant.
        later = [at for at, _ in api.posts if at > died_at[0]]
        assert later[0] - died_at[0] >= (MINUTE if broken else 2 * MINUTE - 5)


# -- clocks ------------------------------------------------------------------------------------


@pytest.mark.matrix
@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("by", [-DAY, -HOUR, HOUR, DAY], ids=["-1d", "-1h", "+1h", "+1d"])
def test_our_clock_that_steps_at_any_step_repeats_no_test(
    stage: World, step: str, by: float
) -> None:
    async def act(scene: Scene) -> None:
        stage.clock.step(by)
        await scene.go(2 * HOUR)

    api = play(stage, step, act, broken=True)
    failed = api.failed_logins(HOST)
    # While it is not known whose clock is right a failure may be somebody's, and count as well.
    assert 1 <= len(failed) <= 2
    assert failed[-1] - failed[0] >= 2 * MINUTE - 2 or len(failed) == 1


@pytest.mark.slow(seconds=8)
@pytest.mark.parametrize("by", [-DAY, -HOUR, HOUR, DAY], ids=["-1d", "-1h", "+1h", "+1d"])
def test_a_host_that_had_three_failed_logins_is_left_alone_for_six_hours_whatever_our_clock_does(
    stage: World, by: float
) -> None:
    api = an_api(stage)
    keys = [f"c-{n}" for n in range(5)]
    for key in keys:
        api.add(key, HOST, user=key)
    api.sftp.server(HOST).passwords.clear()
    configure(stage, keys, interval="2m", retry_after="20m", retry_max="20m")

    def failed() -> list[Instant]:
        return [one.at for one in api.sftp.server(HOST).log]

    async def story() -> None:
        async with stage.daemon():
            while len(failed()) < 3:
                await virtual_seconds(10)
            stage.clock.step(by)
            await virtual_seconds(8 * HOUR)

    run(story())
    third, fourth = failed()[2:4]
    assert 6 * HOUR - 5 <= fourth - third <= 7 * HOUR


@pytest.mark.matrix
@pytest.mark.parametrize("by", [-DAY, -HOUR, HOUR, DAY], ids=["-1d", "-1h", "+1h", "+1d"])
def test_tests_come_again_whatever_our_clock_does(stage: World, by: float) -> None:
    api = an_api(stage)
    api.add("c-1", HOST)
    configure(stage, ["c-1"])
    counts: list[int] = []

    async def story() -> None:
        async with stage.daemon():
            await virtual_seconds(HOUR)
            stage.clock.step(by)
            counts.append(len(api.posts))
            await virtual_seconds(2 * HOUR)
            counts.append(len(api.posts))

    run(story())
    at = [one.at for one in api.sftp.server(HOST).log]
    assert min(later - earlier for earlier, later in itertools.pairwise(at)) >= 10 * MINUTE - 1
    assert counts[1] - counts[0] >= 4


def test_a_step_of_our_clock_that_a_poll_is_the_first_to_see_stops_no_tests(stage: World) -> None:
    api = an_api(stage)
    api.add("c-1", HOST)
    configure(stage, ["c-1"], interval="2m", unhealthy_interval="1m")
    stepped: list[Instant] = []

    async def steps(_: str) -> None:
        if not stepped and stage.clock.elapsed() > 10 * MINUTE:
            stage.clock.step(-DAY)
            stepped.append(stage.clock.elapsed())

    api.on_get = steps

    async def story() -> None:
        async with stage.daemon() as daemon:
            await virtual_seconds(2 * HOUR)
            tests = daemon.report.snapshot().environments["production"].status.tests
            assert tests.on_since == START - DAY

    run(story())
    assert sum(at < START for at, _ in api.posts) >= 4


# -- a backup ----------------------------------------------------------------------------------


def test_a_restored_backup_tries_a_blocked_login_once_at_most(stage: World) -> None:
    api = an_api(stage)
    api.add("c-1", HOST)
    configure(stage, ["c-1"])
    image: list[Path] = []

    async def story() -> None:
        async with stage.daemon() as daemon:
            await virtual_seconds(HOUR)
            image.append(Scene(stage, api, daemon, [], {}).image())
            api.sftp.server(HOST).passwords.clear()
            await virtual_seconds(2 * HOUR)
            assert len(api.failed_logins(HOST)) == 2

    run(story())
    stage.clock.start += 3 * HOUR
    _restart(stage, api, image[0], 3 * HOUR)
    # The record says that one test failed; whose it was nobody remembers.
    assert len(api.failed_logins(HOST)) <= 3


# -- what breaks -------------------------------------------------------------------------------


def test_a_client_that_raises_costs_one_test_and_no_poll(stage: World) -> None:
    api = an_api(stage)
    api.add("c-1", HOST)
    configure(stage, ["c-1"])

    async def raises(_: str) -> None:
        if len(api.posts) == 1:
            raise RuntimeError("Session is closed")

    api.on_post = raises

    async def story() -> None:
        async with stage.daemon() as daemon:
            await virtual_seconds(2 * HOUR)
            assert daemon.report.healthy()

    run(story())
    assert len(api.posts) >= 3
    assert apart(api) >= 2 * MINUTE


def test_a_reload_does_not_end_a_test_that_is_under_way(stage: World) -> None:
    api = an_api(stage)
    api.add("c-1", HOST)
    api.takes = 30.0
    configure(stage, ["c-1"])
    closed: list[bool] = []

    async def story() -> None:
        async with stage.daemon() as daemon:
            while not api.under_way:
                await virtual_seconds(1)
            assert await daemon.reload() == []
            await virtual_seconds(10)
            closed.append(api.closed)
            await virtual_seconds(30)
            closed.append(api.closed)

    run(story())
    assert closed == [False, True]


LOST = Said(runs=True, lost=Reason.CONNECTION_LOST)


def test_a_lost_answer_that_the_record_shows_as_passed_is_no_failed_login(stage: World) -> None:
    api = an_api(stage)
    api.add("c-1", HOST)
    api.says_of_test = lambda _: LOST
    configure(stage, ["c-1"])

    async def story() -> None:
        async with stage.daemon():
            await virtual_seconds(5 * HOUR)

    run(story())
    # No login is blocked by tests that all passed.
    assert len(api.posts) >= 10


@pytest.mark.matrix
@pytest.mark.parametrize("step", STEPS)
def test_a_stop_at_any_step_repeats_no_test_and_tries_no_login_too_often(
    stage: World, step: str
) -> None:
    stopped_at: list[Instant] = []
    api = an_api(stage)

    async def story() -> None:
        async with stage.daemon() as daemon:
            settings = {"requests_per_minute": 10} if step == "waits" else {}
            scene = Scene(stage, api, daemon, ["c-1"], settings)
            scene.stop_at(step)
            async with asyncio.timeout(2 * HOUR):
                await scene.gate.reached.wait()
            if step == "runs":
                # The platform does not notice that we have gone.
                api.sftp.test("c-1", stage.clock.wall())
        stopped_at.append(stage.clock.wall())

    api.add("c-1", HOST)
    api.sftp.server(HOST).passwords.clear()
    configure(stage, ["c-1"], requests_per_minute=10 if step == "waits" else 6000)
    run(story())
    assert len(api.posts) == (step in {"runs", "answered"})
    stage.clock.start = stopped_at[0] + 1
    api.on_post = api.on_get = None

    async def again() -> None:
        async with stage.daemon():
            await virtual_seconds(2 * HOUR)

    run(again())
    assert len(api.failed_logins(HOST)) == 2
    later = [at for at, _ in api.posts if at > stopped_at[0]]
    if step in {"runs", "answered"}:
        assert later[0] - api.posts[0][0] >= 2 * MINUTE


@pytest.mark.parametrize("left", ["other", "renamed", "back"])
def test_a_suspension_outlives_the_environment_that_it_came_from(stage: World, left: str) -> None:
    api, other = an_api(stage), an_api(stage, "other")
    other.sftp = api.sftp
    api.add("c-1", HOST)
    api.add("c-2", "other.example.com")
    api.sftp.switches_off = True
    api.sftp.server(HOST).passwords.clear()
    configure(stage, {"production": ["c-1", "c-2"]} if left != "other" else BOTH)
    posts: list[int] = []

    async def story() -> None:
        async with stage.daemon() as daemon:
            while api.sftp.configs["c-1"].is_enabled:
                await virtual_seconds(1)
            await virtual_seconds(MINUTE)
            posts.append(len(api.posts) + len(other.posts))
            # "other" stays, or has the platform's campaigns under another name.
            configure(stage, {"other": ["c-2"]})
            assert await daemon.reload() == []
            if left == "back":
                await virtual_seconds(MINUTE)
                configure(stage, {"production": ["c-1", "c-2"]})
                assert await daemon.reload() == []
            await virtual_seconds(2 * HOUR)
            posts.append(len(api.posts) + len(other.posts))

    run(story())
    assert posts[0] == posts[1]
    assert stage.told().count(("firing", "tests_suspended", None)) >= 2


BOTH = {"production": ["c-1"], "other": ["c-2"]}
