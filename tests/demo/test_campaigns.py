"""The campaigns of the demo: believable, and as healthy as the first sentence of the story says."""

import re
from collections import Counter
from uuid import UUID

from monitor.demo.campaigns import CAMPAIGNS, DEMO_TOKEN
from monitor.demo.state import PlatformState

START = 1_800_000_000.0
DAY = 86_400.0


def test_there_are_a_dozen_with_ids_and_names_of_their_own() -> None:
    assert len(CAMPAIGNS) == 12
    assert len({campaign.id for campaign in CAMPAIGNS}) == 12
    assert len({campaign.name for campaign in CAMPAIGNS}) == 12


def test_ids_are_random_uuids_as_the_platform_gives_them() -> None:
    for campaign in CAMPAIGNS:
        assert UUID(campaign.id).version == 4
        assert str(UUID(campaign.id)) == campaign.id


def test_hosts_belong_to_nobody() -> None:
    assert all(campaign.host.endswith(".example") for campaign in CAMPAIGNS)


def test_the_words_are_those_of_the_api() -> None:
    for campaign in CAMPAIGNS:
        assert campaign.auth_type in {"password", "private_key"}
        assert campaign.import_schedule in {"manual", "hourly", "daily"}
        assert campaign.status in {"draft", "active", "paused", "completed", "cancelled"}
        assert campaign.campaign_type in {"sales", "follow_up", "reminder", "custom"}
        assert 1 <= campaign.port <= 65_535


def test_each_kind_of_login_and_schedule_occurs() -> None:
    assert {campaign.auth_type for campaign in CAMPAIGNS} == {"password", "private_key"}
    assert {campaign.import_schedule for campaign in CAMPAIGNS} == {"manual", "hourly", "daily"}


def test_four_teams_share_them_evenly() -> None:
    assert set(Counter(campaign.labels["team"] for campaign in CAMPAIGNS).values()) == {3}


def test_all_are_enabled_but_the_one_that_was_never_tested_and_is_young() -> None:
    state = PlatformState(START)
    configs = [config for campaign in CAMPAIGNS if (config := state.config(campaign.id))]
    assert len(configs) == 12
    (young,) = (config for config in configs if not config.is_enabled)
    assert young.campaign.name == "Spring catalogue"
    assert young.last_test_at is None
    assert young.last_test_success is None
    assert START - young.created_at < DAY


def test_nothing_was_tested_before_it_was_created() -> None:
    for campaign in CAMPAIGNS:
        assert campaign.tested_age is None or campaign.tested_age < campaign.created_age


def test_the_token_looks_like_no_token_of_the_real_platform() -> None:
    assert re.fullmatch(r"[a-z-]+", DEMO_TOKEN)
    assert not DEMO_TOKEN.startswith("talq")
