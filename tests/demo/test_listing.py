"""The campaign list of the stand-in: filters, pages, and the parameters it refuses."""

from typing import Any, cast

import pytest

from monitor.demo.campaigns import CAMPAIGNS
from monitor.demo.listing import QueryError, list_campaigns


def names(**query: str) -> list[str]:
    entries = cast("list[dict[str, str]]", list_campaigns(query)["data"])
    return [entry["name"] for entry in entries]


def pagination(**query: str) -> dict[str, int]:
    return cast("dict[str, int]", list_campaigns(query)["pagination"])


def test_an_entry_has_the_fields_that_the_reference_names() -> None:
    (entry,) = cast("list[dict[str, Any]]", list_campaigns({"search": "retail leads"})["data"])
    assert entry.keys() == {
        "id",
        "name",
        "description",
        "status",
        "campaign_type",
        "timezone",
        "start_date",
        "days_of_week",
        "updated_at",
    }


def test_without_a_query_the_first_twenty_are_listed_in_their_order() -> None:
    assert names() == [campaign.name for campaign in CAMPAIGNS]
    assert pagination()["per_page"] == 20


def test_statuses_part_the_list_without_rest() -> None:
    parts = [
        names(status=status) for status in ("draft", "active", "paused", "completed", "cancelled")
    ]
    assert [len(part) for part in parts] == [1, 10, 1, 0, 0]


def test_types_part_the_list_without_rest() -> None:
    types = ("sales", "follow_up", "reminder", "custom")
    assert sum(len(names(campaign_type=each)) for each in types) == len(CAMPAIGNS)


def test_filters_narrow_each_other() -> None:
    assert names(status="active", campaign_type="reminder", search="guests") == [
        "Hotel pre-arrival calls"
    ]
    assert names(status="draft", campaign_type="reminder") == []


def test_a_search_looks_at_names_and_descriptions_and_not_at_case() -> None:
    assert names(search="PATIENTS") == ["Clinic reminders"]
    assert names(search="clinic") == ["Clinic reminders"]


def test_a_search_does_not_run_over_from_a_name_into_its_description() -> None:
    assert names(search="leads calls") == []


def test_an_empty_search_finds_everything() -> None:
    assert len(names(search="")) == len(CAMPAIGNS)


@pytest.mark.parametrize(
    ("per_page", "lengths"),
    [("1", [1] * 12), ("5", [5, 5, 2]), ("6", [6, 6]), ("12", [12]), ("100", [12])],
)
def test_pages_are_full_but_the_last_and_as_many_as_are_told(
    per_page: str, lengths: list[int]
) -> None:
    last_page = pagination(per_page=per_page)["last_page"]
    pages = [names(per_page=per_page, page=str(page + 1)) for page in range(last_page)]
    assert [len(page) for page in pages] == lengths
    assert [name for page in pages for name in page] == names()


def test_the_page_behind_the_last_is_empty_and_tells_the_same_total() -> None:
    assert names(per_page="6", page="3") == []
    assert pagination(per_page="6", page="3") == {
        "current_page": 3,
        "per_page": 6,
        "total": 12,
        "last_page": 2,
    }


def test_a_list_without_entries_has_one_empty_page() -> None:
    assert pagination(status="cancelled") == {
        "current_page": 1,
        "per_page": 20,
        "total": 0,
        "last_page": 1,
    }


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("per_page", "0"),
        ("per_page", "101"),
        ("per_page", "5.0"),
        ("per_page", " 5"),
        ("page", "0"),
        ("page", "-1"),
        ("page", ""),
        ("page", "٣"),
        ("page", "9" * 5000),
        ("status", "ACTIVE"),
        ("status", ""),
        ("campaign_type", "survey"),
    ],
)
def test_a_value_that_the_reference_does_not_allow_is_refused_by_the_name_of_its_parameter(
    key: str, value: str
) -> None:
    with pytest.raises(QueryError, match=f"^{key} must be "):
        list_campaigns({key: value})
