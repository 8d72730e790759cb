"""What keeps connection tests from doing harm, guard by guard, as short timelines.

In a timeline each word is a minute and what happened in it to a login, or at a host:
x denied, t timed out, u no answer, k we died before one, . passed; by somebody else: F failed,
P passed.
"""

from dataclasses import replace
from typing import Any

import pytest

from monitor.core.attempt import Result, Trigger, login_of, server_of
from monitor.core.causes import kind_of
from monitor.core.connection_tests import plan, probe
from monitor.core.guards import EnvironmentTests, Guard, Guards, Hold, Reason, Suspension
from monitor.core.instants import redated
from monitor.core.model import DAY, HOUR, MINUTE, Instant, PollError, Seconds
from monitor.core.model import Reason as PollReason
from support.attempts import TESTS_ON, a_tested, an_attempt, guards_on
from support.builders import NOW, a_config

CAME_TO = {"x": "denied", "t": "timeout", "u": "unknown", ".": "passed", "k": "under way"}

Held = tuple[str, float | None] | None


def minute(number: float) -> Instant:
    return NOW + number * MINUTE


def words(timeline: str) -> list[tuple[Instant, str]]:
    return [(minute(float(word[:-1])), word[-1]) for word in timeline.split()]


def guard_after(timeline: str, *, host: bool = False) -> Guard:
    guard = Guard()
    for at, sign in words(timeline):
        if sign in "PF":
            guard = guard.recorded(at, passed=sign == "P", ours=False)
            continue
        guard = guard.begun(at)
        ended = guard.ended(an_attempt(at, CAME_TO[sign]), host=host)
        guard = guard.restored() if sign == "k" else ended
    return guard


def held(guards: Guards, now: float, **settings: Any) -> Held:
    """Return the reason and the minute until which it holds, as of a minute."""
    moved_at = settings.pop("moved_at", 0.0)
    hold = guards.hold(replace(TESTS_ON, **settings), minute(now), moved_at=moved_at)
    if hold is None:
        return None
    return hold.reason.value, None if hold.until is None else round((hold.until - NOW) / MINUTE, 3)


# --- 1: the login


@pytest.mark.parametrize(
    ("timeline", "now", "expected"),
    [
        ("", 0, None),
        ("0.", 9, ("login", 10)),
        ("0.", 10, None),
        ("0P", 9, ("login", 10)),  # a test of anybody counts
        ("0F", 9, ("login", 30)),
        # Between the first failed login and the last allowed one lies `retry_after`.
        ("0x", 29, ("login", 30)),
        ("0x", 30, None),
        ("0F", 29, ("login", 30)),
        ("0F", 30, None),
        # After two in a row there is none, and no window.
        ("0x 30x", 60, ("login", None)),
        ("0x 30x", 90 * 24 * 60, ("login", None)),
        ("0u 30x", 60, ("login", None)),
        ("0x 30k", 60, ("login", None)),
        ("0k 30k", 60, ("login", None)),
        ("0F 30x", 60, ("login", None)),
        ("0F 10F 20F", 60, None),  # people may; of theirs one counts
        # What clearly is no login failure does not count.
        ("0t 30t 60t 90t", 100, None),
        ("0t 30x 60t", 100, None),
        # A pass in between, whoever ran it.
        ("0x 30. 60x", 90, None),
        ("0x 30P 60x", 90, None),
        ("0x 30x 60P", 70, None),
        ("0x 30x 60P 70x", 100, None),
        ("0x 30x 60P 70x 100x", 200, ("login", None)),
        ("0F 30P 60x", 90, None),
        # A pass that was before is none in between.
        ("10x 40x 20P", 100, None),
        ("10x 40x 5P", 100, ("login", None)),
    ],
)
def test_a_login_has_its_failed_tests_and_then_none(
    timeline: str, now: float, expected: Held
) -> None:
    assert held(Guards(login=guard_after(timeline)), now) == expected


@pytest.mark.parametrize(
    ("failures", "timeline", "now", "expected"),
    [
        (1, "0x", 60, ("login", None)),
        (1, "0F", 60, ("login", None)),
        (3, "0x 10x", 20, ("login", 30)),
        (3, "0x 10x", 30, None),
        (3, "0x 10x 30x", 60, ("login", None)),
    ],
)
def test_how_many_it_may_have_is_a_setting(
    failures: int, timeline: str, now: float, expected: Held
) -> None:
    assert held(Guards(login=guard_after(timeline)), now, login_failures=failures) == expected


def test_one_that_is_under_way_keeps_others_away_however_long_it_takes() -> None:
    busy = Guard().begun(NOW)
    assert held(Guards(login=busy), 60) == ("login", 70)
    assert held(Guards(host=busy), 60) == ("host", 63)


@pytest.mark.parametrize(
    ("moved", "tried", "expected"),
    [
        (31, [], None),
        (30, [], ("login", None)),  # the failed test was one of the new config
        (50, [32, 40], None),
        (50, [32, 40, 45], ("login", None)),
        (24 * 60 + 46, [32, 40, 45], None),
    ],
)
def test_another_config_may_try_a_blocked_login_three_times_a_day(
    moved: float, tried: list[float], expected: Held
) -> None:
    login = replace(guard_after("0x 30x"), tries=tuple(minute(one) for one in tried))
    now = moved + 10
    assert held(Guards(login=login), now, moved_at=minute(moved)) == expected


def test_a_try_of_another_config_is_remembered() -> None:
    login = guard_after("0x 30x")
    assert Guards(login=login).changed(TESTS_ON, minute(40), minute(41))
    assert login.begun(minute(41), changed=True).tries == (minute(41),)
    assert login.begun(minute(41)).tries == ()


def test_somebodys_word_that_it_is_well_clears_a_login() -> None:
    login = guard_after("0x 30x").cleared(minute(50))
    assert held(Guards(login=login), 50) is None


@pytest.mark.parametrize(
    ("cause", "kind"),
    [
        ("Authentication failed", "login"),
        ("Permission denied (publickey,password)", "login"),
        ("Login incorrect", "login"),
        ("Authentication timed out", "login"),  # the server has counted it
        ("Connection timed out after 30 s", "timeout"),
        ("Connection time-out", "timeout"),
        ("Connection refused", "refused"),
        ("Unable to connect to host: sftp.example.com", "refused"),
        ("No route to host", "refused"),
        ("Cannot connect to sftp.example:22. Error 110. Connection timed out", "timeout"),
        ("Could not login with username: retail, host: sftp.example", "login"),
        ("Unable to authenticate using a private key.", "login"),
        ("Connection closed by server", "other"),  # perhaps after a wrong password
        ("The authenticity of host sftp.example can't be established.", "host_key"),
        ("Cannot connect to x: getaddrinfo failed: Name or service not known", "dns"),
        ("Could not resolve hostname", "dns"),
        ("Name or service not known", "dns"),
        ("Host key verification failed", "host_key"),
        ("No such directory: /in", "path"),
        ("Folder /inbox does not exist", "path"),
        ("", "other"),
        ("SFTP connection failed", "other"),
        ("Что-то пошло не так", "other"),
    ],
)
def test_a_failure_counts_for_a_login_unless_its_words_clearly_say_otherwise(
    cause: str, kind: str
) -> None:
    assert kind_of(cause) == kind
    attempt = an_attempt(NOW, "denied", cause=cause)
    assert attempt.login_failed is (kind in {"login", "other"})


def test_a_login_is_a_user_at_a_host_and_port_however_the_host_is_written() -> None:
    logins = {
        login_of(a_config(host=host, port=port, username="retail"))
        for host, port in [("sftp.example", 22), ("SFTP.Example.", None), ("sftp.example.", 22)]
    }
    assert logins == {"retail@sftp.example:22"}
    assert server_of(a_config(port=2222)) == "sftp.example:2222"


# --- 2: the host


@pytest.mark.parametrize(
    ("timeline", "now", "expected"),
    [
        ("0.", 2, ("host", 3)),
        ("0.", 3, None),
        ("0x 3x", 10, None),
        ("0x 3x 6x", 10, ("host", 366)),
        ("0x 3x 6x", 366, None),
        ("0x 3u 6k", 10, ("host", 366)),  # a restart forgets nothing
        ("0x 30x 60x", 70, ("host", 420)),
        ("0x 30x 61x", 70, None),
        ("0x 3. 6x 9. 12x", 20, ("host", 372)),  # other users pass meanwhile
        ("0t 3t 6t 9t", 20, None),  # nobody is banned for a time-out
        ("0F 3F 6F", 20, None),
        ("0x 3x 6x 400x", 410, None),
        ("0x 3x 6x 400x 410x 420x", 430, ("host", 780)),
    ],
)
def test_after_three_failed_logins_within_an_hour_a_host_is_left_alone_for_six(
    timeline: str, now: float, expected: Held
) -> None:
    assert held(Guards(host=guard_after(timeline, host=True)), now) == expected


# --- 3: everybody


def everybody(timeline: str) -> EnvironmentTests:
    """Return an environment after tests; each word has a host's letter before its sign."""
    tests = EnvironmentTests(on_since=NOW - DAY)
    for word in timeline.split():
        at, host, sign = minute(float(word[:-2])), word[-2], word[-1]
        attempt = an_attempt(at, CAME_TO[sign], server=f"{host}:22", campaign_id=f"c-{host}")
        tests = tests.ended(attempt, at)
    return tests


@pytest.mark.parametrize(
    ("timeline", "since"),
    [
        ("0at 1bt", None),
        ("0at 1bt 2ct", 2),
        ("0ax 1bu 2ct", 2),
        ("0at 1at 2bt", None),
        ("0at 1bt 2at 3bt 4at", None),  # two hosts keep their own alerts
        ("0at 1bt 2c. 3ct", None),
        ("0at 1bt 2c. 3at 4bt", None),
        ("0at 1bt 2c. 3at 4bt 5ct", 5),
        ("0at 1bt 2ct 3at 13at", 2),
        ("0at 1bt 2ct 12a.", None),
        ("0at 1bt 2ct 12a. 13at 14bt", None),
    ],
)
def test_when_the_last_three_failed_at_three_hosts_it_is_the_platform(
    timeline: str, since: float | None
) -> None:
    tests = everybody(timeline)
    assert tests.failing_since == (None if since is None else minute(since))
    expected = None if since is None else Hold(Reason.EVERYBODY, None, "")
    found = Guards(environment=tests).hold(TESTS_ON, minute(60))
    assert (found and found._replace(why="")) == expected


def test_an_attempt_that_the_record_says_has_passed_speaks_for_the_platform() -> None:
    tests = everybody("0au 1bu 2cu")
    passed = an_attempt(minute(1), server="b:22", campaign_id="c-b")
    assert tests.ended(passed, minute(4)).failing_since is None
    long_ago = an_attempt(minute(-9), server="d:22", campaign_id="c-d")
    assert tests.ended(long_ago, minute(4)).failing_since == minute(2)


def test_when_it_is_over_is_remembered() -> None:
    assert everybody("0at 1bt 2ct 12a. 13b.").back_at == minute(12)
    assert everybody("0at 1bt 2c. 13b.").back_at == 0.0


def campaigns(*hosts: str, **guards: Guards) -> list[tuple[Any, Guards]]:
    """Return a campaign at each host, with its guards; the first one was the last to pass."""
    return [
        (
            a_tested(
                a_config(host=host, last_test_at=minute(-60 * 24 - number)),
                key=f"c-{host}",
                now=minute(20),
            ),
            guards.get(host, guards_on(NOW)),
        )
        for number, host in enumerate(hosts)
    ]


BLOCKED = Guards(login=guard_after("-90x -60x"))
BUSY = Guards(login=Guard(last_at=minute(15)))


@pytest.mark.parametrize(
    ("probed", "guards", "expected"),
    [
        (None, {}, (2, "c-a")),  # at once, at the host that passed last
        (-900, {}, (2, "c-a")),
        (12, {}, (22, "c-a")),  # then every 10 minutes
        (12, {"a": BLOCKED}, (22, "c-b")),
        (12, {"a": BUSY}, (22, "c-b")),
        (12, {"a": BUSY, "b": BLOCKED, "c": BLOCKED}, (25, "c-a")),
        # Only a few hosts, or all logins were spent when the platform is back.
        (12, {"a": BLOCKED, "b": BLOCKED, "c": BLOCKED}, None),
    ],
)
def test_while_tests_fail_everywhere_one_campaign_is_probed(
    probed: float | None, guards: dict[str, Guards], expected: tuple[float, str] | None
) -> None:
    tests = replace(everybody("0at 1bt 2ct"), probed_at=None if probed is None else minute(probed))
    found = probe(campaigns("a", "b", "c", "d", **guards), tests)
    assert (found and ((found[0] - NOW) / MINUTE, found[1])) == expected


def test_a_pass_of_somebody_else_makes_a_campaign_the_one_to_probe() -> None:
    # All have had their failed tests; then a user presses Test, and the login is free again.
    blocked = dict.fromkeys("abc", BLOCKED)
    pressed = a_tested(a_config(host="d"), key="c-d", now=minute(20), last_passed_at=minute(5))
    found = probe([*campaigns("a", "b", "c", **blocked), (pressed, guards_on(NOW))], everybody(
        "0at 1bt 2ct"
    ))  # fmt: skip
    assert found == (minute(2), "c-d")


def test_nobody_is_probed_who_is_not_tested_and_none_while_all_is_well() -> None:
    tests = everybody("0at 1bt 2ct")
    off = a_tested(a_config(host="a", is_enabled=False), key="c-a")
    unread = a_tested(a_config(host="b"), key="c-b", error=PollError(PollReason.TIMEOUT))
    muted = a_tested(a_config(host="c"), key="c-c", muted="paused")
    assert probe([(one, guards_on(NOW)) for one in (off, unread, muted)], tests) is None
    assert probe(campaigns("a"), EnvironmentTests()) is None


def test_routine_tests_wait_for_the_probe() -> None:
    guards = Guards(environment=everybody("0at 1bt 2ct"))
    found = plan(a_tested(a_config(last_test_at=NOW - 9 * DAY)), guards)
    assert found is not None
    assert found.at is None
    assert found.hold is not None
    assert found.hold.reason is Reason.EVERYBODY
    assert guards.hold(TESTS_ON, NOW, probe=True) is None


# --- 5: suspended


def test_a_suspension_holds_before_all_else_until_it_ends() -> None:
    blocked = guard_after("0x 30x")
    guards = Guards(login=blocked, suspended=Suspension("switched off", NOW))
    assert held(guards, 60) == ("suspended", None)
    a_day = Suspension("429", NOW, until=NOW + DAY)
    assert held(replace(guards, suspended=a_day), 60) == ("suspended", 24 * 60)
    assert held(replace(guards, suspended=a_day), 24 * 60) == ("login", None)


@pytest.mark.parametrize(
    ("refused", "suspended"),
    [
        ("a b", False),
        ("a b c", True),
        ("a a a a", False),  # of one campaign: it is that one's
        ("a b a b c", True),
        ("a b + c", False),  # one was accepted between
        ("a b + c a b", True),
    ],
)
def test_three_campaigns_turned_away_in_a_row_suspend_tests(refused: str, suspended: bool) -> None:
    tests = EnvironmentTests()
    for word in refused.split():
        turned = tests.turned_away(word, 403, NOW)
        tests = tests.ended(an_attempt(NOW), NOW) if word == "+" else turned
    assert (tests.suspended is not None) is suspended
    assert tests.suspended is None or not tests.suspended.campaign_id


def test_resuming_begins_anew() -> None:
    tests = EnvironmentTests(
        suspended=Suspension("", NOW), refused=("a", "b"), limited=(NOW,), on_since=NOW - DAY
    )
    assert tests.resumed(NOW) == EnvironmentTests(on_since=NOW)


# --- 6: it is not the API; the budget


@pytest.mark.parametrize(
    ("limited", "suspended"),
    [([0, 30], False), ([0, 30, 59], True), ([0, 30, 60], False), ([0, 61, 90, 119], True)],
)
def test_three_429_within_an_hour_suspend_tests_for_a_day(
    limited: list[float], suspended: bool
) -> None:
    tests = EnvironmentTests()
    for one in limited:
        tests = tests.slowed(minute(one), 30.0)
    assert tests.next_at == minute(limited[-1]) + 30
    last = minute(limited[-1])
    assert (tests.suspended and tests.suspended.until) == (last + DAY if suspended else None)


def test_a_suspension_that_is_over_keeps_no_other_one_off() -> None:
    over = EnvironmentTests(suspended=Suspension("429", NOW - 2 * DAY, until=NOW - DAY))
    for key in "abc":
        over = over.turned_away(key, 405, NOW)
    assert over.suspended == Suspension("the API answers 405 to connection tests", NOW)


def test_a_suspension_that_lasts_stays_as_it_is() -> None:
    why = Suspension("switched off", NOW, campaign_id="c-1")
    tests = EnvironmentTests(suspended=why)
    for key in "abc":
        tests = tests.turned_away(key, 405, NOW).slowed(NOW, 1.0)
    assert tests.suspended == why


def test_the_budgets_share_holds_tests_back() -> None:
    assert held(Guards(environment=EnvironmentTests(next_at=minute(1))), 0) == ("budget", 1)


def test_of_all_that_holds_what_ends_last_is_said() -> None:
    guards = Guards(
        login=guard_after("0."),
        host=guard_after("0x 3x 6x", host=True),
        environment=EnvironmentTests(next_at=minute(30)),
    )
    assert held(guards, 7) == ("host", 366)


# --- restart, and a wrong clock


@pytest.mark.parametrize("by", [-3 * HOUR, 3 * HOUR])
def test_after_a_step_of_our_clock_all_of_it_is_redated(by: Seconds) -> None:
    now = 60 + by / MINUTE
    login = Guards(login=redated(guard_after("0x 30x"), by=by))
    host = Guards(host=redated(guard_after("0x 3x 6x", host=True), by=by))
    assert held(login, now) == ("login", None)
    assert held(host, now) == ("host", 366 + by / MINUTE)
    tests = redated(everybody("0at 1bt 2ct"), by=by)
    assert tests.failing_since == minute(2) + by
    # What is run next is newer than what was run before the step.
    assert tests.ended(an_attempt(minute(9) + by), minute(9) + by).failing_since is None


def test_a_restart_takes_what_was_under_way_for_a_failed_test() -> None:
    assert Guard().begun(NOW).restored().failures == (NOW,)
    assert guard_after("0.").restored() == guard_after("0.")


@pytest.mark.parametrize(
    ("known", "stored", "expected"),
    [
        ("0.", "", (0, 0)),
        ("0x 20x", "0x", (20, 2)),
        ("0x 20x", "0x 30.", (30, 0)),
        ("0x", "0x 20x", (20, 2)),
        ("0x 20x 40.", "0x 20x", (40, 0)),
    ],
)
def test_what_a_fail_over_took_back_still_holds_where_it_is_known(
    known: str, stored: str, expected: tuple[float, int]
) -> None:
    guard = guard_after(stored).with_known(guard_after(known))
    assert (guard.last_at, len(guard.failures)) == (minute(expected[0]), expected[1])
    assert guard_after(stored).with_known(Guard()) == guard_after(stored)


def test_a_try_of_another_config_that_a_fail_over_took_back_still_counts() -> None:
    tried = guard_after("0x 1x").begun(minute(2), changed=True)
    assert guard_after("0x 1x").with_known(tried).tries == (minute(2),)


def test_what_never_reached_the_server_is_forgotten_but_for_the_gap() -> None:
    login = Guard().begun(NOW).withdrawn()
    assert (login.fails, held(Guards(login=login), 9)) == ((), ("login", 10))


def test_results_and_triggers_are_words() -> None:
    assert [one.value for one in Result] == ["passed", "failed", "unknown"]
    assert [one.value for one in Trigger] == [
        "schedule", "change", "confirm", "retry", "probe", "command",
    ]  # fmt: skip
