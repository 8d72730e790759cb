"""What is measured: one declaration of each figure, from which the run and the page follow."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from statistics import median

from performance.scale import Scale

Samples = Mapping[str, Sequence[float]]
"""Everything that was measured: the name of a sample → its values, in the order of the windows."""

Values = Callable[[Samples, Scale], list[float]]
"""Works out a figure, once for each window. Raises KeyError where it was not measured."""

MILLI, KIB = 1e3, 1 / 1024


@dataclass(frozen=True)
class Figure:
    """A figure, in `unit`, with its target; `before` is what the plan of this work had measured.

    `missed` is the reason that is written down where the target is missed.
    """

    what: str
    unit: str
    at_most: float
    before: str
    experiment: str
    values: Values
    how: str
    missed: str = "not looked into yet"


def ratio(ours: str, theirs: str) -> Values:
    """Return ours by theirs, of each window."""
    return lambda samples, _: [
        one / other for one, other in zip(samples[ours], samples[theirs], strict=True)
    ]


def plain(name: str, factor: float = 1.0) -> Values:
    """Return a sample as it is, in another unit."""
    return lambda samples, _: [one * factor for one in samples[name]]


def large(name: str, factor: float = 1.0) -> Values:
    """Return a sample about the large number of campaigns."""
    return lambda samples, scale: [one * factor for one in samples[f"{name}@{scale.large}"]]


def largest(name: str, factor: float = 1.0) -> Values:
    """Return a sample about the largest number of campaigns."""
    return lambda samples, scale: [one * factor for one in samples[f"{name}@{scale.largest}"]]


def p99(name: str, factor: float) -> Values:
    """Return the 99th percentile of a sample."""
    return lambda samples, _: [percentile(samples[name], 0.99) * factor]


def percentile(values: Sequence[float], part: float) -> float:
    """Return the least value that this part of all does not exceed."""
    return sorted(values)[ceil(part * len(values)) - 1]


def stall(samples: Samples, scale: Scale) -> list[float]:
    """Return the longest stall of the event loop in any step, at any number of campaigns, in ms."""
    largest("stall-start")(samples, scale)  # the run is whole
    return [max(max(all_) for name, all_ in samples.items() if name.startswith("stall-")) * MILLI]


def memory(samples: Samples, scale: Scale) -> list[float]:
    """Return what each campaign adds to the resident memory, in KiB."""
    least = median(samples[f"memory@{scale.sizes[0]}"])
    more = scale.large - scale.sizes[0]
    return [(one - least) / more * KIB for one in samples[f"memory@{scale.large}"]]


def each_listed(samples: Samples, scale: Scale) -> list[float]:
    """Return the CPU of a campaign in the list of all, in µs."""
    return [one / scale.large * 1e6 for one in samples[f"list@{scale.large}"]]


SATURATED = (
    "CPU of the process by requests that nginx counted, while there is more to poll than can be; "
    "8 requests at once, valid answers, 99 % of them at least read. The monitor keeps its "
    "connections, blackbox_exporter opens one for each probe. A new monitor for each window"
)
A_START = (
    "CPU from the start of the process until `/-/healthy` answers, Python's own start included; "
    "the file lists each campaign with name and label, the state has each as read within 5 minutes"
)
A_RELOAD = "CPU of the daemon from `POST /-/reload` to its answer"
WHOLE_COMMAND = "CPU from the start of the process to its end, by `getrusage`"

FIGURES: Mapping[str, Figure] = {
    "poll-http": Figure(
        "CPU of a poll ÷ of a probe by blackbox_exporter, saturated, HTTP",
        "×", 1.0, "2.7", "polls", ratio("poll-http", "probe-http"), SATURATED,
        missed="of a poll that changes nothing aiohttp and httpx are two thirds",
    ),
    "poll-tls": Figure(
        "… TLS", "×", 0.62, "1.5", "polls", ratio("poll-tls", "probe-tls"), SATURATED,
        missed="the prober's handshake costs less on a free machine, a poll of ours does not",
    ),
    "paced": Figure(
        "CPU of a poll ÷ of Prometheus and blackbox_exporter together, 100/s, TLS",
        "×", 0.6, "1.04", "paced", ratio("paced-poll", "paced-probe"),
        "both at the same time, 1,000 campaigns every 10 s, an nginx of its own for each; "
        "Prometheus scrapes each probe, stores it and evaluates one alert",
    ),
    "start": Figure(
        "start with 10,000 stored campaigns",
        "s", 1.5, "11.2 s", "sizes", large("start"), A_START,
        missed="each listed campaign is planned anew at the start",
    ),
    "start-largest": Figure(
        "… 100,000", "s", 10.0, "", "sizes", largest("start"), f"{A_START}; 10 environments, once",
        missed="each listed campaign is planned anew at the start",
    ),
    "reload": Figure(
        "reload of an unchanged file, 10,000 campaigns",
        "ms", 20.0, "7.3 s", "sizes", large("reload", MILLI), A_RELOAD,
        missed="the file is read and every campaign planned anew, even where nothing has changed",
    ),
    "relabel": Figure(
        "… with another label of each campaign",
        "s", 1.0, "7.3 s", "sizes", large("relabel"), A_RELOAD,
        missed="every campaign is planned anew, on the loop",
    ),
    "stall": Figure(
        "longest stall of the event loop, anything, up to 100,000 campaigns",
        "ms", 50.0, "611 ms at 10,000", "sizes", stall,
        "how late a timer of 5 ms is run at worst, from the open port on: during start, scrape, "
        "reload, lists, polls; wall clock, but no more than the CPU that the process used then; "
        "the timer runs in all that is measured by the number of campaigns",
        missed="at the start campaigns are planned in one go",
    ),
    "version": Figure(
        "`--version`",
        "s", 0.1, "0.64 s", "commands", plain("version"), WHOLE_COMMAND,
        missed="within the spread, on a machine that was busy",
    ),
    "rules": Figure(
        "`rules`", "s", 0.25, "", "commands", plain("rules"), WHOLE_COMMAND,
        missed="it loads the rules, which are dataclasses, and click",
    ),
    "config-check": Figure(
        "`config check` of 3 campaigns",
        "s", 0.25, "", "commands", plain("config-check"), WHOLE_COMMAND,
        missed="it loads pydantic and the models of the whole config, of which it makes validators",
    ),
    "memory": Figure(
        "memory of each campaign, all included",
        "KiB", 6.0, "8.9 KiB", "sizes", memory,
        "resident memory of the daemon with 10,000 campaigns less that with 10, after scrapes, "
        "reloads and lists, by campaigns",
        missed="it includes what reloads leave, in which old and new campaigns are there at once",
    ),
    "latency": Figure(
        "answer → line of its event, p99, 10,000 campaigns",
        "ms", 10.0, "9 ms", "latency", p99("event", MILLI),
        "wall clock from the answer that first says that a test failed to the line on standard "
        "output, after its COMMIT with `synchronous=FULL`; 100 polls and 5 events a second, 200 of "
        "them, once what fell due during the start is written",
        missed="one in ten waits longer than 8 ms; for what was not looked into",
    ),
    "metrics": Figure(
        "`/metrics` of 10,000 campaigns, nothing changed",
        "ms", 56.0, "56 ms", "sizes", large("metrics", MILLI), "CPU of the daemon for the scrape",
    ),
    "list": Figure(
        "`/api/v1/campaigns`, each campaign, once it was listed",
        "µs", 40.0, "138 µs", "sizes", each_listed,
        "CPU of the daemon for all pages of 1,000, by 10,000 campaigns, a second time",
        missed="its health, age and impact are worked out for each list",
    ),
    "backlog-log": Figure(
        "1,000 waiting events at standard output",
        "s", 2.0, "", "backlog", plain("backlog-log"),
        "wall clock at a start, from the first line to the last; each has its cursor stored",
        missed="each event's cursor is committed before the next event, and the machine was busy",
    ),
    "backlog-file": Figure(
        "… at a file beside it",
        "s", 2.0, "", "backlog", plain("backlog-file"),
        "wall clock at a start, from the first line on standard output to the last of the file",
        missed="each event's cursor is committed before the next event, and the machine was busy",
    ),
}  # fmt: skip
"""In the order of the page, by a name for people who ask for it."""
