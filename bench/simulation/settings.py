"""The config that the daemon runs on: as values that a plan changes, as YAML, as policies."""

from collections.abc import Collection, Mapping

from monitor.core.model import HOUR, MINUTE, Seconds
from support.model import Policies, Policy

Value = str | bool | Seconds
Rules = dict[str, dict[str, Value]]
"""Rule → key of the file → value; durations in seconds."""

ListedCampaign = Mapping[str, set[str]]
"""Environment → the ids of its campaigns that are in the file."""

INTERVAL: Seconds = 15 * MINUTE
UNHEALTHY_INTERVAL: Seconds = 5 * MINUTE
CALLS_A_MINUTE = 2
"""So little that two or three campaigns that are due at once must wait for it."""

REMIND_EVERY: Mapping[str, Seconds] = {"critical": 2 * HOUR, "warning": 6 * HOUR}

LIMITS = {
    "never_tested": "grace",
    "disabled": "grace",
    "stale_test": "max_age",
    "future_test": "tolerance",
    "unreadable": "after",
    "api_unreachable": "after",
    "api_refusing": "after",
}
"""The key of each rule's own threshold."""


NOT_MODELLED = (
    "path_inaccessible",
    "changed_untested",
    "tests_failing",
    "tests_suspended",
    "discovery_failing",
)
"""Rules that the second opinion does not know: they are switched off."""

TESTS_EVERY: Seconds = 4 * HOUR
"""So long that three missed tests are older than any `max_age`: `stale_test` is as without."""


def at_first() -> Rules:
    """Return the rules at the start, with all that a plan may change."""
    own: Rules = {
        "missing": {"severity": "critical"},
        "never_tested": {"grace": 2 * HOUR},
        "disabled": {"grace": 3 * HOUR},
        "failed_test": {"severity": "critical", "for": 10 * MINUTE},
        "stale_test": {"max_age": 8 * HOUR},
        "future_test": {"tolerance": 5 * MINUTE},
        "unreadable": {"after": 30 * MINUTE},
        "api_unreachable": {"severity": "critical", "after": 5 * MINUTE},
        "token_rejected": {"severity": "critical", "for": 3 * MINUTE},
        "api_refusing": {"severity": "critical", "after": 5 * MINUTE},
        "budget_insufficient": {"for": 30 * MINUTE},
    }
    common: dict[str, Value] = {
        "enabled": True,
        "severity": "warning",
        "for": 0.0,
        "keep_firing_for": 0.0,
    }
    return {rule: {**common, **found} for rule, found in own.items()}


def policies(rules: Rules) -> Policies:
    """Return the rules that are switched on as the second opinion takes them."""
    return {
        rule: Policy(
            str(found["severity"]),
            float(found["for"]),
            float(found["keep_firing_for"]),
            float(found.get(LIMITS.get(rule, ""), 0.0)),
        )
        for rule, found in rules.items()
        if found["enabled"]
    }


def as_yaml(
    rules: Rules, listed: ListedCampaign, team: str, state: str, tests: Collection[str] = ()
) -> str:
    """Return the config file; `team` is the label of all, `tests` are on in these environments."""
    lines = ["environments:"]
    for environment, keys in listed.items():
        campaigns = ", ".join(f"{{id: {key}}}" for key in sorted(keys))
        lines += [
            f"  - name: {environment}",
            "    base_url: http://127.0.0.1:9/api/v1",
            f"    token: ${{{environment.upper()}_TOKEN}}",
            f"    requests_per_minute: {2 * CALLS_A_MINUTE}",
            f"    labels: {{team: {team}}}",
            f"    campaigns: [{campaigns}]",
        ]
        if environment in tests:
            every = _written(TESTS_EVERY)
            own = f"{{enabled: true, every: {every}, between: ''}}"
            lines.append(f"    connection_tests: {own}")
    every = ", ".join(f"{severity}: {_written(span)}" for severity, span in REMIND_EVERY.items())
    lines += [
        f"polling: {{interval: {_written(INTERVAL)},"
        f" unhealthy_interval: {_written(UNHEALTHY_INTERVAL)}}}",
        f"alerts: {{remind_every: {{{every}}}, heartbeat_every: 0}}",
        "metrics: {campaign_labels: [team]}",
        f"state: {{path: {state}}}",
        "web: {listen_address: 127.0.0.1:0, external_url: https://monitor.example}",
        "rules:",
    ]
    for rule, found in rules.items():
        set_to = ", ".join(f"{key}: {_written(value)}" for key, value in found.items())
        lines.append(f"  {rule}: {{{set_to}}}")
    lines += [f"  {rule}: {{enabled: false}}" for rule in NOT_MODELLED]
    return "\n".join(lines) + "\n"


def _written(value: Value) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else f"{int(value)}s"
