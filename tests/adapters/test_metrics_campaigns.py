"""Scrape after scrape: what has changed is on the page, and nothing else is made anew."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as read_openmetrics,
)
from prometheus_client.parser import text_string_to_metric_families as read_text

from monitor.adapters.metrics import Exposition
from monitor.adapters.metrics.exposition import Lines
from monitor.core.model import MINUTE
from monitor.core.snapshot import Entry, Snapshot
from support.boards import a_rich_snapshot, a_snapshot, an_entry, an_environment
from support.builders import NOW, a_config
from support.scrapes import Scrape, some_own_metrics

OLD = an_entry("c-1", (NOW, a_config(host="old.example", last_test_success=False)))
NEW = an_entry("c-1", (NOW, a_config(host="new.example", last_test_success=False)))
OTHER = an_entry("c-2", (NOW, a_config()))


def board_of(*entries: Entry) -> Snapshot:
    return a_snapshot(an_environment(*entries))


def made_anew(before: Sequence[Lines], after: Sequence[Lines]) -> list[bool]:
    """Return of each campaign whether its lines are others than before."""
    return [one is not other for one, other in zip(before, after, strict=True)]


def test_fault_47_lines_are_made_for_the_campaigns_that_changed_and_for_no_others() -> None:
    lines_of = Exposition(some_own_metrics()).campaign_lines
    first, again = lines_of(board_of(OLD, OTHER)), lines_of(board_of(OLD, OTHER))
    assert made_anew(first, again) == [False, False]
    assert made_anew(first, lines_of(board_of(NEW, OTHER))) == [True, False]


def test_fault_47_time_alone_makes_no_line_anew() -> None:
    lines_of, snapshot = Exposition(some_own_metrics()).campaign_lines, a_rich_snapshot()
    first = lines_of(snapshot)
    environments = {
        name: replace(environment, now=NOW + 10 * MINUTE, lag_seconds=1.0)
        for name, environment in snapshot.environments.items()
    }
    assert not any(made_anew(first, lines_of(Snapshot(environments, NOW + 10 * MINUTE))))


def test_other_labels_make_all_lines_anew() -> None:
    lines_of = Exposition(some_own_metrics()).campaign_lines
    before, after = (
        board_of(
            *(replace(each, target=replace(each.target, exported=names)) for each in (OLD, OTHER))
        )
        for names in (("team",), ("team", "tier"))
    )
    assert all(made_anew(lines_of(before), lines_of(after)))


def test_the_same_id_in_two_environments_is_two_campaigns() -> None:
    entries = [an_entry("c-1", (NOW, a_config()), environment=name) for name in ("a", "b")]
    snapshot = a_snapshot(*(an_environment(each, name=each.target.environment) for each in entries))
    first, second = Exposition(some_own_metrics()).campaign_lines(snapshot)
    assert (b'environment="a"' in first[0], b'environment="b"' in second[0]) == (True, True)


@pytest.mark.parametrize("openmetrics", [False, True], ids=["text", "openmetrics"])
def test_fault_48_a_renamed_host_leaves_no_old_series_on_the_next_page(openmetrics: bool) -> None:
    exposition = Exposition(some_own_metrics())

    def hosts(*entries: Entry) -> list[tuple[str, str]]:
        """Return the hosts on the next page: of each campaign, and of each alert."""
        page = exposition.render(board_of(*entries), {}, openmetrics=openmetrics).decode()
        read = read_openmetrics if openmetrics else read_text
        labels = Scrape(read(page)).labels
        shown = labels("campaign_info") + labels("alert")
        return [(each["campaign_id"], each["sftp_host"]) for each in shown]

    other, old, new = ("c-2", "sftp.example"), ("c-1", "old.example"), ("c-1", "new.example")
    assert hosts(OLD, OTHER) == [old, other, old]
    assert hosts(OTHER, NEW) == [other, new, new]
    assert hosts(OTHER) == [other]
    assert hosts() == []


def test_one_exposition_gives_both_formats_of_the_same_board() -> None:
    exposition, snapshot = Exposition(some_own_metrics()), a_rich_snapshot("team")
    text = exposition.render(snapshot, {}, openmetrics=False).decode()
    openmetrics = exposition.render(snapshot, {}, openmetrics=True).decode()
    pages = Scrape(read_text(text)), Scrape(read_openmetrics(openmetrics))  # type: ignore[no-untyped-call]
    shown = [{key for key in page.series if "campaign_id" in dict(key[1])} for page in pages]
    assert shown[0] == shown[1] != set()
