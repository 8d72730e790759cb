"""The overview: one sentence of truth, what is wrong by rule and host, the healthy in a line each.

Filters are those of the JSON API; nothing hostile gets through, no script is needed.
"""

import gc
import gzip
import json
import re
import sys
from dataclasses import replace
from html.parser import HTMLParser
from itertools import combinations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.adapters.web.pages import FIRST, ROWS, overview_page
from monitor.adapters.web.serializers import alerts_page, as_json, campaigns_page
from monitor.core.filters import Filters
from monitor.core.model import (
    HOUR,
    MINUTE,
    AlertLabels,
    Instant,
    NoConfig,
    Observation,
    PollError,
    Reason,
)
from monitor.core.snapshot import Entry, Health, Snapshot
from monitor.core.status import EnvironmentStatus
from monitor.serialize import Links
from support.boards import (
    AROUND_THE_CLOCK,
    a_rich_snapshot,
    a_snapshot,
    after_calls,
    an_entry,
    an_environment,
)
from support.builders import NOW, a_config
from support.scrapes import VERSION
from support.web import serving

LINKS = Links(
    "https://runbooks.example/{rule}", campaign_url="https://t.example/{environment}/{campaign_id}"
)
FAILED = a_config(last_test_success=False)


class Outline(HTMLParser):
    """The tags of a page with their attributes, its campaigns in order, and all of its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.pieces: list[str] = []
        self.feed(page)
        self.text = " ".join(" ".join(self.pieces).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.pieces.append(data)

    @property
    def links(self) -> list[str]:
        """Where the page's links lead."""
        return [attributes["href"] or "" for tag, attributes in self.tags if tag == "a"]

    @property
    def campaigns(self) -> list[str]:
        """The ids of the campaigns, in the order of the page."""
        return [link.rsplit("/", 1)[1] for link in self.links if link.startswith("campaigns/")]

    @property
    def groups(self) -> list[str]:
        """The keys of the groups of campaigns, in the order of the page."""
        return [
            of["data-key"] or "" for tag, of in self.tags if tag == "section" and "id" not in of
        ]


def page_of(
    snapshot: Snapshot, not_ready: str | None = None, page: int = 1, **filters: Any
) -> Outline:
    """Return the overview of a snapshot, as these filters have it."""
    shown = replace(snapshot, not_ready=not_ready)
    return Outline(overview_page(shown, VERSION, Filters(**filters), page, LINKS).decode())


def listed_ids(snapshot: Snapshot, filters: Filters) -> list[str]:
    """Return the campaigns that the JSON API lists."""
    page = json.loads(as_json(campaigns_page(snapshot, filters=filters)))
    return [one["campaign_id"] for one in page["campaigns"]]


def board_of(*entries: Entry, **environment: Any) -> Snapshot:
    """Return a snapshot with one environment of these campaigns."""
    return a_snapshot(an_environment(*entries, **environment))


def failing(campaign_id: str, host: str = "sftp.example", **target: Any) -> Entry:
    """Return a campaign whose last test failed."""
    return an_entry(campaign_id, (NOW, replace(FAILED, host=host)), **target)


# --- the sentence, title and icon ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("snapshot", "sentence"),
    [
        (a_snapshot(), "No campaign is watched."),
        (board_of(an_entry("c-1", (NOW, a_config()))), "The one campaign is healthy."),
        (
            board_of(an_entry("c-1", (NOW, a_config())), an_entry("c-2", (NOW, a_config()))),
            "All 2 campaigns are healthy.",
        ),
        (
            board_of(failing("c-1"), an_entry("c-2", (NOW, a_config()))),
            "1 of 2 campaigns needs attention.",
        ),
        (board_of(an_entry("c-1")), "1 of 1 campaign is unknown."),
        (
            board_of(an_entry("c-1"), failing("c-2"), failing("c-3")),
            "2 of 3 campaigns need attention, 1 is unknown.",
        ),
        (
            a_rich_snapshot(),
            "3 of 11 campaigns need attention, 4 are unknown — "
            "staging: API unreachable since 07:53 UTC; rejected: token rejected since 07:53 UTC.",
        ),
    ],
    ids=["empty", "one", "two", "one ill", "unknown", "both", "environments"],
)
def test_one_sentence_says_first_how_things_are(snapshot: Snapshot, sentence: str) -> None:
    assert f"· Events {sentence}" in page_of(snapshot).text


def test_campaigns_that_are_muted_or_pending_are_not_all_called_healthy() -> None:
    off = an_entry("off", (NOW, a_config(is_enabled=False, created_at=NOW - HOUR)))
    text = page_of(board_of(an_entry("c-1", (NOW, a_config())), off)).text
    assert "All 2 campaigns are healthy" not in text
    assert "No campaign of 2 needs attention: 1 healthy, 1 muted." in text


def test_alerts_of_environments_are_banners_above_the_campaigns_one_for_each_rule() -> None:
    calls = (NOW - 900, NOW - 890, NOW - 880, NOW - 20)
    down = [
        an_environment(name=name, status=after_calls(name, Reason.TIMEOUT, *calls))
        for name in ("production", "staging", "test")
    ]
    page = page_of(a_snapshot(*down))
    assert "No campaign is watched — production and 2 more: API unreachable since" in page.text
    assert "API unreachable: production, staging, test" in page.text
    assert page.text.count("Next: Check TalkOver's status page") == 1
    assert [one for one in page.groups if one == "api_unreachable"] == ["api_unreachable"]
    assert "https://runbooks.example/api_unreachable" in page.links


@pytest.mark.parametrize(
    ("snapshot", "title", "icon"),
    [
        (a_rich_snapshot(), "4 critical", "critical"),
        (board_of(an_entry("c-1", (NOW, a_config()))), "healthy", "healthy"),
        (board_of(an_entry("c-1")), "1 unknown", "unknown"),
        (a_snapshot(), "no campaigns", "unknown"),
        (
            board_of(
                status=after_calls(
                    "production", Reason.TIMEOUT, NOW - 900, NOW - 890, NOW - 880, NOW
                )
            ),
            "1 critical",
            "critical",
        ),
    ],
    ids=["campaigns and environments", "healthy", "unknown", "none", "an environment alone"],
)
def test_title_and_icon_have_the_worst_state_of_campaigns_and_environments_and_how_many(
    snapshot: Snapshot, title: str, icon: str
) -> None:
    page = page_of(snapshot)
    assert page.text.startswith(f"{title} · SFTP config monitor")
    icons = [attributes["href"] for tag, attributes in page.tags if tag == "link"]
    assert f"./static/{icon}.svg" in icons


def test_a_monitor_that_is_not_ready_says_why_on_top_and_is_not_called_healthy() -> None:
    page = page_of(board_of(an_entry("c-1", (NOW, a_config()))), "the disk is full")
    assert "The monitor is not ready: the disk is full." in page.text
    assert page.text.startswith("not ready · SFTP config monitor")


def test_tiles_count_the_campaigns_of_each_health_and_lead_to_them() -> None:
    page = page_of(a_rich_snapshot())
    assert "2 critical 4 unknown 1 warning 4 healthy" in page.text
    assert {f"?health={health}" for health in Health} <= {*page.links}
    # Of the one that is chosen, to all again.
    assert "?health=warning" not in page_of(a_rich_snapshot(), health=("warning",)).links


# --- what is wrong -------------------------------------------------------------------------------


def test_the_worst_come_first_then_the_oldest_and_the_quiet_come_last() -> None:
    assert page_of(a_rich_snapshot()).campaigns == [
        "failed",
        "missing",
        "never-polled",
        "lost",
        "unreadable",
        "hiccup",
        "stale",
        "pending",
        "young",
        "off",
        "healthy",
    ]


def test_campaigns_with_the_same_trouble_at_one_host_are_one_group_with_one_next_step() -> None:
    oldest = replace(FAILED, host="sftp.big.example", last_test_at=NOW - 62 * MINUTE)
    later = replace(oldest, last_test_at=NOW - MINUTE)
    entries = [an_entry(f"c-{n}", (NOW, oldest if n == 7 else later)) for n in range(FIRST)]
    page = page_of(board_of(*entries))
    assert f"failed_test on sftp.big.example : {FIRST} campaigns , oldest 62 min ago" in page.text
    assert page.text.count("Next:") == page.text.count("Runbook") == 1
    assert page.campaigns[0] == "c-7"
    assert "?rule=failed_test&host=sftp.big.example" in page.links


def test_single_hosts_of_one_rule_stand_together() -> None:
    page = page_of(board_of(*(failing(f"c-{n}", f"sftp{n}.example") for n in range(3))))
    assert "failed_test on 3 hosts: 3 campaigns" in page.text
    assert "?host=sftp2.example" in page.links


def test_a_group_that_fills_the_page_hides_no_other_group() -> None:
    crowd = [failing(f"c-{n}") for n in range(2 * FIRST)]
    pages = [page_of(board_of(*crowd, failing("other", "b.example"))) for _ in range(1)]
    assert pages[0].campaigns[FIRST] == "other"
    assert f"{FIRST + 1} to {2 * FIRST} of {2 * FIRST} campaigns" in pages[0].text
    assert sorted(pages[0].campaigns) == sorted([*(f"c-{n}" for n in range(2 * FIRST)), "other"])


def test_next_steps_that_differ_within_a_group_are_said_with_each_campaign() -> None:
    entries = [failing("c-1"), failing("c-2")]
    first = entries[0].status
    alert = replace(first.alerts["failed_test"], next_step="Call the customer.")
    changed = replace(first, alerts={**first.alerts, "failed_test": alert})
    text = page_of(board_of(replace(entries[0], status=changed), entries[1])).text
    assert text.count("Next:") == 2
    assert "Next: Call the customer." in text


def test_a_problem_has_name_labels_evidence_since_impact_next_step_and_links() -> None:
    entry = failing("c-1", name="Retail leads", labels={"team": "retail"}, calls=AROUND_THE_CLOCK)
    page = page_of(board_of(entry))
    assert "Retail leads team=retail" in page.text
    assert "last test failed 1 d ago (2027-01-14T08:00:00Z) since 1 d ago" in page.text
    assert "Next: The API does not give the cause" in page.text
    assert (
        "At stake: calling now until 00:00 UTC; imports daily last_test_success false" in page.text
    )
    assert {
        "?label.team=retail",
        "campaigns/production/c-1",
        "https://runbooks.example/failed_test",
        "https://t.example/production/c-1",
    } <= {*page.links}


def test_without_a_template_nothing_leads_to_talkover() -> None:
    page = Outline(overview_page(board_of(failing("c-1")), VERSION).decode())
    assert [link for link in page.links if "://" in link] == []


def test_times_are_relative_with_the_exact_one_for_machines_and_on_hover() -> None:
    times = [of for tag, of in page_of(board_of(failing("c-1"))).tags if tag == "time"]
    exact = {"datetime": "2027-01-14T08:00:00Z", "title": "2027-01-14T08:00:00Z"}
    assert exact in times


def test_a_campaign_with_several_alerts_is_shown_once_with_all_of_them() -> None:
    rules = {"stale_test": {"max_age": HOUR}}
    board = board_of(an_entry("c-1", (NOW, FAILED), rules=rules))
    page = page_of(board)
    assert page.campaigns == ["c-1"]
    assert "failed_test on sftp.example" in page.text
    assert "stale_test last test 1 d ago" in page.text
    # Who asks for a rule finds it under that rule.
    assert "stale_test on sftp.example" in page_of(board, rule="stale_test").text


def test_an_alert_says_what_the_last_poll_found_where_it_is_something_else() -> None:
    rules = {"failed_test": {"keep_firing_for": HOUR}}
    failed = (NOW - 60, FAILED)
    held = an_entry("c-1", failed, (NOW, a_config()), rules=rules)
    assert (
        "By now healthy: last test passed at 2027-01-14T08:00:00Z" in page_of(board_of(held)).text
    )
    unread = an_entry("c-1", failed, (NOW, PollError(Reason.TIMEOUT)), rules=rules)
    assert "By now unknown: the last poll failed: timeout" in page_of(board_of(unread)).text
    assert "By now" not in page_of(board_of(an_entry("c-1", failed))).text


def test_a_pending_alert_says_when_it_fires() -> None:
    rules = {"failed_test": {"for_": HOUR}}
    page = page_of(board_of(an_entry("c-1", (NOW, FAILED), rules=rules)))
    assert "… pending failed_test on sftp.example" in page.text
    assert "fires by itself in 1 h" in page.text


def test_a_muted_alert_says_by_what_and_asks_for_nothing() -> None:
    off = replace(FAILED, is_enabled=False, created_at=NOW - HOUR)
    page = page_of(board_of(an_entry("c-1", (NOW, off))))
    assert "disabled or muted: nobody is notified of 1 campaign" in page.text
    assert "failed_test muted by disabled: last test failed 1 d ago" in page.text
    assert "Next:" not in page.text


def test_a_campaign_of_which_nobody_is_notified_says_so() -> None:
    page = page_of(board_of(an_entry("c-1", (NOW, a_config()), muted_status="paused")))
    assert "nobody is notified: its status is paused" in page.text


def test_a_campaign_that_uses_no_sftp_says_so() -> None:
    entry = an_entry("c-1", (NOW, NoConfig()), listed=False, expected=False)
    assert "has no SFTP config, and needs none" in page_of(board_of(entry)).text


# --- unknown is never called healthy -------------------------------------------------------------


@pytest.mark.parametrize(
    ("history", "expected"),
    [
        ([], "? unknown not read yet in production"),
        ([(NOW - 16 * MINUTE, a_config())], "? unknown not read for too long in production"),
        (
            [(NOW - 60, a_config()), (NOW, PollError(Reason.TIMEOUT, "after 10 s"))],
            "? unknown the last poll failed: timeout in production",
        ),
        (
            [(NOW, a_config(last_test_success=None))],
            "? partly unknown the record of the last test is incomplete in production",
        ),
    ],
    ids=["never read", "long ago", "failed", "half a record"],
)
def test_what_is_unknown_says_why(
    history: list[tuple[Instant, Observation]], expected: str
) -> None:
    page = page_of(board_of(an_entry("c-1", *history)))
    assert expected in page.text
    assert "✓ healthy" not in page.text
    assert "is healthy" not in page.text


def test_a_failed_poll_says_what_the_api_answered_and_when_it_was_read_last() -> None:
    error = PollError(Reason.TIMEOUT, "after 10 s")
    entry = an_entry("c-1", (NOW - 60, a_config()), (NOW, error))
    assert "after 10 s; last read 1 min ago" in page_of(board_of(entry)).text


def test_after_a_start_a_campaign_is_not_called_fine_before_its_first_poll() -> None:
    entry = replace(an_entry("c-1", (NOW, a_config())), findings=None)
    text = page_of(board_of(entry)).text
    assert "? partly unknown not read since the start" in text
    assert "✓ healthy" not in text


def test_a_campaign_is_not_called_fine_while_its_environment_is_down() -> None:
    status = after_calls("production", Reason.TIMEOUT, NOW - 900, NOW - 890, NOW - 880, NOW)
    page = page_of(board_of(an_entry("c-1", (NOW, a_config())), status=status))
    assert "not read while the environment's API gives nothing" in page.text
    assert "✓ healthy" not in page.text


# --- healthy ones, and environments --------------------------------------------------------------


def test_a_healthy_campaign_is_one_line_with_its_last_test_and_host() -> None:
    text = page_of(board_of(an_entry("c-1", (NOW, a_config(port=2222)), name="Leads"))).text
    assert "Leads passed 1 d ago , sftp.example:2222" in text


def test_a_test_in_the_future_is_shown_as_ahead() -> None:
    entry = an_entry("c-1", (NOW, a_config(last_test_at=NOW + 60)))
    assert "passed in 1 min" in page_of(board_of(entry)).text


def test_how_old_a_test_is_goes_by_the_clock_that_counts() -> None:
    entry = an_entry("c-1", (NOW - MINUTE, a_config(last_test_at=NOW - 3 * HOUR)))
    assert "passed 5 h ago" in page_of(board_of(entry, ahead=2 * HOUR)).text


def test_a_campaign_without_a_name_is_called_by_its_id() -> None:
    assert (
        "c-1 passed 1 d ago" in page_of(board_of(an_entry("c-1", (NOW, a_config()), name=""))).text
    )


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (EnvironmentStatus(name="production"), "production not called yet"),
        (EnvironmentStatus(name="production", up=True), "production answers"),
        (EnvironmentStatus(name="production", up=False), "production fails"),
        (
            EnvironmentStatus(name="production", up=False, outage_at=NOW - 600),
            "production does not answer since 10 min ago",
        ),
        (
            EnvironmentStatus(name="production", up=False, rejected_at=NOW - 600),
            "production rejects the token since 10 min ago",
        ),
        (
            EnvironmentStatus(name="production", up=False, refused_at=NOW - 600),
            "production refuses every campaign since 10 min ago",
        ),
    ],
    ids=["new", "up", "one failure", "outage", "rejected", "refused"],
)
def test_an_environment_says_what_its_api_does(status: EnvironmentStatus, expected: str) -> None:
    assert expected in page_of(a_snapshot(an_environment(status=status))).text


def test_an_environment_says_why_its_campaigns_cannot_be_listed() -> None:
    refused = PollError(Reason.FORBIDDEN, "403")
    page = page_of(a_snapshot(an_environment(listing_error=refused)))
    assert "0 cannot be listed: forbidden" in page.text
    assert "cannot be listed" not in page_of(a_rich_snapshot()).text


def test_an_environment_tells_its_budget() -> None:
    assert "50 calls/min, 12 left now 5 min 1 min ago" in page_of(a_rich_snapshot()).text


# --- filters and pages ---------------------------------------------------------------------------

ASKED: dict[str, list[Any]] = {
    "q": ["retail", "SFTP.NORTH", "nobody"],
    "health": [("critical",), ("unknown", "warning")],
    "environment": ["staging", "production"],
    "rule": ["failed_test", "missing", "api_unreachable"],
    "host": ["sftp.northwind.example", "sftp.example"],
    "labels": [{"team": "retail"}, {"team": "retail", "region": "emea"}],
}
ONE_OR_TWO = [
    dict(zip(names, values, strict=True))
    for n in (1, 2)
    for names in combinations(ASKED, n)
    for values in [[ASKED[name][0] for name in names], [ASKED[name][-1] for name in names]]
]


@pytest.mark.matrix(fast=12)
@pytest.mark.parametrize("asked", ONE_OR_TWO, ids="-".join)
def test_page_and_json_take_the_same_campaigns_by_each_filter_and_each_pair(
    asked: dict[str, Any],
) -> None:
    snapshot, filters = a_rich_snapshot(), Filters(**asked)
    listed = {*listed_ids(snapshot, filters)}
    page = page_of(snapshot, **asked)
    assert {*page.campaigns} == listed
    alerts = {one.campaign_id for one in alerts_page(snapshot, filters=filters).alerts} - {None}
    assert alerts <= listed
    # Each filter is shown, and can be cleared by itself.
    for name, value in filters.pairs():
        assert f"{name}={value} ×" in page.text
    if not listed:
        assert "No campaign is like that. Clear the filters" in page.text


TEXTS = st.sampled_from(["", "a", "A", "sftp", "x.example", "ß", "\u0130"])


@given(
    q=TEXTS,
    hosts=st.lists(st.sampled_from(["sftp.example", "x.example", "X.example"]), max_size=6),
    passed=st.lists(st.booleans(), min_size=6, max_size=6),
    team=st.sampled_from(["", "a", "b"]),
    rule=st.sampled_from(["", "failed_test"]),
    health=st.lists(st.sampled_from(list(Health)), max_size=2),
)
def test_page_and_json_take_the_same_campaigns(
    q: str, hosts: list[str], passed: list[bool], team: str, rule: str, health: list[str]
) -> None:
    entries = [
        an_entry(
            f"c-{n}",
            (NOW, a_config(host=host, last_test_success=passed[n])),
            name="aßA"[n % 3 :],
            labels={"team": "ab"[n % 2]},
        )
        for n, host in enumerate(hosts)
    ]
    labels = {"team": team} if team else {}
    filters = Filters(q=q, rule=rule, health=tuple(health), labels=labels)
    snapshot = board_of(*entries)
    listed = listed_ids(snapshot, filters)
    page = Outline(overview_page(snapshot, VERSION, filters).decode())
    assert sorted(page.campaigns) == sorted(listed)


async def test_the_page_reads_the_filters_of_the_url_and_those_of_its_form() -> None:
    async with serving() as client:
        by_link = Outline((await client.get("/?rule=failed_test&label.team=retail")).text)
        form = "/?q=&environment=&rule=failed_test&label.team=retail"
        by_form = Outline((await client.get(form)).text)
    assert by_link.campaigns == by_form.campaigns == ["failed"]
    hidden = [of for tag, of in by_link.tags if tag == "input" and of.get("type") == "hidden"]
    assert [(of["name"], of["value"]) for of in hidden] == [("label.team", "retail")]


@pytest.mark.parametrize(
    ("query", "error"),
    [
        ("helth=critical", "expected one of environment, health, host, label.NAME, page, q, rule"),
        ("health=sick", "health: expected one of critical, unknown, warning, healthy, got 'sick'"),
        ("rule=nonsense", "rule: expected one of missing, never_tested, disabled"),
        ("environment=nowhere", "environment: expected one of production, staging, rejected"),
        ("page=0", "page: expected a whole number from 1 to 1,000,000, got '0'"),
        ("q=a&q=b", "q: expected one value, got 2"),
    ],
)
async def test_what_is_not_understood_is_400_and_says_what_was_expected(
    query: str, error: str
) -> None:
    async with serving() as client:
        answer = await client.get(f"/?{query}")
    assert answer.status_code == 400
    assert answer.text.startswith(error)


async def test_every_filter_that_the_page_links_to_is_understood() -> None:
    async with serving() as client:
        page = Outline((await client.get("/?environment=production")).text)
        asked = [link for link in page.links if link.startswith("?")]
        statuses = {link: (await client.get(f"/{link}")).status_code for link in asked}
    assert len(statuses) > 10
    assert set(statuses.values()) == {200}


def test_pages_together_have_every_campaign_once_and_lead_to_each_other() -> None:
    healthy = an_entry("c-1", (NOW, a_config()))
    many = {
        f"c-{n}": replace(healthy, target=replace(healthy.target, campaign_id=f"c-{n}"))
        for n in range(2 * ROWS)
    }
    worst = failing("worst", name="zzz")
    board = a_snapshot(replace(an_environment(), campaigns={**many, "worst": worst}))
    pages = [page_of(board, page=n) for n in (1, 2, 3)]
    assert [len(page.campaigns) for page in pages] == [ROWS, ROWS, 1]
    assert pages[0].campaigns[0] == "worst"
    assert {one for page in pages for one in page.campaigns} == {*many, "worst"}
    assert "?page=2" in pages[0].links
    assert {"./", "?page=3"} <= {*pages[1].links}
    assert "There is no page 4: the last one is 3" in page_of(board, page=4).text


def test_a_filter_begins_on_the_first_page_and_pages_keep_the_filter() -> None:
    crowd = [failing(f"c-{n:03}") for n in range(ROWS + 1)]
    page = page_of(board_of(*crowd), page=2, rule="failed_test")
    assert page.campaigns == ["c-100"]
    assert "?rule=failed_test" in page.links
    assert "?rule=failed_test&health=critical" in page.links


def test_groups_and_rows_have_keys_that_stay_while_they_are_there() -> None:
    page = page_of(board_of(failing("c-1"), failing("c-2"), an_entry("c-3", (NOW, a_config()))))
    keys = [of["data-key"] for _, of in page.tags if "data-key" in of]
    assert {"critical failed_test sftp.example", "production/c-1", "production/c-3"} <= {*keys}
    ids = [of["id"] for _, of in page.tags if "id" in of]
    assert len(ids) == len({*ids})
    assert {"main", "c-production-c-1", "c-production-c-3"} <= {*ids}


@pytest.mark.slow
def test_of_5000_campaigns_the_first_page_is_at_most_100_kb_compressed() -> None:
    dead = [failing(f"dead-{n}", name=f"Retail leads {n}") for n in range(400)]
    fine = [an_entry(f"c-{n}", (NOW, a_config()), name=f"Win-back {n}") for n in range(4600)]
    page = overview_page(board_of(*dead, *fine), VERSION)
    assert len(gzip.compress(page, 1)) < 100_000
    assert len(Outline(page.decode()).campaigns) == ROWS


# --- hostile data ------------------------------------------------------------------------------

HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "javascript:alert(1)",
    "</title><h1>",
    "{{ 7 * 7 }}{% raw %}",
    "&lt;b&gt;",
    "\u202etxt.exe\x00\x1b[31m\ud800",
)


def hostile_page(text: str) -> Outline:
    """Return a page on which the API and the config say `text` wherever they can say something.

    Campaigns that fail (one could not be read since), are muted, partly unknown and healthy.
    """
    labels = {"team": text, text: text}
    config = a_config(host=text, import_schedule=text, last_test_success=False)
    error = PollError(Reason.SCHEMA_MISMATCH, text)
    failed = an_entry("c-1", (NOW, config), name=text, labels=labels)
    alert = replace(
        failed.status.alerts["failed_test"], evidence={"cause": text}, next_step=text, summary=text
    )
    entries = [
        replace(failed, status=replace(failed.status, alerts={"failed_test": alert})),
        an_entry("c-2", (NOW - 60, config), (NOW, error), name=text, labels=labels),
        an_entry("c-3", (NOW, replace(config, is_enabled=False)), name=text, muted_status=text),
        an_entry("c-4", (NOW, replace(config, last_test_success=None)), name=text),
        an_entry("c-5", (NOW, replace(config, last_test_success=True)), name=text),
    ]
    board = board_of(*entries, labels=AlertLabels(labels=labels))
    return page_of(board, text, host=text)


def elements(page: Outline) -> list[tuple[str, list[str]]]:
    """Return what the page is made of: tags with the names of their attributes."""
    return [(tag, list(attributes)) for tag, attributes in page.tags]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_strings_are_text_and_nothing_else(text: str) -> None:
    page = hostile_page(text)
    assert elements(page) == elements(hostile_page("harmless"))
    assert len(page.campaigns) == 5
    inside = ("?", "#", "./", "campaigns/", "events", "metrics", "api/", "openapi.json")
    assert all(link.startswith((*inside, "https://")) for link in page.links)


@given(text=st.text(alphabet="<>\"'&/={}%abc \n\t\ud800\u2028"))
def test_no_string_changes_what_the_page_is_made_of(text: str) -> None:
    assert elements(hostile_page(f"x{text}")) == elements(hostile_page("x"))


def test_braces_are_not_evaluated() -> None:
    assert "{{ 7 * 7 }}" in hostile_page("{{ 7 * 7 }}").text


def test_the_page_has_one_script_of_its_own_and_no_inline_style() -> None:
    page = page_of(a_rich_snapshot())
    assert {tag for tag, _ in page.tags}.isdisjoint({"style", "iframe", "object"})
    scripts = [attributes for tag, attributes in page.tags if tag == "script"]
    assert scripts == [{"src": "./static/live.js", "defer": None}]
    names = {name for _, attributes in page.tags for name in attributes}
    assert "style" not in names
    assert not [name for name in names if name.startswith("on")]


async def test_every_link_of_the_page_leads_somewhere() -> None:
    async with serving() as client:
        page = Outline((await client.get("/")).text)
        inside = [link for link in page.links if not link.startswith(("https://", "#"))]
        statuses = {link: (await client.get(f"/{link}")).status_code for link in inside}
    assert set(statuses.values()) == {200}


async def test_the_page_its_style_and_its_script_come_with_their_types() -> None:
    async with serving() as client:
        page, style = await client.get("/"), await client.get("/static/style.css")
        script = await client.get("/static/live.js")
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert style.headers["Content-Type"] == "text/css; charset=utf-8"
    assert script.headers["Content-Type"] == "text/javascript; charset=utf-8"
    assert "prefers-color-scheme: dark" in style.text


async def test_every_class_of_the_page_has_a_style() -> None:
    async with serving() as client:
        page = Outline((await client.get("/")).text)
        style = (await client.get("/static/style.css")).text
    used = {name for _, tag in page.tags for name in (tag.get("class") or "").split()}
    styled = set(re.findall(r"\.([a-z-]+)", style))
    assert used - {"summary", "who", "other"} <= styled


async def test_every_state_has_an_icon() -> None:
    async with serving() as client:
        icons = [await client.get(f"/static/{health}.svg") for health in Health]
    assert {(one.status_code, one.headers["Content-Type"]) for one in icons} == {
        (200, "image/svg+xml")
    }


# --- how it looks --------------------------------------------------------------------------------


def luminance(colour: str) -> float:
    """Return the relative luminance of #rrggbb, as WCAG has it."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


async def test_any_text_has_a_contrast_of_4_5_in_light_and_dark() -> None:
    async with serving() as client:
        style = (await client.get("/static/style.css")).text
    light, dark = (
        dict(re.findall(r"--(\w+): (#\w{6});", block)) for block in style.split(":root {")[1:3]
    )
    assert light.keys() == dark.keys()
    for scheme in (light, dark):
        for text in scheme.keys() - {"back", "card", "line"}:
            for behind in ("back", "card"):
                bright, dim = sorted(map(luminance, (scheme[text], scheme[behind])), reverse=True)
                assert (bright + 0.05) / (dim + 0.05) >= 4.5, (text, behind)


def test_a_page_that_was_made_keeps_no_campaign_until_the_collector_runs() -> None:
    snapshot = a_rich_snapshot()
    entries = [entry for _, entry in snapshot.entries()]
    gc.disable()
    try:
        overview_page(snapshot, VERSION)
        held = [sys.getrefcount(entry) for entry in entries]
        overview_page(snapshot, VERSION)
        assert [sys.getrefcount(entry) for entry in entries] == held
    finally:
        gc.enable()
