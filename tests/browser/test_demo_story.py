"""The demo's story, its shortest break, seen on open pages that nobody loads again."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page, expect

from monitor.core.text import rfc3339
from monitor.demo.campaigns import CAMPAIGNS, CLINIC_REMINDERS
from monitor.demo.platform import Platform
from monitor.demo.story import DEMO_TOKEN, STORY
from support.browser import visiting, wait_seconds
from support.command import daemon, write_config
from support.fake_platform import FakePlatform, now

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.e2e,
    pytest.mark.slow(seconds=10),
]

DELETED, MADE_ANEW = (
    next(chapter.at for chapter in STORY if words in chapter.text)
    for words in ("Clinic reminders is deleted", "Clinic reminders is made anew")
)


async def until(page: Page, holds: Callable[[], Awaitable[bool]]) -> None:
    """Have a page updated again and again until this holds."""
    async with asyncio.timeout(60):
        while not await holds():
            async with page.expect_response(page.url):
                await wait_seconds(page, 15)


async def test_a_config_that_is_deleted_and_made_anew_is_followed_without_a_reload(
    browser: Browser, tmp_path: Path
) -> None:
    platform = Platform(DEMO_TOKEN, now)
    here = FakePlatform(await platform.start())
    (tmp_path / "token").touch(mode=0o600)
    (tmp_path / "token").write_text(DEMO_TOKEN)
    campaigns = [{"id": one.id, "name": one.name} for one in CAMPAIGNS]
    config = write_config(tmp_path, here, [], environment={"campaigns": campaigns})
    path = f"campaigns/production/{CLINIC_REMINDERS.id}"
    try:
        async with (
            daemon(config) as monitor,
            visiting(browser, f"{monitor.web.base_url}/", now=rfc3339(now())) as overview,
            visiting(browser, f"{monitor.web.base_url}/{path}", now=rfc3339(now())) as campaign,
        ):
            badge, link = campaign.locator("header"), overview.locator(f"a[href$='{path}']").first
            await until(campaign, lambda: badge.get_by_text("healthy").is_visible())
            await until(overview, link.is_visible)
            calm = await overview.title()
            for page in (overview, campaign):
                await page.evaluate("window.here = true")
            await link.focus()

            platform.play.started_at = now() - DELETED
            await until(campaign, lambda: badge.get_by_text("critical").is_visible())
            await until(overview, lambda: is_other(overview, calm))
            await expect(link).to_be_focused()

            platform.play.started_at = now() - MADE_ANEW
            await until(campaign, lambda: badge.get_by_text("healthy").is_visible())
            await until(overview, lambda: is_title(overview, calm))
            await expect(link).to_be_focused()
            for page in (overview, campaign):
                assert await page.evaluate("window.here")
    finally:
        await platform.stop()


async def is_title(page: Page, title: str) -> bool:
    return await page.title() == title


async def is_other(page: Page, title: str) -> bool:
    return await page.title() != title
