"""What each type of key takes, and what it says to all else."""

from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic_core import PydanticCustomError

from monitor.config import kinds
from monitor.config.addresses import ListenAddress
from monitor.config.keys import Key
from monitor.config.scalars import Text
from monitor.core.model import Severity


def key_of(kind: Any) -> Key:
    """Return how a type of `kinds` reads its text."""
    (key,) = (part for part in get_args(kind)[1:] if isinstance(part, Key))
    return key


def refusal(kind: Any, value: object) -> str:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the caller compares it
        key_of(kind).read(value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (kinds.TrueOrFalse, "true", True),
        (kinds.TrueOrFalse, "False", False),
        (kinds.TrueOrFalse, "TRUE", True),
        (kinds.Number, "1", 1.0),
        (kinds.Number, "-1.5e2", -150.0),
        (kinds.Number, ".5", 0.5),
        (kinds.Count, "1", 1),
        (kinds.Count, "0100", 100),
        (kinds.Count, "1000000", 1_000_000),
        (kinds.Concurrency, "1000", 1000),
        (kinds.Share, "1", 1.0),
        (kinds.Share, "0.001", 0.001),
        (kinds.Words, "", ""),
        (kinds.Words, "null", "null"),
        (kinds.Duration, "0", 0.0),
        (kinds.PositiveDuration, "1ms", 0.001),
        (kinds.FilePath, "a/../b", Path("a/../b")),
        (kinds.Expression, "Retail .*", "Retail .*"),
        (kinds.EnvironmentName, "a" * 64, "a" * 64),
        (kinds.CampaignId, "6F3c-_", "6F3c-_"),
        (kinds.SeverityName, "info", Severity.INFO),
        (kinds.LogLevelName, "debug", kinds.LogLevel.DEBUG),
        (kinds.CampaignTypeName, "follow_up", kinds.CampaignType.FOLLOW_UP),
        (kinds.CampaignStatusName, "cancelled", kinds.CampaignStatus.CANCELLED),
        (kinds.Listen, ":0", ListenAddress("", 0)),
    ],
)
def test_a_key_reads_text_as_its_type(kind: Any, text: str, value: object) -> None:
    assert key_of(kind).read(Text(text)) == value


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (kinds.TrueOrFalse, "tRUE"),
        (kinds.TrueOrFalse, "1"),
        (kinds.TrueOrFalse, ""),
        (kinds.Number, "nan"),
        (kinds.Number, ".inf"),
        (kinds.Number, "1e9999"),
        (kinds.Number, "1e999"),
        (kinds.Number, "9" * 400),
        (kinds.Number, "1_0"),
        (kinds.Number, "٣"),
        (kinds.Count, "1.0"),
        (kinds.Count, "1000001"),
        (kinds.Count, "9" * 5000),
        (kinds.Count, "٣"),
        (kinds.Count, " 1"),
        (kinds.Concurrency, "-1"),
        (kinds.Share, "0.0"),
        (kinds.Share, "1.0001"),
        (kinds.Share, "-0.5"),
        (kinds.PositiveDuration, "0s"),
        (kinds.FilePath, ""),
        (kinds.Expression, "(?P<a>"),
        (kinds.Expression, "a{99999999999}"),
        (kinds.EnvironmentName, ""),
        (kinds.EnvironmentName, "a" * 65),
        (kinds.EnvironmentName, "a\n"),
        (kinds.CampaignId, "a/../b"),
        (kinds.CampaignId, "a" * 65),
        (kinds.SeverityName, "CRITICAL"),
        (kinds.LogFormatName, "json "),
    ],
)
def test_a_key_refuses_what_is_not_of_its_type(kind: Any, text: str) -> None:
    assert refusal(kind, Text(text)).startswith("expected ")


@pytest.mark.parametrize(
    ("value", "found"), [(None, "nothing"), ([], "a list"), ({"a": 1}, "a mapping")]
)
def test_a_key_refuses_what_is_no_scalar(value: object, found: str) -> None:
    assert refusal(kinds.Words, value) == f"expected text, found {found}"


@pytest.mark.parametrize(
    ("kind", "default", "value"),
    [
        (kinds.TrueOrFalse, True, True),
        (kinds.TrueOrFalse, False, False),
        (kinds.Count, 8, 8),
        (kinds.Share, 0.5, 0.5),
        (kinds.Duration, "5m", 300.0),
    ],
)
def test_defaults_are_read_like_what_is_written(kind: Any, default: object, value: object) -> None:
    assert key_of(kind).read(default) == value


def test_a_broken_text_is_no_second_problem() -> None:
    with pytest.raises(PydanticCustomError, match="was reported"):
        key_of(kinds.Words).read(Text("", broken=True))


def test_a_reference_to_a_token_is_read_as_it_is_written() -> None:
    assert key_of(kinds.TokenReference).read(Text("talq_canary", "${TOKEN}")) == "${TOKEN}"


@pytest.mark.parametrize("kind", [kinds.TokenReference, kinds.ApiUrl, kinds.WebUrl])
def test_what_may_be_a_secret_is_not_repeated(kind: Any) -> None:
    assert "canary" not in refusal(kind, Text("canary"))


def test_text_is_read_as_it_became_and_repeated_as_it_was_written() -> None:
    assert key_of(kinds.Count).read(Text("5", "${N}")) == 5
    assert refusal(kinds.Count, Text("canary", "${N}")).endswith("found '${N}'")
