"""Whatever the API says in any of its fields is text, and nothing else, in a real browser.

The policy that would refuse a script is switched off here: the pages must need none for it.
"""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from playwright.async_api import Browser, Page, expect

from monitor.adapters.web import EventsAnswer
from monitor.core.attempt import Result
from monitor.core.model import (
    DAY,
    HOUR,
    MINUTE,
    CallTimes,
    Event,
    EventStatus,
    PollError,
    Reason,
    Severity,
)
from monitor.core.snapshot import Entry, Snapshot
from monitor.serialize import Links, record_of
from support import boards
from support.boards import a_snapshot, after_calls, an_entry, an_environment
from support.browser import elements, visiting, wait_seconds
from support.builders import NOW, a_config
from support.web import HOST, a_program, listening
from support.xss import PAYLOADS

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.e2e]

HARMLESS = tuple(f"word{number}" for number in range(len(PAYLOADS)))


def failing(number: int, word: str) -> Entry:
    """Return a campaign whose every field of the API is `word`, the cause of its test included."""
    config = a_config(
        host=word,
        username=word,
        auth_type=word,
        import_path=word,
        export_path=word,
        import_schedule=word,
        last_test_success=False,
    )
    polled = ((NOW - DAY, a_config(last_test_at=NOW - 2 * DAY)), (NOW - MINUTE, config))
    entry = boards.tested(
        an_entry(f"c-{number}", *polled, name=word),
        result=Result.FAILED,
        cause=word,
    )
    calls = CallTimes(zone=word, windows=((0.0, DAY),))
    return replace(entry, target=replace(entry.target, calls=calls))


def unreadable(number: int, word: str) -> Entry:
    """Return a campaign whose polls are refused with `word`, and which has that for a status."""
    refusals = [(NOW - at * MINUTE, PollError(Reason.FORBIDDEN, word)) for at in (30, 20, 1)]
    entry = an_entry(f"u-{number}", (NOW - HOUR, a_config()), *refusals, name=word)
    return replace(entry, target=replace(entry.target, muted_status=word))


def saying(words: Sequence[str]) -> Snapshot:
    """Return a board on which each of these words stands wherever the API has a say."""
    campaigns = [make(*one) for one in enumerate(words) for make in (failing, unreadable)]
    instants = (NOW - 900, NOW - 890, NOW - 880, NOW)
    environments = [
        an_environment(
            name=f"e-{number}",
            status=after_calls(f"e-{number}", Reason.HTTP_5XX, *instants, detail=word),
            listing_error=PollError(Reason.SCHEMA_MISMATCH, word),
        )
        for number, word in enumerate(words)
    ]
    return a_snapshot(an_environment(*campaigns), *environments)


def events_saying(words: Sequence[str]) -> EventsAnswer:
    """Return a history in which each word is the name, the summary and the evidence."""
    events = [
        Event(
            status=EventStatus.FIRING,
            seq=1,
            rule="failed_test",
            severity=Severity.CRITICAL,
            environment="production",
            campaign_id=f"c-{number}",
            campaign_name=word,
            summary=f"last test failed: {word}",
            since=NOW,
            observed_at=NOW,
            decided_at=NOW,
            evidence={"cause": word, "host": word},
            epoch="e",
        )
        for number, word in enumerate(words)
    ]
    return EventsAnswer(events=[record_of(event, Links("")) for event in events], next=None)


class Words:
    """A program with a board of these words, which a test may exchange."""

    def __init__(self, words: Sequence[str]) -> None:
        self.put(words)
        self.program = a_program(
            snapshot=lambda: self.snapshot, history=lambda *_: events_saying(self.words)
        )

    def put(self, words: Sequence[str]) -> None:
        self.words, self.snapshot = words, saying(words)


async def expect_harmless(page: Page, wanted: list[str]) -> None:
    """Expect a page of these elements, on which nothing ran and whose links lead to pages."""
    assert await elements(page) == wanted
    assert await page.evaluate("window.ran") is None
    leads: list[str] = await page.evaluate(
        "[...document.querySelectorAll('[href], [src], [action]')]"
        ".map(it => new URL(it.href ?? it.src ?? it.action, location))"
        ".filter(it => !/^https?:$/.test(it.protocol) || it.hostname === 'evil.example')"
        ".map(String)"
    )
    assert leads == []


@pytest.mark.slow(seconds=4)
@pytest.mark.parametrize("path", ["/", "/events"])
async def test_a_page_of_lists_is_made_of_the_same_whatever_the_api_says(
    browser: Browser, path: str
) -> None:
    served = Words(HARMLESS)
    async with listening(served.program) as port:
        url = f"http://{HOST}:{port}{path}"
        async with visiting(browser, url, now="2027-01-15T08:00:00Z", bypass_csp=True) as page:
            wanted = await elements(page)
            served.put(PAYLOADS)
            # As the script puts it in, and as it is loaded anew.
            await wait_seconds(page, 15)
            await expect(page.locator("main")).to_contain_text("ran=1")
            await expect_harmless(page, wanted)
            await page.reload()
            await expect(page.locator("main")).to_contain_text("ran=1")
            await expect_harmless(page, wanted)


@pytest.mark.slow(seconds=45)
async def test_a_campaigns_page_is_made_of_the_same_whatever_the_api_says(
    browser: Browser,
) -> None:
    served = Words(HARMLESS)
    async with listening(served.program) as port:
        url = f"http://{HOST}:{port}/campaigns/production/"
        async with visiting(browser, url + "c-0", bypass_csp=True) as page:
            wanted = {"c": await elements(page)}
            await page.goto(url + "u-0")
            wanted["u"] = await elements(page)
            served.put(PAYLOADS)
            for number in range(len(PAYLOADS)):
                for kind, made_of in wanted.items():
                    await page.goto(f"{url}{kind}-{number}")
                    await expect_harmless(page, made_of)
