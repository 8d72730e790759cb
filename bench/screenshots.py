"""Take the pictures of the README anew: the demo at the moment when most is wrong.

    make screenshots

It takes about a minute: the demo's story runs in real time.
"""

import asyncio
import signal
import sys
from io import BytesIO
from pathlib import Path
from typing import Final, NamedTuple

import httpx
from PIL import Image
from playwright.async_api import Browser

from monitor.demo.campaigns import RETAIL_LEADS
from support.browser import chromium
from support.command import running

DOCS = Path(__file__).parents[1] / "docs"
LARGEST: Final = 150_000  # bytes of a picture
COLOURS: Final = 128  # text and lines need few

# What fires, among others, from about the 36th to the 44th second of the story.
MOMENT: Final = {
    ("Clinic reminders", "missing"),
    ("Retail leads", "failed_test"),
    ("Vaccination recall", "stale_test"),
}
STORIES: Final = 5  # as many are waited for; in each, the monitor may find a break too late


class Picture(NamedTuple):
    """A page as somebody looks at it: its path, the width and height of the window, the scheme."""

    name: str
    path: str
    size: tuple[int, int]
    scheme: str = "light"


PICTURES: Final = (
    Picture("light", "/", (1200, 900)),
    Picture("dark", "/", (1200, 900), "dark"),
    Picture("phone", "/", (390, 844)),
    Picture("incident", f"/campaigns/demo/{RETAIL_LEADS.id}", (1000, 1000)),
)


async def main() -> None:
    """Run the demo, wait for the moment, and write every picture."""
    async with chromium() as browser, running("demo", "--port", "0") as demo:
        url = (await demo.line("status page")).split()[-1].rstrip("/")
        await the_moment(url)
        taken = await asyncio.gather(*(take(browser, url, one) for one in PICTURES))
        await demo.end(signal.SIGINT)
    for picture, image in zip(PICTURES, taken, strict=True):
        path = DOCS / f"page-{picture.name}.png"
        path.write_bytes(image)
        print(f"{path.relative_to(DOCS.parent)}: {len(image):,} bytes")
        if len(image) > LARGEST:
            sys.exit(f"{path.name}: expected at most {LARGEST:,} bytes; show less of the page")


async def the_moment(url: str) -> None:
    """Return when all the alerts of `MOMENT` fire."""
    async with httpx.AsyncClient(base_url=url, trust_env=False) as web:
        async with asyncio.timeout(STORIES * 120):
            # Another process has no event for us.
            while not await firing(web) >= MOMENT:  # noqa: ASYNC110
                await asyncio.sleep(0.5)


async def firing(web: httpx.AsyncClient) -> set[tuple[str, str]]:
    """Return whose alerts fire, each with its rule."""
    alerts = (await web.get("/api/v1/alerts")).json()["alerts"]
    return {(one["campaign_name"], one["rule"]) for one in alerts if one["state"] == "firing"}


async def take(browser: Browser, url: str, picture: Picture) -> bytes:
    """Return a picture of a page: a PNG with a palette."""
    width, height = picture.size
    page = await browser.new_page(
        viewport={"width": width, "height": height},
        color_scheme=picture.scheme,  # type: ignore[arg-type]
        device_scale_factor=1.5,
        timezone_id="UTC",
    )
    await page.goto(url + picture.path)
    shot = Image.open(BytesIO(await page.screenshot()))
    await page.close()
    small = BytesIO()
    shot.convert("RGB").quantize(COLOURS, kmeans=1).save(small, "PNG", optimize=True)
    return small.getvalue()


if __name__ == "__main__":
    asyncio.run(main())
