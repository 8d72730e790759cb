"""Why an alert fires or does not: what a person reads first comes first, in plain words.

That the words are those of the decision, and of its event, holds over all histories:
tests/polling/test_seam_of_views_and_decisions.py.
"""

from dataclasses import replace
from typing import Any

import pytest

from monitor.core.attempt import CampaignTests, Result, TestSettings, Trigger
from monitor.core.connection_tests import Plan
from monitor.core.explanation import Paragraph, explain
from monitor.core.guards import Hold
from monitor.core.guards import Reason as HeldBy
from monitor.core.model import DAY, HOUR, MINUTE, Instant, NoConfig, Observation, PollError, Reason
from monitor.core.snapshot import Entry
from support import boards
from support.attempts import an_attempt
from support.boards import AROUND_THE_CLOCK, after_calls, an_entry, an_environment
from support.builders import NOW, a_config

FAILED = a_config(last_test_at=NOW - HOUR, last_test_success=False)
RECENTLY = NOW - 2 * MINUTE


def explained(
    entry: Entry, origins: dict[str, str] | None = None, **fields: Any
) -> list[Paragraph]:
    """Return the explanation; `origins` by the section and the name of a setting."""
    known = origins or {}
    environment = an_environment(entry, **fields)
    return explain(environment, entry, lambda section, name: known.get(f"{section}.{name}", ""))


def lines_of(said: list[Paragraph], title: str) -> tuple[str, ...]:
    return next(one.lines for one in said if one.title.startswith(title))


def test_what_is_wrong_comes_first_then_what_is_not_known_then_tests_then_what_is_well() -> None:
    said = explained(an_entry("c-1", (RECENTLY, FAILED)))
    titles = [one.title for one in said]
    assert titles[:2] == ["Campaign", "failed_test: firing (critical)"]
    states = [one.state for one in said]
    tests = titles.index("Tests")
    assert "healthy" not in states[:tests]
    assert set(states[tests + 1 :]) == {"healthy"}


def test_an_alert_says_what_since_when_why_who_knows_and_what_to_do() -> None:
    said = explained(an_entry("c-1", (RECENTLY, FAILED)))
    assert lines_of(said, "failed_test") == (
        "last test failed 58 min ago (2027-01-15T07:00:00Z)",
        "since 1 h ago (2027-01-15T07:00:00Z)",
        "evidence: last_test_at 2027-01-15T07:00:00Z; last_test_success false",
        "on-call was notified 2 min ago (2027-01-15T07:58:00Z)",
        "next: The API does not give the cause: run the connection test on the campaign's SFTP "
        "page and read its error (credentials, host, port, paths).",
    )


def test_one_that_is_pending_says_when_it_fires_by_itself() -> None:
    said = explained(an_entry("c-1", (RECENTLY, FAILED), rules={"failed_test": {"for_": HOUR}}))
    lines = lines_of(said, "failed_test: pending (critical)")
    assert "fires by itself in 58 min (2027-01-15T08:58:00Z), if nothing changes" in lines
    assert lines[-1] == "settings: for 1 h (default)"


def test_one_that_is_muted_says_by_what() -> None:
    off = replace(FAILED, is_enabled=False)
    said = explained(an_entry("c-1", (NOW - HOUR, a_config()), (RECENTLY, off)))
    (muted,) = (one for one in said if one.title.startswith("failed_test"))
    assert (muted.title, muted.state) == ("failed_test: muted by disabled (critical)", "muted")


def test_a_rule_that_is_healthy_says_when_time_alone_changes_that_and_where_it_is_set() -> None:
    entry = an_entry("c-1", (RECENTLY, a_config(last_test_at=NOW - DAY)))
    said = explained(entry, {"rules.stale_test.max_age": "sftp.yaml:12"})
    lines = lines_of(said, "stale_test: healthy")
    assert "changes by itself in 29 d (2027-02-13T08:00:00Z)" in lines
    assert lines[-1] == "settings: max_age 30 d (sftp.yaml:12)"


def test_where_the_monitor_tests_itself_the_age_that_counts_is_said_with_where_it_is_set() -> None:
    known = {"connection_tests.every": "sftp.yaml:4"}
    entry = an_entry("c-1", (RECENTLY, a_config()), tests=TestSettings(enabled=True))
    said = lines_of(explained(entry, known), "stale_test: healthy")
    assert said[-1] == (
        "settings: max_age 30 d (default); 3 d where the monitor tests every 1 d (sftp.yaml:4)"
    )
    off = an_entry("c-1", (RECENTLY, a_config(is_enabled=False)), tests=entry.target.tests)
    said = lines_of(explained(off, known), "stale_test: healthy")
    assert said[-1] == "settings: max_age 30 d (default)"


@pytest.mark.parametrize(
    ("config", "why"),
    [
        ({"is_enabled": False}, "while the config is disabled"),
        ({"import_schedule": "manual"}, "for a manual import"),
        ({}, "as things are"),
    ],
)
def test_why_no_test_is_due(config: dict[str, Any], why: str) -> None:
    entry = an_entry("c-1", (RECENTLY, a_config(**config)), tests=TestSettings(enabled=True))
    assert lines_of(explained(entry), "Tests")[-1] == f"no next one is due {why}"


def test_no_test_is_due_while_the_environments_api_gives_nothing() -> None:
    instants = (NOW - 400, NOW - 390, NOW - 380, NOW - 20)
    status = after_calls("production", Reason.CONNECT_ERROR, *instants)
    entry = an_entry("c-1", (NOW - HOUR, a_config()), tests=TestSettings(enabled=True))
    said = lines_of(explained(entry, status=status), "Tests")
    assert said[-1] == "no next one is due while the environment's API gives nothing"


@pytest.mark.parametrize(
    ("read_at", "calls", "why"),
    [
        (RECENTLY, 0, []),
        (RECENTLY, 3, ["not read while the environment's API gives nothing"]),
        (NOW - 3 * HOUR, 0, ["not read for too long"]),
        (NOW - 3 * HOUR, 3, ["not read while the environment's API gives nothing"]),
        (None, 0, ["not read yet"]),
        (None, 3, ["not read yet"]),
    ],
)
def test_a_campaign_that_is_unknown_says_why_before_any_alert_does(
    read_at: Instant | None, calls: int, why: list[str]
) -> None:
    status = after_calls("production", Reason.CONNECT_ERROR, *(NOW - 20,) * calls)
    entry = an_entry("c-1", *([] if read_at is None else [(read_at, a_config())]))
    campaign, *others = explained(entry, status=status, stale_after=HOUR)
    assert campaign.state == ("unknown" if why else "healthy")
    assert [line for line in campaign.lines if line.startswith("not read")] == why
    assert not any("api_unreachable" in one.title for one in others)


def test_a_failed_poll_says_what_failed_and_whether_it_was_ever_read() -> None:
    failed = "the last poll failed: timeout, after 10 s"
    timeout = NOW, PollError(Reason.TIMEOUT, "after 10 s")
    never, before = an_entry("c-1", timeout), an_entry("c-1", (RECENTLY, a_config()), timeout)
    assert lines_of(explained(never), "Campaign")[-2:] == (failed, "not read yet")
    said = lines_of(explained(before), "Campaign")
    assert failed in said
    assert "not read yet" not in said


def test_a_rule_that_is_switched_off_says_where() -> None:
    entry = an_entry("c-1", (RECENTLY, a_config()), rules={"disabled": {"enabled": False}})
    said = explained(entry, {"rules.disabled.enabled": "sftp.yaml:7"})
    assert lines_of(said, "disabled: switched off") == ("settings: enabled false (sftp.yaml:7)",)


def test_what_is_wrong_with_its_environment_is_said_before_its_own_rules() -> None:
    instants = (NOW - 400, NOW - 390, NOW - 380, NOW - 20)
    status = after_calls("production", Reason.CONNECT_ERROR, *instants)
    entry = an_entry("c-1", (NOW - HOUR, a_config()), calls=AROUND_THE_CLOCK)
    said = explained(entry, status=status)
    assert said[1].title == "production: api_unreachable: firing (critical)"
    assert said[1].lines[1] == "1 campaign, 1 calling now"
    assert "healthy" not in {one.state for one in said}


@pytest.mark.parametrize(
    ("history", "told"),
    [
        ([], "not read yet"),
        (
            [(NOW - HOUR, a_config()), (RECENTLY, NoConfig(by_404=True))],
            "no SFTP config since 2 min ago (2027-01-15T07:58:00Z); the last one was sftp.ex",
        ),
        ([(RECENTLY, a_config())], "last passed test 1 d ago (2027-01-14T08:00:00Z)"),
        ([(RECENTLY, a_config())], "read 2 min ago (2027-01-15T07:58:00Z)"),
        (
            [(RECENTLY, PollError(Reason.FORBIDDEN, "IP_NOT_ALLOWED"))],
            "the last poll failed: forbidden, IP_NOT_ALLOWED",
        ),
        (
            [(NOW - HOUR, a_config()), (RECENTLY, a_config(host="new.example"))],
            "changed 2 min ago (2027-01-15T07:58:00Z): host sftp.example → new.example",
        ),
    ],
)
def test_the_campaign_says_what_is_known_of_it(
    history: list[tuple[Instant, Observation]], told: str
) -> None:
    said = explained(an_entry("c-1", *history))
    assert told in " | ".join(lines_of(said, "Campaign"))


def test_impact_labels_and_why_nobody_is_notified_stand_with_the_campaign() -> None:
    entry = an_entry("c-1", (RECENTLY, a_config()), calls=AROUND_THE_CLOCK, labels={"team": "x"})
    entry = replace(entry, target=replace(entry.target, muted_status="paused"))
    lines = lines_of(explained(entry), "Campaign")
    assert "labels team=x" in lines
    assert "muted, for its status is paused" in lines
    assert any(one.startswith("calling now until 00:00") for one in lines)


# --- the paragraph Tests: "why is it not red?"

ON = TestSettings(enabled=True)


def test_where_tests_are_off_it_says_so_and_who_has_tested_last() -> None:
    assert lines_of(explained(an_entry("c-1", (RECENTLY, a_config()))), "Tests") == (
        "off (default)",
        "on record: passed 1 d ago (2027-01-14T08:00:00Z), by somebody else",
        "no next one is due as things are",
    )


def test_the_last_one_and_the_next_one_of_ours_with_their_reasons() -> None:
    entry = boards.tested(an_entry("c-1", (RECENTLY, a_config()), tests=ON), by="alice")
    known, planned = {"connection_tests.enabled": "sftp.yaml:3"}, Plan(NOW + HOUR, Trigger.RETRY)
    lines = lines_of(explained(entry, known, planned={"c-1": planned}), "Tests")
    assert lines[:3] == (
        "on (sftp.yaml:3)",
        "settings: every 1 d (default)",
        "on record: passed 1 d ago (2027-01-14T08:00:00Z), by the monitor for alice (schedule)",
    )
    assert lines[3] == "next: in 1 h (2027-01-15T09:00:00Z) (retry)"


def test_one_that_is_not_on_record_has_its_cause_as_a_quotation() -> None:
    entry = an_entry("c-1", (RECENTLY, a_config()), tests=ON)
    ours = replace(an_attempt(NOW - HOUR, Result.FAILED), cause="Connection timed out")
    entry = replace(entry, status=replace(entry.status, tests=CampaignTests(attempts=(ours,))))
    assert (
        "the monitor's last: failed 1 h ago (2027-01-15T07:00:00Z), by the monitor (schedule): "
        'TalkOver says: "Connection timed out"'
    ) in lines_of(explained(entry), "Tests")


@pytest.mark.parametrize(
    ("hold", "told"),
    [
        (
            Hold(HeldBy.SUSPENDED, None, "suspended by hand"),
            "held back by suspended: suspended by hand; this ends it: `sftp-monitor tests resume`",
        ),
        (
            Hold(HeldBy.LOGIN, None, "the login has had 2 failed tests"),
            "held back by login: the login has had 2 failed tests; this ends it: a passed test of "
            "any campaign on this login, another host, user or auth type in the config, or "
            "`sftp-monitor test CAMPAIGN --unblock`",
        ),
        (
            Hold(HeldBy.HOST, NOW + HOUR, "one test of this host in 3 min"),
            "held back by host: one test of this host in 3 min; this ends it: by itself at "
            "2027-01-15T09:00:00Z",
        ),
    ],
)
def test_what_holds_the_next_one_and_what_ends_that(hold: Hold, told: str) -> None:
    entry = an_entry("c-1", (RECENTLY, a_config()), tests=ON)
    planned = {"c-1": Plan(hold.until, Trigger.SCHEDULE, hold)}
    assert told in lines_of(explained(entry, planned=planned), "Tests")
