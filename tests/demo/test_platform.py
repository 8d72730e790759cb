"""The stand-in platform over HTTP: it must behave as the reference says the real one does."""

import asyncio
import re
import signal
import sys
from collections.abc import AsyncIterator
from email.utils import parsedate_to_datetime
from typing import Any

import aiohttp
import pytest

from monitor.demo.campaigns import CAMPAIGNS, CLINIC_REMINDERS, MOTOR_CLAIMS, RETAIL_LEADS
from monitor.demo.platform import Platform
from monitor.demo.story import DEMO_TOKEN, LOOP_SECONDS, STORY

START = 1_800_000_000.0  # 2027-01-15T08:00:00Z
AUTHORIZED = {"Authorization": f"Bearer {DEMO_TOKEN}"}
UNKNOWN_ID = "00000000-0000-4000-8000-000000000000"


class Clock:
    """A clock that goes when it is told to."""

    def __init__(self, now: float = START) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class Caller:
    """What a client of the API sees: the status, the headers and the JSON of each answer."""

    def __init__(self, session: aiohttp.ClientSession, base_url: str) -> None:
        self.session = session
        self.base_url = base_url
        self.headers: dict[str, str] = {}

    async def call(
        self, path: str, method: str = "GET", headers: dict[str, str] = AUTHORIZED
    ) -> tuple[int, Any]:
        url = self.base_url + path
        async with self.session.request(method, url, headers=headers) as response:
            self.headers = dict(response.headers)
            return response.status, await response.json()

    async def test(self, campaign_id: str) -> tuple[int, Any]:
        return await self.call(f"/campaigns/{campaign_id}/sftp/test-connection", "POST")

    async def config(self, campaign_id: str) -> dict[str, Any]:
        status, body = await self.call(f"/campaigns/{campaign_id}/sftp")
        assert status == 200
        data: dict[str, Any] = body["data"]
        return data


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def narrated() -> list[str]:
    return []


@pytest.fixture
async def platform(clock: Clock) -> AsyncIterator[Platform]:
    async def sleep(seconds: float) -> None:
        clock.now += seconds

    platform = Platform(DEMO_TOKEN, clock, sleep)
    yield platform
    await platform.stop()


@pytest.fixture
async def api(platform: Platform) -> AsyncIterator[Caller]:
    async with aiohttp.ClientSession() as session:
        yield Caller(session, await platform.start())


# -- GET /campaigns/{id}/sftp ---------------------------------------------------------------------


async def test_a_config_has_the_fields_of_the_reference_and_no_other(api: Caller) -> None:
    status, body = await api.call(f"/campaigns/{RETAIL_LEADS.id}/sftp")
    assert status == 200
    config_id = body["data"].pop("id")
    assert re.fullmatch(r"[0-9a-f-]{36}", config_id)
    assert body == {
        "success": True,
        "data": {
            "campaign_id": RETAIL_LEADS.id,
            "host": "sftp1.northwind.example",
            "port": 22,
            "username": "retail_leads",
            "auth_type": "password",
            "import_path": "/inbox",
            "export_path": "/outbox",
            "import_schedule": "hourly",
            "is_enabled": True,
            "last_test_at": "2027-01-15T07:59:52Z",
            "last_test_success": True,
            "created_at": "2026-06-29T08:00:00Z",
        },
    }


async def test_a_config_that_was_never_tested_says_null(api: Caller) -> None:
    (spring,) = (campaign for campaign in CAMPAIGNS if campaign.name == "Spring catalogue")
    config = await api.config(spring.id)
    assert config["last_test_at"] is None
    assert config["last_test_success"] is None
    assert config["is_enabled"] is False


async def test_every_campaign_has_a_config_at_first(api: Caller) -> None:
    for campaign in CAMPAIGNS:
        assert (await api.config(campaign.id))["campaign_id"] == campaign.id


async def test_a_campaign_that_does_not_exist_is_404(api: Caller) -> None:
    status, body = await api.call(f"/campaigns/{UNKNOWN_ID}/sftp")
    assert (status, body["success"], body["error"]["code"]) == (404, False, "NOT_FOUND")


async def test_a_deleted_config_is_404_and_back_later(api: Caller, clock: Clock) -> None:
    clock.now = START + 30.0
    assert (await api.call(f"/campaigns/{CLINIC_REMINDERS.id}/sftp"))[0] == 404
    clock.now = START + 44.0
    assert (await api.config(CLINIC_REMINDERS.id))["created_at"] == "2027-01-15T08:00:44Z"


# -- GET /campaigns -------------------------------------------------------------------------------


async def test_the_list_has_every_campaign_and_nothing_of_sftp(api: Caller) -> None:
    status, body = await api.call("/campaigns")
    assert (status, body["success"]) == (200, True)
    assert [entry["id"] for entry in body["data"]] == [campaign.id for campaign in CAMPAIGNS]
    assert not any("sftp" in key or key == "host" for entry in body["data"] for key in entry)
    assert body["pagination"] == {"current_page": 1, "per_page": 20, "total": 12}


async def test_pages_cover_the_list_without_gap_or_overlap(api: Caller) -> None:
    found: list[str] = []
    for page in (1, 2, 3):
        _, body = await api.call(f"/campaigns?per_page=5&page={page}")
        found += [entry["id"] for entry in body["data"]]
    assert found == [campaign.id for campaign in CAMPAIGNS]


async def test_a_page_behind_the_last_is_empty(api: Caller) -> None:
    _, body = await api.call("/campaigns?page=2")
    assert body["data"] == []
    assert body["pagination"]["total"] == 12


async def test_an_entry_says_when_the_campaign_calls(api: Caller) -> None:
    _, body = await api.call("/campaigns?per_page=1")
    assert body["data"] == [
        {
            "id": RETAIL_LEADS.id,
            "name": "Retail leads",
            "status": "active",
            "campaign_type": "sales",
            "timezone": "America/New_York",
            "start_date": "2026-06-29",
            "end_date": None,
            "days_of_week": [1, 2, 3, 4, 5],
            "earliest_call_time": "09:00:00",
            "latest_call_time": "17:00:00",
        }
    ]


# -- POST /campaigns/{id}/sftp/test-connection ----------------------------------------------------


async def test_a_test_that_passes_says_so_and_is_on_record(api: Caller) -> None:
    status, body = await api.test(RETAIL_LEADS.id)
    assert (status, body["success"]) == (200, True)
    assert body["data"] == {
        "tested_at": "2027-01-15T08:00:00Z",
        "import_path_accessible": True,
        "export_path_accessible": True,
    }
    config = await api.config(RETAIL_LEADS.id)
    assert (config["last_test_at"], config["last_test_success"]) == ("2027-01-15T08:00:00Z", True)


async def test_a_test_that_fails_is_a_200_too_and_says_why(api: Caller, clock: Clock) -> None:
    clock.now = START + 14.0
    status, body = await api.test(RETAIL_LEADS.id)
    assert (status, body) == (
        200,
        {
            "success": False,
            "message": "SFTP connection failed",
            "data": {"tested_at": "2027-01-15T08:00:14Z", "error": "Authentication failed"},
        },
    )
    assert (await api.config(RETAIL_LEADS.id))["last_test_success"] is False


async def test_a_dropped_connection_takes_its_time_and_is_dated_at_its_end(
    api: Caller, clock: Clock
) -> None:
    clock.now = START + 4.0
    _, body = await api.test(MOTOR_CLAIMS.id)
    assert body["data"] == {"tested_at": "2027-01-15T08:00:06Z", "error": "Connection timed out"}
    assert parsedate_to_datetime(api.headers["Date"]).timestamp() == START + 6.0


async def test_a_test_is_a_post_as_the_answer_to_any_other_method_says(api: Caller) -> None:
    path = f"/campaigns/{RETAIL_LEADS.id}/sftp/test-connection"
    assert (await api.call(path))[0] == 405
    assert api.headers["Allow"] == "POST"


@pytest.mark.parametrize("campaign_id", [UNKNOWN_ID, CLINIC_REMINDERS.id], ids=["never", "deleted"])
async def test_without_a_config_there_is_nothing_to_test(
    api: Caller, clock: Clock, campaign_id: str
) -> None:
    clock.now = START + 30.0
    status, body = await api.test(campaign_id)
    assert (status, body["error"]["code"]) == (404, "NOT_FOUND")


async def test_a_config_that_is_deleted_while_it_is_tested_is_404(
    api: Caller, clock: Clock
) -> None:
    clock.now = START + 29.9
    assert (await api.test(CLINIC_REMINDERS.id))[0] == 404


@pytest.mark.parametrize("status", [405, 409, 429])
async def test_a_test_that_the_platform_refuses_is_not_run(
    api: Caller, platform: Platform, status: int
) -> None:
    before = await api.config(RETAIL_LEADS.id)
    platform.loop.world.refuses = status
    answered, body = await api.test(RETAIL_LEADS.id)
    assert (answered, body["success"]) == (status, False)
    assert ("Retry-After" in api.headers) == (status == 429)
    assert await api.config(RETAIL_LEADS.id) == before


async def test_while_the_token_is_revoked_or_the_api_down_no_test_is_run(
    api: Caller, clock: Clock, platform: Platform
) -> None:
    for elapsed, status in ((80.0, 500), (98.0, 401)):
        clock.now = START + elapsed
        logins = len(platform.loop.server(RETAIL_LEADS).log)
        assert (await api.test(RETAIL_LEADS.id))[0] == status
        assert len(platform.loop.server(RETAIL_LEADS).log) == logins


async def test_the_rate_limit_of_the_story_is_that_of_other_calls(
    api: Caller, clock: Clock
) -> None:
    clock.now = START + 70.0
    assert (await api.test(RETAIL_LEADS.id))[0] == 200


# -- The token ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": DEMO_TOKEN},
        {"Authorization": f"Basic {DEMO_TOKEN}"},
    ],
)
async def test_without_the_right_token_every_call_is_401(
    api: Caller, headers: dict[str, str]
) -> None:
    for path in ("/campaigns", f"/campaigns/{RETAIL_LEADS.id}/sftp", "/nowhere"):
        status, body = await api.call(path, headers=headers)
        assert status == 401
        assert body == {
            "success": False,
            "error": {
                "code": "INVALID_API_KEY",
                "message": "The API key is invalid or has been revoked",
                "details": {},
            },
        }


async def test_a_revoked_token_is_401_until_it_is_restored(api: Caller, clock: Clock) -> None:
    clock.now = START + 98.0
    assert (await api.call("/campaigns"))[0] == 401
    clock.now = START + 110.0
    assert (await api.call("/campaigns"))[0] == 200


# -- The rate limit -------------------------------------------------------------------------------


async def test_every_answer_has_the_limit_and_the_date(api: Caller, clock: Clock) -> None:
    clock.now += 3.9
    for path in ("/campaigns", "/nowhere", f"/campaigns/{UNKNOWN_ID}/sftp"):
        await api.call(path)
        assert api.headers["X-RateLimit-Limit"] == "1000"
        assert parsedate_to_datetime(api.headers["Date"]).timestamp() == START + 3.0


async def test_in_the_story_the_platform_asks_for_five_seconds(api: Caller, clock: Clock) -> None:
    clock.now = START + 70.0
    assert (await api.call("/campaigns"))[0] == 429
    assert api.headers["Retry-After"] == "5"
    assert api.headers["X-RateLimit-Remaining"] == "0"
    assert api.headers["X-RateLimit-Reset"] == str(int(START) + 75)
    clock.now = START + 73.0
    assert (await api.call("/campaigns"))[0] == 200
    assert "X-RateLimit-Remaining" not in api.headers


# -- The platform as a whole ----------------------------------------------------------------------


async def test_in_the_outage_every_call_is_500_whoever_asks(api: Caller, clock: Clock) -> None:
    clock.now = START + 80.0
    for headers in (AUTHORIZED, {}):
        status, body = await api.call("/campaigns", headers=headers)
        assert (status, body["error"]["code"]) == (500, "SERVER_ERROR")
    clock.now = START + 94.0
    assert (await api.call("/campaigns"))[0] == 200


async def test_after_two_minutes_the_story_begins_again(api: Caller, clock: Clock) -> None:
    clock.now = START + LOOP_SECONDS + 30.0
    assert (await api.call(f"/campaigns/{CLINIC_REMINDERS.id}/sftp"))[0] == 404
    clock.now = START + 2 * LOOP_SECONDS
    assert (await api.call(f"/campaigns/{CLINIC_REMINDERS.id}/sftp"))[0] == 200


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nowhere", 404, "NOT_FOUND"),
        ("POST", "/campaigns", 405, "METHOD_NOT_ALLOWED"),
        ("DELETE", f"/campaigns/{RETAIL_LEADS.id}/sftp", 405, "METHOD_NOT_ALLOWED"),
    ],
)
async def test_what_the_platform_does_not_know_is_an_error_in_json(
    api: Caller, method: str, path: str, status: int, code: str
) -> None:
    answered, body = await api.call(path, method)
    assert (answered, body["success"], body["error"]["code"]) == (status, False, code)


async def test_the_base_url_is_that_of_a_free_port_on_loopback(api: Caller) -> None:
    assert re.fullmatch(r"http://127\.0\.0\.1:[1-9]\d*/api/v1", api.base_url)


async def test_two_platforms_stand_side_by_side(api: Caller, clock: Clock) -> None:
    other = Platform("another-token", clock)
    try:
        other_url = await other.start()
        assert other_url != api.base_url
        assert (await api.call("/campaigns"))[0] == 200
        api.base_url = other_url
        assert (await api.call("/campaigns"))[0] == 401
    finally:
        await other.stop()


async def test_a_port_that_is_taken_is_an_os_error(api: Caller, clock: Clock) -> None:
    port = int(api.base_url.split(":")[2].split("/")[0])
    other = Platform(DEMO_TOKEN, clock)
    with pytest.raises(OSError, match="address already in use"):
        await other.start(port=port)
    await other.stop()


async def test_after_stop_nobody_listens(api: Caller, platform: Platform) -> None:
    await platform.stop()
    with pytest.raises(aiohttp.ClientConnectorError):
        await api.call("/campaigns")


# -- The story, played on time --------------------------------------------------------------------


class Naps:
    """Sleeps by moving the clock, and cancels the story, which has no end, after so many naps."""

    def __init__(self, clock: Clock, most: int) -> None:
        self.clock = clock
        self.most = most
        self.taken: list[float] = []

    async def __call__(self, seconds: float) -> None:
        if len(self.taken) == self.most:
            raise asyncio.CancelledError
        self.taken.append(seconds)
        self.clock.now += seconds


async def test_the_story_sleeps_from_chapter_to_chapter_and_over_the_end(
    platform: Platform, clock: Clock, narrated: list[str]
) -> None:
    naps = Naps(clock, most=len(STORY) + 1)
    platform.sleep = naps
    with pytest.raises(asyncio.CancelledError):
        await platform.narrate(narrated.append)
    assert narrated == [chapter.text for chapter in (*STORY, STORY[0], STORY[1])]
    assert sum(naps.taken[: len(STORY)]) == 120.0
    assert clock.now == START + 124.0


async def test_a_sleep_that_ends_early_tells_nothing_early(
    platform: Platform, clock: Clock, narrated: list[str]
) -> None:
    async def wake_early(seconds: float) -> None:
        if clock.now > START:
            raise asyncio.CancelledError
        clock.now += seconds - 0.001

    platform.sleep = wake_early
    with pytest.raises(asyncio.CancelledError):
        await platform.narrate(narrated.append)
    assert narrated == [STORY[0].text]


async def test_a_sleep_over_many_loops_narrates_only_the_present_one(
    platform: Platform, clock: Clock, narrated: list[str]
) -> None:
    clock.now = START + 300 * LOOP_SECONDS + 5.0
    platform.sleep = Naps(clock, most=0)
    with pytest.raises(asyncio.CancelledError):
        await platform.narrate(narrated.append)
    assert narrated == [STORY[0].text, STORY[1].text]


async def test_the_story_begins_on_a_whole_second_because_the_api_tells_no_fraction(
    narrated: list[str],
) -> None:
    platform = Platform(DEMO_TOKEN, Clock(START + 0.75))
    naps = Naps(Clock(), most=1)
    platform.sleep = naps
    with pytest.raises(asyncio.CancelledError):
        await platform.narrate(narrated.append)
    assert naps.taken == [3.25]
    await platform.stop()


# -- Alone ----------------------------------------------------------------------------------------


@pytest.mark.slow
async def test_run_alone_it_prints_its_url_and_tells_the_story_until_interrupted() -> None:
    arguments = ("-m", "monitor.demo.platform", "--port", "0", "--token", "word")
    process = await asyncio.create_subprocess_exec(
        sys.executable, *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    first = (await process.stdout.readline()).decode()
    found = re.search(r"http://127\.0\.0\.1:\d+/api/v1$", first.strip())
    assert found is not None, first
    assert (await process.stdout.readline()).decode().strip() == STORY[0].text
    async with aiohttp.ClientSession() as session:
        status, _ = await Caller(session, found[0]).call(
            "/campaigns", headers={"Authorization": "Bearer word"}
        )
    assert status == 200
    process.send_signal(signal.SIGINT)
    _, errors = await process.communicate()
    assert (process.returncode, errors) == (0, b"")


@pytest.mark.slow
async def test_run_alone_on_a_port_that_cannot_be_it_says_so_in_a_line() -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "monitor.demo.platform", "--port", "70000"),
        stderr=asyncio.subprocess.PIPE,
    )
    _, errors = await process.communicate()
    assert process.returncode == 1
    assert errors.decode().startswith("cannot listen on port 70000: ")
    assert errors.count(b"\n") == 1
