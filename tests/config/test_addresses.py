"""URLs and listen addresses."""

import re

import pytest

from monitor.config.formats import (
    ListenAddress,
    api_url,
    campaign_url,
    is_loopback,
    listen_address,
    runbook_url,
    url,
)


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("127.0.0.1:10022", "127.0.0.1", 10022),
        ("localhost:80", "localhost", 80),
        (":10022", "", 10022),
        ("0.0.0.0:1", "0.0.0.0", 1),
        ("[::1]:443", "::1", 443),
        # As for Go programs: both families, where `::` would be IPv6 alone to asyncio.
        ("[::]:443", "", 443),
        ("[0:0::0]:443", "", 443),
        ("127.0.0.1:0", "127.0.0.1", 0),
        ("monitor.example:65535", "monitor.example", 65535),
    ],
)
def test_a_listen_address_has_a_host_and_a_port(text: str, host: str, port: int) -> None:
    assert listen_address(text) == ListenAddress(host, port)


@pytest.mark.parametrize(
    "text",
    ["", "localhost", "10022", "localhost:", ":65536", ":-1", ":٣", "::1:80", "[::1]", "[x]:80",
     "[127.0.0.1]:80", "a b:80", "http://localhost:80", "[::1:80"],
)  # fmt: skip
def test_whatever_else_is_no_listen_address(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - several messages, see the mistakes
        listen_address(text)


@pytest.mark.parametrize("text", ["127.0.0.1:1", ":1", "[::1]:1", "localhost:0"])
def test_a_listen_address_is_written_as_it_is_read(text: str) -> None:
    assert str(listen_address(text)) == text


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost", "LOCALHOST"])
def test_loopback_is_what_only_this_machine_reaches(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["", "0.0.0.0", "::", "10.0.0.1", "localhost.example", "example"])
def test_everything_else_is_open_to_others(host: str) -> None:
    assert not is_loopback(host)


@pytest.mark.parametrize(
    ("text", "base"),
    [
        ("https://app.talkover.ai/api/v1", "https://app.talkover.ai/api/v1"),
        ("https://app.talkover.ai/api/v1/", "https://app.talkover.ai/api/v1"),
        ("https://app.example:8443", "https://app.example:8443"),
        ("http://127.0.0.1:8080/api", "http://127.0.0.1:8080/api"),
        ("http://[::1]:8080", "http://[::1]:8080"),
        ("http://localhost", "http://localhost"),
    ],
)
def test_a_token_is_sent_over_https_or_inside_this_machine(text: str, base: str) -> None:
    assert api_url(text) == base


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("http://app.talkover.ai", "expected https://"),
        ("http://127.0.0.1.example", "expected https://"),
        ("https://me@app.example", "without user name and password"),
        ("https://:x@app.example", "without user name and password"),
        ("https://app.example/?a=b", "without query and fragment"),
        ("https://app.example/?", "without query and fragment"),
        ("https://app.example/#", "without query and fragment"),
        ("https://", "expected a URL such as"),
        ("https:///api", "expected a URL such as"),
        ("ftp://app.example", "expected a URL such as"),
        ("file:///etc/passwd", "expected a URL such as"),
        ("//app.example", "expected a URL such as"),
        ("https://app.example:99999", "expected a URL such as"),
        ("https://[::1", "expected a URL such as"),
        ("https://app.example/a b", "expected a URL such as"),
        ("", "expected a URL such as"),
    ],
)
def test_a_token_is_sent_nowhere_else(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        api_url(text)


@pytest.mark.parametrize("text", ["http://monitor.example/sftp", "https://monitor.example/?a#b"])
def test_a_url_for_people_may_be_http(text: str) -> None:
    assert url(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "https://app.talkover.example/campaigns/{campaign_id}/sftp",
        "https://app.talkover.example/#/{environment}/{campaign_id}?tab=sftp",
    ],
)
def test_a_campaign_url_is_nothing_or_https_with_the_campaign_in_it(text: str) -> None:
    assert campaign_url(text) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("http://app.talkover.example/{campaign_id}", "expected an https URL"),
        ("javascript:alert(1)//{campaign_id}", "expected an https URL"),
        ("https://app.talkover.example/", "expected {campaign_id} in the URL"),
        (
            "https://app.talkover.example/{campaign_id}/{name}",
            "expected {campaign_id} and {environment} as the only thing in braces",
        ),
        ("https://u:p@app.talkover.example/{campaign_id}", "without user name and password"),
        ("https:///{campaign_id}", "expected a URL such as"),
    ],
)
def test_another_campaign_url_is_refused(text: str, expected: str) -> None:
    with pytest.raises(ValueError, match=re.escape(expected)):
        campaign_url(text)


def test_a_runbook_url_has_the_rule_in_it_or_nothing_at_all() -> None:
    assert runbook_url("https://wiki.example/{rule}.md") == "https://wiki.example/{rule}.md"
    assert runbook_url("https://wiki.example/sftp") == "https://wiki.example/sftp"


@pytest.mark.parametrize(
    "text", ["https://wiki.example/{name}", "https://wiki.example/{", "{rule}"]
)
def test_another_brace_in_a_runbook_url_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        runbook_url(text)
