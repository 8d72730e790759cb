"""What `${VAR}` becomes, and what is shown of it."""

import re

import pytest

from monitor.config.document import describe
from monitor.config.keys import expand

ENVIRON = {"HOST": "sftp.example", "EMPTY": "", "REF": "${HOST}"}


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("plain", "plain"),
        ("", ""),
        ("${HOST}", "sftp.example"),
        ("https://${HOST}/x", "https://sftp.example/x"),
        ("${HOST}${HOST}", "sftp.examplesftp.example"),
        ("${EMPTY}", ""),
        ("${NOWHERE:-5m}", "5m"),
        ("${NOWHERE:-}", ""),
        ("${EMPTY:-5m}", "5m"),
        ("${HOST:-5m}", "sftp.example"),
        ("${NOWHERE:-a:-b}", "a:-b"),
        ("$HOST", "$HOST"),
        ("Retail$", "Retail$"),
        ("{rule}", "{rule}"),
        ("$${HOST}", "${HOST}"),
        ("$${", "${"),
        ("$$${HOST}", "$${HOST}"),
        ("$${${HOST}}", "${sftp.example}"),
    ],
)
def test_a_reference_becomes_the_value_or_the_default(written: str, value: str) -> None:
    assert expand(written, ENVIRON) == value


def test_what_a_variable_holds_is_not_expanded_again() -> None:
    assert expand("${REF}", ENVIRON) == "${HOST}"


def test_every_variable_that_is_unset_is_named() -> None:
    message = "the environment variable A and B is not set, and there is no default"
    with pytest.raises(ValueError, match=message):
        expand("${A} ${B} ${A} ${HOST}", ENVIRON)


@pytest.mark.parametrize("written", ["${", "${HOST", "${}", "${1}", "${a b}", "${HOST:5m}", "${ä}"])
def test_what_is_no_reference_is_refused(written: str) -> None:
    with pytest.raises(ValueError, match=re.escape("expected ${VAR} or ${VAR:-default}")):
        expand(written, ENVIRON)


@pytest.mark.parametrize("value", ["a\nb", "a\x00", "\x1b[31m", "\ud800", "\x85"])
def test_a_variable_that_is_no_line_of_text_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match="expected text without line breaks"):
        expand("${BAD}", {"BAD": value})


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "nothing"),
        ({}, "a mapping"),
        ([], "a list"),
        ("a b ", "'a b '"),
        ("\u202eabc", "'\\u202eabc'"),
        (5, "'5'"),
        ("x" * 99, "'" + "x" * 60 + "…'"),
    ],
)
def test_what_was_found_is_described_in_a_few_words(value: object, words: str) -> None:
    assert describe(value) == words
