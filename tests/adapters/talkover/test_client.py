"""The client as its caller sees it: turns, deadlines, tokens, what it sends and what it tells."""

import asyncio
from pathlib import Path

import pytest

from monitor import __version__
from monitor.core.model import Answer, PollError, Reason, SftpConfig
from support.misbehaving import (
    CAMPAIGN,
    TOKEN,
    Calls,
    Misbehaving,
    Peer,
    Request,
    Script,
    answer,
    asked,
    client_of,
    config,
    hangs,
    reason_of,
    replies,
    replies_and_closes,
)

OK = answer(config())


@pytest.mark.parametrize("path", ["", "/", "/api/v1", "/api/v1/"])
async def test_a_base_url_may_have_a_path_and_a_slash_at_its_end(path: str) -> None:
    async with (
        Misbehaving(replies(OK)) as server,
        client_of(f"http://127.0.0.1:{server.port}{path}") as client,
    ):
        await client.fetch_sftp(CAMPAIGN)
    line = f"GET {path.rstrip('/')}/campaigns/{CAMPAIGN}/sftp HTTP/1.1"
    assert [request.line for request in server.requests] == [line]


async def test_an_id_that_is_none_stays_within_its_part_of_the_path() -> None:
    async with Misbehaving(replies(OK)) as server, client_of(server.url) as client:
        await client.fetch_sftp("../a b?c#d")
    assert server.requests[0].line == "GET /api/v1/campaigns/..%2Fa%20b%3Fc%23d/sftp HTTP/1.1"


async def test_a_request_says_what_it_takes_and_who_asks() -> None:
    async with Misbehaving(replies(OK)) as server, client_of(server.url) as client:
        await client.fetch_sftp(CAMPAIGN)
    assert server.requests[0].headers == {
        "host": f"127.0.0.1:{server.port}",
        "accept": "application/json",
        "accept-encoding": "identity",
        "cache-control": "no-cache",
        "user-agent": f"sftp-config-monitor/{__version__}",
        "authorization": f"Bearer {TOKEN}",
    }


@pytest.mark.parametrize(
    "base_url",
    ["https://256.1.1.1", "https://[v1.x]", "https://\u2603.example", "https://api.example:port"],
)
async def test_a_base_url_that_only_the_client_knows_to_be_none_is_refused(base_url: str) -> None:
    with pytest.raises(ValueError, match="not a base URL"):
        async with client_of(base_url):
            pass


async def test_fault_37_a_new_token_is_used_from_the_next_request_on() -> None:
    async with Misbehaving(replies(OK)) as server, client_of(server.url) as client:
        await client.fetch_sftp(CAMPAIGN)
        client.set_token("talq_another")
        await client.fetch_sftp(CAMPAIGN)
    used = [request.headers["authorization"] for request in server.requests]
    assert used == [f"Bearer {TOKEN}", "Bearer talq_another"]


async def test_fault_37_a_token_replaced_while_a_call_is_under_way_is_redacted_all_the_same() -> (
    None
):
    async def script(_: Request, peer: Peer) -> None:
        client.set_token("the-new-one")
        await peer.send(answer({"success": False, "message": "not the-old-one"}))

    async with Misbehaving(script) as server, client_of(server.url, token="the-old-one") as client:
        seen = (await client.fetch_sftp(CAMPAIGN)).observation
    assert seen == PollError(Reason.API_ERROR, "not <secret>")


async def test_every_finished_call_is_observed_with_its_duration_and_reason() -> None:
    calls = Calls()
    script = replies(OK, answer(b"", "500 Oh"), answer(b"", "404 Not Found"), b"\0\r\n\r\n")
    async with (
        Misbehaving(script) as server,
        client_of(server.url, observe=calls.observe, elapsed=calls.monotonic) as client,
    ):
        for _ in range(4):
            await client.fetch_sftp(CAMPAIGN)
    assert calls.seen == [
        ("sftp", 0.25, None),
        ("sftp", 0.25, Reason.HTTP_5XX),
        ("sftp", 0.25, None),
        ("sftp", 0.25, Reason.PROTOCOL_ERROR),
    ]


async def test_waiting_for_a_turn_does_not_count_against_the_deadline() -> None:
    async def the_first_hangs(_: Request, peer: Peer) -> None:
        if len(server.requests) == 1:
            await peer.hang()
        else:
            await peer.send(OK)

    async with (
        Misbehaving(the_first_hangs) as server,
        client_of(server.url, concurrency=1, timeout=0.4) as client,
    ):
        first, *later = await asyncio.gather(*(client.fetch_sftp(CAMPAIGN) for _ in range(4)))
    assert getattr(first.observation, "reason", None) is Reason.TIMEOUT
    assert all(isinstance(got.observation, SftpConfig) for got in later)


async def test_no_more_calls_than_agreed_are_under_way_at_once() -> None:
    under_way: list[int] = []
    now_at = 0
    full = asyncio.Event()

    async def script(_: Request, peer: Peer) -> None:
        nonlocal now_at
        now_at += 1
        under_way.append(now_at)
        if now_at == 3:
            full.set()
        await full.wait()
        # Long enough for one too many to come, if one did.
        await peer.pause()
        now_at -= 1
        await peer.send(answer(config(), headers={"Connection": "close"}))
        peer.end()

    async with Misbehaving(script) as server, client_of(server.url, concurrency=3) as client:
        await asyncio.gather(*(client.fetch_sftp(CAMPAIGN) for _ in range(12)))
    assert max(under_way) == 3


async def test_fault_14_two_hundred_cancelled_calls_leave_the_client_sound() -> None:
    patient = False

    async def script(request: Request, peer: Peer) -> None:
        await (peer.send(OK) if patient else peer.hang())

    calls = Calls()
    async with (
        Misbehaving(script) as server,
        client_of(server.url, concurrency=8, observe=calls.observe) as client,
    ):
        for turn in range(10):
            polls = [asyncio.ensure_future(client.fetch_sftp(CAMPAIGN)) for _ in range(20)]
            # Some are cancelled before they connect, some while they wait for an answer.
            await asyncio.wait(polls, timeout=0.002 * turn)
            for poll in polls:
                poll.cancel()
            await asyncio.wait(polls)
            assert all(poll.cancelled() for poll in polls)
        assert calls.seen == []
        patient = True
        answers = await asyncio.gather(*(client.fetch_sftp(CAMPAIGN) for _ in range(16)))
    assert all(isinstance(got.observation, SftpConfig) for got in answers)


async def test_a_client_can_be_closed_before_its_first_call() -> None:
    async with client_of("https://api.example"):
        pass


async def test_a_call_under_way_when_the_client_is_closed_fails_as_a_lost_connection() -> None:
    arrived = asyncio.Event()

    async def script(request: Request, peer: Peer) -> None:
        arrived.set()
        await hangs(request, peer)

    async with Misbehaving(script) as server, client_of(server.url) as client:
        poll = asyncio.ensure_future(client.fetch_sftp(CAMPAIGN))
        await arrived.wait()
        await client.aclose()
        assert getattr((await poll).observation, "reason", None) is Reason.CONNECTION_LOST


CANARY = "canary-without-a-prefix-0123456789"


def echoes(**changes: object) -> bytes:
    return answer(config(**changes))


ECHOES: dict[str, Script] = {
    "message": replies(answer({"success": False, "message": f"bad {CANARY}", "code": CANARY})),
    "error": replies(answer({"error": {"code": CANARY, "message": CANARY}}, "401 No")),
    "location": replies(answer(b"", "302 Found", {"Location": f"https://{CANARY}/{CANARY}"})),
    "content type": replies(answer(b"x", headers={"Content-Type": f"text/{CANARY}"})),
    "charset": replies(answer(b"x", headers={"Content-Type": f"text/json; charset={CANARY}"})),
    "json charset": replies(
        answer(b"x", headers={"Content-Type": f"application/json; charset={CANARY}"})
    ),
    "encoding": replies(answer(b"x", headers={"Content-Encoding": CANARY})),
    "another campaign": replies(echoes(campaign_id=CANARY)),
    "wrong type": replies(echoes(port=CANARY)),
    "time": replies(echoes(created_at=CANARY)),
    "key": replies(answer({"success": True, "data": {CANARY: 1}})),
    "duplicate key": replies(answer(f'{{"{CANARY}":1,"{CANARY}":2}}'.encode())),
    "no json": replies(answer(CANARY.encode())),
    "bad utf-8": replies(answer(CANARY.encode() + b"\xff")),
    "status line": replies(CANARY.encode() + b"\r\n\r\n"),
    "reason phrase": replies(f"HTTP/1.1 500 {CANARY}\r\nContent-Length: 0\r\n\r\n".encode()),
    "bad reason phrase": replies(f"HTTP/1.1 500 {CANARY}".encode() + b"\xff\r\n\r\n"),
    "header": replies(f"HTTP/1.1 200 OK\r\n{CANARY} {CANARY}\r\n\r\n".encode()),
    "long header": replies(b"HTTP/1.1 200 OK\r\nX: " + CANARY.encode() * 900 + b"\r\n\r\n"),
    "chunk": replies(f"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{CANARY}\r\n".encode()),
    "half a head": replies_and_closes(f"HTTP/1.1 200 OK\r\nX: {CANARY}\r\n".encode()),
    "retry-after": replies(answer(b"", "429 No", {"Retry-After": CANARY, "Date": CANARY})),
    "host": replies(echoes(host=f"a.{CANARY}.b", username=CANARY, import_path=f"/{CANARY}")),
    "id": replies(echoes(id=CANARY)),
    "cookie": replies(answer(config(), headers={"Set-Cookie": f"a={CANARY}"})),
}


@pytest.mark.matrix(fast=6)
@pytest.mark.parametrize("name", ECHOES)
async def test_fault_38_a_token_that_the_api_echoes_is_in_no_answer(name: str) -> None:
    got = await asked(ECHOES[name], token=CANARY, timeout=0.5)
    assert "canary" not in repr(got)


PLAIN = "Correct-Horse-Battery-Staple"
"""A token that does not look like one: only who knows it can take it out."""


@pytest.mark.parametrize("before", [0, 230, 245, 255, 256])
async def test_fault_38_of_a_token_where_a_text_is_cut_no_half_is_left(before: int) -> None:
    said = "x" * before + PLAIN
    texts = dict.fromkeys(("host", "username", "import_path", "import_schedule"), said)
    got = await asked(replies(echoes(**texts)), token=PLAIN)
    assert isinstance(got.observation, SftpConfig)
    assert "Corre" not in repr(got)


@pytest.mark.parametrize("before", [0, 170, 185, 199])
async def test_fault_38_of_a_token_where_a_detail_is_cut_no_half_is_left(before: int) -> None:
    said = answer({"success": False, "message": "x" * before + PLAIN}, "500 No")
    assert "Corre" not in repr(await asked(replies(said), token=PLAIN))


@pytest.mark.parametrize("header", ["Location", "Content-Type"])
async def test_fault_38_a_token_that_lost_its_capitals_on_the_way_is_still_one(header: str) -> None:
    status = "302 Found" if header == "Location" else "200 OK"
    said = answer(b"x", status, {header: f"https://{PLAIN}/"})
    assert "correct" not in repr(await asked(replies(said), token=PLAIN)).lower()


async def test_fault_38_a_detail_is_never_longer_than_200_characters() -> None:
    said = answer({"success": False, "message": "\u00e9" * 10_000, "code": "A"}, "400 Bad")
    got = await asked(replies(said))
    assert isinstance(got.observation, PollError)
    assert len(got.observation.detail) == 200


async def test_the_missing_ca_file_is_said_when_the_client_is_made(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is not a file"):
        async with client_of("https://api.example", ca_file=tmp_path / "none.pem"):
            pass


async def test_an_answer_of_nothing_but_an_unreachable_api_has_no_date_or_pause() -> None:
    got = await asked(replies_and_closes(b""))
    told = PollError(Reason.CONNECTION_LOST, "the connection was closed")
    assert got == Answer(told)


async def test_an_answer_of_another_endpoint_is_a_schema_mismatch() -> None:
    listing = {"success": True, "data": [{"id": CAMPAIGN}], "pagination": {"total": 1}}
    assert await reason_of(replies(answer(listing))) is Reason.SCHEMA_MISMATCH
