"""An answer → what it says: strict JSON, strict types, clean text, or else a `PollError`.

Another field of the API is a line in a shape here, and one in the core's model. What a page of the
listing says of the pages beside it (`pagination`) is a hint that may be missing or a lie.
"""

import re
from datetime import datetime
from typing import Annotated, Any, Final, TypeAlias, TypeVar

from pydantic import AfterValidator, BaseModel, FailFast, Field, ValidationError, ValidationInfo
from pydantic_core import ErrorDetails

from monitor.adapters.talkover.answer import api_message, body_of, load_json
from monitor.core.model import (
    Instant,
    ListedCampaign,
    NoConfig,
    Observation,
    Page,
    PollError,
    Reason,
    SftpConfig,
)
from monitor.core.text import CAMPAIGN_ID, clean, redact_echo
from monitor.http import Received

PER_PAGE: Final = 100
"""How many campaigns a page is asked to hold: the API's most."""

NEVER: Instant = 0.0
"""What the zero times `0001-01-01T…` and `1970-01-01T00:00:00Z` mean."""

_RFC3339 = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2}[Tt](?:[01][0-9]|2[0-3]):[0-9]{2}:[0-9]{2})(\.[0-9]+)?"
    r"([Zz]|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])"
)

# What pydantic and Python call a type that JSON, or on-call, knows by another name.
_NAMES = {"model": "object", "dict": "object", "list": "array", "string": "str", "NoneType": "null"}


# Its context is the token; in quotes, for pydantic before 2.12 has it without a parameter.
_Info: TypeAlias = "ValidationInfo[str]"


def _shown(limit: int, *, visible: bool = False) -> AfterValidator:
    def shown(text: str, info: _Info) -> str:
        """Return the text fit to be shown."""
        # Redacted before it is cut: half a token is a secret, too.
        text = clean(redact_echo(text, info.context), limit)
        if visible and not text:
            raise ValueError("Expected text, got none")
        return text

    return AfterValidator(shown)


def _campaign_id(text: str, info: _Info) -> str:
    if not re.fullmatch(CAMPAIGN_ID, text):
        raise ValueError("Expected an id of 1 to 64 letters, digits, '-' or '_'")
    # Calls are made with an id: one with the token in it cannot be redacted.
    if info.context.lower() in text.lower():
        raise ValueError("Expected an id, got the token")
    return text


def parse_rfc3339(text: str) -> Instant:
    """Return the instant of an RFC 3339 time, `NEVER` for a zero time.

    Raises `ValueError` for anything else: naive times, ISO weeks, 24:00:00, second 60.
    """
    match = _RFC3339.fullmatch(text)
    moment, fraction, zone = match.groups("") if match else ("", "", "")
    try:
        at = datetime.fromisoformat(moment + zone.upper()).timestamp()
    except ValueError:
        raise ValueError("Expected an RFC 3339 time") from None
    return NEVER if text.startswith("0001-01-01") else at + float(fraction or 0)


_Text = Annotated[str, _shown(256)]
_VisibleText = Annotated[str, _shown(256, visible=True)]
# Text of an instant, and that instant once it is read.
_Time = Annotated[str, AfterValidator(parse_rfc3339)]


class _Sftp(BaseModel, strict=True):
    id: _VisibleText
    campaign_id: str
    host: _VisibleText
    is_enabled: bool
    port: Annotated[int, Field(ge=1, le=65535)] | None = None
    username: _Text | None = None
    # Text, as is `import_schedule`: a word that is new must not make the config unreadable.
    auth_type: _Text | None = None
    import_path: _Text | None = None
    export_path: _Text | None = None
    import_schedule: _Text | None = None
    last_test_at: _Time | None = None
    last_test_success: bool | None = None
    created_at: _Time | None = None
    updated_at: _Time | None = None


class _SftpAnswer(BaseModel, strict=True):
    success: bool
    data: _Sftp | None


class _Campaign(BaseModel, strict=True):
    id: Annotated[str, AfterValidator(_campaign_id)]
    name: _Text
    status: Annotated[str, _shown(32, visible=True)]
    campaign_type: Annotated[str, _shown(32)] | None = None


class _PageAnswer(BaseModel, strict=True):
    success: bool
    # Not all that is wrong with a mebibyte of them: the first one says enough.
    data: Annotated[list[_Campaign], FailFast()]
    pagination: Any = None


_Answer = TypeVar("_Answer", bound=BaseModel)


def observe_sftp(received: Received, campaign_id: str, token: str) -> Observation:
    """Return what an answer to GET /campaigns/{id}/sftp says, without `token`. Never raises."""
    body = body_of(received, 200, 404)
    # The API's own 404 says that there is no config; a proxy's or a web server's page says nothing.
    # An empty body has no type to speak of: frameworks answer a missing resource like that.
    if received.status == 404 and (received.body == b"" or isinstance(body, bytes)):
        return NoConfig(by_404=True)
    return decode_sftp(body, campaign_id, token)


def decode_sftp(body: bytes | PollError, campaign_id: str, token: str) -> Observation:
    """Return what a 200 says of the SFTP config of the campaign asked for. Never raises."""
    answer = _read(body, _SftpAnswer, token, campaign_id)
    if isinstance(answer, PollError):
        return answer
    if answer.data is None:
        return NoConfig(by_404=False)
    # Not dict(): that takes pydantic twice as long as all its checks.
    fields = vars(answer.data).copy()
    if fields["last_test_at"] == NEVER and not fields["last_test_success"]:
        fields["last_test_success"] = None
    for name in ("last_test_at", "created_at", "updated_at"):
        fields[name] = fields[name] or None  # `NEVER` is 0
    tested = {"last_test_at", "last_test_success"}
    return SftpConfig(**fields, has_test_fields=tested <= answer.data.model_fields_set)


def decode_listing(body: bytes | PollError, page: int, token: str) -> Page | PollError:
    """Return what a 200 lists on the page asked for, from 1. Never raises.

    Of campaigns that are there twice the first counts.
    """
    answer = _read(body, _PageAnswer, token)
    if isinstance(answer, PollError):
        return answer
    said = answer.pagination if isinstance(answer.pagination, dict) else {}
    if said.get("current_page") is not None and _count(said, "current_page") != page:
        return PollError(Reason.SCHEMA_MISMATCH, f"the answer is not page {page} of the listing")
    unique: dict[str, ListedCampaign] = {}
    for row in answer.data:
        unique.setdefault(
            row.id, ListedCampaign(row.id, row.name, row.status, row.campaign_type or "")
        )
    found = len(answer.data)
    last, total = _is_last(said, page, found), _count(said, "total", at_least=found)
    return Page(tuple(unique.values()), page, last, total)


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


def _read(
    body: bytes | PollError, shape: type[_Answer], token: str, campaign_id: str | None = None
) -> _Answer | PollError:
    if isinstance(body, PollError):
        return body
    try:
        document = load_json(body)
    except ValueError as error:
        return PollError(Reason.MALFORMED, str(error))
    said = document if isinstance(document, dict) else {}
    # Asked before the shape: an error body has no data, and would pass for a wrong schema.
    if said.get("success") is False:
        return PollError(Reason.API_ERROR, api_message(said))
    # Whatever else is wrong with it: another campaign's config is a matter of security.
    about = said["data"].get("campaign_id") if isinstance(said.get("data"), dict) else None
    if campaign_id is not None and isinstance(about, str) and about != campaign_id:
        return PollError(Reason.WRONG_CAMPAIGN, f"the answer is about campaign {about}")
    try:
        return shape.model_validate(document, context=token)
    except ValidationError as error:
        return PollError(Reason.SCHEMA_MISMATCH, _explained(error.errors(include_url=False)[0]))


def _explained(error: ErrorDetails) -> str:
    """Return what was expected where, and which type came; never its value."""
    said, expected = error["msg"].removeprefix("Value error, "), error["type"]
    if expected.endswith("_type"):
        types = (expected.removesuffix("_type"), type(error["input"]).__name__)
        said = "Expected `{}`, got `{}`".format(*(_NAMES.get(one, one) for one in types))
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in error["loc"])
    return f"{said} - at `${path}`"
