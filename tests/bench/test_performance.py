"""`make bench`: each experiment runs, and docs/performance.md hides nothing of what it saw."""

from dataclasses import replace
from pathlib import Path

import pytest

from performance.__main__ import DOCS, SAMPLES, kept, main, measure, renewed
from performance.experiments import EXPERIMENTS
from performance.figures import FIGURES
from performance.page import BY_HAND, PAGE, Run, missed, page, table, values_of, write
from performance.scale import FULL, QUICK
from support.peers import require_peer

RUN = kept(DOCS / SAMPLES)
NAMED = list(FIGURES.values())


def row(run: Run, name: str) -> str:
    """Return the row of a figure."""
    return list(table(run, FULL))[2 + list(FIGURES).index(name)]


@pytest.mark.slow(seconds=10)
@pytest.mark.parametrize("name", EXPERIMENTS)
def test_an_experiment_yields_every_figure_that_is_declared_of_it(name: str) -> None:
    for peer in EXPERIMENTS[name].needs:
        require_peer(peer)
    run = measure([name], QUICK)
    assert run.left_out == {}
    declared = [figure for figure in NAMED if figure.experiment == name]
    found = [values_of(figure, run, QUICK) for figure in declared]
    assert all(values and min(values) > 0 for values in found), run.samples


def test_each_figure_is_of_an_experiment_and_each_experiment_has_one() -> None:
    assert {figure.experiment for figure in NAMED} == EXPERIMENTS.keys()


def test_the_page_says_what_was_measured_and_nothing_else() -> None:
    text = (DOCS / PAGE).read_text(encoding="utf-8")
    assert text == page(RUN, FULL, text.partition(f"{BY_HAND}\n")[2])


def test_a_figure_that_the_published_run_lacks_is_of_a_part_that_says_why() -> None:
    lacking = {one.experiment for one in NAMED if not values_of(one, RUN, FULL)}
    assert lacking <= RUN.left_out.keys()


def test_a_figure_over_its_target_is_written_down_as_missed_with_the_reason() -> None:
    slow = RUN._replace(samples={**RUN.samples, "version": [0.3, 0.2, 0.4]})
    assert "| **missed:** 0.3 s (0.2 to 0.4) | ≤ 0.1 s |" in row(slow, "version")
    reason = f"- `version`: 0.3 s (0.2 to 0.4) for ≤ 0.1 s; {FIGURES['version'].missed}"
    assert reason in page(slow, FULL, "")


def test_a_figure_within_its_target_is_not_missed_and_one_that_is_rounded_to_it_neither() -> None:
    version = FIGURES["version"]
    assert not missed(version, [0.1004], FULL)
    assert missed(version, [0.1006], FULL)
    assert not missed(version, [9.0], QUICK), "so little is not judged"


def test_what_was_not_measured_says_so_and_why() -> None:
    samples = {name: values for name, values in RUN.samples.items() if "paced" not in name}
    run = Run(RUN.about, samples, {"paced": "nginx is not installed"})
    assert "| not measured | ≤ 0.6 × |" in row(run, "paced")
    assert "`paced` was not measured to its end: nginx is not installed." in page(run, FULL, "")


def test_a_part_without_its_peers_is_left_out_and_never_guessed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main(["--quick", "--only", "polls"]) == 1
    said = capsys.readouterr().out
    assert "blackbox_exporter is not installed" in said
    assert said.count("not measured |") == 2


@pytest.mark.slow(seconds=2)
def test_what_is_written_by_hand_stays_and_the_same_run_gives_the_same_files(
    tmp_path: Path,
) -> None:
    (tmp_path / PAGE).write_text(f"figures of before\n{BY_HAND}\n\nkept\n", encoding="utf-8")
    write(tmp_path, RUN, FULL)
    first = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    write(tmp_path, RUN, FULL)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == first
    assert first[PAGE].endswith(f"{BY_HAND}\n\nkept\n".encode())
    assert b"figures of before" not in first[PAGE]
    assert first.keys() == {PAGE, "performance-growth.svg", "performance-polls.svg"}


def test_a_part_that_is_measured_again_replaces_what_was_missing_and_says_so() -> None:
    whole = Run({**RUN.about, "date": "2026-11-26"}, {"version": [1.0]}, {"paced": "too busy"})
    measured = {"paced-poll": [2.0], "paced-probe": [4.0]}
    later = Run({**RUN.about, "date": "2026-11-27"}, measured, {})
    run = renewed(whole, later, "paced")
    assert run.samples == {"version": [1.0], **measured}
    assert run.left_out == {}
    assert run.about["date"] == "2026-11-26"
    assert "| `paced` again | 2026-11-27, " in page(run, FULL, "")


def test_a_sample_of_another_window_would_show_in_a_ratio() -> None:
    figure = replace(FIGURES["poll-http"], at_most=1.0)
    run = RUN._replace(samples={"poll-http": [2.0, 3.0], "probe-http": [1.0, 2.0]})
    assert figure.values(run.samples, FULL) == [2.0, 1.5]
