"""The script of the pages: an open page is as the monitor has it, or says that it is not.

The pages here are short ones; what all real pages have in common with them is `<main>`, `<title>`,
keys, `<details>` and `<time>`.
"""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any

import pytest
from aiohttp import web
from playwright.async_api import Browser, Page, expect

from monitor.adapters.web.auth import SECURITY_HEADERS
from support.browser import visiting, wait_seconds
from support.web import HOST

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.e2e,
    pytest.mark.slow(seconds=2),
]

SCRIPT = files("monitor.adapters.web").joinpath("static/live.js").read_text()
ICON = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1 1"/>'
BERLIN = {"timezone_id": "Europe/Berlin"}
AT_22_49 = "2026-11-26T22:49:03Z"


def a_page(main: str, *, title: str = "all is well", version: str = "1", icon: str = "ok") -> str:
    return (
        f'<!doctype html><html lang="en" data-version="{version}"><head><title>{title}</title>'
        f'<link rel="icon" href="/static/{icon}.svg">'
        '<script src="/static/live.js" defer></script></head>'
        f"<body><header>top</header><main>{main}</main><footer>end</footer></body></html>"
    )


def rows(*names: str) -> str:
    """Return rows, each with a link and with details that are closed at first."""
    return "".join(
        f'<section data-key="{name}"><a href="/{name}">{name}</a>'
        f"<details><summary>more</summary><p>more of {name}</p></details></section>"
        for name in names
    )


@dataclass
class Site:
    """A server of one page, whatever its query; `requests` counts how often it was asked for it."""

    main: str = ""
    title: str = "all is well"
    version: str = "1"
    icon: str = "ok"
    status: int = 200
    refusal: str = ""
    kind: str = "text/plain"
    gone: bool = False
    silent: bool = False
    url: str = ""
    requests: list[str] = field(default_factory=list)
    held: asyncio.Event = field(default_factory=asyncio.Event)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        if request.path.endswith("/live.js"):
            headers = {"Content-Type": "text/javascript"}
            return web.Response(text=SCRIPT, headers={**SECURITY_HEADERS, **headers})
        if request.path.endswith(".svg"):
            return web.Response(text=ICON, content_type="image/svg+xml", headers=SECURITY_HEADERS)
        self.requests.append(request.path_qs)
        if self.gone:
            assert request.transport is not None
            request.transport.abort()
        if self.silent:
            await self.held.wait()
        headers = {"Content-Type": "text/html" if self.status == 200 else self.kind}
        page = a_page(self.main, title=self.title, version=self.version, icon=self.icon)
        text = page if self.status == 200 else self.refusal
        return web.Response(status=self.status, text=text, headers={**SECURITY_HEADERS, **headers})

    @asynccontextmanager
    async def open(self, browser: Browser, path: str = "/", **options: Any) -> AsyncIterator[Page]:
        """Serve the site, and open its page with a clock that the test moves on."""
        app = web.Application()
        app.router.add_get("/{path:.*}", self.answer)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0)
        await runner.setup()
        await web.TCPSite(runner, HOST, 0).start()
        self.url = f"http://{HOST}:{runner.addresses[0][1]}"
        try:
            url = self.url + path
            async with visiting(browser, url, now=AT_22_49, stands=True, **options) as page:
                yield page
        finally:
            self.held.set()
            await runner.cleanup()


async def updated(page: Page, seconds: float = 15) -> None:
    """Let the next update come."""
    await wait_seconds(page, seconds)


# -- what is new is shown, and nothing else changes ------------------------------------------------


async def test_what_changed_is_shown_without_a_reload(browser: Browser) -> None:
    site = Site(rows("a"))
    async with site.open(browser, "/?q=x") as page:
        await page.evaluate("window.here = true")
        site.main, site.title = rows("a", "b"), "(1) one needs attention"
        await updated(page)
        await expect(page.locator("[data-key=b]")).to_be_visible()
        await expect(page).to_have_title("(1) one needs attention")
        assert await page.evaluate("window.here")
    assert site.requests == ["/?q=x", "/?q=x"], "with its filters"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (("a", "b", "c"), ("b", "c")),
        (("a", "b", "c"), ("c", "b", "a")),
        (("b",), ("a", "b", "c")),
        (("a", "b", "c", "d"), ("x", "d", "b")),
        (("a", "b"), ("b", "b")),
    ],
    ids=["first gone", "turned round", "around", "replaced", "a key twice"],
)
async def test_any_change_gives_what_the_server_has_and_keeps_what_stays(
    browser: Browser, before: tuple[str, ...], after: tuple[str, ...]
) -> None:
    site = Site(rows(*before))
    async with site.open(browser) as page:
        kept = page.locator("[data-key=b]")
        await kept.get_by_text("more", exact=True).click()
        await kept.locator("a").focus()
        await page.evaluate("window.b = document.querySelector('[data-key=b]')")
        site.main = rows(*after)
        await updated(page)
        await expect(page.locator("main a")).to_have_text(list(after))
        assert await page.evaluate("b === document.querySelector('[data-key=b]')")
        assert await page.evaluate("b.contains(document.activeElement)")
        assert await page.evaluate("b.querySelector('details').open")


async def test_a_banner_that_comes_and_goes_moves_no_focus_and_closes_nothing(
    browser: Browser,
) -> None:
    plain = "<section><details><summary>all</summary><a href='/x'>x</a></details></section>"
    site = Site(plain)
    async with site.open(browser) as page:
        await page.get_by_text("all").click()
        await page.get_by_text("x").focus()
        for main in (f"<p>not ready</p>{plain}", plain):
            site.main = main
            await updated(page)
            await expect(page.get_by_text("not ready")).to_have_count(int(main != plain))
            await expect(page.get_by_text("x")).to_be_focused()


async def test_what_moves_to_another_list_is_open_and_focused_there(browser: Browser) -> None:
    group = '<details data-key="g"><summary>group</summary><a href="/c">c</a></details>'
    site = Site(f"<div>{group}</div><ul></ul>")
    async with site.open(browser) as page:
        await page.get_by_text("group").click()
        await page.get_by_text("c", exact=True).focus()
        site.main = f"<div></div><ul><li>{group}</li></ul>"
        await updated(page)
        await expect(page.locator("ul details")).to_have_attribute("open", "")
        await expect(page.locator("ul a")).to_be_focused()


async def test_the_focus_stays_on_its_link_even_where_rows_have_no_key(browser: Browser) -> None:
    site = Site("<p><a href='/a'>a</a></p><p><a href='/b'>b</a></p>")
    async with site.open(browser) as page:
        await page.get_by_text("b").focus()
        site.main = "<p><a href='/b'>b</a></p><p><a href='/a'>a</a></p>"
        await updated(page)
        await expect(page.locator("main a").first).to_have_text("b")
        await expect(page.get_by_text("b")).to_be_focused()


async def test_a_group_that_the_reader_closed_stays_closed(browser: Browser) -> None:
    def group(count: int) -> str:
        return f'<details data-key="g" open><summary>{count} campaigns</summary>x</details>'

    site = Site(group(3))
    async with site.open(browser) as page:
        await page.get_by_text("3 campaigns").click()
        site.main = group(4)
        await updated(page)
        await expect(page.get_by_text("4 campaigns")).to_be_visible()
        await expect(page.locator("details")).not_to_have_attribute("open", "")


async def test_what_is_being_typed_chosen_or_selected_stays(browser: Browser) -> None:
    def main(age: int, new: str = "") -> str:
        return (
            '<form><input name="q" value="old"><select name="health"><option>all'
            f'{new}<option>critical</select></form><p id="age">{age} s ago</p>'
            '<p id="host">sftp.example</p>'
        )

    site = Site(main(3))
    async with site.open(browser) as page:
        await page.locator("select").select_option("critical")
        await page.locator("input").fill("half a wor")
        await page.evaluate("getSelection().selectAllChildren(document.querySelector('#host'))")
        await page.locator("input").focus()
        await page.evaluate("getSelection().selectAllChildren(document.querySelector('#host'))")
        site.main = main(18, "<option>warning")
        await updated(page)
        await expect(page.locator("#age")).to_have_text("18 s ago")
        await expect(page.locator("input")).to_have_value("half a wor")
        await expect(page.locator("select")).to_have_value("critical")
        assert await page.evaluate("String(getSelection())") == "sftp.example"


async def test_what_is_selected_stays_so_where_its_row_moves(browser: Browser) -> None:
    site = Site(rows("a", "b", "c"))
    async with site.open(browser) as page:
        await page.evaluate("getSelection().selectAllChildren(document.links[2])")
        site.main = rows("c", "a", "b")
        await updated(page)
        await expect(page.locator("main a").first).to_have_text("c")
        assert await page.evaluate("String(getSelection())") == "c"


async def test_the_page_stays_where_it_was_scrolled_to(browser: Browser) -> None:
    many = [f"r{number}" for number in range(100)]
    site = Site(rows(*many))
    async with site.open(browser) as page:
        seen = page.locator("[data-key=r50]")
        await seen.scroll_into_view_if_needed()
        before = await seen.bounding_box()
        site.main = rows("new", *many)
        await updated(page)
        await expect(page.locator("[data-key=new]")).to_have_count(1)
        assert await seen.bounding_box() == before


async def test_the_icon_changes_with_the_state(browser: Browser) -> None:
    site = Site(rows("a"))
    async with site.open(browser) as page:
        site.icon = "critical"
        await updated(page)
        icon = page.locator("link[rel=icon]")
        await expect(icon).to_have_attribute("href", "/static/critical.svg")


async def test_another_version_of_the_monitor_brings_its_own_script(browser: Browser) -> None:
    site = Site(rows("a"))
    async with site.open(browser) as page:
        await page.evaluate("window.old = true")
        site.version = "2"
        async with page.expect_navigation():
            await updated(page)
        assert await page.evaluate("window.old") is None


# -- what is not as of now says so -----------------------------------------------------------------


async def says(page: Page, words: str) -> None:
    """Expect the page to look old, and to say why."""
    await expect(page.locator("#live")).to_contain_text(words)
    await expect(page.locator("html")).to_have_class("stale")
    await expect(page).to_have_title(re.compile("^not updated since 22:49 UTC · "))


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        ({"gone": True}, "Not updated since 22:49 UTC — the monitor does not answer"),
        (
            {"status": 503, "refusal": "the state is not loaded yet\n"},
            "the monitor answers 503: the state is not loaded yet",
        ),
        (
            {"status": 404, "refusal": "there is no such campaign\n"},
            "the monitor answers 404: there is no such campaign",
        ),
        ({"status": 502, "refusal": "<b>Bad", "kind": "text/html"}, "the monitor answers 502"),
        ({"version": ""}, "is behind something that answers with another page"),
    ],
    ids=["gone", "not loaded", "no campaign", "a proxy's error", "a proxy's login"],
)
async def test_without_an_answer_the_page_looks_old_and_says_since_when_and_why(
    browser: Browser, broken: dict[str, Any], words: str
) -> None:
    site = Site(rows("a"))
    async with site.open(browser, complains=True) as page:
        usual = {name: getattr(site, name) for name in broken}
        vars(site).update(broken)
        await updated(page)
        await says(page, words)
        await expect(page.locator("[data-key=a]")).to_be_visible()
        vars(site).update(usual)
        await updated(page, 30)
        await expect(page.locator("html")).not_to_have_class("stale")
        await expect(page).to_have_title("all is well")


async def test_a_monitor_that_hangs_is_one_that_does_not_answer(browser: Browser) -> None:
    site = Site(rows("a"))
    async with site.open(browser, complains=True) as page:
        await page.evaluate("AbortSignal.timeout = () => AbortSignal.abort()")
        site.silent = True
        await updated(page)
        await says(page, "does not answer")


async def test_it_asks_less_often_while_there_is_no_answer_and_soon_again_after(
    browser: Browser,
) -> None:
    site = Site(rows("a"))
    async with site.open(browser, complains=True) as page:
        site.status, site.kind = 503, "text/html"
        asked = 1
        for wait, then in ((15, 30), (30, 60), (60, 60), (60, 60)):
            await wait_seconds(page, wait - 1)
            assert len(site.requests) == asked
            async with page.expect_response(site.url + "/"):
                await wait_seconds(page, 1)
            asked += 1
            await says(page, f"the monitor answers 503; next try in {then} s")
        site.status = 200
        for wait in (60, 15):
            async with page.expect_response(site.url + "/"):
                await wait_seconds(page, wait)
            await expect(page.locator("html")).not_to_have_class("stale")


async def test_a_page_that_slept_with_its_laptop_looks_old_until_it_is_answered(
    browser: Browser,
) -> None:
    site = Site(rows("a"))
    async with site.open(browser) as page:
        site.silent = True
        await updated(page, 3600)
        await says(page, "is being asked")
        site.silent = False
        site.held.set()
        await expect(page.locator("html")).not_to_have_class("stale")


HIDE = """hidden => {
    Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
    document.dispatchEvent(new Event("visibilitychange"));
}"""


async def test_a_hidden_tab_is_updated_once_a_minute_and_at_once_when_it_is_shown(
    browser: Browser,
) -> None:
    site = Site(rows("a"))
    async with site.open(browser) as page:
        await page.evaluate(HIDE, True)
        async with page.expect_response(site.url + "/"):
            await wait_seconds(page, 15)
        await wait_seconds(page, 52)
        assert len(site.requests) == 2
        site.title = "(1) one needs attention"
        await wait_seconds(page, 8)
        await expect(page).to_have_title(site.title)
        site.title = "all is well again"
        await page.evaluate(HIDE, False)
        await expect(page).to_have_title(site.title)
        assert len(site.requests) == 4


async def test_a_change_is_read_out_in_one_sentence_and_an_age_is_not(browser: Browser) -> None:
    site = Site("<p>3 s ago</p>")
    async with site.open(browser) as page:
        region = page.locator("#live")
        site.main = "<p>18 s ago</p>"
        await updated(page)
        await expect(page.get_by_text("18 s ago")).to_be_visible()
        await expect(region).to_have_text("")
        site.title = "(1) one needs attention"
        await updated(page)
        await expect(region).to_have_text(site.title)


async def test_a_page_that_has_a_sentence_of_its_own_is_not_read_out_twice(
    browser: Browser,
) -> None:
    site = Site('<p role="status">all is well</p>')
    async with site.open(browser, complains=True) as page:
        site.status = 503
        await updated(page)
        await says(page, "answers 503")
        site.status, site.title = 200, "(1) one"
        site.main = '<p role="status">one needs attention</p>'
        await updated(page, 30)
        await expect(page.get_by_text("one needs attention")).to_be_visible()
        await expect(page.locator("#live")).to_have_text("")


# -- times in the reader's zone --------------------------------------------------------------------

TIMES = (
    f'<time datetime="{AT_22_49}">{AT_22_49}</time> '
    f'<time datetime="{AT_22_49}">22:49</time> '
    f'<time datetime="{AT_22_49}">5 min ago</time> <time datetime="">never</time> '
    '<time datetime="2026-11-26">2026-11-26</time>'
)
IN_UTC = [AT_22_49, "22:49", "5 min ago", "never", "2026-11-26"]
IN_BERLIN = ["2026-11-26 23:49:03 CET", "23:49 CET", "5 min ago", "never", "2026-11-26"]


async def test_a_time_says_on_hover_when_that_is_for_the_reader(browser: Browser) -> None:
    async with Site(TIMES).open(browser, **BERLIN) as page:
        times = page.locator("time")
        await expect(times).to_have_text(IN_UTC)
        assert await times.last.get_attribute("title") is None, "a day is one in any zone"
        for number in range(3):
            await expect(times.nth(number)).to_have_attribute(
                "title", f"2026-11-26 23:49:03 CET · {AT_22_49}"
            )


async def test_the_switch_shows_times_in_the_readers_zone_for_good_and_back(
    browser: Browser,
) -> None:
    site = Site(TIMES)
    async with site.open(browser, **BERLIN) as page:
        times, switch = page.locator("time"), page.get_by_role("button")
        await switch.click()
        await expect(switch).to_have_text("Times: Europe/Berlin")
        await expect(times).to_have_text(IN_BERLIN)
        site.main = TIMES + "<p>new</p>"
        await updated(page)
        await expect(page.get_by_text("new")).to_be_visible()
        await expect(times).to_have_text(IN_BERLIN)
        await page.reload()
        await expect(times).to_have_text(IN_BERLIN)
        await switch.click()
        await expect(times).to_have_text(IN_UTC)


async def test_who_is_in_utc_or_may_not_store_anything_is_served_as_well(browser: Browser) -> None:
    site = Site(TIMES)
    async with site.open(browser, timezone_id="UTC") as page:
        await expect(page.get_by_role("button")).to_have_count(0)
    async with site.open(browser, **BERLIN) as page:
        await page.add_init_script(
            "Object.defineProperty(window, 'localStorage', {get() { throw new Error('no'); }})"
        )
        await page.reload()
        await page.get_by_role("button").click()
        await expect(page.locator("time")).to_have_text(IN_BERLIN)
