"""What is at stake of a campaign: when it calls next, by its listing, in its own time zone."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.core.alerts import Impact
from monitor.core.impact import LOOKED_AT, has_ended, impact_of, impact_of_all, next_calls
from monitor.core.model import DAY, HOUR, CallTimes, Instant
from monitor.core.rule import Target

NEW_YORK = "America/New_York"
NINE_TO_FIVE = ((9 * HOUR, 17 * HOUR),)
WEEKDAYS = (1, 2, 3, 4, 5)


def at(text: str) -> Instant:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def calls(**fields: Any) -> CallTimes:
    return CallTimes(**{"windows": NINE_TO_FIVE, **fields})


@pytest.mark.parametrize(
    ("times", "now", "text", "since"),
    [
        # 2027-01-15 is a Friday.
        (calls(), "2027-01-15 05:00", "calls start Fri 09:00 UTC, in 4 h", "2027-01-15 09:00"),
        (calls(), "2027-01-15 09:00", "calling now until 17:00 UTC", "2027-01-15 09:00"),
        (calls(), "2027-01-15 16:59", "calling now until 17:00 UTC", "2027-01-15 09:00"),
        (calls(), "2027-01-15 17:00", "calls start Sat 09:00 UTC, in 16 h", "2027-01-16 09:00"),
        (
            calls(zone=NEW_YORK, days=WEEKDAYS),
            "2027-01-18 10:00",
            "calls start Mon 09:00 America/New_York, in 4 h",
            "2027-01-18 14:00",
        ),
        (
            calls(days=WEEKDAYS),
            "2027-01-15 18:00",
            "calls start Mon 09:00 UTC, in 2 d",
            "2027-01-18 09:00",
        ),
        (calls(days=(5,)), "2027-01-15 18:00", "calls start Fri 09:00 UTC, in 6 d",
         "2027-01-22 09:00"),
        # Two windows a day, in any order.
        (
            calls(windows=((14 * HOUR, 17 * HOUR), (9 * HOUR, 12 * HOUR))),
            "2027-01-15 12:30",
            "calls start Fri 14:00 UTC, in 90 min",
            "2027-01-15 14:00",
        ),
        # Over midnight: Friday's calls go on into Saturday.
        (
            calls(windows=((22 * HOUR, 2 * HOUR),), days=WEEKDAYS),
            "2027-01-16 01:00",
            "calling now until 02:00 UTC",
            "2027-01-15 22:00",
        ),
        (
            calls(windows=((22 * HOUR, 2 * HOUR),), days=WEEKDAYS),
            "2027-01-16 02:00",
            "calls start Mon 22:00 UTC, in 2 d",
            "2027-01-18 22:00",
        ),
        (calls(windows=((0.0, DAY),)), "2027-01-15 05:00", "calling now until 00:00 UTC",
         "2027-01-15 00:00"),
        # Both changes of DST.
        (
            calls(zone=NEW_YORK),
            "2027-03-14 05:00",
            "calls start Sun 09:00 America/New_York, in 8 h",
            "2027-03-14 13:00",
        ),
        (
            calls(zone=NEW_YORK),
            "2027-11-07 05:00",
            "calls start Sun 09:00 America/New_York, in 9 h",
            "2027-11-07 14:00",
        ),
        (
            calls(zone="Europe/Berlin", windows=((2.5 * HOUR, 3.25 * HOUR),)),
            "2027-03-28 02:00",
            "calls start Mon 02:30 Europe/Berlin, in 22 h",
            "2027-03-29 00:30",
        ),
        # It has a first and a last day, in its own zone.
        (
            calls(first_day="2027-03-01"),
            "2027-01-15 05:00",
            "calls start Mon 09:00 UTC, in 45 d",
            "2027-03-01 09:00",
        ),
        (calls(last_day="2027-01-15"), "2027-01-15 16:00", "calling now until 17:00 UTC",
         "2027-01-15 09:00"),
        (calls(last_day="2027-01-14"), "2027-01-15 05:00",
         "no calls any more (ended 2027-01-14)", None),
        (
            calls(last_day="2027-01-14", zone=NEW_YORK),
            "2027-01-15 04:59",
            "",  # its last day is not over, its calls are
            None,
        ),
        # Zones that are none.
        (calls(zone="../../etc/passwd"), "2027-01-15 05:00", "calls start Fri 09:00 UTC, in 4 h",
         "2027-01-15 09:00"),
        # Nothing known, nothing said.
        (CallTimes(), "2027-01-15 05:00", "", None),
        (calls(windows=(), days=WEEKDAYS, zone=NEW_YORK), "2027-01-15 05:00", "", None),
        (calls(days=(8, 0)), "2027-01-15 05:00", "", None),
        (calls(first_day="9999-12-31"), "2027-01-15 05:00", "", None),
        (
            calls(first_day="9999-12-29", zone=NEW_YORK, windows=((22 * HOUR, HOUR),)),
            "2027-01-15 05:00",
            "",
            None,
        ),
    ],
)  # fmt: skip
def test_the_next_calls(times: CallTimes, now: str, text: str, since: str | None) -> None:
    expected = Impact(text, None if since is None else at(since))
    assert impact_of(times, "", at(now)) == expected


@pytest.mark.parametrize(
    ("times", "schedule", "text"),
    [
        (calls(), "daily", "calls start Fri 09:00 UTC, in 4 h; imports daily"),
        (calls(windows=((4 * HOUR, 6 * HOUR),)), "hourly",
         "calling now until 06:00 UTC; imports hourly"),
        (CallTimes(), "daily", "imports daily"),
        (calls(last_day="2026-10-31"), "daily", "no calls any more (ended 2026-10-31)"),
        (CallTimes(), "daily\x1b[2J\n" + "x" * 99, "imports daily [2J xxxxxxxxxxxxxxxxxxxxx…"),
    ],
)  # fmt: skip
def test_the_import_schedule_is_said_too(times: CallTimes, schedule: str, text: str) -> None:
    assert impact_of(times, schedule, at("2027-01-15 05:00")).text == text


@pytest.mark.parametrize(
    ("last_day", "zone", "now", "ended"),
    [
        ("", "", "2027-01-15 05:00", False),
        ("2027-01-15", "", "2027-01-15 23:59", False),
        ("2027-01-15", "", "2027-01-16 00:00", True),
        ("2027-01-15", NEW_YORK, "2027-01-16 04:59", False),
        ("2027-01-15", NEW_YORK, "2027-01-16 05:00", True),
        ("2027-01-15", "Pacific/Auckland", "2027-01-15 11:00", True),
        ("0001-01-01", "", "2027-01-15 05:00", True),
        ("9999-12-31", "", "2027-01-15 05:00", False),
    ],
)
def test_a_campaign_has_ended_when_its_last_day_is_over(
    last_day: str, zone: str, now: str, ended: bool
) -> None:
    assert has_ended(calls(last_day=last_day, zone=zone), at(now)) is ended


@given(
    st.lists(st.integers(0, 24 * 4 - 1), min_size=2, max_size=6),
    st.lists(st.integers(1, 7)),
    st.sampled_from(["", NEW_YORK, "Europe/Berlin", "Pacific/Kiritimati"]),
    st.integers(0, 400 * 24 * 60),
)
def test_the_next_calls_end_later_than_now_and_begin_within_eight_days(
    quarters: list[int], days: list[int], zone: str, minutes: int
) -> None:
    pairs = zip(quarters[::2], quarters[1::2], strict=False)
    windows = tuple((begin * HOUR / 4, end * HOUR / 4) for begin, end in pairs)
    now = at("2027-01-15 00:00") + minutes * 60
    found = next_calls(calls(windows=windows, days=tuple(days), zone=zone), now)
    assert found is not None
    assert found[0] < found[1]
    assert now < found[1]
    assert found[0] < now + 9 * DAY


# --- of a whole environment


def all_that_call(*times: CallTimes, muted: int = 0) -> list[Target]:
    """Return a campaign for each of these call times, and some that nobody is notified of."""
    found = [Target(environment="production", campaign_id="c-1", calls=one) for one in times]
    return found + muted * [replace(found[0], muted_status="paused")]


MORNING, NIGHT = calls(), calls(windows=((22 * HOUR, 23 * HOUR),))


@pytest.mark.parametrize(
    ("targets", "now", "text", "since"),
    [
        (
            all_that_call(MORNING, MORNING, NIGHT, muted=3),
            "2027-01-15 10:00",
            "3 campaigns, 2 calling now",
            "2027-01-15 09:00",
        ),
        (
            all_that_call(NIGHT, MORNING),
            "2027-01-15 05:00",
            "2 campaigns; calls start Fri 09:00 UTC, in 4 h",
            "2027-01-15 09:00",
        ),
        (
            all_that_call(CallTimes(), calls(last_day="2027-01-14")),
            "2027-01-15 10:00",
            "2 campaigns",
            None,
        ),
        (all_that_call(CallTimes()), "2027-01-15 10:00", "1 campaign", None),
        ([], "2027-01-15 10:00", "", None),
    ],
    ids=["calling", "not yet", "no times known", "one", "nobody"],
)
def test_of_an_environment_it_is_how_many_campaigns_there_are_and_call(
    targets: list[Target], now: str, text: str, since: str | None
) -> None:
    assert impact_of_all(targets, at(now)) == Impact(text, at(since) if since else None)


@pytest.mark.parametrize(
    ("now", "text"),
    [
        ("2027-01-15 10:00", f"at least {LOOKED_AT} calling now"),
        ("2027-01-15 05:00", "calls start Fri 09:00 UTC, in 4 h or sooner"),
    ],
)
def test_of_very_many_that_call_at_other_times_each_it_says_that_not_all_were_looked_at(
    now: str, text: str
) -> None:
    times = (calls(windows=((9 * HOUR, 17 * HOUR + n),)) for n in range(LOOKED_AT + 5))
    said = impact_of_all(all_that_call(*times), at(now)).text
    assert said.startswith(f"{LOOKED_AT + 5} campaigns")
    assert said.endswith(text)
