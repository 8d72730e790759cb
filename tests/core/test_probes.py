"""What an open breaker lets through, and what a start or a changed config means for it."""

from dataclasses import replace

from monitor.core.model import HOUR, MINUTE, EventStatus, Reason, Severity
from monitor.core.schedule import next_probe
from monitor.core.status import Alert
from support.builders import NOW
from support.environments import WatchedEnvironment, down, facts_of, rejected

# --- probes


def probe_after(environment: WatchedEnvironment) -> float:
    assert environment.status.called_at is not None
    at = next_probe(environment.status, environment.context, 30.0, 5 * MINUTE)
    return at - environment.status.called_at


def test_probes_go_out_every_probe_interval_while_the_api_is_unreachable() -> None:
    environment = down()
    assert probe_after(environment) == 30
    environment.call(Reason.TIMEOUT, at=NOW + HOUR)
    assert probe_after(environment) == 30


def test_probes_go_out_every_token_probe_interval_while_the_token_is_rejected() -> None:
    environment = rejected()
    environment.call(Reason.UNAUTHORIZED, generation=1, at=NOW + HOUR)
    assert probe_after(environment) == 5 * MINUTE


def test_an_outage_while_the_token_is_rejected_is_probed_as_an_outage() -> None:
    environment = rejected()
    environment.calls([Reason.TIMEOUT] * 3, at=NOW + HOUR)
    assert probe_after(environment) == 30


def test_the_probe_that_tells_an_outage_goes_out_a_second_after_its_deadline() -> None:
    environment = down()
    environment.call(Reason.TIMEOUT, at=NOW + 5 * MINUTE - 20)
    assert probe_after(environment) == 21
    environment.call(Reason.TIMEOUT, at=NOW + 5 * MINUTE + 1)
    assert probe_after(environment) == 30


def test_the_probe_that_tells_a_rejected_token_goes_out_a_second_after_its_deadline() -> None:
    assert probe_after(rejected()) == 3 * MINUTE + 1


def test_a_breaker_that_was_open_at_the_start_is_probed_at_once() -> None:
    status = replace(down().status, called_at=None)
    assert next_probe(status, facts_of(10), 30.0, 300.0) < NOW


# --- a start, or a changed config


def firing() -> WatchedEnvironment:
    environment = down()
    environment.call(Reason.TIMEOUT, at=NOW + 5 * MINUTE)
    return environment


def test_an_unchanged_config_changes_nothing_for_an_environment() -> None:
    environment = firing()
    before = environment.status
    assert environment.reload({}, NOW + HOUR) == ()
    assert environment.status == before


def test_a_changed_severity_of_an_environment_alert_is_told_as_an_update() -> None:
    (event,) = firing().reload({"api_unreachable": {"severity": Severity.WARNING}}, NOW + HOUR)
    assert (event.status, event.previous_severity) == (EventStatus.UPDATED, Severity.CRITICAL)


def test_a_removed_environment_resolves_what_was_told_of_it() -> None:
    environment = firing()
    (event,) = environment.reload(None, NOW + HOUR, "environment_removed")
    assert (event.rule, event.reason, event.seq) == ("api_unreachable", "environment_removed", 2)
    assert environment.status.alerts == {"api_unreachable": Alert(rule="api_unreachable", seq=2)}


def test_events_of_a_reload_of_an_environment_come_in_the_order_of_its_table() -> None:
    environment = WatchedEnvironment(
        effective_interval=HOUR,
        rules={"budget_insufficient": {"for_": 0.0}, "api_unreachable": {"after": 0.0}},
    )
    environment.calls([Reason.TIMEOUT] * 3)
    assert list(environment.status.alerts) == ["budget_insufficient", "api_unreachable"]
    events = environment.reload(None, NOW + HOUR, "environment_removed")
    assert [event.rule for event in events] == ["api_unreachable", "budget_insufficient"]


def test_an_environment_status_from_the_future_is_clamped() -> None:
    environment = firing()
    environment.reload({}, NOW - HOUR)
    status = environment.status
    assert (status.outage_at, status.unanswered_at, status.called_at) == (NOW - HOUR,) * 3
    assert probe_after(environment) == 30


def test_an_alert_of_an_environment_from_the_future_is_clamped_by_the_first_call() -> None:
    environment = firing()
    notified_at = environment.status.alerts["api_unreachable"].notified_at
    environment.reload({"api_unreachable": {"after": 0.0}}, NOW - HOUR)
    assert environment.status.alerts["api_unreachable"].notified_at == notified_at
    environment.call(Reason.TIMEOUT, at=NOW - HOUR)
    alert = environment.status.alerts["api_unreachable"]
    assert (alert.notified_at, alert.fired_at) == (NOW - HOUR, NOW - HOUR)


def test_a_rejection_and_a_sweep_from_the_future_are_clamped_too() -> None:
    environment = rejected()
    environment.status = replace(environment.status, swept_at=NOW)
    environment.reload({}, NOW - HOUR)
    assert environment.status.rejected_at == NOW - HOUR
    assert environment.status.swept_at == NOW - HOUR
