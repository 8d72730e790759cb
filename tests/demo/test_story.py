"""The story of the demo: what a newcomer sees happen, to whom, second by second."""

import re
from collections import Counter
from collections.abc import Callable
from datetime import datetime
from uuid import UUID

import pytest

from monitor.demo.story import (
    CAMPAIGNS,
    CLINIC_REMINDERS,
    CRUISE_BOOKINGS,
    DEMO_TOKEN,
    LOOP_SECONDS,
    RETAIL_LEADS,
    STORY,
    VACCINATION_RECALL,
    Api,
    Chapter,
    SftpConfig,
    state_at,
)

START = 1_800_000_000.0
DAY = 86_400.0

# The least time that the demo's monitor needs to see an incident and tell it: two of its 5 s polls
# (or the 5 s of api_unreachable and some probes, 2 s apart), and a moment for people to look.
LONG_ENOUGH_TO_SEE = 12.0


def api_at(elapsed: float) -> Api:
    return state_at(START + elapsed, START)[0]


def configs_at(elapsed: float) -> dict[str, SftpConfig]:
    return state_at(START + elapsed, START)[1]


def instant(config: SftpConfig, name: str) -> float:
    return datetime.fromisoformat(str(config[name])).timestamp()


def wrong_at(elapsed: float) -> dict[str, str]:
    """What the monitor's default rules find `elapsed` seconds into the story, written anew here."""
    configs = configs_at(elapsed)
    findings = {c.name: _finding(configs.get(c.id), START + elapsed) for c in CAMPAIGNS}
    return {name: finding for name, finding in findings.items() if finding}


def _finding(config: SftpConfig | None, now: float) -> str:
    if config is None:
        return "missing"
    if config["last_test_at"] is None:
        return "never tested" if now - instant(config, "created_at") >= DAY else ""
    muted = "" if config["is_enabled"] else ", but switched off"
    if not config["last_test_success"]:
        return f"failed{muted}"
    return f"stale{muted}" if now - instant(config, "last_test_at") >= 30 * DAY else ""


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
        (0, Api.NORMAL),
        (50, Api.RATE_LIMITED),
        (53, Api.NORMAL),
        (60, Api.DOWN),
        (76, Api.NORMAL),
        (82, Api.TOKEN_REVOKED),
        (97, Api.NORMAL),
        (119.9, Api.NORMAL),
    ],
)
def test_the_api_as_a_whole_has_its_troubles_one_after_another(
    elapsed: float, condition: Api
) -> None:
    assert api_at(elapsed) is condition


@pytest.mark.parametrize(
    ("holds", "seconds"),
    [
        (lambda second: api_at(second) is Api.DOWN, 16),
        (lambda second: api_at(second) is Api.TOKEN_REVOKED, 15),
        (lambda second: CLINIC_REMINDERS.id not in configs_at(second), 12),
    ],
    ids=["the outage", "the revoked token", "the deleted config"],
)
def test_an_incident_lasts_long_enough_to_be_seen(
    holds: Callable[[float], bool], seconds: int
) -> None:
    assert sum(holds(second) for second in range(120)) == seconds
    assert seconds >= LONG_ENOUGH_TO_SEE


def test_the_429_is_over_before_the_pause_that_it_asks_for() -> None:
    limited = [s for s in range(120) if api_at(s) is Api.RATE_LIMITED]
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


def test_a_chapter_happens_when_it_is_written_to_happen() -> None:
    config = configs_at(17.0)[RETAIL_LEADS.id]
    assert instant(config, "last_test_at") == START + 10.0


def test_in_a_later_loop_a_test_grows_stale_at_the_same_second_again() -> None:
    config = configs_at(2 * LOOP_SECONDS + 5.0)[CRUISE_BOOKINGS.id]
    assert instant(config, "last_test_at") == START + 2 * LOOP_SECONDS + 20.0 - 30 * DAY


def test_what_a_loop_changed_is_forgotten_in_the_next() -> None:
    assert CLINIC_REMINDERS.id not in configs_at(105.0)
    assert configs_at(LOOP_SECONDS) == state_at(START + LOOP_SECONDS, START + LOOP_SECONDS)[1]


def test_a_campaign_that_is_put_right_is_new_tested_and_enabled() -> None:
    configs = configs_at(114.0)
    for campaign in (CLINIC_REMINDERS, RETAIL_LEADS, VACCINATION_RECALL):
        config = configs[campaign.id]
        assert config["is_enabled"]
        assert config["last_test_success"] is True
        assert instant(config, "last_test_at") == START + 114.0


def test_dates_on_the_wire_are_iso_8601_in_utc_without_a_fraction() -> None:
    config = configs_at(10.0)[RETAIL_LEADS.id]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", str(config["last_test_at"]))
    assert instant(config, "last_test_at") == START + 10.0


# -- Who is there ---------------------------------------------------------------------------------


def test_there_are_a_dozen_with_ids_and_names_of_their_own() -> None:
    assert len(CAMPAIGNS) == 12
    assert len({campaign.id for campaign in CAMPAIGNS}) == 12
    assert len({campaign.name for campaign in CAMPAIGNS}) == 12


def test_ids_are_random_uuids_as_the_platform_gives_them_and_stay() -> None:
    for campaign in CAMPAIGNS:
        assert UUID(campaign.id).version == 4
        assert str(UUID(campaign.id)) == campaign.id
    assert RETAIL_LEADS.id == "bcb72236-4e1a-43a8-86fe-772fbc9a2d34"


def test_hosts_belong_to_nobody() -> None:
    assert all(campaign.host.endswith(".example") for campaign in CAMPAIGNS)


def test_the_words_are_those_of_the_api() -> None:
    for campaign in CAMPAIGNS:
        assert campaign.status in {"draft", "active", "paused", "completed", "cancelled"}


def test_each_kind_of_login_and_schedule_occurs() -> None:
    assert {campaign.auth_type for campaign in CAMPAIGNS} == {"password", "private_key"}
    assert {campaign.import_schedule for campaign in CAMPAIGNS} == {"manual", "hourly", "daily"}


def test_four_teams_share_them_evenly() -> None:
    assert set(Counter(campaign.team for campaign in CAMPAIGNS).values()) == {3}


def test_all_are_enabled_but_the_one_that_was_never_tested_and_is_young() -> None:
    configs = configs_at(0)
    assert len(configs) == 12
    (young,) = (config for config in configs.values() if not config["is_enabled"])
    assert young["username"] == "spring_catalogue"
    assert young["last_test_at"] is None
    assert young["last_test_success"] is None
    assert START - instant(young, "created_at") < DAY


def test_nothing_was_tested_before_it_was_created() -> None:
    for campaign in CAMPAIGNS:
        assert campaign.tested_age is None or campaign.tested_age < campaign.created_age


def test_the_token_looks_like_no_token_of_the_real_platform() -> None:
    assert re.fullmatch(r"[a-z-]+", DEMO_TOKEN)
    assert not DEMO_TOKEN.startswith("talq")


# -- What is remembered of a config, and served ---------------------------------------------------


def test_a_failed_test_does_not_switch_the_import_off() -> None:
    assert configs_at(10.0)[RETAIL_LEADS.id]["is_enabled"]


def test_switching_off_keeps_the_test_on_record() -> None:
    before = configs_at(42.0)[RETAIL_LEADS.id]
    after = configs_at(43.0)[RETAIL_LEADS.id]
    assert after == before | {"is_enabled": False}


def test_a_deleted_config_is_gone_and_the_others_stay() -> None:
    there = configs_at(102.0)
    assert [one for one in CAMPAIGNS if one.id not in there] == [CLINIC_REMINDERS]


def test_a_config_that_was_deleted_is_made_anew() -> None:
    assert instant(configs_at(114.0)[CLINIC_REMINDERS.id], "created_at") == START + 114.0


def test_what_is_served_has_no_secret() -> None:
    for config in configs_at(0).values():
        assert not {"password", "private_key"} & config.keys()


def test_a_config_has_an_id_of_its_own_that_lasts() -> None:
    first, again = configs_at(0), configs_at(LOOP_SECONDS)
    ids = [config["id"] for config in first.values()]
    assert ids == [config["id"] for config in again.values()]
    assert len({str(UUID(str(config_id))) for config_id in ids}) == len(CAMPAIGNS)
    assert not set(ids) & {campaign.id for campaign in CAMPAIGNS}
