"""A new key is declared once: here it is this one, and reading, checking and showing follow."""

from pathlib import Path

from monitor.config import ConfigError
from monitor.config import types as t
from monitor.config.keys import Layer, Section, key
from monitor.config.yaml import parse


class Proxy(Section):
    """How the API is reached."""

    timeout: t.PositiveDuration = key("10s", "a whole request")
    credentials: t.FilePath | None = key(None, "beside the config file")


def read(text: str) -> tuple[Proxy | None, list[str]]:
    try:
        return parse(text.encode(), "/etc/f", {"SECONDS": "30s"}).read_as(Proxy), []
    except ConfigError as error:
        return None, [str(problem) for problem in error.problems]


def test_it_is_read_by_its_type() -> None:
    found, problems = read("timeout: ${SECONDS}\ncredentials: proxy\n")
    assert problems == []
    assert found is not None
    assert (found.timeout, found.credentials) == (30.0, Path("/etc/proxy"))


def test_its_default_is_that_of_the_declaration() -> None:
    assert read("credentials:\n") == (Proxy.model_validate({}), [])


def test_a_mistake_is_reported_with_its_place() -> None:
    assert read("timeout: 5\ncredential: x\n")[1] == [
        "/etc/f:1: timeout: expected a duration with a unit: write 30s, 5m, 1h30m or 7d, found '5'",
        "/etc/f:2: credential: unknown key; did you mean credentials?",
    ]


class Retries(Layer):
    """How a campaign's requests are tried again."""

    most: t.Count = key(3, "so many times")
    pause: t.PositiveDuration = key("1s", "between two of them")


def test_a_section_that_merges_field_by_field_is_declared_once_as_well() -> None:
    said: tuple[dict[str, object], ...] = ({"most": 5, "pause": "2s"}, {"most": 3}, {})
    merged = Retries().under(*map(Retries.model_validate, said))
    assert (merged.most, merged.pause) == (3, 2.0)
    assert Retries.model_validate({"most": 3}) != Retries.model_validate({})


def test_it_is_shown_as_the_file_has_it_and_editors_get_its_help() -> None:
    found, _ = read("timeout: 90s\n")
    assert found is not None
    assert found.model_dump(exclude_none=True) == {"timeout": "1m30s"}
    about = Proxy.model_json_schema()["properties"]["timeout"]
    assert (about["default"], about["description"]) == ("10s", "a whole request")
