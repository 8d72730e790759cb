"""What happens when: drawn from a seed, a story of its own for every seed, always the same one."""

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from random import Random
from typing import Any

from monitor.core.model import DAY, HOUR, MINUTE, Reason, Seconds
from simulation.platform import CAMPAIGNS, SILENT
from simulation.world import World

KEYS = [(environment, key) for environment, keys in CAMPAIGNS.items() for key in keys]

OPENING: Seconds = 6 * HOUR
"""The first hours bring, in every story, all that a story must have."""

QUIET: Seconds = 4 * HOUR
"""The last hours bring nothing: by their end everything is resolved and told."""


@dataclass(frozen=True)
class Step:
    """What happens `at`, in elapsed seconds: a method of World, and its arguments."""

    at: Seconds
    do: Callable[..., Awaitable[None]]
    args: tuple[Any, ...] = ()

    def __str__(self) -> str:
        return f"{self.do.__name__}({', '.join(map(str, self.args))})"


def plan(seed: int, days: float) -> list[Step]:
    """Return the story of a seed: its opening, whatever chance brings, and a quiet end."""
    random, mended = Random(f"{seed} plan"), days * DAY - QUIET
    steps = [*_opening(random), *_tests(random, mended), Step(mended, World.mend)]
    steps += _edits(Random(f"{seed} edits"), mended)
    if seed % 2 == 0:
        steps += _with_tests(Random(f"{seed} with tests"), mended)
    for often, happen in HAPPENINGS:
        at = OPENING + random.expovariate(1 / often)
        while at < mended - HOUR:
            steps += [step for step in happen(random, at) if step.at < mended]
            at += random.expovariate(1 / often)
    steps += [Step(hour * HOUR, World.look) for hour in range(1, int(days * 24) + 1)]
    return sorted(steps, key=lambda step: step.at)


def _opening(random: Random) -> Iterator[Step]:
    script: list[tuple[float, Callable[..., Awaitable[None]], tuple[Any, ...]]] = [
        (0.1, World.test, ("b-2", True, -4.85 * HOUR)),  # stale at 3.3, soon after a restart
        (0.6, World.test, ("a-1", False)),  # pending, then firing
        (1.3, World.trouble, ("a-1", Reason.MALFORMED, 20 * MINUTE)),  # unknown while firing
        (1.8, World.switch, ("a-1", False)),  # muted
        (2.2, World.set_rule, ("failed_test", "severity", "warning")),  # updated, were it told
        (2.6, World.switch, ("a-1", True)),
        (2.8, World.crash, (random.uniform(0, 30),)),
        (3.0, World.restart, (random.uniform(1, 300),)),
        (3.6, World.step_clock, (-HOUR,)),
        (3.7, World.outage, ("alpha", Reason.TIMEOUT, 10 * MINUTE)),
        (3.9, World.disk_fails, ("event",)),
        (4.0, World.test, ("b-1", False)),
        (4.7, World.disk_heals, ()),
        (4.8, World.crash_telling, (random.choice(["before", "after"]),)),
        (4.9, World.test, ("a-1", True)),
        (5.1, World.test, ("b-1", True)),
        (5.6, World.set_rule, ("failed_test", "for", 0.0)),
    ]
    for hour, do, args in script:
        yield Step(hour * HOUR + random.uniform(0, 5 * MINUTE), do, args)


def _tests(random: Random, end: Seconds) -> Iterator[Step]:
    for _, key in KEYS:
        at = OPENING
        while (at := at + random.expovariate(1 / (5 * HOUR))) < end:
            passed = random.random() < 0.85
            yield Step(at, World.test, (key, passed))
            if not passed:
                yield Step(at + random.expovariate(1 / HOUR), World.test, (key, True))


def _with_tests(random: Random, end: Seconds) -> Iterator[Step]:
    """Connection tests are on in an environment, but for a while; passwords rotate there."""
    yield Step(OPENING, World.switch_tests, ("alpha", True))
    off = random.uniform(OPENING + HOUR, max(OPENING + HOUR, end / 2))
    yield Step(off, World.switch_tests, ("alpha", False))
    yield Step(off + random.uniform(0, 9 * HOUR), World.switch_tests, ("alpha", True))
    for key in CAMPAIGNS["alpha"]:
        at = OPENING
        while (at := at + random.expovariate(1 / (20 * HOUR))) < end:
            yield Step(at, World.rotate, (key, False))
            at += random.uniform(0, 12 * HOUR)
            yield Step(at, World.rotate, (key, True))
            if random.random() < 0.7:
                yield Step(at + MINUTE, World.test, (key, True))


def _edits(random: Random, end: Seconds) -> Iterator[Step]:
    """Another host, another team: most often while nothing fires, in the opening while it does."""
    yield Step(1.2 * HOUR, World.move, ("a-1", "moved.example"))
    yield Step(1.5 * HOUR, World.hand_over, ("growth",))
    yield Step(4.4 * HOUR, World.move, ("b-1", "moved.example"))
    at = OPENING
    while (at := at + random.expovariate(1 / (2 * HOUR))) < end:
        if random.random() < 0.3:
            yield Step(at, World.hand_over, (random.choice(["retail", "growth", "sre"]),))
        else:
            host = random.choice(["sftp.example.com", "moved.example", "again.example"])
            yield Step(at, World.move, (random.choice(KEYS)[1], host))


# -- what chance brings: each draws its steps from a beginning on ------------------------------


def _outage(random: Random, at: Seconds) -> list[Step]:
    environment, reason = random.choice(list(CAMPAIGNS)), random.choice(SILENT)
    lasts = random.choice([MINUTE, 10 * MINUTE, HOUR, 5 * HOUR]) * random.random()
    return [Step(at, World.outage, (environment, reason, lasts))]


def _refused(random: Random, at: Seconds) -> list[Step]:
    environment = random.choice(list(CAMPAIGNS))
    reason = random.choice([Reason.UNAUTHORIZED, Reason.UNAUTHORIZED, Reason.FORBIDDEN])
    lasts = random.choice([10 * MINUTE, 2 * HOUR]) * random.random()
    steps = [Step(at, World.outage, (environment, reason, lasts))]
    if random.random() < 0.5:
        # Between the first refusal and the one that counts, if chance will have it.
        steps.append(Step(at + random.uniform(0, 10 * MINUTE), World.reload))
    return steps


def _lost_in_time(random: Random, at: Seconds) -> list[Step]:
    """An outage in which our clock steps while nobody knows the API's: it was restarted since."""
    environment, reason = random.choice(list(CAMPAIGNS)), random.choice(SILENT)
    crashed, stepped = at + random.uniform(0, 20 * MINUTE), at + random.uniform(20, 40) * MINUTE
    by = random.choice([-HOUR, HOUR])
    return [
        Step(at, World.outage, (environment, reason, HOUR)),
        Step(crashed, World.crash, (random.uniform(0, MINUTE),)),
        Step(stepped, World.step_clock, (by,)),
        Step(stepped + random.uniform(0, 3 * HOUR), World.step_clock, (-by,)),
    ]


def _throttled(random: Random, at: Seconds) -> list[Step]:
    environment, pause = random.choice(list(CAMPAIGNS)), random.uniform(1, 900)
    return [
        Step(at, World.outage, (environment, Reason.RATE_LIMITED, random.uniform(1, 900), pause)),
        Step(at + HOUR, World.rate, (environment, random.randrange(3))),
        Step(at + 2 * HOUR, World.rate, (environment, None)),
    ]


def _trouble(random: Random, at: Seconds) -> list[Step]:
    _, key = random.choice(KEYS)
    reason = random.choice([Reason.FORBIDDEN, Reason.MALFORMED, Reason.WRONG_CAMPAIGN, *SILENT])
    return [Step(at, World.trouble, (key, reason, random.uniform(0, 3 * HOUR)))]


def _switched_off(random: Random, at: Seconds) -> list[Step]:
    _, key = random.choice(KEYS)
    back = at + random.uniform(0, 8 * HOUR)
    return [Step(at, World.switch, (key, False)), Step(back, World.switch, (key, True))]


def _deleted(random: Random, at: Seconds) -> list[Step]:
    _, key = random.choice(KEYS)
    back = at + random.uniform(0, 4 * HOUR)
    tested = back + random.uniform(0, 5 * HOUR)
    return [
        Step(at, World.delete, (key, random.random() < 0.5)),
        Step(back, World.recreate, (key,)),
        Step(tested, World.test, (key, True)),
        Step(tested + random.uniform(0, 5 * HOUR), World.switch, (key, True)),
    ]


def _wrong_record(random: Random, at: Seconds) -> list[Step]:
    _, key = random.choice(KEYS)
    if random.random() < 0.5:
        return [Step(at, World.half, (key,))]
    return [Step(at, World.test, (key, True, random.uniform(0, 4 * HOUR)))]


def _dates(random: Random, at: Seconds) -> list[Step]:
    environment = random.choice(list(CAMPAIGNS))
    there, error = random.choice([(False, 0.0), (True, 90.0), (True, -20 * MINUTE)])
    return [
        Step(at, World.dates, (environment, there, error)),
        Step(at + random.uniform(0, 6 * HOUR), World.dates, (environment, True, 0.0)),
    ]


def _dates_differ(random: Random, at: Seconds) -> list[Step]:
    environment = random.choice(list(CAMPAIGNS))
    errors = random.choice([(0.0, 9 * HOUR), (0.0, 0.0, -HOUR), (0.0, 20.0, DAY), (0.0, -70.0)])
    return [
        Step(at, World.dates_differ, (environment, errors)),
        Step(at + random.uniform(0, 6 * HOUR), World.dates, (environment, True, 0.0)),
    ]


def _restarted(random: Random, at: Seconds) -> list[Step]:
    times = random.choice([1, 1, 1, 5])
    return [Step(at + n, World.restart, (random.uniform(0.1, 600 / times),)) for n in range(times)]


def _crashed(random: Random, at: Seconds) -> list[Step]:
    if random.random() < 0.5:
        return [Step(at, World.crash_telling, (random.choice(["before", "after"]),))]
    down = random.uniform(0, 20 * MINUTE)
    steps = [Step(at, World.crash, (down,))]
    if random.random() < 0.3:
        # All are due by then: a loop of crashes must not spend the budget again and again.
        times = [at + down + 5 * n for n in range(1, 20)]
        steps += [Step(each, World.crash, (random.uniform(0, 4),)) for each in times]
    return steps


def _set(random: Random, at: Seconds) -> list[Step]:
    rule, key, values = random.choice(SETTINGS)
    back = at + random.uniform(0, 6 * HOUR)
    one, other = random.sample(values, 2)
    return [
        Step(at, World.set_rule, (rule, key, one)),
        Step(back, World.set_rule, (rule, key, True if key == "enabled" else other)),
    ]


def _left_the_config(random: Random, at: Seconds) -> list[Step]:
    environment, key = random.choice(KEYS)
    back = at + random.uniform(0, 5 * HOUR)
    return [
        Step(at, World.list_campaign, (environment, key, False)),
        Step(back, World.list_campaign, (environment, key, True)),
    ]


def _reloaded(random: Random, at: Seconds) -> list[Step]:
    return [Step(at, random.choice([World.reload, World.reload_nonsense]))]


def _clock(random: Random, at: Seconds) -> list[Step]:
    by = random.choice([-HOUR, HOUR, -40.0, 20.0, 50.0, DAY, 365 * DAY])
    back = at + random.uniform(0, 9 * HOUR)
    return [Step(at, World.step_clock, (by,)), Step(back, World.step_clock, (-by,))]


def _slow_clock(random: Random, at: Seconds) -> list[Step]:
    rate = random.choice([-1e-4, 1e-4])
    return [Step(at, World.drift, (rate,)), Step(at + random.uniform(0, DAY), World.drift, (0.0,))]


def _suspended(random: Random, at: Seconds) -> list[Step]:
    return [
        Step(at, World.suspend, (5.0 + random.choice([MINUTE, HOUR, 9 * HOUR]) * random.random(),))
    ]


def _disk(random: Random, at: Seconds) -> list[Step]:
    table = random.choice(["event", "campaign", "environment"])
    heals = at + random.uniform(0, 4 * HOUR)
    return [Step(at, World.disk_fails, (table,)), Step(heals, World.disk_heals)]


def _sink(random: Random, at: Seconds) -> list[Step]:
    heals = at + random.uniform(0, 3 * HOUR)
    return [Step(at, World.sink_fails), Step(heals, World.sink_heals)]


SETTINGS: list[tuple[str, str, list[Any]]] = [
    ("failed_test", "severity", ["critical", "warning", "info"]),
    ("failed_test", "for", [0.0, 10 * MINUTE, HOUR]),
    ("failed_test", "keep_firing_for", [0.0, 20 * MINUTE]),
    ("failed_test", "enabled", [False, True]),
    ("stale_test", "max_age", [6 * HOUR, 8 * HOUR, 10 * HOUR]),
    ("stale_test", "for", [0.0, 20 * MINUTE]),
    ("stale_test", "enabled", [False, True]),
    ("stale_test", "severity", ["critical", "warning"]),
    ("disabled", "grace", [0.0, HOUR, 3 * HOUR]),
    ("disabled", "enabled", [False, True]),
    ("never_tested", "grace", [0.0, HOUR, 2 * HOUR]),
    ("never_tested", "enabled", [False, True]),
    ("missing", "enabled", [False, True]),
    ("missing", "for", [0.0, 30 * MINUTE]),
    ("unreadable", "after", [30 * MINUTE, HOUR]),
    ("unreadable", "enabled", [False, True]),
    ("api_unreachable", "after", [MINUTE, 5 * MINUTE]),
    ("api_unreachable", "keep_firing_for", [0.0, 10 * MINUTE]),
    ("api_unreachable", "enabled", [False, True]),
    ("token_rejected", "for", [0.0, 3 * MINUTE]),
    ("token_rejected", "severity", ["critical", "info"]),
]
"""What a reload may change: a rule, its key, and the values to choose from."""

HAPPENINGS: list[tuple[Seconds, Callable[[Random, Seconds], list[Step]]]] = [
    (9 * HOUR, _outage),
    (20 * HOUR, _refused),
    (40 * HOUR, _lost_in_time),
    (20 * HOUR, _throttled),
    (7 * HOUR, _trouble),
    (9 * HOUR, _switched_off),
    (24 * HOUR, _deleted),
    (24 * HOUR, _wrong_record),
    (30 * HOUR, _dates),
    (30 * HOUR, _dates_differ),
    (10 * HOUR, _restarted),
    (8 * HOUR, _crashed),
    (6 * HOUR, _set),
    (24 * HOUR, _left_the_config),
    (20 * HOUR, _reloaded),
    (14 * HOUR, _clock),
    (30 * HOUR, _slow_clock),
    (24 * HOUR, _suspended),
    (12 * HOUR, _disk),
    (14 * HOUR, _sink),
]
"""What chance brings, and how often on average."""
