"""What is remembered of changes of an SFTP config, and of what its last passed test was for."""

from typing import Any

import pytest

from monitor.core.instants import redated
from monitor.core.model import DAY, HOUR, MINUTE, Instant, NoConfig, SftpConfig
from monitor.core.status import ConfigChange, LastKnown, values_of
from support.builders import NOW, a_config

PASSED = a_config(last_test_at=NOW - DAY)
FAILED = a_config(last_test_at=NOW - DAY, last_test_success=False)


def after(*seen: SftpConfig | NoConfig | dict[str, Any], first: SftpConfig = PASSED) -> LastKnown:
    """Return what is remembered after answers a minute apart, the first at NOW.

    A mapping changes fields of the answer before it.
    """
    known, last = LastKnown().after(first, NOW), first
    for number, one in enumerate(seen, start=1):
        answer = one if not isinstance(one, dict) else changed(last, one)
        known = known.after(answer, minute(number))
        last = answer if isinstance(answer, SftpConfig) else last
    return known


def changed(config: SftpConfig, fields: dict[str, Any]) -> SftpConfig:
    return SftpConfig(**{name: getattr(config, name) for name in config.__slots__} | fields)


def minute(number: int) -> Instant:
    return NOW + number * MINUTE


def test_a_change_is_kept_with_both_values_and_the_polls_it_lies_between() -> None:
    known = after({}, {"host": "new.example", "port": None})
    change = ConfigChange(
        at=minute(2),
        since=minute(1),
        fields={"host": ("sftp.example", "new.example"), "port": ("22", "")},
    )
    assert known.changes == (change,)


@pytest.mark.parametrize(
    ("fields", "kept", "connection", "login"),
    [
        ({"id": "sftp-2"}, True, True, True),
        ({"host": "new.example"}, True, True, True),
        ({"port": 2222}, True, True, True),
        ({"username": "retail"}, True, True, True),
        ({"auth_type": "private_key"}, True, True, True),
        ({"import_path": "/in"}, True, True, False),
        ({"export_path": "/out"}, True, True, False),
        ({"is_enabled": False}, True, False, False),
        ({"import_schedule": "hourly"}, True, False, False),
        ({"updated_at": NOW}, False, False, False),
        ({"last_test_at": NOW}, False, False, False),
    ],
)
def test_what_is_a_change_of_what(
    fields: dict[str, Any], kept: bool, connection: bool, login: bool
) -> None:
    known = after(fields)
    assert bool(known.changes) is kept
    assert known.changed_at == (minute(1) if connection else 0.0)
    assert known.moved_at == (minute(1) if login else 0.0)
    assert (known.untested_since is not None) is connection


def test_the_first_answer_is_no_change_and_only_the_last_ones_are_kept() -> None:
    assert after().changes == ()
    known = after(*({"host": f"{number}.example"} for number in range(5)))
    assert [one.fields["host"][1] for one in known.changes] == [
        "2.example",
        "3.example",
        "4.example",
    ]


def test_a_config_that_was_gone_and_is_another_has_changed() -> None:
    known = after(NoConfig(), {"host": "new.example"})
    assert [one.since for one in known.changes] == [minute(1)]
    assert after(NoConfig(), {}).changes == ()


@pytest.mark.parametrize(
    ("first", "seen", "untested_since"),
    [
        (PASSED, [], None),
        (PASSED, [{"host": "b"}], 1),
        (PASSED, [{"host": "b"}, {}, {"port": 2222}], 1),
        (PASSED, [{"host": "b"}, {"host": "sftp.example"}], None),  # as it was
        (PASSED, [{"host": "b"}, {"last_test_at": NOW}], None),
        (PASSED, [{"host": "b"}, {"last_test_at": NOW, "last_test_success": False}], 1),
        # Both first seen in one poll: the pass is of the new config.
        (PASSED, [{"host": "b", "last_test_at": NOW}], None),
        # Seen for the first time without a pass: nobody knows what one was for.
        (FAILED, [{"host": "b"}], None),
        (FAILED, [{"last_test_at": NOW, "last_test_success": True}, {"host": "b"}], 2),
        (PASSED, [NoConfig(), {"host": "b"}], 2),
        # Half a record is no pass.
        (PASSED, [{"host": "b"}, {"last_test_success": None}], 1),
        (PASSED, [{"host": "b"}, {"last_test_at": None}], 1),
    ],
)
def test_a_config_is_untested_while_it_differs_from_the_one_that_passed(
    first: SftpConfig, seen: list[Any], untested_since: int | None
) -> None:
    expected = None if untested_since is None else minute(untested_since)
    assert after(*seen, first=first).untested_since == expected


def test_what_the_last_pass_was_for_is_kept() -> None:
    assert after({"host": "b"}).passed_for == values_of(PASSED)


def test_after_a_step_of_our_clock_what_we_saw_is_redated() -> None:
    known = redated(after({"host": "b"}), by=HOUR)
    later = minute(1) + HOUR
    assert (known.changed_at, known.moved_at, known.untested_since) == (later, later, later)
