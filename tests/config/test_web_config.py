"""The web config file: read as exporter-toolkit reads it, or refused with its place and reason."""

import os
import ssl
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest
import trustme

from monitor.config import ConfigError, load_config
from monitor.config.web_config import NOT_SUPPORTED, Access, read_access
from support.config_files import ENVIRON, MINIMAL, loaded, written
from support.peers import require_peer

OPERATING = Path(__file__).parents[2] / "docs" / "operating.md"
EXAMPLE = Path(__file__).parents[2] / "web-config.example.yaml"

HASH = "$2y$10$" + "N" * 53
USERS = f"basic_auth_users: {{prometheus: {HASH}}}\n"
TLS = "tls_server_config:\n  cert_file: server.pem\n  key_file: server.key\n"
MUTUAL = TLS + "  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.pem\n"

GOOD = {
    "nothing in it": "{}",
    "users": USERS,
    "TLS": TLS,
    "mutual TLS": MUTUAL + USERS,
    "TLS in full": MUTUAL
    + "  min_version: TLS12\n  max_version: TLS13\n  prefer_server_cipher_suites: false\n"
    + "  cipher_suites:\n"
    + "    - TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256\n",
    "suites of TLS 1.3": TLS + "  cipher_suites:\n    - TLS_AES_128_GCM_SHA256\n",
    "suites of both": TLS
    + "  cipher_suites: [TLS_CHACHA20_POLY1305_SHA256, TLS_AES_256_GCM_SHA384,\n"
    + "    TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256]\n",
    "users by the names of keys": f"basic_auth_users: {{cert: {HASH}, key: {HASH}}}\n",
    "headers": "http_server_config:\n  http2: false\n  headers:\n"
    "    Strict-Transport-Security: max-age=1\n    X-Frame-Options: sameorigin\n",
}

BAD = {
    "not YAML": ("a: [", "1: not YAML"),
    "an unknown key": ("tls_config: {}", "1: tls_config: unknown key; did you mean tls_server_"),
    "a misspelt key": (
        TLS + "  certfile: x\n",
        "4: tls_server_config.certfile: unknown key; did you mean cert_file?",
    ),
    "a key given twice": (USERS + USERS, "2: basic_auth_users: this key is given twice"),
    "no bcrypt hash": (
        "basic_auth_users: {a: secret}",
        "1: basic_auth_users.a: expected a bcrypt hash",
    ),
    "no key file": (
        "tls_server_config: {cert_file: server.pem}",
        "1: tls_server_config.key_file: expected this key",
    ),
    "a certificate that is not there": (
        TLS.replace("server.pem", "x.pem"),
        "2: tls_server_config.cert_file: /",
    ),
    "a key that is none": (
        TLS.replace("server.key", "ca.pem"),
        "3: tls_server_config.key_file: /",
    ),
    "an unknown client_auth_type": (
        TLS + "  client_auth_type: Any\n",
        "4: tls_server_config.client_auth_type: expected one of NoClientCert, ",
    ),
    "an authority of nobody": (
        TLS + "  client_ca_file: ca.pem\n",
        "4: tls_server_config.client_ca_file: expected client_auth_type: RequireAnd",
    ),
    "an unknown version": (
        TLS + "  min_version: TLS14\n",
        "4: tls_server_config.min_version: expected one of TLS12, TLS13, found 'TLS14'",
    ),
    "an unknown cipher": (
        TLS + "  cipher_suites: [RC4]\n",
        "4: tls_server_config.cipher_suites[0]: expected one of TLS_AES_",
    ),
    "an unknown header": (
        "http_server_config: {headers: {Server: x}}",
        "1: http_server_config.headers.Server: expected one of Content-Security-Policy",
    ),
    "a header's wrong value": (
        "http_server_config: {headers: {X-Frame-Options: allow}}",
        "1: http_server_config.headers: X-Frame-Options: expected deny or sameorigin",
    ),
}

REFUSED = {
    "an empty file": ("", "the file is empty"),
    "certificates nobody verifies": (
        TLS + "  client_auth_type: RequireAnyClientCert\n",
        "4: tls_server_config.client_auth_type: not supported by this server: ",
    ),
    "asking for certificates that nobody verifies": (
        TLS + "  client_auth_type: RequestClientCert\n",
        "4: tls_server_config.client_auth_type: not supported by this server: ",
    ),
    "verifying without an authority": (
        TLS + "  client_auth_type: RequireAndVerifyClientCert\n",
        "4: tls_server_config.client_auth_type: expected client_ca_file as well: not supported",
    ),
    "verifying what is given without an authority": (
        TLS + "  client_auth_type: VerifyClientCertIfGiven\n",
        "4: tls_server_config.client_auth_type: expected client_ca_file as well: not supported",
    ),
    "names of certificates that are not asked for": (
        TLS + "  client_allowed_sans: [a]\n",
        "4: tls_server_config.client_allowed_sans: expected client_auth_type: RequireAnd",
    ),
    "TLS 1.1": (
        TLS + "  min_version: TLS11\n",
        "4: tls_server_config.min_version: not supported by this server: see",
    ),
    "nothing newer than TLS 1.0": (
        TLS + "  max_version: TLS10\n",
        "4: tls_server_config.max_version: not supported by this server: see",
    ),
    "suites of TLS 1.3 where that is off": (
        TLS + "  max_version: TLS12\n  cipher_suites: [TLS_AES_128_GCM_SHA256]\n",
        "5: tls_server_config.cipher_suites: expected one of TLS 1.2 as well",
    ),
    "versions in the wrong order": (
        TLS + "  min_version: TLS13\n  max_version: TLS12\n",
        "5: tls_server_config.max_version: expected at least TLS13",
    ),
    "a weak cipher": (
        TLS + "  cipher_suites: [TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA]\n",
        "4: tls_server_config.cipher_suites: not supported by this server: see",
    ),
    "a suite without forward secrecy": (
        TLS + "  cipher_suites: [TLS_RSA_WITH_AES_128_GCM_SHA256]\n",
        "4: tls_server_config.cipher_suites: not supported by this server: see",
    ),
    "a choice of curves": (
        TLS + "  curve_preferences: [X25519, CurveP256]\n",
        "4: tls_server_config.curve_preferences: not supported by this server: ",
    ),
    "TLS without files": (
        "tls_server_config: {min_version: TLS13}",
        "1: tls_server_config.cert_file: expected this key",
    ),
    "a certificate within the file": (
        TLS + "  cert: x\n",
        "4: tls_server_config.cert: not supported by this server: see",
    ),
    "a key within the file": (
        TLS + "  key: x\n",
        "4: tls_server_config.key: not supported by this server: see",
    ),
    "an authority within the file": (
        TLS + "  client_ca: x\n",
        "4: tls_server_config.client_ca: not supported by this server: see",
    ),
    "a rate limit": (
        "rate_limit: {interval: 1s, burst: 20}",
        "1: rate_limit.interval: not supported by this server: see",
    ),
    "a rate limit of nonsense": (
        "rate_limit: {interval: often}",
        "1: rate_limit.interval: not supported by this server: see",
    ),
    "a misspelt rate limit": (
        "rate_limit: {brust: 1}",
        "1: rate_limit.brust: expected one of interval, burst",
    ),
    "a hash that takes minutes": (
        USERS.replace("$10$", "$25$"),
        "1: basic_auth_users.prometheus: expected a bcrypt hash with a cost from 4 to 16",
    ),
    "a user who could never log in": (
        USERS.replace("prometheus:", '"a:b":'),
        "1: basic_auth_users.a:b: expected a user name without a colon",
    ),
    "a variable": ("basic_auth_users: {a: '${HASH}'}", "1: basic_auth_users.a: the environment"),
}


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, ca = tmp_path_factory.mktemp("web"), trustme.CA()
    leaf = ca.issue_cert("127.0.0.1")
    ca.cert_pem.write_to_path(str(folder / "ca.pem"))
    leaf.cert_chain_pems[0].write_to_path(str(folder / "server.pem"))
    (folder / "server.key").touch(mode=0o600)
    leaf.private_key_pem.write_to_path(str(folder / "server.key"))
    return folder


def web_file(folder: Path, text: str) -> Path:
    path = folder / "web.yml"
    path.write_text(text)
    return path


def problems_of(path: Path) -> list[str]:
    try:
        read_access(path)
    except ConfigError as error:
        return [str(problem).removeprefix(str(path)).lstrip(": ") for problem in error.problems]
    return []


def promtool_takes(path: Path) -> bool:
    command = [require_peer("promtool"), "check", "web-config", str(path)]
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


@pytest.mark.matrix(fast=2)
@pytest.mark.parametrize("text", GOOD.values(), ids=GOOD.keys())
def test_what_promtool_takes_is_taken(certificates: Path, text: str) -> None:
    path = web_file(certificates, text)
    assert problems_of(path) == []
    assert promtool_takes(path)


@pytest.mark.matrix(fast=3)
@pytest.mark.parametrize(("text", "told"), BAD.values(), ids=BAD.keys())
def test_what_promtool_refuses_is_refused_with_its_place(
    certificates: Path, text: str, told: str
) -> None:
    path = web_file(certificates, text)
    assert problems_of(path)[0].startswith(told)
    assert not promtool_takes(path)


@pytest.mark.parametrize(("text", "told"), REFUSED.values(), ids=REFUSED.keys())
def test_what_this_server_cannot_honour_is_refused_and_not_ignored(
    certificates: Path, text: str, told: str
) -> None:
    assert problems_of(web_file(certificates, text))[0].startswith(told)


NO_LIMIT = ["0", "{interval: 0}", "{interval: 0s, burst: 20}", "{burst: 20}", "{}", ""]


@pytest.mark.parametrize("limit", NO_LIMIT)
def test_a_rate_limit_that_is_none_is_taken(certificates: Path, limit: str) -> None:
    # Newer than the promtool of some systems, which is not asked.
    assert problems_of(web_file(certificates, f"rate_limit: {limit}\n{USERS}")) == []


def test_with_suites_of_tls_1_3_alone_nothing_older_is_spoken(certificates: Path) -> None:
    access = read_access(web_file(certificates, GOOD["suites of TLS 1.3"]))
    assert access.tls is not None
    assert access.tls.minimum_version is ssl.TLSVersion.TLSv1_3
    both = read_access(web_file(certificates, GOOD["suites of both"]))
    assert both.tls is not None
    assert both.tls.minimum_version is ssl.TLSVersion.TLSv1_2


def test_the_documentation_lists_all_that_is_not_supported() -> None:
    """Of the kind: what another program of this format takes, so that a file is brought along."""
    text = OPERATING.read_text().partition("## TLS and passwords")[2].partition("\n## ")[0]
    for name in NOT_SUPPORTED:
        assert f"`{name}`" in text


def test_all_problems_are_told_at_once(certificates: Path) -> None:
    text = TLS + "  min_version: TLS10\n  typo: 1\nbasic_auth_users:\n  a: x\n  b: y\n"
    assert [told.split(":")[0] for told in problems_of(web_file(certificates, text))] == [
        "4", "5", "7", "8"
    ]  # fmt: skip


def test_no_problem_repeats_what_should_have_been_a_hash(certificates: Path) -> None:
    told = problems_of(web_file(certificates, "basic_auth_users: {a: canary}"))
    assert len(told) == 1
    assert "canary" not in told[0]


def test_an_encrypted_key_is_refused_without_asking_for_its_password(certificates: Path) -> None:
    encrypted = certificates / "encrypted.key"
    openssl = [require_peer("openssl"), "ec", "-in", str(certificates / "server.key"), "-aes256"]
    subprocess.run(
        [*openssl, "-passout", "pass:x", "-out", str(encrypted)], check=True, capture_output=True
    )
    path = web_file(certificates, TLS.replace("server.key", "encrypted.key"))
    assert "encrypted.key is not the unencrypted PEM key of" in problems_of(path)[0]


def test_paths_are_relative_to_the_file(
    certificates: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = web_file(certificates, TLS)
    access = read_access(Path(os.path.relpath(path)))
    assert access.tls is not None
    assert access.tls.verify_mode is ssl.CERT_NONE


def test_the_example_is_taken_by_us_and_by_promtool() -> None:
    assert problems_of(EXAMPLE) == []
    assert promtool_takes(EXAMPLE)


def test_what_the_example_has_in_comments_is_taken_as_well(certificates: Path) -> None:
    lines = EXAMPLE.read_text().splitlines()
    start = lines.index("# tls_server_config:")
    shown = [line.removeprefix("# ") for line in lines[start:]]
    text = "\n".join(shown).replace("clients.pem", "ca.pem").replace("  headers: {}\n", "")
    text = text.replace("NoClientCert #", "RequireAndVerifyClientCert #").replace(
        "The bcrypt", "# The bcrypt"
    )
    path = web_file(certificates, text)
    assert problems_of(path) == []
    assert promtool_takes(path)


# --- who may listen beyond loopback ---------------------------------------------------------


OPEN = MINIMAL + "web: {listen_address: ':10022', config_file: web.yml}\n"


@pytest.mark.parametrize("text", [USERS, MUTUAL])
def test_with_passwords_or_client_certificates_the_web_may_be_open(
    certificates: Path, text: str
) -> None:
    web_file(certificates, text)
    assert loaded(certificates, OPEN).web.config_file == certificates / "web.yml"


@pytest.mark.parametrize("text", ["{}", TLS, MUTUAL.replace("RequireAndVerify", "") + "x"])
def test_with_less_than_that_it_may_not(certificates: Path, text: str) -> None:
    text = text.replace(": ClientCert", ": VerifyClientCertIfGiven").removesuffix("x")
    web_file(certificates, text)
    with pytest.raises(ConfigError, match=r":5: web\.listen_address: listens beyond loopback"):
        loaded(certificates, OPEN)


def test_the_problems_of_its_file_have_its_name(certificates: Path) -> None:
    web_file(certificates, "typo: 1")
    with pytest.raises(ConfigError) as caught:
        loaded(certificates, OPEN)
    (problem,) = caught.value.problems
    assert (problem.file, problem.key) == (f"{certificates}/web.yml", "typo")
    assert caught.value.exit_code == 78


def test_a_flag_names_the_file_and_beats_the_config(certificates: Path, tmp_path: Path) -> None:
    path = web_file(certificates, USERS)
    flags: Mapping[str, str | Path] = {"--web.config.file": path, "--web.listen-address": ":1"}
    assert load_config(written(tmp_path, MINIMAL), ENVIRON, flags).web.config_file == path


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "://127.0.0.1:10022"),
        ("monitor.example", "://monitor.example:10022"),
        ("::1", "://[::1]:10022"),
        ("", "://127.0.0.1:10022"),
    ],
)
def test_who_listens_has_a_url_from_this_machine(host: str, url: str) -> None:
    with_tls = Access(tls=ssl.create_default_context(ssl.Purpose.CLIENT_AUTH))
    assert Access().url_of(host, 10022) == f"http{url}"
    assert with_tls.url_of(host, 10022) == f"https{url}"
