"""Field case 12: the keys of the way out, for environments and webhooks alike."""

from pathlib import Path

import pytest

from monitor.config import ConfigError, effective_yaml, load_config, notes
from support.config_files import MINIMAL, an_environment, loaded, problems_in, written

USER = "canary:canary-of-a-proxy"
WEBHOOK = MINIMAL + "notify:\n  webhooks:\n    - url: https://hooks.example\n"
WEBHOOK += "      secret_file: {}/credentials\n"


@pytest.fixture(params=["environments[0]", "notify.webhooks[0]"])
def place(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def a_file(folder: Path, place: str, *lines: str, user: str = USER, mode: int = 0o600) -> str:
    path = folder / "credentials"
    path.touch()
    path.chmod(mode)
    path.write_text(user)
    if place.startswith("environments"):
        return an_environment(*lines)
    return WEBHOOK.replace("{}", str(folder)) + "".join(f"      {line}\n" for line in lines)


@pytest.mark.parametrize(
    "url", ["", "http://proxy:3128", "https://proxy.example", "http://[::1]:1/"]
)
def test_fault_33_a_proxy_is_a_url_and_none_is_the_default(
    tmp_path: Path, place: str, url: str
) -> None:
    config = loaded(tmp_path, a_file(tmp_path, place, f"proxy_url: '{url}'"))
    proxy = [config.environments[0].proxy_url, *(w.proxy_url for w in config.notify.webhooks)][-1]
    assert proxy == url


def test_fault_33_its_user_comes_from_a_file_and_is_shown_by_its_path(
    tmp_path: Path, place: str
) -> None:
    lines = ("proxy_url: http://proxy:3128", "proxy_credentials_file: credentials")
    config = loaded(tmp_path, a_file(tmp_path, place, *lines))
    shown = effective_yaml(config)
    assert "proxy_url: http://proxy:3128" in shown
    assert f"proxy_credentials_file: {tmp_path / 'credentials'}" in shown
    assert "canary" not in shown + repr(config)


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("http://me:canary@proxy:3128", "expected a URL without user name and password"),
        ("socks5://proxy:1080", "expected a URL such as "),
        ("proxy:3128", "expected a URL such as "),
        ("http://proxy:3128?canary", "expected a URL without query and fragment"),
    ],
)
def test_fault_33_what_is_no_proxy_is_refused_and_not_repeated(
    tmp_path: Path, place: str, url: str, told: str
) -> None:
    (found,) = problems_in(tmp_path, a_file(tmp_path, place, f"proxy_url: '{url}'"))
    assert f"{place}.proxy_url: {told}" in found
    assert "canary" not in found


@pytest.mark.parametrize(
    ("user", "told"),
    [("canary", "is not user:password"), (":canary", "is not user:password"), ("", "is empty")],
)
def test_fault_33_credentials_that_are_none_are_refused(
    tmp_path: Path, place: str, user: str, told: str
) -> None:
    lines = ("proxy_url: http://proxy:3128", "proxy_credentials_file: credentials")
    found = problems_in(tmp_path, a_file(tmp_path, place, *lines, user=user))
    assert f"{place}.proxy_credentials_file: {tmp_path}/credentials {told}" in found[-1]
    assert "canary" not in "".join(found)


def test_fault_33_credentials_that_others_can_read_are_refused_as_a_token_is(
    tmp_path: Path, place: str
) -> None:
    lines = ("proxy_url: http://proxy:3128", "proxy_credentials_file: credentials")
    with pytest.raises(ConfigError, match="can be read by others") as caught:
        load_config(written(tmp_path, a_file(tmp_path, place, *lines, mode=0o644)), {"TOKEN": "t"})
    assert caught.value.exit_code == 77


def test_fault_33_credentials_without_a_proxy_are_a_mistake(tmp_path: Path, place: str) -> None:
    (found,) = problems_in(tmp_path, a_file(tmp_path, place, "proxy_credentials_file: credentials"))
    assert found.endswith(f"{place}.proxy_credentials_file: expected proxy_url as well")


def test_fault_33_no_proxy_gets_a_token_in_plain_text(tmp_path: Path) -> None:
    text = an_environment("base_url: http://localhost:1/api", "proxy_url: http://proxy:3128")
    assert problems_in(tmp_path, text) == [
        "6: environments[0].proxy_url: expected an https base_url, or no proxy"
    ]


def test_fault_33_config_check_says_that_nobody_would_be_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere")
    assert "note: SSL_CERT_FILE: /nowhere is not a file" in notes(loaded(tmp_path, MINIMAL))
