"""Statuses and events survive the disk to the last bit; what is damaged is refused, not guessed."""

import inspect
import json
import re
from dataclasses import fields
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.adapters.store import outbox, rows, schema
from monitor.core.discovery import TargetSet
from monitor.core.model import (
    AlertLabels,
    Event,
    EventStatus,
    ListedCampaign,
    PollError,
    Reason,
    Severity,
    SftpConfig,
)
from monitor.core.status import (
    Alert,
    AlertState,
    CampaignStatus,
    EnvironmentStatus,
    Failures,
    LastKnown,
    Median,
    Run,
)
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
    LastKnown,
    config=st.none() | configs,
    missing_since=maybe_instants,
    first_seen_at=maybe_instants,
    last_read_at=maybe_instants,
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
    notified=st.booleans(),
    notified_at=maybe_instants,
    notified_severity=st.none() | st.sampled_from(Severity),
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
    last_known=memories,
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
    refused_at=maybe_instants,
    refused_with=st.none() | st.builds(PollError, st.sampled_from(Reason), texts, counts),
    readable_seen=st.booleans(),
    called_at=maybe_instants,
    swept_at=maybe_instants,
    discovered_at=maybe_instants,
    discovering_since=maybe_instants,
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

target_sets = st.builds(
    TargetSet,
    campaigns=st.dictionaries(
        texts, st.builds(ListedCampaign, texts, texts, texts, texts), max_size=3
    ),
    absent=st.dictionaries(texts, st.integers(1, 3), max_size=3),
    distrusted=st.integers(0, 2),
    listed_at=st.none() | instants,
)


@given(statuses)
def test_a_campaigns_status_survives_the_disk(status: CampaignStatus) -> None:
    assert rows.CAMPAIGN.decode(rows.CAMPAIGN.encode(status)) == status


@given(environments)
def test_an_environments_status_survives_the_disk(status: EnvironmentStatus) -> None:
    assert rows.ENVIRONMENT.decode(rows.ENVIRONMENT.encode(status)) == status


@given(stored_events)
def test_an_event_survives_the_disk(event: Event) -> None:
    assert rows.EVENT.decode(rows.EVENT.encode(event)) == event


def test_of_an_event_only_what_was_decided_is_stored() -> None:
    """The epoch is in its id; whether it is durable or sent again holds of one delivery."""
    event = an_event(epoch="0badcafe", redelivery=True, durable=False)
    assert rows.EVENT.decode(rows.EVENT.encode(event)) == an_event()


def test_the_enumerations_come_back_as_themselves() -> None:
    status = a_status(
        error=PollError(Reason.TIMEOUT),
        alerts={"missing": Alert(rule="missing", state=AlertState.FIRING)},
    )
    decoded = rows.CAMPAIGN.decode(rows.CAMPAIGN.encode(status))
    assert decoded is not None
    assert decoded.error is not None
    assert decoded.error.reason is Reason.TIMEOUT
    assert decoded.alerts["missing"].state is AlertState.FIRING


def test_failed_polls_in_a_row_are_this_processs_and_not_stored() -> None:
    status = a_status(failures=Failures(3, NOW))
    assert rows.CAMPAIGN.decode(rows.CAMPAIGN.encode(status)) == a_status()


def test_of_an_environment_only_the_breaker_and_what_was_once_seen_are_stored() -> None:
    status = EnvironmentStatus(
        name="production",
        outage_at=NOW,
        outage_reason=Reason.TIMEOUT,
        readable_seen=True,
        unauthorized_with=4,
        run=Run(Reason.FORBIDDEN, 2, NOW, frozenset({"c-1", "c-2"})),
        skews=(1.0, 2.0),
        medians=(Median(NOW, 1.5),),
        doubted_until=NOW,
        corrected=True,
        up=False,
    )
    decoded = rows.ENVIRONMENT.decode(rows.ENVIRONMENT.encode(status))
    assert decoded == EnvironmentStatus(
        name="production", outage_at=NOW, outage_reason=Reason.TIMEOUT, readable_seen=True
    )


def test_every_stored_field_of_an_environment_is_one_it_has() -> None:
    names = {field.name for field in fields(EnvironmentStatus)}
    assert names >= rows.STORED_OF_ENVIRONMENT


def test_a_row_of_an_older_version_gets_the_defaults_of_new_fields() -> None:
    body = '{"environment": "production", "campaign_id": "c-1"}'
    assert rows.CAMPAIGN.decode(body) == a_status()


def test_an_alert_that_an_older_version_stored_has_the_next_step_of_its_rule() -> None:
    body = (
        '{"environment": "production", "campaign_id": "c-1",'
        ' "alerts": {"missing": {"rule": "missing", "state": "firing", "summary": "gone"}}}'
    )
    stored = rows.CAMPAIGN.decode(body)
    assert stored is not None
    alert = stored.alerts["missing"]
    assert alert.next_step == "", "so what is shown is the next step of its rule"


def test_a_field_that_is_known_no_more_is_ignored() -> None:
    body = '{"environment": "production", "campaign_id": "c-1", "mood": "good"}'
    assert rows.CAMPAIGN.decode(body) == a_status()


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
    assert rows.CAMPAIGN.decode(body) is None


def test_text_that_is_no_unicode_is_refused_before_it_reaches_the_disk() -> None:
    status = a_status(last_known=LastKnown(config=a_config(host="\ud800")))
    with pytest.raises(ValueError, match="surrogates"):
        rows.CAMPAIGN.encode(status)


def test_an_events_row_has_the_columns_that_the_history_is_searched_by() -> None:
    event = an_event(3, campaign_id=None, epoch="0badcafe")
    row = rows.columns(event)
    assert event.event_id.endswith("-0badcafe-3")
    assert row[:3] == (event.event_id, NOW + 3, "production")
    assert row[3:7] == (None, "failed_test", "firing", "critical")
    assert row[7] == rows.EVENT.encode(event)


@given(target_sets)
def test_a_roster_survives_to_the_last_bit_and_in_its_order(target_set: TargetSet) -> None:
    again = rows.TARGET_SET.decode(rows.TARGET_SET.encode(target_set))
    assert again is not None
    assert again == target_set
    assert list(again.campaigns) == list(target_set.campaigns)


STORED: list[tuple[rows.Body[Any], str, str]] = [
    (rows.CAMPAIGN, rows.CAMPAIGN.encode(a_status(polled_at=NOW)), "polled_at"),
    (
        rows.ENVIRONMENT,
        rows.ENVIRONMENT.encode(EnvironmentStatus(name="production", called_at=NOW)),
        "called_at",
    ),
    (rows.TARGET_SET, rows.TARGET_SET.encode(TargetSet(listed_at=NOW)), "listed_at"),
    (rows.EVENT, rows.EVENT.encode(an_event()), "decided_at"),
]


@pytest.mark.parametrize(("body", "text", "field"), STORED, ids=[field for *_, field in STORED])
def test_a_text_that_looks_like_a_number_is_damage(
    body: rows.Body[Any], text: str, field: str
) -> None:
    assert body.decode(text) is not None
    damaged = json.dumps(json.loads(text) | {field: str(NOW)})
    assert body.decode(damaged) is None


def test_what_is_not_known_takes_no_room_on_the_disk() -> None:
    texts = [
        rows.CAMPAIGN.encode(a_status()),
        rows.ENVIRONMENT.encode(EnvironmentStatus(name="production")),
        rows.TARGET_SET.encode(TargetSet()),
    ]
    assert [text for text in texts if "null" in text] == []


@pytest.mark.parametrize(
    "statement",
    [
        *schema.TABLES,
        *(text for name, text in vars(rows).items() if name.startswith(("PUT_", "ADD_", "PRUNE_"))),
        *(inspect.getsource(query) for query in (rows.load, outbox.waiting, outbox.history)),
    ],
)
def test_the_statements_are_such_as_postgresql_takes_too(statement: str) -> None:
    assert not re.search(r"rowid|INSERT OR |REPLACE INTO|IFNULL|PRAGMA", statement, re.IGNORECASE)
