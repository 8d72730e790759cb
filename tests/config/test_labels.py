"""Which labels an operator may use."""

import json

import pytest

from monitor.config.labels import MAX_LABELS_BYTES, RESERVED_LABELS, label_name, too_long


@pytest.mark.parametrize("name", ["team", "Team", "_team", "cost_centre", "t2"])
def test_a_name_that_prometheus_takes_is_fine(name: str) -> None:
    assert label_name(name) == name


@pytest.mark.parametrize("name", ["", "__team", "2t", "a-b", "a b", "a.b", "ü", "team\n"])
def test_a_name_that_prometheus_does_not_take_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="letters, digits and _"):
        label_name(name)


@pytest.mark.parametrize("name", sorted(RESERVED_LABELS))
def test_a_name_that_the_monitor_uses_itself_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="the monitor uses this one itself"):
        label_name(name)


def test_labels_fit_into_an_alert_up_to_its_limit() -> None:
    frame = len(json.dumps({"a": ""}))
    assert too_long({"a": "x" * (MAX_LABELS_BYTES - frame)}) is None
    assert too_long({"a": "x" * (MAX_LABELS_BYTES - frame + 1)}) == (
        "expected labels of at most 1,024 bytes of JSON, found 1,025"
    )


def test_what_is_escaped_in_an_alert_counts_as_it_is_escaped() -> None:
    assert too_long({"a": "ü" * 200}) is not None
