"""The status page: the worst first, nothing hostile gets through, no script needed."""

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.adapters.web.serializers import ROWS, status_page
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
from monitor.core.snapshot import Snapshot
from monitor.core.status import EnvironmentStatus
from support.boards import a_rich_snapshot, a_snapshot, after_calls, an_entry, an_environment
from support.builders import NOW, a_config
from support.scrapes import VERSION
from support.web import serving


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
        prefix = "campaigns/"
        return [link.rsplit("/", 1)[1] for link in self.links if link.startswith(prefix)]


def page_of(snapshot: Snapshot, not_ready: str | None = None) -> Outline:
    """Return the page of a board."""
    return Outline(status_page(replace(snapshot, not_ready=not_ready), VERSION).decode())


def test_the_worst_campaigns_come_first() -> None:
    assert page_of(a_rich_snapshot()).campaigns == [
        "missing",
        "failed",
        "unreadable",
        "never-polled",
        "lost",
        "hiccup",
        "stale",
        "healthy",
        "young",
        "off",
        "pending",
    ]


def test_the_totals_count_every_campaign_and_the_environments_whose_own_alerts_fire() -> None:
    text = page_of(a_rich_snapshot()).text
    assert "critical 4 unknown 4 warning 1 healthy 4 alerts firing 6" in text


def test_the_title_counts_what_is_critical() -> None:
    assert "(4) SFTP config monitor" in page_of(a_rich_snapshot()).text
    assert "(" not in page_of(a_snapshot()).text


def test_an_alert_of_the_environment_alone_is_in_the_title_and_in_the_totals() -> None:
    status = after_calls("production", Reason.TIMEOUT, NOW - 900, NOW - 890, NOW - 880, NOW)
    text = page_of(a_snapshot(an_environment(status=status))).text
    assert "(1) SFTP config monitor" in text
    assert "critical 1 unknown 0 warning 0 healthy 0 alert firing 1" in text


def test_an_alert_says_what_the_last_poll_found_where_it_is_something_else() -> None:
    rules = {"failed_test": {"keep_firing_for": HOUR}}
    failed = (NOW - 60, a_config(last_test_success=False))
    held = an_entry("c-1", failed, (NOW, a_config()), rules=rules)
    assert (
        "By now healthy: last test passed 1 d ago" in page_of(a_snapshot(an_environment(held))).text
    )
    unread = an_entry("c-1", failed, (NOW, PollError(Reason.TIMEOUT)), rules=rules)
    text = page_of(a_snapshot(an_environment(unread))).text
    assert "By now unknown: the last poll failed: timeout" in text
    assert "By now" not in page_of(a_snapshot(an_environment(an_entry("c-1", failed)))).text


def test_what_rules_cannot_say_is_not_called_fine() -> None:
    half = an_entry("c-1", (NOW, a_config(last_test_success=None)))
    text = page_of(a_snapshot(an_environment(half))).text
    assert "Unknown: the record of the last test is incomplete" in text
    assert "Nothing." not in text


def test_after_a_start_a_campaign_is_not_called_fine_before_its_first_poll() -> None:
    entry = replace(an_entry("c-1", (NOW, a_config())), findings=None)
    text = page_of(a_snapshot(an_environment(entry))).text
    assert "Not read since the start." in text
    assert "Nothing." not in text


def test_a_firing_alert_says_what_is_wrong_since_when_and_what_to_do() -> None:
    entry = an_entry("c-1", (NOW, a_config(last_test_success=False)))
    text = page_of(a_snapshot(an_environment(entry))).text
    assert "failed_test since 1 d ago last test failed 1 d ago (2027-01-14T08:00:00Z)" in text
    assert "The API does not give the cause" in text


def test_a_muted_alert_says_by_what_and_asks_for_nothing() -> None:
    entry = an_entry("c-1", (NOW, a_config(is_enabled=False, last_test_success=False)))
    text = page_of(a_snapshot(an_environment(entry))).text
    assert "failed_test muted by disabled since 1 d ago" in text
    assert "The API does not give the cause" not in text


@pytest.mark.parametrize(
    ("history", "expected"),
    [
        ([], "Not read yet."),
        ([(NOW, a_config())], "Nothing."),
        ([(NOW - 16 * MINUTE, a_config())], "Not read for too long."),
        (
            [(NOW - 60, a_config()), (NOW, PollError(Reason.TIMEOUT, "after 10 s"))],
            "The last poll failed: timeout after 10 s",
        ),
    ],
    ids=["never read", "healthy", "long ago", "failed"],
)
def test_what_is_wrong_is_never_left_open(
    history: list[tuple[Instant, Observation]], expected: str
) -> None:
    page = page_of(a_snapshot(an_environment(an_entry("c-1", *history))))
    assert expected in page.text


def test_a_campaign_is_not_called_fine_while_its_environment_is_down() -> None:
    status = after_calls("production", Reason.TIMEOUT, NOW - 900, NOW - 890, NOW - 880, NOW)
    page = page_of(a_snapshot(an_environment(an_entry("c-1", (NOW, a_config())), status=status)))
    assert "Not read while the environment's API gives nothing." in page.text
    assert "Nothing." not in page.text


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
    ],
    ids=["new", "up", "one failure", "outage", "rejected"],
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


def test_a_campaign_shows_its_last_test_host_and_schedule() -> None:
    entry = an_entry("c-1", (NOW, a_config(port=2222)))
    text = page_of(a_snapshot(an_environment(entry))).text
    assert "passed 1 d ago sftp.example:2222 daily 0 s ago" in text


def test_a_missing_port_is_not_made_up() -> None:
    entry = an_entry("c-1", (NOW, a_config(port=None)))
    assert "sftp.example daily" in page_of(a_snapshot(an_environment(entry))).text


def test_a_test_in_the_future_is_shown_as_ahead() -> None:
    entry = an_entry("c-1", (NOW, a_config(last_test_at=NOW + 600)))
    assert "passed in 10 min" in page_of(a_snapshot(an_environment(entry))).text


def test_a_campaign_without_a_name_is_called_by_its_id() -> None:
    entry = an_entry("c-1", (NOW, NoConfig()), name="")
    assert "c-1 production" in page_of(a_snapshot(an_environment(entry))).text


def test_a_board_without_campaigns_says_so() -> None:
    assert "No campaign is watched." in page_of(a_snapshot()).text


def test_a_monitor_that_is_not_ready_says_why_on_top() -> None:
    assert "Not ready: the disk is full" in page_of(a_snapshot(), "the disk is full").text


@pytest.mark.slow
def test_beyond_a_thousand_rows_the_worst_are_shown_and_the_rest_is_said_to_be_missing() -> None:
    healthy = an_entry("c-1", (NOW, a_config()))
    entries = {
        f"c-{n}": replace(healthy, target=replace(healthy.target, campaign_id=f"c-{n}"))
        for n in range(ROWS)
    }
    worst = an_entry("worst", (NOW, a_config(last_test_success=False)), name="zzz")
    page = page_of(a_snapshot(replace(an_environment(), campaigns={**entries, "worst": worst})))
    assert len(page.campaigns) == ROWS
    assert page.campaigns[0] == "worst"
    assert f"The {ROWS} worst of {ROWS + 1} campaigns." in page.text


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
    """Return a page on which the API and the config say `text` wherever they can say something."""
    config = a_config(host=text, import_schedule=text, last_test_success=False)
    error = PollError(Reason.SCHEMA_MISMATCH, text)
    entry = an_entry("c-1", (NOW - 60, config), (NOW, error), name=text, labels={"team": text})
    return page_of(
        a_snapshot(an_environment(entry, labels=AlertLabels(labels={"team": text}))), text
    )


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_strings_are_text_and_nothing_else(text: str) -> None:
    harmless, hostile = hostile_page("harmless"), hostile_page(text)
    assert hostile.tags == harmless.tags


@given(text=st.text(alphabet="<>\"'&/={}%abc \n\t\ud800\u2028"))
def test_no_string_changes_what_the_page_is_made_of(text: str) -> None:
    tags = [tag for tag, _ in hostile_page(f"x{text}").tags]
    assert tags == [tag for tag, _ in hostile_page("x").tags]


def test_braces_are_not_evaluated() -> None:
    assert "{{ 7 * 7 }}" in hostile_page("{{ 7 * 7 }}").text


def test_the_page_has_one_script_of_its_own_and_no_inline_style() -> None:
    page = page_of(a_rich_snapshot())
    assert {tag for tag, _ in page.tags}.isdisjoint({"style", "iframe", "object", "form"})
    scripts = [attributes for tag, attributes in page.tags if tag == "script"]
    assert scripts == [{"src": "./static/live.js", "defer": None}]
    names = {name for _, attributes in page.tags for name in attributes}
    assert "style" not in names
    assert not [name for name in names if name.startswith("on")]


async def test_every_link_of_the_page_leads_somewhere() -> None:
    async with serving() as client:
        page = Outline((await client.get("/")).text)
        statuses = {link: (await client.get(f"/{link}")).status_code for link in page.links}
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
    styled = set(re.findall(r"\.([a-z]+)", style))
    assert used - {"firing"} <= styled


def test_how_old_a_test_is_goes_by_the_clock_that_counts_and_the_rest_by_ours() -> None:
    entry = an_entry("c-1", (NOW - HOUR, a_config(last_test_at=NOW - 3 * HOUR)))
    page = status_page(a_snapshot(an_environment(entry, ahead=2 * HOUR)), "1").decode()
    assert "5 h ago" in page
    assert "1 h ago" in page
