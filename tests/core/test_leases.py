"""Who polls an environment: what a replica decides by what it sees in the table of leases."""

import subprocess
import sys
from collections.abc import Iterable
from dataclasses import replace
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.core.leases import (
    LASTS,
    DatabaseClock,
    Decision,
    Lease,
    Replica,
    Seen,
    StateUnavailable,
    decide,
)
from monitor.core.model import MINUTE, Event, Seconds, Severity
from monitor.core.status import Alert
from support.builders import NOW
from support.timeline import in_a_word

OLD = 3600.0


def a_replica(
    name: str,
    *environments: str,
    config: str = "c1",
    age: Seconds = OLD,
    config_age: Seconds | None = None,
    lives: Seconds = LASTS,
) -> Replica:
    config_at = NOW - (age if config_age is None else config_age)
    address = "10.0.0.7:10022"  # two may well have the same, behind one proxy
    return Replica(
        name, address, frozenset(environments or ("e",)), config, config_at, NOW - age, NOW + lives
    )


def a_lease(
    holder: str = "", *, ends: Seconds = 20.0, name: str = "e", moved: Seconds = OLD
) -> Lease:
    return Lease(name, holder, f"fence-of-{holder}", NOW + ends, NOW - moved)


def seen(replicas: Iterable[Replica], *leases: Lease) -> Seen:
    return Seen(NOW, tuple(replicas), {one.environment: one for one in leases})


def decided(me: Replica, others: Iterable[Replica], *leases: Lease, held: str = "") -> Decision:
    return decide(me, seen([me, *others], *leases), held.split())


def first_of(*names: str, environment: str = "e") -> list[str]:
    """Return names of replicas, whom rendezvous hashing names first by the specification."""
    weights = {sha256(f"{one}\0{environment}".encode()).digest(): one for one in names}
    return [weights[one] for one in sorted(weights, reverse=True)]


FIRST, SECOND, THIRD = first_of("a", "b", "c")


# --- what is taken


@pytest.mark.parametrize("ends", [0.0, -1.0, -9.9, -10.0, -3600.0])
def test_who_is_preferred_takes_what_is_free_or_has_expired(ends: float) -> None:
    me, other = a_replica(FIRST), a_replica(SECOND)
    assert decided(me, [other], a_lease(ends=ends)).take == ("e",)
    assert decided(me, [other], a_lease("dead", ends=ends)).take == ("e",)


@pytest.mark.parametrize(("ends", "takes"), [(0.0, False), (-9.9, False), (-10.0, True)])
def test_anyone_takes_what_has_been_free_for_another_ten_seconds(ends: float, takes: bool) -> None:
    me, other = a_replica(SECOND, age=60.0), a_replica(FIRST)
    for lease in (a_lease(ends=ends), a_lease("dead", ends=ends)):
        found = decided(me, [other], lease)
        assert found.take == (("e",) if takes else ())
        # And it looks again at the very instant.
        assert takes or found.look_in == pytest.approx(ends + 10.0)


def test_nobody_takes_what_another_holds_and_looks_when_that_ends() -> None:
    found = decided(a_replica(FIRST), [a_replica(SECOND)], a_lease(SECOND, ends=3.0))
    assert (found.take, found.look_in) == ((), 3.0)


def test_a_replica_takes_nothing_that_is_not_in_its_config() -> None:
    nothing = Replica("a", "", frozenset(), "c1", NOW - OLD, NOW - OLD, NOW + LASTS)
    assert decided(nothing, [], a_lease(ends=-100.0)) == Decision()
    assert decided(a_replica("a", "f"), [], a_lease(ends=-100.0), a_lease("x", name="f")).take == ()


def test_an_environment_without_a_row_is_for_who_is_preferred() -> None:
    assert decided(a_replica(FIRST), [a_replica(SECOND)]).take == ("e",)
    assert decided(a_replica(SECOND), [a_replica(FIRST)]).take == ()


def test_what_is_ours_in_the_table_but_not_here_is_taken_anew() -> None:
    # The answer to the take was lost; or the right has ended, and nobody else took it.
    assert decided(a_replica(SECOND), [a_replica(FIRST)], a_lease(SECOND)).take == ("e",)


@pytest.mark.parametrize(("age", "takes"), [(29.0, False), (30.0, True)])
def test_who_is_new_waits_a_whole_lease_before_it_believes_that_one_has_expired(
    age: float, takes: bool
) -> None:
    # A database whose clock stepped a moment ago shows leases as expired that are not.
    found = decided(a_replica("a", age=age), [], a_lease("b", ends=-60.0))
    assert (found.take == ("e",)) is takes
    assert takes or found.look_in == pytest.approx(LASTS - age)


def test_those_that_start_together_share_and_do_not_race() -> None:
    names = [f"e{n}" for n in range(30)]
    leases = [a_lease(name=name, ends=-60.0) for name in names]
    all_of_them = [a_replica(one, *names, age=3.0) for one in "abc"]
    shares = [decide(me, seen(all_of_them, *leases), ()).take for me in all_of_them]
    alone = a_replica("a", *names, age=2.0)
    assert decided(alone, [], *leases).take == ()
    assert decided(replace(alone, started_at=NOW - 3.0), [], *leases).take == tuple(sorted(names))
    # What is free for ten seconds is for anyone; the others find it taken.
    assert all(share == tuple(sorted(names)) for share in shares)
    fresh = [replace(one, expires_at=NOW) for one in leases]
    shares = [decide(me, seen(all_of_them, *fresh), ()).take for me in all_of_them]
    assert sorted(name for share in shares for name in share) == sorted(names)
    assert min(map(len, shares)) > 3


@pytest.mark.parametrize("ends", [36.0, 60.0, 3600.0])
def test_a_lease_that_ends_later_than_any_can_was_written_by_a_clock_that_stepped(
    ends: float,
) -> None:
    # Who lives has renewed it since.
    assert decided(a_replica("a"), [], a_lease("dead", ends=ends)).take == ("e",)
    dead = a_replica(FIRST, lives=ends)
    assert decided(a_replica(SECOND), [dead], a_lease(ends=0.0)).take == ("e",)


# --- who is preferred


def test_the_newest_config_is_preferred_and_then_who_has_lived_for_two_minutes() -> None:
    newer = a_replica(THIRD, config="c2", age=121.0)
    old = [a_replica(FIRST), a_replica(SECOND)]
    assert decided(old[0], [old[1], newer], a_lease(FIRST), held="e").hand_over == "e"
    young = a_replica(THIRD, config="c2", age=119.0)
    assert decided(old[0], [old[1], young], a_lease(FIRST), held="e").hand_over is None
    # But what is free goes where it will have to go: a rolling update moves nothing to and fro.
    assert decided(young, old, a_lease(ends=0.0)).take == ("e",)
    assert decided(old[0], [old[1], young], a_lease(ends=0.0)).take == ()


def test_the_same_config_has_the_age_of_who_loaded_it_first() -> None:
    # `b` came back with what `a` has had for an hour: that is no newer than what `c` has.
    again = a_replica("b", config="c1", age=60.0)
    newer = a_replica("c", config="c2", age=600.0)
    me = a_replica("a", config="c1")
    assert decided(me, [again, newer], a_lease("a"), held="e").hand_over == "e"
    assert decided(newer, [me, again], a_lease("c"), held="e").hand_over is None


def test_a_reload_that_reaches_one_after_the_other_moves_nothing_for_two_minutes() -> None:
    reloaded = a_replica(SECOND, config="c2", config_age=60.0)
    me = a_replica(FIRST)
    assert decided(me, [reloaded], a_lease(FIRST), held="e").hand_over is None
    settled = a_replica(SECOND, config="c2", config_age=120.0)
    assert decided(me, [settled], a_lease(FIRST), held="e").hand_over == "e"


def test_where_the_newest_config_has_no_such_environment_an_older_one_keeps_it() -> None:
    other = a_replica(THIRD, "f", config="c2", age=600.0)
    me = a_replica("a", "e", "f")
    leases = a_lease("a"), a_lease(THIRD, name="f")
    assert decided(me, [other], *leases, held="e").hand_over is None


def test_rendezvous_is_the_same_in_every_process_and_moves_no_more_than_it_must() -> None:
    names = [f"e{n}" for n in range(1000)]
    all_of_them = [a_replica(one, *names) for one in "abcd"]

    def shares(replicas: list[Replica]) -> dict[str, str]:
        leases = [a_lease(name=name, ends=0.0) for name in names]
        found = {me.id: decide(me, seen(replicas, *leases), ()).take for me in replicas}
        return {name: holder for holder, mine in found.items() for name in mine}

    with_all, without_d = shares(all_of_them), shares(all_of_them[:3])
    assert len(with_all) == len(without_d) == 1000
    assert all(200 < list(with_all.values()).count(one) < 300 for one in "abcd")
    assert {name for name in names if with_all[name] != without_d[name]} == {
        name for name in names if with_all[name] == "d"
    }
    assert all(with_all[name] == first_of(*"abcd", environment=name)[0] for name in names)


def test_the_weights_do_not_depend_on_the_process() -> None:
    # As `hash` of a string does.
    code = "\n".join(
        [
            "from monitor.core.leases import *",
            "all = [Replica(n, '', frozenset(['e']), 'c', 0, 0, 1020) for n in 'abc']",
            "lease = Lease('e', '', '', 1000, 0)",
            "seen = Seen(1000, tuple(all), {'e': lease})",
            "print(*[one.id for one in all if decide(one, seen, ()).take])",
        ]
    )
    said = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": seed},
            check=True,
            capture_output=True,
            text=True,
        ).stdout.strip()
        for seed in ("1", "2")
    }
    assert said == {FIRST}


# --- what is handed over


def test_who_holds_what_another_is_preferred_for_hands_it_over_one_at_a_time() -> None:
    names = ["e1", "e2", "e3", "e4", "e5", "e6"]
    me, other = a_replica("a", *names), a_replica("b", *names)
    leases = [a_lease("a", name=name) for name in names]
    theirs = [name for name in names if first_of("a", "b", environment=name)[0] == "b"]
    assert len(theirs) > 1
    found = decided(me, [other], *leases, held=" ".join(names))
    assert (found.hand_over, found.take) == (theirs[0], ())
    # The next only when somebody has that.
    leases[names.index(theirs[0])] = a_lease(name=theirs[0], ends=-1.0)
    held = " ".join(name for name in names if name != theirs[0])
    assert decided(me, [other], *leases, held=held).hand_over is None
    leases[names.index(theirs[0])] = a_lease("b", name=theirs[0])
    assert decided(me, [other], *leases, held=held).hand_over == theirs[1]


@pytest.mark.parametrize(("moved", "moves"), [(0.0, False), (599.0, False), (600.0, True)])
def test_an_environment_is_handed_over_at_most_once_in_ten_minutes(
    moved: float, moves: bool
) -> None:
    me, other = a_replica(SECOND), a_replica(FIRST)
    found = decided(me, [other], a_lease(SECOND, moved=moved), held="e")
    assert found.hand_over == ("e" if moves else None)


@pytest.mark.parametrize("moved", [-1.0, -30.0])
def test_nor_where_the_database_clock_stepped_back_over_the_last_move(moved: float) -> None:
    me, other = a_replica(SECOND), a_replica(FIRST)
    assert decided(me, [other], a_lease(SECOND, moved=moved), held="e").hand_over is None


def test_who_expects_to_be_handed_something_looks_often_enough() -> None:
    me, other = a_replica(FIRST), a_replica(SECOND)
    assert decided(me, [other], a_lease(SECOND, ends=25.0)).look_in == 5.0
    assert decided(other, [me], a_lease(SECOND, ends=25.0), held="e").look_in == 5.0
    assert decided(other, [me], a_lease(FIRST, ends=25.0)).look_in == 10.0
    # From the start on: it does not know when it will be settled in the eyes of the others.
    young = a_replica(FIRST, age=60.0)
    assert decided(young, [other], a_lease(SECOND, ends=25.0)).look_in == 5.0


# --- what no config has any more


@pytest.mark.parametrize(("free_for", "gone"), [(299.0, False), (300.0, True)])
def test_what_no_live_replica_has_had_for_five_minutes_is_buried(
    free_for: float, gone: bool
) -> None:
    me, left = a_replica("a", "e"), a_lease(name="left", ends=-free_for)
    assert decided(me, [], a_lease("a"), left, held="e").bury == (("left",) if gone else ())
    having = a_replica("b", "left")
    assert decided(me, [having], a_lease("a"), left, held="e").bury == ()


def test_who_has_not_run_for_five_minutes_buries_nothing() -> None:
    # The others may not have started yet, with a config that has it.
    left = a_lease(name="left", ends=-86400.0)
    assert decided(a_replica("a", age=299.0), [], left).bury == ()
    assert decided(a_replica("a", age=300.0), [], left).bury == ("left",)


# --- properties

REPLICAS = st.lists(
    st.builds(
        a_replica,
        st.sampled_from("abcdef"),
        st.sampled_from(["e", "f"]),
        config=st.sampled_from(["c1", "c2"]),
        age=st.floats(0, 400),
        config_age=st.floats(0, 400),
        lives=st.floats(-20, 30),
    ),
    min_size=1,
    max_size=5,
    unique_by=lambda one: one.id,
)
LEASES = st.builds(
    a_lease,
    st.sampled_from(["", *"abcdef"]),
    ends=st.floats(-60, 30),
    moved=st.floats(0, 1200),
).map(lambda one: one if one.holder else replace(one, expires_at=min(one.expires_at, NOW)))


def preferred_by_model(replicas: list[Replica], name: str) -> str | None:
    """Return who is preferred, by the sentence of the specification, word by word."""
    live = [one for one in replicas if one.expires_at > NOW]
    ages = {one.config: min(r.config_at for r in live if r.config == one.config) for one in live}
    having = [one for one in live if name in one.environments]
    if not having:
        return None
    newest = max((ages[one.config], one.config) for one in having)[1]
    newest_ones = [one for one in having if one.config == newest]
    lived = [
        one for one in newest_ones if NOW - one.started_at >= 120 and NOW - ages[newest] >= 120
    ]
    return first_of(*[one.id for one in lived or newest_ones], environment=name)[0]


@given(REPLICAS, LEASES)
def test_the_decision_and_the_model_are_of_one_mind(replicas: list[Replica], lease: Lease) -> None:
    wanted = preferred_by_model(replicas, "e")
    for me in (one for one in replicas if one.expires_at > NOW):
        mine = lease.holder == me.id
        found = decide(me, seen(replicas, lease), {"e"} if mine else set())
        taken = "e" in found.take
        if taken:
            assert "e" in me.environments
            assert not mine
            assert lease.holder == "" or lease.expires_at <= NOW
            assert me.id == wanted or lease.expires_at <= NOW - 10
        if not mine and me.id == wanted and lease.expires_at <= NOW and NOW - me.started_at >= 30:
            assert taken
        if found.hand_over is not None:
            assert mine
            assert me.id != wanted
            assert NOW - lease.moved_at >= 600
        assert 0 < found.look_in <= 10


# --- the database's clock


@given(
    st.floats(-1e6, 1e6),
    st.floats(-0.02, 0.02),
    st.lists(st.tuples(st.floats(0.5, 30), st.floats(0, 5), st.floats(0, 1)), max_size=30),
)
def test_a_clock_that_only_drifts_never_steps_however_late_the_answers(
    offset: float, drift: float, answers: list[tuple[float, float, float]]
) -> None:
    clock: DatabaseClock | None = None
    elapsed = 5.0
    for wait, trip, part in answers:
        sent = elapsed + wait
        read = sent + trip * part
        before = None if clock is None else clock.now(sent + trip)
        clock, stepped = DatabaseClock.after(clock, offset + read * (1 + drift), sent, sent + trip)
        assert not stepped
        elapsed = sent + trip
        now = offset + elapsed * (1 + drift)
        assert abs(clock.now(elapsed) - now) <= trip + 0.04 * (wait + trip) + 1e-6
        # And it is moved by no more than it was wrong when the database was read.
        if before is not None:
            assert abs(clock.now(elapsed) - before) <= abs(before - now) + 0.02 * trip + 1e-6


@pytest.mark.parametrize("step", [-3600.0, -30.0, -2.0, 2.0, 30.0, 3600.0])
def test_a_step_beyond_the_round_trip_and_the_drift_is_seen(step: float) -> None:
    clock, _ = DatabaseClock.after(None, NOW, 100.0, 100.2)
    after, stepped = DatabaseClock.after(clock, NOW + 10 + step, 110.0, 110.2)
    assert stepped
    assert after.now(110.1) == pytest.approx(NOW + 10 + step)
    # The next answer agrees with it.
    assert DatabaseClock.after(after, NOW + 20 + step, 120.0, 120.2)[1] is False


def test_a_quick_answer_makes_it_more_exact_and_a_slow_one_no_less() -> None:
    clock, _ = DatabaseClock.after(None, NOW + 4.0, 100.0, 104.0)
    assert clock.now(104.0) == NOW + 6.0  # it may have been read at any instant
    quick, _ = DatabaseClock.after(clock, NOW + 10.0, 110.0, 110.0)
    assert quick.now(110.0) == pytest.approx(NOW + 10.0, abs=0.05)
    slow, _ = DatabaseClock.after(quick, NOW + 22.0, 120.0, 124.0)
    assert slow.now(124.0) == pytest.approx(quick.now(124.0), abs=0.3)


# --- without the database


def looks(*ages: Seconds | None, rule: StateUnavailable | None = None) -> list[Event]:
    """Return the events where the database has not answered for so long; None: it answers."""
    alert, events, rule = Alert(rule="state_unavailable"), list[Event](), rule or StateUnavailable()
    for number, age in enumerate(ages):
        now = NOW + 10 * number
        since = None if age is None else now - age
        alert, more = rule.look(alert, since, "connection refused", now, {})
        events += more
    return events


def test_after_two_minutes_it_is_said_once_and_its_end_as_well() -> None:
    events = looks(None, 0.0, 119.9, 120.0, 130.0, 9000.0, None, None)
    assert [in_a_word(one) for one in events] == ["fired", "resolved"]
    fired, over = events
    assert fired.severity is Severity.CRITICAL
    assert fired.since == NOW + 30 - 120.0
    assert fired.summary.endswith(": connection refused")
    assert "state.url" in fired.next_step
    assert (over.reason, over.severity) == ("recovered", Severity.CRITICAL)


def test_what_comes_back_within_two_minutes_is_nothing() -> None:
    assert looks(0.0, 100.0, None, 50.0, None) == []
    assert looks(120.0, rule=StateUnavailable(after=3 * MINUTE)) == []


def test_it_is_one_alert_for_all_replicas_and_of_no_environment() -> None:
    (here, *_), (there, *_) = looks(120.0), looks(500.0)
    assert here.fingerprint == there.fingerprint
    assert (here.environment, here.campaign_id) == ("", None)
