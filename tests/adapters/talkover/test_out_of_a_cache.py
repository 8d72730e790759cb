"""`Age`: an answer that a cache has kept for 30 s or longer says nothing of now."""

import pytest

from monitor.core.model import Answer, PageAnswer, PollError, Reason
from support.misbehaving import (
    CAMPAIGN,
    Calls,
    Misbehaving,
    answer,
    asked,
    client_of,
    config,
    drips,
    replies,
)

SUNDAY = "Sun, 06 Nov 1994 08:49:37 GMT"
SUNDAY_AT = 784111777.0

LISTING = {"success": True, "data": [{"id": "c-1", "name": "One", "status": "active"}]}

FRESH = [
    None, "0", "29", " 29 ", "00029", "29, 0", "-1", "-30", "+30", "30.5", "3e1", "0x30", "30s",
    "soon", "٣٠", "³⁰", ",", "0\r\nAge: 29",
]  # fmt: skip
"""Fresh, or no age at all: RFC 9111 has one number of digits."""

KEPT = [
    "30", " 30", "0030", "31", "3600", str(2**31), "9" * 300, "9" * 5000, "30, 0", "0, 30",
    "soon, 30", "0\r\nAge: 30", "30\r\nAge: 0", "nonsense\r\nAge: 86400",
]  # fmt: skip
"""Kept for 30 s or longer, by the word of one header or one cache at least."""


def aged(age: str | None, document: object, status: str = "200 OK", **headers: str) -> bytes:
    raw = None if age is None else age.encode().decode("latin-1")
    return answer(document, status, {"Age": raw, "Date": SUNDAY, **headers})


async def listed(data: bytes) -> PageAnswer:
    async with Misbehaving(replies(data)) as server, client_of(server.url) as client:
        return await client.fetch_campaigns(1)


def reason(seen: object) -> Reason | None:
    return seen.reason if isinstance(seen, PollError) else None


@pytest.mark.matrix(fast=5)
@pytest.mark.parametrize("age", FRESH)
async def test_an_answer_of_no_great_age_counts_and_so_does_its_date(age: str | None) -> None:
    got = await asked(replies(aged(age, config())))
    page = await listed(aged(age, LISTING))
    assert (reason(got.observation), reason(page.observation)) == (None, None)
    assert (got.server_date, page.server_date) == (SUNDAY_AT, SUNDAY_AT)


@pytest.mark.matrix(fast=5)
@pytest.mark.parametrize("age", KEPT)
async def test_from_30_seconds_on_it_is_a_poll_error_and_its_date_no_sample(age: str) -> None:
    got = await asked(replies(aged(age, config())))
    page = await listed(aged(age, LISTING))
    assert (reason(got.observation), reason(page.observation)) == (Reason.CACHED, Reason.CACHED)
    assert (got.server_date, page.server_date) == (None, None)


async def test_the_error_says_how_old_it_was() -> None:
    got = await asked(replies(aged("7200", config())))
    assert got == Answer(PollError(Reason.CACHED, "200 out of a cache, 2 h old (Age)"))


@pytest.mark.parametrize(
    "status", ["404 Not Found", "401 No", "403 No", "429 Slow", "410 Gone", "206 Partial"]
)
async def test_an_answer_of_any_status_may_come_out_of_a_cache(status: str) -> None:
    got = await asked(replies(aged("45", b"", status)))
    assert (reason(got.observation), got.server_date) == (Reason.CACHED, None)
    assert reason((await listed(aged("45", b"", status))).observation) is Reason.CACHED


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (aged("45", b"", "503 Busy"), Reason.HTTP_5XX),
        (aged("45", b"<html>", **{"Content-Type": "text/html"}), Reason.BAD_CONTENT_TYPE),
        (aged("45", b"", "302 Found", Location="https://elsewhere.example/"), Reason.REDIRECT),
        (aged("45", config(campaign_id="c-2")), Reason.WRONG_CAMPAIGN),
    ],
)
async def test_what_is_none_of_the_apis_answers_or_a_matter_of_security_says_so_at_any_age(
    data: bytes, why: Reason
) -> None:
    got = await asked(replies(data))
    assert (reason(got.observation), got.server_date) == (why, None)


async def test_a_kept_answer_says_nothing_of_the_rate_limit_but_a_pause_is_kept_to() -> None:
    hints = {"X-RateLimit-Limit": "100", "X-RateLimit-Remaining": "0"}
    assert (await asked(replies(aged("45", config(), **hints)))).rate is None
    slow = await asked(replies(aged("45", b"", "429 Slow", **{"Retry-After": "7"})))
    assert slow.pause == 7.0
    # Against our clock, for its own date is as old as the answer.
    at = await asked(
        replies(aged("45", b"", "429 Slow", **{"Retry-After": SUNDAY})),
        now=lambda: SUNDAY_AT - 20,
    )
    assert at.pause == 20.0


async def test_a_kept_answer_whose_body_never_ends_is_no_answer() -> None:
    head = aged("45", b"", **{"Content-Length": "900"})
    got = await asked(drips(head, b" "), timeout=0.4)
    assert (reason(got.observation), got.server_date) == (Reason.TIMEOUT, None)


async def test_it_is_counted_under_its_reason() -> None:
    calls = Calls()
    data = replies(aged("45", config()))
    async with (
        Misbehaving(data) as server,
        client_of(server.url, observe=calls.observe) as client,
    ):
        await client.fetch_sftp(CAMPAIGN)
        await client.fetch_campaigns(1)
    assert [why for *_, why in calls.seen] == [Reason.CACHED, Reason.CACHED]
