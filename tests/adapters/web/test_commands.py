"""The POSTs about connection tests: who may send them, what is refused, what is answered."""

import ssl
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import bcrypt
import httpx
import pytest
import trustme
from jsonschema import Draft202012Validator, FormatChecker

from monitor.adapters.web.auth import key_beside, key_path
from monitor.adapters.web.commands import COMMANDS, KEY_HEADER, TESTS_AN_HOUR
from monitor.config.model import Web
from monitor.config.web_config import Access, read_access
from monitor.core.guards import Hold, NotRun, Reason
from monitor.core.model import Instant
from monitor.core.text import rfc3339
from support.builders import NOW
from support.web import HOST, a_program, listening, serving

USER, PASSWORD = "prometheus", "correct horse"
ACCESS = Access(users={USER: bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()})
KEY = "k3y"
SHOWN = {KEY_HEADER: KEY}
TEST = "/api/v1/campaigns/production/failed/test"
SUSPEND, RESUME = "/api/v1/tests/suspend", "/api/v1/tests/resume"
POSTS = (TEST, SUSPEND, RESUME)
JSON = {"Content-Type": "application/json"}


@dataclass
class Operations:
    """Takes down what is asked for; a test comes to `outcome`."""

    outcome: Instant | Hold | NotRun = NOW
    done: list[tuple[Any, ...]] = field(default_factory=list)

    async def start_test(self, *where: str, force: bool, unblock: bool) -> Any:
        self.done.append((*where, force, unblock))
        return self.outcome

    def switch_tests(self, environment: str | None, by: str, *, on: bool) -> None:
        self.done.append((environment, by, on))
        if environment == "nowhere":
            raise KeyError(environment)

    def program(self, **more: Any) -> dict[str, Any]:
        """Return the fields of a program that does it."""
        return {"start_test": self.start_test, "switch_tests": self.switch_tests, **more}


REFUSED: dict[str, tuple[int, dict[str, Any], dict[str, Any], dict[str, Any]]] = {
    # status, of the program, of the server, of the request
    "nobody is named": (403, {}, {}, {}),
    "a wrong key": (403, {"key": KEY}, {}, {"headers": {KEY_HEADER: "wrong"}}),
    "no key is no proof": (403, {"key": ""}, {}, {"headers": {KEY_HEADER: ""}}),
    "without the password": (401, {"web": Web(operators=[USER])}, {"access": ACCESS}, {}),
    "a user who is not named": (
        403,
        {"web": Web(operators=["anna"])},
        {"access": ACCESS},
        {"auth": (USER, PASSWORD)},
    ),
    "a name without a password to it": (
        403,
        {"web": Web(operators=[USER])},
        {},
        {"auth": (USER, "x")},
    ),
    "under allow_unauthenticated": (
        403,
        {"web": Web(operators=[USER], allow_unauthenticated=True)},
        {"access": ACCESS},
        {"auth": (USER, PASSWORD)},
    ),
    "another content type": (415, {"key": KEY}, {}, {"headers": {"Content-Type": "text/plain"}}),
    "a form": (415, {"key": KEY}, {}, {"data": {"force": "1"}, "headers": {}}),
    "no content type": (415, {"key": KEY}, {}, {"headers": {"Content-Type": ""}}),
    "another site": (403, {"key": KEY}, {}, {"headers": {"Origin": "https://evil.example"}}),
    "a page": (403, {"key": KEY}, {}, {"headers": {"Sec-Fetch-Site": "same-origin"}}),
    "no JSON": (400, {"key": KEY}, {}, {"content": b"{"}),
    "no object": (400, {"key": KEY}, {}, {"content": b"[]"}),
    "an unknown key": (400, {"key": KEY}, {}, {"content": b'{"forced": true}'}),
    "too deep": (400, {"key": KEY}, {}, {"content": b"[" * 4000}),
    "too large": (413, {"key": KEY}, {}, {"content": b" " * 4097}),
    "before the state is loaded": (503, {"key": KEY, "loaded": lambda: False}, {}, {}),
}


@pytest.mark.parametrize("path", POSTS)
@pytest.mark.parametrize("case", REFUSED)
async def test_what_is_refused_does_nothing(case: str, path: str) -> None:
    status, program, server, request = REFUSED[case]
    operations = Operations()
    request = {"content": b"{}", **request}
    if "data" in request:
        del request["content"]
    proof = SHOWN if program.get("key") else {}
    request["headers"] = {**JSON, **proof, **request.get("headers", {})}
    if "data" in request:
        del request["headers"]["Content-Type"]
    async with serving(**server, **operations.program(**program)) as client:
        answer = await client.post(path, **request)
    assert (answer.status_code, operations.done) == (status, [])
    assert set(answer.json()) == {"error"}


@pytest.mark.parametrize("path", POSTS)
@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"])
async def test_nothing_but_a_post_does_it(path: str, method: str) -> None:
    operations = Operations()
    async with serving(**operations.program(key=KEY)) as client:
        answer = await client.request(method, path, headers=SHOWN)
    assert (answer.status_code, answer.headers["Allow"]) == (405, "POST")
    assert operations.done == []


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/v1/campaigns/production/nobody/test", {}),
        ("/api/v1/campaigns/nowhere/failed/test", {}),
        (SUSPEND, {"environment": "nowhere"}),
        (RESUME, {"environment": "nowhere"}),
    ],
)
async def test_whom_nobody_knows_is_not_found(path: str, body: dict[str, Any]) -> None:
    async with serving(**Operations().program(key=KEY)) as client:
        answer = await client.post(path, json=body, headers=SHOWN)
    assert answer.status_code == 404


async def test_a_test_is_202_with_the_place_of_its_result() -> None:
    operations = Operations()
    async with serving(**operations.program(key=KEY)) as client:
        body = {"force": True, "by": "anna\n"}
        answer = await client.post(TEST, json=body, headers=SHOWN)
        place = await client.get(answer.headers["Location"])
    assert (answer.status_code, answer.json()) == (202, {"at": rfc3339(NOW, milliseconds=True)})
    assert place.json()["campaign_id"] == "failed"
    ((*where, by, force, unblock),) = operations.done
    assert (where, force, unblock) == (["production", "failed"], True, False)
    assert "\n" not in by
    assert by.startswith("anna")


async def test_without_a_body_it_is_neither_forced_nor_unblocked() -> None:
    operations = Operations()
    async with serving(**operations.program(key=KEY)) as client:
        answer = await client.post(TEST, headers={**JSON, **SHOWN})
    assert answer.status_code == 202
    assert operations.done == [("production", "failed", "somebody with the key", False, False)]


HELD = Hold(Reason.LOGIN, None, "the login has had 2 failed tests")


async def test_while_a_guard_holds_it_is_409_with_the_hold() -> None:
    async with serving(**Operations(HELD).program(key=KEY)) as client:
        answer = await client.post(TEST, json={}, headers=SHOWN)
    held = {"reason": "login", "why": HELD.why, "until": None, "ends": HELD.ends}
    assert (answer.status_code, answer.json()) == (409, {"error": HELD.why, "held": held})


async def test_what_is_no_guard_is_409_without_one() -> None:
    async with serving(**Operations(NotRun("no config")).program(key=KEY)) as client:
        answer = await client.post(TEST, json={}, headers=SHOWN)
    assert (answer.status_code, answer.json()) == (409, {"error": "no config", "held": None})


async def test_beyond_ten_an_hour_it_is_429_and_suspending_goes_on() -> None:
    operations = Operations()
    async with serving(**operations.program(key=KEY)) as client:
        tests = [await client.post(TEST, json={}, headers=SHOWN) for _ in range(TESTS_AN_HOUR + 1)]
        switched = await client.post(SUSPEND, json={}, headers=SHOWN)
    assert [one.status_code for one in tests] == [202] * TESTS_AN_HOUR + [429]
    assert tests[-1].headers["Retry-After"] == "3601"
    assert (switched.status_code, len(operations.done)) == (200, TESTS_AN_HOUR + 1)


async def test_an_operator_is_known_by_the_user_of_basic_auth_whatever_the_body_says() -> None:
    operations = Operations()
    async with serving(access=ACCESS, **operations.program(web=Web(operators=[USER]))) as client:
        answer = await client.post(TEST, json={"by": "root"}, auth=(USER, PASSWORD))
    assert answer.status_code == 202
    assert operations.done[0][2] == USER


async def test_the_key_stands_for_a_password_and_works_under_allow_unauthenticated() -> None:
    operations = Operations()
    program = operations.program(key=KEY, web=Web(allow_unauthenticated=True))
    async with serving(access=ACCESS, **program) as client:
        answers = [
            await client.get("/api/v1/status", headers=SHOWN),
            await client.post(TEST, json={}, headers=SHOWN),
        ]
    assert [one.status_code for one in answers] == [200, 202]


@pytest.mark.parametrize(("subject", "status"), [("anna", 202), ("ben", 403)])
async def test_an_operator_is_known_by_the_subject_of_a_client_certificate(
    tmp_path: Path, subject: str, status: int
) -> None:
    ca = trustme.CA()
    ca.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    server = ca.issue_cert(HOST)
    server.cert_chain_pems[0].write_to_path(str(tmp_path / "server.pem"))
    (tmp_path / "server.key").touch(mode=0o600)
    server.private_key_pem.write_to_path(str(tmp_path / "server.key"))
    (tmp_path / "web.yml").write_text(
        "tls_server_config:\n  cert_file: server.pem\n  key_file: server.key\n"
        "  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.pem\n"
    )
    context = ssl.create_default_context()
    ca.configure_trust(context)
    ca.issue_cert("client.example", common_name=subject).configure_cert(context)
    operations = Operations()
    program = a_program(**operations.program(web=Web(operators=["anna"])))
    read: Any = partial(read_access, tmp_path / "web.yml")
    async with (
        listening(program, read_access=read) as port,
        httpx.AsyncClient(verify=context, trust_env=False) as client,
    ):
        answer = await client.post(f"https://{HOST}:{port}{TEST}", json={})
    assert answer.status_code == status
    assert [one[2] for one in operations.done] == ["anna"] * (status == 202)


@pytest.mark.parametrize(("path", "on"), [(SUSPEND, False), (RESUME, True)])
async def test_tests_are_switched_for_one_environment_or_all(path: str, on: bool) -> None:
    operations = Operations()
    async with serving(**operations.program(key=KEY)) as client:
        for body in ({"environment": "production", "by": "anna"}, {"by": "anna"}):
            answer = await client.post(path, json=body, headers=SHOWN)
            assert answer.status_code == 200
            assert answer.json()["environments"][0]["name"] == "production"
    assert operations.done == [("production", "anna", on), (None, "anna", on)]


def test_the_key_is_for_its_owner_alone_and_new_at_each_start(tmp_path: Path) -> None:
    state = tmp_path / "state.db"
    # What a crash has left behind, and somebody has opened.
    key_path(state).write_text("left")
    key_path(state).chmod(0o666)
    keys = []
    for _ in range(2):
        with key_beside(state) as key:
            keys.append(key)
            assert key_path(state).read_text() == key
            assert key_path(state).stat().st_mode & 0o777 == 0o600
        assert not key_path(state).exists()
    assert len({"left", *keys}) == 3


def test_of_two_replicas_in_one_folder_the_key_of_the_later_one_stays(tmp_path: Path) -> None:
    state = tmp_path / "sftp-monitor.db"
    first, second = key_beside(state), key_beside(state)
    first.__enter__()
    key = second.__enter__()
    first.__exit__(None, None, None)
    assert key_path(state).read_text() == key
    second.__exit__(None, None, None)
    assert list(tmp_path.iterdir()) == []


def test_replicas_that_start_together_in_one_folder_do_not_collide(tmp_path: Path) -> None:
    state, together = tmp_path / "sftp-monitor.db", threading.Barrier(8)

    def start() -> str:
        together.wait()
        with key_beside(state) as key:
            return key

    with ThreadPoolExecutor(8) as threads:
        for _ in range(20):
            assert len({one.result() for one in [threads.submit(start) for _ in range(8)]}) == 8


async def test_the_document_has_every_command() -> None:
    async with serving() as client:
        document = (await client.get("/openapi.json")).json()
    posts = {path for path, item in document["paths"].items() if "post" in item}
    assert posts == set(COMMANDS)


@pytest.mark.parametrize("outcome", [NOW, HELD, NotRun("no config")])
async def test_what_is_answered_keeps_to_the_document(outcome: Any) -> None:
    path = "/api/v1/campaigns/{environment}/{campaign_id}/test"
    async with serving(**Operations(outcome).program(key=KEY)) as client:
        document = (await client.get("/openapi.json")).json()
        answer = await client.post(TEST, json={}, headers=SHOWN)
    described = document["paths"][path]["post"]["responses"][str(answer.status_code)]
    schema = described["content"]["application/json"]["schema"]
    whole = {**schema, "components": document["components"]}
    Draft202012Validator(whole, format_checker=FormatChecker()).validate(answer.json())
