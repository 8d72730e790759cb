"""A problem says where it is; an error says what it means for the one who started the program."""

import pytest

from monitor.config import ConfigError, Problem
from monitor.config.document import Document, key_path


def test_a_problem_reads_like_a_message_of_a_compiler() -> None:
    assert str(Problem("a.yaml", 7, "polling.interval", "expected")) == (
        "a.yaml:7: polling.interval: expected"
    )


@pytest.mark.parametrize(
    ("line", "key", "text"),
    [
        (None, "", "a.yaml: expected"),
        (7, "", "a.yaml:7: expected"),
        (None, "log", "a.yaml: log: expected"),
    ],
)
def test_what_is_not_known_of_a_place_is_left_out(line: int | None, key: str, text: str) -> None:
    assert str(Problem("a.yaml", line, key, "expected")) == text


@pytest.mark.parametrize(
    ("place", "path"),
    [
        ((), ""),
        (("log",), "log"),
        (("polling", "interval"), "polling.interval"),
        (("environments", 0, "campaigns", 12, "id"), "environments[0].campaigns[12].id"),
        (("environments", 0), "environments[0]"),
    ],
)
def test_a_place_is_written_as_people_would(place: tuple[str | int, ...], path: str) -> None:
    assert key_path(place) == path


def test_what_looks_like_a_token_is_taken_out_of_a_problem() -> None:
    document = Document("a.yaml")
    document.report(("talq_canary",), "Bearer canary is not talq_canary", 1)
    assert str(document.problems[0]) == "a.yaml:1: <secret>: <secret> is not <secret>"


def test_what_a_terminal_would_obey_is_taken_out_of_a_key() -> None:
    document = Document("a.yaml")
    document.report(("a\x1b[31m\n\u202eb",), "x")
    assert document.problems[0].key == "a [31m b"


def test_problems_are_in_the_order_of_the_file() -> None:
    first, second = Problem("a", 1, "b", "x"), Problem("a", 2, "a", "x")
    whole, also_first = Problem("a", None, "", "x"), Problem("a", 1, "a", "x")
    error = ConfigError([second, first, also_first, whole])
    assert error.problems == (whole, first, also_first, second)


EXPOSED = Problem("a", 1, "token_file", "can be read by others", exposed_secret=True)
OTHER = Problem("a", 2, "log", "x")


@pytest.mark.parametrize(
    ("problems", "code"),
    [([EXPOSED], 77), ([EXPOSED, EXPOSED], 77), ([EXPOSED, OTHER], 78), ([OTHER], 78), ([], 78)],
)
def test_the_exit_code_is_77_when_readable_secrets_are_all_that_is_wrong(
    problems: list[Problem], code: int
) -> None:
    assert ConfigError(problems).exit_code == code
