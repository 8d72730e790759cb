"""Faults 11 to 16: the body is broken or hostile. Numbers as in the catalogue of faults."""

import gzip
import json
import tracemalloc

import pytest

from monitor.adapters.talkover.decode import decode_sftp
from monitor.core.model import PollError, Reason, SftpConfig
from support.misbehaving import (
    CAMPAIGN,
    TOKEN,
    Misbehaving,
    answer,
    asked,
    client_of,
    config,
    drips,
    hangs,
    reason_of,
    replies,
    replies_and_closes,
    replies_and_resets,
)

CHUNKED = {"Content-Length": None, "Transfer-Encoding": "chunked"}
WHOLE = json.dumps(config()).encode()


def malformed(body: bytes) -> str:
    seen = decode_sftp(body, CAMPAIGN, TOKEN)
    assert isinstance(seen, PollError)
    assert seen.reason is Reason.MALFORMED, seen
    return seen.detail


def with_raw(value: str) -> bytes:
    """Return the example with `value`, unquoted, in a field that nobody knows."""
    return json.dumps(config(unknown="@")).replace('"@"', value).encode()


async def test_fault_11_truncated_json_is_malformed() -> None:
    assert await reason_of(replies(answer(WHOLE[:-20]))) is Reason.MALFORMED


async def test_fault_11_a_body_shorter_than_declared_is_a_lost_connection() -> None:
    data = answer(WHOLE, headers={"Content-Length": str(len(WHOLE) + 1)})
    got = await asked(replies_and_closes(data))
    told = "the connection ended before the body did"
    assert got.observation == PollError(Reason.CONNECTION_LOST, told)


async def test_fault_11_half_a_body_that_ends_with_the_connection_is_malformed() -> None:
    data = answer(WHOLE[:50], headers={"Content-Length": None, "Connection": "close"})
    assert await reason_of(replies_and_closes(data)) is Reason.MALFORMED


async def test_a_whole_body_that_ends_with_the_connection_is_read() -> None:
    data = answer(WHOLE, headers={"Content-Length": None, "Connection": "close"})
    assert await reason_of(replies_and_closes(data)) is None


@pytest.mark.parametrize("chunks", [b'5\r\n{"a', b'5\r\n{"a":\r\n'])
async def test_fault_11_chunks_that_break_off_are_a_lost_connection(chunks: bytes) -> None:
    data = answer(b"", headers=CHUNKED) + chunks
    assert await reason_of(replies_and_closes(data)) is Reason.CONNECTION_LOST


async def test_fault_11_a_truncated_gzip_is_a_bad_encoding() -> None:
    data = answer(gzip.compress(WHOLE)[:30], headers={"Content-Encoding": "gzip"})
    assert await reason_of(replies(data)) is Reason.BAD_ENCODING


@pytest.mark.matrix(fast=2)
@pytest.mark.parametrize(
    "encoding", ["gzip", "br", "zstd", "deflate", "gzip, gzip", "identity, br"]
)
async def test_fault_12_nothing_but_identity_is_read(encoding: str) -> None:
    bomb = gzip.compress(gzip.compress(b" " * 10_000_000))
    data = answer(bomb, headers={"Content-Encoding": encoding})
    async with Misbehaving(replies(data)) as server, client_of(server.url) as client:
        seen = (await client.fetch_sftp(CAMPAIGN)).observation
    told = f"Content-Encoding {encoding}, asked for identity"
    assert seen == PollError(Reason.BAD_ENCODING, told)
    assert server.requests[0].headers["accept-encoding"] == "identity"


@pytest.mark.parametrize("encoding", ["identity", "Identity", " "])
async def test_an_encoding_of_identity_is_none(encoding: str) -> None:
    data = answer(config(), headers={"Content-Encoding": encoding})
    assert await reason_of(replies(data)) is None


@pytest.mark.parametrize("charset", ["latin-1", "utf-16", "ascii-8", "\u2603"])
async def test_another_charset_than_utf_8_is_a_bad_encoding(charset: str) -> None:
    said = f"application/json; charset={charset.encode().decode('latin-1')}"
    data = answer(config(), headers={"Content-Type": said})
    assert await reason_of(replies(data)) is Reason.BAD_ENCODING


async def test_fault_13_a_body_declared_too_large_closes_the_connection_unread() -> None:
    data = answer(b"", headers={"Content-Length": str(1024 * 1024 + 1)})
    async with Misbehaving(drips(data, b" ")) as server, client_of(server.url) as client:
        seen = (await client.fetch_sftp(CAMPAIGN)).observation
        await server.closed.wait()
    assert seen == PollError(Reason.TOO_LARGE, "a body of more than 1048576 bytes")


async def test_fault_13_a_body_streamed_too_large_closes_the_connection() -> None:
    chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
    head = answer(b"", headers=CHUNKED)
    async with Misbehaving(drips(head, chunk)) as server, client_of(server.url) as client:
        tracemalloc.start()
        seen = (await client.fetch_sftp(CAMPAIGN)).observation
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        await server.closed.wait()
    assert isinstance(seen, PollError)
    assert seen.reason is Reason.TOO_LARGE
    assert peak < 16 * 1024 * 1024


async def test_fault_13_a_body_of_a_mebibyte_is_still_read() -> None:
    body = WHOLE + b" " * (1024 * 1024 - len(WHOLE))
    assert await reason_of(replies(answer(body))) is None


@pytest.mark.parametrize(
    ("head", "data"),
    [
        (answer(b"", headers={"Content-Length": "1000"}), b" "),
        (b"HTTP/1.1 200 OK\r\nX-Slow: ", b"x"),
        (b"HTTP/1.1 200 OK\r\n", b"X: y\r\n"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (answer(b"", headers=CHUNKED), b"1\r\n \r\n"),
    ],
    ids=["body", "one header", "many headers", "continues", "chunks"],
)
async def test_fault_14_a_drip_does_not_outlast_the_deadline(head: bytes, data: bytes) -> None:
    async with (
        Misbehaving(drips(head, data)) as server,
        client_of(server.url, timeout=0.15) as client,
    ):
        seen = (await client.fetch_sftp(CAMPAIGN)).observation
        await server.closed.wait()
    assert seen == PollError(Reason.TIMEOUT, "no complete answer within 0.15 s")


async def test_fault_14_a_server_that_says_nothing_does_not_outlast_the_deadline() -> None:
    assert await reason_of(hangs, timeout=0.05) is Reason.TIMEOUT


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (b"[" * 100_000, "the body is nested too deeply"),
        (b'{"a":' * 100_000, "the body is nested too deeply"),
        (with_raw("[" * 100_000), "the body is nested too deeply"),
        (with_raw("7" * 5_000), "a number of 5000 digits"),
        (with_raw("-1e400"), "a number that is not finite"),
        (with_raw("NaN"), "a number that is not finite"),
        (with_raw("Infinity"), "a number that is not finite"),
        (with_raw("-Infinity"), "a number that is not finite"),
        (with_raw('{"a":1,"a":2}'), "a key occurs twice in one object"),
        (with_raw('[{"a":1,"\\u0061":2}]'), "a key occurs twice in one object"),
        (WHOLE.replace(b'"port"', b'"host"'), "a key occurs twice in one object"),
        (json.dumps(config()).encode("utf-16"), "the body is not UTF-8"),
        (WHOLE.replace(b"inbox", b"caf\xe9"), "the body is not UTF-8"),
        (WHOLE.replace(b"inbox", b"\xed\xa0\x80"), "the body is not UTF-8"),
    ],
)
def test_fault_15_what_only_some_parsers_accept_is_malformed(body: bytes, detail: str) -> None:
    assert malformed(body) == detail


@pytest.mark.parametrize(
    "body",
    [b"\xef\xbb\xbf" + WHOLE, b"", b"  ", WHOLE + b"x", WHOLE + WHOLE, b"{'a': 1}", b'{"a":1,}',
     b"// hi\n{}", with_raw("01"), with_raw(".5"), with_raw('"a\nb"'), with_raw('"\\x41"')],
)  # fmt: skip
def test_fault_15_what_is_no_json_is_malformed(body: bytes) -> None:
    malformed(body)


@pytest.mark.parametrize("half", [r'"\ud800"', r'"\uDFFF"', r'"\udc00\ud800"', r'["a\udBffb"]'])
@pytest.mark.parametrize("where", ["value", "key"])
def test_fault_16_half_a_surrogate_pair_anywhere_is_malformed(half: str, where: str) -> None:
    value = half if where == "value" else "{" + half.strip("[]") + ":1}"
    assert malformed(with_raw(value)) == "half a surrogate pair in a string"


def test_fault_16_half_a_surrogate_pair_in_an_error_message_is_malformed() -> None:
    malformed(rb'{"success": false, "message": "\ud800"}')


def test_a_whole_surrogate_pair_is_a_character() -> None:
    body = WHOLE.replace(b"campaigns_user", rb"\ud83d\ude00")
    seen = decode_sftp(body, CAMPAIGN, TOKEN)
    assert isinstance(seen, SftpConfig)
    assert seen.username == "\U0001f600"


async def test_a_reset_in_the_middle_of_a_body_is_a_lost_connection() -> None:
    data = answer(WHOLE[:50], headers={"Content-Length": str(len(WHOLE))})
    assert await reason_of(replies_and_resets(data)) is Reason.CONNECTION_LOST
