"""The figures of `freshness` as a picture: the only place that needs matplotlib."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib as mpl
from matplotlib.figure import Figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from benchmarks.record import Comparison, Delays

WAYS = ("ours", "equal", "minutely")
COLOURS = ("#1b7f5c", "#c8761b", "#8a8f98")
APART = 0.22


def draw(results: Sequence[Comparison], path: Path) -> None:
    """Draw time to alert at every setting: the mean as a dot, with a line to the 99th percentile.

    The axis is logarithmic, where a bar would have no honest length.
    """
    mpl.rcParams["svg.hashsalt"] = "freshness"  # the same figures give the same file
    figure = Figure(figsize=(10, 6.5), layout="constrained")
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
