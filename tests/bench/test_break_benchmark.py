"""The benchmark from the break on: the world breaks and is fixed, and figures are fair."""

from collections import Counter
from dataclasses import replace
from math import inf

import pytest

from benchmarks.nature import (
    SHARES,
    Alerts,
    Break,
    Happening,
    Kind,
    Nature,
    fleet,
    happenings,
)
from benchmarks.truth import DEFAULTS, NOBODY, THINNED, claims, figures, line
from benchmarks.watching import Logins, Run, Watched, watch
from monitor.core.model import DAY, HOUR, MINUTE, Event, EventStatus, Severity
from support.virtual import START, VirtualClock, config, run, virtual_seconds


def alert(campaign_id: str, cause: str, rule: str = "failed_test") -> Event:
    return Event(
        status=EventStatus.FIRING,
        seq=1,
        rule=rule,
        severity=Severity.CRITICAL,
        environment="production",
        campaign_id=campaign_id,
        summary="",
        since=None,
        observed_at=START,
        decided_at=START,
        evidence={"cause": f'TalkOver says: "{cause}"'},
    )


@pytest.mark.parametrize("kind", SHARES)
def test_what_breaks_is_found_by_a_test_alone_and_is_fixed_after_an_alert(kind: Kind) -> None:
    async def story() -> tuple[bool, str, bool | None, Break, str]:
        world = fleet(20, 1, START, blips=0.0)
        nature = Nature(world, VirtualClock().wall, seed=1, retried=True)
        nature.begin(2, [Happening(START + HOUR, kind, "c-00010", 0.0)])
        before = world.configs["c-00010"].last_test_at
        await virtual_seconds(2 * HOUR)
        untouched = world.configs["c-00010"].last_test_at == before
        trouble = world.trouble("c-00010")
        said = nature.test("c-00010", ours=True)
        nature.take(alert("c-00010", trouble))
        await virtual_seconds(DAY + HOUR)
        passed = said.passed and said.import_path is not False
        return untouched, trouble, passed, nature.breaks[0], world.trouble("c-00010")

    untouched, trouble, passed, broken, in_the_end = run(story())
    assert untouched
    assert trouble
    assert not passed
    assert (broken.noticed, broken.named) == (START + 2 * HOUR, True)
    assert broken.ends is not None
    assert in_the_end == ""


def test_an_alert_of_what_never_was_is_counted_as_of_a_blip_and_names_no_break() -> None:
    async def story() -> Alerts:
        world = fleet(4, 1, START, blips=1.0)
        nature = Nature(world, VirtualClock().wall, seed=1, retried=True)
        nature.test("c-00001", ours=True)
        nature.take(alert("c-00001", "Connection refused"))
        return nature.alerts

    assert run(story()) == Alerts(critical=1, of_blips=1)


def test_the_same_seed_brings_the_same_breaks_to_whoever_watches() -> None:
    one, other = (happenings(fleet(50, 1, START), 30, 1, START) for _ in range(2))
    assert one == other
    assert {happening.kind for happening in one} > {Kind.PASSWORD, Kind.FIREWALL}


def test_tests_nearer_than_the_gaps_and_one_failure_too_many_are_over_a_guard() -> None:
    logins, leads = Logins(), config("c-1", START, username="leads")
    logins.sent(leads, START)
    logins.sent(leads, START + 10 * MINUTE)
    assert (logins.at_a_host, logins.over_a_guard) == (2, 0)
    logins.sent(replace(leads, username="others"), START + 12 * MINUTE)
    assert logins.over_a_guard == 1
    for _ in range(3):
        logins.login("sftp.example", "leads", ours=True, failed=True)
    assert (logins.in_a_row, logins.over_a_guard) == (3, 2)
    logins.login("sftp.example", "leads", ours=False, failed=False)
    logins.login("sftp.example", "leads", ours=True, failed=True)
    assert logins.over_a_guard == 2


def test_a_break_that_nobody_noticed_counts_as_one_that_took_for_ever() -> None:
    breaks = [
        Break(Kind.PASSWORD, START + 2 * DAY, frozenset({"a"}), START + 2 * DAY + hours * HOUR)
        for hours in (1, 3)
    ]
    breaks += [Break(Kind.FIREWALL, START + 3 * DAY, frozenset({"a", "b"}))]
    over = Watched(
        Run(10, 90, THINNED, NOBODY), breaks, Alerts(), Logins(), Counter(), START + 90 * DAY
    )
    found = figures(over)
    assert (found.breaks, found.unnoticed) == (3, 1)
    assert (found.median, found.p99, found.alone) == (3 * HOUR, inf, 2 * HOUR)


@pytest.mark.slow
def test_the_real_polling_code_finds_what_breaks_within_a_day_and_does_no_harm() -> None:
    found = figures(watch(Run(40, 6, THINNED, DEFAULTS)))
    assert found.breaks > 0
    assert found.unnoticed == 0
    assert found.p99 <= DAY + HOUR
    assert (found.named, found.over_a_guard) == (1.0, 0)
    assert "all kept" in claims([found])
    assert "active tests, defaults" in line(found)
