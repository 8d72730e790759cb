"""Whether there is a config at all where one is expected."""

from dataclasses import dataclass
from typing import ClassVar

from monitor.core.model import Finding, PollError, Severity, SftpConfig
from monitor.core.rule import (
    EVERY_OTHER_RULE,
    Rule,
    Sight,
    healthy,
    setting,
    unhealthy,
    unknown,
    unread,
)
from monitor.core.rules.table import campaign_rule
from monitor.core.text import rfc3339


@campaign_rule
@dataclass(frozen=True, kw_only=True)
class Missing(Rule, alertname="SftpConfigMissing"):
    """NoConfig, where one is expected: said so (`expect_sftp`), or once seen with a config."""

    name: ClassVar[str] = "missing"
    meaning: ClassVar[str] = "the campaign has no SFTP config (any more)"
    next_step: ClassVar[str] = (
        "Ask who removed the SFTP config and create it again, or take the campaign off the list."
    )
    mutes: ClassVar[tuple[str, ...]] = (EVERY_OTHER_RULE,)

    severity: Severity = setting(Severity.CRITICAL, "critical, warning or info")

    def judge(self, sight: Sight) -> Finding:
        """Return unhealthy for an expected config that is not there; an unread one is unknown."""
        match sight.observation:
            case PollError() as error:
                return unread(error)
            case SftpConfig():
                return healthy("the campaign has an SFTP config", {})
        if not sight.expected and sight.memory.config is None:
            return healthy("the campaign does not use SFTP", {})
        if not sight.gone_by_itself:
            return unknown("the SFTP config is gone; two other campaigns are asked first")
        if not sight.still_there:
            return unknown("no SFTP config; the next listing says whether the campaign is there")
        gone_at = sight.now if sight.memory.gone_at is None else sight.memory.gone_at
        evidence = {"gone_at": rfc3339(gone_at)}
        if sight.memory.config is None:
            return unhealthy("the platform has no SFTP config for this campaign", evidence)
        return unhealthy("the SFTP config that was there is gone", evidence)
