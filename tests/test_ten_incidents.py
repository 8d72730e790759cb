"""Ten incidents as on-call meets them: the page, the campaign's page, and `explain`.

Each is found by a whole daemon, on virtual time, at a stand-in platform. What wakes somebody must
say whose it is, the cause, whether it can wait, whom it concerns and what to do first; and what
they open next must say the same. Of what ends the monitor itself Prometheus pages.
"""

import asyncio
import html
import json
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from monitor.adapters.sinks.alertmanager import annotations_of, standing_events
from monitor.adapters.sinks.apprise import to_text
from monitor.adapters.web.pages import campaign_page, overview_page
from monitor.adapters.web.serializers import campaign_detail
from monitor.core.model import CallTimes, ListedCampaign, PollError, Reason
from monitor.core.text import plain
from monitor.daemon import Daemon
from monitor.demo.world import Network
from monitor.serialize import Links
from support.daemons import World
from support.documents import read_yaml
from support.tested import SHORT, USER, TestedApi, an_api
from support.virtual import run, virtual_seconds

pytestmark = pytest.mark.slow(seconds=15)

MINUTE, HOUR, DAY = 60.0, 3600.0, 86_400.0

LINKS = Links("https://runbooks.example/{rule}", "https://monitor.example")
ROOT = Path(__file__).parents[1]
SHIPPED: Mapping[str, Any] = {
    rule["alert"]: rule
    for group in read_yaml((ROOT / "deploy/prometheus/sftp-monitor.rules.yaml").read_text())[
        "groups"
    ]
    for rule in group["rules"]
    if "alert" in rule
}

# By id, as the platform makes them: nobody knows a campaign by that.
NAMES = {
    "6f3c1a52-0c39-4d4e-9d52-0d6d4e0a8a11": "Retail leads",
    "0b6e4f83-58a7-44a7-8fb9-3b4d3f5f7c22": "Retail win-back",
    "c1d2e3f4-7a65-4b0f-a3c2-9f8e7d6c5b33": "Motor claims",
}
RETAIL, WIN_BACK, MOTOR = NAMES
CALLS = CallTimes(windows=((9 * HOUR, 17 * HOUR),))
HOST = "sftp.bigcustomer.example"


@dataclass
class Here:
    """A platform with its campaigns, and the daemon that watches it."""

    stage: World
    api: TestedApi
    daemon: Daemon

    def server(self, key: str) -> Any:
        """Return the server of a campaign."""
        return self.api.sftp.server(self.api.sftp.configs[key].host)


Happens = Callable[[Here], Awaitable[None]]


@dataclass(frozen=True, kw_only=True)
class Incident:
    """What happens, and what on-call must read of it; `within` seconds (virtual) it is paged.

    `about`: the campaign, None: the whole environment. `campaigns` differ from `NAMES`.
    """

    happens: Happens
    rule: str
    about: str | None
    title: str
    cause: str
    can_wait: str
    whom: Mapping[str, str]
    first: str
    within: float = 2 * HOUR
    campaigns: Mapping[str, str] = field(default_factory=lambda: NAMES)
    host: str = ""
    environments: int = 1
    pages: int = 1
    over: Happens | None = None  # and the alert ends by itself


async def password_rotated(here: Here) -> None:
    here.server(RETAIL).passwords[USER] = "another"


async def no_way_out(here: Here) -> None:
    here.api.sftp.has_way_out = False


async def nightly_maintenance(here: Here) -> None:
    here.server(RETAIL).network = Network.CLOSED


async def api_answers_503(here: Here) -> None:
    for api in here.stage.apis.values():
        api.listing = error = PollError(Reason.HTTP_5XX, "503", 503)
        api.says = dict.fromkeys(NAMES, error)


async def token_regenerated(here: Here) -> None:
    error = PollError(Reason.UNAUTHORIZED, "401 INVALID_API_KEY: it has been revoked", 401)
    here.api.listing, here.api.says = error, dict.fromkeys(NAMES, error)


async def switched_off_while_calling(here: Here) -> None:
    await virtual_seconds(2 * HOUR)
    here.api.sftp.switch(RETAIL, on=False)


async def import_folder_deleted(here: Here) -> None:
    here.server(RETAIL).removed.add((USER, "/inbox"))


async def server_is_back(here: Here) -> None:
    here.server(RETAIL).network = Network.OPEN


async def import_folder_made_again(here: Here) -> None:
    here.server(RETAIL).removed.clear()


async def host_moved(here: Here) -> None:
    here.api.sftp.move_host(HOST, "sftp.new.example")


FORTY = {f"{number:08d}-0c39-4d4e-9d52-0d6d4e0a8a11": f"Branch {number}" for number in range(40)}

INCIDENTS = {
    "password rotated": Incident(
        happens=password_rotated,
        rule="failed_test",
        about=RETAIL,
        title="production/Retail leads: last test failed",
        cause='TalkOver says: "Authentication failed"',
        can_wait="calls start Fri 09:00 UTC, in",
        whom={"team": "retail"},
        first="Ask the customer whether the password or key was rotated",
    ),
    "the platform's way out down": Incident(
        happens=no_way_out,
        rule="tests_failing",
        about=None,
        title="production: connection tests fail at every host since",
        cause="Connection timed out",
        can_wait="60 campaigns; calls start Fri 09:00 UTC, in",
        whom={"team": "platform"},
        # So many that a third host has failed before the first failure was to be confirmed.
        campaigns={f"c-{number}": f"Branch {number}" for number in range(60)},
        first="Ask TalkOver whether their platform reaches the outside",
    ),
    "a customer's nightly maintenance": Incident(
        happens=nightly_maintenance,
        rule="failed_test",
        about=RETAIL,
        title="production/Retail leads: last test failed",
        cause='TalkOver says: "Connection timed out"',
        can_wait="calls start Fri 09:00 UTC, in",
        whom={"team": "retail"},
        first="Ask the customer whether the server is up and lets TalkOver's addresses in; after a "
        "maintenance the next passed test ends this.",
        over=server_is_back,
    ),
    "API 503 for 12 environments": Incident(
        happens=api_answers_503,
        rule="api_unreachable",
        about=None,
        title="production: the API does not answer since",
        cause="http_5xx",
        can_wait="3 campaigns; calls start Fri 09:00 UTC, in",
        whom={"team": "platform"},
        first="Check TalkOver's status page",
        environments=12,
        pages=12,
    ),
    "token regenerated": Incident(
        happens=token_regenerated,
        rule="token_rejected",
        about=None,
        title="production: the API rejects the token since",
        cause="unauthorized",
        can_wait="3 campaigns; calls start Fri 09:00 UTC, in",
        whom={"team": "platform"},
        first="Make a new environment token in TalkOver",
    ),
    "a config switched off by mistake while calling": Incident(
        happens=switched_off_while_calling,
        rule="disabled",
        about=RETAIL,
        title="production/Retail leads: disabled since 2027-01-15T10:",
        cause="or earlier (allowed: 1 d)",
        can_wait="calling now until 17:00 UTC; imports daily",
        whom={"team": "retail"},
        first="Ask who switched it off and why",
        within=25 * HOUR,
    ),
    "import folder deleted and made again": Incident(
        happens=import_folder_deleted,
        rule="path_inaccessible",
        about=RETAIL,
        title="production/Retail leads: import path /inbox cannot be reached",
        cause="import path /inbox",
        can_wait="calls start Fri 09:00 UTC, in",
        whom={"team": "retail"},
        first="Check the path in the SFTP config",
        over=import_folder_made_again,
    ),
    "host of 40 campaigns moved": Incident(
        happens=host_moved,
        rule="failed_test",
        about=next(iter(FORTY)),
        title="production/Branch 0: last test failed",
        cause=f'TalkOver says: "Could not resolve hostname {HOST}: Name or service not known"',
        can_wait="calls start Fri 09:00 UTC, in",
        whom={"team": "platform"},
        first="Check the host name in the SFTP config: it is not found in DNS.",
        campaigns=FORTY,
        host=HOST,
        pages=40,
    ),
}


def environments_of(incident: Incident) -> Iterator[tuple[str, str]]:
    """Yield the name of each environment and of the variable with its token."""
    for number in range(incident.environments):
        yield f"area-{number}" if number else "production", f"TOKEN_{number}"


def configure(stage: World, incident: Incident) -> None:
    """Write the config: tests are on, campaigns are found by discovery, each team has a label."""
    document = {
        "polling": {"interval": "2m", "unhealthy_interval": "1m", "timeout": "5s"},
        "rules": {"stale_test": {"enabled": False}},
        "connection_tests": SHORT,
        "environments": [
            {
                "name": name,
                "base_url": "http://127.0.0.1:9/api/v1",
                "token": f"${{{token}}}",
                "requests_per_minute": 6000,
                "labels": {"team": "platform"},
                "discovery": {"enabled": True, "every": "5m"},
                "overrides": [{"match": {"name": "Retail .*"}, "labels": {"team": "retail"}}],
            }
            for name, token in environments_of(incident)
        ],
    }
    stage.write_config("\n".join(f"{key}: {json.dumps(one)}" for key, one in document.items()))
    for name, _ in environments_of(incident):
        api = an_api(stage, name)
        api.listing = [
            ListedCampaign(key, called, "active", "sales", CALLS)
            for key, called in incident.campaigns.items()
        ]
        for number, key in enumerate(incident.campaigns):
            api.add(key, incident.host, f"user-{number}" if incident.host else USER)


@dataclass(frozen=True)
class Read:
    """What on-call reads of an alert: the page in all its forms, and what they open next."""

    event: dict[str, Any]
    annotations: Mapping[str, str]
    mail: tuple[str, str]
    explained: Mapping[str, Sequence[str]]
    page: str
    overview: str


def read(here: Here, incident: Incident) -> Read:
    """Return what on-call reads of the alert, now that it fires."""
    report = here.daemon.report
    environment = report.snapshot().environments["production"]
    standing = standing_events(environment, incident.about)
    alert = next(one for one in standing if one.rule == incident.rule)
    # An environment's alert is explained with each of its campaigns.
    entry = environment.campaigns[incident.about or next(iter(incident.campaigns))]
    detail = campaign_detail(environment, entry, report.origins(entry.target), [], [])
    pages = campaign_page(detail, "1"), overview_page(report.snapshot(), "1")
    page, overview = (" ".join(html.unescape(one.decode()).split()) for one in pages)
    return Read(
        event=next(one for one in here.stage.events() if is_about(one, incident)),
        annotations=annotations_of(alert, LINKS),
        mail=to_text(alert, LINKS),
        explained={one.title: one.lines for one in detail.explanation},
        page=page,
        overview=overview,
    )


def is_about(event: Mapping[str, Any], incident: Incident) -> bool:
    """Return whether an event is the page that somebody opens."""
    return (event["environment"], event["campaign_id"]) == ("production", incident.about)


def met(stage: World, incident: Incident) -> Read:
    """Let an incident happen and be over; return what on-call reads once it was paged."""
    configure(stage, incident)
    tokens = {token: f"talq_{token}" for _, token in environments_of(incident)}

    async def story() -> Read:
        async with stage.daemon(tokens) as daemon:
            here = Here(stage, stage.apis["production"], daemon)  # type: ignore[arg-type]
            await virtual_seconds(5 * MINUTE)
            assert stage.told() == []
            await incident.happens(here)
            async with asyncio.timeout(incident.within):
                while not any(is_about(one, incident) for one in stage.events()):
                    await virtual_seconds(10)
            said = read(here, incident)
            if incident.over is not None:
                await incident.over(here)
            await virtual_seconds(HOUR if incident.over or incident.pages > 1 else 0)
            return said

    return run(story())


each_incident = pytest.mark.parametrize("incident", INCIDENTS.values(), ids=INCIDENTS)


@each_incident
def test_what_wakes_somebody_and_what_they_open_next_say_all_five_things_alike(
    incident: Incident, tmp_path: Path
) -> None:
    stage = World(tmp_path)
    said = met(stage, incident)
    counts = Counter((one["status"], one["rule"]) for one in stage.events())
    ends = {("resolved", incident.rule): 1} if incident.over else {}
    assert counts == {("firing", incident.rule): incident.pages, **ends}
    the_page_says_it(incident, said)
    what_is_opened_next_says_it(incident, said)


def the_page_says_it(incident: Incident, said: Read) -> None:
    """Assert that log and webhook, Alertmanager and mail say whose, why, how urgent, what to do."""
    event, (title, body) = said.event, said.mail
    assert event["summary"].startswith(incident.title)
    assert incident.cause in f"{event['summary']} {list(event['evidence'].values())}"
    assert event["impact"].startswith(incident.can_wait)
    assert event["labels"] == incident.whom
    assert event["next_step"].startswith(incident.first)
    assert said.annotations["summary"] == plain(event["summary"])
    assert said.annotations["next_step"] == event["next_step"]
    assert said.annotations["impact"].startswith(incident.can_wait)
    assert title.endswith(incident.title.partition(":")[0])
    assert body.startswith(plain(event["summary"]))
    whom = f"Labels: team={incident.whom['team']}"
    for line in (whom, f"Impact: {incident.can_wait}", f"Next step: {incident.first}"):
        assert line in body


def what_is_opened_next_says_it(incident: Incident, said: Read) -> None:
    """Assert that `explain`, the campaign's page and the overview say what the page says."""
    finding = said.event["summary"].partition(": ")[2]
    place = "" if incident.about else "production: "
    severity = said.event["severity"]
    alert = said.explained[f"{place}{incident.rule}: firing ({severity})"]
    of_whom = said.explained["Campaign"] if incident.about else alert
    assert alert[0] == finding
    assert any(incident.cause in line for line in alert)
    assert f"next: {said.event['next_step']}" in alert
    assert f"labels team={incident.whom['team']}" in of_whom
    assert any(line.startswith(incident.can_wait) for line in of_whom)
    for line in (*alert, *of_whom):
        assert " ".join(line.split()) in said.page
    assert finding in said.overview
    assert said.event["next_step"] in said.overview


# --- what ends the monitor itself, and so is paged by Prometheus ----------------------------------


def errors_of(daemon: Daemon) -> float:
    """Return how many transactions have failed, as Prometheus scrapes it."""
    metrics = daemon.report.metrics(False)().decode()
    (count,) = re.findall(r"^sftp_monitor_storage_errors_total (\S+)$", metrics, re.MULTILINE)
    return float(count)


def test_the_database_is_gone_the_page_says_that_nothing_is_lost_yet_and_what_not_to_do(
    tmp_path: Path,
) -> None:
    stage, incident = World(tmp_path), INCIDENTS["password rotated"]
    errors: list[float] = []
    configure(stage, incident)

    async def story() -> tuple[str, str]:
        async with stage.daemon({"TOKEN_0": "talq_0"}) as daemon:
            here = Here(stage, stage.apis["production"], daemon)  # type: ignore[arg-type]
            await virtual_seconds(5 * MINUTE)
            (tmp_path / "state.db").unlink()
            # No test of ours runs any more, for none can be stored: somebody presses Test.
            await incident.happens(here)
            await virtual_seconds(HOUR)
            assert stage.told() == []
            errors.append(errors_of(daemon))
            await virtual_seconds(10 * MINUTE)
            errors.append(errors_of(daemon))
            here.api.sftp.test(RETAIL, stage.clock.wall())
            await virtual_seconds(MINUTE)
            report = daemon.report
            shown = overview_page(report.snapshot(), "1").decode()
            return report.ready() or "", html.unescape(shown)

    why, overview = run(story())
    # On-call is notified all the same, and the line says that no disk has it.
    (event,) = stage.events()
    assert (event["rule"], event["durable"]) == ("failed_test", False)
    assert why == "the state database: deleted while running; restart the daemon"
    assert f"The monitor is not ready: {why}" in overview
    # It grows within any ten minutes, so the page stays open as long as it lasts.
    assert errors[0] < errors[1]
    page = SHIPPED["SftpMonitorStorageErrors"]["annotations"]
    assert page["summary"].endswith("the state cannot be written")
    assert "Alerts are still sent" in page["description"]
    assert "Do not restart it before" in page["next_step"]


def test_the_node_is_lost_the_page_says_what_nobody_sees_meanwhile_and_where_to_look() -> None:
    page = SHIPPED["SftpMonitorAbsent"]["annotations"]
    assert page["summary"].endswith(" is not there: its campaigns are not being monitored")
    assert "held for an hour; nothing new will fire" in page["description"]
    assert page["next_step"].startswith("See whether the process runs")
