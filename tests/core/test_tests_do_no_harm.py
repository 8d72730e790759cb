"""Sixty days of connection tests on the default settings do no harm, whatever happens meanwhile.

What may be is judged by plain code with numbers of its own (testing.md), from what the servers saw.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from monitor.core.attempt import TestSettings
from monitor.core.model import SftpConfig
from support.tested_world import ZONES, Campaign, Monitor, Try, World, run

MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0
SPRING = datetime(2027, 3, 1, 7, tzinfo=UTC).timestamp()
AUTUMN = datetime(2027, 10, 1, 7, tzinfo=UTC).timestamp()
HOSTS = ("sftp.one", "sftp.two", "sftp.three", "sftp.four")

# --- what happens


class Happening(NamedTuple):
    """Something that happens `minute` minutes after the start; `what` and `to` are its kind."""

    minute: int
    what: str
    to: int
    hours: int = 1


ANSWERS = ("403", "409", "429", "500", "far")
KINDS = (
    "rotate", "replace", "enter", "down", "blip", "test", "move", "rename", "anew", "folder",
    "switch", "mute", "stored", "sent", "lost", "switches_off", "resume", *ANSWERS,
)  # fmt: skip


TROUBLE_OF_SOME = (
    "rotate", "enter", "down", "blip", "test", "move", "rename", "anew", "folder", "switch", "mute",
)  # fmt: skip


def a_world(start: float, ahead: float, shape: int) -> World:
    """Return campaigns of two environments; they share logins and hosts more or less."""
    world, campaigns = World({}, start, ahead), {}
    for number in range(12):
        host = HOSTS[number % 4 if number < 8 else 3]
        user = f"u{number % (2 + shape)}"
        key = f"c-{number}"
        config = SftpConfig(
            id=f"sftp-{number}", campaign_id=key, host=host, port=22, username=user,
            auth_type="password", import_path="/in", import_schedule="daily", is_enabled=True,
            last_test_at=start - (number % 5) * DAY, last_test_success=True, created_at=start - DAY,
        )  # fmt: skip
        environment = "eu" if number % 3 else "us"
        campaigns[key] = Campaign(key, environment, ZONES[number % len(ZONES)], config)
    return replace(world, campaigns=campaigns)


def happens(world: World, monitor: Monitor, one: Happening) -> None:
    """Have it happen."""
    campaign = world.campaigns[f"c-{one.to % 12}"]
    until = world.now + one.hours * HOUR
    match one.what:
        case "down":
            world.down_until[campaign.config.host] = until
        case "lost":
            world.lost_until[campaign.environment] = until
            world.lost_how = ("Connection timed out", "Something is wrong", "502")[one.hours % 3]
        case "stored" | "sent":
            monitor.dies = one.what
        case "switches_off":
            world.switches_off = not world.switches_off
        case "resume":
            world.resumed.append(world.now)
            for name, environment in monitor.environments.items():
                monitor.environments[name] = environment.resumed(world.now)
        case what if what in ANSWERS:
            world.next_answers.setdefault(campaign.environment, []).append(what)
        case _:
            somebody_does(world, campaign, one)


def somebody_does(world: World, campaign: Campaign, one: Happening) -> None:
    """Have a customer or a user of the platform do something."""
    match one.what:
        case "test":
            world.test(campaign.key, ours=False)
        case "rotate":
            world.passwords[campaign.login] = world.passwords.get(campaign.login, 0) + 1
        case "replace" | "enter":
            for each in world.campaigns.values():
                if one.what == "replace" and each.config.host == campaign.config.host:
                    world.passwords[each.login] = each.secret + 1
                if one.what == "enter" and each.login == campaign.login:
                    each.secret = world.passwords.get(each.login, 0)
        case "blip":
            campaign.spoilt = True
        case "folder":
            campaign.folder_lost = not campaign.folder_lost
        case "mute":
            campaign.muted = not campaign.muted
        case edit:
            edited(world, campaign, edit, one.hours)


def edited(world: World, campaign: Campaign, edit: str, number: int) -> None:
    """Have somebody edit a config."""
    config = campaign.config
    match edit:
        case "switch":
            campaign.config = replace(config, is_enabled=not config.is_enabled)
            return
        case "move":
            campaign.config = replace(config, host=HOSTS[number % 4])
        case "rename":
            campaign.config = replace(config, username=f"u{number % 5}")
        case "anew":
            campaign.config = replace(config, id=f"sftp-{number}")
    if campaign.config != config:
        world.moved[campaign.key] = world.now


def history(
    happenings: Iterable[Happening], *, start: float, days: int, ahead: float = 0.0,
    per_minute: float = 50.0, shape: int = 1,
) -> tuple[World, Monitor]:  # fmt: skip
    """Return the world and the monitor after so many days."""
    world = a_world(start, ahead, shape)
    monitor = Monitor(world, per_minute, TestSettings(enabled=True))
    events: list[tuple[float, Callable[[], None]]] = [
        (start + one.minute * MINUTE, partial(happens, world, monitor, one)) for one in happenings
    ]
    run(world, monitor, events, start + days * DAY)
    return world, monitor


# --- what may be: the judge


def were_run(world: World) -> list[Try]:
    """Return the tests that were run, without those that were turned away."""
    return [one for one in world.tries if not one.refusal]


def counts(one: Try) -> bool:
    """Return whether a test of ours counts as a failed login: denied, or nobody can say."""
    return one.ours and not one.passed and (one.denied or not one.answered)


def harm_to_logins(world: World) -> Iterator[str]:
    failed: dict[object, list[Try]] = {}
    tries: dict[object, list[float]] = {}
    for one in were_run(world):
        before = failed.setdefault(one.login, [])
        if one.passed:
            before.clear()
            continue
        if one.ours and len(before) >= 2:
            new = tries.setdefault(one.login, [])
            recent = [at for at in new if at > one.at - DAY]
            if one.moved_at <= before[-1].at or len(recent) >= 3:
                yield f"{one.login} had failed twice, and was tried again: {one}"
            new.append(one.at)
        if counts(one):
            before.append(one)


def harm_to_hosts(world: World) -> Iterator[str]:
    failed: dict[object, list[float]] = {}
    for one in were_run(world):
        before = failed.setdefault(one.server, [])
        three = len(before) >= 3 and before[-1] - before[-3] <= HOUR
        if one.ours and three and one.at < before[-1] + 6 * HOUR:
            yield f"three logins failed at {one.server}, and then: {one}"
        if counts(one):
            before.append(one.at)


def bursts(world: World, per_minute: float) -> Iterator[str]:
    by: dict[object, Try] = {}
    for one in were_run(world):
        for what, gap in ((one.login, 10 * MINUTE), (one.server, 3 * MINUTE)):
            last = by.get(what)
            both = last is not None and one.ours and last.ours
            if last and both and one.at < max(last.at + gap, 0 if last.died else last.until):
                yield f"two tests of {what} are too close: {last} {one}"
            by[what] = one
    last_of: dict[str, Try] = {}
    for one in were_run(world):
        last = last_of.get(one.campaign.key)
        # By its record, and a minute may lie between the clocks.
        if last and one.ours and one.at < last.until + 9 * MINUTE and not last.ours:
            yield f"somebody has just tested it: {last} {one}"
        last_of[one.campaign.key] = one
    for name in ("eu", "us"):
        sent = [one.at for one in world.tries if one.ours and one.campaign.environment == name]
        most = int(per_minute * 0.1 * 60) + 1
        for first, later in zip(sent, sent[most:], strict=False):
            if later - first < HOUR:
                yield f"more than {most} tests within the hour from {first} on"


def uncalled_for(world: World) -> Iterator[str]:
    last_of: dict[str, Try] = {}
    for one in world.tries:
        if not one.ours:
            continue
        if one.campaign.muted or not one.campaign.config.is_enabled:
            yield f"it is muted or switched off: {one}"
        last = last_of.get(one.campaign.key)
        path_lost = last is not None and last.passed and last.folder_lost
        if one.trigger not in {"confirm", "probe"} and not (one.trigger == "retry" and path_lost):
            zone = one.campaign.zone if "/" in one.campaign.zone[1:] else "UTC"
            zone = "UTC" if ".." in zone else zone
            local = datetime.fromtimestamp(one.at, ZoneInfo(zone))
            if not 5 <= local.hour < 20:
                yield f"it is {local}: {one}"
        if not one.refusal:
            last_of[one.campaign.key] = one


def on_the_quiet(world: World) -> Iterator[str]:
    """Yield tests while they fail everywhere that are no probes, or probes too close."""
    for name in ("eu", "us"):
        # With the tests in which the monitor died and without: it may learn of them, or not.
        all_of_them, answered = list[Try](), list[Try]()
        failing, probed = False, -DAY
        for one in world.tries:
            if not one.ours or one.campaign.environment != name:
                continue
            if failing and one.trigger != "probe":
                yield f"tests fail everywhere: {one}"
            if one.trigger == "probe":
                if one.at < probed + 10 * MINUTE:
                    yield f"the last probe was at {probed}: {one}"
                probed = one.at
            if one.refusal:
                continue
            all_of_them = [*all_of_them[-2:], one]
            answered = answered if one.died else [*answered[-2:], one]
            failing = not one.passed and (
                failing or (everywhere(all_of_them) and everywhere(answered))
            )


def everywhere(tests: list[Try]) -> bool:
    """Return whether these are three tests that failed at three hosts."""
    return len({one.server for one in tests if not one.passed}) == 3


def after_suspension(world: World) -> Iterator[str]:
    ends = [*world.resumed, float("inf")]
    for at, key in world.switched_off:
        failed = [one for one in world.tries if one.campaign.key == key and one.until == at]
        if not failed or not failed[-1].ours or failed[-1].died:
            continue
        end = min(one for one in ends if one > at)
        for one in world.tries:
            # A test that was under way in the other environment is no fault.
            if one.ours and at + MINUTE < one.at < end:
                yield f"tests were to stop when {key} was switched off at {at}: {one}"


def after_refusals(world: World) -> Iterator[str]:
    """Yield tests within a day of three 429 within an hour, or after three refusals in a row."""
    for name in ("eu", "us"):
        slowed, refused, until = list[float](), list[str](), 0.0
        tries = [one for one in world.tries if one.ours and one.campaign.environment == name]
        for last, one in pairwise([None, *tries]):
            assert one is not None
            if last is not None and any(last.at < at < one.at for at in world.resumed):
                slowed, refused, until = [], [], 0.0
            if one.at < until:
                yield f"tests were to stop until {until}: {one}"
            if one.refusal == 429:
                slowed = [at for at in slowed if at > one.at - HOUR] + [one.at]
            elif one.refusal == 403:
                refused = [key for key in refused if key != one.campaign.key] + [one.campaign.key]
            elif not one.refusal and not one.died:
                refused = []
            if len(slowed) == 3:
                slowed, until = [], one.at + DAY
            if len(refused) == 3:
                refused, until = [], float("inf")


def left_untested(world: World, since: float, until: float) -> Iterator[str]:
    """Yield healthy campaigns that were not tested within 1.5 × every and a night."""
    for key in world.campaigns:
        at = [since, *(one.at for one in were_run(world) if one.campaign.key == key), until]
        for first, later in pairwise(at):
            if later - first > 1.5 * DAY + 9 * HOUR + 2 * HOUR:
                yield f"{key} was not tested from {first} to {later}"


def harm(world: World, per_minute: float) -> list[str]:
    """Return all that must not have been."""
    return [
        *harm_to_logins(world),
        *harm_to_hosts(world),
        *bursts(world, per_minute),
        *uncalled_for(world),
        *on_the_quiet(world),
        *after_suspension(world),
        *after_refusals(world),
    ]


# --- what is held

HAPPENINGS = st.builds(
    Happening, st.integers(0, 30 * 24 * 60), st.sampled_from(KINDS), st.integers(0, 11),
    st.integers(1, 40),
)  # fmt: skip
CIRCUMSTANCES = st.fixed_dictionaries({
    "start": st.sampled_from([SPRING, AUTUMN]),
    "ahead": st.sampled_from([0.0, 20.0, -40.0, 90.0]),  # the last one is known
    "per_minute": st.sampled_from([50.0, 0.5]),
    "shape": st.integers(0, 4),
})  # fmt: skip


LONG_ONES = settings().max_examples // 8 + 1
"""Each takes a second or more."""


@pytest.mark.slow(seconds=30)
@settings(max_examples=LONG_ONES)
@given(st.lists(HAPPENINGS, max_size=120), CIRCUMSTANCES)
def test_thirty_days_of_tests_do_no_harm(
    happenings: list[Happening], circumstances: dict[str, Any]
) -> None:
    world, _ = history(happenings, days=30, **circumstances)
    assert harm(world, circumstances["per_minute"]) == []


@settings(max_examples=2)
@given(st.lists(HAPPENINGS, min_size=20, max_size=40), CIRCUMSTANCES)
def test_four_crowded_days_of_tests_do_no_harm(
    happenings: list[Happening], circumstances: dict[str, Any]
) -> None:
    crowded = [one._replace(minute=one.minute // 15) for one in happenings]
    world, _ = history(crowded, days=4, **circumstances)
    assert harm(world, circumstances["per_minute"]) == []


def each_hour(*what: str, to: int = 3, days: int = 2) -> list[Happening]:
    """Return these happenings again and again, ten minutes apart."""
    return [
        Happening(hour * 60 + number * 10, one, to, hour)
        for hour in range(24 * days)
        for number, one in enumerate(what)
    ]


STORIES = {
    "a config made anew each hour for a login that is blocked": [
        Happening(1, "replace", 3), *each_hour("anew")
    ],
    "the monitor dies each hour after sending, and passwords are wrong": [
        Happening(1, "replace", 3), Happening(1, "replace", 0), *each_hour("sent")
    ],
    "the monitor dies each hour before sending": each_hour("stored"),
    "every password at a host is another one": [Happening(1, "replace", 3)],
    "the platform has no way out for a day": [
        *(Happening(minute, "lost", to, 24) for minute in (200, 201) for to in (0, 1))
    ],
    "the platform answers nothing that is its own": [
        Happening(200, "lost", 2, 23), Happening(200, "lost", 3, 23)
    ],
    "a failed test switches the config off": [
        Happening(1, "switches_off", 0), Happening(2, "rotate", 3)
    ],
    "every answer is a 429": each_hour("429", "429", "429"),
    "every answer is a refusal": each_hour("403", "403", "403"),
    "configs are switched off and on, and campaigns muted": [
        one for to in range(12) for one in each_hour("switch", "mute", to=to)
    ],
    "every answer is late": each_hour("500", "far"),
    "somebody tests all the time": each_hour("test", "rotate", "test", "enter", "test"),
}  # fmt: skip


@pytest.mark.parametrize("per_minute", [50.0, 0.5])
@pytest.mark.parametrize("story", STORIES)
@pytest.mark.matrix(fast=2)
def test_a_story_of_two_days_does_no_harm(story: str, per_minute: float) -> None:
    world, _ = history(STORIES[story], start=SPRING, days=2, per_minute=per_minute, shape=4)
    assert harm(world, per_minute) == []


@pytest.mark.parametrize(
    ("days", "start"),
    [
        pytest.param(4, SPRING + 12 * DAY),
        pytest.param(60, SPRING, marks=pytest.mark.slow(seconds=2)),
        pytest.param(60, AUTUMN, marks=pytest.mark.slow(seconds=2)),
    ],
)
def test_a_healthy_campaign_is_tested_within_one_and_a_half_times_every_and_a_night(
    days: int, start: float
) -> None:
    world, _ = history([], start=start, days=days)
    assert list(left_untested(world, start, start + days * DAY)) == []


@pytest.mark.slow(seconds=30)
@settings(max_examples=LONG_ONES)
@given(st.lists(HAPPENINGS.filter(lambda one: one.what in TROUBLE_OF_SOME), max_size=60))
def test_whoever_has_no_trouble_is_tested_whatever_others_have(
    happenings: list[Happening],
) -> None:
    world, _ = history(happenings, start=SPRING, days=30, shape=4)
    ran = were_run(world)
    assume(all(one.trigger != "probe" for one in ran))
    troubled = {one.server for one in ran if not one.passed}
    touched = {f"c-{one.to}" for one in happenings}
    well = {
        key
        for key, one in world.campaigns.items()
        if key not in touched and (one.config.host, 22) not in troubled
    }
    left = left_untested(world, SPRING, SPRING + 30 * DAY)
    assert [one for one in left if one.split()[0] in well] == []


@pytest.mark.parametrize(
    "trouble",
    [
        [Happening(600, "lost", 0, 9), Happening(600, "lost", 1, 9)],
        [Happening(600, "down", 3, 30), Happening(600, "blip", 1)],
        [Happening(60 * hour, "stored", 0) for hour in range(1, 30, 7)],
        [Happening(600, "rotate", 3), Happening(2000, "enter", 3), Happening(2003, "test", 3)],
        [Happening(600, "429", 0), Happening(900, "409", 1), Happening(1200, "403", 2)],
    ],
)
@pytest.mark.matrix(fast=1)
def test_once_trouble_is_over_all_are_tested_as_before(trouble: list[Happening]) -> None:
    world, _ = history(trouble, start=SPRING, days=7, shape=4)
    over = SPRING + 3 * DAY
    assert list(left_untested(world, over, SPRING + 7 * DAY)) == []
