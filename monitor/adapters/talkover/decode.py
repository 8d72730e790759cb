"""An answer → what it says: strict JSON, strict types, clean text, or else a `PollError`.

Another field of the API is a line in a shape here, and one in the core's model.
"""

import re
from dataclasses import replace
from datetime import datetime
from typing import Annotated, TypeAlias, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    Field,
    ValidationError,
    ValidationInfo,
)
from pydantic_core import ErrorDetails

from monitor.adapters.talkover.answer import api_message, body_of, load_json
from monitor.core.attempt import TestReport
from monitor.core.model import Instant, NoConfig, Observation, PollError, Reason, SftpConfig
from monitor.core.text import clean, plain, redact, redact_echo
from monitor.http import Received

NEVER: Instant = 0.0
"""What the zero times `0001-01-01T…` and `1970-01-01T00:00:00Z` mean."""

_RFC3339 = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2}[Tt](?:[01][0-9]|2[0-3]):[0-9]{2}:[0-9]{2})(\.[0-9]+)?"
    r"([Zz]|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])"
)

# What may be a secret where the platform repeats a login, or the customer's server does; the first
# group is kept.
_LOGIN = re.compile(
    r"""(-----BEGIN[A-Z ]*)PRIVATE\ KEY-----.*?(?:-----END[A-Z ]*-----|$)
    | ((?:pass\w*|pwd|secret)["']?\s*(?:=>?|:)\s*|authorization:\s*\w+\s+
        # Without such a sign words such as "password expired" stay.
        |pass\w*\s+(?:(?:is|was)\s+)?(?=["'`]|\S*[0-9]))(?:(["'`]).*?(?:\3|$)|\S+)
    | (?<=\w)(:)(?!//)\S+(?=@\w)""",
    re.IGNORECASE | re.VERBOSE,
)

# What pydantic and Python call a type that JSON, or on-call, knows by another name.
_NAMES = {"model": "object", "dict": "object", "list": "array", "string": "str", "NoneType": "null"}


# Its context is the token; in quotes, for pydantic before 2.12 has it without a parameter.
Info: TypeAlias = "ValidationInfo[str]"


def shown(limit: int, *, visible: bool = False) -> AfterValidator:
    """Return what cleans text, cuts it, and redacts the token; `visible`: it may not be empty."""

    def show(text: str, info: Info) -> str:
        """Return the text fit to be shown."""
        # Redacted before it is cut: half a token is a secret, too.
        text = clean(redact_echo(text, info.context), limit)
        if visible and not text:
            raise ValueError("Expected text, got none")
        return text

    return AfterValidator(show)


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


ShownText = Annotated[str, shown(256)]
_VisibleText = Annotated[str, shown(256, visible=True)]
# Text of an instant, and that instant once it is read.
_Time = Annotated[str, AfterValidator(parse_rfc3339)]


class _Sftp(BaseModel, strict=True):
    id: _VisibleText
    campaign_id: str
    host: _VisibleText
    is_enabled: bool
    port: Annotated[int, Field(ge=1, le=65535)] | None = None
    username: ShownText | None = None
    # Text, as is `import_schedule`: a word that is new must not make the config unreadable.
    auth_type: ShownText | None = None
    import_path: ShownText | None = None
    export_path: ShownText | None = None
    import_schedule: ShownText | None = None
    last_test_at: _Time | None = None
    last_test_success: bool | None = None
    created_at: _Time | None = None
    updated_at: _Time | None = None


class _SftpAnswer(BaseModel, strict=True):
    success: bool
    data: _Sftp | None


class _TestData(BaseModel, strict=True):
    tested_at: _Time
    error: str | None = None
    import_path_accessible: bool | None = None
    export_path_accessible: bool | None = None


class _TestAnswer(BaseModel, strict=True):
    success: bool
    data: _TestData


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
    answer = read(body, _SftpAnswer, token, campaign_id)
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


def decode_test(body: bytes | PollError, token: str) -> TestReport | PollError:
    """Return what a 200 says of a connection test. Never raises."""
    answer = read(body, _TestAnswer, token)
    if isinstance(answer, PollError):
        return replace(answer, detail=_quoted(answer.detail, token))
    said, passed = answer.data, answer.success
    return TestReport(
        passed,
        float(said.tested_at),
        "" if passed else _quoted(said.error or "", token),
        said.import_path_accessible if passed else None,
        said.export_path_accessible if passed else None,
    )


def _quoted(text: str, token: str) -> str:
    """Return words about a test as they may stand between quotation marks, without secrets."""
    # Redacted before it is cut short; the first cut is for the time that a megabyte would cost.
    kept = _LOGIN.sub(r"\1\2\4<secret>", clean(redact(text[:8192], token), 1024))
    return clean(plain(kept).replace('"', "'").replace("(secret)", "<secret>"), 200)


def read(
    body: bytes | PollError, shape: type[_Answer], token: str, campaign_id: str | None = None
) -> _Answer | PollError:
    """Return a body as such a shape, about the campaign asked for, if one was. Never raises.

    Half a character may be in a listing: it spoils one name, not what is known of all campaigns.
    """
    if isinstance(body, PollError):
        return body
    try:
        document = load_json(body, repair=campaign_id is None)
    except ValueError as error:
        return PollError(Reason.MALFORMED, str(error))
    said = document if isinstance(document, dict) else {}
    # Asked before the shape: an error body has no data, and would pass for a wrong schema. But a
    # test that failed has been run.
    result = shape is _TestAnswer and isinstance(said.get("data"), dict)
    if said.get("success") is False and not result:
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
