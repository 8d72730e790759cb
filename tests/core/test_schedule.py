"""Which campaign is due next: deadlines, the unseen, the sick with a quarter, the overdue."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.core.schedule import DueQueue, Priority

DEADLINE, NEVER_SEEN, UNHEALTHY, _TEST, ROUTINE = Priority


def a_queue(*entries: tuple[str, float, Priority]) -> DueQueue:
    queue = DueQueue()
    for key, due, priority in entries:
        queue.put(key, due, priority)
    return queue


def popped(queue: DueQueue, now: float) -> list[str]:
    keys = []
    while (key := queue.pop(now)) is not None:
        keys.append(key)
    return keys


def test_an_empty_queue_has_nothing_due() -> None:
    queue = DueQueue()
    assert (queue.pop(1e9), queue.next_due(), len(queue)) == (None, None, 0)


def test_nothing_is_popped_before_it_is_due() -> None:
    queue = a_queue(("a", 10.0, ROUTINE))
    assert queue.pop(9.999) is None
    assert queue.next_due() == 10
    assert queue.pop(10.0) == "a"
    assert (queue.pop(10.0), len(queue)) == (None, 0)


def test_the_longest_overdue_goes_first() -> None:
    queue = a_queue(("b", 2.0, ROUTINE), ("c", 3.0, ROUTINE), ("a", 1.0, ROUTINE))
    assert popped(queue, 3.0) == ["a", "b", "c"]


def test_what_became_due_at_the_same_instant_goes_in_the_order_it_was_put_in() -> None:
    queue = a_queue(*((key, 1.0, ROUTINE) for key in "cab"))
    assert popped(queue, 1.0) == ["c", "a", "b"]


def test_deadlines_go_first_then_the_never_seen_whatever_is_overdue() -> None:
    queue = a_queue(
        ("routine", 1.0, ROUTINE), ("unseen", 8.0, NEVER_SEEN), ("deadline", 9.0, DEADLINE)
    )
    assert popped(queue, 10.0) == ["deadline", "unseen", "routine"]


def test_a_deadline_that_is_not_due_yet_does_not_hold_up_the_others() -> None:
    queue = a_queue(("routine", 1.0, ROUTINE), ("deadline", 9.0, DEADLINE))
    assert queue.pop(5.0) == "routine"
    assert queue.next_due() == 9


def test_the_sick_get_a_quarter_of_the_calls_while_others_are_due() -> None:
    entries = [(f"s{number}", 0.0, UNHEALTHY) for number in range(20)]
    entries += [(f"r{number}", 1.0, ROUTINE) for number in range(60)]
    kinds = "".join(key[0] for key in popped(a_queue(*entries), 1.0))
    assert kinds == "rrrs" * 20


def test_the_sick_get_all_calls_where_no_one_else_is_due() -> None:
    queue = a_queue(*((f"s{number}", 0.0, UNHEALTHY) for number in range(9)))
    assert len(popped(queue, 0.0)) == 9


def test_a_hundred_and_twenty_sick_of_five_hundred_do_not_starve_the_rest() -> None:
    """At a call a second the sick come back every minute, the others every five."""
    queue = DueQueue()
    for number in range(500):
        queue.put(f"{number}", 0.0, UNHEALTHY if number < 120 else ROUTINE)
    polls: Counter[str] = Counter()
    for now in range(3_000):
        key = queue.pop(float(now))
        if key is not None:
            polls[key] += 1
            sick = int(key) < 120
            queue.put(key, now + (60.0 if sick else 300.0), UNHEALTHY if sick else ROUTINE)
    well = [polls[f"{number}"] for number in range(120, 500)]
    assert min(well) >= 5
    assert min(polls[f"{number}"] for number in range(120)) >= 5


def test_a_campaign_that_is_put_in_again_is_moved() -> None:
    queue = a_queue(("a", 1.0, ROUTINE), ("b", 2.0, ROUTINE))
    queue.put("a", 3.0, ROUTINE)
    assert len(queue) == 2
    assert queue.next_due() == 2
    assert popped(queue, 3.0) == ["b", "a"]


def test_a_campaign_that_was_due_already_can_be_moved_and_taken_out() -> None:
    queue = a_queue(("a", 1.0, ROUTINE), ("b", 1.0, ROUTINE), ("c", 1.0, ROUTINE))
    assert queue.pop(1.0) == "a"
    queue.put("b", 5.0, ROUTINE)
    queue.discard("c")
    assert queue.pop(1.0) is None
    assert (queue.next_due(), len(queue)) == (5, 1)


def test_taking_out_what_is_not_in_changes_nothing() -> None:
    queue = a_queue(("a", 1.0, ROUTINE))
    queue.discard("b")
    queue.discard("a")
    queue.discard("a")
    assert (queue.next_due(), len(queue)) == (None, 0)


def test_what_was_due_already_can_become_a_deadline() -> None:
    queue = a_queue(("a", 1.0, ROUTINE), ("b", 1.0, ROUTINE), ("c", 1.0, ROUTINE))
    queue.pop(1.0)
    queue.put("c", 1.0, DEADLINE)
    assert popped(queue, 1.0) == ["c", "b"]


OPERATIONS = st.lists(
    st.tuples(
        st.sampled_from(["put", "discard", "pop"]),
        st.sampled_from("abcdef"),
        st.integers(0, 20),
        st.sampled_from(list(Priority)),
    ),
    max_size=60,
)


@given(OPERATIONS)
def test_the_queue_holds_what_a_plain_dict_would_and_loses_none(
    operations: list[tuple[str, str, int, Priority]],
) -> None:
    queue, plain, now = DueQueue(), dict[str, float](), 0.0
    for operation, key, number, priority in operations:
        if operation == "put":
            queue.put(key, now + number, priority)
            plain[key] = now + number
        elif operation == "discard":
            queue.discard(key)
            plain.pop(key, None)
        else:
            now += number
            due = {k for k, at in plain.items() if at <= now}
            got = queue.pop(now)
            assert (got in due) if due else (got is None)
            plain.pop(got or "", None)
        assert len(queue) == len(plain)
        assert queue.next_due() == min(plain.values(), default=None)


@pytest.mark.parametrize("priority", Priority)
def test_each_priority_alone_is_served_in_the_order_of_its_dues(priority: Priority) -> None:
    queue = a_queue(*((key, due, priority) for key, due in [("b", 2.0), ("a", 1.0), ("c", 3.0)]))
    assert popped(queue, 9.0) == ["a", "b", "c"]
