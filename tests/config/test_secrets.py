"""Where tokens come from, what is refused, and that none is ever shown (faults 36, 37)."""

import os
import pprint
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from pydantic import SecretStr

from monitor.config import SecretError, TokenSource
from monitor.config.secrets import MAX_TOKEN_BYTES, is_read_only_memory

CANARY = "talq_canary"


def a_file(folder: Path, content: bytes, mode: int = 0o600) -> Path:
    path = folder / "token"
    path.write_bytes(content)
    path.chmod(mode)
    return path


def refusal(source: TokenSource) -> str:
    with pytest.raises(SecretError) as caught:
        source.read()
    assert "canary" not in str(caught.value)
    assert not caught.value.exposed
    assert caught.value.exit_code == 78
    return str(caught.value)


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n", b"\n\n"])
def test_fault_36_a_line_end_is_not_part_of_the_token(tmp_path: Path, end: bytes) -> None:
    assert TokenSource(a_file(tmp_path, CANARY.encode() + end)).read() == CANARY


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "is empty"),
        (b"\r\n", "is empty"),
        (b"talq_canary\ntalq_canary_2\n", "has more than one line"),
        (b"talq_canary\rtalq_canary_2", "has more than one line"),
        (b"\xef\xbb\xbftalq_canary\n", "starts with a byte order mark"),
        (b"talq_canary\0", "has blanks, control or non-ASCII characters"),
        (b"talq canary", "has blanks, control or non-ASCII characters"),
        (b" talq_canary", "has blanks, control or non-ASCII characters"),
        ("talq_cánary canary".encode(), "has blanks, control or non-ASCII characters"),
        ("talq_canary".encode("utf-16"), "has blanks, control or non-ASCII characters"),
        (b"canary" * 1000, "is longer than 4,096 bytes"),
    ],
)
def test_fault_36_what_is_no_token_is_refused_by_path_alone(
    tmp_path: Path, content: bytes, why: str
) -> None:
    path = a_file(tmp_path, content)
    assert refusal(TokenSource(path)).startswith(f"{path} {why}")


def test_a_token_may_fill_the_limit(tmp_path: Path) -> None:
    token = "x" * MAX_TOKEN_BYTES
    assert TokenSource(a_file(tmp_path, token.encode())).read() == token


def a_fifo(path: Path) -> None:
    os.mkfifo(path, 0o600)


def a_loop(path: Path) -> None:
    path.symlink_to(path)


def nothing(path: Path) -> None:
    pass


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (nothing, "cannot be read: No such file or directory"),
        (a_fifo, "is not a regular file"),
        (Path.mkdir, "is not a regular file"),
        (a_loop, "cannot be read: Too many levels of symbolic links"),
    ],
)
def test_fault_36_what_is_no_file_is_refused_without_waiting_for_it(
    tmp_path: Path, make: Callable[[Path], None], why: str
) -> None:
    path = tmp_path / "token"
    make(path)
    assert refusal(TokenSource(path)) == f"{path} {why}"


def test_fault_36_a_file_that_others_can_read_is_refused_with_an_exit_code_of_its_own(
    tmp_path: Path,
) -> None:
    path = a_file(tmp_path, CANARY.encode(), 0o644)
    with pytest.raises(SecretError, match="can be read by others") as caught:
        TokenSource(path).read()
    assert (caught.value.exposed, caught.value.exit_code) == (True, 77)
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o640, 0o660])
def test_a_group_may_share_a_token(tmp_path: Path, mode: int) -> None:
    assert TokenSource(a_file(tmp_path, CANARY.encode(), mode)).read() == CANARY


def test_fault_36_the_mode_that_counts_is_that_of_the_file_behind_a_link(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(a_file(tmp_path, CANARY.encode(), 0o644))
    with pytest.raises(SecretError, match="can be read by others"):
        TokenSource(link).read()


def mount_table(folder: Path, how: str = "ro,relatime", kind: str = "tmpfs") -> Path:
    """Write a table of mounts with another one and that of a folder, as the kernel has it."""
    device = folder.stat().st_dev
    table = folder / "mountinfo"
    table.write_text(
        "22 1 1234:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n"
        "not a line of this table\n"
        f"99 22 {os.major(device)}:{os.minor(device)} / /run/the\\040secrets {how} shared:9"
        f" - {kind} {kind} rw,size=64k\n"
    )
    return table


def kubernetes_secret(folder: Path) -> Path:
    """Return the path of a token as the kubelet puts it: world-readable, behind two links."""
    (folder / "..2026_11_23").mkdir(parents=True)
    a_file(folder / "..2026_11_23", CANARY.encode(), 0o644)
    (folder / "..data").symlink_to("..2026_11_23")
    (folder / "token").symlink_to("..data/token")
    return folder / "token"


def test_fault_36_a_kubernetes_secret_cannot_be_hidden_and_need_not_be(tmp_path: Path) -> None:
    path = kubernetes_secret(tmp_path / "secrets")
    assert TokenSource(path, mounts=mount_table(tmp_path)).read() == CANARY


def test_fault_36_a_systemd_credential_is_mounted_alike(tmp_path: Path) -> None:
    path = a_file(tmp_path, CANARY.encode(), 0o444)
    mounts = mount_table(tmp_path, "ro,nosuid,nodev,noexec,relatime", "ramfs")
    assert TokenSource(path, mounts=mounts).read() == CANARY


@pytest.mark.parametrize(("how", "kind"), [("rw,relatime", "tmpfs"), ("ro", "ext4")])
def test_fault_36_on_any_other_mount_it_has_to_be_hidden(
    tmp_path: Path, how: str, kind: str
) -> None:
    path = kubernetes_secret(tmp_path / "secrets")
    with pytest.raises(SecretError, match="can be read by others"):
        TokenSource(path, mounts=mount_table(tmp_path, how, kind)).read()


def test_without_a_table_of_mounts_a_token_has_to_be_hidden(tmp_path: Path) -> None:
    path = a_file(tmp_path, CANARY.encode(), 0o644)
    with pytest.raises(SecretError, match="can be read by others"):
        TokenSource(path, mounts=tmp_path / "nowhere").read()


def test_the_device_that_the_file_is_on_decides_and_is_mounted_read_only_everywhere() -> None:
    mounts = (
        "1 0 0:11 / / ro - tmpfs tmpfs ro\n"
        "2 1 0:2 / /run rw,nosuid - tmpfs tmpfs rw\n"
        "3 2 0:2 / /run/mirror ro,nosuid shared:7 master:1 - tmpfs tmpfs rw\n"
        "4 2 0:4 /a /run/secrets ro - tmpfs x ro\n"
        "5 2 0:4 /b /run/more ro,nosuid - tmpfs x ro\n"
        "6 2 0:6 / /boot ro - ext4 x ro\n"
    )
    found = [n for n in range(20) if is_read_only_memory(os.makedev(0, n), mounts)]
    assert found == [4, 11]


def test_fault_37_a_file_is_read_anew_each_time(tmp_path: Path) -> None:
    source = TokenSource(a_file(tmp_path, b"one"))
    assert source.read() == "one"
    a_file(tmp_path, b"two")
    assert source.read() == "two"


def in_a_variable(value: str) -> TokenSource:
    return TokenSource(variable="TOKEN", value=SecretStr(value))


def test_a_variable_gives_a_token() -> None:
    assert in_a_variable(CANARY).read() == CANARY


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("", "${TOKEN} is empty"),
        ("canary canary", "${TOKEN} has blanks, control or non-ASCII characters: no token has"),
        ("canary\ncanary", "${TOKEN} has more than one line"),
        ("canary\udcff", "${TOKEN} has blanks, control or non-ASCII characters: no token has"),
    ],
)
def test_fault_36_a_variable_is_held_to_the_same_rules(value: str, why: str) -> None:
    assert refusal(in_a_variable(value)) == why


def test_fault_38_a_source_never_shows_its_token() -> None:
    source = in_a_variable(CANARY)
    shown = [repr(source), str(source), pprint.pformat(source), str(asdict(source))]
    assert "canary" not in "".join(shown)


def test_two_sources_are_alike_when_they_give_the_same() -> None:
    source = in_a_variable(CANARY)
    assert source == in_a_variable(CANARY)
    assert source != in_a_variable("talq_other")
    assert source != replace(source, variable="OTHER")


# --- field case 8: what is found where a token should be --------------------------------------
#
# The kind: one secret, two ways, two sets of rules; a mistake that only the far end notices. So
# each is tried from a file and from a variable, and at each key that has a secret.


def from_a_file(folder: Path, value: str) -> TokenSource:
    return TokenSource(a_file(folder, value.encode()))


def from_a_variable(_folder: Path, value: str) -> TokenSource:
    return in_a_variable(value)


WAYS = pytest.mark.parametrize("way", [from_a_file, from_a_variable])
Way = Callable[[Path, str], TokenSource]


@WAYS
@pytest.mark.parametrize("end", ["", "\n", "\r\n", "\n\n", "\r"])
def test_fault_36_a_line_end_is_no_part_of_a_token_wherever_it_comes_from(
    tmp_path: Path, way: Way, end: str
) -> None:
    assert way(tmp_path, CANARY + end).read() == CANARY


@WAYS
@pytest.mark.parametrize(
    ("value", "why"),
    [
        ('"talq_canary"', "is in quotes"),
        ("'talq_canary'\n", "is in quotes"),
        ("TALKOVER_TOKEN=talq_canary", "is KEY=value"),
        ("export TALKOVER_TOKEN=talq_canary", "is KEY=value"),
        ("token=canary", "is KEY=value"),
        ("API_KEY='canary'", "is KEY=value"),
        ("Bearer talq_canary", "starts with Bearer"),
        ("bearer\ttalq_canary", "starts with Bearer"),
        ('{"token": "talq_canary"}', "is JSON"),
        ("{ 'token':'canary' }", "is JSON"),
        ("${TALKOVER_CANARY}", "is a placeholder"),
        ("talq_${canary}", "is a placeholder"),
        ("{{ .Values.canary }}", "is a placeholder"),
        ("<your canary>", "is a placeholder"),
        ("<secret>", "is a placeholder"),
        ("changeme", "is a placeholder"),
        ("REPLACE_ME", "is a placeholder"),
        ("your-canary-token", "is a placeholder"),
        ("vault:secret/data/canary#token", "is a reference"),
        ("op://canary/talkover/token", "is a reference"),
        ("ref+vault://canary/talkover", "is a reference"),
        ("file:///run/secrets/canary", "is a reference"),
        ("arn:aws:secretsmanager:eu:1:secret/canary", "is a reference"),
    ],
)
def test_fault_36_what_was_meant_to_become_a_token_is_named(
    tmp_path: Path, way: Way, value: str, why: str
) -> None:
    assert why in refusal(way(tmp_path, value))


@WAYS
@pytest.mark.parametrize(
    "value",
    [
        "talq_abc=", "YWJjZGVmZw==", "a=b", "aB3=x9", "x'y\"z'", "{abc", "<", "$abc", "a{b}c",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.s_c-r", "0f8fad5b-d9cb-469f-a165-70867728950e",
        "vault:hunter2", "me:p:ss", "pover://user@token", "mailto://me:pw@host?to=a@b&key=value",
        "json://host/path?+X-Token=abc", "slack://T/B/x/#channel", "Bearers", "your",
    ],
)  # fmt: skip
def test_what_may_be_a_secret_is_taken(tmp_path: Path, way: Way, value: str) -> None:
    assert way(tmp_path, value).read() == value
