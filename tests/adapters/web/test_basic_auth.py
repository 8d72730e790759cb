"""Basic authentication: who needs a password, and what nobody learns by trying."""

import asyncio
import time
from base64 import b64encode

import bcrypt
import httpx
import pytest
from aiohttp import web

from monitor.adapters.web.auth import CACHED, SECURITY_HEADERS, BasicAuth, matches
from monitor.adapters.web.workers import WAITING
from monitor.config import Access
from support.web import serving

USER, PASSWORD = "prometheus", "correct horse"


def hash_of(password: str, cost: int = 4) -> str:
    return bcrypt.hashpw(password.encode(), bcrypt.gensalt(cost)).decode()


USERS = {USER: hash_of(PASSWORD)}
ACCESS = Access(users=USERS)


def header(user: str, password: str) -> str:
    return "Basic " + b64encode(f"{user}:{password}".encode()).decode()


@pytest.mark.parametrize("path", ["/", "/metrics", "/api/v1/alerts", "/openapi.json", "/nowhere"])
async def test_fault_50_without_a_password_nothing_is_shown(path: str) -> None:
    async with serving(access=ACCESS) as client:
        answer = await client.get(path)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == 'Basic realm="sftp-monitor", charset="UTF-8"'
    assert {name: answer.headers.get(name) for name in SECURITY_HEADERS} == SECURITY_HEADERS
    assert "sftp_monitor" not in answer.text


async def test_fault_50_a_reload_needs_the_password_and_supervisors_do_not() -> None:
    async with serving(access=ACCESS) as client:
        paths = ("/-/healthy", "/-/ready")
        assert [(await client.get(path)).status_code for path in paths] == [200, 200]
        assert (await client.post("/-/reload")).status_code == 401
        assert (await client.post("/-/reload", auth=(USER, PASSWORD))).status_code == 200


async def test_fault_50_the_right_password_opens_and_a_wrong_one_or_a_wrong_user_does_not() -> None:
    async with serving(access=ACCESS) as client:

        async def status(user: str, password: str) -> int:
            return (await client.get("/metrics", auth=httpx.BasicAuth(user, password))).status_code

        assert await status(USER, PASSWORD) == 200
        assert await status(USER, PASSWORD) == 200, "now from the cache"
        assert await status(USER, "wrong") == 401
        assert await status("nobody", PASSWORD) == 401
        assert await status("", "") == 401


@pytest.mark.parametrize(
    "given",
    ["", "Basic", "Basic !!!", "Basic " + "=" * 5000, "Bearer x", "Basic YWJj", "Basic /////w=="],
)
async def test_a_header_that_cannot_be_read_is_no_password(given: str) -> None:
    assert not await BasicAuth().verify(USERS, given)


async def test_no_password_opens_for_a_hash_that_stands_for_nobody() -> None:
    assert not await BasicAuth().verify(USERS, header("nobody", ""))


async def test_a_password_longer_than_bcrypt_looks_at_is_cut_as_other_programs_do() -> None:
    users = {USER: hash_of("x" * 72)}
    assert await BasicAuth().verify(users, header(USER, "x" * 100))
    assert not await BasicAuth().verify(users, header(USER, "x" * 71))


async def test_a_password_that_was_right_is_wrong_once_its_hash_has_changed() -> None:
    auth = BasicAuth()
    assert await auth.verify(USERS, header(USER, PASSWORD))
    assert not await auth.verify({USER: hash_of("another")}, header(USER, PASSWORD))
    assert not await auth.verify({"other": USERS[USER]}, header(USER, PASSWORD))


async def test_only_so_many_verifications_are_cached() -> None:
    auth, users = BasicAuth(), {USER: hash_of("x" * 72)}
    for more in range(CACHED + 1):
        assert await auth.verify(users, header(USER, "x" * 72 + str(more)))
    assert len(auth._verified) == 1


async def test_fault_50_a_flood_of_wrong_passwords_does_not_hold_up_the_first_right_one() -> None:
    """The newest is hashed first; beyond a bound the oldest is 429."""
    auth, order = BasicAuth(), list[str]()

    async def verified(password: str) -> bool | int:
        try:
            return await auth.verify(USERS, header(USER, password)) is not None
        except web.HTTPException as error:
            return error.status
        finally:
            order.append(password)

    flood = [asyncio.create_task(verified(f"wrong {number}")) for number in range(150)]
    # All of them wait by now, but for those who would be too many.
    while len(order) < 150 - WAITING - 1:  # noqa: ASYNC110 - nobody sets an event for it
        await asyncio.sleep(0)
    assert await verified(PASSWORD) is True
    assert order.index(PASSWORD) <= 150 - WAITING + 1
    assert {await each for each in flood} == {False, 429}


async def test_one_wrong_password_many_times_at_once_is_hashed_once() -> None:
    auth = BasicAuth()
    asked = (auth.verify(USERS, header(USER, "wrong")) for _ in range(100))
    assert set(await asyncio.gather(*asked)) == {None}


@pytest.mark.slow
def test_fault_50_unknown_user_and_wrong_password_take_the_same_time() -> None:
    def seconds(hashed: str | None) -> float:
        # Of this thread alone, and the least of some: a busy machine makes it no longer.
        took = []
        for _ in range(5):
            began = time.thread_time()
            assert not matches(b"wrong", hashed, 8)
            took.append(time.thread_time() - began)
        return min(took)

    assert seconds(hash_of("a", 8)) == pytest.approx(seconds(None), rel=0.25)
