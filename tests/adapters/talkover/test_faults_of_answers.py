"""Faults 1 to 10: the API answers, but badly. Numbers as in the catalogue of faults."""

import pytest

from monitor.core.model import NoConfig, PollError, RateHint, Reason, SftpConfig
from support.misbehaving import (
    CAMPAIGN,
    NOW,
    TOKEN,
    Misbehaving,
    answer,
    asked,
    client_of,
    config,
    drips,
    reason_of,
    replies,
    replies_and_resets,
)

SUNDAY = "Sun, 06 Nov 1994 08:49:37 GMT"
SUNDAY_AT = 784111777.0


async def test_the_answer_of_the_reference_is_read_whole() -> None:
    seen = (await asked(replies(answer(config())))).observation
    assert seen == SftpConfig(
        id="sftp-config-uuid-1",
        campaign_id="campaign-uuid",
        host="sftp.example.com",
        port=22,
        username="campaigns_user",
        auth_type="password",
        import_path="/inbox",
        export_path="/outbox",
        import_schedule="daily",
        is_enabled=False,
        last_test_at=1704897000.0,
        last_test_success=True,
        created_at=1704103200.0,
    )


@pytest.mark.parametrize("status", ["500 Oh", "502 Bad Gateway", "503 Busy", "504 Timeout"])
async def test_fault_1_a_5xx_is_not_tried_again_within_the_poll(status: str) -> None:
    async with (
        Misbehaving(replies(answer(b"oops", status))) as server,
        client_of(server.url) as client,
    ):
        seen = (await client.fetch_sftp(CAMPAIGN)).observation
    assert seen == PollError(Reason.HTTP_5XX, status[:3])
    assert len(server.requests) == 1


async def test_fault_1_a_503_with_retry_after_pauses_the_environment() -> None:
    got = await asked(replies(answer(status="503 Busy", headers={"Retry-After": "17"})))
    assert got.pause == 17.0


async def test_fault_1_a_503_without_retry_after_asks_for_no_pause() -> None:
    assert (await asked(replies(answer(status="503 Busy")))).pause is None


async def test_fault_1_a_200_asks_for_no_pause_even_with_retry_after() -> None:
    assert (await asked(replies(answer(config(), headers={"Retry-After": "9"})))).pause is None


async def test_fault_2_success_false_is_an_api_error_and_data_is_not_looked_at() -> None:
    body = {**config(), "success": False, "message": "in maintenance", "code": "SERVER_ERROR"}
    got = await asked(replies(answer(body)))
    assert got.observation == PollError(Reason.API_ERROR, "SERVER_ERROR: in maintenance")


@pytest.mark.parametrize("success", ["true", 1, None, [], 0, "false"])
async def test_fault_2_only_the_boolean_true_is_success(success: object) -> None:
    got = await reason_of(replies(answer({**config(), "success": success})))
    assert got is Reason.SCHEMA_MISMATCH


async def test_fault_2_success_missing_is_a_schema_mismatch() -> None:
    body = {"data": config()["data"]}
    assert await reason_of(replies(answer(body))) is Reason.SCHEMA_MISMATCH


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        ({"success": False, "error": {"code": "NO", "message": "go", "details": {}}}, "422 NO: go"),
        ({"success": False, "message": "test first", "code": "SFTP"}, "422 SFTP: test first"),
        ({"success": False, "message": "test first"}, "422 test first"),
        ({"success": False, "error": {"code": 7, "message": ["no"]}}, "422"),
        ({"success": False, "error": "text"}, "422"),
        ({}, "422"),
        ([1, 2], "422"),
        (b"{broken", "422"),
    ],
)
async def test_fault_3_both_error_bodies_or_neither_are_told(body: object, detail: str) -> None:
    got = await asked(replies(answer(body, "422 Unprocessable")))
    assert got.observation == PollError(Reason.HTTP_4XX, detail)


async def test_fault_3_a_huge_message_is_redacted_cut_and_cleaned() -> None:
    message = f"bad\n\x1b[31mtoken {TOKEN}\u2028 said Bearer abc.def " + "x" * 1_000_000
    got = await asked(replies(answer({"success": False, "code": "A", "message": message})))
    assert isinstance(got.observation, PollError)
    detail = got.observation.detail
    assert detail.startswith("A: bad [31mtoken <secret> said <secret> xxx")
    assert len(detail) == 200
    assert detail.isprintable()


async def test_fault_3_the_token_is_redacted_before_the_message_is_cut() -> None:
    message = "y" * (190 - len("A: ")) + TOKEN
    got = await asked(replies(answer({"success": False, "code": "A", "message": message})))
    assert isinstance(got.observation, PollError)
    assert got.observation.detail.endswith("y<secret>")


@pytest.mark.matrix(fast=6)
@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (answer(b"<html>log in</html>", headers={"Content-Type": "text/html"}), "bad_content_type"),
        (answer(b'{"a":1}', headers={"Content-Type": "text/plain"}), "bad_content_type"),
        (answer(b'{"a":1}', headers={"Content-Type": None}), "bad_content_type"),
        (answer(b'{"a":1}', headers={"Content-Type": "nonsense"}), "bad_content_type"),
        (answer(config(), headers={"Content-Type": "application/jsonp"}), "bad_content_type"),
        (answer(b""), "malformed"),
        (answer(b"null"), "schema_mismatch"),
        (answer(b"[]"), "schema_mismatch"),
        (answer(b'"text"'), "schema_mismatch"),
        (answer({"success": True}), "schema_mismatch"),
        (answer({"success": True, "data": []}), "schema_mismatch"),
        (answer(status="204 No Content"), "unexpected_status"),
        (answer(config(), "206 Partial"), "unexpected_status"),
        (answer(config(), "201 Created"), "unexpected_status"),
        (b"HTTP/1.1 304 Not Modified\r\n\r\n", "unexpected_status"),
        (b"HTTP/1.1 101 Up\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", "unexpected_status"),
        (answer(config(), "999 Hm"), "unexpected_status"),
    ],
)
async def test_fault_4_what_is_no_config_has_its_reason(data: bytes, reason: str) -> None:
    assert await reason_of(replies(data)) == reason


@pytest.mark.parametrize(
    "content_type",
    ["application/json", "application/json; charset=utf-8", 'APPLICATION/JSON;charset="UTF-8"',
     "application/json;charset=utf8", "application/vnd.talkover.v1+json"],
)  # fmt: skip
async def test_json_is_known_by_any_of_its_names(content_type: str) -> None:
    data = answer(config(), headers={"Content-Type": content_type})
    assert await reason_of(replies(data)) is None


async def test_data_null_means_that_the_campaign_has_no_config() -> None:
    got = await asked(replies(answer({"success": True, "data": None})))
    assert got.observation == NoConfig(by_404=False)


@pytest.mark.matrix(fast=6)
@pytest.mark.parametrize("status", [300, 301, 302, 303, 307, 308])
@pytest.mark.parametrize(
    ("location", "told"),
    [
        ("/elsewhere?token=abc", "the same host"),
        ("https://other.example/path?secret=1", "other.example"),
        ("http://user:pw@other.example:8080/", "other.example"),
        ("file:///etc/passwd", "the same host"),
        ("mailto:someone", "the same host"),
        ("http://[::broken", "nowhere"),
        ("https://caf\xe9.example/", "caf\xe9.example"),
        (None, "nowhere"),
    ],
)
async def test_fault_5_a_redirect_is_not_followed(
    status: int, location: str | None, told: str
) -> None:
    data = answer(b"", f"{status} Moved", {"Location": location})
    got = await asked(replies(data))
    assert got.observation == PollError(Reason.REDIRECT, f"{status} to {told}")


async def test_fault_5_the_token_never_reaches_the_host_that_a_redirect_names() -> None:
    async with Misbehaving(replies(answer(config()))) as thief:
        moved = answer(b"", "302 Found", {"Location": thief.url})
        assert await reason_of(replies(moved)) is Reason.REDIRECT
    assert thief.connections == 0


@pytest.mark.parametrize(
    "data",
    [
        answer({"success": False, "message": "no such config"}, "404 Not Found"),
        answer(b"", "404 Not Found", {"Content-Type": None}),
        answer(b"", "404 Not Found", {"Content-Type": "text/html"}),
    ],
)
async def test_fault_6_a_404_of_the_api_is_a_definite_answer(data: bytes) -> None:
    assert (await asked(replies(data))).observation == NoConfig(by_404=True)


async def test_fault_6_a_404_page_of_somebody_else_says_nothing_of_the_campaign() -> None:
    page = answer(b"<h1>nginx</h1>", "404 Not Found", {"Content-Type": "text/html"})
    assert await reason_of(replies(page)) is Reason.BAD_CONTENT_TYPE


async def test_fault_6_a_404_whose_body_breaks_off_says_nothing_of_the_campaign() -> None:
    broken = answer(b"{", "404 Not Found", {"Content-Length": "100"})
    assert await reason_of(replies_and_resets(broken)) is Reason.CONNECTION_LOST


async def test_fault_7_a_401_and_a_403_are_told_apart() -> None:
    error = {"success": False, "error": {"code": "INVALID_TOKEN", "message": "unknown token"}}
    got = await asked(replies(answer(error, "401 Unauthorized")))
    assert got.observation == PollError(Reason.UNAUTHORIZED, "401 INVALID_TOKEN: unknown token")
    assert await reason_of(replies(answer(b"", "403 Forbidden"))) is Reason.FORBIDDEN


@pytest.mark.parametrize(
    ("retry_after", "pause"),
    [
        ("30", 30.0),
        ("0", 1.0),
        ("100000", 900.0),
        ("9" * 5000, 900.0),
        ("-5", 60.0),
        ("soon", 60.0),
        ("1.5", 60.0),
        ("٣", 60.0),
        (None, 60.0),
        ("Sun, 06 Nov 1994 08:50:07 GMT", 30.0),
        ("Sun, 06 Nov 1994 08:00:00 GMT", 60.0),
        ("Sun, 06 Nov 2094 08:00:00 GMT", 900.0),
    ],
)
async def test_fault_8_a_429_pauses_for_as_long_as_makes_sense(
    retry_after: str | None, pause: float
) -> None:
    raw = None if retry_after is None else retry_after.encode().decode("latin-1")
    data = answer(b"", "429 Too Many", {"Retry-After": raw, "Date": SUNDAY})
    got = await asked(replies(data))
    assert got.observation == PollError(Reason.RATE_LIMITED, "429")
    assert got.pause == pause


async def test_fault_8_without_a_date_the_pause_is_taken_against_our_clock() -> None:
    data = answer(b"", "429 Too Many", {"Retry-After": SUNDAY})
    assert (await asked(replies(data), now=lambda: SUNDAY_AT - 20)).pause == 20.0


async def test_fault_8_a_429_counts_even_where_its_body_never_ends() -> None:
    head = answer(b"", "429 Too Many", {"Retry-After": "7", "Content-Length": "900"})
    got = await asked(drips(head, b" "), timeout=0.4)
    assert got.observation == PollError(Reason.RATE_LIMITED, "429")
    assert got.pause == 7.0


@pytest.mark.parametrize(
    ("headers", "hint"),
    [
        ({}, None),
        ({"X-RateLimit-Limit": "100", "X-RateLimit-Remaining": "40"}, RateHint(100, 40)),
        ({"X-RateLimit-Reset": str(int(NOW) + 12)}, RateHint(reset=12.0)),
        ({"X-RateLimit-Reset": "12"}, RateHint(reset=12.0)),
        ({"X-RateLimit-Reset": str(int(NOW) - 12)}, None),
        ({"X-RateLimit-Limit": "-1", "X-RateLimit-Remaining": "abc"}, None),
        ({"X-RateLimit-Limit": "100", "X-RateLimit-Remaining": "101"}, RateHint(100)),
        ({"X-RateLimit-Limit": "0"}, None),
        ({"X-RateLimit-Limit": "9" * 5000}, None),
        ({"RateLimit-Limit": "100, 100;w=60", "RateLimit-Reset": "5"}, RateHint(100, None, 5.0)),
        ({"RateLimit": "limit=100, remaining=50, reset=30"}, RateHint(100, 50, 30.0)),
        ({"RateLimit": '"default";r=50;t=30', "RateLimit-Policy": '"default";q=100;w=60'},
         RateHint(100, 50, 30.0)),
        ({"RateLimit": "r=-1; t=1.5"}, None),
    ],
)  # fmt: skip
async def test_fault_9_only_plausible_rate_headers_are_taken(
    headers: dict[str, str], hint: RateHint | None
) -> None:
    assert (await asked(replies(answer(config(), headers=headers)))).rate == hint


async def test_fault_9_a_remaining_that_is_an_answer_of_a_429_is_kept() -> None:
    data = answer(b"", "429 Too Many", {"X-RateLimit-Remaining": "0"})
    assert (await asked(replies(data))).rate == RateHint(remaining=0)


@pytest.mark.parametrize(
    "other", ["another", "campaign-uuid ", "CAMPAIGN-UUID", "", "c\u0430mpaign"]
)
async def test_fault_10_the_body_of_another_campaign_is_discarded(other: str) -> None:
    got = await asked(replies(answer(config(campaign_id=other))))
    detail = f"the answer is about campaign {other}".rstrip()
    assert got.observation == PollError(Reason.WRONG_CAMPAIGN, detail)
