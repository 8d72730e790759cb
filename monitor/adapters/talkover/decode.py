"""The body of GET /campaigns/{id}/sftp → an observation."""

from typing import Annotated

from msgspec import UNSET, Meta, Struct, UnsetType

from monitor.adapters.talkover.document import TEXT_MAX, MismatchError, read_body, required_text
from monitor.adapters.talkover.timestamps import parse_rfc3339
from monitor.core.model import Instant, NoConfig, Observation, PollError, Reason, SftpConfig
from monitor.core.text import clean, redact_echo


class _Data(Struct):
    id: str
    campaign_id: str
    host: str
    is_enabled: bool
    port: Annotated[int, Meta(ge=1, le=65535)] | None = None
    username: str | None = None
    # Text, as is `import_schedule`: a word that is new must not make the config unreadable.
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


def decode_sftp(body: bytes, campaign_id: str, token: str) -> Observation:
    """Return what a 200 says of the campaign's SFTP config.

    Never raises: a body that is not what the API's reference describes is a `PollError`, and so is
    one about another campaign than the one asked for. `token` is the one that was sent, and in no
    config that is returned.
    """
    read = read_body(body, _Envelope)
    if isinstance(read, PollError):
        return read
    data = read.data
    if data is None:
        return NoConfig(by_404=False)
    if data.campaign_id != campaign_id:
        return PollError(Reason.WRONG_CAMPAIGN, f"the answer is about campaign {data.campaign_id}")
    try:
        return _sftp_config(data, token)
    except MismatchError as error:
        return PollError(Reason.SCHEMA_MISMATCH, str(error))


def _sftp_config(data: _Data, token: str) -> SftpConfig:
    """Return the config; `campaign_id` is that of the campaign asked for by now."""
    tested_at, succeeded = _last_test(data)

    def text(value: str | None) -> str | None:
        """Return what may be shown. Redacted before it is cut: half a token is a secret, too."""
        return None if value is None else clean(redact_echo(value, token), TEXT_MAX)

    return SftpConfig(
        id=required_text("$.data.id", redact_echo(data.id, token)),
        campaign_id=data.campaign_id,
        host=required_text("$.data.host", redact_echo(data.host, token)),
        is_enabled=data.is_enabled,
        port=data.port,
        username=text(data.username),
        auth_type=text(data.auth_type),
        import_path=text(data.import_path),
        export_path=text(data.export_path),
        import_schedule=text(data.import_schedule),
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
        raise MismatchError(f"Expected an RFC 3339 time - at `$.data.{field}`") from None
