"""docs/performance.md: the figures of one run, its plots, and what is kept by hand."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import NamedTuple

from benchmarks.plot import Panel, Series, draw_growth, draw_polls
from performance.figures import FIGURES, MILLI, Figure, Samples, percentile
from performance.scale import Scale

PAGE, GROWTH, POLLS = "performance.md", "performance-growth.svg", "performance-polls.svg"

BY_HAND = "<!-- From here on it is kept by hand. -->"

HEAD = """# Performance

<!-- Written by `make bench` from docs/performance.json; what is kept by hand, below, stays. -->

What the monitor costs, beside what one would pick instead. `make bench` measures all of it in one
run, and writes this page; with `ARGS="--only NAME"` it measures a part and prints it. nginx is the
API, for the monitor and for blackbox_exporter alike; what is compared runs in turns, or at the same
time. CPU is that of all threads of the measured processes, by the kernel's clock of the process,
and not of the load. A figure is a median, with the least and the most of its windows behind it.
"""

COMPARED = {
    "saturated, HTTP": ("poll-http", "probe-http", "blackbox_exporter"),
    "saturated, TLS": ("poll-tls", "probe-tls", "blackbox_exporter"),
    "100/s, TLS": ("paced-poll", "paced-probe", "Prometheus and blackbox_exporter"),
}
"""What is side by side: sample of ours, of theirs, and who they are."""

COMMANDS = {
    "version": "the monitor, `--version`",
    "rules": "the monitor, `rules`",
    "config-check": "the monitor, `config check`",
    "blackbox_exporter-version": "blackbox_exporter, `--version`",
    "prometheus-version": "Prometheus, `--version`",
}
"""The samples of commands, ours and others'."""

GROWING: Mapping[str, tuple[str, float, Mapping[str, str]]] = {
    "start": ("CPU, s", 1.0, {"start": "start"}),
    "reload": (
        "CPU, s",
        1.0,
        {"reload": "reload, unchanged file", "relabel": "reload, another label each"},
    ),
    "memory": ("MiB", 2**-20, {"memory": "resident memory"}),
    "scrape": (
        "CPU, s",
        1.0,
        {"metrics-first": "the first scrape", "metrics": "scrape, unchanged"},
    ),
    "list of all campaigns": ("CPU, s", 1.0, {"list": "list of all campaigns"}),
    "longest stall of the loop": (
        "ms",
        MILLI,
        {
            "stall-start": "start",
            "stall-relabel": "reload, another label each",
            "stall-metrics-first": "the first scrape",
            "stall-list": "list of all campaigns",
            "stall-polls": "two seconds of polls",
        },
    ),
}
"""Each panel of the plot of growth: the unit, its factor, and the samples with their names."""

STEPS = ("start", "reload", "relabel", "metrics-first", "metrics", "list", "polls")
"""The steps of which the longest stall is known."""


class Run(NamedTuple):
    """What a run has brought: where and when, the samples, and what was not measured and why."""

    about: Mapping[str, str]
    samples: Samples
    left_out: Mapping[str, str]


def spread(values: Sequence[float], unit: str = "") -> str:
    """Return the median, and the least and the most where there are several."""
    middle = f"{number(median(values))}{unit and ' ' + unit}"
    if len(values) == 1:
        return middle
    return f"{middle} ({number(min(values))} to {number(max(values))})"


def number(value: float) -> str:
    """Return three digits of a number, as people write it."""
    return f"{value:,.0f}" if value >= 100 else f"{float(f'{value:.3g}'):g}"


def values_of(figure: Figure, run: Run, scale: Scale) -> list[float]:
    """Return the values of a figure; none where it was not measured."""
    try:
        return figure.values(run.samples, scale)
    except KeyError:
        return []


def missed(figure: Figure, values: Sequence[float], scale: Scale) -> bool:
    """Whether a figure that was measured is over its target, rounded as it is shown."""
    return scale.judged and bool(values) and float(f"{median(values):.3g}") > figure.at_most


def table(run: Run, scale: Scale, only: Collection[str] = ()) -> Iterator[str]:
    """Yield the lines of the table of all figures, or of those of some experiments."""
    yield "| figure | measured | target | before | command |"
    yield "|---|---|---|---|---|"
    for figure in FIGURES.values():
        if only and figure.experiment not in only:
            continue
        values = values_of(figure, run, scale)
        found = spread(values, figure.unit) if values else "not measured"
        if missed(figure, values, scale):
            found = f"**missed:** {found}"
        target = f"≤ {number(figure.at_most)} {figure.unit}"
        command = f'`make bench ARGS="--only {figure.experiment}"`'
        yield f"| {figure.what} | {found} | {target} | {figure.before} | {command} |"


def page(run: Run, scale: Scale, by_hand: str) -> str:
    """Return the page with the figures of a run, and with what is kept by hand."""
    parts = [HEAD]
    if not scale.judged:
        parts += ["**So little was measured that it shows only that it runs.**", ""]
    parts += [*_about(run), "", "## Figures", "", *table(run, scale), ""]
    parts += [
        f"`{part}` was not measured to its end: {why}.\n" for part, why in run.left_out.items()
    ]
    parts += _missed(run, scale)
    parts += ["## How each is measured", "", *_hows(), ""]
    for section in (_polls, _commands, _growth, _stalls):
        parts += section(run, scale)
    return "\n".join(parts) + f"{BY_HAND}\n{by_hand}"


def _about(run: Run) -> Iterator[str]:
    yield "| measured on | |"
    yield "|---|---|"
    yield from (f"| {name} | {value} |" for name, value in run.about.items())


def _missed(run: Run, scale: Scale) -> list[str]:
    rows = [
        f"- `{name}`: {spread(values, figure.unit)} for ≤ {number(figure.at_most)} {figure.unit};"
        f" {figure.missed}."
        for name, figure in FIGURES.items()
        if missed(figure, values := values_of(figure, run, scale), scale)
    ]
    return ["## Targets that are missed", "", *rows, ""] if rows else []


def _hows() -> Iterator[str]:
    named: dict[str, list[str]] = {}
    for name, figure in FIGURES.items():
        named.setdefault(figure.how, []).append(f"`{name}`")
    return (f"- {', '.join(names)}: {how}." for how, names in named.items())


def _polls(run: Run, scale: Scale) -> list[str]:
    rows = [
        f"| {name} | {_micro(run.samples[ours])} | {_micro(run.samples[theirs])} | {who} |"
        for name, (ours, theirs, who) in COMPARED.items()
        if ours in run.samples
    ]
    if not rows:
        return []
    head = ["| CPU of a poll | the monitor | beside it | which is |", "|---|---|---|---|"]
    plot = f"![CPU of a poll, beside others]({POLLS})"
    lines = ["## A poll", "", *head, *rows, "", plot, ""]
    if "memory-ours" in run.samples:
        ours, theirs = (
            spread([one * 2**-20 for one in run.samples[f"memory-{who}"]], "MiB")
            for who in ("ours", "theirs")
        )
        both = "Prometheus and blackbox_exporter together"
        lines += [
            f"Resident memory then, with {scale.paced:,} campaigns: {ours}; {both}: {theirs}.",
            "",
        ]
    return lines


def _commands(run: Run, scale: Scale) -> list[str]:
    rows = [
        f"| {command} | {spread(run.samples[name], 's')} |"
        for name, command in COMMANDS.items()
        if name in run.samples
    ]
    return ["## Commands", "", "| command | CPU |", "|---|---|", *rows, ""] if rows else []


def _micro(values: Sequence[float]) -> str:
    return spread([one * 1e6 for one in values], "µs")


def _growth(run: Run, scale: Scale) -> list[str]:
    done = [size for size in scale.sizes if f"memory@{size}" in run.samples]
    if not done:
        return []
    lines = ["## Growth", "", f"![Cost by the number of campaigns]({GROWTH})", ""]
    lines += _by_size("cost", done)
    for unit, factor, names in [*GROWING.values()][:-1]:
        for name, label in names.items():
            cells = (spread([one * factor for one in run.samples[f"{name}@{n}"]]) for n in done)
            lines.append(f"| {label} ({unit}) | {' | '.join(cells)} |")
    events = run.samples.get("event", ())
    if events:
        parts = ", ".join(
            f"{name} {number(percentile(events, part) * MILLI)} ms"
            for name, part in {"median": 0.5, "p90": 0.9, "p99": 0.99, "most": 1.0}.items()
        )
        lines += ["", f"Answer → line of its event, {len(events)} events: {parts}."]
    return [*lines, ""]


def _stalls(run: Run, scale: Scale) -> list[str]:
    done = [size for size in scale.sizes if f"memory@{size}" in run.samples]
    if not done:
        return []
    lines = ["## Longest stall of the loop, in ms", "", *_by_size("during", done)]
    labels = {name: label for *_, names in GROWING.values() for name, label in names.items()}
    for step in STEPS:
        label = labels.get(step) or labels[f"stall-{step}"]
        cells = (number(max(run.samples[f"stall-{step}@{size}"]) * MILLI) for size in done)
        lines.append(f"| {label} | {' | '.join(cells)} |")
    return [*lines, ""]


def _by_size(title: str, sizes: Sequence[int]) -> list[str]:
    heads = " | ".join(f"{size:,} campaigns" for size in sizes)
    return [f"| {title} | {heads} |", "|---" * (len(sizes) + 1) + "|"]


def write(folder: Path, run: Run, scale: Scale) -> None:
    """Write the page and its plots into a folder; what a page there has by hand stays."""
    file = folder / PAGE
    before = file.read_text(encoding="utf-8") if file.exists() else ""
    _, _, by_hand = before.partition(f"{BY_HAND}\n")
    file.write_text(page(run, scale, by_hand), encoding="utf-8")
    bars = {
        name: (_in_micro(run.samples[ours]), _in_micro(run.samples[theirs]), who)
        for name, (ours, theirs, who) in COMPARED.items()
        if ours in run.samples
    }
    if bars:
        draw_polls(bars, folder / POLLS)
    if any(name.startswith("memory@") for name in run.samples):
        draw_growth(list(_panels(run, scale)), folder / GROWTH)


def _in_micro(values: Sequence[float]) -> list[float]:
    return [one * 1e6 for one in values]


def _panels(run: Run, scale: Scale) -> Iterator[Panel]:
    for title, (unit, factor, names) in GROWING.items():
        lines: dict[str, Series] = {}
        for name, label in names.items():
            keys = {size: f"{name}@{size}" for size in scale.sizes}
            lines[label] = {
                size: [one * factor for one in run.samples[key]]
                for size, key in keys.items()
                if key in run.samples
            }
        yield Panel(title, unit, lines)
