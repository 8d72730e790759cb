"""Changes merged into one transaction: the newest counts, events stay in order, drops hold."""

from contextlib import closing

from monitor.adapters.store import MEMORY, Change, codec, schema
from monitor.adapters.store.batch import Batch, Outcome, Pruning, apply
from monitor.core.model import Alert
from monitor.core.status import EnvironmentStatus
from support.builders import NOW, a_status
from support.state_files import an_event, events

EPOCH = "0badcafe"
KEY = ("production", "c-1")


def batch(**change: object) -> Batch:
    return Batch.of(Change(**change), EPOCH)  # type: ignore[arg-type]


def merged(*batches: Batch) -> Batch:
    whole = Batch()
    for part in batches:
        whole.add(part)
    return whole


def test_an_empty_change_is_an_empty_batch() -> None:
    assert Batch.of(Change(), EPOCH) == Batch()


def test_of_a_status_the_newest_counts() -> None:
    whole = merged(*(batch(campaigns=(a_status(polled_at=NOW + n),)) for n in range(3)))
    assert codec.decode_campaign(whole.campaigns[KEY]).polled_at == NOW + 2


def test_of_an_environment_and_its_lease_the_newest_counts() -> None:
    older = batch(
        environments=(EnvironmentStatus(name="production"),), next_call_at={"production": NOW}
    )
    newer = batch(
        environments=(EnvironmentStatus(name="production", swept_at=NOW),),
        next_call_at={"production": NOW + 5},
    )
    whole = merged(older, newer)
    assert codec.decode_environment(whole.environments["production"]).swept_at == NOW
    assert whole.next_call_at == {"production": NOW + 5}


def test_what_only_one_of_them_has_stays() -> None:
    whole = merged(batch(campaigns=(a_status(),)), batch(campaigns=(a_status(campaign_id="c-2"),)))
    assert set(whole.campaigns) == {KEY, ("production", "c-2")}


def test_events_are_all_kept_in_order() -> None:
    whole = merged(*(Batch.of(events(seq, seq + 1), EPOCH) for seq in (1, 3, 5)))
    assert [row.event_id[-1] for row in whole.events] == ["1", "2", "3", "4", "5", "6"]


def test_who_was_told_what_is_kept_in_order() -> None:
    whole = merged(Batch(told=[("log", "a")]), Batch(told=[("log", "b"), ("file", "a")]))
    assert whole.told == [("log", "a"), ("log", "b"), ("file", "a")]


def test_the_last_word_on_retention_counts() -> None:
    earlier, later = Pruning(NOW, frozenset()), Pruning(0.0, frozenset({"log"}))
    assert merged(Batch(pruning=earlier), Batch(pruning=later)).pruning == later
    assert merged(Batch(pruning=earlier), Batch()).pruning == earlier


def test_a_drop_leaves_counts_of_what_came_before_and_all_of_what_comes_after() -> None:
    alerts = {"failed_test": Alert(rule="failed_test", told=True, told_at=NOW, seq=4)}
    before = batch(campaigns=(a_status(alerts=alerts), a_status(environment="staging")))
    drop = batch(dropped_environments=("production",))
    after = batch(campaigns=(a_status(campaign_id="c-2", polled_at=NOW),))
    whole = merged(before, drop, after)
    assert whole.dropped == {"production"}
    left = {key: codec.decode_campaign(body) for key, body in whole.campaigns.items()}
    assert left == {
        KEY: a_status(alerts={"failed_test": Alert(rule="failed_test", seq=4)}),
        ("staging", "c-1"): a_status(environment="staging"),
        ("production", "c-2"): a_status(campaign_id="c-2", polled_at=NOW),
    }


def test_a_drop_leaves_nothing_of_what_never_had_an_event() -> None:
    before = batch(campaigns=(a_status(),), environments=(EnvironmentStatus(name="production"),))
    whole = merged(before, batch(dropped_environments=("production",)))
    assert (whole.campaigns, whole.environments) == ({}, {})
    assert whole.dropped == {"production"}


def test_a_drop_of_an_environment_that_is_not_in_the_batch_is_for_the_disk() -> None:
    assert merged(batch(dropped_environments=("production",))).dropped == {"production"}


def test_only_a_batch_that_was_written_has_events_on_disk() -> None:
    written = batch(events=(an_event(1),))
    assert len(Outcome(written=written).event_ids) == 1
    assert Outcome().event_ids == ()


def test_what_neither_prunes_nor_has_events_prunes_none_and_has_none_twice() -> None:
    with closing(schema.open_for_writing(MEMORY)) as connection:
        outcome = apply(batch(campaigns=(a_status(),)), connection)
    assert (outcome.pruned, outcome.duplicates) == (0, 0)
