"""The log sink: a line an event, for pipelines and for people; it knows whether it worked."""

import json
from dataclasses import replace

import pytest

from monitor.adapters.sinks.log import to_text
from monitor.core.model import Event, EventStatus
from monitor.serialize import Links, record_of
from support.events import FIRING
from support.sinks import a_log_sink

LINKS = Links("https://runbooks.example/{rule}")


class Lines:
    """A place to write to that can be full."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.full = False

    async def write(self, line: bytes) -> None:
        if self.full:
            raise OSError(28, "No space left on device")
        self.written.append(line)


def shown(event: Event) -> str:
    """Return what people read of an event."""
    return to_text(record_of(replace(event, epoch="e"), LINKS))


async def test_an_event_is_one_json_line() -> None:
    lines = Lines()
    await a_log_sink(lines.write, LINKS, for_people=False).deliver(replace(FIRING, epoch="e"))
    (line,) = lines.written
    assert json.loads(line)["event"] == "alert"


async def test_for_people_it_is_one_readable_line() -> None:
    lines = Lines()
    await a_log_sink(lines.write, LINKS, for_people=True).deliver(replace(FIRING, epoch="e"))
    assert lines.written == [
        b'08:00:01 firing warning    stale_test          production/"Retail leads" '
        b"(sftp.example.com): last test 31 d ago (2026-10-23T09:30:00Z), allowed 30 d, "
        b"since 2027-01-15T08:00:00Z\n"
    ]


async def test_a_full_disk_is_told_to_who_delivers() -> None:
    lines = Lines()
    lines.full = True
    with pytest.raises(OSError, match="No space left"):
        await a_log_sink(lines.write, LINKS, for_people=False).deliver(replace(FIRING, epoch="e"))


def test_a_resolved_alert_says_why_it_is_over() -> None:
    over = replace(FIRING, status=EventStatus.RESOLVED, reason="muted", muted_by="disabled")
    assert shown(over).endswith("[muted by disabled]")


def test_what_is_at_stake_is_said_while_the_alert_fires() -> None:
    event = replace(FIRING, impact="calls start Mon 09:00 UTC, in 4 h")
    assert shown(event).endswith("since 2027-01-15T08:00:00Z; calls start Mon 09:00 UTC, in 4 h")
    over = replace(event, status=EventStatus.RESOLVED, reason="recovered")
    assert "calls" not in shown(over)


def test_an_alert_of_the_environment_names_the_environment() -> None:
    event = replace(FIRING, campaign_id=None, campaign_name="", sftp_host="")
    assert " production: last test" in shown(event)


def test_fault_17_a_terminal_is_safe_from_what_the_api_says() -> None:
    event = replace(FIRING, campaign_name="\x1b]0;owned\x07", sftp_host="a\r\nb")
    assert shown(event).isprintable()


NAMES = {
    "Retail": "Retail",
    "Retail leads": '"Retail leads"',
    "2001:db8::1": "2001:db8::1",
    "Größe L & M – 2026": '"Größe L & M – 2026"',
    "<!channel> <https://evil.example|Runbook>": '"<!channel> <https://evil.example|Runbook>"',
    "x (good.example): all is well": '"x (good.example): all is well"',
    'x" (good.example): all is well "': r'"x\" (good.example): all is well \""',
    "x\\": "x\\",
}


@pytest.mark.parametrize(("name", "read"), NAMES.items())
def test_fault_21_no_name_and_no_host_passes_for_the_words_around_it(name: str, read: str) -> None:
    """Of the kind: a text of others in a line that people read by its punctuation."""
    line = shown(replace(FIRING, campaign_name=name, sftp_host=name))
    assert f" production/{read} ({read}): last test 31 d ago" in line


async def test_where_an_event_waited_the_last_line_is_ended_first_as_it_may_be_torn() -> None:
    lines = Lines()
    sink = a_log_sink(lines.write, LINKS, for_people=False)
    await sink.deliver(replace(FIRING, epoch="e", redelivery=True))
    await sink.deliver(replace(FIRING, epoch="e"))
    assert [line.startswith(b"\n") for line in lines.written] == [True, False]
