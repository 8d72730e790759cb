"""Connection tests of ours in the whole daemon, on virtual time, against a stand-in SFTP world."""

import itertools
import re
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from monitor.adapters.sinks import apprise
from monitor.adapters.sinks.alertmanager import annotations_of, standing_events
from monitor.adapters.sinks.log import to_text
from monitor.adapters.web.pages import overview_page
from monitor.adapters.web.serializers import campaign
from monitor.core.model import Reason
from monitor.daemon import Daemon
from monitor.demo.world import Network, timestamp
from monitor.serialize import Links, record_of
from support.daemons import World
from support.tested import PASSWORD, USER, Said, TestedApi, an_api, configure
from support.virtual import START, run, virtual_seconds

pytestmark = pytest.mark.slow

MINUTE, HOUR, DAY = 60.0, 3600.0, 86_400.0

HOSTS = ("a.example.com", "b.example.com", "c.example.com")


@pytest.fixture
def stage(tmp_path: Path) -> World:
    return World(tmp_path)


Story = Callable[[Daemon], Awaitable[None]]


def play(stage: World, story: Story) -> None:
    """Run a daemon, and the story beside it."""

    async def whole() -> None:
        async with stage.daemon() as daemon:
            await story(daemon)

    run(whole())


def hours(count: float) -> Story:
    async def story(_: Daemon) -> None:
        await virtual_seconds(count * HOUR)

    return story


def posts_of(api: object) -> list[tuple[float, str]]:
    """Return the tests that were asked for at such an API."""
    assert isinstance(api, TestedApi)
    return api.posts


def gaps(times: list[float]) -> list[float]:
    return [later - earlier for earlier, later in itertools.pairwise(times)]


# -- found, confirmed, told, mended ------------------------------------------------------------


def test_a_broken_network_is_found_confirmed_told_with_its_cause_and_mended_by_a_retry(
    stage: World,
) -> None:
    api = an_api(stage)
    api.add("c-1", HOSTS[0])
    configure(stage, ["c-1"])
    told_at: list[int] = []

    async def story(_: Daemon) -> None:
        await virtual_seconds(30 * MINUTE)
        assert stage.told() == []
        api.sftp.server(HOSTS[0]).network = Network.CLOSED
        tested = len(api.posts)
        while not stage.told():
            told_at.append(len(api.posts) - tested)
            await virtual_seconds(1)
        await virtual_seconds(10 * MINUTE)
        api.sftp.server(HOSTS[0]).network = Network.OPEN
        await virtual_seconds(10 * MINUTE)

    play(stage, story)
    # The first failure says nothing yet: another one confirms it.
    assert told_at[-1] == 2
    assert stage.told() == [("firing", "failed_test", "c-1"), ("resolved", "failed_test", "c-1")]
    evidence = stage.events()[0]["evidence"]
    assert evidence["cause"] == 'TalkOver says: "Connection timed out"'
    assert evidence["tested_by"] == "monitor"
    assert "initial" not in stage.events()[0] or stage.events()[0]["initial"] is False


def test_a_wrong_password_gets_exactly_login_failures_tests_whatever_every_is(stage: World) -> None:
    api = an_api(stage)
    api.add("c-1", HOSTS[0])
    configure(stage, ["c-1"], every="20s", login_failures=3, login_gap="5s", host_gap="5s")

    async def story(_: Daemon) -> None:
        await virtual_seconds(5 * MINUTE)
        assert len(api.posts) > 5
        api.sftp.server(HOSTS[0]).passwords.clear()
        await virtual_seconds(HOUR)

    play(stage, story)
    assert len(api.failed_logins(HOSTS[0])) == 3
    first, *_, last = api.failed_logins(HOSTS[0])
    assert last - first >= 2 * MINUTE
    # It was told at once, by the first of them.
    event = stage.events()[0]
    assert (event["rule"], event["status"]) == ("failed_test", "firing")
    assert event["evidence"]["cause"] == 'TalkOver says: "Authentication failed"'


@pytest.mark.matrix
@pytest.mark.parametrize("environments", [1, 2])
def test_a_login_of_five_campaigns_never_sees_two_tests_at_once_nor_closer_than_its_gap(
    stage: World, environments: int
) -> None:
    api = an_api(stage)
    keys = [f"c-{n}" for n in range(5)]
    for key in keys:
        api.add(key, HOSTS[0])
    shared = {"production": keys}
    if environments == 2:
        an_api(stage, "other", api.sftp)
        shared = {"production": keys[:3], "other": keys[3:]}
    configure(stage, shared, every="5m", login_gap="20s", host_gap="10s")
    play(stage, hours(2))
    log = [one.at for one in api.sftp.server(HOSTS[0]).log]
    assert len(log) > 5 * 20
    # The world's times have no fraction.
    assert min(gaps(log)) >= 19
    tested = {key for one in stage.apis.values() for _, key in posts_of(one)}
    assert tested == set(keys)


def test_a_blocked_login_holds_back_all_its_campaigns_and_says_how_many(stage: World) -> None:
    api, other = an_api(stage), an_api(stage, "other")
    other.sftp = api.sftp
    for key in ("c-1", "c-2", "c-3"):
        api.add(key, HOSTS[0])
    configure(stage, {"production": ["c-1", "c-2"], "other": ["c-3"]})
    seen: list[str] = []

    async def story(daemon: Daemon) -> None:
        await virtual_seconds(25 * MINUTE)
        api.sftp.server(HOSTS[0]).passwords.clear()
        await virtual_seconds(2 * HOUR)
        for name, poller in daemon._manager.pollers.items():
            for entry in poller.snapshot().campaigns.values():
                assert entry.findings is not None
                seen.append(f"{name} {entry.findings['failed_test'].verdict}")

    play(stage, story)
    assert len(api.failed_logins(HOSTS[0])) == 2
    failed = [one for one in stage.events() if one["rule"] == "failed_test"]
    assert {one["evidence"].get("same_login") for one in failed} & {"3"}
    # Nobody knows whether the others work: they are not healthy.
    assert not any(one.endswith(" healthy") for one in seen)
    assert sum(one.endswith(" unknown") for one in seen) >= 1


def test_the_first_round_is_told_as_initial_and_ends_with_one_line_of_counts(stage: World) -> None:
    api = an_api(stage)
    for key, host in zip(("c-1", "c-2", "c-3"), HOSTS, strict=True):
        api.add(key, host)
    api.sftp.server(HOSTS[1]).network = Network.CLOSED  # a failure that is to be confirmed
    configure(stage, ["c-1", "c-2", "c-3"])
    with capture_logs() as logs:
        play(stage, hours(3))
    event = next(one for one in stage.events() if one["campaign_id"] == "c-2")
    assert (event["initial"], event["evidence"]["cause"]) == (
        True,
        'TalkOver says: "Connection timed out"',
    )
    rounds = [one for one in logs if one["event"] == "first_round_complete"]
    assert len(rounds) == 1
    counts = {key: rounds[0][key] for key in ("environment", "passed", "failed", "unknown")}
    assert counts == {"environment": "production", "passed": 2, "failed": 1, "unknown": 0}


# -- everybody ---------------------------------------------------------------------------------


def test_three_hosts_that_fail_together_are_one_alert_and_no_page_of_a_campaign(
    stage: World,
) -> None:
    api = an_api(stage)
    for key, host in zip(("c-1", "c-2", "c-3"), HOSTS, strict=True):
        api.add(key, host)
    configure(stage, ["c-1", "c-2", "c-3"], confirm_after="10m", retry_after="10m")
    probed: list[float] = []

    async def story(_: Daemon) -> None:
        await virtual_seconds(HOUR)
        api.sftp.has_way_out = False
        while not stage.told():
            await virtual_seconds(MINUTE)
        probed.append(stage.clock.wall())
        await virtual_seconds(2 * HOUR)
        probed.append(stage.clock.wall())
        api.sftp.has_way_out = True
        await virtual_seconds(12 * MINUTE)

    play(stage, story)
    assert [one for one in stage.told() if one[2] is not None] == []
    assert stage.told() == [("firing", "tests_failing", None), ("resolved", "tests_failing", None)]
    # Meanwhile one probe every ten minutes, at whom the passed one ends it.
    probes = [at for at, _ in api.posts if probed[0] < at < probed[1]]
    assert len(probes) in {11, 12}
    assert min(gaps(probes)) >= 10 * MINUTE
    evidence = stage.events()[0]["evidence"]
    assert evidence["causes"] == "Connection timed out"
    assert all(host in evidence["hosts"] for host in HOSTS)


# -- it switches off, it turns away ------------------------------------------------------------


def test_a_platform_that_switches_off_gets_no_further_post_for_anybody(stage: World) -> None:
    api = an_api(stage)
    other = an_api(stage, "other", api.sftp)
    for key, host in zip(("c-1", "c-2", "c-3"), HOSTS, strict=True):
        api.add(key, host)
    configure(stage, {"production": ["c-1", "c-2"], "other": ["c-3"]})
    posts: list[int] = []

    async def story(_: Daemon) -> None:
        await virtual_seconds(25 * MINUTE)
        api.sftp.switches_off = True
        api.sftp.server(HOSTS[0]).passwords.clear()
        while api.sftp.configs["c-1"].is_enabled:
            await virtual_seconds(1)
        await virtual_seconds(MINUTE)
        posts.append(len(api.posts) + len(other.posts))
        await virtual_seconds(3 * HOUR)
        posts.append(len(api.posts) + len(other.posts))

    play(stage, story)
    assert posts[0] == posts[1]
    suspended = [one for one in stage.events() if one["rule"] == "tests_suspended"]
    assert [(one["status"], one["severity"]) for one in suspended] == [("firing", "critical")]
    assert suspended[0]["evidence"]["campaign"] == "c-1"
    assert "after a passed test" in suspended[0]["next_step"]


@pytest.mark.matrix
@pytest.mark.parametrize("status", [403, 404, 405, 422])
def test_an_api_that_turns_tests_away_gets_three_and_no_more(stage: World, status: int) -> None:
    api = an_api(stage)
    keys = [f"c-{n}" for n in range(5)]
    for key in keys:
        api.add(key)
    api.sftp.refuses = status
    configure(stage, keys)
    play(stage, hours(2))
    assert len({key for _, key in api.posts}) == 3
    suspended = [one for one in stage.events() if one["rule"] == "tests_suspended"]
    assert [one["severity"] for one in suspended] == ["warning"]
    assert str(status) in suspended[0]["summary"]
    # Of no environment's breaker, of no login.
    assert {rule for _, rule, _ in stage.told()} == {"tests_suspended"}


def test_an_import_that_runs_is_no_attempt_and_is_asked_again_a_quarter_of_an_hour_later(
    stage: World,
) -> None:
    api = an_api(stage)
    api.add("c-1", HOSTS[0])
    api.sftp.refuses = 409
    configure(stage, ["c-1"])
    play(stage, hours(2))
    assert min(gaps([at for at, _ in api.posts])) >= 15 * MINUTE
    assert len(api.posts) >= 5
    assert stage.told() == []


@pytest.mark.matrix
@pytest.mark.parametrize("spent", [False, True])
def test_a_429_pauses_tests_and_polls_only_where_the_common_limit_is_spent(
    stage: World, spent: bool
) -> None:
    api = an_api(stage)
    api.add("c-1", HOSTS[0])
    headers = {"Retry-After": "600", **({"X-RateLimit-Remaining": "0"} if spent else {})}
    limited = Said(429, {"success": False, "message": "Too Many Attempts."}, headers)
    api.says_of_test = lambda _: limited
    configure(stage, ["c-1"])
    play(stage, hours(2))
    first = api.posts[0][0] - START
    polls = [at for at, key in api.calls if key == "c-1" and first < at < first + 590]
    assert (len(polls) < 3) is spent
    # Three within an hour: none for a day.
    assert len(api.posts) == 3
    assert min(gaps([at for at, _ in api.posts])) >= 600
    assert [one["rule"] for one in stage.events()] == ["tests_suspended"]
    assert "429" in stage.events()[0]["summary"]


def test_after_a_day_without_tests_for_429_they_begin_anew(stage: World) -> None:
    api = an_api(stage)
    api.add("c-1", HOSTS[0])
    api.says_of_test = lambda _: Said(429, {"success": False}, {"Retry-After": "60"})
    configure(stage, ["c-1"], interval="5m")

    async def story(_: Daemon) -> None:
        await virtual_seconds(2 * HOUR)
        assert len(api.posts) == 3
        api.says_of_test = lambda _: None
        await virtual_seconds(24 * HOUR)

    play(stage, story)
    assert api.posts[3][0] >= api.posts[2][0] + DAY
    told = [one for one in stage.told() if one[0] != "reminder"]
    assert told == [("firing", "tests_suspended", None), ("resolved", "tests_suspended", None)]


def test_a_401_to_a_test_has_the_token_read_again(stage: World) -> None:
    api = an_api(stage)
    api.add("c-1", HOSTS[0])
    token = stage.folder / "token"
    token.touch(mode=0o600)
    token.write_text("talq_first")
    configure(stage, ["c-1"])
    file = stage.folder / "monitor.yaml"
    file.write_text(file.read_text().replace('"token": "${TOKEN}"', f'"token_file": "{token}"'))
    api.says_of_test = lambda _: (
        Said(401, {"success": False}) if api.tokens[-1] == "talq_first" else None
    )

    async def story(_: Daemon) -> None:
        await virtual_seconds(MINUTE)
        token.write_text("talq_second")
        await virtual_seconds(HOUR)

    play(stage, story)
    assert api.tokens == ["talq_first", "talq_second"]
    assert len(api.sftp.server(HOSTS[0]).log) >= 1
    assert stage.told() == []


# -- answers that say nothing ------------------------------------------------------------------

PASSED = {"import_path_accessible": True, "export_path_accessible": True}


def _tested_at(text: str | None) -> Said:
    data = dict(PASSED) if text is None else {"tested_at": text, **PASSED}
    return Said(200, {"success": True, "data": data}, runs=True)


STRANGE = {
    "HTML": Said(200, "<html>", content_type="text/html", runs=True),
    "no JSON": Said(200, "{", runs=True),
    "a gateway that gave up": Said(504, {"success": False}, runs=True),
    "a server error": Said(500, {"success": False}, runs=True),
    "no tested_at": _tested_at(None),
    "a year ago": _tested_at("2026-01-15T08:00:00Z"),
    "in ten years": _tested_at("2037-01-15T08:00:00Z"),
    "no zone": _tested_at("2027-01-15T08:00:00"),
    "lost after sending": Said(runs=True, lost=Reason.CONNECTION_LOST),
    "not in time": Said(runs=True, lost=Reason.TIMEOUT),
}


@pytest.mark.matrix
@pytest.mark.parametrize("broken", [False, True], ids=["well", "broken"])
@pytest.mark.parametrize("said", STRANGE.values(), ids=STRANGE.keys())
def test_of_an_answer_that_says_nothing_the_record_tells_what_came_of_the_test(
    stage: World, said: Said, broken: bool
) -> None:
    api = an_api(stage)
    api.add("c-1", HOSTS[0])
    api.says_of_test = lambda _: said if len(api.posts) == 1 else None
    configure(stage, ["c-1"])
    if broken:
        api.sftp.server(HOSTS[0]).passwords.clear()
    with capture_logs() as logs:
        play(stage, hours(3))
    # Never twice: the next one comes when it is due, not because nobody answered.
    assert gaps([at for at, _ in api.posts])[0] >= 2 * MINUTE
    tests = [one for one in logs if one["event"] == "connection_test"]
    assert tests[0]["result"] == "unknown"
    assert len(api.failed_logins(HOSTS[0])) == (2 if broken else 0)
    told = {(status, rule) for status, rule, _ in stage.told()}
    assert (("firing", "failed_test") in told) is broken
    assert told <= {("firing", "failed_test")}


def test_a_pass_without_paths_is_a_pass_and_says_nothing_of_paths(stage: World) -> None:
    api = an_api(stage)
    api.add("c-1", HOSTS[0])
    api.sftp.server(HOSTS[0]).removed.add((USER, "/inbox"))

    def bare(_: str) -> Said:
        at = int(stage.clock.wall())
        return Said(200, {"success": True, "data": {"tested_at": timestamp(at)}}, runs=True)

    api.says_of_test = bare
    api.takes = 0.0
    configure(stage, ["c-1"])
    with capture_logs() as logs:
        play(stage, hours(1))
    tests = [one for one in logs if one["event"] == "connection_test"]
    assert {one["result"] for one in tests} == {"passed"}
    assert stage.told() == []


def test_a_test_that_takes_a_minute_delays_no_poll(stage: World) -> None:
    api = an_api(stage)
    keys = [f"c-{n}" for n in range(4)]
    for key in keys:
        api.add(key)
    configure(stage, keys, timeout="2m")
    api.takes = MINUTE
    play(stage, hours(2))
    assert len(api.posts) >= 8
    assert api.most_at_once == 1
    for key in keys:
        # One that was moved up is followed by its next slot but half an interval away.
        assert max(gaps([at for at, said in api.calls if said == key][1:])) <= 1.5 * 30 + 1


def test_a_hostile_text_reaches_no_line_uncut_or_with_the_secret(stage: World) -> None:
    api = an_api(stage)
    api.add("c-1", HOSTS[0])
    hostile = f"Authentication failed\x1b[31m password={PASSWORD} talq_test " + "x" * 5000

    def said(_: str) -> Said:
        at = timestamp(int(stage.clock.wall()))
        return Said(200, {"success": False, "data": {"tested_at": at, "error": hostile}}, runs=True)

    api.says_of_test = said
    api.takes = 0.0
    api.sftp.server(HOSTS[0]).passwords.clear()
    configure(stage, ["c-1"])
    play(stage, hours(1))
    cause = stage.events()[0]["evidence"]["cause"]
    assert len(cause) <= 200 + len('TalkOver says: ""')
    text = b"".join(stage.lines).decode()
    assert "talq_test" not in text
    assert f"password={PASSWORD}" not in text
    assert "\x1b" not in text


def test_a_hostile_cause_is_plain_in_every_output(stage: World) -> None:
    """Of the kind: one text of others, and everything that makes something of texts."""
    api = an_api(stage)
    api.add("c-1", HOSTS[0])
    hostile = f"<!channel> <script> [x](https://evil.example) @all password={PASSWORD} login failed"

    def said(_: str) -> Said:
        at = timestamp(int(stage.clock.wall()))
        return Said(200, {"success": False, "data": {"tested_at": at, "error": hostile}}, runs=True)

    api.says_of_test = said
    api.takes = 0.0
    api.sftp.server(HOSTS[0]).passwords.clear()
    configure(stage, ["c-1"])
    outputs: dict[str, str] = {}

    async def story(daemon: Daemon) -> None:
        await virtual_seconds(HOUR)
        snapshot, links = daemon.report.snapshot(), Links("https://runbooks.example/{rule}")
        (environment,) = snapshot.environments.values()
        (event,) = standing_events(environment)
        event = replace(event, epoch="e")
        outputs["page"] = overview_page(snapshot, "1.0").decode()
        outputs["JSON"] = str(campaign(environment, environment.campaigns["c-1"]))
        outputs["Alertmanager"] = str(annotations_of(event, links))
        outputs["apprise"] = str(apprise.to_text(event, links))
        outputs["console"] = to_text(record_of(event, links))

    with capture_logs() as logs:
        play(stage, story)
    outputs["log"] = str([one for one in logs if one["event"] == "connection_test"])
    outputs["events"] = str(stage.events())
    outputs["state"] = "".join(
        file.read_bytes().decode("utf-8", "replace") for file in stage.folder.glob("*.db*")
    )
    for name, text in outputs.items():
        assert "(!channel) (script) [x] (https: //evil.example) @ all password=" in text, name
        assert f"password={PASSWORD}" not in text, name
        assert not re.search("<!channel|<script>|https://evil|@all", text), name


# -- while tests are off -----------------------------------------------------------------------


def test_while_tests_are_off_there_is_no_request_and_no_series_more(stage: World) -> None:
    api = an_api(stage)
    api.add("c-1", HOSTS[0])
    configure(stage, ["c-1"], enabled=False)
    scraped: list[bytes] = []

    async def story(daemon: Daemon) -> None:
        await virtual_seconds(HOUR)
        api.sftp.edit("c-1", import_path="/elsewhere")
        await virtual_seconds(2 * HOUR)
        scraped.append(daemon.report.metrics(openmetrics=False)())

    with capture_logs() as logs:
        play(stage, story)
    assert api.posts == []
    assert b"connection_test" not in scraped[0]
    # Changes are watched all the same.
    changed = [one for one in logs if one["event"] == "config_changed"]
    assert [one["import_path"] for one in changed] == ["/inbox → /elsewhere"]
    assert stage.told()[0] == ("firing", "changed_untested", "c-1")


def test_a_changed_config_is_tested_soon_and_the_failure_names_the_change(stage: World) -> None:
    api = an_api(stage)
    api.add("c-1", HOSTS[0])
    configure(stage, ["c-1"], every="12h", after_change="5m")

    async def story(_: Daemon) -> None:
        await virtual_seconds(HOUR)
        api.sftp.edit("c-1", username="nobody")
        await virtual_seconds(10 * MINUTE)

    play(stage, story)
    assert stage.told() == [("firing", "failed_test", "c-1")]
    changed = stage.events()[0]["evidence"]["changed"]
    assert changed.startswith("username changed from campaigns_user to nobody")


# -- paths -------------------------------------------------------------------------------------


def test_a_path_that_is_gone_is_told_by_how_much_it_hurts_and_found_mended(stage: World) -> None:
    api = an_api(stage)
    api.add("c-1", HOSTS[0])
    removed = api.sftp.server(HOSTS[0]).removed
    configure(stage, ["c-1"])

    async def story(_: Daemon) -> None:
        await virtual_seconds(30 * MINUTE)
        removed.add((USER, "/outbox"))
        await virtual_seconds(30 * MINUTE)
        removed.add((USER, "/inbox"))
        await virtual_seconds(30 * MINUTE)
        removed.clear()
        await virtual_seconds(30 * MINUTE)

    play(stage, story)
    told = [(one["status"], one["rule"], one["severity"]) for one in stage.events()]
    assert told == [
        ("firing", "path_inaccessible", "warning"),
        ("updated", "path_inaccessible", "critical"),
        ("resolved", "path_inaccessible", "critical"),
    ]


def test_when_somebody_else_has_tested_ours_says_nothing_of_paths_and_is_run_again(
    stage: World,
) -> None:
    api = an_api(stage)
    api.add("c-1", HOSTS[0])
    api.sftp.server(HOSTS[0]).removed.add((USER, "/inbox"))
    configure(stage, ["c-1"], every="6h", after_change="0s", retry_after="2h", retry_max="4h")
    verdicts: list[str] = []
    posts: list[int] = []

    async def story(daemon: Daemon) -> None:
        while not stage.told():
            await virtual_seconds(MINUTE)
        await virtual_seconds(10 * MINUTE)
        posts.append(len(api.posts))
        api.sftp.server(HOSTS[0]).removed.clear()
        api.sftp.test("c-1", stage.clock.wall())
        await virtual_seconds(1)
        while not verdicts:
            await virtual_seconds(1)
            entry = daemon._manager.pollers["production"].state.entries["c-1"]
            assert entry.findings is not None
            if entry.status.last_known.config.last_test_at > api.posts[-1][0] + MINUTE:  # type: ignore[union-attr,operator]
                verdicts.append(str(entry.findings["path_inaccessible"].verdict))
        await virtual_seconds(5 * MINUTE)
        posts.append(len(api.posts))

    play(stage, story)
    assert verdicts == ["unknown"]
    assert posts[1] == posts[0] + 1
    assert stage.told()[-1][0] == "resolved"


def test_an_alert_about_a_path_ends_with_the_tests_it_rests_on(stage: World) -> None:
    api = an_api(stage)
    api.add("c-1", HOSTS[0])
    api.sftp.server(HOSTS[0]).removed.add((USER, "/inbox"))
    configure(stage, ["c-1"])

    async def story(daemon: Daemon) -> None:
        await virtual_seconds(HOUR)
        assert stage.told() == [("firing", "path_inaccessible", "c-1")]
        configure(stage, ["c-1"], enabled=False)
        assert await daemon.reload() == []
        await virtual_seconds(MINUTE)

    play(stage, story)
    ended = stage.events()[-1]
    assert (ended["status"], ended["rule"]) == ("resolved", "path_inaccessible")
    assert ended["reason"] == "rule_removed"


# -- that tests have stopped -------------------------------------------------------------------


def test_where_tests_are_on_stale_test_says_soon_that_none_runs_and_why(stage: World) -> None:
    api = an_api(stage)
    for key in ("c-1", "c-2"):
        api.add(key, HOSTS[0])
    configure(stage, ["c-1", "c-2"], interval="5m", stale=True, every="2h")

    async def story(_: Daemon) -> None:
        await virtual_seconds(3 * HOUR)
        api.sftp.server(HOSTS[0]).passwords.clear()
        await virtual_seconds(8 * HOUR)

    play(stage, story)
    stale = [one for one in stage.events() if one["rule"] == "stale_test"]
    assert len(stale) >= 1
    assert "none runs: the login has had 2 failed tests" in stale[0]["summary"]
