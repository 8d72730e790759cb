"""What `config check` says of connection tests: how many, how fast, and whether they fit."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from monitor.adapters.store import Change, Loaded, Store
from monitor.cli.estimates import describe_tests
from monitor.core.discovery import TargetSet
from monitor.core.guards import EnvironmentTests
from monitor.core.model import DAY, HOUR, CallTimes, ListedCampaign
from monitor.core.status import CampaignStatus, EnvironmentStatus, LastKnown
from support.builders import NOW, a_config
from support.command import called, write_config
from support.config_files import MINIMAL, loaded
from support.fake_platform import FakePlatform

PLATFORM = FakePlatform("https://app.talkover.ai/api/v1")
ON = {"enabled": True}


def with_campaigns(count: int, *lines: str) -> str:
    """Return a file with so many campaigns, and these lines at the top level."""
    campaigns = ", ".join(f"{{id: c-{n}}}" for n in range(count))
    return MINIMAL.replace("{id: c-1}", campaigns) + "".join(f"{line}\n" for line in lines)


def a_state(count: int, **config: Any) -> Loaded:
    """Return a state in which so many campaigns have these fields in their configs."""
    known = {
        ("production", f"c-{n}"): CampaignStatus(
            environment="production",
            campaign_id=f"c-{n}",
            last_known=LastKnown(
                config=a_config(username=f"user-{n}") if not config else a_config(**config)
            ),
        )
        for n in range(count)
    }
    return Loaded(campaigns=known)


def said(folder: Path, text: str, state: Loaded | None = None) -> Sequence[str]:
    return list(describe_tests(loaded(folder, text), state or Loaded(), NOW))


def test_while_tests_are_off_there_is_nothing_to_say(tmp_path: Path) -> None:
    assert said(tmp_path, with_campaigns(3)) == []


def test_it_says_how_many_tests_which_share_and_when_the_first_round_ends(tmp_path: Path) -> None:
    first, second = said(tmp_path, with_campaigns(144, "connection_tests: {enabled: true}"))
    # 50 requests a minute are 72,000 a day.
    assert first == (
        "production: 144 connection tests a day of 144 campaigns, 0.2% of the budget; "
        "the first round takes 1 d, begun now, until 2027-01-16T08:00:00Z"
    )
    # 15 hours, in 3 and in 10 minutes each.
    assert second == (
        "production: 300 a day fit at one host, 90 on one login; "
        "no host is known before campaigns were read"
    )


@pytest.mark.parametrize(
    ("began", "ends"),
    [(HOUR, "until 2027-01-16T07:00:00Z"), (3 * DAY, "over at 2027-01-13T08:00:00Z")],
)
def test_a_round_that_has_begun_ends_when_it_will(tmp_path: Path, began: float, ends: str) -> None:
    tests = EnvironmentTests(on_since=NOW - began)
    state = Loaded(environments={"production": EnvironmentStatus(name="production", tests=tests)})
    first, _ = said(tmp_path, with_campaigns(2, "connection_tests: {enabled: true}"), state)
    assert first.endswith(f"under 0.1% of the budget; the first round takes 1 d, {ends}")


def test_several_tests_a_day_are_as_many_as_fit_into_between(tmp_path: Path) -> None:
    often = 'connection_tests: {enabled: true, every: 6h, between: "08:00-20:00"}'
    assert "4 connection tests a day of 2 campaigns" in said(tmp_path, with_campaigns(2, often))[0]
    seldom = 'connection_tests: {enabled: true, every: 7d, between: ""}'
    assert (
        "2 connection tests a day of 14 campaigns" in said(tmp_path, with_campaigns(14, seldom))[0]
    )


def test_the_busiest_host_is_that_of_the_state(tmp_path: Path) -> None:
    text = with_campaigns(3, "connection_tests: {enabled: true}")
    _, shared = said(tmp_path, text, a_state(2, host="SFTP.example."))
    assert shared.endswith(
        "the busiest host of the 2 of 3 campaigns that were read is sftp.example:22, 2 a day"
    )


def test_what_is_switched_off_or_imported_by_hand_is_not_counted_once_that_is_known(
    tmp_path: Path,
) -> None:
    text = with_campaigns(3, "connection_tests: {enabled: true}")
    for config in ({"is_enabled": False}, {"import_schedule": "manual"}):
        first, _ = said(tmp_path, text, a_state(2, **config))
        assert "1 connection tests a day of 1 campaigns" in first


def test_a_host_or_a_login_with_too_many_campaigns_for_its_gap_is_noted(tmp_path: Path) -> None:
    text = with_campaigns(400, "connection_tests: {enabled: true}")
    first, _, *notes = said(tmp_path, text, a_state(400))
    assert notes == [
        "environments[0].connection_tests: note: sftp.example:22 has 400 tests a day; "
        "host_gap (3m) lets 300 of them fit: not every campaign is tested within its `every`"
    ]
    # 400 of 300 a day.
    assert "the first round takes 32 h" in first
    shared = a_state(100, username="leads")
    _, _, note = said(tmp_path, with_campaigns(100, "connection_tests: {enabled: true}"), shared)
    assert "leads@sftp.example:22 has 100 tests a day; login_gap (10m) lets 90 of them fit" in note


def test_a_share_of_the_budget_that_is_too_small_is_noted(tmp_path: Path) -> None:
    text = with_campaigns(500, "connection_tests: {enabled: true, budget_share: 0.01}")
    *_, note = said(tmp_path, text)
    assert "budget_share lets 450 tests a day out" in note


def test_an_every_that_is_not_well_below_the_age_of_stale_test_is_noted(tmp_path: Path) -> None:
    aged = "rules: {stale_test: {max_age: 10d, max_age_by_schedule: {daily: 1d}}}"
    text = with_campaigns(2, "connection_tests: {enabled: true}", aged)
    note = "`every` (1d) of c-0 and 1 more is more than half the age of stale_test"
    assert said(tmp_path, text)[-1].endswith(note)
    assert said(tmp_path, text, a_state(2))[-1].endswith(note)
    hourly = a_state(2, import_schedule="hourly")
    assert not any("stale_test" in line for line in said(tmp_path, text, hourly))


def test_discovered_campaigns_are_those_of_the_state(tmp_path: Path) -> None:
    text = MINIMAL.replace("campaigns: [{id: c-1}]", "discovery: {enabled: true}")
    text += "connection_tests: {enabled: true}\n"
    assert said(tmp_path, text) == ["production: connection tests are on; no campaign is known yet"]
    listed = {
        key: ListedCampaign(key, key, status, "", CallTimes())
        for key, status in {"a": "active", "b": "active", "c": "paused"}.items()
    }
    state = Loaded(target_sets={"production": TargetSet(campaigns=listed)})
    assert "2 connection tests a day of 2 campaigns" in said(tmp_path, text, state)[0]


async def test_the_command_reads_the_state_beside_the_daemon_and_says_where_there_is_none(
    tmp_path: Path,
) -> None:
    config = write_config(tmp_path, PLATFORM, ["c-0"], connection_tests=ON)
    without = await called("config", "check", config)
    assert without.code == 0
    assert "hosts and discovered campaigns are not known: " in without.out
    assert "there is no state" in without.out
    store = Store(tmp_path / "state.db", now=NOW)
    await store.load()
    store.save(Change(campaigns=(*a_state(1).campaigns.values(),)))
    await store.flush()
    told = await called("config", "check", config)
    assert "the busiest host is sftp.example:22, 1 a day" in told.out
    await store.aclose()
