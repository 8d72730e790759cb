"""What the platform says of a failed connection test: words from a server that nobody vouches for.

The kind: text of somebody else that ends up where programs make more of it than text – a mention, a
link, a picture, a quotation that ends early – or where a secret must not be. It is made harmless
before it is stored, so that no output need know of it.
"""

import json

import pytest

from monitor.adapters.talkover.decode import decode_test
from monitor.core.attempt import TestReport
from monitor.core.causes import Kind, kind_of
from monitor.core.model import PollError
from support.misbehaving import TOKEN

SECRET = "hunter2"  # a canary


def cause_of(error: str) -> str:
    data = {"tested_at": "2027-01-15T08:00:00Z", "error": error}
    body = json.dumps({"success": False, "data": data}).encode()
    report = decode_test(body, TOKEN)
    assert isinstance(report, TestReport)
    return report.cause


ECHOES = [
    "password=hunter2",
    "passwd: hunter2",
    "PASSWORD => hunter2",
    "pwd=hunter2",
    "passphrase = 'hunter2'",
    "secret: hunter2",
    "client_secret=hunter2",
    '{"user": "leads", "password": "hunter2"}',
    'password "my hunter2 is long" was refused',
    "password 'my hunter2 is long' was refused",
    "password 'my hunter2",
    "the password `my hunter2` was refused",
    "password hunter2 was refused",
    "the password was hunter2",
    "PASS hunter2",
    "sftp://leads:hunter2@sftp.example.com/inbox",
    "sftp://leads:my@hunter2@sftp.example.com/inbox",
    "cannot log in as leads:hunter2@sftp.example.com",
    "Authorization: Basic hunter2",
    "-----BEGIN OPENSSH PRIVATE KEY-----\nhunter2\n-----END OPENSSH PRIVATE KEY----- is bad",
    "-----BEGIN RSA PRIVATE KEY----- " + "x" * 150 + "hunter2",
    "x" * 150 + " password=" + "y" * 300 + " password=hunter2",
]


@pytest.mark.parametrize("echo", ECHOES)
def test_a_login_that_the_server_repeats_is_redacted(echo: str) -> None:
    cause = cause_of(f"Authentication failed: {echo}")
    assert SECRET not in cause
    assert "my" not in cause
    assert "<secret>" in cause
    assert kind_of(cause) is Kind.LOGIN


def test_half_of_a_secret_is_not_left_where_the_text_is_cut() -> None:
    for length in range(170, 270):
        assert "hunt" not in cause_of("x" * length + f" leads:{SECRET}@sftp.example.com")
        assert TOKEN[:9] not in cause_of("x" * length + f" {TOKEN}")
        assert TOKEN[:9] not in cause_of("x " * (4000 + length) + f" {TOKEN}")


@pytest.mark.parametrize(
    "plain",
    [
        "Authentication failed: password authentication failed",
        "Permission denied (publickey,password).",
        "password expired on 2027-01-01",
        "Host key verification failed: SHA256:abc+/def",
        "Connection to sftp.example.com:2222 timed out after 10 s",
        "Basic authentication is switched off",
        "/in_box/*.csv: no such file",
        "user leads@sftp.example.com is locked",
        "100 % of 5 & more: it's down",
    ],
)
def test_what_is_neither_markup_nor_secret_stays_as_it_is(plain: str) -> None:
    assert cause_of(plain) == plain


MARKUP = {
    "<!channel> down": "(!channel) down",
    "<https://evil.example|Runbook>": "(https: //evil.example|Runbook)",
    "see https://evil.example/fix": "see https: //evil.example/fix",
    "[Runbook](https://evil.example)": "[Runbook] (https: //evil.example)",
    "![](//evil.example/pixel)": "![] (//evil.example/pixel)",
    "[Runbook]<https://evil.example>": "[Runbook] (https: //evil.example)",
    "@everyone @here: help": "@ everyone @ here: help",
    "<b>bold</b><script>alert(1)</script>": "(b)bold(/b)(script)alert(1)(/script)",
    'no", since 1970; all is well: "': "no', since 1970; all is well: '",
    "`rm -rf /`": "'rm -rf /'",
    "sftp > put": "sftp ) put",
}


@pytest.mark.parametrize(("markup", "plain"), MARKUP.items())
def test_markup_a_link_or_a_mention_becomes_plain_words(markup: str, plain: str) -> None:
    assert cause_of(markup) == plain


def test_what_was_refused_without_a_test_has_no_password_either() -> None:
    body = json.dumps({"success": False, "message": f"bad request: password={SECRET}"}).encode()
    refused = decode_test(body, TOKEN)
    assert isinstance(refused, PollError)
    assert refused.detail == "bad request: password=<secret>"
