"""Regular expressions on names: none takes long, none means something else than it looks like."""

import re
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.config import notes, targets
from monitor.config.formats import ascii_only, expression, matches
from monitor.core.discovery import TargetSet
from monitor.core.model import ListedCampaign
from support.config_files import an_environment, loaded

LONG = "Retail_leads_germany_autumn_2026_reactivation_v2 (copy)!"


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        (r"(\w+[ _-]?)+", LONG),
        ("(a+)+b", "a" * 100_000 + "!"),
        (r"(\w+\s?)*!", LONG.replace("!", "?")),
        ("(a|a)*b", "a" * 100_000),
        ("(.*.*.*)*x", "y" * 10_000),
    ],
)
def test_field_case_7_no_pattern_takes_long_on_any_name(pattern: str, name: str) -> None:
    assert not matches((expression(pattern),), name)


def test_field_case_7_a_listing_is_matched_with_patterns_that_would_backtrack_for_ever(
    tmp_path: Path,
) -> None:
    text = an_environment(
        r"discovery: {enabled: true, include: ['(\w+[ _-]?)+', '.* .*'], exclude: ['(a+)+b']}",
        r"overrides: [{match: {name: '(\w+\s?)*!'}, labels: {team: a}}]",
    )
    names = [LONG, "a" * 5000 + "!", "Retail leads", "aab"]
    listed = {
        f"l-{n}": ListedCampaign(f"l-{n}", name, "active", "") for n, name in enumerate(names)
    }
    found = targets(loaded(tmp_path, text).environments[0], TargetSet(campaigns=listed))
    assert list(found) == ["c-1", "l-0", "l-2"]


def test_the_library_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    for pattern in ("(", "(?=a)", "a{1001}", "((a{100}){100}){100}"):
        with pytest.raises(ValueError, match="expected a regular expression"):
            expression(pattern)
    assert capfd.readouterr() == ("", "")


def test_no_message_repeats_what_a_variable_holds(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected") as caught:
        expression("canary(?=canary)canary\\Z")
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize(
    "pattern", ["a{,3}", "a{,}", "x(a{,3})", "a{1001}", "a{99999}", "a{5000,}", "a{2,1001}"]
)
def test_a_count_that_would_be_text_or_is_too_high_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match="expected a regular expression"):
        expression(pattern)


@pytest.mark.parametrize("pattern", [r"a\{,3\}", "a{0,3}", "a{1000}", "a{}", "a{x}", "[{]3}"])
def test_braces_that_are_no_such_count_are_fine(pattern: str) -> None:
    assert expression(pattern) == pattern


@pytest.mark.parametrize(
    ("pattern", "classes"),
    [
        ("Retail .*", ""),
        (r"\w+", r"\w"),
        (r"\w+\d\w", r"\w, \d"),
        (r"\\w", ""),
        (r"\\\b", r"\b"),
        (r"[\s\S]", r"\s, \S"),
        (r"\pL\.", ""),
    ],
)
def test_classes_that_know_ascii_alone_are_found(pattern: str, classes: str) -> None:
    assert ascii_only(pattern) == classes


def test_config_check_says_where_a_class_knows_ascii_alone(tmp_path: Path) -> None:
    text = an_environment(
        r"discovery: {enabled: true, include: [Retail, '\w+'], exclude: ['x\b']}",
        r"overrides: [{match: {name: '\d.*'}, labels: {a: b}}, {match: {campaign_type: sales}}]",
    )
    assert notes(loaded(tmp_path, text)) == [
        r"environments[0].discovery.include[1]: note: \w matches ASCII alone; \pL is any letter",
        r"environments[0].discovery.exclude[0]: note: \b matches ASCII alone; \pL is any letter",
        r"environments[0].overrides[0].match.name: note: \d matches ASCII alone; \pL is any letter",
    ]


@pytest.mark.filterwarnings("ignore:Possible:FutureWarning")  # [[ in the other engine
@given(st.text(alphabet="ab.*+?|()[]^$-", max_size=12), st.text(alphabet="ab.-", max_size=12))
def test_what_both_engines_take_means_the_same(pattern: str, name: str) -> None:
    try:
        expression(pattern)
        compiled = re.compile(pattern)
    except (ValueError, re.error):
        return
    assert matches((pattern,), name) == (compiled.fullmatch(name) is not None)


# What makes an engine that backtracks stand for ever: nested repetitions of what overlaps.
_atoms = st.sampled_from(
    ["a", "b", "\\w", "\\pL", ".", "[ab]", "(a|ab)", "(a|a)", "\\s?", "[ _-]?", "é", "$", "^"]
)
_evil = st.recursive(
    _atoms,
    lambda inner: st.one_of(
        st.builds(
            "({}){}".format, inner, st.sampled_from(["+", "*", "?", "{2,9}", "+?", "{0,99}"])
        ),
        st.builds("{}{}".format, inner, inner),
        st.builds("({}|{})".format, inner, inner),
    ),
    max_leaves=12,
)
_names = st.text(st.sampled_from("ab _-é!"), min_size=256, max_size=256) | st.builds(
    lambda part, end: (part * 256)[:255] + end,
    st.text("ab _é", min_size=1, max_size=4),
    st.text("!b", min_size=1, max_size=1),
)


@given(_evil, st.sampled_from(["", "!", "$", "b"]), _names)
def test_fault_44_whatever_is_accepted_ends_soon_on_any_name(
    pattern: str, end: str, name: str
) -> None:
    """The loop, and so `/-/healthy` and SIGTERM, waits for one name as long as for one poll."""
    try:
        expression(pattern + end)
    except ValueError:
        return
    began = time.process_time()
    matches((pattern + end,), name)
    assert time.process_time() - began < 0.5
