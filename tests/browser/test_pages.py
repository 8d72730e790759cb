"""The status page in a real browser: its own policy lets all of it through."""

import asyncio
from pathlib import Path

import pytest

from support.peers import require_peer
from support.web import HOST, a_program, listening

pytestmark = pytest.mark.e2e


async def visit(port: int, profile: Path) -> tuple[str, str]:
    """Return the page as the browser has it, and what the browser had to say about it."""
    browser = await asyncio.create_subprocess_exec(
        require_peer("chromium"),
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--enable-logging=stderr",
        f"--user-data-dir={profile}",
        "--dump-dom",
        f"http://{HOST}:{port}/",
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    page, said = await asyncio.wait_for(browser.communicate(), 60)
    return page.decode(), said.decode(errors="replace")


@pytest.mark.slow
async def test_a_browser_shows_the_page_and_refuses_nothing_of_it(tmp_path: Path) -> None:
    async with listening(a_program()) as port:
        page, said = await visit(port, tmp_path)
    assert "Retail leads" in page
    assert [line for line in said.splitlines() if "Content Security Policy" in line] == []
