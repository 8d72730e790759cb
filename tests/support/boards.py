"""Boards for the tests of what shows them: made by the core from what polls saw."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from monitor.core.assess import assess, assess_environment
from monitor.core.attempt import (
    Attempt,
    CampaignTests,
    Result,
    TestSettings,
    Trigger,
    login_of,
    server_of,
)
from monitor.core.connection_tests import Plan
from monitor.core.environment import Call
from monitor.core.environment_rules import ENVIRONMENT_RULES
from monitor.core.guards import Hold
from monitor.core.guards import Reason as HeldBy
from monitor.core.model import (
    DAY,
    HOUR,
    MINUTE,
    AlertLabels,
    CallTimes,
    Instant,
    NoConfig,
    Observation,
    PollError,
    Reason,
)
from monitor.core.rule import resolve_rules
from monitor.core.snapshot import Entry, EnvironmentSnapshot, Snapshot
from monitor.core.status import CampaignStatus, EnvironmentStatus
from support.builders import NOW, RuleSettings, a_config, a_target, an_untested_config
from support.environments import facts_of

STALE_AFTER = 15 * MINUTE

NO_LABELS = AlertLabels()

BLOCKED = Hold(HeldBy.LOGIN, None, "the login has had 2 failed tests")

AROUND_THE_CLOCK = CallTimes(windows=((0.0, DAY),))
"""Calls begin at every midnight, UTC."""


def an_entry(campaign_id: str, *history: tuple[Instant, Observation], **target: Any) -> Entry:
    """Return a campaign after these polls; `target` are fields of `a_target`."""
    aim = a_target(**{"campaign_id": campaign_id, "name": campaign_id, **target})
    entry = Entry(aim, CampaignStatus(environment=aim.environment, campaign_id=aim.campaign_id))
    for at, observation in history:
        decision = assess(entry.status, aim, observation, at, remind_every={})
        entry = Entry(aim, decision.status, decision.findings)
    return entry


def tested(entry: Entry, **attempt: Any) -> Entry:
    """Return a campaign whose test on record is ours; `attempt` are fields of it."""
    config = entry.status.last_known.config
    assert config is not None
    assert config.last_test_at is not None
    ours: dict[str, Any] = {
        "environment": entry.target.environment,
        "campaign_id": entry.target.campaign_id,
        "server": server_of(config),
        "login": login_of(config),
        "at": config.last_test_at,
        "ended_at": config.last_test_at + 1,
        "trigger": Trigger.SCHEDULE,
        "tested_at": config.last_test_at,
        "result": Result.PASSED if config.last_test_success else Result.FAILED,
        "import_path": True,
        "export_path": False,
    }
    tests = CampaignTests(attempts=(Attempt(**(ours | attempt)),))
    return replace(entry, status=replace(entry.status, tests=tests))


def an_environment(*entries: Entry, **fields: Any) -> EnvironmentSnapshot:
    """Return the environment of these campaigns, with an API that answers."""
    name = fields.pop("name", "production")
    status = fields.pop("status", EnvironmentStatus(name=name, up=True, swept_at=NOW - MINUTE))
    snapshot = EnvironmentSnapshot(
        status=replace(status, name=name),
        now=NOW,
        rules=resolve_rules(ENVIRONMENT_RULES, {}),
        campaigns={entry.target.campaign_id: entry for entry in entries},
        interval_seconds=5 * MINUTE,
        stale_after=STALE_AFTER,
        requests_per_minute=50.0,
        available_requests=12,
        polled=len(entries),
    )
    return replace(snapshot, **fields)


def a_snapshot(*environments: EnvironmentSnapshot) -> Snapshot:
    """Return the board of these environments."""
    return Snapshot({each.status.name: each for each in environments}, NOW)


def after_calls(
    name: str,
    reason: Reason,
    *instants: Instant,
    rules: RuleSettings | None = None,
    labels: AlertLabels = NO_LABELS,
    detail: str = "",
) -> EnvironmentStatus:
    """Return an environment whose calls at these instants failed for `reason`, in these words."""
    status = EnvironmentStatus(name=name)
    context = replace(facts_of(3, rules=rules), labels=labels)
    for generation, at in enumerate(instants):
        call = Call("c-1", PollError(reason, detail), generation)
        status, *_ = assess_environment(status, call, context, at)
    return status


def a_rich_snapshot(*exported: str) -> Snapshot:
    """Return a board on which everything happens that can be shown, with these labels exported."""
    own = AlertLabels(labels={"team": "platform"}, exported=exported)
    target: dict[str, Any] = {"labels": {"team": "retail"}, "exported": exported}
    recently = NOW - 2 * MINUTE
    production = an_environment(
        tested(
            an_entry(
                "healthy",
                (recently, a_config()),
                name="Autumn win-back",
                tests=TestSettings(enabled=True),
                calls=AROUND_THE_CLOCK,
                **target,
            )
        ),
        an_entry(
            "failed",
            (NOW - 2 * HOUR, a_config()),
            (recently, a_config(last_test_at=NOW - HOUR, last_test_success=False)),
            name="Retail leads",
            **target,
        ),
        an_entry(
            "stale",
            (recently, a_config(host="sftp.northwind.example", last_test_at=NOW - 41 * DAY)),
            name="Northwind renewals",
        ),
        an_entry(
            "missing", (NOW - DAY, a_config()), (recently, NoConfig(by_404=True)), name="Gone"
        ),
        an_entry(
            "off",
            (recently, a_config(is_enabled=False, last_test_success=False, created_at=NOW - HOUR)),
            name="Switched off",
        ),
        an_entry(
            "pending",
            (recently, a_config(last_test_success=False)),
            rules={"failed_test": {"for_": HOUR}},
            name="Waits before it tells",
        ),
        an_entry("young", (recently, an_untested_config(created_at=NOW - HOUR)), name="New"),
        an_entry("never-polled", name="Just listed"),
        *_unreadable(),
        labels=own,
        tests_on=True,
        planned={"healthy": Plan(None, Trigger.SCHEDULE, BLOCKED)},
    )
    staging_calls = (NOW - 400, NOW - 390, NOW - 380, NOW - 20)
    staging = an_environment(
        an_entry("lost", (NOW - HOUR, a_config()), environment="staging", name="Lost sight of"),
        name="staging",
        status=after_calls("staging", Reason.CONNECT_ERROR, *staging_calls, labels=own),
        available_requests=0,
        lag_seconds=90.0,
        polled=0,
        labels=own,
    )
    refusals = after_calls("rejected", Reason.UNAUTHORIZED, NOW - 400, NOW - 390, NOW - 90)
    rejected = an_environment(
        name="rejected", status=replace(refusals, discovered_at=NOW - 9 * MINUTE)
    )
    return a_snapshot(production, staging, rejected)


def _unreadable() -> Iterable[Entry]:
    failures = [(NOW - minutes * MINUTE, PollError(Reason.FORBIDDEN)) for minutes in (20, 10, 1)]
    yield an_entry("unreadable", (NOW - HOUR, a_config()), *failures, name="Forbidden fruit")
    once = (NOW - MINUTE, PollError(Reason.SCHEMA_MISMATCH, "field id is absent"))
    yield an_entry("hiccup", (NOW - 6 * MINUTE, a_config()), once, name="One bad answer")
