"""`events`: the history from the state and from the daemon, while it runs and after."""

import asyncio
import json
import signal
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from monitor.adapters.store import Change, Store
from monitor.adapters.web import EventsAnswer
from monitor.clocks import SystemClock
from monitor.core.model import EventStatus
from monitor.core.snapshot import HistoryQuery
from monitor.serialize import Links, record_of
from support.command import called, daemon, files_in, running, write_config
from support.events import FIRING
from support.fake_platform import fake_platform
from support.state_files import an_event
from support.web import HOST, a_program, listening


@pytest.mark.slow
async def test_the_history_is_the_same_wherever_it_is_asked_for(tmp_path: Path) -> None:
    async with fake_platform("c-1", "c-2") as platform:
        config = write_config(tmp_path, platform, ["c-1", "c-2"])
        platform.set("c-1", last_test_success=False)
        async with daemon(config) as monitor:
            await monitor.process.alert("c-1", "failed_test", "firing")
            platform.set("c-1")
            await monitor.process.alert("c-1", "failed_test", "resolved")
            by_url, beside = await asyncio.gather(
                called("events", "--url", monitor.url, "--format", "json"),
                called("events", "--config.file", config, "--format", "json"),
            )
            assert await monitor.process.end(signal.SIGTERM) == 0
        after = await called("events", "--state.path", tmp_path / "state.db", "--campaign", "c-1")
    logged = list(reversed(monitor.process.alerts()))
    assert json.loads(beside.out) == json.loads(by_url.out) == logged
    newest, oldest, count = after.out.splitlines()
    assert 'Z resolved          failed_test         production/"Campaign c-1" (' in newest
    assert 'Z firing critical   failed_test         production/"Campaign c-1" (' in oldest
    assert count == "2 events in the last 1d: 1 fired, 1 resolved"


def some_history(folder: Path, *statuses: EventStatus, epoch: str = "0badcafe") -> Path:
    """Add events that were decided just now to a state; return its path."""
    path, now = folder / "state.db", SystemClock().wall()
    store = Store(path, now=now)
    store.epoch = epoch
    found = [
        an_event(number, status=status, decided_at=now - 1)
        for number, status in enumerate(statuses, start=1)
    ]
    store.save(Change(events=tuple(found)))
    asyncio.run(store.aclose())
    return path


FIRED, RESOLVED = EventStatus.FIRING, EventStatus.RESOLVED


async def test_it_says_when_it_shows_only_the_latest_in_each_format(tmp_path: Path) -> None:
    path = await asyncio.to_thread(some_history, tmp_path, FIRED, RESOLVED, FIRED)
    said = (
        "the latest 2 of 3 events in the last 1d: 2 fired, 1 resolved (--limit, --since for others)"
    )
    table = await called("events", "--state.path", path, "--limit", "2")
    assert table.out.splitlines()[-1] == said
    assert len(table.out.splitlines()) == 3
    parsed = await called("events", "--state.path", path, "--limit", "2", "--format", "json")
    assert [one["seq"] for one in json.loads(parsed.out)] == [3, 2]
    assert parsed.err == said
    whole = await called("events", "--state.path", path, "--limit", "3", "--format", "json")
    assert (len(json.loads(whole.out)), whole.err) == (3, "")


@pytest.mark.parametrize(
    ("filters", "count"),
    [
        (["--rule", "failed_test"], 1),
        (["--rule", "stale_test"], 0),
        (["--environment", "production"], 1),
        (["--environment", "staging"], 0),
        (["--campaign", "c-1"], 1),
        (["--campaign", "production/c-1"], 1),
        (["--campaign", "staging/c-1"], 0),
        (["--kind", "test"], 0),
    ],
)
async def test_filters_are_those_of_the_page(
    tmp_path: Path, filters: list[str], count: int
) -> None:
    path = await asyncio.to_thread(some_history, tmp_path, FIRED)
    ended = await called("events", "--state.path", path, *filters)
    assert ended.out.splitlines()[-1].startswith(f"{count} events")


async def test_a_rule_that_there_is_not_is_wrong_usage(tmp_path: Path) -> None:
    ended = await called("events", "--state.path", tmp_path / "state.db", "--rule", "failed")
    assert ended.code == 64
    assert "'failed_test'" in ended.err


async def test_more_than_a_page_of_a_daemon_is_read_where_so_much_is_asked_for() -> None:
    asked: list[tuple[int, int | None]] = []

    def history(query: HistoryQuery) -> EventsAnswer:
        asked.append((query.limit, query.next))
        page = [record_of(replace(FIRING, epoch="e"), Links(""))] * query.limit
        return EventsAnswer(events=page, counts={"firing": 5000}, next="7")

    async with listening(a_program(history=history)) as port:
        url = f"http://{HOST}:{port}"
        ended = await called("events", "--url", url, "--limit", "1500")
    assert asked == [(1000, None), (1000, 7)]
    assert ended.out.splitlines()[-1].startswith("the latest 1500 of 5000 events")


@pytest.mark.slow
async def test_what_is_followed_is_shown_once_in_order_until_ctrl_c(tmp_path: Path) -> None:
    path = await asyncio.to_thread(some_history, tmp_path, FIRED, RESOLVED)
    follow = ("events", "--follow", "--state.path", str(path), "--format", "json", "--limit", "1")
    async with running(*follow) as process:
        await process.record(seq=2, epoch="0badcafe")
        # More at once than are shown at the beginning.
        await asyncio.to_thread(some_history, tmp_path, *[FIRED, RESOLVED] * 3, epoch="deadbeef")
        await process.record(seq=6, epoch="deadbeef")
        assert await process.end(signal.SIGINT) == 0
    assert [(one["epoch"], one["seq"]) for one in process.records] == [
        ("0badcafe", 2),
        *(("deadbeef", seq) for seq in range(1, 7)),
    ]
    assert process.err[0].startswith("the latest 1 of 2 events")


@pytest.mark.slow
async def test_what_is_followed_outlives_a_restart_of_the_daemon(tmp_path: Path) -> None:
    async with fake_platform("c-1", "c-2") as platform, AsyncExitStack() as stack:
        config = write_config(tmp_path, platform, ["c-1", "c-2"])
        platform.set("c-1", last_test_success=False)
        ends = await stack.enter_async_context(AsyncExitStack())
        monitor = await ends.enter_async_context(daemon(config))
        await monitor.process.alert("c-1", "failed_test", "firing")
        address = monitor.url.removeprefix("http://")
        follow = ("events", "--follow", "--url", monitor.url, "--kind", "alert")
        process = await stack.enter_async_context(running(*follow))
        await process.line("firing critical")
        assert await monitor.process.end(signal.SIGTERM) == 0
        await ends.aclose()
        await process.until(lambda: len(process.err) > 1)
        platform.set("c-1")
        async with daemon(config, "--web.listen-address", address):
            await process.line("resolved")
            assert await process.end(signal.SIGINT) == 0
    assert len(process.out) == 2
    _, lost, back = process.err
    assert lost.startswith(f"error: cannot ask http://{address}")
    assert lost.endswith("; asking again every 2 s")
    assert back == "the history can be read again"


async def test_a_state_that_is_not_there_is_74_and_is_not_made(tmp_path: Path) -> None:
    told = await called("events", "--state.path", tmp_path / "state.db")
    assert told.code == 74
    assert len(told.err.splitlines()) == 1
    assert files_in(tmp_path) == set()
