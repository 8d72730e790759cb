"""From the outbox to a sink: in order, nothing lost, nothing doubled but for what a crash marks."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
import structlog

from monitor.adapters.sinks import Sink, UncertainDeliveryError
from monitor.adapters.store import Store
from monitor.core.model import Event
from monitor.notifier import SinkWorker
from support.state_files import events, full_disk
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
        self.asked: list[tuple[str, str | None]] = []
        self.failures = failures
        self.name = name
        self.knows = knows

    async def deliver(self, event: Event) -> None:
        if self.failures:
            self.failures -= 1
            raise OSError("nobody listens")
        self.told.append(event)

    async def has(self, event_id: str, before: str | None) -> bool | None:
        self.asked.append((event_id, before))
        return self.knows(event_id)

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
    return SinkWorker(Sink(sink.name, sink.deliver, sink.has), store, failed)


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
    first = store.undelivered(sink.name)
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


def test_a_sink_is_asked_about_an_event_and_the_one_before_it(path: Path) -> None:
    async def story() -> tuple[list[tuple[str, str | None]], list[str]]:
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
    assert asked == [(ids[1], ids[0])]


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
