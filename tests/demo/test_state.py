"""What the stand-in platform remembers of SFTP configs, and what nobody can see of them."""

import json
from uuid import UUID

import pytest

from monitor.demo.campaigns import (
    CAMPAIGNS,
    CLINIC_REMINDERS,
    CRUISE_BOOKINGS,
    MOTOR_CLAIMS,
    RETAIL_LEADS,
    Campaign,
)
from monitor.demo.state import ApiCondition, PlatformState, SftpConfig, as_timestamp

START = 1_800_000_000.0  # 2027-01-15T08:00:00Z
LATER = START + 60.0


@pytest.fixture
def state() -> PlatformState:
    return PlatformState(START)


def config_of(state: PlatformState, campaign: Campaign) -> SftpConfig:
    config = state.config(campaign.id)
    assert config is not None
    return config


def test_at_first_the_api_is_as_it_should_be(state: PlatformState) -> None:
    assert state.api is ApiCondition.NORMAL


def test_ages_become_instants_before_the_start(state: PlatformState) -> None:
    for campaign in CAMPAIGNS:
        config = config_of(state, campaign)
        assert START - config.created_at == campaign.created_age
        if campaign.tested_age is not None:
            assert config.last_test_at == START - campaign.tested_age


def test_a_later_start_moves_every_instant_with_it(state: PlatformState) -> None:
    moved = config_of(PlatformState(START + 120.0), CRUISE_BOOKINGS)
    original = config_of(state, CRUISE_BOOKINGS)
    assert original.last_test_at is not None
    assert moved.last_test_at == original.last_test_at + 120.0
    assert moved.created_at == original.created_at + 120.0


def test_nothing_is_known_of_an_id_that_is_no_campaign(state: PlatformState) -> None:
    assert state.config("no-such-campaign") is None
    with pytest.raises(KeyError):
        state.run_test("no-such-campaign", LATER)


def test_a_broken_server_is_not_noticed_before_a_test(state: PlatformState) -> None:
    before = config_of(state, RETAIL_LEADS).as_json()
    state.set_login_error(RETAIL_LEADS, "Authentication failed")
    assert config_of(state, RETAIL_LEADS).as_json() == before


def test_a_mended_server_is_not_noticed_before_a_test(state: PlatformState) -> None:
    state.set_login_error(MOTOR_CLAIMS, None)
    assert config_of(state, MOTOR_CLAIMS).last_test_success is False
    state.run_test(MOTOR_CLAIMS.id, LATER)
    assert config_of(state, MOTOR_CLAIMS).last_test_success is True


def test_a_test_records_its_instant_and_its_result_and_nothing_else(state: PlatformState) -> None:
    before = config_of(state, RETAIL_LEADS).as_json()
    state.run_test(RETAIL_LEADS.id, LATER)
    after = config_of(state, RETAIL_LEADS).as_json()
    assert after == before | {"last_test_at": "2027-01-15T08:01:00Z", "last_test_success": True}


def test_a_failed_test_does_not_switch_the_import_off(state: PlatformState) -> None:
    state.set_login_error(RETAIL_LEADS, "Authentication failed")
    assert state.run_test(RETAIL_LEADS.id, LATER).is_enabled


def test_switching_off_keeps_the_test_on_record(state: PlatformState) -> None:
    before = config_of(state, RETAIL_LEADS).as_json()
    state.switch(RETAIL_LEADS, enabled=False)
    assert config_of(state, RETAIL_LEADS).as_json() == before | {"is_enabled": False}
    state.switch(RETAIL_LEADS, enabled=True)
    assert config_of(state, RETAIL_LEADS).as_json() == before


def test_a_deleted_config_is_gone_and_the_others_stay(state: PlatformState) -> None:
    state.delete(CLINIC_REMINDERS)
    gone = [campaign for campaign in CAMPAIGNS if state.config(campaign.id) is None]
    assert gone == [CLINIC_REMINDERS]


def test_a_config_made_anew_is_off_never_tested_and_works(state: PlatformState) -> None:
    state.delete(MOTOR_CLAIMS)
    state.create(MOTOR_CLAIMS, LATER)
    config = config_of(state, MOTOR_CLAIMS)
    assert config.created_at == LATER
    assert (config.is_enabled, config.last_test_at, config.last_test_success) == (False, None, None)
    assert state.run_test(MOTOR_CLAIMS.id, LATER).last_test_success is True


def test_two_platforms_share_nothing(state: PlatformState) -> None:
    other = PlatformState(START)
    other.delete(RETAIL_LEADS)
    other.api = ApiCondition.DOWN
    assert state.config(RETAIL_LEADS.id) is not None
    assert state.api is ApiCondition.NORMAL


def test_what_is_served_never_tells_how_the_customers_server_is(state: PlatformState) -> None:
    for campaign in CAMPAIGNS:
        served = config_of(state, campaign).as_json()
        assert "login_error" not in served
        assert "Connection timed out" not in json.dumps(served)


def test_what_is_served_has_no_password_and_no_key(state: PlatformState) -> None:
    for campaign in CAMPAIGNS:
        assert not {"password", "private_key"} & config_of(state, campaign).as_json().keys()


def test_a_config_has_an_id_of_its_own_that_lasts(state: PlatformState) -> None:
    ids = [config_of(state, campaign).as_json()["id"] for campaign in CAMPAIGNS]
    again = PlatformState(LATER)
    assert ids == [config_of(again, campaign).as_json()["id"] for campaign in CAMPAIGNS]
    assert len({str(UUID(str(config_id))) for config_id in ids}) == len(CAMPAIGNS)
    assert not set(ids) & {campaign.id for campaign in CAMPAIGNS}


@pytest.mark.parametrize(
    ("instant", "text"),
    [
        (0.0, "1970-01-01T00:00:00Z"),
        (START, "2027-01-15T08:00:00Z"),
        (START + 0.999, "2027-01-15T08:00:00Z"),
        (1_830_297_600.0, "2028-01-01T00:00:00Z"),
    ],
)
def test_instants_are_written_in_utc_with_the_fraction_cut_off(instant: float, text: str) -> None:
    assert as_timestamp(instant) == text
