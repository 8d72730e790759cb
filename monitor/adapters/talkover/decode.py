"""The body of an answer → an observation: strict JSON, strict types, clean text, or a `PollError`.

The standard library reads the JSON, since msgspec accepts duplicate keys, and bad numbers in
fields that it skips; msgspec then holds the types against what the API's reference says.
"""

import json
import math
import re
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from monitor.adapters.talkover.timestamps import parse_rfc3339
from monitor.core.model import Instant, NoConfig, Observation, PollError, Reason, SftpConfig
from monitor.core.text import clean

TEXT_MAX = 256
"""How many characters of any of the API's strings are kept."""

# int() takes quadratic time, and its own limit of digits can be switched off from outside.
_DIGITS_MAX = 32
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


class _Data(Struct):
    id: str
    campaign_id: str
    host: str
    is_enabled: bool
    port: Annotated[int, Meta(ge=1, le=65535)] | None = None
    username: str | None = None
    auth_type: str | None = None
    import_path: str | None = None
    export_path: str | None = None
    import_schedule: str | None = None
    last_test_at: str | UnsetType | None = UNSET
    last_test_success: bool | UnsetType | None = UNSET
    created_at: str | None = None
    updated_at: str | None = None


class _Envelope(Struct):
    success: bool
    data: _Data | None


class _MismatchError(ValueError):
    """A value that the type alone does not refuse; the message names the field."""


def decode_sftp(body: bytes, campaign_id: str) -> Observation:
    """Return what a 200 says of the campaign's SFTP config.

    Never raises: a body that is not what the API's reference describes is a `PollError`, and so is
    one about another campaign than the one asked for.
    """
    try:
        document = load_json(body)
    except ValueError as error:
        return PollError(Reason.MALFORMED, str(error))
    if isinstance(document, dict) and document.get("success") is False:
        return PollError(Reason.API_ERROR, api_message(document))
    try:
        data = msgspec.convert(document, _Envelope).data
        if data is None:
            return NoConfig(by_404=False)
        if data.campaign_id != campaign_id:
            return PollError(
                Reason.WRONG_CAMPAIGN, f"the answer is about campaign {data.campaign_id}"
            )
        return _sftp_config(data)
    except (msgspec.ValidationError, _MismatchError) as error:
        return PollError(Reason.SCHEMA_MISMATCH, str(error))


def load_json(body: bytes) -> object:
    """Return the document, of UTF-8 JSON with unique keys, finite numbers and whole characters.

    Raises `ValueError`, with a message that quotes nothing of the body.
    """
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        raise ValueError("the body is not UTF-8") from None
    try:
        document = json.loads(
            text,
            object_pairs_hook=_unique,
            parse_constant=_no_constant,
            parse_float=_finite,
            parse_int=_sensible,
        )
        # Only an escape can bring half a pair in; encoding tells it from a whole one.
        if _SURROGATE.search(text):
            json.dumps(document, ensure_ascii=False).encode("utf-8")
    except RecursionError:
        raise ValueError("the body is nested too deeply") from None
    except UnicodeEncodeError:
        raise ValueError("half a surrogate pair in a string") from None
    return document


def api_message(document: dict[str, Any]) -> str:
    """Return `CODE: message` of an error body in either of the API's two forms, or ''."""
    error = document.get("error")
    source = error if isinstance(error, dict) else document
    parts = (source.get("code"), source.get("message"))
    return ": ".join(part for part in parts if isinstance(part, str) and part)


def _sftp_config(data: _Data) -> SftpConfig:
    """Return the config; `campaign_id` is that of the campaign asked for by now."""
    tested_at, succeeded = _last_test(data)
    return SftpConfig(
        id=_required("id", data.id),
        campaign_id=data.campaign_id,
        host=_required("host", data.host),
        is_enabled=data.is_enabled,
        port=data.port,
        username=_text(data.username),
        auth_type=_text(data.auth_type),
        import_path=_text(data.import_path),
        export_path=_text(data.export_path),
        import_schedule=_text(data.import_schedule),
        last_test_at=tested_at,
        last_test_success=succeeded,
        created_at=_instant("created_at", data.created_at),
        updated_at=_instant("updated_at", data.updated_at),
        has_test_fields=data.last_test_at is not UNSET and data.last_test_success is not UNSET,
    )


def _last_test(data: _Data) -> tuple[Instant | None, bool | None]:
    """Return when the last test ran and whether it passed; a failed test at time zero is none."""
    written = None if data.last_test_at is UNSET else data.last_test_at
    succeeded = None if data.last_test_success is UNSET else data.last_test_success
    tested_at = _instant("last_test_at", written)
    if written is not None and tested_at is None and not succeeded:
        return None, None
    return tested_at, succeeded


def _instant(field: str, text: str | None) -> Instant | None:
    try:
        return None if text is None else parse_rfc3339(text)
    except ValueError:
        raise _MismatchError(f"Expected an RFC 3339 time - at `$.data.{field}`") from None


def _required(field: str, text: str) -> str:
    cleaned = clean(text, TEXT_MAX)
    if not cleaned:
        raise _MismatchError(f"Expected text, got none - at `$.data.{field}`")
    return cleaned


def _text(text: str | None) -> str | None:
    return None if text is None else clean(text, TEXT_MAX)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("a key occurs twice in one object")
    return made


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("a number beyond all bounds")
    return number


def _sensible(text: str) -> int:
    if len(text) > _DIGITS_MAX:
        raise ValueError(f"a number of {len(text)} digits")
    return int(text)
