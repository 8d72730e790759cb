"""`GET /campaigns` of the stand-in: which campaigns a query asks for, a page at a time."""

import math
from collections.abc import Mapping
from typing import Final

from monitor.demo.campaigns import CAMPAIGNS, Campaign

_DEFAULT_PER_PAGE: Final = 20
_MAX_PER_PAGE: Final = 100

_ALLOWED: Final = {
    "status": ("draft", "active", "paused", "completed", "cancelled"),
    "campaign_type": ("sales", "follow_up", "reminder", "custom"),
}


class QueryError(ValueError):
    """A parameter has a value that the API's reference does not allow; the text names it."""


def list_campaigns(query: Mapping[str, str]) -> dict[str, object]:
    """The `data` and `pagination` for `status`, `campaign_type`, `search`, `per_page`, `page`.

    Other parameters are ignored; a page behind the last one is empty. As on the platform no entry
    carries anything of SFTP. Raises `QueryError`.
    """
    per_page = _number(query, "per_page", _DEFAULT_PER_PAGE, _MAX_PER_PAGE)
    page = _number(query, "page", 1)
    found = _matching(query)
    first = (page - 1) * per_page
    return {
        "data": [_as_json(campaign) for campaign in found[first : first + per_page]],
        "pagination": {
            "current_page": page,
            "per_page": per_page,
            "total": len(found),
            "last_page": max(1, math.ceil(len(found) / per_page)),
        },
    }


def _matching(query: Mapping[str, str]) -> list[Campaign]:
    wanted = {key: _word(query, key) for key in _ALLOWED if key in query}
    text = query.get("search", "").casefold()
    return [
        campaign
        for campaign in CAMPAIGNS
        if all(getattr(campaign, key) == value for key, value in wanted.items())
        and text in f"{campaign.name}\n{campaign.description}".casefold()
    ]


def _word(query: Mapping[str, str], key: str) -> str:
    if query[key] not in _ALLOWED[key]:
        raise QueryError(f"{key} must be one of {', '.join(_ALLOWED[key])}")
    return query[key]


def _number(query: Mapping[str, str], key: str, default: int, most: int = 1_000_000) -> int:
    text = query.get(key, str(default))
    # A cap on the length first: int() refuses thousands of digits with an error of its own.
    if not (text.isascii() and text.isdigit() and len(text) <= 7 and 1 <= int(text) <= most):
        raise QueryError(f"{key} must be a whole number from 1 to {most}")
    return int(text)


def _as_json(campaign: Campaign) -> dict[str, object]:
    return {
        "id": campaign.id,
        "name": campaign.name,
        "description": campaign.description,
        "status": campaign.status,
        "campaign_type": campaign.campaign_type,
        "timezone": "Europe/Berlin",
        "start_date": "2026-01-12",
        "days_of_week": ["monday", "tuesday", "wednesday", "thursday", "friday"],
        "updated_at": "2026-01-09T16:20:00Z",
    }
