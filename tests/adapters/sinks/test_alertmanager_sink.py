"""The Alertmanager sink: the labels of the shipped rules, levels, and what is refused."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from monitor.adapters.sinks import HOLD, PermanentDeliveryError
from monitor.adapters.sinks.alertmanager import (
    BATCH,
    SEND_ENDS_FOR,
    AlertmanagerSink,
    annotations_of,
    labels_of,
    standing_events,
)
from monitor.adapters.sinks.log import to_text
from monitor.core.environment_rules import ENVIRONMENT_RULES
from monitor.core.leases import StateUnavailable
from monitor.core.model import HOUR, CallTimes, Event, EventStatus, Severity
from monitor.core.rules import RULES
from monitor.core.snapshot import Snapshot
from monitor.core.status import Alert
from monitor.serialize import Links, record_of
from support.boards import a_rich_snapshot, a_snapshot, an_entry, an_environment
from support.builders import NOW, a_config
from support.documents import read_yaml
from support.events import FIRING
from support.receiver import receiver
from support.scrapes import scrape
from support.sinks import a_context

LINKS = Links("https://runbooks.example/{rule}", "https://monitor.example")
FILE = Path(__file__).parents[3] / "deploy" / "prometheus" / "sftp-monitor.rules.yaml"
SHIPPED = {
    rule["expr"]: rule
    for group in read_yaml(FILE.read_text())["groups"]
    for rule in group["rules"]
    if "alert" in rule
}

PostableAlert = Mapping[str, Any]


# --- labels and annotations -----------------------------------------------------------------------


@pytest.mark.parametrize("rule", [*RULES, *ENVIRONMENT_RULES])
def test_an_alert_is_named_as_in_the_shipped_rules(rule: str) -> None:
    shipped = SHIPPED[f'sftp_monitor:alert:held{{rule="{rule}"}}']
    assert labels_of(replace(FIRING, rule=rule))["alertname"] == shipped["alert"]
    # The rules file adds none of its own, and drops what only its texts need.
    assert not any(shipped.get("labels", {}).values())
    impact = "calls start Mon 09:00 UTC, in 4 h"
    said = annotations_of(replace(FIRING, rule=rule, impact=impact), LINKS)
    assert list(said) == list(shipped["annotations"])


def test_what_is_of_the_process_is_named_as_in_the_shipped_rules_and_says_whose_it_is() -> None:
    (event,) = StateUnavailable().look(Alert(rule="state_unavailable"), 0.0, "refused", NOW, {})[1]
    assert labels_of(event) == {
        "alertname": "SftpMonitorStateUnavailable",
        "rule": "state_unavailable",
        "severity": "critical",
    }
    said = annotations_of(event, LINKS)
    assert said["summary"].startswith("sftp-monitor: the state's database does not answer since")
    assert said["description"].startswith("The process sftp-monitor, since")
    assert said["problem"] == StateUnavailable.meaning
    assert said["runbook_url"] == "https://runbooks.example/state_unavailable"
    assert record_of(event, LINKS).summary == said["summary"]
    assert " sftp-monitor: the state's" in to_text(record_of(event, LINKS))


def test_the_labels_are_those_of_the_metric_for_every_alert_that_is_told() -> None:
    snapshot = a_rich_snapshot("team", "none")
    exported = scrape(snapshot).labels("alert")
    expected = [
        {name: value for name, value in labels.items() if value and name != "alertstate"}
        for labels in exported
        if labels["alertstate"] == "firing"
    ]
    told = [
        labels_of(event)
        for environment in snapshot.environments.values()
        for event in standing_events(environment)
    ]
    assert len(told) >= 6
    assert {labels.pop("alertname") for labels in told} >= {"SftpTestFailed", "SftpTestStale"}
    assert sorted(sorted(each.items()) for each in told) == sorted(
        sorted(each.items()) for each in expected
    )


def test_labels_are_harmless_and_an_empty_one_is_left_out() -> None:
    asked_for: dict[str, Any] = {
        "labels": {"team": "", "tier": "1"},
        "exported": ("team", "tier", "none"),
    }
    labels = labels_of(replace(FIRING, sftp_host="a\r\nb" + "x" * 200, **asked_for))
    assert labels["sftp_host"].startswith("a bxxx")
    assert len(labels["sftp_host"]) == 128
    assert labels["tier"] == "1"
    assert labels.keys().isdisjoint({"team", "none"})


def test_an_alert_of_the_environment_has_neither_campaign_nor_host() -> None:
    event = replace(FIRING, rule="api_unreachable", campaign_id=None, sftp_host="")
    assert labels_of(event) == {
        "alertname": "TalkoverApiUnreachable",
        "environment": "production",
        "rule": "api_unreachable",
        "severity": "warning",
    }
    said = annotations_of(event, LINKS)
    assert said["description"] == "Environment production, since 2027-01-15T08:00:00Z."


def test_the_annotations_say_what_where_since_when_and_what_to_do() -> None:
    assert annotations_of(FIRING, LINKS) == {
        "summary": "production/Retail leads: last test 31 d ago (2026-10-23T09:30:00Z), "
        "allowed 30 d",
        "problem": RULES["stale_test"].meaning,
        "description": "Campaign Retail leads (production/c-1), host sftp.example.com, "
        "since 2027-01-15T08:00:00Z.",
        "next_step": "Run a connection test.",
        "runbook_url": "https://runbooks.example/stale_test",
        "dashboard_url": "https://monitor.example",
    }


def test_a_campaign_without_a_name_is_called_by_its_id() -> None:
    said = annotations_of(replace(FIRING, campaign_name=""), LINKS)
    assert said["summary"].startswith("production/c-1: ")
    assert said["description"].startswith("Campaign (production/c-1), host")


def test_fault_21_the_annotations_make_nothing_of_the_words_of_others() -> None:
    hostile = "<!channel> <https://evil.example|Runbook> @all"
    words = "(!channel) (https: //evil.example|Runbook) @ all"
    event = replace(FIRING, campaign_name=hostile, sftp_host=hostile, summary=hostile)
    said = annotations_of(event, LINKS)
    assert said["summary"] == f"production/{words}: {words}"
    assert said["description"].startswith(f"Campaign {words} (production/c-1), host {words}, since")
    # A label is data, and the alert's identity.
    assert labels_of(event)["sftp_host"] == hostile


# --- levels ---------------------------------------------------------------------------------------


@dataclass
class Alertmanager:
    """What an Alertmanager holds, of what it was told; `bad` hosts it refuses, and no others."""

    posts: list[list[PostableAlert]] = field(default_factory=list)
    bad: set[str] = field(default_factory=set)
    down: bool = False

    def take(self, levels: list[PostableAlert]) -> int:
        if self.down:
            return 503
        valid = [level for level in levels if level["labels"].get("sftp_host") not in self.bad]
        self.posts.append(valid)
        return 200 if valid == levels else 400

    @property
    def last(self) -> list[PostableAlert]:
        return self.posts[-1]


@dataclass
class Story:
    """A sink, the board that it sees, and the clock."""

    snapshot: Snapshot = field(default_factory=lambda: Snapshot({}, NOW))
    now: float = NOW

    def sink(self, url: str) -> AlertmanagerSink:
        context = a_context(LINKS, now=lambda: self.now, snapshot=lambda: self.snapshot)
        return AlertmanagerSink(url, context)

    def show(self, *campaigns: str, passed: bool = False, host: str = "sftp.example.com") -> None:
        """Put these campaigns on the board: their last test failed, unless it has passed."""
        entries = []
        for each in campaigns:
            broken = (
                NOW - 60,
                a_config(last_test_success=False, last_test_at=NOW - 600, host="sftp.example.com"),
            )
            mended = (NOW, a_config(last_test_at=NOW, host=host))
            again = (NOW, a_config(last_test_success=False, last_test_at=NOW - 600, host=host))
            history = (broken, mended if passed else again)
            entries.append(an_entry(each, *history, labels={"team": "retail"}))
        self.snapshot = a_snapshot(an_environment(*entries))


def an_event(campaign: str, status: EventStatus = EventStatus.FIRING, **fields: Any) -> Event:
    event = replace(FIRING, campaign_id=campaign, rule="failed_test", status=status)
    return replace(event, severity=Severity.CRITICAL, **fields, epoch="e")


RESOLVED = EventStatus.RESOLVED


def seconds_from(instant: float, text: str) -> float:
    return datetime.fromisoformat(text).timestamp() - instant


@pytest.fixture
def story() -> Story:
    return Story()


async def test_an_event_is_told_at_once_with_start_and_end(story: Story) -> None:
    story.show("c-1")
    held = Alertmanager()
    async with receiver() as to:
        to.status = held.take
        await story.sink(to.url).deliver(an_event("c-1"))
        assert to.received[0].path == "/api/v2/alerts"
    (level,) = held.last
    assert level["labels"]["alertname"] == "SftpTestFailed"
    assert seconds_from(NOW, level["startsAt"]) == 0
    assert seconds_from(NOW, level["endsAt"]) == HOLD


async def test_what_is_over_by_now_is_told_as_over_whatever_waited(story: Story) -> None:
    story.show("c-1", passed=True)
    held = Alertmanager()
    async with receiver() as to:
        to.status = held.take
        await story.sink(to.url).deliver(an_event("c-1"))
    assert seconds_from(NOW, held.last[0]["endsAt"]) == 0


async def test_what_waits_at_the_start_is_told_before_the_board_is_filled(story: Story) -> None:
    held = Alertmanager()
    async with receiver() as to:
        to.status = held.take
        sink = story.sink(to.url)
        await sink.deliver(an_event("c-1"))
        await sink.deliver(an_event("c-2", RESOLVED))
    ends = [seconds_from(NOW, post[0]["endsAt"]) for post in held.posts]
    assert ends == [HOLD, 0]


async def test_all_that_fires_is_told_again(story: Story) -> None:
    story.show("c-1", "c-2")
    held = Alertmanager()
    async with receiver() as to:
        to.status = held.take
        await story.sink(to.url).resend()
    assert [level["labels"]["campaign_id"] for level in held.last] == ["c-1", "c-2"]


async def test_what_is_over_is_told_again_for_a_quarter_of_an_hour(story: Story) -> None:
    story.show("c-1")
    held = Alertmanager()
    async with receiver() as to:
        to.status = held.take
        sink = story.sink(to.url)
        await sink.deliver(an_event("c-1"))
        story.show("c-1", passed=True)
        await sink.deliver(an_event("c-1", RESOLVED))
        story.now += SEND_ENDS_FOR - 1
        await sink.resend()
        (again,) = held.last
        assert seconds_from(NOW, again["endsAt"]) == 0
        story.now += 2
        await sink.resend()
    assert len(held.posts) == 3


@pytest.mark.parametrize("restarted", [False, True])
async def test_a_host_that_is_edited_while_it_fires_is_neither_an_end_nor_a_page(
    story: Story, restarted: bool
) -> None:
    story.show("c-1")
    held = Alertmanager()
    async with receiver() as to:
        to.status = held.take
        sink = story.sink(to.url)
        await sink.deliver(an_event("c-1"))
        story.show("c-1", host="new.example.com")
        sink = story.sink(to.url) if restarted else sink
        await sink.resend()
        story.show("c-1", passed=True, host="new.example.com")
        await sink.deliver(an_event("c-1", RESOLVED))
    assert [len(post) for post in held.posts] == [1, 1, 1]
    assert len({str(sorted(post[0]["labels"].items())) for post in held.posts}) == 1
    ends = [seconds_from(NOW, post[0]["endsAt"]) for post in held.posts]
    assert ends == [HOLD, HOLD, 0]


@pytest.mark.parametrize("status", [EventStatus.FIRING, RESOLVED])
async def test_what_waited_and_fires_under_other_labels_by_now_is_over_under_its_own(
    story: Story, status: EventStatus
) -> None:
    story.show("c-1")
    held = Alertmanager()
    async with receiver() as to:
        to.status = held.take
        # Told by a process of before: since then it was over, and has fired for another host.
        await story.sink(to.url).deliver(an_event("c-1", status, sftp_host="old.example.com"))
    ends = {one["labels"]["sftp_host"]: seconds_from(NOW, one["endsAt"]) for one in held.last}
    assert ends == {"old.example.com": 0, "sftp.example.com": HOLD}


async def test_after_a_restart_a_changed_severity_ends_the_alert_under_the_old_one(
    story: Story,
) -> None:
    held = Alertmanager()
    updated = an_event("c-1", EventStatus.UPDATED, previous_severity=Severity.WARNING)
    async with receiver() as to:
        to.status = held.take
        await story.sink(to.url).deliver(updated)
    ends = {one["labels"]["severity"]: seconds_from(NOW, one["endsAt"]) for one in held.last}
    assert ends == {"warning": 0, "critical": HOLD}


async def test_what_fires_again_is_not_said_to_be_over(story: Story) -> None:
    story.show("c-1", passed=True)
    held = Alertmanager()
    async with receiver() as to:
        to.status = held.take
        sink = story.sink(to.url)
        await sink.deliver(an_event("c-1", RESOLVED))
        story.show("c-1")
        await sink.deliver(an_event("c-1"))
        await sink.resend()
    assert [seconds_from(NOW, level["endsAt"]) for level in held.last] == [HOLD]


async def test_an_environment_that_is_not_on_the_board_is_not_said_to_be_over(
    story: Story,
) -> None:
    story.show("c-1")
    held = Alertmanager()
    async with receiver() as to:
        to.status = held.take
        sink = story.sink(to.url)
        await sink.deliver(an_event("c-1"))
        story.snapshot = Snapshot({}, NOW)
        await sink.resend()
    assert len(held.posts) == 1


async def test_what_an_environment_had_ends_at_once_when_it_is_taken_out_of_the_config(
    story: Story,
) -> None:
    story.show("c-1")
    held = Alertmanager()
    async with receiver() as to:
        to.status = held.take
        sink = story.sink(to.url)
        await sink.deliver(an_event("c-1"))
        story.snapshot = Snapshot({}, NOW)
        await sink.deliver(an_event("c-1", RESOLVED))
    assert [seconds_from(NOW, post[0]["endsAt"]) for post in held.posts] == [HOLD, 0]


async def test_an_alert_never_ends_before_it_starts(story: Story) -> None:
    held = Alertmanager()
    async with receiver() as to:
        to.status = held.take
        await story.sink(to.url).deliver(an_event("c-1", RESOLVED, since=NOW + 3600))
    (level,) = held.last
    assert level["startsAt"] == level["endsAt"]


async def test_what_is_at_stake_is_as_of_each_time_that_it_is_sent(story: Story) -> None:
    calls = CallTimes(zone="Europe/Berlin", windows=((10 * HOUR, 17 * HOUR),))
    broken = (NOW - 60, a_config(last_test_success=False, last_test_at=NOW - 600))
    entry = an_entry("c-1", broken, calls=calls)
    held = Alertmanager()
    async with receiver() as to:
        to.status = held.take
        for later in (0.0, 2 * HOUR):
            story.snapshot = a_snapshot(an_environment(entry, now=NOW + later))
            await story.sink(to.url).resend()
    assert [post[0]["annotations"]["impact"] for post in held.posts] == [
        "calls start Fri 10:00 Europe/Berlin, in 1 h; imports daily",
        "calling now until 17:00 Europe/Berlin; imports daily",
    ]


# --- what goes wrong ------------------------------------------------------------------------------


async def test_one_bad_alert_does_not_take_the_others_down_and_what_was_answered_is_said(
    story: Story,
) -> None:
    story.show(*(f"c-{n}" for n in range(BATCH)))
    bad = an_entry(
        "bad", (NOW, a_config(last_test_success=False, last_test_at=NOW - 9, host="bad.example"))
    )
    production = story.snapshot.environments["production"]
    story.snapshot = a_snapshot(replace(production, campaigns={"bad": bad, **production.campaigns}))
    held = Alertmanager(bad={"bad.example"})
    async with receiver() as to:
        to.status = held.take
        to.text = '"bad\x1b one"'
        sink = story.sink(to.url)
        with pytest.raises(OSError, match='answered 400: "bad one"'):
            await sink.resend()
        told = [level["labels"]["campaign_id"] for post in held.posts for level in post]
        with pytest.raises(PermanentDeliveryError, match="answered 400"):
            await sink.deliver(an_event("bad", sftp_host="bad.example"))
    assert told == [f"c-{n}" for n in range(BATCH)]


@pytest.mark.parametrize("status", [302, 400, 401, 404, 500, 502, 503])
async def test_fault_38_what_is_secret_in_its_path_is_not_repeated(
    story: Story, status: int
) -> None:
    """Of the kind: a receiver whose URL is its password, behind a proxy that quotes the URL."""
    story.show("c-1")
    async with receiver(status) as to:
        secret = f"{to.url}/T0ken/am"
        to.text = f"no POST to /T0ken/am/api/v2/alerts, nor {secret}/api/v2/alerts"
        for attempt in (story.sink(secret).resend(), story.sink(secret).deliver(an_event("c-1"))):
            with pytest.raises((OSError, PermanentDeliveryError)) as error:
                await attempt
            assert str(error.value).startswith(f"{to.url} answered {status}")
            assert "T0ken" not in str(error.value)
            assert ("no POST" in str(error.value)) is (status == 400)
    assert [one.path for one in to.received] == ["/T0ken/am/api/v2/alerts"] * 2


async def test_nor_where_nobody_answers(story: Story) -> None:
    story.show("c-1")
    with pytest.raises(OSError, match=r"^http://127\.0\.0\.1:9: ") as error:
        await story.sink("http://127.0.0.1:9/T0ken").resend()
    assert "T0ken" not in str(error.value)


async def test_many_alerts_go_out_in_batches(story: Story) -> None:
    story.show(*(f"c-{n}" for n in range(BATCH + 1)))
    held = Alertmanager()
    async with receiver() as to:
        to.status = held.take
        await story.sink(to.url).resend()
    assert [len(post) for post in held.posts] == [BATCH, 1]


async def test_an_alertmanager_that_is_down_is_told_later(story: Story) -> None:
    story.show("c-1")
    held = Alertmanager(down=True)
    async with receiver() as to:
        to.status = held.take
        sink = story.sink(to.url)
        with pytest.raises(OSError, match="answered 503"):
            await sink.deliver(an_event("c-1"))
        held.down = False
        await sink.deliver(an_event("c-1"))
    assert len(held.posts) == 1


async def test_several_events_are_one_request_with_each_alert_once(story: Story) -> None:
    story.show("c-1", "c-2")
    held = Alertmanager()
    several = [an_event("c-1", RESOLVED), an_event("c-2"), an_event("c-1"), an_event("c-2")]
    async with receiver() as to:
        to.status = held.take
        await story.sink(to.url).deliver(*several)
    (post,) = held.posts
    assert [level["labels"]["campaign_id"] for level in post] == ["c-1", "c-2"]


async def test_of_several_before_the_board_is_filled_the_newest_counts(story: Story) -> None:
    held = Alertmanager()
    several = [an_event("c-1"), an_event("c-2"), an_event("c-1", RESOLVED)]
    async with receiver() as to:
        to.status = held.take
        sink = story.sink(to.url)
        await sink.deliver(*several)
        await sink.resend()
    ended, firing = held.posts[0]
    assert (ended["labels"]["campaign_id"], firing["labels"]["campaign_id"]) == ("c-1", "c-2")
    assert seconds_from(NOW, ended["endsAt"]) == 0
    assert seconds_from(NOW, firing["endsAt"]) == HOLD
    # Its end is sent again, and that it fired is not.
    assert held.posts[1] == [ended]


async def test_what_was_read_from_the_board_is_told_before_what_is_newer(story: Story) -> None:
    story.show("c-1")
    held = Alertmanager()
    async with receiver() as to:
        to.status, to.hold = held.take, asyncio.Event()
        sink = story.sink(to.url)
        repeating = asyncio.create_task(sink.resend())
        await to.until(lambda: len(to.received) == 1)
        story.show("c-1", passed=True)
        telling = asyncio.create_task(sink.deliver(an_event("c-1", RESOLVED)))
        to.hold.set()
        await asyncio.gather(repeating, telling)
    assert [seconds_from(NOW, post[0]["endsAt"]) for post in held.posts] == [HOLD, 0]
