"""The alert event as a line: the contract's fields, whole, harmless and never too long."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.config.formats import too_long
from monitor.core.model import EventKind, EventStatus, Severity
from monitor.serialize import LINE_LIMIT, Links, event_line, record_of, to_json
from support.events import FIRING

LINKS = Links("https://runbooks.example/{rule}", "https://monitor.example/")

FIELDS = [
    "timestamp", "level", "event", "status", "event_id", "fingerprint", "epoch", "seq", "rule",
    "severity", "previous_severity", "environment", "campaign_id", "campaign_name", "labels",
    "sftp_host", "import_schedule", "summary", "since", "observed_at", "last_passed_at",
    "evidence", "next_step", "runbook_url", "url", "impact", "impact_at", "reason", "muted_by",
    "initial", "redelivery", "durable",
]  # fmt: skip


def test_a_line_has_every_field_of_the_contract_and_no_other() -> None:
    line = event_line(replace(FIRING, epoch="e90c4"), LINKS)
    assert line.endswith(b"\n")
    assert list(json.loads(line)) == FIELDS


def test_a_firing_event_says_which_what_since_when_why_and_what_to_do() -> None:
    said = to_json(record_of(replace(FIRING, epoch="e90c4"), LINKS))
    assert said["timestamp"] == "2027-01-15T08:00:01.500Z"
    assert said["level"] == "warning"
    assert said["since"] == "2027-01-15T08:00:00.000Z"
    assert said["event_id"] == f"{FIRING.fingerprint}-e90c4-3"
    assert said["labels"] == {"team": "retail"}
    assert said["runbook_url"] == "https://runbooks.example/stale_test"
    assert said["url"] == "https://monitor.example/campaigns/production/c-1"
    assert said["previous_severity"] is None
    assert said["durable"] is True


def test_a_resolved_event_is_informational_and_keeps_its_severity() -> None:
    over = replace(FIRING, status=EventStatus.RESOLVED, reason="muted", muted_by="disabled")
    said = to_json(record_of(replace(over, epoch="e"), LINKS))
    assert (said["level"], said["severity"]) == ("info", "warning")
    assert (said["reason"], said["muted_by"]) == ("muted", "disabled")


def test_an_alert_of_the_environment_has_no_campaign_and_no_page_of_it() -> None:
    said = to_json(record_of(replace(FIRING, campaign_id=None, epoch="e"), LINKS))
    assert said["campaign_id"] is None
    assert said["url"] is None


def test_an_event_says_what_is_at_stake_where_that_is_known() -> None:
    event = replace(FIRING, impact="calls start Mon 09:00 UTC, in 4 h", impact_at=1_800_000_000.0)
    said = to_json(record_of(replace(event, epoch="e"), LINKS))
    assert said["impact"] == "calls start Mon 09:00 UTC, in 4 h"
    assert said["impact_at"] == "2027-01-15T08:00:00.000Z"
    unknown = to_json(record_of(replace(FIRING, epoch="e"), LINKS))
    assert (unknown["impact"], unknown["impact_at"]) == (None, None)


def test_a_note_of_the_history_is_no_alert_and_has_no_runbook() -> None:
    note = replace(FIRING, kind=EventKind.TEST, status=EventStatus.RECORDED, rule="connection_test")
    said = to_json(record_of(replace(note, epoch="e"), LINKS))
    assert (said["event"], said["status"]) == ("connection_test", "recorded")
    assert said["runbook_url"] == ""


def test_an_updated_event_names_the_severity_that_was() -> None:
    event = replace(FIRING, status=EventStatus.UPDATED, previous_severity=Severity.INFO)
    assert to_json(record_of(replace(event, epoch="e"), LINKS))["previous_severity"] == "info"


def test_what_was_told_again_or_not_written_says_so() -> None:
    said = to_json(record_of(replace(FIRING, epoch="e", redelivery=True, durable=False), LINKS))
    assert (said["redelivery"], said["durable"]) == (True, False)


@pytest.mark.parametrize("hostile", ["\x1b[31mred", "a\nb", "\u202eevil", "x\x00y", "a\u2028b"])
def test_fault_17_control_characters_never_reach_a_line(hostile: str) -> None:
    event = replace(FIRING, sftp_host=hostile, campaign_name=hostile, summary=hostile)
    line = event_line(replace(event, epoch="e"), LINKS).decode("ascii")
    assert line.count("\n") == 1
    assert not any(code in line for code in ("\\u001b", "\\n", "\\u202e", "\\u0000", "\\u2028"))


_texts = st.text(max_size=2000)


@given(
    name=_texts,
    host=_texts,
    summary=_texts,
    labels=st.dictionaries(st.text(min_size=1), _texts).filter(lambda one: not too_long(one)),
    evidence=st.dictionaries(st.sampled_from(["reason", "detail", "grace"]), _texts),
)
def test_a_line_is_ascii_and_fits_whatever_the_texts_are(
    name: str, host: str, summary: str, labels: dict[str, str], evidence: dict[str, str]
) -> None:
    event = replace(
        FIRING,
        campaign_name=name,
        sftp_host=host,
        summary=summary,
        labels=labels,
        evidence=evidence,
    )
    line = event_line(replace(event, epoch="e90c4"), LINKS)
    assert len(line) <= LINE_LIMIT
    assert line.isascii()
    said = json.loads(line)
    assert list(said) == FIELDS
    assert list(said["labels"]) == list(labels)
