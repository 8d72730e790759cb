"""What can be wrong with an SFTP config: a class per rule, a file per family of them.

A rule's fields are its settings; docs/architecture.md says how to add one.
"""

# ruff: noqa: I001 - in the order of the table, in which the events of one decision are sent.
from monitor.core.rule import RULES, campaign_rule
from monitor.core.rules.setting_up import Disabled, Missing, NeverTested
from monitor.core.rules.last_test import FailedTest, FutureTest, LastTestRule, StaleTest
from monitor.core.rules.connection import ChangedUntested, PathInaccessible, Unreadable

__all__ = [
    "RULES", "ChangedUntested", "Disabled", "FailedTest", "FutureTest", "LastTestRule", "Missing",
    "NeverTested", "PathInaccessible", "StaleTest", "Unreadable", "campaign_rule",
]  # fmt: skip
