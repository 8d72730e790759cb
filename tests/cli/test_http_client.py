"""How a command asks a running daemon: what `--url` may be, and what is said when it fails."""

import asyncio
from functools import partial

import pytest

from monitor.cli.client import Monitor
from support.misbehaving import Misbehaving, Script, answer, hangs, replies, replies_and_closes


async def asked(script: Script, user: str = "") -> tuple[bytes, Misbehaving]:
    """Return what is read from a daemon that answers by this script, and the daemon."""
    async with Misbehaving(script) as daemon:
        url = f"http://{user}127.0.0.1:{daemon.port}/"
        ask = partial(Monitor(url).exchange, "GET", "/api/v1/x", params={"a": "b c"})
        return (await asyncio.to_thread(ask))[1], daemon


async def test_the_path_is_put_on_the_url_and_the_password_into_a_header() -> None:
    body, daemon = await asked(replies(answer({"a": 1})), user="alice:first@")
    (request,) = daemon.requests
    assert body == b'{"a": 1}'
    assert request.line == "GET /api/v1/x?a=b+c HTTP/1.1"
    assert request.headers["authorization"] == "Basic YWxpY2U6Zmlyc3Q="


async def test_an_answer_of_many_campaigns_is_read_whole() -> None:
    body, _ = await asked(replies(answer(b"x" * 3_000_000)))
    assert len(body) == 3_000_000


@pytest.mark.parametrize(
    ("script", "told"),
    [
        (replies(answer(b"", "401 No")), r"http://127.0.0.1:\d+ answered 401 Unauthorized"),
        (replies(answer(b"", "302 No", {"Location": "/"})), r"http://127.0.0.1:\d+ answered 302 "),
        (replies_and_closes(b""), r"cannot ask http://127.0.0.1:\d+: the connection was closed"),
        (replies_and_closes(b"SSH-2.0-x\r\n\r\n"), r"cannot ask http://\S+: Bad status line"),
    ],
)
async def test_a_failure_says_who_was_asked_and_what_came_without_the_password(
    script: Script, told: str
) -> None:
    with pytest.raises(OSError, match=f"^{told}") as failed:
        await asked(script, user="alice:first@")
    assert "first" not in str(failed.value)


async def test_a_daemon_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("monitor.cli.client.WITHIN", 0.1)
    with pytest.raises(OSError, match=r"no complete answer within 0\.1 s$"):
        await asked(hangs)


@pytest.mark.parametrize(
    "url", ["", "localhost:10022", "ftp://localhost", "http://", "http://a:b", "http://xn--a"]
)
def test_what_is_no_url_is_said_to_be_none(url: str) -> None:
    with pytest.raises(OSError, match=r"^--url: expected a URL such as http://127\.0\.0\.1:10022$"):
        Monitor(url).exchange("GET", "/api/v1/x")
