"""Faults 17 to 24: the JSON is fine, what is in it is not. Numbers as in the catalogue."""

import json

import pytest

from monitor.adapters.talkover.decode import decode_sftp
from monitor.core.model import NoConfig, Observation, PollError, Reason, SftpConfig
from support.misbehaving import (
    ABSENT,
    CAMPAIGN,
    TOKEN,
    answer,
    asked,
    config,
    replies,
)


def decoded(**changes: object) -> Observation:
    return decode_sftp(json.dumps(config(**changes)).encode(), CAMPAIGN, TOKEN)


def sftp(**changes: object) -> SftpConfig:
    seen = decoded(**changes)
    assert isinstance(seen, SftpConfig), seen
    return seen


def mismatch(**changes: object) -> str:
    seen = decoded(**changes)
    assert isinstance(seen, PollError)
    assert seen.reason is Reason.SCHEMA_MISMATCH
    return seen.detail


@pytest.mark.parametrize("hidden", ["\0", "\x1b[2J", "\x85", "\u2028", "\u202e", "\n", "\r\n"])
def test_fault_17_hidden_characters_do_not_get_in(hidden: str) -> None:
    seen = sftp(host=f"a{hidden}b", username=hidden, import_path=f"{hidden}/in")
    for text in (seen.host, seen.username, seen.import_path):
        assert text is not None
        assert text.isprintable()


def test_fault_17_a_host_of_a_megabyte_is_cut_and_a_path_of_256_characters_is_not() -> None:
    seen = sftp(host="h" * 1_000_000, username="u" * 257, import_path="p" * 256)
    assert [len(text or "") for text in (seen.host, seen.username)] == [256, 256]
    assert seen.import_path == "p" * 256


def test_fault_17_quotes_and_backslashes_are_data_like_any_other() -> None:
    assert sftp(host='a"b\\c').host == 'a"b\\c'


@pytest.mark.parametrize("port", ["22", 22.0, True, -1, 0, 65536, [], 10**30])
def test_fault_18_a_port_is_a_number_from_1_to_65535(port: object) -> None:
    assert mismatch(port=port).endswith("at `$.data.port`")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("is_enabled", "false"),
        ("is_enabled", 1),
        ("is_enabled", None),
        ("last_test_success", 0),
        ("last_test_success", "true"),
        ("last_test_at", 1704897000),
        ("host", 7),
        ("host", None),
        ("username", ["a"]),
        ("import_path", False),
        ("created_at", {}),
    ],
)
def test_fault_18_types_are_strict(field: str, value: object) -> None:
    assert mismatch(**{field: value}).endswith(f"at `$.data.{field}`")


OPTIONAL = ["port", "username", "auth_type", "import_path", "export_path", "import_schedule",
            "created_at", "updated_at"]  # fmt: skip


@pytest.mark.parametrize("field", OPTIONAL)
@pytest.mark.parametrize("value", [ABSENT, None])
def test_fault_19_an_optional_field_may_be_missing_or_null(field: str, value: object) -> None:
    assert getattr(sftp(**{field: value}), field) is None


def test_fault_19_an_empty_text_is_not_a_missing_one() -> None:
    assert sftp(import_path="").import_path == ""


def test_fault_19_an_empty_time_is_none() -> None:
    assert mismatch(created_at="") == "Expected an RFC 3339 time - at `$.data.created_at`"


def test_fault_19_unknown_fields_are_ignored() -> None:
    body = {**config(novel={"deep": [1, 2.5]}), "message": "ok", "meta": None}
    assert isinstance(decode_sftp(json.dumps(body).encode(), CAMPAIGN, TOKEN), SftpConfig)


def test_fault_19_an_unknown_enum_value_is_kept_as_text() -> None:
    seen = sftp(auth_type="kerberos", import_schedule="weekly")
    assert (seen.auth_type, seen.import_schedule) == ("kerberos", "weekly")


@pytest.mark.parametrize("field", ["id", "campaign_id", "host", "is_enabled"])
def test_fault_20_a_required_field_that_is_gone_is_a_schema_mismatch(field: str) -> None:
    told = f"Field required - at `$.data.{field}`"
    assert mismatch(**{field: ABSENT, f"new_{field}": "x"}) == told


@pytest.mark.parametrize("field", ["id", "host"])
@pytest.mark.parametrize("empty", ["", "  ", "\u200b\n"])
def test_fault_20_a_required_text_without_a_character_to_see_is_a_mismatch(
    field: str, empty: str
) -> None:
    assert mismatch(**{field: empty}) == f"Expected text, got none - at `$.data.{field}`"


@pytest.mark.parametrize("gone", [("last_test_at",), ("last_test_success",),
                                  ("last_test_at", "last_test_success")])  # fmt: skip
def test_fault_20_absent_test_fields_are_not_null_ones(gone: tuple[str, ...]) -> None:
    assert not sftp(**dict.fromkeys(gone, ABSENT)).has_test_fields


def test_fault_20_null_test_fields_mean_never_tested() -> None:
    seen = sftp(last_test_at=None, last_test_success=None)
    assert seen.has_test_fields
    assert (seen.last_test_at, seen.last_test_success) == (None, None)


@pytest.mark.parametrize(
    "text",
    ["<script>alert(1)</script>", '" onmouseover=', "javascript:x", "=cmd|' /C calc'!A0", "%s%n",
     "{0.__class__}", "${jndi:ldap://x}", "event", "level"],
)  # fmt: skip
def test_fault_21_what_looks_like_code_is_text(text: str) -> None:
    seen = sftp(host=text, username=text, **{text: text} if text.isalpha() else {})
    assert (seen.host, seen.username) == (text, text)


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("2024-01-10T14:30:00Z", 1704897000.0),
        ("2024-01-10t14:30:00z", 1704897000.0),
        ("2024-01-10T14:30:00.25Z", 1704897000.25),
        ("2024-01-10T16:00:00+01:30", 1704897000.0),
        ("2024-01-10T07:30:00-07:00", 1704897000.0),
        ("2024-01-10T14:30:00.123456789+00:00", 1704897000.123456789),
        ("2024-02-29T00:00:00-00:00", 1709164800.0),
    ],
)
def test_fault_22_rfc_3339_is_accepted(text: str, at: float) -> None:
    assert sftp(last_test_at=text, created_at=text).last_test_at == at


@pytest.mark.matrix(fast=10)
@pytest.mark.parametrize(
    "text",
    ["2024-01-10T14:30:00", "2024-01-10", "2024-W02-3T14:30:00Z", "2024-01-10T24:00:00Z",
     "2024-01-10T14:30:60Z", "1704897000", "٢٠٢٤-01-10T14:30:00Z", "2024-01-10T14:30:00+99:99",
     "2024-01-10T14:30:00+24:00", "2024-01-10T14:30:00+0100", "2024-01-10 14:30:00Z",
     "2024-01-10T14:30Z", "20240110T143000Z", "2023-02-29T00:00:00Z", "0000-01-01T00:00:00Z",
     "2024-01-10T14:30:00Z\n", " 2024-01-10T14:30:00Z", "2024-01-10T14:30:00.Z",
     "2024-01-10T14:30:00,5Z", "-2024-01-10T14:30:00Z", "12024-01-10T14:30:00Z", "never"],
)  # fmt: skip
@pytest.mark.parametrize("field", ["last_test_at", "created_at", "updated_at"])
def test_fault_22_any_other_time_makes_the_whole_answer_a_mismatch(text: str, field: str) -> None:
    assert mismatch(**{field: text}) == f"Expected an RFC 3339 time - at `$.data.{field}`"


ZERO_TIMES = ["0001-01-01T00:00:00Z", "0001-01-01T00:00:00.000+01:00", "1970-01-01T00:00:00Z",
              "1970-01-01T01:00:00.0+01:00"]  # fmt: skip


@pytest.mark.parametrize("zero", ZERO_TIMES)
@pytest.mark.parametrize("success", [False, None])
def test_fault_23_a_zero_time_without_success_means_never_tested(
    zero: str, success: object
) -> None:
    seen = sftp(last_test_at=zero, last_test_success=success)
    assert (seen.last_test_at, seen.last_test_success) == (None, None)
    assert seen.has_test_fields


@pytest.mark.parametrize("zero", ZERO_TIMES)
def test_fault_23_a_zero_time_of_a_passed_test_is_half_a_record(zero: str) -> None:
    assert sftp(last_test_at=zero, last_test_success=True).half_tested


def test_fault_23_a_failed_test_without_a_time_is_half_a_record() -> None:
    assert sftp(last_test_at=None, last_test_success=False).half_tested


@pytest.mark.parametrize("zero", ZERO_TIMES)
def test_fault_23_a_zero_time_of_creation_is_unknown(zero: str) -> None:
    seen = sftp(created_at=zero, updated_at=zero)
    assert (seen.created_at, seen.updated_at) == (None, None)


def test_fault_23_the_end_of_time_stays_a_time() -> None:
    assert sftp(last_test_at="9999-12-31T23:59:59Z").last_test_at == 253402300799.0


@pytest.mark.parametrize(
    ("date", "at"),
    [
        ("Sun, 06 Nov 1994 08:49:37 GMT", 784111777.0),
        ("Sunday, 06-Nov-94 08:49:37 GMT", 784111777.0),
        ("Sun Nov  6 08:49:37 1994", 784111777.0),
        ("Sun, 06 Nov 1994 09:49:37 +0100", 784111777.0),
        ("Sun, 99 Nov 1994 08:49:37 GMT", None),
        ("Sun, 06 Nov 99999 08:49:37 GMT", None),
        ("yesterday", None),
        ("784111777", None),
        ("Sun, ٠٦ Nov 1994 08:49:37 GMT", None),
        ("", None),
        (None, None),
    ],
)
async def test_fault_24_the_date_header_tells_the_clock_of_the_api(
    date: str | None, at: float | None
) -> None:
    raw = None if date is None else date.encode().decode("latin-1")
    for status in ("200 OK", "401 Unauthorized", "503 Busy"):
        got = await asked(replies(answer(config(), status, {"Date": raw})))
        assert got.server_date == at


def test_a_config_of_nothing_but_the_required_fields_is_one() -> None:
    bare = {"id": "1", "campaign_id": CAMPAIGN, "host": "h", "is_enabled": True}
    body = json.dumps({"success": True, "data": bare}).encode()
    told = SftpConfig(
        id="1", campaign_id=CAMPAIGN, host="h", is_enabled=True, has_test_fields=False
    )
    assert decode_sftp(body, CAMPAIGN, TOKEN) == told


def test_data_null_is_no_config() -> None:
    assert decode_sftp(b'{"success": true, "data": null}', CAMPAIGN, TOKEN) == NoConfig()
