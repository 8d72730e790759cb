"""What a reload did not change is the very same object as before, and so is seen at a glance."""

from pathlib import Path

from monitor.config import Config, targets
from monitor.core.discovery import TargetSet
from support.config_files import MINIMAL, loaded

TWO = MINIMAL + "  - {name: staging, token: '${OTHER}', campaigns: [{id: s-1}]}\n"


def kept(before: Config, after: Config) -> list[str]:
    """Return the environments of `before` that `after` has, too."""
    shared = after.sharing_with(before)
    assert shared == after
    return [
        each.name for each in shared.environments if any(each is e for e in before.environments)
    ]


def test_environments_that_are_equal_are_shared(tmp_path: Path) -> None:
    before, after = loaded(tmp_path, TWO), loaded(tmp_path, TWO)
    assert kept(before, after) == ["production", "staging"]


def test_an_environment_in_which_anything_changed_is_not(tmp_path: Path) -> None:
    before, after = loaded(tmp_path, TWO), loaded(tmp_path, TWO.replace("s-1", "s-2"))
    assert kept(before, after) == ["production"]


def test_one_in_which_a_default_is_written_out_is_not(tmp_path: Path) -> None:
    # It beats the global settings now, which are the same before and after.
    common = "rules: {stale_test: {max_age: 10d}}\n"
    written_out = (TWO + common).replace(
        "'${OTHER}'", "'${OTHER}', rules: {stale_test: {max_age: 30d}}"
    )
    before, after = loaded(tmp_path, TWO + common), loaded(tmp_path, written_out)
    assert kept(before, after) == ["production"]


def test_one_whose_override_has_a_default_written_out_is_not(tmp_path: Path) -> None:
    override = "overrides: [{match: {name: later}, rules: {stale_test: {%s: %s}}}]"
    texts = [
        TWO.replace("'${OTHER}'", f"'${{OTHER}}', {override % one}")
        for one in (("max_age", "30d"), ("for", "0"))
    ]
    before, after = (loaded(tmp_path, text) for text in texts)
    assert kept(before, after) == ["production"]


def test_none_is_where_the_global_rules_changed(tmp_path: Path) -> None:
    changed = TWO + "rules: {stale_test: {max_age: 10d}}\n"
    assert kept(loaded(tmp_path, TWO), loaded(tmp_path, changed)) == []


def test_campaigns_that_say_the_same_share_what_that_comes_to(tmp_path: Path) -> None:
    plain = "labels: {team: retail}"
    campaigns = (
        f"[{{id: a, name: A, {plain}}}, {{id: b, {plain}, rules: }}, {{id: c, {plain}, "
        "rules: {stale_test: {max_age: 9d}}}, {id: d, labels: {team: sales}}]"
    )
    text = MINIMAL.replace("[{id: c-1}]", campaigns)
    a, b, c, d = loaded(tmp_path, text).environments[0].resolved.targets.values()
    assert a.labels is b.labels is c.labels
    assert a.rules is d.rules
    assert a.tests is d.tests
    assert b.rules == a.rules != c.rules
    assert a.labels != d.labels


def test_one_that_is_new_is_not(tmp_path: Path) -> None:
    assert kept(loaded(tmp_path, MINIMAL), loaded(tmp_path, TWO)) == ["production"]


def test_campaigns_of_the_same_settings_have_the_same_rules_tests_and_labels_at_each_listing(
    tmp_path: Path,
) -> None:
    text = TWO.replace("{id: s-1}", "{id: s-1, labels: {a: b}}, {id: s-2, labels: {a: b}}")
    (*_, staging) = loaded(tmp_path, text).environments
    first, second = [[*targets(staging, TargetSet()).values()] for _ in range(2)]
    for one in (*first, *second):
        for part in ("rules", "tests", "labels"):
            assert getattr(one, part) is getattr(first[0], part)
