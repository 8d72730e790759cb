"""Figures of `freshness` and `performance` as pictures: the only place that needs matplotlib."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import floor, log10
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from benchmarks.record import Comparison, Delays

WAYS = ("ours", "equal", "minutely")
COLOURS = ("#1b7f5c", "#c8761b", "#8a8f98")
APART = 0.22
LINES = (*COLOURS, "#3c6fb0", "#a04a8a")


def draw(results: Sequence[Comparison], path: Path) -> None:
    """Draw time to alert at every setting: the mean as a dot, with a line to the 99th percentile.

    The axis is logarithmic, where a bar would have no honest length.
    """
    figure = _figure("freshness", (10, 6.5))
    axes = figure.subplots(2, 1, sharex=True, sharey=True)
    for axis, rule in zip(axes, ("failed", "stale"), strict=True):
        _panel(axis, results, rule)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper right", ncols=3)
    names = [f"{r.setting.campaigns}\nat {r.setting.per_minute}/min" for r in results]
    axes[1].set_xticks(range(len(results)), names)
    axes[1].set_xlabel("campaigns, and the budget in requests a minute")
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)


def _panel(axis: Axes, results: Sequence[Comparison], rule: str) -> None:
    for number, (way, colour) in enumerate(zip(WAYS, COLOURS, strict=True)):
        found: list[Delays] = [getattr(getattr(result, way), rule) for result in results]
        means = [part.mean for part in found]
        places = [place + (number - 1) * APART for place in range(len(results))]
        axis.plot(places, means, "o", color=colour, label=getattr(results[0], way).policy)
        axis.vlines(places, means, [part.p99 for part in found], color=colour)
    axis.set_yscale("log")
    axis.yaxis.set_major_formatter("{x:g}")
    axis.set_ylabel("seconds, mean to p99")
    axis.set_title(f"A {rule} test: from the truth to the alert", loc="left", fontsize=10)
    axis.grid(axis="y", alpha=0.3)
    axis.spines[["top", "right"]].set_visible(False)


Series: TypeAlias = Mapping[int, Sequence[float]]
"""What was measured at each number of campaigns, several times or once."""


class Panel(NamedTuple):
    """One picture of growth: its title, the unit of its axis, and its lines by name."""

    title: str
    unit: str
    lines: Mapping[str, Series]


def draw_growth(panels: Sequence[Panel], path: Path) -> None:
    """Draw each panel by the number of campaigns: medians, from least to most; both axes by ten."""
    figure = _small("growth", (11, 6.2))
    for axis, panel in zip(figure.subplots(2, 3, sharex=True).flat, panels, strict=True):
        for (name, series), colour in zip(panel.lines.items(), LINES, strict=False):
            middle = [median(values) for values in series.values()]
            axis.plot(list(series), middle, "o-", ms=4, lw=1.4, color=colour, label=name)
            low, high = ([pick(values) for values in series.values()] for pick in (min, max))
            axis.vlines(list(series), low, high, color=colour)
        axis.set(xscale="log", yscale="log", ylim=_decades(panel))
        # Between the decades there is nothing to read, and it is most of the file.
        axis.minorticks_off()
        axis.xaxis.set_major_formatter("{x:,.0f}")
        axis.yaxis.set_major_formatter("{x:g}")
        axis.set_title(f"{panel.title}, {panel.unit}", loc="left", fontsize=10)
        axis.grid(alpha=0.3)
        axis.spines[["top", "right"]].set_visible(False)
        axis.legend(fontsize=8, frameon=False, loc="upper left")
    figure.supxlabel("campaigns", fontsize=10)
    _save(figure, path)


def draw_polls(
    compared: Mapping[str, tuple[Sequence[float], Sequence[float], str]], path: Path
) -> None:
    """Draw a pair of bars for each way of polling: microseconds of ours, of theirs, and who."""
    figure = _small("polls", (8, 0.9 * len(compared) + 1))
    axis = figure.subplots()
    for place, (ours, theirs, who) in enumerate(compared.values()):
        for offset, values, label, colour in (
            (-0.2, ours, "the monitor", COLOURS[0]),
            (0.2, theirs, who, COLOURS[2]),
        ):
            axis.barh(place + offset, median(values), 0.36, color=colour)
            axis.hlines(place + offset, min(values), max(values), color="black", lw=1)
            axis.annotate(
                f"{median(values):,.0f} {label}",
                (max(values), place + offset),
                (5, 0),
                textcoords="offset points",
                va="center",
                fontsize=9,
            )
    axis.set_yticks(range(len(compared)), list(compared))
    axis.invert_yaxis()
    axis.set_xlabel("CPU of a poll, µs: median, from least to most")
    axis.set_xlim(right=1.35 * axis.get_xlim()[1])
    axis.spines[["top", "right"]].set_visible(False)
    _save(figure, path)


def _decades(panel: Panel) -> tuple[float, float]:
    """Return the powers of ten around all that a panel shows, with room for its legend."""
    shown = [one for series in panel.lines.values() for values in series.values() for one in values]
    return 10 ** floor(log10(min(shown))), 10 ** (floor(log10(max(shown))) + 1.5)


def _small(name: str, size: tuple[float, float]) -> Figure:
    # Text as text: as outlines it is most of the file.
    return _figure(name, size, fonts="none")


def _figure(name: str, size: tuple[float, float], fonts: str = "path") -> Figure:
    # Only who draws waits for it: it is a second of each run of the tests.
    import matplotlib as mpl  # noqa: PLC0415
    from matplotlib.figure import Figure  # noqa: PLC0415

    # The same figures give the same file.
    mpl.rcParams.update({"svg.hashsalt": name, "svg.fonttype": fonts})
    return Figure(figsize=size, layout="constrained")


def _save(figure: Figure, path: Path) -> None:
    figure.patch.set_facecolor("white")
    figure.savefig(path, metadata={"Date": None})
    # A line that ends in a space is a fault to git.
    lines = path.read_text(encoding="utf-8").splitlines()
    path.write_text("".join(f"{line.rstrip()}\n" for line in lines), encoding="utf-8")
