"""A campaign that waits its turn, and whose deadline comes meanwhile, goes first from then on."""

import pytest

from monitor.core.schedule import DueQueue, Priority


def a_queue() -> DueQueue:
    """Return a queue in which c's deadline is at 5; a has been waiting for the longest time."""
    queue = DueQueue()
    queue.put("a", 1.0, Priority.ROUTINE)
    queue.put("b", 2.0, Priority.NEVER_SEEN)
    queue.put("c", 3.0, Priority.ROUTINE, deadline=5.0)
    return queue


@pytest.mark.parametrize(("now", "first"), [(4.9, "b"), (5.0, "c")])
def test_from_its_deadline_on_a_campaign_goes_before_all_others(now: float, first: str) -> None:
    assert a_queue().pop(now) == first


def test_a_deadline_before_the_turn_makes_it_due_earlier() -> None:
    queue = DueQueue()
    queue.put("a", 60.0, Priority.ROUTINE, deadline=5.0)
    assert queue.next_due() == 5
    assert queue.pop(5.0) == "a"


def test_a_campaign_with_a_deadline_is_polled_once() -> None:
    queue = a_queue()
    assert len(queue) == 3
    assert [queue.pop(5.0) for _ in range(4)] == ["c", "b", "a", None]
    assert (queue.pop(60.0), queue.next_due(), len(queue)) == (None, None, 0)
