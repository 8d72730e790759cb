"""GET /campaigns: what is believed of a page of the listing, and what it says of further ones."""

import asyncio
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.adapters.talkover.listing import decode_listing
from monitor.core.model import (
    CallTimes,
    ListedCampaign,
    Page,
    PageAnswer,
    PollError,
    RateHint,
    Reason,
    SftpConfig,
)
from support.misbehaving import (
    ABSENT,
    CAMPAIGN,
    TOKEN,
    Calls,
    Misbehaving,
    Peer,
    Request,
    Script,
    answer,
    client_of,
    config,
    drips,
    hangs,
    replies,
    replies_and_closes,
    replies_and_resets,
)

EXAMPLE = {
    "id": "campaign-uuid-1",
    "name": "Spring Sales",
    "description": "Calls to all who asked",
    "status": "active",
    "campaign_type": "sales",
    "timezone": "Europe/Berlin",
    "start_date": "2024-01-15",
    "days_of_week": ["monday", "friday"],
    "updated_at": "2024-01-10T14:30:00Z",
}
SPRING = ListedCampaign(
    "campaign-uuid-1",
    "Spring Sales",
    "active",
    "sales",
    CallTimes(zone="Europe/Berlin", first_day="2024-01-15"),
)


def entry(**changes: object) -> dict[str, object]:
    """Return a campaign as the reference shows it, with these changes."""
    return {key: value for key, value in {**EXAMPLE, **changes}.items() if value is not ABSENT}


def entries(count: int, start: int = 0) -> list[dict[str, object]]:
    return [entry(id=f"c-{number}") for number in range(start, start + count)]


def listing(*data: object, pagination: object = ABSENT) -> dict[str, object]:
    """Return the document of a page; without `pagination` unless it is given."""
    document: dict[str, object] = {"success": True, "data": list(data)}
    return document if pagination is ABSENT else {**document, "pagination": pagination}


def decoded(document: object, page: int = 1, token: str = TOKEN) -> Page | PollError:
    return decode_listing(json.dumps(document).encode(), page, token)


def page_of(*data: object, pagination: object = ABSENT, page: int = 1) -> Page:
    seen = decoded(listing(*data, pagination=pagination), page)
    assert isinstance(seen, Page), seen
    return seen


def mismatch(document: object, page: int = 1) -> str:
    seen = decoded(document, page)
    assert isinstance(seen, PollError)
    assert seen.reason is Reason.SCHEMA_MISMATCH, seen
    return seen.detail


async def asked(script: Script, page: int = 1, **settings: Any) -> PageAnswer:
    """Return what a client makes of a server that follows this script."""
    async with Misbehaving(script) as server, client_of(server.url, **settings) as client:
        return await client.fetch_campaigns(page)


async def reason_of(script: Script, **settings: Any) -> Reason | None:
    return getattr((await asked(script, **settings)).observation, "reason", None)


OK = answer(listing(EXAMPLE, pagination={"current_page": 1, "per_page": 100, "total": 1}))


async def test_a_page_is_read_with_what_the_headers_say() -> None:
    headers = {
        "Content-Type": "application/json; charset=utf-8",
        "Date": "Sun, 06 Nov 1994 08:49:37 GMT",
        "X-RateLimit-Limit": "100",
        "X-RateLimit-Remaining": "40",
    }
    document = listing(EXAMPLE, pagination={"current_page": 1, "per_page": 100, "total": 1})
    got = await asked(replies(answer(document, headers=headers)))
    assert got == PageAnswer(
        Page((SPRING,), page=1, last=True, total=1),
        server_date=784111777.0,
        rate=RateHint(100, 40),
    )


async def test_all_campaigns_are_asked_for_a_hundred_at_a_time_whatever_their_status() -> None:
    async with Misbehaving(replies(answer(listing()))) as server, client_of(server.url) as client:
        for page in (1, 2):
            await client.fetch_campaigns(page)
    assert [request.line for request in server.requests] == [
        "GET /api/v1/campaigns?per_page=100&page=1 HTTP/1.1",
        "GET /api/v1/campaigns?per_page=100&page=2 HTTP/1.1",
    ]
    assert server.requests[0].headers["authorization"] == f"Bearer {TOKEN}"


async def test_a_call_for_the_listing_is_observed_under_its_own_name() -> None:
    calls = Calls()
    script = replies(OK, answer(b"", "500 Oh"), answer(listing(7)), b"\0\r\n\r\n")
    async with (
        Misbehaving(script) as server,
        client_of(server.url, observe=calls.observe, elapsed=calls.monotonic) as client,
    ):
        for _ in range(4):
            await client.fetch_campaigns(1)
    assert calls.seen == [
        ("campaigns", 0.25, None),
        ("campaigns", 0.25, Reason.HTTP_5XX),
        ("campaigns", 0.25, Reason.SCHEMA_MISMATCH),
        ("campaigns", 0.25, Reason.PROTOCOL_ERROR),
    ]


async def test_listings_and_polls_share_the_turns_of_a_client() -> None:
    under_way = asyncio.Event()
    let_go = asyncio.Event()

    async def script(request: Request, peer: Peer) -> None:
        under_way.set()
        await let_go.wait()
        await peer.send(answer(config()) if "/sftp" in request.line else OK)

    async with Misbehaving(script) as server, client_of(server.url, concurrency=1) as client:
        poll = asyncio.ensure_future(client.fetch_sftp(CAMPAIGN))
        await under_way.wait()
        page = asyncio.ensure_future(client.fetch_campaigns(1))
        await asyncio.wait({page}, timeout=0.02)
        assert len(server.requests) == 1
        let_go.set()
        assert isinstance((await poll).observation, SftpConfig)
        assert isinstance((await page).observation, Page)


@pytest.mark.matrix(fast=5)
@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (answer(b"oops", "503 Busy"), "http_5xx"),
        (answer(b"", "401 Unauthorized"), "unauthorized"),
        (answer(b"", "403 Forbidden"), "forbidden"),
        (answer(b"", "422 Unprocessable"), "http_4xx"),
        (answer(b"", "302 Found", {"Location": "https://other.example/"}), "redirect"),
        (answer(OK, "206 Partial"), "unexpected_status"),
        (answer(b"<html>log in</html>", headers={"Content-Type": "text/html"}), "bad_content_type"),
        (answer(listing(), headers={"Content-Encoding": "gzip"}), "bad_encoding"),
        (answer(b""), "malformed"),
        (answer(json.dumps(listing(EXAMPLE)).encode()[:-9]), "malformed"),
        (answer(listing(), headers={"Content-Length": "1048577"}), "too_large"),
        (answer(b" " * 1_048_577), "too_large"),
    ],
)
async def test_faults_1_to_15_of_a_listing_have_the_reasons_of_a_poll(
    data: bytes, reason: str
) -> None:
    assert await reason_of(replies(data)) == reason


async def test_fault_1_a_listing_is_not_tried_again_within_the_call() -> None:
    async with (
        Misbehaving(replies(answer(b"", "502 Bad Gateway"))) as server,
        client_of(server.url) as client,
    ):
        await client.fetch_campaigns(1)
    assert len(server.requests) == 1


async def test_fault_2_success_false_is_an_api_error_with_what_it_says() -> None:
    body = {**listing(EXAMPLE), "success": False, "message": "in maintenance", "code": "BUSY"}
    got = await asked(replies(answer(body)))
    assert got.observation == PollError(Reason.API_ERROR, "BUSY: in maintenance")


@pytest.mark.parametrize("success", ["true", 1, None, [], 0, ABSENT])
def test_fault_2_only_the_boolean_true_is_success(success: object) -> None:
    document = {**listing(EXAMPLE), "success": success}
    mismatch({key: value for key, value in document.items() if value is not ABSENT})


@pytest.mark.parametrize("data", [None, {}, "text", 7, {"data": []}, [[]], [None], ["c-1"], [7]])
def test_fault_4_data_is_a_list_of_objects(data: object) -> None:
    mismatch({"success": True, "data": data})


def test_fault_4_an_sftp_config_is_no_listing() -> None:
    mismatch(config())


@pytest.mark.parametrize(
    ("body", "content_type", "error"),
    [
        (b"", "application/json", PollError(Reason.NOT_FOUND, "404")),
        (b"{}", "application/json", PollError(Reason.NOT_FOUND, "404")),
        (b"<h1>nginx</h1>", "text/html", PollError(Reason.BAD_CONTENT_TYPE, "404, text/html")),
    ],
)
async def test_fault_6_a_404_is_no_empty_listing(
    body: bytes, content_type: str, error: PollError
) -> None:
    gone = answer(body, "404 Not Found", {"Content-Type": content_type})
    assert (await asked(replies(gone))).observation == error


async def test_fault_8_a_429_of_the_listing_pauses_the_environment() -> None:
    got = await asked(replies(answer(b"", "429 Too Many", {"Retry-After": "17"})))
    assert got == PageAnswer(PollError(Reason.RATE_LIMITED, "429"), pause=17.0)


async def test_fault_11_a_page_that_breaks_off_is_a_lost_connection() -> None:
    broken = answer(OK, headers={"Content-Length": "9999"})
    assert await reason_of(replies_and_closes(broken)) is Reason.CONNECTION_LOST
    assert await reason_of(replies_and_resets(broken)) is Reason.CONNECTION_LOST


async def test_fault_14_a_page_has_a_deadline() -> None:
    assert await reason_of(hangs, timeout=0.05) is Reason.TIMEOUT
    head = answer(b"", headers={"Content-Length": "1000"})
    assert await reason_of(drips(head, b" "), timeout=0.15) is Reason.TIMEOUT


@pytest.mark.parametrize("value", ["NaN", "1e400", '{"a":1,"a":2}', "[" * 100_000])
def test_fault_15_holds_for_fields_that_nobody_reads(value: str) -> None:
    body = json.dumps(listing(entry(description="@"))).replace('"@"', value).encode()
    seen = decode_listing(body, 1, TOKEN)
    assert isinstance(seen, PollError)
    assert seen.reason is Reason.MALFORMED


@pytest.mark.parametrize("half", [r"\ud800", r"\uDFFF", r"\udc00\ud800"])
@pytest.mark.parametrize("field", ["name", "status", "campaign_type", "timezone", "description"])
def test_fault_16_half_a_surrogate_pair_spoils_its_text_and_not_the_listing(
    half: str, field: str
) -> None:
    """Who renames a campaign must not blind us for all: of the others every word is as it was."""
    rows = json.dumps(listing(entry(id="c-1"), entry(id="c-2", **{field: "a@b"})))
    page = decode_listing(rows.replace("@", half).encode(), 1, TOKEN)
    assert isinstance(page, Page)
    first, second = page.campaigns
    assert (first, second.id) == (page_of(entry(id="c-1")).campaigns[0], "c-2")
    marks = "?" * (len(half) // 6)
    if field in ("name", "status"):
        assert getattr(second, field) == f"a{marks}b"


@pytest.mark.parametrize("hidden", ["\0", "\x1b[2J", "\x85", "\u2028", "\u202e", "\r\n"])
def test_fault_17_hidden_characters_do_not_get_in(hidden: str) -> None:
    text = f"a{hidden}b"
    (seen,) = page_of(entry(name=text, status=text, campaign_type=text)).campaigns
    assert all(shown.isprintable() for shown in (seen.name, seen.status, seen.campaign_type))


def test_fault_17_texts_are_cut() -> None:
    long = "x" * 500_000
    (seen,) = page_of(entry(name=long, status=long, campaign_type=long)).campaigns
    assert (len(seen.name), len(seen.status), len(seen.campaign_type)) == (256, 32, 32)


@pytest.mark.parametrize("identity", ["a", "A-Z_09", "x" * 64])
def test_an_id_has_up_to_64_letters_digits_and_lines(identity: str) -> None:
    assert page_of(entry(id=identity)).campaigns[0].id == identity


@pytest.mark.parametrize(
    "identity",
    ["", " ", "a b", "c-1\n", "\nc-1", "x" * 65, "../c-1", "c/1", "c%201", "cämpaign", "c-٣", "c\0",
     "<script>", 7, None, True, ["c-1"], ABSENT],
)  # fmt: skip
def test_fault_18_an_id_that_is_none_makes_the_whole_page_a_mismatch(identity: object) -> None:
    detail = mismatch(listing(entry(id="good"), entry(id=identity)))
    assert detail.endswith(("at `$.data[1].id`", "field `id` - at `$.data[1]`"))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", 7),
        ("name", None),
        ("name", ["a"]),
        ("status", 1),
        ("status", None),
        ("status", True),
        ("campaign_type", 0),
        ("campaign_type", {}),
    ],
)
def test_fault_18_types_are_strict(field: str, value: object) -> None:
    assert mismatch(listing(entry(**{field: value}))).endswith(f"at `$.data[0].{field}`")


@pytest.mark.parametrize("value", [ABSENT, None, ""])
def test_fault_19_a_campaign_may_have_no_type(value: object) -> None:
    assert page_of(entry(campaign_type=value)).campaigns[0].campaign_type == ""


def test_fault_19_a_name_may_be_empty() -> None:
    assert page_of(entry(name="")).campaigns[0].name == ""


def test_fault_19_an_unknown_status_or_type_is_kept_as_text() -> None:
    (seen,) = page_of(entry(status="archived", campaign_type="survey")).campaigns
    assert (seen.status, seen.campaign_type) == ("archived", "survey")


def test_fault_19_unknown_fields_are_ignored() -> None:
    document = {**listing(entry(novel={"deep": [1, 2.5]})), "meta": None, "links": {"next": "x"}}
    assert isinstance(decoded(document), Page)


@pytest.mark.parametrize("field", ["id", "name", "status"])
def test_fault_20_a_required_field_that_is_gone_is_a_mismatch(field: str) -> None:
    told = f"Field required - at `$.data[0].{field}`"
    assert mismatch(listing(entry(**{field: ABSENT, f"new_{field}": "x"}))) == told


@pytest.mark.parametrize("empty", ["", "  ", "\u200b\n"])
def test_fault_20_a_status_without_a_character_to_see_is_a_mismatch(empty: str) -> None:
    told = "Expected text, got none - at `$.data[1].status`"
    assert mismatch(listing(EXAMPLE, entry(status=empty))) == told


def test_fault_21_what_looks_like_code_is_text() -> None:
    text = '<script>"%s${jndi:x}'
    assert page_of(entry(name=text)).campaigns[0].name == text


def test_fault_31_of_campaigns_that_are_doubled_the_first_counts() -> None:
    seen = page_of(
        entry(id="a", name="first"), entry(id="b"), entry(id="a", name="second"), entry(id="c")
    )
    assert [campaign.id for campaign in seen.campaigns] == ["a", "b", "c"]
    assert seen.campaigns[0].name == "first"


def test_fault_31_a_full_page_of_the_same_campaign_is_a_full_page() -> None:
    seen = page_of(*[EXAMPLE] * 100)
    assert seen.campaigns == (SPRING,)
    assert not seen.last


@pytest.mark.parametrize("current", [1, 3, 0, -2, 10**30, "2", 2.0, True, [], {}])
def test_fault_31_another_page_than_the_one_asked_for_is_a_mismatch(current: object) -> None:
    document = listing(EXAMPLE, pagination={"current_page": current})
    assert mismatch(document, page=2) == "the answer is not page 2 of the listing"


def test_true_is_not_page_1() -> None:
    mismatch(listing(EXAMPLE, pagination={"current_page": True}), page=1)


@pytest.mark.parametrize("pagination", [ABSENT, None, [], "text", 7, {}, {"current_page": None}])
def test_without_pagination_a_page_that_is_not_full_is_the_last(pagination: object) -> None:
    assert page_of(*entries(99), pagination=pagination).last
    assert not page_of(*entries(100), pagination=pagination).last


@pytest.mark.parametrize(
    "pagination",
    [
        {"last_page": 9, "current_page": 3},
        {"last_page": 1_000_000},
        {"total": 10**6, "per_page": 100},
        {"per_page": 100, "last_page": None, "total": None, "total_pages": None},
        ABSENT,
    ],
)
def test_fault_31_an_empty_page_is_the_last_whatever_is_said(pagination: object) -> None:
    assert page_of(pagination=pagination, page=3).last


@pytest.mark.parametrize("key", ["last_page", "total_pages"])
@pytest.mark.parametrize(("pages", "last"), [(1, True), (2, True), (3, False), (1_000_000, False)])
def test_the_number_of_the_last_page_says_whether_one_follows(
    key: str, pages: int, last: bool
) -> None:
    assert page_of(*entries(100), pagination={key: pages}, page=2).last is last


def test_the_number_of_the_last_page_counts_before_the_total() -> None:
    both = {"last_page": 1, "total": 300}
    assert page_of(*entries(100), pagination=both).last


@pytest.mark.parametrize(
    ("page", "found", "total", "last"),
    [
        (1, 47, 47, True),
        (1, 100, 100, True),
        (1, 100, 101, False),
        (1, 47, 90, False),
        (3, 50, 250, True),
        (2, 100, 250, False),
    ],
)
def test_the_total_says_whether_a_page_follows(
    page: int, found: int, total: int, last: bool
) -> None:
    seen = page_of(*entries(found), pagination={"total": total}, page=page)
    assert (seen.last, seen.total) == (last, total)


LIES = [0, -1, 10**9, 10**30, 1.0, "1", "x", True, False, None, [], {}]


@pytest.mark.matrix(fast=6)
@pytest.mark.parametrize("lie", LIES)
@pytest.mark.parametrize("key", ["last_page", "total_pages", "total", "per_page"])
def test_fault_31_what_makes_no_sense_is_as_if_it_were_not_said(key: str, lie: object) -> None:
    assert page_of(*entries(99), pagination={key: lie}).last
    assert not page_of(*entries(100), pagination={key: lie}).last


@pytest.mark.parametrize("lie", LIES)
def test_fault_31_a_total_that_makes_no_sense_is_none(lie: object) -> None:
    assert page_of(EXAMPLE, pagination={"total": lie}).total is None


def test_fault_31_a_total_below_what_was_seen_does_not_end_the_listing() -> None:
    assert not page_of(*entries(100), pagination={"total": 100}, page=2).last


def test_a_total_of_0_is_one() -> None:
    assert page_of(pagination={"total": 0}).total == 0


def test_a_page_as_full_as_the_api_makes_them_is_not_the_last() -> None:
    smaller = {"current_page": 1, "per_page": 20}
    assert not page_of(*entries(20), pagination=smaller).last
    assert page_of(*entries(19), pagination=smaller).last


def test_fault_31_a_page_fuller_than_it_says_is_measured_by_what_was_asked_for() -> None:
    assert page_of(*entries(57), pagination={"per_page": 1}).last


CANARY = "canary-without-a-prefix-0123456789"


@pytest.mark.parametrize(
    "document",
    [
        listing(entry(id=CANARY)),
        listing(entry(id=f"a-{CANARY}-b")),
        listing(entry(name=f"Sales {CANARY}", status=f"is {CANARY}", campaign_type=CANARY)),
        listing(entry(name="x" * 240 + CANARY)),
        listing(entry(status={CANARY: CANARY})),
        listing(entry(**{CANARY: CANARY})),
        listing(EXAMPLE, pagination={"current_page": CANARY, CANARY: CANARY}),
        listing(CANARY),
        {"success": False, "message": CANARY, "code": CANARY},
    ],
)
async def test_fault_38_a_token_that_the_listing_echoes_is_in_no_answer(document: object) -> None:
    got = await asked(replies(answer(document)), token=CANARY)
    assert "canary" not in repr(got)


async def test_fault_38_an_id_with_the_token_in_it_is_no_id() -> None:
    got = await asked(replies(answer(listing(entry(id=f"a-{CANARY}")))), token=CANARY)
    told = "Expected an id, got the token - at `$.data[0].id`"
    assert got.observation == PollError(Reason.SCHEMA_MISMATCH, told)


def test_a_name_that_only_looks_like_a_secret_is_kept() -> None:
    assert page_of(entry(name="Bearer bonds")).campaigns[0].name == "Bearer bonds"


scalars = st.none() | st.booleans() | st.integers() | st.text(st.characters(codec=None))
documents = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
HINTS = ["current_page", "per_page", "total", "last_page", "total_pages"]
numbers = st.integers(-2, 5) | st.integers()
paginations = documents | st.dictionaries(st.sampled_from(HINTS), numbers | documents)
campaigns = st.dictionaries(st.sampled_from([*EXAMPLE, "other"]), documents, max_size=3).map(
    lambda changes: entry(**changes)
)


def definite(seen: Page | PollError, page: int) -> None:
    """Assert that this is an error with a reason, or a page of what can be polled and shown."""
    if isinstance(seen, PollError):
        assert isinstance(seen.reason, Reason)
        return
    assert seen.page == page
    assert seen.last or seen.campaigns
    assert len({campaign.id for campaign in seen.campaigns}) == len(seen.campaigns)
    for campaign in seen.campaigns:
        assert campaign.id.isascii()
        assert campaign.id.replace("-", "").replace("_", "").isalnum()
        assert campaign.status
        assert all(t.isprintable() for t in (campaign.name, campaign.status))
        assert campaign.campaign_type.isprintable()


@given(st.binary())
def test_arbitrary_bytes_are_no_listing(body: bytes) -> None:
    assert isinstance(decode_listing(body, 1, TOKEN), PollError)


@given(documents)
def test_arbitrary_json_is_no_listing(document: object) -> None:
    assert isinstance(decoded(document), PollError)


@given(st.lists(campaigns | documents, max_size=3), paginations, st.integers(1, 4))
def test_an_arbitrarily_changed_page_is_an_error_or_a_page_of_campaigns(
    data: list[object], pagination: object, page: int
) -> None:
    definite(decoded(listing(*data, pagination=pagination), page), page)


@given(paginations, st.integers(0, 3))
def test_no_pagination_changes_what_is_listed(pagination: object, count: int) -> None:
    seen = decoded(listing(*entries(count), pagination=pagination))
    if isinstance(seen, Page):
        assert [campaign.id for campaign in seen.campaigns] == [f"c-{n}" for n in range(count)]


@given(st.integers(0, 340), st.sets(st.sampled_from(HINTS)))
def test_an_honest_listing_is_read_to_its_end_whatever_hints_it_gives(
    count: int, hints: set[str]
) -> None:
    pages = max(1, -(-count // 100))
    found: list[str] = []
    for page in range(1, pages + 2):
        honest = {"current_page": page, "per_page": 100, "total": count,
                  "last_page": pages, "total_pages": pages}  # fmt: skip
        start = (page - 1) * 100
        rows = entries(max(0, min(100, count - start)), start)
        said = {key: value for key, value in honest.items() if key in hints}
        seen = page_of(*rows, pagination=said, page=page)
        found += [campaign.id for campaign in seen.campaigns]
        if seen.last:
            break
    assert seen.last
    assert found == [f"c-{number}" for number in range(count)]


@given(st.binary(max_size=200), st.booleans())
def test_arbitrary_bytes_on_the_wire_never_raise(data: bytes, after_a_head: bool) -> None:
    head = b"HTTP/1.1 200 OK\r\n" if after_a_head else b""
    got = asyncio.run(asked(replies_and_closes(head + data), timeout=0.2))
    assert isinstance(got.observation, PollError)


@given(st.binary(min_size=1, max_size=4), st.integers(0, 10_000))
def test_a_page_with_a_few_bytes_replaced_never_raises(noise: bytes, place: int) -> None:
    start = place % len(OK)
    broken = OK[:start] + noise + OK[start + len(noise) :]
    definite(asyncio.run(asked(replies_and_closes(broken), timeout=0.2)).observation, 1)
