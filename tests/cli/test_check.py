"""`check`: one sweep, a verdict as exit code, and nothing left behind."""

import asyncio
import json
import os
import re
import signal
from contextlib import suppress
from pathlib import Path

import pytest

from monitor.core.model import DAY, HOUR
from support.command import COMMAND, called, daemon, files_in, running, write_config
from support.fake_platform import BROKEN, FORBIDDEN, FakePlatform, fake_platform, now

CAMPAIGNS = ["c-1", "c-2"]


async def code_of(config: Path, *flags: str) -> int:
    ended = await called("check", "--config.file", config, *flags)
    assert "Traceback" not in ended.err
    return ended.code


@pytest.mark.slow
async def test_the_exit_code_is_that_of_the_worst_campaign(tmp_path: Path) -> None:
    async with fake_platform("healthy") as platform:
        platform.set("stale", last_test_at=now() - 31 * DAY)
        platform.set("failed", last_test_success=False)
        platform.replies["forbidden"] = FORBIDDEN
        config = write_config(tmp_path, platform, list(platform.replies))
        codes = await asyncio.gather(
            code_of(config, "--campaign", "healthy"),
            code_of(config, "--campaign", "healthy", "--campaign", "stale"),
            code_of(config, "--campaign", "stale", "--campaign", "forbidden"),
            code_of(config),
        )
    assert list(codes) == [0, 1, 3, 2]


async def test_each_is_polled_once_the_worst_comes_first_and_no_file_is_left(
    tmp_path: Path,
) -> None:
    async with fake_platform(*CAMPAIGNS) as platform:
        platform.set("c-2", last_test_success=False)
        config = write_config(tmp_path, platform, CAMPAIGNS)
        before = files_in(tmp_path)
        told = await called("check", "--config.file", config)
    assert sorted(one.campaign_id for one in platform.requests) == CAMPAIGNS
    assert files_in(tmp_path) == before
    summary, first, finding, since, step, impact, last = told.out.splitlines()
    assert first == "CRITICAL  production/c-2  Campaign c-2  c-2.example.com"
    assert finding.strip().startswith("failed_test (critical): last test failed ")
    assert re.fullmatch(r" +since 60 min ago \(20\S+Z\)", since)
    assert step.strip().startswith("next: ")
    assert impact.strip() == "at stake: imports daily"
    expected = "1 of 2 campaigns needs attention: 1 critical, 1 healthy; 1 alert would fire"
    assert summary == last == expected
    assert told.err == ""


async def test_an_api_that_is_broken_is_unknown_and_what_is_printed_is_json(
    tmp_path: Path,
) -> None:
    async with fake_platform() as platform:
        platform.replies = {"c-1": BROKEN, "c-2": BROKEN}
        config = write_config(tmp_path, platform, CAMPAIGNS)
        told = await called("check", "--config.file", config, "--format", "json")
    assert told.code == 3
    errors = [one["error"] for one in json.loads(told.out)["campaigns"]]
    assert [error["reason"] for error in errors] == ["http_5xx", "http_5xx"]


@pytest.mark.slow
async def test_what_is_pending_counts_as_its_severity_and_says_when_it_would_fire(
    tmp_path: Path,
) -> None:
    async with fake_platform("c-1") as platform:
        platform.set("c-1", last_test_success=False)
        rules = {"failed_test": {"for": "10m"}}
        config = write_config(tmp_path, platform, ["c-1"], rules=rules)
        alone = await called("check", "--config.file", config)
        async with daemon(config) as monitor:
            await monitor.process.record(event="sweep_complete")
            asked = await called("check", "--url", monitor.url)
    assert (alone.code, asked.code) == (2, 2)
    for said, when, total in (
        (alone.out, ("10 min",), "; 1 alert would fire"),
        # Asked a moment later, perhaps within the same second: how long it takes from then on.
        (asked.out, ("10 min", "9 min"), "; 0 alerts firing, 1 pending"),
    ):
        _, first, finding, *_, last = said.splitlines()
        assert first == "CRITICAL  production/c-1  Campaign c-1  c-1.example.com"
        assert finding.strip().startswith("failed_test (critical): last test failed")
        assert finding.rpartition(", would fire in ")[2] in when
        assert last == f"1 of 1 campaigns needs attention: 1 critical{total}"


@pytest.mark.slow
async def test_alerts_of_the_environment_are_told_and_count(tmp_path: Path) -> None:
    async with fake_platform() as platform:
        platform.replies = dict.fromkeys(["c-1", "c-2", "c-3"], BROKEN)
        rules = {"api_unreachable": {"after": "0s"}}
        config = write_config(tmp_path, platform, list(platform.replies), rules=rules)
        async with daemon(config) as monitor:
            await monitor.process.record(event="alert", rule="api_unreachable")
            asked = await called("check", "--url", monitor.url)
    assert asked.code == 2
    first, environment, *_ = asked.out.splitlines()
    assert first.startswith("environment production and 3 of 3 campaigns need attention: 3 unknown")
    assert environment == "CRITICAL  production"
    assert "api_unreachable (critical): the API does not answer since" in asked.out
    assert asked.out.endswith("; 1 alert firing")


@pytest.mark.slow
async def test_what_fires_muted_or_is_held_by_keep_firing_for_says_so(tmp_path: Path) -> None:
    async with fake_platform("held", "muted") as platform:
        platform.set("held", last_test_success=False)
        off = {"is_enabled": False, "created_at": now() - HOUR}
        platform.set("muted", last_test_success=False, **off)
        rules = {"failed_test": {"keep_firing_for": "1h"}}
        config = write_config(tmp_path, platform, ["held", "muted"], rules=rules)
        async with daemon(config) as monitor:
            await monitor.process.record(event="alert", campaign_id="held")
            platform.set("held")
            # The second poll after the change began after it for certain.
            await platform.more(4)
            asked = await called("check", "--url", monitor.url)
            muted = await called("check", "--url", monitor.url, "--campaign", "muted", "--all")
    assert (asked.code, muted.code) == (2, 0)
    assert "; 1 alert firing" in asked.out
    assert ", healthy by now, to be resolved in 59 min" in asked.out
    assert ", muted by disabled" in muted.out
    assert muted.out.startswith("the campaign is healthy; 0 alerts firing, 1 muted")


@pytest.mark.slow
async def test_one_sweep_says_of_the_environment_what_would_fire(tmp_path: Path) -> None:
    async with fake_platform() as platform:
        platform.replies = dict.fromkeys(["c-1", "c-2", "c-3"], BROKEN)
        down = write_config(tmp_path, platform, list(platform.replies))
        outage = await called("check", "--config.file", down)
        platform.replies = dict.fromkeys(platform.replies, FORBIDDEN)
        rejected = await called("check", "--config.file", down, "--format", "json")
        platform.replies = {}
        platform.set("c-1")
        environment = {"requests_per_minute": 1, "budget_share": 0.04}
        slow = write_config(tmp_path, platform, ["c-1"], environment=environment)
        scarce = await called("check", "--config.file", slow)
    # Not yet unhealthy by its rule, so it is unknown as its campaigns are.
    assert outage.code == 3
    _, first, rule, *_ = outage.out.splitlines()
    assert first == "UNKNOWN   production"
    assert "api_unreachable: the API does not answer since" in rule
    assert ", would fire at 20" in rule
    assert rejected.code == 2
    (production,) = json.loads(rejected.out)["environments"]
    assert [(one["rule"], one["state"]) for one in production["alerts"]] == [
        ("token_rejected", "pending")
    ]
    assert scarce.code == 1
    summary, first, rule, *_ = scarce.out.splitlines()
    assert first == "WARNING   production"
    assert rule.endswith(", would fire in 30 min")
    expected = "environment production needs attention: 1 healthy; 1 alert would fire"
    assert summary == expected


async def test_what_no_rule_can_say_does_not_end_with_0(tmp_path: Path) -> None:
    async with fake_platform("c-1") as platform:
        platform.set("c-1", last_test_success=None)
        config = write_config(tmp_path, platform, ["c-1"])
        half = await called("check", "--config.file", config)
    assert half.code == 3
    assert half.out.splitlines()[1].startswith("UNKNOWN   production/c-1  Campaign c-1")
    assert "unknown: the record of the last test is incomplete" in half.out


async def test_an_unknown_campaign_is_wrong_usage(tmp_path: Path) -> None:
    config = write_config(tmp_path, FakePlatform("http://127.0.0.1:1"), CAMPAIGNS)
    told = await called("check", "--config.file", config, "--campaign", "c-3")
    assert told.code == 64
    assert "c-3" in told.err


@pytest.mark.slow
async def test_a_running_daemon_is_asked_without_a_call_to_the_api(tmp_path: Path) -> None:
    async with fake_platform("c-1") as platform:
        seldom = {"interval": "10m", "unhealthy_interval": "10m"}
        config = write_config(tmp_path, platform, CAMPAIGNS, polling=seldom)
        async with daemon(config) as monitor:
            await monitor.process.record(event="sweep_complete")
            calls = len(platform.requests)
            both, one = await asyncio.gather(
                called("check", "--url", monitor.url, "--format", "json"),
                called("check", "--url", monitor.url, "--campaign", "c-1"),
            )
            assert len(platform.requests) == calls
    assert (both.code, one.code) == (2, 0)
    rules = {
        campaign["campaign_id"]: [alert["rule"] for alert in campaign["alerts"]]
        for campaign in json.loads(both.out)["campaigns"]
    }
    assert rules == {"c-1": [], "c-2": ["missing"]}


@pytest.mark.slow
async def test_ctrl_c_ends_it_without_a_verdict_and_without_a_traceback(tmp_path: Path) -> None:
    async with fake_platform("c-1") as platform:
        platform.hold("c-1")
        config = write_config(tmp_path, platform, ["c-1"], polling={"timeout": "30s"})
        async with running("check", "--config.file", config) as process:
            await platform.until(lambda: bool(platform.requests))
            assert await process.end(signal.SIGINT) == 130
    assert process.out == []
    assert "Traceback" not in "".join(process.err)


async def test_a_daemon_that_is_not_there_is_74_in_one_line() -> None:
    told = await called("check", "--url", "http://127.0.0.1:1")
    assert told.code == 74
    assert len(told.err.splitlines()) == 1
    assert "http://127.0.0.1:1" in told.err


DISCOVERING = {"discovery": {"enabled": True, "every": "1h"}}


@pytest.mark.slow
async def test_campaigns_are_listed_first_where_they_are_discovered(tmp_path: Path) -> None:
    async with fake_platform("c-1", "c-2", "c-3") as platform:
        platform.set("c-2", last_test_success=False)
        platform.listed = {"c-1": "active", "c-2": "paused", "c-3": "active"}
        config = write_config(tmp_path, platform, [], environment=DISCOVERING)
        whole, one, none = await asyncio.gather(
            called("check", "--config.file", config),
            called("check", "--config.file", config, "--campaign", "Campaign c-3", "--all"),
            called("check", "--config.file", config, "--campaign", "c-4"),
        )
    assert (whole.code, one.code, none.code) == (0, 0, 64)
    assert whole.out == "all 3 campaigns are healthy; 0 alerts would fire, 1 muted"
    first, environment, healthy, last = one.out.splitlines()
    assert first == last == "the campaign is healthy; 0 alerts would fire"
    assert environment == "HEALTHY   production"
    assert healthy == "HEALTHY   production/c-3  Campaign c-3  c-3.example.com"
    assert "c-4" in none.err


@pytest.mark.slow
async def test_campaigns_that_cannot_be_listed_are_unknown(tmp_path: Path) -> None:
    async with fake_platform("c-1") as platform:
        platform.listing = FORBIDDEN
        alone = write_config(tmp_path, platform, [], environment=DISCOVERING)
        nobody = await called("check", "--config.file", alone)
        beside = write_config(tmp_path, platform, ["c-1"], environment=DISCOVERING)
        healthy = await called("check", "--config.file", beside)
    # Where no campaign is known, a listing that is refused is a token that is: soon a page.
    assert (nobody.code, healthy.code) == (2, 3)
    assert "token_rejected (critical): the API rejects the token" in nobody.out
    assert nobody.err == healthy.err == "production: the listing of campaigns failed: forbidden"
    assert healthy.out.startswith("environment production needs attention: 1 healthy; ")


FOUR = """
environments:
  - {{name: eu, base_url: "{url}", token: "${{TOKEN}}", requests_per_minute: 6000,
     labels: {{region: eu}}, campaigns: [
       {{id: stale, name: Retail leads, labels: {{team: retail}}}},
       {{id: failed, name: Solar leads, labels: {{team: solar}}}}]}}
  - {{name: us, base_url: "{url}", token: "${{OTHER}}", requests_per_minute: 6000,
     labels: {{team: retail}}, campaigns: [
       {{id: failed, name: Solar leads (US)}}, {{id: fine}}]}}
"""


async def checked(*flags: str | Path) -> tuple[int, list[str]]:
    """Return the exit code, and who is left by the filters."""
    variables = {"TOKEN": "talq_one", "OTHER": "talq_other"}
    told = await called("check", "--format", "json", *flags, **variables)
    found = json.loads(told.out)["campaigns"] if told.out else []
    return told.code, sorted(f"{one['environment']}/{one['campaign_id']}" for one in found)


FILTERED = {
    (): (2, ["eu/stale", "eu/failed", "us/failed", "us/fine"]),
    ("--environment", "eu"): (2, ["eu/stale", "eu/failed"]),
    ("--environment", "eu", "--environment", "us", "--label", "team=solar"): (2, ["eu/failed"]),
    ("--label", "team=retail"): (2, ["eu/stale", "us/failed", "us/fine"]),
    ("--label", "team=retail", "--label", "region=eu"): (1, ["eu/stale"]),
    ("--label", "team="): (3, []),
    ("--campaign", "eu/failed"): (2, ["eu/failed"]),
    ("--campaign", "failed"): (2, ["eu/failed", "us/failed"]),
    ("--campaign", "Retail leads", "--campaign", "fine"): (1, ["eu/stale", "us/fine"]),
    ("--campaign", "us/Solar leads (US)"): (2, ["us/failed"]),
    ("--campaign", "failed", "--environment", "us"): (2, ["us/failed"]),
    ("--campaign", "stale", "--environment", "us"): (64, []),
    ("--campaign", "nobody"): (64, []),
    ("--environment", "asia"): (64, []),
    ("--rule", "stale_test"): (1, ["eu/stale", "eu/failed", "us/failed", "us/fine"]),
    ("--rule", "disabled"): (0, ["eu/stale", "eu/failed", "us/failed", "us/fine"]),
    ("--rule", "stale_test", "--campaign", "failed"): (0, ["eu/failed", "us/failed"]),
    ("--health", "warning"): (1, ["eu/stale"]),
    ("--health", "unknown"): (0, []),
    ("--health", "healthy", "--health", "warning"): (1, ["eu/stale", "us/fine"]),
}
"""Filters → the exit code, and whom they leave."""


@pytest.mark.slow
async def test_filters_leave_the_same_of_a_sweep_and_of_a_daemon_and_so_does_the_code(
    tmp_path: Path,
) -> None:
    async with fake_platform("fine") as platform:
        platform.set("stale", last_test_at=now() - 31 * DAY)
        platform.set("failed", last_test_success=False)
        state = f"state: {{path: {tmp_path / 'state.db'}}}\nweb: {{listen_address: 127.0.0.1:0}}\n"
        config = tmp_path / "config.yaml"
        config.write_text(FOUR.format(url=platform.base_url) + state)
        async with daemon(config, TOKEN="talq_one", OTHER="talq_other") as monitor:
            for name in ("eu", "us"):
                await monitor.process.record(event="sweep_complete", environment=name)
            for given, (code, left) in FILTERED.items():
                swept = await checked("--config.file", config, *given)
                asked = await checked("--url", monitor.url, *given)
                assert swept == asked == (code, sorted(left)), given


async def test_who_is_filtered_out_is_not_polled(tmp_path: Path) -> None:
    async with fake_platform("stale", "failed", "fine") as platform:
        config = tmp_path / "config.yaml"
        config.write_text(FOUR.format(url=platform.base_url))
        wanted = ("--label", "team=retail", "--environment", "eu")
        assert await checked("--config.file", config, *wanted) == (0, ["eu/stale"])
        assert {one.campaign_id for one in platform.requests} == {"stale"}


@pytest.mark.parametrize("text", ["team", "", "=retail"])
async def test_a_label_without_its_value_is_wrong_usage(text: str) -> None:
    told = await called("check", "--url", "127.0.0.1:1", "--label", text)
    assert told.code == 64
    assert "expected NAME=VALUE such as team=retail" in told.err


@pytest.mark.parametrize(
    ("flags", "environ", "colored"),
    [
        ((), {}, False),
        (("--color", "always"), {}, True),
        (("--color", "always"), {"NO_COLOR": "1"}, True),
        (("--color", "never"), {}, False),
    ],
)
async def test_color_is_for_terminals_unless_it_is_asked_for(
    tmp_path: Path, flags: tuple[str, ...], environ: dict[str, str], colored: bool
) -> None:
    async with fake_platform("c-1") as platform:
        platform.set("c-1", last_test_success=False)
        config = write_config(tmp_path, platform, ["c-1"])
        told = await called("check", "--config.file", config, *flags, **environ)
    assert ("\x1b[31m" in told.out) is colored
    # Never the only signal.
    assert "CRITICAL" in told.out


async def on_a_terminal(*arguments: str | Path, **environ: str) -> str:
    """Return all that the command writes to a terminal."""
    ours, theirs = os.openpty()
    environ = {name: value for name, value in os.environ.items() if name != "NO_COLOR"} | environ
    process = await asyncio.create_subprocess_exec(
        COMMAND, *arguments, stdout=theirs, stderr=theirs, env=environ
    )
    os.close(theirs)

    def read() -> bytes:
        """Read until nobody has the other end, which Linux says by an error."""
        said = b""
        with suppress(OSError):
            while chunk := os.read(ours, 4096):
                said += chunk
        return said

    said = await asyncio.to_thread(read)
    os.close(ours)
    await process.wait()
    return said.decode()


@pytest.mark.slow
async def test_a_terminal_has_colors_and_says_how_far_a_sweep_is_and_how_long_the_rest_takes(
    tmp_path: Path,
) -> None:
    async with fake_platform(*CAMPAIGNS) as platform:
        platform.set("c-2", last_test_success=False)
        environment = {"requests_per_minute": 120}
        config = write_config(tmp_path, platform, CAMPAIGNS, environment=environment)
        colored = await on_a_terminal("check", "--config.file", config)
        plain = await on_a_terminal("check", "--config.file", config, NO_COLOR="1")
    first, *_, last, summary = colored.split("\n")[0].split("\r\x1b[K")[1:]
    assert re.fullmatch(r"0 of 2 campaigns read, [1-9] s left", first)
    assert last == "2 of 2 campaigns read, 0 s left"
    assert summary.startswith("1 of 2 campaigns needs attention")
    assert "\x1b[31m\x1b[1mCRITICAL" in colored
    assert "\x1b[31m" not in plain
