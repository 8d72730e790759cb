"""The body of GET /campaigns → one page of the listing.

What the page says of the campaigns is held to the API's reference; what it says of the pages
beside it (`pagination`) is a hint that may be missing or a lie.
"""

from typing import Annotated, Any, Final

from msgspec import Meta, Struct

from monitor.adapters.talkover.document import TEXT_MAX, MismatchError, read_body, required_text
from monitor.core.model import Listed, ListingPage, PollError, Reason
from monitor.core.text import CAMPAIGN_ID, clean, redact_echo

PER_PAGE: Final = 100
"""How many campaigns a page is asked to hold: the API's most."""

_WORD_MAX = 32
# More campaigns or pages than any customer has: such a number is a mistake of the API.
_COUNT_MAX = 1_000_000


class _Campaign(Struct):
    # It ends with \Z because $ lets a newline through.
    id: Annotated[str, Meta(pattern=rf"\A{CAMPAIGN_ID}\Z")]
    name: str
    status: str
    campaign_type: str | None = None


class _Envelope(Struct):
    success: bool
    data: list[_Campaign]
    pagination: Any = None


def decode_listing(body: bytes, page: int, token: str) -> ListingPage | PollError:
    """Return what a 200 lists on this page, from 1.

    Never raises: a body that is not what the API's reference describes is a `PollError`, and so is
    one that says to be another page than the one asked for. Of campaigns that are there twice the
    first counts. `token` is the one that was sent, and in nothing that is returned.
    """
    read = read_body(body, _Envelope)
    if isinstance(read, PollError):
        return read
    said = read.pagination if isinstance(read.pagination, dict) else {}
    current = said.get("current_page")
    if current is not None and _count(said, "current_page") != page:
        return PollError(Reason.SCHEMA_MISMATCH, f"the answer is not page {page} of the listing")
    try:
        listed = [_listed(place, row, token) for place, row in enumerate(read.data)]
    except MismatchError as error:
        return PollError(Reason.SCHEMA_MISMATCH, str(error))
    unique: dict[str, Listed] = {}
    for campaign in listed:
        unique.setdefault(campaign.id, campaign)
    return ListingPage(
        campaigns=tuple(unique.values()),
        page=page,
        last=_is_last(said, page, len(listed)),
        total=_count(said, "total", at_least=len(listed)),
    )


def _listed(place: int, row: _Campaign, token: str) -> Listed:
    # Calls are made with an id: one with the token in it cannot be redacted.
    if token.lower() in row.id.lower():
        raise MismatchError(f"Expected an id, got the token - at `$.data[{place}].id`")
    # Redacted before it is cut: half a token is a secret, too.
    status = redact_echo(row.status, token)
    return Listed(
        id=row.id,
        name=clean(redact_echo(row.name, token), TEXT_MAX),
        status=required_text(f"$.data[{place}].status", status, _WORD_MAX),
        campaign_type=clean(redact_echo(row.campaign_type or "", token), _WORD_MAX),
    )


def _is_last(said: dict[str, Any], page: int, found: int) -> bool:
    """Whether no page follows one of `found` campaigns.

    In doubt one does: that costs one call, while to stop too early loses campaigns.
    """
    if not found:
        return True
    pages = _count(said, "last_page", at_least=1) or _count(said, "total_pages", at_least=1)
    if pages is not None:
        return page >= pages
    size = _count(said, "per_page", at_least=found, at_most=PER_PAGE) or PER_PAGE
    so_far = (page - 1) * size + found
    total = _count(said, "total", at_least=so_far)
    return found < size if total is None else total == so_far


def _count(
    said: dict[str, Any], key: str, at_least: int = 0, at_most: int = _COUNT_MAX
) -> int | None:
    """Return the number that is said under this key, None where it makes no sense."""
    value = said.get(key)
    # Not isinstance(): True is an int, too.
    return value if type(value) is int and at_least <= value <= at_most else None
