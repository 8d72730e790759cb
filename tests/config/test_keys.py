"""What each type of key takes, and what it says to all else."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from monitor.config import types as t
from monitor.config.document import Document
from monitor.config.formats import ListenAddress
from monitor.core.model import Severity

DOCUMENT = Document("/etc/config.yaml", {"TOKEN": "talq_canary"})


def read(kind: Any, value: object, document: Document | None = DOCUMENT) -> Any:
    """Return what a type of `types` reads in a scalar of the file."""
    return TypeAdapter(kind).validate_python(value, context=document)


def refusal(kind: Any, value: object) -> str:
    with pytest.raises(ValidationError) as caught:
        read(kind, value)
    return str(caught.value.errors()[0]["ctx"]["error"])


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (t.TrueOrFalse, "true", True),
        (t.TrueOrFalse, "False", False),
        (t.TrueOrFalse, "TRUE", True),
        (t.Number, "1", 1.0),
        (t.Number, "-1.5e2", -150.0),
        (t.Number, ".5", 0.5),
        (t.Count, "1", 1),
        (t.Count, "0100", 100),
        (t.Count, "1000000", 1_000_000),
        (t.Concurrency, "1000", 1000),
        (t.Share, "1", 1.0),
        (t.Share, "0.001", 0.001),
        (t.Words, "", ""),
        (t.Words, "null", "null"),
        (t.Duration, "0", 0.0),
        (t.PositiveDuration, "1ms", 0.001),
        (t.FilePath, "a/../b", Path("/etc/a/../b")),
        (t.Expression, "Retail .*", "Retail .*"),
        (t.EnvironmentName, "a" * 64, "a" * 64),
        (t.CampaignId, "6F3c-_", "6F3c-_"),
        (t.SeverityName, "info", Severity.INFO),
        (t.LogLevelName, "debug", "debug"),
        (t.CampaignTypeName, "follow_up", "follow_up"),
        (t.CampaignStatusName, "cancelled", "cancelled"),
        (t.Listen, ":0", ListenAddress("", 0)),
    ],
)
def test_a_key_reads_text_as_its_type(kind: Any, text: str, value: object) -> None:
    assert read(kind, text) == value


@pytest.mark.matrix(fast=9)
@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (t.TrueOrFalse, "tRUE"),
        (t.TrueOrFalse, "1"),
        (t.TrueOrFalse, ""),
        (t.Number, "nan"),
        (t.Number, ".inf"),
        (t.Number, "1e9999"),
        (t.Number, "1e999"),
        (t.Number, "9" * 400),
        (t.Number, "1_0"),
        (t.Number, "٣"),
        (t.Count, "1.0"),
        (t.Count, "1000001"),
        (t.Count, "9" * 5000),
        (t.Count, "٣"),
        (t.Count, " 1"),
        (t.Concurrency, "-1"),
        (t.Share, "0.0"),
        (t.Share, "1.0001"),
        (t.Share, "-0.5"),
        (t.PositiveDuration, "0s"),
        (t.FilePath, ""),
        (t.Expression, "(?P<a>"),
        (t.Expression, "a{99999999999}"),
        (t.Expression, "a{,3}"),
        (t.Expression, "(?=a)b"),
        (t.Expression, r"(a)\1"),
        (t.Expression, "a++"),
        (t.Expression, r"\Z"),
        (t.Expression, "(" * 5000),
        (t.EnvironmentName, ""),
        (t.EnvironmentName, "a" * 65),
        (t.EnvironmentName, "a\n"),
        (t.CampaignId, "a/../b"),
        (t.CampaignId, "a" * 65),
        (t.SeverityName, "CRITICAL"),
        (t.LogFormatName, "json "),
    ],
)
def test_a_key_refuses_what_is_not_of_its_type(kind: Any, text: str) -> None:
    assert refusal(kind, text).startswith("expected ")


@pytest.mark.parametrize(
    ("value", "found"), [(None, "nothing"), ([], "a list"), ({"a": 1}, "a mapping")]
)
def test_a_key_refuses_what_is_no_scalar(value: object, found: str) -> None:
    assert refusal(t.Words, value) == f"expected text, found {found}"


@pytest.mark.parametrize(
    ("kind", "default", "value"),
    [
        (t.TrueOrFalse, True, True),
        (t.TrueOrFalse, False, False),
        (t.Count, 8, 8),
        (t.Share, 0.5, 0.5),
        (t.Duration, "5m", 300.0),
    ],
)
def test_defaults_are_read_like_what_is_written(kind: Any, default: object, value: object) -> None:
    assert read(kind, default, None) == value


def test_a_reference_to_a_token_is_the_variable_and_not_its_value() -> None:
    source = read(t.SecretVariable, "${TOKEN}")
    assert (source.variable, source.read()) == ("TOKEN", "talq_canary")
    assert "canary" not in repr(source)


@pytest.mark.parametrize("written", ["x${TOKEN}", "${TOKEN:-x}", "TOKEN", "$${TOKEN}"])
def test_a_token_is_a_lone_reference(written: str) -> None:
    assert refusal(t.SecretVariable, written).startswith("expected ${VAR} (no")


@pytest.mark.parametrize("kind", [t.SecretVariable, t.ApiUrl, t.WebUrl])
def test_what_may_be_a_secret_is_not_repeated(kind: Any) -> None:
    assert "canary" not in refusal(kind, "canary")


def test_text_is_read_as_it_became_and_repeated_as_it_was_written() -> None:
    assert read(t.Count, "${N}", Document("/etc/config.yaml", {"N": "5"})) == 5
    assert refusal(t.Count, "${TOKEN}").endswith("found '${TOKEN}'")
