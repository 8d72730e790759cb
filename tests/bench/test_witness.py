"""What is counted of replicas: each promise that is broken is seen."""

from typing import Any

from torture.witness import Call, Record, Tally, count_calls, count_history, count_sink

ROWS = {"a-1": 1, "a-2": 2, "a-3": 3}


def event(event_id: str, seq: int = 1, status: str = "firing", **more: Any) -> Record:
    usual = {"environment": "e0", "campaign_id": "c", "rule": "failed_test", "redelivery": False}
    said = {"since": "s", "observed_at": f"at {seq}", "summary": "it failed", "fingerprint": "f"}
    return {"event_id": event_id, "seq": seq, "status": status, **usual, **said, **more}


def test_what_a_sink_had_once_and_in_order_is_well() -> None:
    tally = counted(event("a-1"), event("a-2"), event("a-3"))
    assert tally == Tally()


def test_an_event_that_a_sink_never_had_is_lost() -> None:
    assert counted(event("a-1"), event("a-3")).lost == 1


def test_a_repeat_is_to_be_marked() -> None:
    marked = counted(event("a-1"), event("a-1", redelivery=True), event("a-2"), event("a-3"))
    assert (marked.repeats, marked.unmarked) == (1, 0)
    unmarked = counted(event("a-1"), event("a-1"), event("a-2"), event("a-3"))
    assert (unmarked.repeats, unmarked.unmarked) == (1, 1)


def test_an_event_after_a_later_one_of_its_environment_is_out_of_order() -> None:
    assert counted(event("a-2"), event("a-1"), event("a-3")).disordered == 1
    other = event("a-2", environment="e1")
    assert counted(other, event("a-1"), event("a-3")).disordered == 0


def test_an_id_of_two_occurrences_is_seen() -> None:
    other = event("a-1", redelivery=True, observed_at="later")
    assert counted(event("a-1"), other, event("a-2"), event("a-3")).twice == 1


def test_a_minute_over_the_budget_is_seen_wherever_it_begins() -> None:
    calls = [Call(30 + 1.5 * number, "r0", "e0") for number in range(40)]
    assert counted_calls(calls).over_budget == 0
    assert counted_calls([*calls, Call(89.0, "r1", "e0")]).over_budget == 1
    assert counted_calls([*calls, Call(89.0, "r1", "e1")]).over_budget == 0


def test_tests_of_one_login_too_close_to_each_other_are_seen() -> None:
    assert counted_calls([], [Call(0.0, "r0", "e0"), Call(20.0, "r1", "e1")]).doubled_posts == 0
    assert counted_calls([], [Call(0.0, "r0", "e0"), Call(2.0, "r1", "e0")]).doubled_posts == 1


def test_a_history_has_each_number_once_and_ends_with_the_truth() -> None:
    fired, resolved = event("a-1"), event("a-2", 2, "resolved")
    assert history(fired, resolved, well=True) == Tally()
    assert history(fired, well=False) == Tally()
    assert len(history(fired, well=True).problems) == 1
    assert len(history(fired, event("a-3", 3, "resolved"), well=True).problems) == 1


def test_a_second_page_of_one_alert_and_one_of_another_rule_are_seen() -> None:
    assert history(event("a-1"), event("a-2", 2), well=False).invented == 1
    other = event("a-2", rule="api_unreachable")
    assert history(event("a-1"), other, well=False).invented == 1


def test_what_a_database_has_taken_back_excuses_an_alert_whose_last_event_is_gone() -> None:
    fired, resolved = event("a-1"), event("a-2", 2, "resolved")
    gone = history(fired, resolved, well=False, left={"a-1"})
    assert (gone.taken_back, gone.problems) == (1, [])
    kept = history(fired, resolved, well=False, left={"a-1", "a-2"})
    assert (kept.taken_back, len(kept.problems)) == (0, 1)


def counted(*told: Record) -> Tally:
    tally = Tally()
    count_sink(tally, "the log", told, ROWS, ordered=True)
    return tally


def counted_calls(calls: list[Call], posts: list[Call] | None = None) -> Tally:
    tally = Tally()
    count_calls(tally, calls, posts or [], budget=40, login_gap=20.0)
    return tally


def history(*told: Record, well: bool, left: set[str] | None = None) -> Tally:
    tally = Tally()
    count_history(tally, told, {("e0", "c"): well}, left)
    return tally
