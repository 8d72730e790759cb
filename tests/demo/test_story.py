"""The story of the demo: what a newcomer sees happen, second by second."""

import re
from collections.abc import Callable
from datetime import datetime

import pytest

from monitor.demo.campaigns import (
    CAMPAIGNS,
    CLINIC_REMINDERS,
    CRUISE_BOOKINGS,
    MOTOR_CLAIMS,
    RETAIL_LEADS,
    VACCINATION_RECALL,
    Campaign,
)
from monitor.demo.state import ApiCondition, PlatformState
from monitor.demo.story import LOOP_SECONDS, STORY, Chapter, Story

START = 1_800_000_000.0
DAY = 86_400.0

# The least time that the demo's monitor needs to see an incident and tell it: two of its 5 s polls
# (or the 5 s of api_unreachable and some probes, 2 s apart), and a moment for people to look.
LONG_ENOUGH_TO_SEE = 12.0


def told_by(elapsed: float) -> tuple[Story, list[str]]:
    narrated: list[str] = []
    story = Story(START, narrated.append)
    story.advance_to(elapsed)
    return story, narrated


def wrong_at(elapsed: float) -> dict[str, str]:
    """What the monitor's default rules find `elapsed` seconds into the story, written anew here."""
    story, _ = told_by(elapsed)
    findings = {c.name: _finding(story.state, c, START + elapsed) for c in CAMPAIGNS}
    return {name: finding for name, finding in findings.items() if finding}


def _finding(state: PlatformState, campaign: Campaign, now: float) -> str:
    config = state.config(campaign.id)
    if config is None:
        return "missing"
    if config.last_test_at is None:
        return "never tested" if now - config.created_at >= DAY else ""
    muted = "" if config.is_enabled else ", but switched off"
    if not config.last_test_success:
        return f"failed{muted}"
    return f"stale{muted}" if now - config.last_test_at >= 30 * DAY else ""


RECALL_IS_STALE = {"Vaccination recall": "stale"}


@pytest.mark.parametrize(
    ("elapsed", "wrong"),
    [
        (0, {"Motor claims": "failed"}),
        (9.9, {"Motor claims": "failed"}),
        (10, {"Motor claims": "failed", "Retail leads": "failed"}),
        (19.9, {"Motor claims": "failed", "Retail leads": "failed"}),
        (20, {"Motor claims": "failed", "Retail leads": "failed", "Cruise bookings": "stale"}),
        (28, {"Retail leads": "failed", "Cruise bookings": "stale"}),
        (36, {"Retail leads": "failed"}),
        (43, {"Retail leads": "failed, but switched off"}),
        (101.9, {"Retail leads": "failed, but switched off"}),
        (102, {"Retail leads": "failed, but switched off", "Clinic reminders": "missing"}),
    ],
)
def test_at_each_time_exactly_these_campaigns_have_something_wrong(
    elapsed: float, wrong: dict[str, str]
) -> None:
    assert wrong_at(elapsed) == RECALL_IS_STALE | wrong


def test_near_the_end_nothing_at_all_is_wrong() -> None:
    assert wrong_at(114) == {}
    assert wrong_at(119.9) == {}


@pytest.mark.parametrize(
    ("elapsed", "condition"),
    [
        (0, ApiCondition.NORMAL),
        (50, ApiCondition.RATE_LIMITED),
        (53, ApiCondition.NORMAL),
        (60, ApiCondition.DOWN),
        (76, ApiCondition.NORMAL),
        (82, ApiCondition.TOKEN_REVOKED),
        (97, ApiCondition.NORMAL),
        (119.9, ApiCondition.NORMAL),
    ],
)
def test_the_api_as_a_whole_has_its_troubles_one_after_another(
    elapsed: float, condition: ApiCondition
) -> None:
    assert told_by(elapsed)[0].state.api is condition


@pytest.mark.parametrize(
    ("holds", "seconds"),
    [
        (lambda state: state.api is ApiCondition.DOWN, 16),
        (lambda state: state.api is ApiCondition.TOKEN_REVOKED, 15),
        (lambda state: state.config(CLINIC_REMINDERS.id) is None, 12),
    ],
    ids=["the outage", "the revoked token", "the deleted config"],
)
def test_an_incident_lasts_long_enough_to_be_seen(
    holds: Callable[[PlatformState], bool], seconds: int
) -> None:
    assert sum(holds(told_by(second)[0].state) for second in range(120)) == seconds
    assert seconds >= LONG_ENOUGH_TO_SEE


def test_the_429_is_over_before_the_pause_that_it_asks_for() -> None:
    limited = [s for s in range(120) if told_by(s)[0].state.api is ApiCondition.RATE_LIMITED]
    assert len(limited) < 5


def test_the_chapters_are_in_order_and_begin_at_once_and_end_before_the_loop() -> None:
    times = [chapter.at for chapter in STORY]
    assert times == sorted(set(times))
    assert times[0] == 0
    assert times[-1] < LOOP_SECONDS


@pytest.mark.parametrize("chapter", STORY, ids=lambda chapter: f"at {chapter.at} s")
def test_a_chapter_is_told_in_one_sentence_that_fits_three_lines_of_a_terminal(
    chapter: Chapter,
) -> None:
    assert re.fullmatch(r"[A-Z][^.!?]*\.", chapter.text)
    assert len(chapter.text) <= 3 * 80


def test_a_chapter_is_told_when_it_is_due_and_not_a_moment_before() -> None:
    story, narrated = told_by(9.999)
    assert narrated == [STORY[0].text]
    story.advance_to(10.0)
    assert narrated == [STORY[0].text, STORY[1].text]


def test_a_chapter_is_told_once_however_often_the_story_is_looked_at() -> None:
    story, narrated = told_by(10.0)
    story.advance_to(10.0)
    story.advance_to(10.5)
    assert len(narrated) == 2


def test_all_chapters_that_are_overdue_are_told_in_order() -> None:
    _, narrated = told_by(119.0)
    assert narrated == [chapter.text for chapter in STORY]


def test_a_chapter_that_is_played_late_happened_when_it_was_written_to_happen() -> None:
    story, _ = told_by(17.0)
    config = story.state.config(RETAIL_LEADS.id)
    assert config is not None
    assert config.last_test_at == START + 10.0


def test_going_back_in_time_undoes_nothing_and_tells_nothing() -> None:
    story, narrated = told_by(130.0)
    before = list(narrated)
    story.advance_to(3.0)
    assert narrated == before
    assert story.state.config(RETAIL_LEADS.id) == told_by(130.0)[0].state.config(RETAIL_LEADS.id)


def test_the_next_chapter_is_due_when_the_table_says_so() -> None:
    assert told_by(0)[0].seconds_to_next(0.0) == 10.0
    assert told_by(12.0)[0].seconds_to_next(12.5) == 7.5


def test_after_the_last_chapter_comes_the_first_of_the_next_loop() -> None:
    assert told_by(116.0)[0].seconds_to_next(116.0) == 4.0
    assert told_by(120.0)[0].seconds_to_next(120.0) == 10.0


def test_an_overdue_chapter_is_due_now() -> None:
    assert told_by(0)[0].seconds_to_next(11.0) == 0.0


def test_after_two_minutes_the_story_begins_again_as_it_began() -> None:
    story, narrated = told_by(119.0)
    story.advance_to(120.0)
    assert narrated == [chapter.text for chapter in STORY] + [STORY[0].text]
    fresh = PlatformState(START + LOOP_SECONDS)
    for campaign in CAMPAIGNS:
        assert story.state.config(campaign.id) == fresh.config(campaign.id)


def test_in_a_later_loop_a_test_grows_stale_at_the_same_second_again() -> None:
    story, _ = told_by(2 * LOOP_SECONDS + 5.0)
    config = story.state.config(CRUISE_BOOKINGS.id)
    assert config is not None
    assert config.last_test_at == START + 2 * LOOP_SECONDS + 20.0 - 30 * DAY


def test_what_a_loop_changed_is_forgotten_in_the_next() -> None:
    story, _ = told_by(105.0)
    assert story.state.config(CLINIC_REMINDERS.id) is None
    story.advance_to(121.0)
    assert story.state.config(CLINIC_REMINDERS.id) is not None


def test_a_sleep_over_many_loops_tells_only_the_present_one() -> None:
    story, narrated = told_by(15.0)
    del narrated[:]
    story.advance_to(300 * LOOP_SECONDS + 12.0)
    assert narrated == [STORY[0].text, STORY[1].text]
    assert story.state.config(RETAIL_LEADS.id) == (
        told_by(300 * LOOP_SECONDS + 12.0)[0].state.config(RETAIL_LEADS.id)
    )


def test_a_campaign_that_is_put_right_is_new_tested_and_enabled() -> None:
    story, _ = told_by(114.0)
    for campaign in (CLINIC_REMINDERS, RETAIL_LEADS, VACCINATION_RECALL):
        config = story.state.config(campaign.id)
        assert config is not None
        assert config.is_enabled
        assert config.last_test_success is True
        assert config.last_test_at == START + 114.0


def test_motor_claims_is_only_mended_by_the_story() -> None:
    story, _ = told_by(27.0)
    assert story.state.run_test(MOTOR_CLAIMS.id, START + 27.0).last_test_success is False
    story.advance_to(28.0)
    assert story.state.run_test(MOTOR_CLAIMS.id, START + 29.0).last_test_success is True


def test_a_test_that_somebody_ran_is_on_record_until_the_story_begins_again() -> None:
    story, _ = told_by(1.0)
    story.state.run_test(VACCINATION_RECALL.id, START + 1.0)
    story.advance_to(100.0)
    config = story.state.config(VACCINATION_RECALL.id)
    assert config is not None
    assert config.last_test_at == START + 1.0


def test_dates_on_the_wire_are_iso_8601_in_utc_without_a_fraction() -> None:
    story, _ = told_by(10.0)
    config = story.state.config(RETAIL_LEADS.id)
    assert config is not None
    last_test_at = config.as_json()["last_test_at"]
    assert isinstance(last_test_at, str)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", last_test_at)
    assert datetime.fromisoformat(last_test_at).timestamp() == START + 10.0
