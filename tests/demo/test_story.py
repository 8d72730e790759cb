"""The story of the demo: what a newcomer sees happen, to whom, second by second."""

import re
from collections import Counter, defaultdict
from collections.abc import Callable
from datetime import datetime
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest

from monitor.core.attempt import Attempt, Result, Trigger
from monitor.core.guards import Guard
from monitor.demo.campaigns import (
    CAMPAIGNS,
    CLINIC_REMINDERS,
    CRUISE_BOOKINGS,
    HOST_NAMES,
    MOTOR_CLAIMS,
    RETAIL_LEADS,
    VACCINATION_RECALL,
    Campaign,
)
from monitor.demo.story import DEMO_TOKEN, LOOP_SECONDS, STORY, Api, Chapter, Loop, Play
from monitor.demo.world import Login, SftpConfig

START = 1_800_000_000.0
DAY = 86_400.0

# The least time that the demo's monitor needs to see an incident and to alert: two of its 5 s polls
# (or the 5 s of api_unreachable and some probes, 2 s apart), and a moment for people to look.
LONG_ENOUGH_TO_SEE = 12.0

# A test is due every 30 s and may wait a moment for another; a failure that is no failed login is
# confirmed after 6 s, and each test takes up to 2 s.
LONG_ENOUGH_TO_FIND = 30.0 + 2.0 + 6.0 + 2.0
RETRIED_AFTER = 8.0


def loop_at(elapsed: float) -> Loop:
    """Return the loop so long into the story, where nobody tested but who the story says did."""
    return Play(START).at(START + elapsed)


def configs_at(elapsed: float) -> dict[str, SftpConfig]:
    return loop_at(elapsed).world.configs


def wrong_at(elapsed: float) -> dict[str, str]:
    """What is wrong `elapsed` seconds into the story: in truth, or by the record, in short."""
    loop = loop_at(elapsed)
    found = {one.name: _finding(loop, one, START + elapsed) for one in CAMPAIGNS}
    return {name: finding for name, finding in found.items() if finding}


def _finding(loop: Loop, campaign: Campaign, now: float) -> str:
    config = loop.world.configs.get(campaign.id)
    if config is None:
        return "missing"
    if config.last_test_at is None:
        return "" if now - config.created_at < DAY else "never tested"
    stale = "stale" if now - config.last_test_at >= 30 * DAY else ""
    wrong = loop.world.trouble(campaign.id) or stale
    return wrong if config.is_enabled or not wrong else f"{wrong}, but switched off"


RECALL = "Vaccination recall"
FIREWALL = {"Motor claims": "Connection timed out"}
ROTATED = {"Retail leads": "Authentication failed"}
CRUISE = {"Cruise bookings": "stale"}


@pytest.mark.parametrize(
    ("elapsed", "wrong"),
    [
        (0, {RECALL: "stale"}),
        (4, {RECALL: "stale"} | FIREWALL),
        (14, {RECALL: "stale"} | FIREWALL | ROTATED),
        (19.9, {RECALL: "stale"} | FIREWALL | ROTATED),
        (20, {RECALL: "stale"} | FIREWALL | ROTATED | CRUISE),
        (30, {RECALL: "stale"} | FIREWALL | ROTATED | CRUISE | {"Clinic reminders": "missing"}),
        (38, {RECALL: "stale"} | FIREWALL | ROTATED | {"Clinic reminders": "missing"}),
        (44, {RECALL: "stale"} | FIREWALL | ROTATED),
        (49, {RECALL: "stale, but switched off"} | FIREWALL | ROTATED),
        (54, {RECALL: "stale, but switched off"} | ROTATED),
        (62, {RECALL: "stale, but switched off"}),
        (113.9, {RECALL: "stale, but switched off"}),
        (114, {}),
        (119.9, {}),
        (120, {RECALL: "stale"}),
    ],
)
def test_at_each_time_exactly_these_campaigns_have_something_wrong(
    elapsed: float, wrong: dict[str, str]
) -> None:
    assert wrong_at(elapsed) == wrong


@pytest.mark.parametrize(
    ("elapsed", "condition"),
    [
        (0, Api.NORMAL),
        (70, Api.RATE_LIMITED),
        (73, Api.NORMAL),
        (80, Api.DOWN),
        (94, Api.NORMAL),
        (98, Api.TOKEN_REVOKED),
        (110, Api.NORMAL),
        (119.9, Api.NORMAL),
    ],
)
def test_the_api_as_a_whole_has_its_troubles_one_after_another(
    elapsed: float, condition: Api
) -> None:
    assert loop_at(elapsed).api is condition


def is_wrong(campaign: Campaign) -> Callable[[float], bool]:
    return lambda second: campaign.name in wrong_at(second)


@pytest.mark.parametrize(
    ("holds", "seconds"),
    [
        (lambda second: loop_at(second).api is Api.DOWN, 14),
        (lambda second: loop_at(second).api is Api.TOKEN_REVOKED, 12),
        (is_wrong(CLINIC_REMINDERS), 14),
        (is_wrong(CRUISE_BOOKINGS), 18),
    ],
    ids=["the outage", "the revoked token", "the deleted config", "the stale test"],
)
def test_an_incident_lasts_long_enough_to_be_seen(
    holds: Callable[[float], bool], seconds: int
) -> None:
    assert sum(holds(second) for second in range(120)) == seconds
    assert seconds >= LONG_ENOUGH_TO_SEE


@pytest.mark.parametrize("campaign", [MOTOR_CLAIMS, RETAIL_LEADS], ids=lambda one: one.name)
def test_a_break_that_no_poll_sees_lasts_long_enough_to_be_found_and_confirmed_by_tests(
    campaign: Campaign,
) -> None:
    broken = [second for second in range(120) if is_wrong(campaign)(second)]
    assert broken == list(range(broken[0], broken[-1] + 1))
    assert len(broken) >= LONG_ENOUGH_TO_FIND + RETRIED_AFTER


def test_the_retry_has_time_to_find_the_open_firewall_before_the_api_has_troubles() -> None:
    assert loop_at(54 + RETRIED_AFTER + LONG_ENOUGH_TO_SEE / 2).api is Api.NORMAL
    assert loop_at(70).api is not Api.NORMAL


def test_the_429_is_over_before_the_pause_that_it_asks_for() -> None:
    limited = [s for s in range(120) if loop_at(s).api is Api.RATE_LIMITED]
    assert len(limited) < 5


# -- What is found by tests -----------------------------------------------------------------------


def test_a_break_is_on_no_record_while_nobody_tests() -> None:
    for campaign in (MOTOR_CLAIMS, RETAIL_LEADS):
        assert configs_at(50)[campaign.id].last_test_success is True


def test_whoever_tests_the_closed_firewall_finds_a_time_out_and_later_that_it_is_open() -> None:
    play = Play(START)
    tests = [play.at(START + s).world.test(MOTOR_CLAIMS.id, START + s) for s in (3, 10, 16, 60)]
    assert [one.error for one in tests] == ["", "Connection timed out", "Connection timed out", ""]


def test_the_rotated_password_fails_until_the_new_one_is_entered_and_tested_by_hand() -> None:
    play = Play(START)
    for second in (13, 30, 61):
        play.at(START + second).world.test(RETAIL_LEADS.id, START + second)
    config = play.at(START + 61).world.configs[RETAIL_LEADS.id]
    assert config.last_test_success is False
    play.at(START + 62)
    assert (config.last_test_at, config.last_test_success) == (START + 62, True)


def test_but_for_the_tests_of_the_monitor_the_server_sees_the_one_by_hand_alone() -> None:
    log = loop_at(110).server(RETAIL_LEADS).log
    since = [line for line in log if line.at > START and line.username == "retail_leads"]
    assert since == [Login(START + 62, "retail_leads", failed=False)]


def test_a_test_of_the_monitor_stays_on_record_until_the_loop_ends() -> None:
    play = Play(START)
    play.at(START + 47).world.test(MOTOR_CLAIMS.id, START + 47)
    record = play.at(START + 53).world.configs[MOTOR_CLAIMS.id]
    assert (record.last_test_at, record.last_test_success) == (START + 47, False)
    assert play.at(START + 120).world.configs[MOTOR_CLAIMS.id].last_test_success is True


def test_at_the_end_a_customer_moves_with_all_its_campaigns_and_stays_for_the_next_loop() -> None:
    before, after, later = configs_at(113), configs_at(114), configs_at(120)
    moved = {one.name for one in CAMPAIGNS if before[one.id].host != after[one.id].host}
    assert moved == {"Retail leads", "Loyalty win-back", "Spring catalogue"}
    assert before[RETAIL_LEADS.id].host == "sftp1.northwind.example"
    assert after[RETAIL_LEADS.id].host == later[RETAIL_LEADS.id].host == "sftp2.northwind.example"


def test_a_host_at_which_logins_failed_is_left_alone_for_more_than_an_hour() -> None:
    hosts = [RETAIL_LEADS.host(loop) for loop in range(HOST_NAMES + 1)]
    assert hosts.index(hosts[-1]) == 0
    assert len(set(hosts)) == HOST_NAMES
    assert HOST_NAMES * LOOP_SECONDS > 3600


def test_the_demo_goes_on_for_hours_and_its_own_failed_logins_have_no_host_left_alone() -> None:
    hosts: dict[str, Guard] = defaultdict(Guard)
    for loop in range(4 * HOST_NAMES):
        host = RETAIL_LEADS.host(loop)
        for second in (15, 23):
            attempt = Attempt(
                environment="demo",
                campaign_id=RETAIL_LEADS.id,
                server=host,
                login=f"{RETAIL_LEADS.username}@{host}",
                at=START + loop * LOOP_SECONDS + second,
                trigger=Trigger.SCHEDULE,
                result=Result.FAILED,
                cause="Authentication failed",
            )
            hosts[host] = hosts[host].begun(attempt.at).ended(attempt, host=True)
    assert {guard.blocked_until for guard in hosts.values()} == {0.0}


# -- How it is written ----------------------------------------------------------------------------


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
    assert configs_at(41.0)[CRUISE_BOOKINGS.id].last_test_at == START + 38.0


def test_in_a_later_loop_a_test_grows_stale_at_the_same_second_again() -> None:
    config = configs_at(2 * LOOP_SECONDS + 5.0)[CRUISE_BOOKINGS.id]
    assert config.last_test_at == START + 2 * LOOP_SECONDS + 20.0 - 30 * DAY


def test_what_a_loop_changed_is_forgotten_in_the_next() -> None:
    again = configs_at(LOOP_SECONDS)
    anew = Play(START + LOOP_SECONDS).at(START + LOOP_SECONDS).world.configs
    assert {one.id for one in again.values()} == {one.id for one in anew.values()}
    assert again[VACCINATION_RECALL.id] == anew[VACCINATION_RECALL.id]
    assert CLINIC_REMINDERS.id not in configs_at(35.0)
    assert CLINIC_REMINDERS.id in again


def test_a_story_that_is_begun_elsewhere_is_there_at_once() -> None:
    play = Play(START)
    play.at(START + 119)
    play.started_at = START + 119 - 30
    assert CLINIC_REMINDERS.id not in play.at(START + 119).world.configs


def test_a_clock_that_goes_back_undoes_nothing() -> None:
    play = Play(START)
    play.at(START + 62)
    assert play.at(START + 50).world.configs[RETAIL_LEADS.id].last_test_at == START + 62


def test_a_campaign_that_is_put_right_is_new_tested_and_enabled() -> None:
    for campaign, at in ((CLINIC_REMINDERS, 44.0), (VACCINATION_RECALL, 114.0)):
        config = configs_at(at)[campaign.id]
        assert config.is_enabled
        assert config.last_test_success is True
        assert config.last_test_at == START + at


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
    assert all(campaign.host(0).endswith(".example") for campaign in CAMPAIGNS)


def test_the_words_are_those_of_the_api() -> None:
    for campaign in CAMPAIGNS:
        assert campaign.status in {"draft", "active", "paused", "completed", "cancelled"}


@pytest.mark.parametrize("campaign", CAMPAIGNS, ids=lambda campaign: campaign.name)
def test_each_says_when_it_calls_as_the_api_does(campaign: Campaign) -> None:
    entry = campaign.as_json(START)
    assert ZoneInfo(str(entry["timezone"])).key == entry["timezone"]
    assert set(entry["days_of_week"]) <= set(range(1, 8))  # type: ignore[call-overload]
    earliest, latest = str(entry["earliest_call_time"]), str(entry["latest_call_time"])
    assert re.fullmatch(r"\d\d:\d\d:00", earliest)
    assert earliest < latest
    assert datetime.fromisoformat(str(entry["start_date"])).timestamp() < START


def test_each_kind_of_login_and_schedule_occurs() -> None:
    assert {campaign.auth_type for campaign in CAMPAIGNS} == {"password", "private_key"}
    assert {campaign.import_schedule for campaign in CAMPAIGNS} == {"manual", "hourly", "daily"}


def test_four_teams_share_them_evenly() -> None:
    assert set(Counter(campaign.team for campaign in CAMPAIGNS).values()) == {3}


def test_the_firewall_is_before_one_campaign_alone_and_the_rotated_login_is_one_s_own() -> None:
    configs = list(configs_at(0).values())
    for campaign, of in ((MOTOR_CLAIMS, "host"), (RETAIL_LEADS, "username")):
        own = getattr(configs_at(0)[campaign.id], of)
        assert [getattr(one, of) for one in configs].count(own) == 1


def test_all_are_enabled_but_the_one_that_was_never_tested_and_is_young() -> None:
    configs = configs_at(0)
    assert len(configs) == 12
    (young,) = (config for config in configs.values() if not config.is_enabled)
    assert young.username == "spring_catalogue"
    assert young.last_test_at is None
    assert young.last_test_success is None
    assert START - young.created_at < DAY


def test_what_is_imported_by_a_schedule_was_tested_of_late_as_a_monitor_that_tests_leaves_it() -> (
    None
):
    for campaign in CAMPAIGNS:
        age = campaign.tested_age
        assert age is None or (age < 30.0) == (campaign.import_schedule != "manual")


def test_nothing_was_tested_before_it_was_created() -> None:
    for campaign in CAMPAIGNS:
        assert campaign.tested_age is None or campaign.tested_age < campaign.created_age


def test_the_token_looks_like_no_token_of_the_real_platform() -> None:
    assert re.fullmatch(r"[a-z-]+", DEMO_TOKEN)
    assert not DEMO_TOKEN.startswith("talq")


# -- What is remembered of a config, and served ---------------------------------------------------


def test_switching_off_keeps_the_test_on_record() -> None:
    before = configs_at(48.0)[VACCINATION_RECALL.id].as_json()
    after = configs_at(49.0)[VACCINATION_RECALL.id].as_json()
    assert after == before | {"is_enabled": False}


def test_a_deleted_config_is_gone_and_the_others_stay() -> None:
    there = configs_at(30.0)
    assert [one for one in CAMPAIGNS if one.id not in there] == [CLINIC_REMINDERS]


def test_a_config_that_was_deleted_is_made_anew() -> None:
    config = configs_at(44.0)[CLINIC_REMINDERS.id]
    assert config.created_at == START + 44.0
    assert config.auth_type == "private_key"


def test_what_is_served_has_no_secret() -> None:
    for config in configs_at(0).values():
        assert config.password not in config.as_json().values()
        assert not {"password", "private_key"} & config.as_json().keys()


def test_a_config_has_an_id_of_its_own_that_lasts() -> None:
    first, again = configs_at(0), configs_at(LOOP_SECONDS)
    ids = [config.id for config in first.values()]
    assert ids == [config.id for config in again.values()]
    assert len({str(UUID(config_id)) for config_id in ids}) == len(CAMPAIGNS)
    assert not set(ids) & {campaign.id for campaign in CAMPAIGNS}
