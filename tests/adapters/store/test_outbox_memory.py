"""What the outbox knows before the disk does: the moments between a COMMIT and its report."""

from monitor.adapters.store import StoredEvent
from monitor.adapters.store.outbox import Outbox
from support.state_files import SINK, an_event

EPOCH = "0badcafe"


def stored(seq: int) -> StoredEvent:
    return StoredEvent(seq, f"id-{seq}", EPOCH, an_event(seq))


def queued(*seqs: int) -> Outbox:
    outbox = Outbox({SINK: 0}, newest_row=0)
    outbox.queued({f"id-{seq}": an_event(seq) for seq in seqs})
    return outbox


def seqs(outbox: Outbox) -> list[int]:
    return [event.seq for event in outbox.untold(SINK)]


def test_an_event_is_untold_until_it_is_told_or_stored() -> None:
    outbox = queued(1, 2, 3)
    outbox.mark_told(SINK, "id-1")
    outbox.stored(("id-2",))
    assert seqs(outbox) == [3]


def test_an_event_read_from_disk_before_its_commit_is_reported_is_not_told_twice() -> None:
    outbox = queued(1, 2)
    run, _ = outbox.to_tell(SINK, [(1, stored(1))])
    assert [event.row_id for event in run] == [1]
    assert seqs(outbox) == [2]


def test_an_event_told_from_memory_is_passed_over_when_it_turns_up_on_disk() -> None:
    outbox = queued(1, 2)
    outbox.mark_told(SINK, "id-1")
    run, passed = outbox.to_tell(SINK, [(1, stored(1)), (2, stored(2))])
    assert [event.row_id for event in run] == [2]
    assert passed == 1


def test_a_run_ends_before_what_must_be_passed_over() -> None:
    outbox = queued(1, 2, 3)
    outbox.mark_told(SINK, "id-2")
    rows = [(seq, stored(seq)) for seq in (1, 2, 3)]
    run, passed = outbox.to_tell(SINK, rows)
    assert ([event.row_id for event in run], passed) == ([1], None)
    run, passed = outbox.to_tell(SINK, rows[1:])
    assert ([event.row_id for event in run], passed) == ([3], 2)


def test_what_was_told_to_one_sink_was_not_told_to_another() -> None:
    outbox = queued(1)
    outbox.mark_told(SINK, "id-1")
    assert [event.seq for event in outbox.untold("file")] == [1]


def test_a_sink_without_a_cursor_starts_at_the_newest_row() -> None:
    outbox = Outbox({SINK: 3}, newest_row=7)
    assert (outbox.cursor(SINK), outbox.cursor("file")) == (3, 7)
    assert (outbox.knows(SINK), outbox.knows("file")) == (True, False)


def test_what_was_passed_over_is_not_remembered_any_longer() -> None:
    outbox = queued(1)
    outbox.mark_told(SINK, "id-1")
    rows = [(1, stored(1))]
    assert outbox.to_tell(SINK, rows) == ([], 1)
    assert outbox.to_tell(SINK, rows) == ([stored(1)], None)
