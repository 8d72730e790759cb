"""Operational logs: one stream of whole lines, harmless, and never in the way."""

import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from monitor.adapters import log


@pytest.fixture
def reset() -> Iterator[None]:
    """Put logging back as it was: it is one for the whole process."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


class Stream:
    """A file that a writer writes to."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self.writer = log.LineWriter(self.fd)

    def lines(self) -> list[str]:
        self.writer.close()
        os.close(self.fd)
        return self.path.read_text().splitlines()


@pytest.fixture
def stream(tmp_path: Path) -> Stream:
    return Stream(tmp_path / "out")


def _configure(stream: Stream, output: str = "json", level: str = "info") -> None:
    log.configure(stream.writer, lambda: 1_800_000_000.0, level=level, output=output)


@pytest.mark.usefixtures("reset")
def test_structlog_and_the_standard_library_write_the_same_json_lines(stream: Stream) -> None:
    _configure(stream)
    structlog.get_logger().info("poll_failed", reason="timeout")
    logging.getLogger("somebody").warning("it is %s", "late")
    first, second = map(json.loads, stream.lines())
    assert first == {
        "timestamp": "2027-01-15T08:00:00.000Z",
        "event": "poll_failed",
        "level": "info",
        "reason": "timeout",
    }
    assert (second["event"], second["level"]) == ("it is late", "warning")


@pytest.mark.usefixtures("reset")
def test_below_the_level_nothing_is_said(stream: Stream) -> None:
    _configure(stream, level="warning")
    structlog.get_logger().info("quiet")
    assert stream.lines() == []


@pytest.mark.usefixtures("reset")
def test_for_people_a_line_has_no_braces(stream: Stream) -> None:
    _configure(stream, "console")
    structlog.get_logger().info("started", url="http://127.0.0.1:10022")
    assert stream.lines() == ["08:00:00 info              started url=http://127.0.0.1:10022"]


@pytest.mark.usefixtures("reset")
def test_fault_21_for_people_a_value_that_is_not_one_plain_word_is_in_quotes(
    stream: Stream,
) -> None:
    """Of the kind: a text of others in a line that people read by its punctuation."""
    _configure(stream, "console")
    values = {
        "plain": "sftp.example.com:22",
        "two": "x level=critical",
        "one": "x=y",
        "quote": 'x" y="z',
        "empty": "",
        "markup": "<!channel> <https://evil.example|Runbook>",
        "listed": ["a b"],
        "number": 7,
    }
    structlog.get_logger().info("seen", **values)
    assert stream.lines() == [
        '08:00:00 info              seen plain=sftp.example.com:22 two="x level=critical" '
        'one="x=y" quote="x\\" y=\\"z" empty="" markup="<!channel> <https://evil.example|Runbook>" '
        "listed=\"['a b']\" number=7"
    ]


@pytest.mark.usefixtures("reset")
def test_fault_38_a_token_in_a_text_or_a_traceback_is_redacted(stream: Stream) -> None:
    _configure(stream)
    token = "talq_c4nary"  # a canary, not a token
    try:
        int(f"the header Bearer {token} is refused")
    except ValueError:
        structlog.get_logger().exception("broke", detail=f"sent {token}")
    (line,) = stream.lines()
    assert "c4nary" not in line
    assert "ValueError" in json.loads(line)["exception"]


@pytest.mark.usefixtures("reset")
def test_fault_17_a_text_stays_one_line_without_control_characters(stream: Stream) -> None:
    _configure(stream)
    structlog.get_logger().info("seen", host="a\nb\x1b[31m" + "x" * 5000)
    (line,) = stream.lines()
    assert len(line) < 1000
    assert "\\u001b" not in line


async def test_an_alert_line_is_written_when_the_call_returns(stream: Stream) -> None:
    await stream.writer.write(b"whole\n")
    assert stream.path.read_bytes() == b"whole\n"


async def test_a_closed_stream_is_told_to_who_writes_an_alert(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    writer = log.LineWriter(writing)
    with pytest.raises(BrokenPipeError):
        await writer.write(b"lost\n")
    writer.close()
    os.close(writing)


async def test_fault_41_a_pipe_that_nobody_reads_blocks_nobody_else() -> None:
    reading, writing = os.pipe()
    writer = log.LineWriter(writing)
    for _ in range(log.LINES_WAITING + 100):
        writer.put(b"x" * 1023 + b"\n")
    assert writer.dropped > 0
    os.set_blocking(reading, True)
    writer.close(timeout=0.01)
    assert os.read(reading, 1024) == b"x" * 1023 + b"\n"
    os.close(reading)  # the writer's thread gets its error and comes to its end


def test_fault_41_every_line_that_is_lost_on_a_full_disk_is_counted() -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    writer = log.LineWriter(full)
    # More than may wait: some are lost here, the others in the writer's thread.
    for _ in range(3 * log.LINES_WAITING):
        writer.put(b"lost\n")
    writer.close(timeout=30)
    assert writer.dropped == 3 * log.LINES_WAITING
    os.close(full)


async def test_an_alert_line_that_failed_is_not_counted_as_it_is_delivered_again() -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    writer = log.LineWriter(full)
    with pytest.raises(OSError, match="No space left"):
        await writer.write(b"alert\n")
    writer.close()
    assert writer.dropped == 0
    os.close(full)


async def test_after_a_torn_line_the_next_one_begins_on_a_line_of_its_own(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    writer = log.LineWriter(writing)
    torn = b"t" * 100_000 + b"\n"
    with pytest.raises(BlockingIOError):
        await writer.write(torn)
    got = os.read(reading, 200_000)
    assert torn.startswith(got)
    await writer.write(b"next\n")
    assert os.read(reading, 200_000) == b"\nnext\n"
    writer.close()
    os.close(reading)
    os.close(writing)
