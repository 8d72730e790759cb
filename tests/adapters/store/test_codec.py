"""Statuses and events survive the disk to the last bit; what is damaged is refused, not guessed."""

import json
import subprocess
import sys
from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.adapters.store import codec
from monitor.core.identity import AlertLabels
from monitor.core.model import (
    Alert,
    AlertState,
    Event,
    EventStatus,
    PollError,
    Reason,
    Severity,
    SftpConfig,
    Told,
)
from monitor.core.rules import Missing
from monitor.core.status import CampaignStatus, EnvironmentStatus, Failures, Memory, Run
from support.builders import NOW, a_config, a_status
from support.state_files import an_event

instants = st.floats(allow_nan=False, allow_infinity=False)
maybe_instants = st.none() | instants
texts = st.text(st.characters(codec="utf-8"))
maybe_texts = st.none() | texts
labels = st.dictionaries(texts, texts, max_size=3)
counts = st.integers(0, 2**63)

configs = st.builds(
    SftpConfig,
    id=texts,
    campaign_id=texts,
    host=texts,
    is_enabled=st.booleans(),
    port=st.none() | st.integers(1, 65535),
    username=maybe_texts,
    auth_type=maybe_texts,
    import_path=maybe_texts,
    export_path=maybe_texts,
    import_schedule=maybe_texts,
    last_test_at=maybe_instants,
    last_test_success=st.none() | st.booleans(),
    created_at=maybe_instants,
    updated_at=maybe_instants,
    has_test_fields=st.booleans(),
)
memories = st.builds(
    Memory,
    config=st.none() | configs,
    gone_at=maybe_instants,
    first_seen_at=maybe_instants,
    seen_at=maybe_instants,
    enabled_seen=st.booleans(),
    disabled_since=maybe_instants,
    last_passed_at=maybe_instants,
    tested_seen=st.booleans(),
)
names = st.lists(texts, max_size=2).map(tuple)
alert_labels = st.builds(
    AlertLabels, sftp_host=texts, campaign_name=texts, labels=labels, exported=names
)
alerts = st.builds(
    Alert,
    rule=texts,
    state=st.sampled_from(AlertState),
    since=maybe_instants,
    pending_at=maybe_instants,
    fired_at=maybe_instants,
    healthy_at=maybe_instants,
    muted_by=maybe_texts,
    told=st.booleans(),
    told_at=maybe_instants,
    told_severity=st.none() | st.sampled_from(Severity),
    fired_as=st.none() | alert_labels,
    seq=counts,
    summary=texts,
    evidence=labels,
    next_step=texts,
)
errors = st.builds(PollError, reason=st.sampled_from(Reason), detail=texts)
statuses = st.builds(
    CampaignStatus,
    environment=texts,
    campaign_id=texts,
    memory=memories,
    alerts=st.dictionaries(texts, alerts, max_size=3),
    polled_at=maybe_instants,
    error=st.none() | errors,
    failures=st.none(),
)
environments = st.builds(
    EnvironmentStatus,
    name=texts,
    unanswered=counts,
    unanswered_at=maybe_instants,
    outage_at=maybe_instants,
    outage_reason=st.none() | st.sampled_from(Reason),
    rejected_at=maybe_instants,
    rejected_by=st.none() | st.sampled_from(Reason),
    readable_seen=st.booleans(),
    called_at=maybe_instants,
    swept_at=maybe_instants,
    alerts=st.dictionaries(texts, alerts, max_size=3),
)
stored_events = st.builds(
    Event,
    status=st.sampled_from(EventStatus),
    seq=counts,
    rule=texts,
    severity=st.sampled_from(Severity),
    environment=texts,
    campaign_id=maybe_texts,
    summary=texts,
    since=maybe_instants,
    observed_at=instants,
    decided_at=instants,
    next_step=texts,
    previous_severity=st.none() | st.sampled_from(Severity),
    campaign_name=texts,
    labels=labels,
    exported=names,
    sftp_host=texts,
    import_schedule=texts,
    last_passed_at=maybe_instants,
    evidence=labels,
    reason=maybe_texts,
    muted_by=maybe_texts,
    initial=st.booleans(),
)


@given(statuses)
def test_a_campaigns_status_survives_the_disk(status: CampaignStatus) -> None:
    assert codec.decode_campaign(codec.encode_campaign(status)) == status


@given(environments)
def test_an_environments_status_survives_the_disk(status: EnvironmentStatus) -> None:
    assert codec.decode_environment(codec.encode_environment(status)) == status


@given(stored_events)
def test_an_event_survives_the_disk(event: Event) -> None:
    assert codec.decode_event(codec.event_row(event, "0badcafe").body) == event


def test_the_enumerations_come_back_as_themselves() -> None:
    status = a_status(
        error=PollError(Reason.TIMEOUT),
        alerts={"missing": Alert(rule="missing", state=AlertState.FIRING)},
    )
    decoded = codec.decode_campaign(codec.encode_campaign(status))
    assert decoded.error is not None
    assert decoded.error.reason is Reason.TIMEOUT
    assert decoded.alerts["missing"].state is AlertState.FIRING


def test_failed_polls_in_a_row_are_this_processs_and_not_stored() -> None:
    status = a_status(failures=Failures(3, NOW))
    assert codec.decode_campaign(codec.encode_campaign(status)).failures is None


def test_of_an_environment_only_the_breaker_and_what_was_once_seen_are_stored() -> None:
    status = EnvironmentStatus(
        name="production",
        outage_at=NOW,
        outage_reason=Reason.TIMEOUT,
        readable_seen=True,
        unauthorized_with=4,
        run=Run(Reason.FORBIDDEN, 2, NOW, frozenset({"c-1", "c-2"})),
        skews=(1.0, 2.0),
        medians=((NOW, 1.5),),
        doubted_until=NOW,
        corrected=True,
        up=False,
    )
    decoded = codec.decode_environment(codec.encode_environment(status))
    assert decoded == EnvironmentStatus(
        name="production", outage_at=NOW, outage_reason=Reason.TIMEOUT, readable_seen=True
    )


def test_every_stored_field_of_an_environment_is_one_it_has() -> None:
    names = {field.name for field in fields(EnvironmentStatus)}
    assert names >= codec._STORED_OF_ENVIRONMENT


def test_a_row_of_an_older_version_gets_the_defaults_of_new_fields() -> None:
    body = '{"environment": "production", "campaign_id": "c-1"}'
    assert codec.decode_campaign(body) == a_status()


def test_an_alert_that_an_older_version_stored_has_the_next_step_of_its_rule() -> None:
    body = (
        '{"environment": "production", "campaign_id": "c-1",'
        ' "alerts": {"missing": {"rule": "missing", "state": "firing", "summary": "gone"}}}'
    )
    alert = codec.decode_campaign(body).alerts["missing"]
    assert Missing().next_step_for(alert) == Missing.next_step


def test_a_field_that_is_known_no_more_is_ignored() -> None:
    body = '{"environment": "production", "campaign_id": "c-1", "mood": "good"}'
    assert codec.decode_campaign(body) == a_status()


@pytest.mark.parametrize(
    "body",
    [
        "",
        "null",
        "[]",
        "{}",
        '{"environment": "production"}',
        '{"environment": 7, "campaign_id": "c-1"}',
        '{"environment": "production", "campaign_id": "c-1", "polled_at": "yesterday"}',
        '{"environment": "production", "campaign_id": "c-1", "error": {"reason": "bad mood"}}',
    ],
)
def test_what_is_no_status_is_refused(body: str) -> None:
    with pytest.raises(ValueError, match="validation error"):
        codec.decode_campaign(body)


def test_text_that_is_no_unicode_is_refused_before_it_reaches_the_disk() -> None:
    status = a_status(memory=Memory(config=a_config(host="\ud800")))
    with pytest.raises(ValueError, match="surrogates"):
        codec.encode_campaign(status)


def test_an_events_row_has_the_columns_that_the_history_is_searched_by() -> None:
    event = an_event(3, campaign_id=None)
    row = codec.event_row(event, "0badcafe")
    assert row.event_id == Told(event, "0badcafe").event_id
    assert row.event_id.endswith("-0badcafe-3")
    assert row[1:7] == (NOW + 3, "production", None, "failed_test", "firing", "critical")
    assert json.loads(row.body)["seq"] == 3


def test_a_tombstone_counts_events_and_knows_nothing_else() -> None:
    alert = Alert(rule="missing", state=AlertState.FIRING, told=True, seq=4, summary="gone")
    status = a_status(
        memory=Memory(config=a_config()),
        polled_at=NOW,
        alerts={"missing": alert, "disabled": replace(alert, rule="disabled", seq=0)},
    )
    forgotten = codec.forgotten_campaign(codec.encode_campaign(status))
    assert forgotten is not None
    assert codec.decode_campaign(forgotten) == a_status(
        alerts={"missing": Alert(rule="missing", seq=4)}
    )


def test_an_environments_tombstone_counts_events_and_knows_nothing_else() -> None:
    alert = Alert(rule="api_unreachable", state=AlertState.FIRING, told=True, seq=2)
    status = EnvironmentStatus(name="production", outage_at=NOW, alerts={"api_unreachable": alert})
    body = codec.forgotten_environment(codec.encode_environment(status))
    assert body is not None
    assert codec.decode_environment(body) == EnvironmentStatus(
        name="production", alerts={"api_unreachable": Alert(rule="api_unreachable", seq=2)}
    )


def test_without_an_event_there_is_no_tombstone() -> None:
    pending = {"missing": Alert(rule="missing", state=AlertState.PENDING)}
    campaign, environment = a_status(alerts=pending), EnvironmentStatus(name="production")
    assert codec.forgotten_campaign(codec.encode_campaign(campaign)) is None
    assert codec.forgotten_environment(codec.encode_environment(environment)) is None


@pytest.mark.parametrize("body", ["", "{", '{"name": 7}'])
def test_what_cannot_be_read_cannot_be_forgotten_either(body: str) -> None:
    assert codec.forgotten_campaign(body) == body
    assert codec.forgotten_environment(body) == body


IN_A_FRESH_PROCESS = """
import sys
from monitor.adapters.store.codec import decode_event
body = sys.stdin.read()
decode_event(body)
before = sys.getallocatedblocks()
for number in range(5000):
    decode_event(body.replace("sftp.example.com", f"{number}.example.com"))
print(sys.getallocatedblocks() - before)
"""


def test_the_texts_of_an_event_are_forgotten_with_it() -> None:
    body = codec.event_row(replace(an_event(), sftp_host="sftp.example.com"), "epoch").body
    command = [sys.executable, "-c", IN_A_FRESH_PROCESS]
    done = subprocess.run(command, input=body, text=True, capture_output=True, check=True)
    assert int(done.stdout) < 500
