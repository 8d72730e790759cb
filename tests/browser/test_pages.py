"""The pages in a real browser: for eyes, keyboards and screen readers, with script and without."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import aiohttp
import bcrypt
import pytest
from aiohttp import web
from playwright.async_api import Browser, expect

from monitor.adapters.web import EventsAnswer
from monitor.config import Access
from monitor.core.model import Event, EventStatus, Severity
from monitor.core.snapshot import Snapshot
from monitor.serialize import Links, record_of
from support.boards import a_rich_snapshot, a_snapshot, an_entry, an_environment
from support.browser import overflow, violations, visiting, wait_seconds
from support.builders import NOW, a_config
from support.web import HOST, a_program, listening

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.e2e,
    pytest.mark.slow(seconds=3),
]

FAILED = "/campaigns/production/failed"
PAGES = ("/", FAILED, "/events")
WIDTHS = (360, 1000, 1400)

FIRED = Event(
    status=EventStatus.FIRING,
    seq=1,
    rule="failed_test",
    severity=Severity.CRITICAL,
    environment="production",
    campaign_id="failed",
    summary="last test failed 1 h ago: Authentication failed",
    since=NOW,
    observed_at=NOW,
    decided_at=NOW,
    evidence={"host": f"{'long-' * 12}name.sftp.example"},
    epoch="e",
)


def history(*_: object) -> EventsAnswer:
    return EventsAnswer(events=[record_of(FIRED, Links(""))], next=None)


@dataclass
class Board:
    """A program whose board the test turns round."""

    snapshot: Snapshot

    @asynccontextmanager
    async def served(self, access: Access | None = None) -> AsyncIterator[str]:
        program = a_program(snapshot=lambda: self.snapshot, history=history)
        async with listening(program, read_access=lambda: access or Access()) as port:
            yield f"http://{HOST}:{port}"


def with_long_words() -> Snapshot:
    """Return a rich board with a campaign whose words find no place to break."""
    board = a_rich_snapshot()
    host = f"{'a' * 60}.{'b' * 60}.sftp.example"
    config = a_config(host=host, last_test_success=False)
    long = an_entry("long", (NOW - 60, config), name="N" * 128, labels={"team": "t" * 60})
    production = board.environments["production"]
    production = replace(production, campaigns={**production.campaigns, "long": long})
    return replace(board, environments={**board.environments, "production": production})


@pytest.mark.parametrize("page", PAGES)
async def test_a_page_fits_any_window_in_light_and_dark_and_keeps_nobody_out(
    browser: Browser, page: str
) -> None:
    """Axe has nothing to say against it, contrast included; nor has the browser."""
    found: dict[tuple[int, str], object] = {}
    async with Board(with_long_words()).served() as url, visiting(browser, url + page) as shown:
        for width in WIDTHS:
            for scheme in ("light", "dark"):
                await shown.set_viewport_size({"width": width, "height": 800})
                await shown.emulate_media(color_scheme=scheme)
                found[width, scheme] = await overflow(shown), await violations(shown)
    assert found == dict.fromkeys(found, (0, []))


async def test_links_lead_to_a_campaign_and_back(browser: Browser) -> None:
    async with Board(a_rich_snapshot()).served() as url, visiting(browser, url) as page:
        await page.get_by_role("link", name="Retail leads").first.click()
        await expect(page).to_have_url(url + FAILED)
        await expect(page.get_by_role("heading", level=1)).to_contain_text("Retail leads")
        await page.locator("header a").first.click()
        await expect(page).to_have_url(url + "/")


@pytest.mark.parametrize("page", PAGES)
async def test_without_script_a_page_is_whole_and_loaded_again_by_the_browser(
    browser: Browser, page: str
) -> None:
    async with (
        Board(a_rich_snapshot()).served() as url,
        visiting(browser, url + page) as usual,
        visiting(browser, url + page, java_script_enabled=False) as plain,
    ):
        refresh = "meta[http-equiv=refresh]"
        await expect(usual.locator(refresh)).to_have_count(0)
        await expect(plain.locator(refresh)).to_have_count(1)
        assert await plain.locator("main").inner_text() == await usual.locator("main").inner_text()
        elsewhere = "/" if page != "/" else FAILED
        leads = "header a" if page != "/" else f"main a[href$='{FAILED[1:]}']"
        await plain.locator(leads).first.click()
        await expect(plain).to_have_url(url + elsewhere)
        await expect(plain.locator("main")).to_be_visible()


# -- live, wherever the pages stand ---------------------------------------------------------------


def repaired() -> Snapshot:
    """Return the rich board after the failed campaign was put right and tested."""
    board = a_rich_snapshot()
    production = board.environments["production"]
    passed = an_entry("failed", (NOW - 60, a_config()), name="Retail leads")
    production = replace(production, campaigns={**production.campaigns, "failed": passed})
    return replace(board, environments={**board.environments, "production": production})


async def expect_live(browser: Browser, board: Board, url: str, **options: Any) -> None:
    """Expect the campaign's page to follow its repair without being loaded again."""
    board.snapshot = a_rich_snapshot()
    async with visiting(browser, url + FAILED, now="2027-01-16T08:00:00Z", **options) as page:
        await expect(page.locator("header")).to_contain_text("critical")
        await page.evaluate("window.here = true")
        board.snapshot = repaired()
        await wait_seconds(page, 15)
        await expect(page.locator("header")).to_contain_text("healthy")
        await expect(page).not_to_have_title("critical")
        assert await page.evaluate("window.here")


async def test_a_page_is_live_at_its_own_address(browser: Browser) -> None:
    board = Board(a_rich_snapshot())
    async with board.served() as url:
        await expect_live(browser, board, url)


async def test_a_page_is_live_behind_a_password(browser: Browser) -> None:
    hashed = bcrypt.hashpw(b"correct horse", bcrypt.gensalt(4)).decode()
    board, given = Board(a_rich_snapshot()), {"username": "sre", "password": "correct horse"}
    async with board.served(Access(users={"sre": hashed})) as url:
        await expect_live(browser, board, url, http_credentials=given)


@asynccontextmanager
async def below(prefix: str, url: str) -> AsyncIterator[str]:
    """Run a proxy that has the pages of `url` below a prefix, and nothing else."""

    async def forward(request: web.Request) -> web.Response:
        path = request.path_qs.removeprefix(prefix)
        async with aiohttp.ClientSession() as session, session.get(url + path) as answer:
            kept = {name: answer.headers[name] for name in ("Content-Type", POLICY)}
            return web.Response(status=answer.status, body=await answer.read(), headers=kept)

    app = web.Application()
    app.router.add_get(f"{prefix}/{{path:.*}}", forward)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0)
    await runner.setup()
    await web.TCPSite(runner, HOST, 0).start()
    try:
        yield f"http://{HOST}:{runner.addresses[0][1]}{prefix}"
    finally:
        await runner.cleanup()


POLICY = "Content-Security-Policy"


async def test_a_page_is_live_below_a_prefix(browser: Browser) -> None:
    board = Board(a_rich_snapshot())
    async with board.served() as url, below("/sftp", url) as address:
        await expect_live(browser, board, address)


async def test_a_campaign_that_nobody_knows_any_more_looks_old_and_says_so(
    browser: Browser,
) -> None:
    board = Board(a_rich_snapshot())
    async with (
        board.served() as url,
        visiting(browser, url + FAILED, now="2027-01-16T08:00:00Z", complains=True) as page,
    ):
        board.snapshot = a_snapshot(an_environment())
        await wait_seconds(page, 15)
        await expect(page.locator("#live")).to_contain_text("there is no such campaign")
        assert await violations(page) == []
