"""Every path with every method, and what is said of each (contract §4)."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from monitor.adapters.web.auth import SECURITY_HEADERS
from support.scrapes import VERSION
from support.web import a_program, exchange, listening, serving

READ = (
    "/",
    "/metrics",
    "/-/healthy",
    "/-/ready",
    "/api/v1/status",
    "/api/v1/campaigns",
    "/api/v1/campaigns/production/healthy",
    "/api/v1/alerts",
    "/api/v1/events",
    "/events",
    "/campaigns/production/healthy",
    "/openapi.json",
    "/static/style.css",
    "/static/live.js",
)

OTHER_METHODS = ("POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND")

NOWHERE = (
    "/nowhere",
    "/metrics/",
    "//metrics",
    "/static/",
    "/static/../server.py",
    "/static/%2e%2e/server.py",
    "/%00",
    "/api/v1",
    "/api/v1/campaigns/production",
    "/api/v1/campaigns/production/nobody",
    "/api/v1/campaigns/nowhere/healthy",
    "/favicon.ico",
)


@dataclass
class Reloads:
    """Counts reloads; each finds the same problems."""

    problems: Sequence[str] = ()
    count: int = field(default=0)

    async def __call__(self) -> Sequence[str]:
        self.count += 1
        return self.problems


@pytest.mark.matrix(fast=4)
@pytest.mark.parametrize("path", READ)
async def test_a_path_is_there_for_get(path: str) -> None:
    async with serving() as client:
        answer = await client.get(path)
    assert answer.status_code == 200
    assert answer.content


@pytest.mark.matrix(fast=4)
@pytest.mark.parametrize("path", [path for path in READ if path != "/metrics"])
async def test_head_answers_as_get_without_the_body(path: str) -> None:
    async with serving() as client:
        got, head = await client.get(path), await client.head(path)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["Content-Type"] == got.headers["Content-Type"]
    assert head.headers["Content-Length"] == str(len(got.content))


async def test_head_of_metrics_gives_no_body_either() -> None:
    async with serving() as client:
        head = await client.head("/metrics")
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"


@pytest.mark.matrix(fast=4)
@pytest.mark.parametrize("path", READ)
async def test_fault_46_any_other_method_is_refused_with_those_allowed(path: str) -> None:
    async with serving() as client:
        answers = [await client.request(method, path) for method in OTHER_METHODS]
    assert {answer.status_code for answer in answers} == {405}
    assert {answer.headers["Allow"] for answer in answers} == {"GET,HEAD"}


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "OPTIONS"])
async def test_a_reload_can_only_be_posted(method: str) -> None:
    reloads = Reloads()
    async with serving(reload=reloads) as client:
        answer = await client.request(method, "/-/reload")
    assert (answer.status_code, answer.headers["Allow"]) == (405, "POST")
    assert reloads.count == 0


@pytest.mark.matrix(fast=4)
@pytest.mark.parametrize("path", NOWHERE)
async def test_fault_46_any_other_path_is_not_there(path: str) -> None:
    # Byte by byte, for a client would tidy it up.
    async with listening(a_program()) as port:
        answer = await exchange(port, f"GET {path} HTTP/1.0\r\n\r\n".encode())
    assert answer.startswith(b"HTTP/1.0 404 Not Found\r\n")


@pytest.mark.matrix(fast=6)
@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        *(("GET", path, 200) for path in READ),
        ("POST", "/-/reload", 200),
        ("GET", "/nowhere", 404),
        ("GET", "/api/v1/nowhere", 404),
        ("DELETE", "/", 405),
        ("GET", "/api/v1/events?limit=0", 400),
    ],
)
async def test_fault_49_the_security_headers_are_on_every_answer(
    method: str, path: str, status: int
) -> None:
    async with serving() as client:
        answer = await client.request(method, path)
    assert answer.status_code == status
    assert {name: answer.headers.get(name) for name in SECURITY_HEADERS} == SECURITY_HEADERS
    assert not [name for name in answer.headers if name.startswith("access-control-")]


def test_fault_49_the_security_headers_say_what_they_must() -> None:
    policy = SECURITY_HEADERS["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert SECURITY_HEADERS["X-Content-Type-Options"] == "nosniff"
    assert SECURITY_HEADERS["X-Frame-Options"] == "DENY"
    assert SECURITY_HEADERS["Referrer-Policy"] == "no-referrer"
    assert SECURITY_HEADERS["Cache-Control"] == "no-store"
    assert not any(character.isdigit() for character in SECURITY_HEADERS["Server"])


async def test_fault_49_an_internal_error_is_500_with_the_headers_and_without_the_cause(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def broken() -> bool:
        raise RuntimeError("canary")

    async with serving(healthy=broken) as client:
        answer = await client.get("/-/healthy")
    assert answer.status_code == 500
    assert "canary" not in answer.text
    assert {name: answer.headers.get(name) for name in SECURITY_HEADERS} == SECURITY_HEADERS
    (record,) = caplog.records
    assert record.getMessage() == "GET /-/healthy could not be answered"


async def test_an_internal_error_of_the_api_is_told_as_json(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def broken(query: object) -> object:
        raise RuntimeError("canary")

    async with serving(history=broken) as client:
        answer = await client.get("/api/v1/events")
    assert (answer.status_code, answer.json()) == (500, {"error": "internal error; see the log"})
    assert len(caplog.records) == 1


# --- health, readiness, reload -----------------------------------------------------------------


async def test_health_is_503_when_the_poll_loop_stands_still() -> None:
    async with serving(healthy=lambda: False) as client:
        answer = await client.get("/-/healthy")
    assert (answer.status_code, answer.text) == (503, "the poll loop stands still\n")


async def test_readiness_says_why_not() -> None:
    async with serving(ready=lambda: "the state cannot be written") as client:
        answer = await client.get("/-/ready")
    assert (answer.status_code, answer.text) == (503, "not ready: the state cannot be written\n")


@pytest.mark.parametrize("path", ["/", "/metrics", "/api/v1/alerts", "/api/v1/campaigns/a/b"])
async def test_no_data_is_given_before_the_state_is_loaded(path: str) -> None:
    async with serving(loaded=lambda: False) as client:
        answer = await client.get(path)
    assert answer.status_code == 503
    assert "the state is not loaded yet" in answer.text


@pytest.mark.parametrize("path", ["/-/healthy", "/-/ready", "/openapi.json", "/static/style.css"])
async def test_what_is_no_data_is_answered_before_the_state_is_loaded(path: str) -> None:
    async with serving(loaded=lambda: False) as client:
        assert (await client.get(path)).status_code == 200


@pytest.mark.parametrize(("path", "status"), [("/nowhere", 404), ("/api/v1/nowhere", 404)])
async def test_a_wrong_path_is_wrong_before_the_state_is_loaded(path: str, status: int) -> None:
    async with serving(loaded=lambda: False) as client:
        assert (await client.get(path)).status_code == status


async def test_a_reload_without_problems_is_200() -> None:
    reloads = Reloads()
    async with serving(reload=reloads) as client:
        answer = await client.post("/-/reload")
    assert (answer.status_code, answer.text, reloads.count) == (200, "reloaded\n", 1)


async def test_a_reload_with_problems_is_500_and_tells_them_all() -> None:
    async with serving(reload=Reloads(["c.yaml:1: a: wrong", "c.yaml:2: b: wrong"])) as client:
        answer = await client.post("/-/reload")
    assert answer.status_code == 500
    assert answer.text == "c.yaml:1: a: wrong\nc.yaml:2: b: wrong\n"


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "http://127.0.0.1:1", "Host": "127.0.0.1:10022"},
        # Nor can one of ours: none has a form or a script.
        {"Origin": "https://monitor.example", "Sec-Fetch-Site": "same-origin"},
    ],
    ids=str,
)
async def test_no_page_can_reload(headers: dict[str, str]) -> None:
    reloads = Reloads()
    async with serving(reload=reloads, external_url="https://monitor.example") as client:
        answer = await client.post("/-/reload", headers=headers)
    assert (answer.status_code, reloads.count) == (403, 0)


@pytest.mark.parametrize(
    "headers", [{}, {"Host": "monitor.example"}, {"Sec-Fetch-Site": "none"}], ids=str
)
async def test_programs_can_reload(headers: dict[str, str]) -> None:
    reloads = Reloads()
    async with serving(reload=reloads, external_url="https://monitor.example/sftp") as client:
        answer = await client.post("/-/reload", headers=headers)
    assert (answer.status_code, reloads.count) == (200, 1)


async def test_fault_49_the_version_is_told_where_it_belongs_and_not_in_server() -> None:
    async with serving() as client:
        answer = await client.get("/api/v1/status")
    assert answer.json()["version"] == VERSION
    assert VERSION not in answer.headers["Server"]
