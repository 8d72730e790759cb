"""A real browser in tests: headless Chromium, pages whose complaints fail the test, and axe."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from functools import cache
from importlib.resources import files
from typing import Any

import pytest
from playwright.async_api import Browser, Page, async_playwright

from support.peers import require_peer


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """Run the Chromium of this machine; without one the test is skipped."""
    path = require_peer("chromium")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=path, args=["--disable-gpu", "--disable-dev-shm-usage"]
        )
        try:
            yield browser
        finally:
            await browser.close()


@asynccontextmanager
async def visiting(
    browser: Browser,
    url: str,
    *,
    now: str | None = None,
    stands: bool = False,
    complains: bool = False,
    **options: Any,
) -> AsyncIterator[Page]:
    """Open a page as a reader would; `options` are those of a browser context.

    With `now`, its clock starts there, and `wait_seconds` moves it on; where it `stands`, nothing
    else does.

    Whatever the browser has to say against it fails the test at the end: an exception of a script,
    a refusal by the policy, a file that is not there; unless `complains` expects that.
    """
    said: list[str] = []
    async with await browser.new_context(**options) as context:
        page = await context.new_page()
        page.set_default_timeout(15_000)
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("console", lambda one: said.append(one.text) if one.type == "error" else None)
        if now is not None:
            # It goes on by itself until it is paused, and nothing leads it back.
            before = timedelta(hours=1) if stands else timedelta()
            await page.clock.install(time=datetime.fromisoformat(now) - before)
            if stands:
                await page.clock.pause_at(now)
        await page.goto(url)
        yield page
    if said and not complains:
        pytest.fail("the browser complains: " + "; ".join(said))


async def wait_seconds(page: Page, seconds: float) -> None:
    """Let so many seconds go by for the script of a page that was opened with `now`."""
    await page.clock.fast_forward(int(seconds * 1000))


@cache
def _axe() -> str:
    return files("axe_playwright_python").joinpath("axe.min.js").read_text()


async def violations(page: Page) -> list[str]:
    """Return what axe finds wrong with a page, each with the element it is about."""
    await page.evaluate(_axe())
    found = await page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{one['id']}: {node['target'][0]}: {node['failureSummary']}"
        for one in found["violations"]
        for node in one["nodes"]
    ]


async def elements(page: Page) -> list[str]:
    """Return every element of a page with the names of its attributes, in order."""
    names: list[str] = await page.evaluate(
        "[...document.querySelectorAll('*')].map("
        "it => [it.localName, ...it.getAttributeNames().sort()].join(' '))"
    )
    return names


async def overflow(page: Page) -> int:
    """Return by how many pixels a page is wider than its window."""
    wide: int = await page.evaluate(
        "document.scrollingElement.scrollWidth - document.scrollingElement.clientWidth"
    )
    return wide
