"""From the outbox to a sink: in order, nothing lost, nothing doubled but for what a crash marks."""

import asyncio
import json
from collections.abc import Callable, Sequence
from itertools import takewhile
from pathlib import Path

import pytest
import structlog

from monitor.adapters.sinks import PermanentDeliveryError, Sink, UncertainDeliveryError
from monitor.adapters.store import Change, Store
from monitor.core.model import Event
from monitor.notifier import BATCH, SinkWorker
from monitor.serialize import Links, event_line
from support.sinks import a_file_sink
from support.state_files import an_event, events, full_disk, next_event, select
from support.virtual import START, run, virtual_seconds


class ASink:
    """A sink that keeps what it was told, and fails as often as it is bid to.

    `knows` says what it has from before a crash; by default it cannot know.
    """

    def __init__(
        self,
        failures: int = 0,
        name: str = "log",
        knows: Callable[[str], bool | None] = lambda _: None,
    ) -> None:
        self.told: list[Event] = []
        self.asked: list[tuple[Sequence[str], str | None]] = []
        self.at_once: list[int] = []
        self.failures = failures
        self.name = name
        self.knows = knows

    async def deliver(self, event: Event) -> None:
        if self.failures:
            self.failures -= 1
            raise OSError("nobody listens")
        self.told.append(event)

    async def deliver_many(self, events: Sequence[Event]) -> None:
        self.at_once.append(len(events))
        for event in events:
            await self.deliver(event)

    async def has(self, event_ids: Sequence[str], before: str | None) -> int | None:
        self.asked.append((event_ids, before))
        if self.knows(event_ids[0]) is None:
            return None
        return len(list(takewhile(self.knows, event_ids)))

    @property
    def seqs(self) -> list[int]:
        return [told.seq for told in self.told]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.db"


def _open(path: Path) -> Store:
    store = Store(path, now=START)
    store.add_sink("log")
    return store


def _teller(
    store: Store, sink: ASink, failed: Callable[[str], None] = lambda _: None
) -> SinkWorker:
    return SinkWorker(Sink(sink.name, sink.deliver, has=sink.has), store, failed)


def test_events_are_told_in_order_and_once(path: Path) -> None:
    async def story() -> list[int]:
        store, sink = _open(path), ASink()
        worker = _teller(store, sink)
        store.save(events(1, 2))
        await worker.deliver_all()
        store.save(events(3))
        await worker.deliver_all()
        await worker.deliver_all()
        await store.aclose()
        return sink.seqs

    assert run(story()) == [1, 2, 3]


def test_it_is_woken_by_each_commit(path: Path) -> None:
    async def story() -> list[int]:
        store, sink = _open(path), ASink()
        telling = asyncio.create_task(_teller(store, sink).run())
        for seq in (1, 2, 3):
            await virtual_seconds(1)
            store.save(events(seq))
        await virtual_seconds(1)
        telling.cancel()
        await asyncio.gather(telling, return_exceptions=True)
        await store.aclose()
        return sink.seqs

    assert run(story()) == [1, 2, 3]


def test_a_sink_that_fails_is_tried_again_and_nothing_overtakes(path: Path) -> None:
    async def story() -> tuple[list[int], list[str], float]:
        store, sink, failed = _open(path), ASink(failures=3), list[str]()
        worker = _teller(store, sink, failed.append)
        store.save(events(1, 2))
        await worker.deliver_all()
        await store.aclose()
        return sink.seqs, failed, asyncio.get_running_loop().time()

    seqs, failed, seconds = run(story())
    assert seqs == [1, 2]
    assert failed == ["log"] * 3
    assert seconds == pytest.approx(1 + 2 + 4)


@pytest.mark.parametrize(
    ("errors", "marked"),
    [
        ("", [False, False]),
        ("n", [False, False, False]),
        ("u", [False, True, False]),
        ("nu", [False, False, True, False]),
        # Once it may be there, no later failure takes that back.
        ("unn", [False, True, True, True, False]),
    ],
)
def test_fault_42_what_a_receiver_may_have_taken_is_marked_from_then_on(
    path: Path, errors: str, marked: list[bool]
) -> None:
    """Of the kind: a try with an unknown outcome, whether it ended with a process or within it."""
    tried = list[tuple[int, bool]]()

    async def deliver(event: Event) -> None:
        tried.append((event.seq, event.redelivery))
        match errors[len(tried) - 1 :][:1]:
            case "n":
                raise OSError("refused")
            case "u":
                raise UncertainDeliveryError("no answer")

    async def story() -> None:
        store = _open(path)
        worker = SinkWorker(Sink("log", deliver), store, lambda _: None)
        store.save(events(1, 2))
        await worker.deliver_all()
        await store.aclose()

    run(story())
    assert [redelivery for _, redelivery in tried] == marked
    assert [seq for seq, _ in tried] == [1] * (len(errors) + 1) + [2]


def test_after_a_crash_only_the_first_one_that_waits_is_marked(path: Path) -> None:
    async def story() -> list[tuple[int, bool]]:
        store = _open(path)
        store.save(events(1, 2, 3))
        await store.aclose()
        store, sink = _open(path), ASink()
        await _teller(store, sink).deliver_all()
        store.save(events(4))
        await _teller(store, sink).deliver_all()
        await store.aclose()
        return [(told.seq, told.redelivery) for told in sink.told]

    assert run(story())[:3] == [(1, True), (2, False), (3, False)]


def test_fault_39_what_cannot_be_written_is_told_all_the_same_and_never_again(path: Path) -> None:
    async def story() -> list[tuple[int, bool]]:
        store, sink = _open(path), ASink()
        worker = _teller(store, sink)
        store.save(events(1))
        await worker.deliver_all()
        with full_disk(path):
            store.save(events(2))
            await worker.deliver_all()
        store.save(events(3))
        await worker.deliver_all()
        await store.aclose()
        store = _open(path)
        await _teller(store, sink).deliver_all()
        await store.aclose()
        return [(told.seq, told.durable) for told in sink.told]

    assert run(story()) == [(1, True), (2, False), (3, True)]


def test_bid_to_finish_it_tells_what_waits_and_returns(path: Path) -> None:
    async def story() -> list[int]:
        store, sink = _open(path), ASink()
        worker = _teller(store, sink)
        telling = asyncio.create_task(worker.run())
        await virtual_seconds(1)
        store.save(events(1, 2))
        worker.finish()
        await telling
        await store.aclose()
        return sink.seqs

    assert run(story()) == [1, 2]


def test_a_delivery_that_is_under_way_is_not_told_again_at_a_stop(path: Path) -> None:
    class Slow(ASink):
        async def deliver(self, event: Event) -> None:
            await super().deliver(event)
            await virtual_seconds(1)  # told, and the sink does not know yet

    async def story() -> list[int]:
        store, sink = _open(path), Slow()
        worker = _teller(store, sink)
        telling = asyncio.create_task(worker.run())
        store.save(events(1))
        await virtual_seconds(0.5)
        worker.finish()
        await telling
        await store.aclose()
        return sink.seqs

    assert run(story()) == [1]


async def _waiting_after_a_crash(path: Path, sink: ASink) -> Store:
    """Return a store whose cursor stands at event 1, while 2 to 4 wait for the sink."""
    store = _open(path)
    store.save(events(1, 2, 3, 4))
    first = next_event(store, sink.name)
    assert first is not None
    store.mark_delivered(sink.name, first.event_id)
    await store.aclose()
    return _open(path)


@pytest.mark.parametrize(
    ("kept", "told"),
    [
        ([], [(2, False), (3, False), (4, False)]),
        ([2], [(3, False), (4, False)]),
        # The disk was full before the crash, so that the cursor could not be moved.
        ([2, 3], [(4, False)]),
        ([2, 3, 4], []),
    ],
)
def test_what_a_sink_says_it_has_is_not_told_again(
    path: Path, kept: list[int], told: list[tuple[int, bool]]
) -> None:
    async def story() -> ASink:
        sink = ASink(knows=lambda event_id: int(event_id.rpartition("-")[2]) in kept)
        store = await _waiting_after_a_crash(path, sink)
        await _teller(store, sink).deliver_all()
        assert store.pending(sink.name) == (0, None)
        await store.aclose()
        return sink

    sink = run(story())
    assert [(one.seq, one.redelivery) for one in sink.told] == told


def test_to_a_sink_that_cannot_be_asked_what_it_may_have_goes_again_and_is_marked(
    path: Path,
) -> None:
    async def story() -> list[Event]:
        store = await _waiting_after_a_crash(path, ASink())
        sink = ASink()
        unreadable = Sink(sink.name, sink.deliver)
        await SinkWorker(unreadable, store, lambda _: None).deliver_all()
        await store.aclose()
        return sink.told

    told = [(one.seq, one.redelivery) for one in run(story())]
    assert told == [(2, True), (3, False), (4, False)]


def test_a_sink_is_asked_once_about_what_waits_and_the_one_before_it(path: Path) -> None:
    async def story() -> tuple[list[tuple[Sequence[str], str | None]], list[str]]:
        sink = ASink()
        store = await _waiting_after_a_crash(path, sink)
        ids = [stored.event_id for stored in reversed(store.history().values())]
        worker = _teller(store, sink)
        await worker.deliver_all()
        store.save(events(5))
        await worker.deliver_all()
        await store.aclose()
        return sink.asked, ids

    asked, ids = run(story())
    assert asked == [(ids[1:4], ids[0])]


def test_fault_43_a_fault_of_a_sink_is_logged_once_and_tried_again(path: Path) -> None:
    class Broken(ASink):
        async def deliver(self, event: Event) -> None:
            if self.failures:
                self.failures -= 1
                raise ZeroDivisionError
            await super().deliver(event)

    async def story() -> tuple[list[int], list[str]]:
        store, sink, failed = _open(path), Broken(failures=3), list[str]()
        store.save(events(1, 2))
        await _teller(store, sink, failed.append).deliver_all()
        await store.aclose()
        return sink.seqs, failed

    with structlog.testing.capture_logs() as logs:
        seqs, failed = run(story())
    assert seqs == [1, 2]
    assert failed == ["log"] * 3
    assert [line["event"] for line in logs] == ["sink_failed", "sink_recovered"]
    assert isinstance(logs[0]["exc_info"], ZeroDivisionError)


def test_fault_41_a_sink_that_is_down_delays_no_other(path: Path) -> None:
    async def story() -> tuple[list[int], list[int]]:
        store, well, down = _open(path), ASink(), ASink(failures=1000, name="file")
        workers = [_teller(store, sink) for sink in (well, down)]
        telling = [asyncio.create_task(worker.run()) for worker in workers]
        for seq in (1, 2):
            store.save(events(seq))
            await virtual_seconds(1)
            assert well.seqs[-1] == seq
        down.failures = 0
        for worker in workers:
            worker.finish()
        await asyncio.gather(*telling)
        await store.aclose()
        return well.seqs, down.seqs

    assert run(story()) == ([1, 2], [1, 2])


def test_a_new_sink_begins_with_what_is_decided_after_its_first_start(path: Path) -> None:
    async def story() -> list[int]:
        store, sink = _open(path), ASink(name="file")
        store.save(events(1, 2))
        await store.aclose()
        store = _open(path)
        worker = _teller(store, sink)
        store.save(events(3))
        await worker.deliver_all()
        await store.aclose()
        return sink.seqs

    assert run(story()) == [3]


# --- several at once ------------------------------------------------------------------------------

LINKS = Links("https://runbooks.example/{rule}")
CURSORS = "SELECT environment, event_row FROM cursor WHERE sink = 'log' ORDER BY environment"


def _at_once(store: Store, sink: ASink) -> SinkWorker:
    async def deliver(*events: Event) -> None:
        await (sink.deliver_many(events) if len(events) > 1 else sink.deliver(*events))

    return SinkWorker(Sink(sink.name, deliver, at_once=True), store, lambda _: None)


def test_a_backlog_goes_out_in_batches_in_order_and_the_cursor_moves_with_each(path: Path) -> None:
    class Looking(ASink):
        async def deliver_many(self, events: Sequence[Event]) -> None:
            cursors.append(select(path, CURSORS))
            await super().deliver_many(events)

    cursors = list[list[tuple[str, int]]]()

    async def story() -> ASink:
        store, sink = _open(path), Looking()
        store.save(events(*range(1, 2 * BATCH + 6)))
        await _at_once(store, sink).deliver_all()
        await store.aclose()
        return sink

    sink = run(story())
    assert sink.seqs == [*range(1, 2 * BATCH + 6)]
    assert sink.at_once == [BATCH, BATCH, 5]
    begun = ("", 0)
    assert cursors == [
        [begun],
        [begun, ("production", BATCH)],
        [begun, ("production", 2 * BATCH)],
    ]
    assert select(path, CURSORS) == [("", 2 * BATCH + 5), ("production", 2 * BATCH + 5)]


def test_a_batch_of_several_environments_moves_the_cursor_of_each(path: Path) -> None:
    async def story() -> None:
        store, sink = _open(path), ASink()
        mixed = [an_event(seq, environment="ab"[seq % 2]) for seq in (1, 2, 3)]
        store.save(Change(events=tuple(mixed)))
        await _at_once(store, sink).deliver_all()
        await store.aclose()

    run(story())
    assert select(path, CURSORS) == [("", 3), ("a", 2), ("b", 3)]


def test_of_a_batch_with_a_refused_event_the_others_are_told(path: Path) -> None:
    class Picky(ASink):
        async def deliver(self, event: Event) -> None:
            if event.seq == 2:
                raise PermanentDeliveryError("not that one")
            await super().deliver(event)

        async def deliver_many(self, events: Sequence[Event]) -> None:
            # As Alertmanager does: it takes those that are valid.
            self.at_once.append(len(events))
            raise PermanentDeliveryError("one of them is bad")

    async def story() -> tuple[ASink, int]:
        store, sink = _open(path), Picky()
        store.save(events(1, 2, 3))
        await _at_once(store, sink).deliver_all()
        waiting, _ = store.pending(sink.name)
        await store.aclose()
        return sink, waiting

    with structlog.testing.capture_logs() as logs:
        sink, waiting = run(story())
    assert (sink.at_once, sink.seqs, waiting) == ([3], [1, 3], 0)
    assert [(line["event"], line["problem"]) for line in logs] == [
        ("event_refused", "not that one")
    ]


def test_a_batch_that_may_have_been_taken_is_marked_and_goes_again_whole(path: Path) -> None:
    class Late(ASink):
        async def deliver_many(self, events: Sequence[Event]) -> None:
            await super().deliver_many(events)
            if len(self.at_once) == 1:
                raise UncertainDeliveryError("no answer")

    async def story() -> list[tuple[int, bool]]:
        store, sink = _open(path), Late()
        worker = _at_once(store, sink)
        store.save(events(1, 2))
        await worker.deliver_all()
        store.save(events(3))
        await worker.deliver_all()
        await store.aclose()
        return [(told.seq, told.redelivery) for told in sink.told]

    assert run(story()) == [(1, False), (2, False), (1, True), (2, True), (3, False)]


def test_fault_39_a_batch_that_cannot_be_written_is_told_all_the_same_and_never_again(
    path: Path,
) -> None:
    async def story() -> list[tuple[int, bool]]:
        store, sink = _open(path), ASink()
        worker = _at_once(store, sink)
        store.save(events(1))
        with full_disk(path):
            store.save(events(2, 3))
            await worker.deliver_all()
        store.save(events(4, 5))
        await worker.deliver_all()
        await store.aclose()
        store = _open(path)
        await _at_once(store, sink).deliver_all()
        await store.aclose()
        return [(told.seq, told.durable) for told in sink.told]

    assert run(story()) == [(1, True), (2, False), (3, False), (4, True), (5, True)]


def _dies(tmp_path: Path, path: Path, decided: int, cursor: int, kept: bytes) -> bytes:
    """Return what is in the file after a death that left so much in it, and the next start."""
    file = tmp_path / "alerts.jsonl"

    async def story() -> None:
        store = _open(path)
        store.epoch = "e"
        store.save(events(*range(1, decided + 1)))
        for event in store.undelivered("file", cursor):
            store.mark_delivered("file", event.event_id)
        await store.aclose()
        file.write_bytes(kept)
        store = _open(path)
        await SinkWorker(
            a_file_sink(file, LINKS, threaded=False), store, lambda _: None
        ).deliver_all()
        assert store.pending("file") == (0, None)
        await store.aclose()

    def _open(path: Path) -> Store:
        store = Store(path, now=START)
        store.add_sink("file")
        return store

    run(story())
    return file.read_bytes()


def _line(seq: int, *, redelivery: bool = False) -> bytes:
    return event_line(an_event(seq, epoch="e", redelivery=redelivery), LINKS)


@pytest.mark.parametrize("torn", [0, 1, -1])
@pytest.mark.parametrize("kept", range(5))
@pytest.mark.parametrize("cursor", [0, 1])
def test_fault_42_a_death_within_a_batch_leaves_each_event_once_in_the_file(
    tmp_path: Path, path: Path, cursor: int, kept: int, torn: int
) -> None:
    """Nothing of it was written, some lines, all, or half of a line; the cursor was not moved."""
    lines = [_line(seq) for seq in range(1, 6)]
    there = b"".join(lines[: cursor + kept]) + b"".join(lines[cursor + kept :][:1])[:torn]
    after = _dies(tmp_path, path, 5, cursor, there)
    if b'"event_id"' in there:
        assert after == b"".join(lines)
    else:
        # It may have been truncated by somebody; what was in it may be in no file any more.
        assert [json.loads(line)["seq"] for line in after.splitlines()] == [1, 2, 3, 4, 5]


def test_fault_39_a_cursor_that_a_full_disk_kept_back_repeats_nothing(
    tmp_path: Path, path: Path
) -> None:
    lines = [_line(seq) for seq in range(1, 3 * BATCH)]
    there = b"".join(lines[: 2 * BATCH])
    assert _dies(tmp_path, path, len(lines), 0, there) == b"".join(lines)


def test_of_a_batch_that_nobody_can_know_of_each_is_marked_and_no_later_one(
    tmp_path: Path, path: Path
) -> None:
    """The file was truncated or compressed away between a delivery and a death."""
    after = _dies(tmp_path, path, BATCH + 2, 0, b"")
    marked = [json.loads(line)["redelivery"] for line in after.splitlines()]
    assert marked == [True] * BATCH + [False] * 2


def test_what_may_have_been_truncated_after_a_copy_is_marked(tmp_path: Path, path: Path) -> None:
    (tmp_path / "alerts.jsonl.1").write_bytes(_line(1) + _line(2))
    after = _dies(tmp_path, path, 4, 0, b"")
    assert after == _line(3, redelivery=True) + _line(4, redelivery=True)
