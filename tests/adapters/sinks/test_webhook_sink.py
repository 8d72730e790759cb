"""The webhook sink: each event as the log has it, signed; what counts as told, what never is."""

import asyncio
import hashlib
import hmac
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from monitor.adapters.sinks import PermanentDeliveryError, Sink, UncertainDeliveryError
from monitor.adapters.sinks.webhooks import REFUSED, SIGNATURE, sinks_of
from monitor.config import TokenSource
from monitor.config.model import Webhook
from monitor.serialize import Links, event_line
from support.events import FIRING
from support.proxy import ConnectProxy
from support.receiver import Receiver, receiver
from support.sinks import a_context

LINKS = Links("https://runbooks.example/{rule}")
TOLD = replace(FIRING, epoch="e90c4")
NOW = 1_800_000_002.7
NOTIFICATIONS = Path(__file__).parents[3] / "docs" / "notifications.md"


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    file = tmp_path / "secret"
    file.touch(mode=0o600)
    file.write_text("a canary\n".replace(" ", "-"))
    return file


def a_sink(url: str, secret: Path) -> Sink:
    webhook = Webhook.model_construct(name="pager", url=url, secret_file=TokenSource(secret))
    (sink,) = sinks_of([webhook], a_context(LINKS, now=lambda: NOW))
    return sink


async def delivered(to: Receiver, secret: Path, path: str = "/hook/T0ken?key=S3cret") -> None:
    await a_sink(to.url + path, secret).deliver(TOLD)


async def test_an_event_is_posted_as_the_very_line_of_the_log(secret: Path) -> None:
    async with receiver() as to:
        await delivered(to, secret)
    (came,) = to.received
    assert came.path == "/hook/T0ken?key=S3cret"
    assert came.body == event_line(TOLD, LINKS).rstrip()
    assert came.headers["Content-Type"] == "application/json"
    assert came.headers["Idempotency-Key"] == TOLD.event_id


async def test_the_signature_is_of_the_time_and_the_body(secret: Path) -> None:
    async with receiver() as to:
        await delivered(to, secret)
    (came,) = to.received
    signed = b"1800000002." + came.body
    expected = hmac.new(b"a-canary", signed, hashlib.sha256).hexdigest()
    assert came.headers[SIGNATURE] == f"t=1800000002,v1={expected}"


async def test_the_documented_way_to_verify_a_signature_does(secret: Path) -> None:
    (example,) = re.findall(r"^```python\n(.*?)^```", NOTIFICATIONS.read_text(), re.M | re.S)
    told: dict[str, object] = {}
    exec(compile(example, "example", "exec"), told)
    verified = told["verified"]
    assert callable(verified)
    async with receiver() as to:
        await delivered(to, secret)
    (came,) = to.received
    header = came.headers[SIGNATURE]
    assert verified("a-canary", header, came.body, NOW)
    assert not verified("another", header, came.body, NOW)
    assert not verified("a-canary", header, came.body + b" ", NOW)
    assert not verified("a-canary", header, came.body, NOW + 301)


async def test_the_secret_is_read_again_for_each_event(secret: Path) -> None:
    async with receiver() as to:
        await delivered(to, secret)
        secret.write_text("rotated")  # noqa: ASYNC240 - nobody waits for it
        await delivered(to, secret)
    first, second = (came.headers[SIGNATURE] for came in to.received)
    assert first != second


@pytest.mark.parametrize("status", sorted(REFUSED))
async def test_what_the_receiver_refuses_for_good_is_told_so(secret: Path, status: int) -> None:
    async with receiver(status) as to:
        with pytest.raises(PermanentDeliveryError, match=f"{to.url} answered {status}"):
            await delivered(to, secret)


@pytest.mark.parametrize("status", [302, 401, 403, 404, 408, 409, 410, 429, 500, 503])
async def test_any_other_answer_is_a_failure_that_is_tried_again(secret: Path, status: int) -> None:
    async with receiver(status) as to:
        to.headers = {"Location": "mailto:x"}
        with pytest.raises(OSError, match=f"answered {status}") as error:
            await delivered(to, secret)
    assert isinstance(error.value, UncertainDeliveryError) is (status >= 500)
    assert len(to.received) == 1


ANSWERS = {
    "nothing": b"",
    "half a status line": b"HTTP/1.1 2",
    "half a head": b"HTTP/1.1 200 OK\r\nContent-",
    "half a body": b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{",
    "no HTTP": b"220 ready\r\n",
}


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS.keys())
async def test_fault_42_a_receiver_that_dies_before_it_has_answered_may_have_taken_the_event(
    secret: Path, answer: bytes
) -> None:
    came = list[bytes]()

    async def die(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        (length,) = re.findall(rb"(?i)content-length: (\d+)", head)
        came.append(await reader.readexactly(int(length)))
        writer.write(answer)
        writer.close()

    async with await asyncio.start_server(die, "127.0.0.1", 0) as server:
        host, port = server.sockets[0].getsockname()
        with pytest.raises(UncertainDeliveryError, match=f"http://{host}:{port}: "):
            await a_sink(f"http://{host}:{port}/hook", secret).deliver(TOLD)
    assert came == [event_line(TOLD, LINKS).rstrip()]


@pytest.mark.parametrize("host", ["127.0.0.1:9", "nobody.invalid"])
async def test_where_there_is_no_connection_nothing_was_sent(secret: Path, host: str) -> None:
    with pytest.raises(OSError, match=f"http://{host}: ") as error:
        await a_sink(f"http://{host}/hook", secret).deliver(TOLD)
    assert not isinstance(error.value, UncertainDeliveryError)


async def test_a_redirect_is_not_followed(secret: Path) -> None:
    async with receiver() as elsewhere, receiver(307) as to:
        to.headers = {"Location": elsewhere.url}
        with pytest.raises(OSError, match="answered 307"):
            await delivered(to, secret)
    assert elsewhere.received == []


async def test_nobody_listens() -> None:
    sink = a_sink("http://127.0.0.1:9/hook/T0ken", Path("/dev/null"))
    with pytest.raises(OSError, match="/dev/null is not a regular file"):
        await sink.deliver(TOLD)


async def test_a_failure_shows_nothing_of_the_url_but_its_host(secret: Path) -> None:
    for url in ("http://127.0.0.1:9/T0ken?S3cret", f"http://{'x' * 70}.example/T0ken?S3cret"):
        with pytest.raises(OSError, match=re.escape(url.partition("/T0ken")[0])) as error:
            await a_sink(url, secret).deliver(TOLD)
        assert "T0ken" not in str(error.value)
        assert "S3cret" not in str(error.value)
    async with receiver(500) as to:
        to.text = "no POST to /T0ken?S3cret"
        with pytest.raises(OSError, match="answered 500") as error:
            await delivered(to, secret)
    assert "T0ken" not in str(error.value)


async def test_a_proxy_of_the_environment_is_not_asked(
    secret: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    async with receiver() as to:
        await delivered(to, secret)
    assert len(to.received) == 1


async def test_the_body_is_the_json_of_an_alert_event(secret: Path) -> None:
    async with receiver() as to:
        await delivered(to, secret)
    assert json.loads(to.received[0].body)["event_id"] == TOLD.event_id


async def test_fault_33_a_receiver_is_reached_through_its_proxy(
    secret: Path, tmp_path: Path
) -> None:
    credentials = tmp_path / "credentials"
    credentials.touch(mode=0o600)
    credentials.write_text("me:old")
    async with receiver() as to, ConnectProxy("me:new", int(to.url.rpartition(":")[2])) as proxy:
        webhook = Webhook.model_construct(
            name="pager",
            url="http://hooks.example/T0ken",
            secret_file=TokenSource(secret),
            proxy_url=proxy.url,
            proxy_credentials_file=TokenSource(credentials),
        )
        (sink,) = sinks_of([webhook], a_context(LINKS, now=lambda: NOW))
        with pytest.raises(OSError, match=r"http://hooks\.example answered 407"):
            await sink.deliver(TOLD)
        credentials.write_text("me:new")
        await sink.deliver(TOLD)
    assert [came.path for came in to.received] == ["/T0ken"]
    assert "Proxy-Authorization" not in to.received[0].headers
