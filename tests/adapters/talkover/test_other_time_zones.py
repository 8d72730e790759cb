"""Instants read and written on a machine that does not live by UTC: the same as anywhere."""

import time
from collections.abc import Iterator

import pytest

from monitor.adapters.talkover.answer import parse_http_date
from monitor.adapters.talkover.decode import parse_rfc3339
from monitor.core.text import rfc3339
from support.builders import NOW


@pytest.fixture(params=["America/New_York", "Asia/Kolkata"])
def _far_from_greenwich(request: pytest.FixtureRequest) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", request.param)
        time.tzset()
        yield
    time.tzset()


@pytest.mark.usefixtures("_far_from_greenwich")
def test_fault_26_an_instant_is_the_same_in_every_time_zone() -> None:
    assert time.localtime(NOW).tm_hour != 8
    assert rfc3339(NOW) == "2027-01-15T08:00:00Z"
    assert parse_rfc3339("2027-01-15T08:00:00Z") == NOW
    assert parse_rfc3339("2027-01-15T13:30:00+05:30") == NOW
    assert parse_http_date("Fri, 15 Jan 2027 08:00:00 GMT") == NOW
    assert parse_http_date("Fri Jan 15 08:00:00 2027") == NOW
