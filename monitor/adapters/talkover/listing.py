"""A page of the listing → the campaigns on it, and when they call.

What it says of the pages beside it (`pagination`) is a hint that may be missing or a lie.
"""

import re
from datetime import date
from typing import Annotated, Any, Final

from pydantic import (
    AfterValidator,
    BaseModel,
    FailFast,
    Field,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)

from monitor.adapters.talkover.decode import Info, ShownText, read, shown
from monitor.core.model import (
    HOUR,
    MINUTE,
    CallTimes,
    ListedCampaign,
    Page,
    PollError,
    Reason,
    Seconds,
)
from monitor.core.text import CAMPAIGN_ID

PER_PAGE: Final = 100
"""How many campaigns a page is asked to hold: the API's most."""


def _campaign_id(text: str, info: Info) -> str:
    if not re.fullmatch(CAMPAIGN_ID, text):
        raise ValueError("Expected an id of 1 to 64 letters, digits, '-' or '_'")
    # Calls are made with an id: one with the token in it cannot be redacted.
    if info.context.lower() in text.lower():
        raise ValueError("Expected an id, got the token")
    return text


def _time_of_day(text: str) -> Seconds:
    match = re.fullmatch(r"([01][0-9]|2[0-4]):([0-5][0-9])(:[0-5][0-9])?", text)
    if match is None:
        raise ValueError("Expected a time of day")
    return int(match[1]) * HOUR + int(match[2]) * MINUTE


def _or_none(value: object, valid: ValidatorFunctionWrapHandler) -> Any:
    try:
        return valid(value)
    except ValidationError:
        return None


# A day as YYYY-MM-DD, and the seconds since midnight of HH:MM or HH:MM:SS.
_Day = Annotated[str, AfterValidator(lambda text: date.fromisoformat(text[:10]).isoformat())]
_TimeOfDay = Annotated[str, AfterValidator(_time_of_day)]
# When a campaign calls is of use where it can be read, and must not spoil a listing where not.
_OR_NONE = WrapValidator(_or_none)


class _Range(BaseModel, strict=True):
    start: _TimeOfDay
    end: _TimeOfDay


class _Campaign(BaseModel, strict=True):
    id: Annotated[str, AfterValidator(_campaign_id)]
    name: ShownText
    status: Annotated[str, shown(32, visible=True)]
    campaign_type: Annotated[str, shown(32)] | None = None
    timezone: Annotated[str | None, _OR_NONE] = None
    start_date: Annotated[_Day | None, _OR_NONE] = None
    end_date: Annotated[_Day | None, _OR_NONE] = None
    days_of_week: Annotated[list[Annotated[int, Field(ge=1, le=7)]] | None, _OR_NONE] = None
    earliest_call_time: Annotated[_TimeOfDay | None, _OR_NONE] = None
    latest_call_time: Annotated[_TimeOfDay | None, _OR_NONE] = None
    call_time_ranges: Annotated[list[_Range] | None, _OR_NONE] = None


class _PageAnswer(BaseModel, strict=True):
    success: bool
    # Not all that is wrong with a mebibyte of them: the first one says enough.
    data: Annotated[list[_Campaign], FailFast()]
    pagination: Any = None


def decode_listing(body: bytes | PollError, page: int, token: str) -> Page | PollError:
    """Return what a 200 lists on the page asked for, from 1. Never raises.

    Of campaigns that are there twice the first counts.
    """
    answer = read(body, _PageAnswer, token)
    if isinstance(answer, PollError):
        return answer
    said = answer.pagination if isinstance(answer.pagination, dict) else {}
    if said.get("current_page") is not None and _count(said, "current_page") != page:
        return PollError(Reason.SCHEMA_MISMATCH, f"the answer is not page {page} of the listing")
    unique: dict[str, ListedCampaign] = {}
    for row in answer.data:
        kind, calls = row.campaign_type or "", _call_times(row)
        unique.setdefault(row.id, ListedCampaign(row.id, row.name, row.status, kind, calls))
    found = len(answer.data)
    last, total = _is_last(said, page, found), _count(said, "total", at_least=found)
    return Page(tuple(unique.values()), page, last, total)


def _call_times(row: _Campaign) -> CallTimes:
    windows = [(one.start, one.end) for one in row.call_time_ranges or ()]
    if not windows and row.earliest_call_time is not None and row.latest_call_time is not None:
        windows = [(row.earliest_call_time, row.latest_call_time)]
    return CallTimes(
        zone=row.timezone or "",
        first_day=row.start_date or "",
        last_day=row.end_date or "",
        days=tuple(row.days_of_week or ()),
        windows=tuple(windows),  # type: ignore[arg-type] # read as seconds
    )


def _is_last(said: dict[str, Any], page: int, found: int) -> bool:
    """Whether no page follows one of `found` campaigns."""
    # In doubt one does: that costs one call, while to stop too early loses campaigns.
    if not found:
        return True
    pages = _count(said, "last_page", at_least=1) or _count(said, "total_pages", at_least=1)
    if pages is not None:
        return page >= pages
    size = _count(said, "per_page", at_least=found, at_most=PER_PAGE) or PER_PAGE
    so_far = (page - 1) * size + found
    total = _count(said, "total", at_least=so_far)
    return found < size if total is None else total == so_far


def _count(said: dict[str, Any], key: str, at_least: int = 0, at_most: int = 10**6) -> int | None:
    """Return the number that is said under this key, None where it makes no sense."""
    value = said.get(key)
    # Not isinstance(): True is an int, too. Nobody has more than a million campaigns or pages.
    return value if type(value) is int and at_least <= value <= at_most else None
