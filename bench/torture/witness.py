"""What replicas did, as the API, the receivers and the database saw it: counted."""

from collections import defaultdict
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from itertools import pairwise
from typing import Any, NamedTuple

Record = dict[str, Any]

OCCURRENCE = ("fingerprint", "seq", "status", "since", "observed_at", "summary")
"""What says which occurrence an event is of; two with one id are the same in all of it."""


class Call(NamedTuple):
    """A call as the API saw it."""

    at: float
    node: str
    environment: str


class Told(NamedTuple):
    """An event as it arrived."""

    at: float
    node: str
    record: Record


@dataclass
class Tally:
    """What was counted; `problems` has a line for all else that should not be."""

    faults: dict[str, int] = field(default_factory=dict)
    events: int = 0
    calls: int = 0
    posts: int = 0
    lost: int = 0
    repeats: int = 0
    unmarked: int = 0
    disordered: int = 0
    twice: int = 0
    over_budget: int = 0
    doubled_posts: int = 0
    invented: int = 0
    taken_back: int = 0
    deaths: list[float] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def add(self, other: "Tally") -> None:
        """Take in what another cluster came to."""
        for kind, number in other.faults.items():
            self.faults[kind] = self.faults.get(kind, 0) + number
        for one in fields(self):
            if one.name != "faults":
                setattr(self, one.name, getattr(self, one.name) + getattr(other, one.name))


def count_sink(
    tally: Tally, sink: str, told: Sequence[Record], rows: Mapping[str, int], *, ordered: bool
) -> None:
    """Count what one sink had, all replicas together, against the rows of the database."""
    copies = defaultdict[str, list[Record]](list)
    for record in told:
        copies[record["event_id"]].append(record)
    if lost := rows.keys() - copies.keys():
        tally.lost += len(lost)
        tally.problems.append(f"{sink} never had {sorted(lost)[:5]}")
    for event_id, found in copies.items():
        tally.repeats += len(found) - 1
        if (unmarked := sum(not one["redelivery"] for one in found)) > 1:
            tally.unmarked += unmarked - 1
            tally.problems.append(f"{sink} had {event_id} {unmarked} times unmarked")
        if len({tuple(one[key] for key in OCCURRENCE) for one in found}) > 1:
            tally.twice += 1
            tally.problems.append(f"{sink} had two occurrences of {event_id}")
    if ordered:
        count_disorder(tally, sink, told, rows)


def count_disorder(
    tally: Tally, sink: str, told: Iterable[Record], rows: Mapping[str, int]
) -> None:
    """Count the events that came for the first time after a later one of their environment."""
    last, seen = dict[str, int](), set[str]()
    for record in told:
        name, event_id = record["environment"], record["event_id"]
        if event_id not in seen and event_id in rows:
            if rows[event_id] < last.get(name, 0):
                tally.disordered += 1
                tally.problems.append(f"{sink} had {event_id} of {name} out of order")
            last[name] = max(last.get(name, 0), rows[event_id])
        seen.add(event_id)


def count_calls(
    tally: Tally, calls: Sequence[Call], posts: Sequence[Call], budget: int, login_gap: float
) -> None:
    """Count the windows of a minute that are over the budget, and tests too close to each other."""
    tally.calls, tally.posts = len(calls), len(posts)
    by_environment = defaultdict[str, list[Call]](list)
    for one in sorted((*calls, *posts)):
        by_environment[one.environment].append(one)
    for name, made in by_environment.items():
        pairs = zip(made, made[budget:], strict=False)
        over = [now.at for before, now in pairs if now.at - before.at < 60]
        tally.over_budget += len(over)
        if over:
            least = [one for one in made if over[0] - 60 <= one.at <= over[-1]]
            by = ", ".join(
                f"{node} {len(at)} from {at[0]:.1f} to {at[-1]:.1f}"
                for node in dict.fromkeys(one.node for one in least)
                if (at := [one.at for one in least if one.node == node])
            )
            tally.problems.append(f"{name}: {len(over)} windows over {budget} a minute: {by}")
    for one, other in pairwise(sorted(posts)):
        if other.at - one.at < login_gap - 5:
            tally.doubled_posts += 1
            gap = other.at - one.at
            tally.problems.append(f"tests {gap:.1f} s apart: {one}, {other}")


def count_history(
    tally: Tally,
    told: Iterable[Record],
    truth: Mapping[tuple[str, str], bool],
    left: Container[str] | None = None,
) -> None:
    """Look at what on-call was told, each event once: is it a history, and is its end the truth?

    `left`: the ids that are left, where the database has taken others back. Nobody can know then
    that they were told: of an alert whose last one is gone on-call may believe the contrary.
    """
    first = dict[str, Record]()
    for one in told:
        first.setdefault(one["event_id"], one)
    alerts = defaultdict[tuple[str, str, str], list[Record]](list)
    for one in first.values():
        if one["rule"] != "state_unavailable":
            alerts[one["environment"], one["campaign_id"] or "", one["rule"]].append(one)
    last, whole = dict.fromkeys(truth, ("resolved", "")), left is None
    for (name, campaign, rule), events in alerts.items():
        if rule != "failed_test" or (name, campaign) not in truth:
            tally.invented += len(events)
            said = [one["summary"] for one in events]
            tally.problems.append(f"told of {name}/{campaign}: {rule} {said[:3]}")
            continue
        numbers, statuses = ([one[key] for one in events] for key in ("seq", "status"))
        last[name, campaign] = statuses[-1], events[-1]["event_id"]
        if whole and numbers != [*range(1, len(numbers) + 1)]:
            tally.problems.append(f"{name}/{campaign} has the numbers {numbers}")
        doubled = sum(one == other for one, other in pairwise(statuses))
        if whole and doubled:
            tally.invented += doubled
            tally.problems.append(f"{name}/{campaign} has the statuses {statuses}")
    _count_belief(tally, last, truth, left)


def _count_belief(
    tally: Tally,
    last: Mapping[tuple[str, str], tuple[str, str]],
    truth: Mapping[tuple[str, str], bool],
    left: Container[str] | None,
) -> None:
    for key, well in truth.items():
        status, event_id = last[key]
        if (status == "resolved") == well:
            continue
        if left is not None and event_id and event_id not in left:
            tally.taken_back += 1
        else:
            tally.problems.append(f"on-call believes of {key} that it is {status}")
