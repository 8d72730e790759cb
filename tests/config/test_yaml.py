"""What a scalar, a key and an alias of the file are: YAML 1.2, and the text as it is written."""

import json
from pathlib import Path

import pytest

from monitor.config import ConfigError
from monitor.config.document import Document
from monitor.config.yaml import MAX_REPEATED, parse
from support.config_files import MINIMAL, loaded, problems_in


def parsed(text: str) -> Document:
    return parse(text.encode(), "file")


@pytest.mark.parametrize(
    "written",
    ["12:30", "0123", "6e12345", "1_000", "0x1f", "yes", "on", "2026-11-23", ".inf", "1e3", "true"],
)
def test_a_plain_scalar_is_the_text_as_it_is_written(written: str) -> None:
    assert parsed(f"key: {written}").value == {"key": written}


@pytest.mark.parametrize("written", ['"null"', "'~'", '""', "!!str null"])
def test_what_is_quoted_is_never_null(written: str) -> None:
    assert isinstance(parsed(f"key: {written}").value["key"], str)


@pytest.mark.parametrize("written", ["", "~", "null", "Null", "NULL"])
def test_what_is_plain_may_be_null(written: str) -> None:
    assert parsed(f"key: {written}").value == {"key": None}


@pytest.mark.parametrize("written", ["nUll", "none", "None", "nil", "0", "false", "undefined"])
def test_other_words_are_not_null(written: str) -> None:
    assert parsed(f"key: {written}").value == {"key": written}


@pytest.mark.parametrize("id_", ["12345", "0123", "6e12345", "1_000", "0x1f", "true", "no", "1e3"])
def test_an_id_stays_as_it_is_written(tmp_path: Path, id_: str) -> None:
    text = f"environments: [{{name: a, token: '${{TOKEN}}', campaigns: [{{id: {id_}}}]}}]"
    assert list(loaded(tmp_path, text).environments[0].resolved.targets) == [id_]


def test_a_label_value_stays_as_it_is_written(tmp_path: Path) -> None:
    text = (
        "environments: [{name: a, token: '${TOKEN}', campaigns: [{id: c}],"
        " labels: {tier: 1, from: 2026-01-01, share: 0.50, up: true, zip: 01234}}]"
    )
    assert loaded(tmp_path, text).environments[0].labels == {
        "tier": "1",
        "from": "2026-01-01",
        "share": "0.50",
        "up": "true",
        "zip": "01234",
    }


def test_a_key_stays_as_it_is_written() -> None:
    assert list(parsed("1: a\ntrue: b\nnull: c\n0x1: d\n12:30: e").value) == [
        "1", "true", "null", "0x1", "12:30",
    ]  # fmt: skip


def test_keys_do_not_expand() -> None:
    assert list(parsed("${X}: a").value) == ["${X}"]


def test_every_value_knows_its_line() -> None:
    document = parsed("a:\n  - b\n  - c: d\n\n    e: [f,\n      g]\n")
    assert document.line(("a",)) == 1
    assert document.line(("a", 0)) == 2
    assert document.line(("a", 1, "c")) == 3
    assert document.line(("a", 1, "e")) == 5
    assert document.line(("a", 1, "e", 1)) == 6


def test_what_is_not_there_has_the_line_of_what_is_around_it() -> None:
    assert parsed("a:\n  b: {}\n").line(("a", "b", "c", 0)) == 2
    assert parsed("\na: b").line(("x",)) == 2


def test_aliases_repeat_what_they_refer_to() -> None:
    assert parsed("a: &one {b: [c]}\nd: *one\n").value == {"a": {"b": ["c"]}, "d": {"b": ["c"]}}


def test_what_is_wrong_with_what_aliases_repeat_is_reported_once() -> None:
    document = parsed("a: &one {b: c, b: d, e: *one}\nf: [*one, *one]\n")
    assert [(problem.line, problem.key) for problem in document.problems] == [
        (1, "a.b"),
        (1, "a.e"),
    ]
    assert document.line(("f", 1, "b")) == 1


def test_an_anchor_is_known_even_where_its_place_is_wrong() -> None:
    document = parsed("a: !x {b: &one c}\nd: e\nd: &two f\ng: [*one, *two]\n")
    assert document.value["g"] == ["c", "f"]
    assert [problem.key for problem in document.problems] == ["a", "d"]


def test_what_repeats_is_no_part_of_what_it_repeats() -> None:
    document = parsed("log: &one {level: info}\nweb: *one\n")
    document.put("--log.level", "debug")
    assert document.value == {"log": {"level": "debug"}, "web": {"level": "info"}}


def test_an_anchor_may_be_given_again() -> None:
    assert parsed("a: &one x\nb: &one y\nc: *one\n").value == {"a": "x", "b": "y", "c": "y"}


def test_fault_34_aliases_may_repeat_a_lot_but_not_without_end() -> None:
    repeats = ", ".join(["*one"] * MAX_REPEATED)
    assert len(parsed(f"a: &one x\nb: [{repeats}]").value["b"]) == MAX_REPEATED
    with pytest.raises(ConfigError, match=r"aliases \(\*name\) repeat more than 10,000 values"):
        parsed(f"a: &one x\nb: [{repeats}, *one]")


def test_fault_34_aliases_may_not_nest_without_end() -> None:
    deep = "a0: &a0 x\n"
    for level in range(1, 20):
        deep += f"a{level}: &a{level} {'[' * 30}*a{level - 1}{']' * 30}\n"
    with pytest.raises(ConfigError, match="the file is nested more than 64 deep"):
        parsed(deep)


def test_a_tag_at_the_top_is_told_of(tmp_path: Path) -> None:
    assert problems_in(tmp_path, "!config\nlog: {}\n") == ["1: expected a value without a tag (!…)"]


def test_of_a_key_given_twice_the_first_one_counts() -> None:
    document = parsed("a: b\na: c\na: d\n")
    assert document.value == {"a": "b"}
    assert [(problem.line, problem.key) for problem in document.problems] == [(2, "a"), (3, "a")]


def test_a_problem_of_the_parser_is_told_once(tmp_path: Path) -> None:
    text = (
        "environments: [{name: '${A}', token: '${B}', campaigns: [{id: '${C}'}],"
        " labels: {t: !x y}}]"
    )
    found = [problem.split(": ")[1] for problem in problems_in(tmp_path, text)]
    assert sorted(found) == [
        "environments[0].campaigns[0].id",
        "environments[0].labels.t",
        "environments[0].name",
        "environments[0].token",
    ]


def test_fault_34_json_is_yaml_with_its_escapes_in_pairs_too() -> None:
    assert parsed(r'{"a": "Retail \ud83d\ude00", "b": "\u00e9"}').value == {
        "a": "Retail 😀",
        "b": "é",
    }


def test_fault_34_what_the_parser_of_such_escapes_dies_of_is_one_problem() -> None:
    with pytest.raises(ConfigError, match="not YAML: it cannot be read"):
        parsed(r'{"a": "\ud83d\ude00", "b": "\UFFFFFFFF"}')


@pytest.mark.parametrize("end", ["---\n", "---\n# the end\n", "...\n", "---\n---\n", "--- ~\n"])
def test_a_file_may_end_in_a_document_with_nothing_in_it(end: str) -> None:
    assert parsed(f"a: b\n{end}").value == {"a": "b"}
    assert parsed(f"---\n# begins\n---\na: b\n{end}").value == {"a": "b"}


@pytest.mark.parametrize(
    "text", ["a:\tb\n", "a: b\t\n", "a:\t{b: c}\n", "a: [b,\tc]\n", "a: b\t# c\n"]
)
def test_a_tab_may_stand_where_yaml_allows_it(text: str) -> None:
    assert "a" in parsed(text).value


@pytest.mark.parametrize("text", ["\ta: b\n", "a:\n\tb: c\n", "a:\n  - b\n\t- c\n"])
def test_a_tab_cannot_indent(text: str) -> None:
    with pytest.raises(ConfigError, match="a tab cannot indent"):
        parsed(text)


@pytest.mark.parametrize("opening", ["[", "{a: ", "[{a: ", "- "])
def test_fault_34_a_million_brackets_are_one_problem(opening: str) -> None:
    with pytest.raises(ConfigError, match=r"nested more than 64 deep|not YAML"):
        parsed(("a:\n  " if opening == "- " else "a: ") + opening * 1_000_000)


@pytest.mark.parametrize(
    ("text", "line"),
    [("a: 1\nb: [c,\nd\n", 2), ("a: 1\nb:\n  {c: [d],\n", 3), ("a: 1\nb: 'c\nd\n", 2)],
)
def test_what_does_not_end_is_reported_where_it_starts(text: str, line: int) -> None:
    with pytest.raises(ConfigError, match=f"file:{line}: not YAML: what starts here does not end"):
        parsed(text)


@pytest.mark.parametrize("blank", ["\xa0", "\u2003", "\u200b", "\u3000", "\u2028", "\x85"])
def test_a_blank_that_is_no_space_is_named_on_its_own_line(tmp_path: Path, blank: str) -> None:
    text = MINIMAL + f"polling:\n  interval:{blank}5m\n  timeout: 10s\n"
    found = problems_in(tmp_path, text)
    assert f"U+{ord(blank):04X}" in found[0]
    assert found[0].startswith("6: ")


def test_a_blank_that_is_no_space_is_text_like_any_other_in_a_value() -> None:
    assert parsed("a: b\xa0c\nd: 'e\xa0f'").value == {"a": "b\xa0c", "d": "e\xa0f"}


def test_a_blank_that_is_meant_is_not_blamed_for_a_mistake_beside_it(tmp_path: Path) -> None:
    text = "a: Bonjour\xa0! 👨\u200d👩 \n  b: c: d\n"
    assert problems_in(tmp_path, text) == ["2: not YAML: mapping values are not allowed here"]


def test_an_emoji_may_be_escaped_as_a_pair_in_a_file_of_any_size() -> None:
    pairs = {f"k{number}": "\U0001f600" for number in range(500)}
    assert parsed(json.dumps(pairs)).value == pairs


def test_a_directive_does_no_harm() -> None:
    assert parsed("%YAML 1.1\n---\na: yes\n").value == {"a": "yes"}


def test_fault_34_an_excerpt_of_the_file_is_never_part_of_a_message(tmp_path: Path) -> None:
    assert problems_in(tmp_path, "token: canary: canary\n") == [
        "1: not YAML: mapping values are not allowed here"
    ]


@pytest.mark.parametrize("text", ["-\n$", "-\n$\n\n", "a: b\r- c", "a:\n  b\n c: d"])
def test_fault_34_a_mistake_is_never_placed_behind_the_last_line(tmp_path: Path, text: str) -> None:
    (found,) = problems_in(tmp_path, text)
    assert 1 <= int(found.partition(":")[0]) <= len(text.rstrip().splitlines())
