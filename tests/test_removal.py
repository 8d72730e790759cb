"""Whatever is under way when an environment or a campaign is removed: nothing of it comes back.

Every step of a poll, a probe, a listing and a commit × what is removed × by whom × what the answer
says × what was known before; around an answer it is every step of the event loop. Each case
removes it, looks that it stays away, and has it come back: still failing, it fires again, once,
under the next number.
"""

import asyncio
import gc
import sqlite3
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from concurrent.futures import Executor, Future
from contextlib import asynccontextmanager, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar
from weakref import ref

import pytest

from monitor import daemon as daemon_module
from monitor.adapters.store import Store, open_state
from monitor.core.model import Answer, Instant, PageAnswer, PollError, Reason
from monitor.daemon import Daemon
from monitor.polling import AT_ONCE
from support.daemons import World
from support.virtual import START, FakeApi, config, run, virtual_seconds

T = TypeVar("T")

MINUTE = 60.0
STEPS = range(-6, 8)
"""Steps of the event loop from the answer to the removal; below 0 the removal begins first."""


@dataclass
class SteppedApi(FakeApi):
    """An API whose answers about `held` wait for `hang`; it knows which calls are under way."""

    held: str = ""
    under_way: Counter[str] = field(default_factory=Counter)
    twice: set[str] = field(default_factory=set)
    listed: Callable[[], None] = lambda: None

    async def fetch_sftp(self, campaign_id: str) -> Answer:
        with self._under_way(campaign_id):
            self.calls.append((self.clock.elapsed(), campaign_id))
            if campaign_id == self.held and self.hang is not None:
                await self.hang.wait()
            says = self.says.get(campaign_id) or config(campaign_id, START)
            return Answer(says() if callable(says) else says)

    async def fetch_campaigns(self, page: int) -> PageAnswer:
        with self._under_way("*"):
            if self.held == "*" and self.hang is not None:
                self.calls.append((self.clock.elapsed(), "*"))
                await self.hang.wait()
            answer = await super().fetch_campaigns(page)
            self.listed()
            return answer

    @contextmanager
    def _under_way(self, key: str) -> Iterator[None]:
        self.under_way[key] += 1
        if self.under_way[key] > 1:
            self.twice.add(key)
        try:
            yield
        finally:
            self.under_way[key] -= 1


class Awaited(Protocol):
    """What a case lets go on."""

    def set(self) -> None: ...


class SlowDisk(Executor):
    """Does all work at once; while it is held, when it is `set`."""

    def __init__(self) -> None:
        self.held = False
        self.queued: list[Callable[[], None]] = []

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        future = Future[T]()

        def work() -> None:
            try:
                future.set_result(fn(*args, **kwargs))
            except Exception as error:
                future.set_exception(error)

        self.queued.append(work)
        if not self.held:
            self.set()
        return future

    def set(self) -> None:
        self.held = False
        while self.queued:
            self.queued.pop(0)()


class QuickWorld(World):
    """A world that parses each text of the config file but once, and whose output may block."""

    begun: asyncio.Event | None = None
    go_on: asyncio.Event

    def block(self) -> asyncio.Event:
        """Have the next line wait for `go_on`; return what is set when it does."""
        self.begun, self.go_on = asyncio.Event(), asyncio.Event()
        return self.begun

    async def write(self, line: bytes) -> None:
        if self.begun is not None:
            begun, self.begun = self.begun, None
            begun.set()
            await self.go_on.wait()
        await super().write(line)

    def _load(self, environ: dict[str, str]) -> Callable[[], Any]:
        known: dict[str, Any] = {}
        load = super()._load(environ)

        def loaded() -> Any:
            text = (self.folder / "monitor.yaml").read_text()
            if text not in known:
                known[text] = load()
            return known[text]

        return loaded


@dataclass
class Case:
    """The world of one case: what is removed is `c-2` of `staging`, or all of that.

    Where it `moves`, every reload points staging at another API as well.
    """

    world: QuickWorld
    what: str
    by: str
    moves: bool = False
    moved: int = 0

    @property
    def api(self) -> SteppedApi:
        api = self.world.apis.setdefault("staging", SteppedApi(self.world.clock))
        assert isinstance(api, SteppedApi)
        return api

    def fails(self, fails: bool) -> None:
        self.api.says["c-2"] = config("c-2", START, last_test_success=not fails)

    def configure(self, there: bool) -> None:
        """Write the config, or change the listing, so that it is there or is not."""
        self.api.lists("c-1", "c-2" if there else "c-3", "c-4")
        campaigns = "[{id: c-1}, {id: c-2}]" if there else "[{id: c-1}]"
        watched = {
            "listing": "discovery: {enabled: true, every: 1m}",
            "reload": f"campaigns: {campaigns}",
        }[self.by]
        self.moved += self.moves
        staging = (
            f"  - name: staging\n    base_url: http://127.0.0.1:9/api/v{self.moved}\n"
            f"    token: ${{OTHER_TOKEN}}\n    requests_per_minute: 6000\n    {watched}\n"
        )
        if self.what == "environment" and not there:
            staging = ""
        self.world.configure(more=staging + "polling: {interval: 2m, idle_interval: 5m}\n")

    async def reload(self, daemon: Daemon, there: bool) -> None:
        self.configure(there)
        assert await daemon.reload() == []

    async def change(self, daemon: Daemon, there: bool) -> None:
        """Have it removed, or come back."""
        if self.by == "reload":
            await self.reload(daemon, there)
        else:
            self.configure(there)
            # A campaign is gone when three complete listings lacked it.
            for _ in range(1 if there else 3):
                listed = asyncio.Event()
                self.api.listed = listed.set
                await listed.wait()
            self.api.listed = lambda: None
            await virtual_seconds(0.1)

    def events(self) -> list[tuple[str, int]]:
        """Return (status, seq) of its events, in the order in which they were sent."""
        return [(e["status"], e["seq"]) for e in self.world.events() if e["campaign_id"] == "c-2"]

    async def stays_away(self, daemon: Daemon) -> None:
        """Look, for a while, that nothing of it is there any more."""
        assert self.over(), self.events()
        calls = len(self.api.calls)
        await virtual_seconds(3 * MINUTE)
        snapshot = daemon.report.snapshot().environments
        assert "staging" not in snapshot or "c-2" not in snapshot["staging"].campaigns
        asked = {key for _, key in self.api.calls[calls:]}
        assert "c-2" not in asked
        assert bool(asked) is (self.what == "campaign")
        scrape = daemon.report.metrics(False)().decode()
        assert ('environment="staging"' in scrape) is (self.what == "campaign")
        assert self.over(), self.events()

    async def comes_back(self, daemon: Daemon) -> None:
        """Have it come back, failing: that is sent once."""
        self.api.hang, before = None, len(self.events())
        self.fails(True)
        await self.change(daemon, there=True)
        await virtual_seconds(5 * MINUTE)
        assert [status for status, _ in self.events()[before:]] == ["firing"]

    def over(self) -> bool:
        """Check all that was sent: every id once, firing and resolved by turns; is it over now?"""
        ids = [event["event_id"] for event in self.world.events()]
        assert len(ids) == len(set(ids))
        events = self.events()
        turns = [("resolved" if seq % 2 == 0 else "firing", seq) for seq in range(1, len(ids) + 1)]
        assert events == turns[: len(events)]
        # Two calls at once for one campaign could be taken in the wrong order.
        assert not self.api.twice
        return len(events) % 2 == 0

    async def under_way(self, key: str) -> asyncio.Event:
        """Return once a call for `key` is under way: it hangs until what is returned is set."""
        self.api.held, self.api.hang = key, self.api.hang or asyncio.Event()
        while not self.api.under_way[key]:
            await virtual_seconds(1)
        return self.api.hang

    async def poll(self, daemon: Daemon, known: str | None) -> asyncio.Event:
        """Return as `under_way` does, for its poll; where nothing is known, its first."""
        if known is None:
            await self.change(daemon, there=False)
            await virtual_seconds(1)
            self.api.held, self.api.hang = "c-2", asyncio.Event()
            await self.change(daemon, there=True)
        else:
            self.fails(known == "firing")
            await virtual_seconds(5 * MINUTE)
        return await self.under_way("c-2")


async def loop_steps(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


@asynccontextmanager
async def watched(case: Case) -> AsyncIterator[Daemon]:
    """Run the daemon, then once more: a restart sends nothing, for what was said is stored."""
    case.configure(there=True)
    async with case.world.daemon() as daemon:
        await virtual_seconds(MINUTE)
        yield daemon
        sent = len(case.world.lines)
    async with case.world.daemon():
        await virtual_seconds(3 * MINUTE)
    assert len(case.world.lines) == sent


CASES = [
    ("environment", "reload"),
    ("campaign", "reload"),
    ("campaign", "reload", True),
    ("campaign", "listing"),
]


@pytest.fixture(params=CASES, ids=str)
def case(request: pytest.FixtureRequest, tmp_path: Path) -> Case:
    return Case(QuickWorld(tmp_path), *request.param)


KNOWN = pytest.mark.parametrize("known", [None, "well", "firing"])
SAYS = pytest.mark.parametrize("fails", [False, True], ids=["healthy", "failing"])


@pytest.mark.slow
@KNOWN
@SAYS
def test_its_poll_is_answered_around_the_removal(
    case: Case, known: str | None, fails: bool
) -> None:
    async def story() -> None:
        async with watched(case) as daemon:
            for steps in STEPS:
                answer = await case.poll(daemon, known)
                case.fails(fails)
                if case.by == "listing":
                    await answered_around_a_listing(case, answer, steps)
                else:
                    await around(steps, answer, lambda: case.change(daemon, there=False))
                await case.stays_away(daemon)
                await case.comes_back(daemon)

    run(story())


async def around(
    steps: int, answer: Awaited, change: Callable[[], Coroutine[Any, Any, None]]
) -> None:
    """Have the answer come, and so many steps after it (below 0: before it) the change begin."""
    if steps < 0:
        changing = asyncio.create_task(change())
        await loop_steps(-steps)
        answer.set()
        await changing
    else:
        answer.set()
        await loop_steps(steps)
        await change()


async def answered_around_a_listing(
    case: Case, answer: Awaited, steps: int, before: Callable[[], None] = lambda: None
) -> None:
    """Have the answer come around the third listing that lacks the campaign, `before` with it."""
    case.configure(there=False)
    listings, done = 0, asyncio.Event()

    async def come() -> None:
        await loop_steps(6 + steps)
        answer.set()
        done.set()

    def begun() -> None:
        nonlocal listings
        listings += 1
        if listings == 3:
            before()
            tasks.append(asyncio.create_task(come()))

    tasks: list[asyncio.Task[None]] = []
    case.api.listed = begun
    await done.wait()
    case.api.listed = lambda: None
    await virtual_seconds(1)


@pytest.mark.matrix
@KNOWN
@SAYS
def test_its_poll_is_answered_after_it_came_back(
    case: Case, known: str | None, fails: bool
) -> None:
    async def story() -> None:
        async with watched(case) as daemon:
            answer = await case.poll(daemon, known)
            await case.change(daemon, there=False)
            assert case.over()
            case.api.hang = None
            case.fails(fails)
            await case.change(daemon, there=True)
            await virtual_seconds(5)
            answer.set()
            await virtual_seconds(5 * MINUTE)
            assert case.over() is not fails
            await case.change(daemon, there=False)
            await case.stays_away(daemon)
            await case.comes_back(daemon)

    run(story())


@pytest.mark.matrix(fast=2)
@pytest.mark.parametrize("known", ["well", "firing"])
def test_its_poll_is_queued(case: Case, known: str) -> None:
    async def story() -> None:
        async with watched(case) as daemon:
            case.fails(known == "firing")
            await virtual_seconds(3 * MINUTE)
            await case.change(daemon, there=False)
            await case.stays_away(daemon)
            await case.comes_back(daemon)

    run(story())


@pytest.mark.matrix
def test_its_poll_waits_for_the_end_of_another(case: Case) -> None:
    async def story() -> None:
        async with watched(case) as daemon:
            daemon._manager.pollers["staging"].share = 1
            case.fails(True)
            await virtual_seconds(MINUTE)
            other = await case.under_way("c-1")
            await virtual_seconds(5 * MINUTE)
            if case.by == "listing":
                other.set()
            await case.change(daemon, there=False)
            case.api.hang = None
            other.set()
            await case.stays_away(daemon)
            await case.comes_back(daemon)

    run(story())


@pytest.mark.slow
@pytest.mark.parametrize("known", ["well", "firing"])
def test_the_lease_of_its_poll_is_written(
    case: Case, known: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lease, held = Store.lease, list[asyncio.Event]()
    writing = asyncio.Event()

    async def slow(store: Store, environment: str, until: Instant) -> None:
        if environment == "staging" and held:
            writing.set()
            await held[0].wait()
        await lease(store, environment, until)

    monkeypatch.setattr(Store, "lease", slow)

    async def story() -> None:
        async with watched(case) as daemon:
            for steps in STEPS:
                case.fails(known == "firing")
                await virtual_seconds(3 * MINUTE)
                held.append(written := asyncio.Event())
                writing.clear()
                await writing.wait()
                if case.by == "listing":
                    held.clear()
                    written.set()
                    await case.change(daemon, there=False)
                else:
                    held.clear()
                    await around(steps, written, lambda: case.change(daemon, there=False))
                await case.stays_away(daemon)
                await case.comes_back(daemon)

    run(story())


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> SlowDisk:
    disk = SlowDisk()
    monkeypatch.setattr(
        daemon_module,
        "open_state",
        lambda state, now, _, keep_running: open_state(state, now, disk, keep_running),
    )
    return disk


@pytest.mark.slow
@pytest.mark.parametrize("known", ["well", "firing"])
def test_the_commit_of_its_event_is_queued(case: Case, known: str, disk: SlowDisk) -> None:
    async def story() -> None:
        async with watched(case) as daemon:
            for steps in STEPS:
                answer = await case.poll(daemon, known)
                case.fails(known == "well")
                if case.by == "listing":

                    def decide(answer: asyncio.Event = answer) -> None:
                        disk.held = True
                        answer.set()

                    await answered_around_a_listing(case, disk, steps, decide)
                else:
                    disk.held = True
                    answer.set()
                    while not disk.queued:
                        await virtual_seconds(0.1)
                    # It waits for the commit before it changes anything.
                    await around(-1 - abs(steps), disk, lambda: case.change(daemon, there=False))
                await virtual_seconds(1)
                await case.stays_away(daemon)
                await case.comes_back(daemon)

    run(story())


@pytest.mark.slow
@pytest.mark.parametrize("says", [None, Reason.TIMEOUT, Reason.UNAUTHORIZED], ids=str)
@pytest.mark.parametrize(
    "case", [case for case in CASES if "reload" in case], indirect=True, ids=str
)
def test_its_probe_is_answered_around_the_removal(case: Case, says: Reason | None) -> None:
    """A listing removes nobody meanwhile: while the breaker is open there is none."""

    async def story() -> None:
        async with watched(case) as daemon:
            for steps in STEPS:
                case.fails(True)
                await virtual_seconds(3 * MINUTE)
                for key in ("c-1", "c-2"):
                    case.api.says[key] = PollError(Reason.TIMEOUT)
                while not daemon.report.snapshot().environments["staging"].status.breaker_open:
                    await virtual_seconds(1)
                answer = await case.under_way("c-2")
                case.api.says.clear()
                if says is not None:
                    case.api.says["c-2"] = PollError(says)
                await around(steps, answer, lambda: case.change(daemon, there=False))
                await virtual_seconds(10 * MINUTE)
                await case.stays_away(daemon)
                await case.comes_back(daemon)

    run(story())


@pytest.mark.parametrize("known", ["well", "firing"])
def test_an_answer_of_the_api_of_before_says_nothing(tmp_path: Path, known: str) -> None:
    case = Case(QuickWorld(tmp_path), "campaign", "reload", moves=True)

    async def story() -> None:
        async with watched(case) as daemon:
            case.fails(known == "firing")
            await virtual_seconds(3 * MINUTE)
            answer, sent = await case.under_way("c-2"), case.events()
            await case.reload(daemon, there=True)
            calls, true = (
                len(case.api.calls),
                config("c-2", START, last_test_success=known == "well"),
            )
            other = [config("c-2", START, last_test_success=known == "firing")]
            case.api.says["c-2"] = lambda: other.pop() if other else true
            answer.set()
            await virtual_seconds(5)
            assert not other
            assert case.events() == sent
            assert "c-2" in {key for _, key in case.api.calls[calls:]}

    run(story())


@pytest.mark.slow
def test_its_event_is_being_delivered(case: Case) -> None:
    async def story() -> None:
        async with watched(case) as daemon:
            for steps in STEPS:
                case.fails(False)
                await virtual_seconds(3 * MINUTE)
                case.fails(True)
                delivery = case.world.block()
                await delivery.wait()
                await around(steps, case.world.go_on, lambda: case.change(daemon, there=False))
                await virtual_seconds(1)
                await case.stays_away(daemon)
                await case.comes_back(daemon)

    run(story())


@pytest.mark.slow
@pytest.mark.parametrize("known", ["well", "firing"])
def test_a_listing_is_answered_around_the_removal_of_its_environment(
    tmp_path: Path, known: str
) -> None:
    case = Case(QuickWorld(tmp_path), "environment", "listing")

    async def story() -> None:
        async with watched(case) as daemon:
            for steps in STEPS:
                case.fails(known == "firing")
                await virtual_seconds(3 * MINUTE)
                answer = await case.under_way("*")
                await around(steps, answer, lambda: case.reload(daemon, there=False))
                await case.stays_away(daemon)
                case.api.hang = None
                case.fails(True)
                await case.reload(daemon, there=True)
                await virtual_seconds(2 * MINUTE)
                assert not case.over()

    run(story())


@pytest.mark.matrix
@pytest.mark.parametrize("becomes", ["off and on", "without c-1"])
def test_a_reload_changes_discovery_around_a_page_of_a_listing(
    tmp_path: Path, becomes: str
) -> None:
    case = Case(QuickWorld(tmp_path), "campaign", "listing")
    file = tmp_path / "monitor.yaml"
    on = "discovery: {enabled: true, every: 1m}"
    off = {
        "off and on": "campaigns: [{id: c-2}]",
        "without c-1": "discovery: {enabled: true, every: 1m, exclude: ['Campaign c-1']}",
    }[becomes]

    async def story() -> None:
        async with watched(case) as daemon:
            good = file.read_text()

            async def change() -> None:
                file.write_text(good.replace(on, off))
                assert await daemon.reload() == []
                if becomes == "off and on":
                    file.write_text(good)
                    assert await daemon.reload() == []

            case.fails(True)
            for steps in STEPS:
                await virtual_seconds(3 * MINUTE)
                answer = await case.under_way("*")
                case.api.hang = None
                await around(steps, answer, change)
                await virtual_seconds(10)
                campaigns = set(daemon.report.snapshot().environments["staging"].campaigns)
                wanted = {"c-1", "c-2", "c-4"} - ({"c-1"} if becomes == "without c-1" else set())
                assert campaigns == wanted
                file.write_text(good)
                assert await daemon.reload() == []
            assert case.events() == [("firing", 1)]
            assert not case.over()

    run(story())


def test_nothing_of_a_removed_environment_holds_itself(tmp_path: Path) -> None:
    """The collector looks at nothing twice: what stays for long is freed by its last reference."""

    async def story() -> None:
        case = Case(QuickWorld(tmp_path), "environment", "reload")
        async with watched(case) as daemon:
            known = ref(daemon._manager.pollers["staging"].state)
            gc.freeze()
            await case.change(daemon, there=False)
            await virtual_seconds(1)
            gc.collect()
            assert known() is None

    run(story())


@pytest.mark.slow(seconds=2)
def test_polls_and_views_go_on_while_a_large_environment_is_removed(tmp_path: Path) -> None:
    """Some campaigns at a time; at each step what is known of the others is as it was."""

    async def story() -> None:
        world = QuickWorld(tmp_path)
        keys = [f"s-{number}" for number in range(4 * AT_ONCE)]
        api = world.apis.setdefault("staging", SteppedApi(world.clock))
        for key in keys:
            api.says[key] = config(key, START, last_test_success=False)
        listed = ", ".join(f"{{id: {key}}}" for key in keys)
        staging = (
            "  - name: staging\n    base_url: http://127.0.0.1:9/api/v1\n"
            "    token: ${OTHER_TOKEN}\n    requests_per_minute: 60000\n"
            f"    campaigns: [{listed}]\n"
        )
        world.configure(more=staging)
        async with world.daemon() as daemon:
            await virtual_seconds(MINUTE)
            assert len(world.events()) == len(keys)
            world.configure()
            reloading, resolved = asyncio.create_task(daemon.reload()), {0}
            while not reloading.done():
                await asyncio.sleep(0)
                assert daemon.report.metrics(False)()
                stored = [one for one in world.events() if one["status"] == "resolved"]
                resolved.add(len(stored))
            await virtual_seconds(1)
            assert reloading.result() == []
            over = [one["campaign_id"] for one in world.events() if one["status"] == "resolved"]
            assert over == keys
            assert len(resolved) > 3
            assert 'environment="staging"' not in daemon.report.metrics(False)().decode()

    run(story())


@pytest.mark.slow(seconds=4)
@pytest.mark.parametrize("turns", [3, 4, 5, 6, 7, 9])
@pytest.mark.parametrize("back", [False, True])
def test_a_crash_while_a_large_environment_is_removed_loses_and_doubles_no_event(
    tmp_path: Path, turns: int, back: bool
) -> None:
    """The next start finds it gone, and does the rest; or back, and each alert is as it was.

    In the fifth and sixth turn of the loop some campaigns are removed, and some are not.
    """
    keys = [f"s-{number}" for number in range(3 * AT_ONCE)]
    staging = (
        "  - name: staging\n    base_url: http://127.0.0.1:9/api/v1\n"
        "    token: ${OTHER_TOKEN}\n    requests_per_minute: 60000\n"
        f"    campaigns: [{', '.join(f'{{id: {key}}}' for key in keys)}]\n"
    )
    seen, told = set[str](), defaultdict[str, list[str]](list)
    for one in run(_crash_while_removed(tmp_path, keys, staging, turns, back)):
        if one["event_id"] not in seen:
            told[one["campaign_id"]].append(one["status"])
        else:
            assert one["redelivery"]
        seen.add(one["event_id"])
    assert told.keys() == set(keys)
    for statuses in told.values():
        whole = ["firing", "resolved", "firing"][: len(statuses)]
        assert statuses == whole
        assert len(statuses) in ((1, 3) if back else (2,))


async def _crash_while_removed(
    folder: Path, keys: list[str], staging: str, turns: int, back: bool
) -> list[dict[str, Any]]:
    """Return all events, over a crash so many turns of the loop into the removal."""
    worlds = QuickWorld(folder / "before"), QuickWorld(folder / "after")
    before, after = worlds
    after.clock = before.clock
    for world in worlds:
        world.folder.mkdir()
        api = world.apis.setdefault("staging", SteppedApi(world.clock))
        for key in keys:
            api.says[key] = config(key, START, last_test_success=False)
    before.configure(more=staging)
    async with before.daemon() as daemon:
        await virtual_seconds(MINUTE)
        before.configure()
        reloading = asyncio.create_task(daemon.reload())
        for _ in range(turns):
            await asyncio.sleep(0)
        with (
            closing(sqlite3.connect(before.folder / "state.db")) as state,
            closing(sqlite3.connect(after.folder / "state.db")) as copy,
        ):
            state.backup(copy)
        after.lines = [*before.lines]
        await reloading
    after.configure(more=staging if back else "")
    async with after.daemon():
        await virtual_seconds(MINUTE)
    return after.events()
