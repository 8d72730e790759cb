"""The file sink: every event once, whatever broke off, was rotated away or is full."""

import json
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from monitor.adapters.sinks.file import ROTATED
from monitor.core.model import Event
from monitor.serialize import Links, event_line
from support.events import FIRING
from support.sinks import a_file_sink

LINKS = Links("https://runbooks.example/{rule}")


def told(seq: int) -> Event:
    """Return the `seq`-th event of an alert."""
    return replace(FIRING, seq=seq, epoch="e")


def line(seq: int) -> bytes:
    """Return its line."""
    return event_line(told(seq), LINKS)


def seqs(*paths: Path) -> list[int]:
    """Return the numbers of the events in these files; every line must be a whole one."""
    return [json.loads(line)["seq"] for path in paths for line in path.read_bytes().splitlines()]


class AlertFile:
    """A file that is to be, and the sink that writes it (in this thread: hundreds of times)."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.sink = a_file_sink(path, LINKS, threaded=False)
        self.deliver = self.sink.deliver

    @property
    def content(self) -> bytes:
        return self.path.read_bytes()

    def holds(self, content: bytes) -> None:
        self.path.write_bytes(content)

    def beside(self, suffix: str, content: bytes) -> Path:
        """Put down a file that was rotated away."""
        path = self.path.with_name(self.path.name + suffix)
        path.write_bytes(content)
        return path

    async def deliver_many(self, *seqs: int) -> None:
        """Deliver these events at once."""
        await self.deliver(*map(told, seqs))

    async def has(self, *seqs: int, before: int | None = None) -> int | None:
        """Ask the sink how many of these events it has, which are told after another one."""
        assert self.sink.has is not None
        previous = None if before is None else told(before).event_id
        return await self.sink.has([told(seq).event_id for seq in seqs], previous)


@pytest.fixture
def file(tmp_path: Path) -> AlertFile:
    return AlertFile(tmp_path / "alerts.jsonl")


# --- lines -------------------------------------------------------------------------------------


async def test_an_event_is_appended_as_the_very_line_of_the_log(file: AlertFile) -> None:
    await file.deliver(told(1))
    await file.deliver(told(2))
    assert file.content == line(1) + line(2)


async def test_the_file_can_be_read_by_its_owner_and_group_only(file: AlertFile) -> None:
    before = os.umask(0)
    try:
        await file.deliver(told(1))
    finally:
        os.umask(before)
    assert file.path.stat().st_mode & 0o777 == 0o640


async def test_a_thread_of_its_own_writes_the_same(file: AlertFile) -> None:
    file.sink = a_file_sink(file.path, LINKS)
    assert await file.has(1) is None
    await file.sink.deliver(told(1))
    assert await file.has(1)
    assert file.content == line(1)


async def test_without_its_directory_it_says_which_one_is_missing(tmp_path: Path) -> None:
    sink = a_file_sink(tmp_path / "logs" / "alerts.jsonl", LINKS)
    with pytest.raises(FileNotFoundError, match="logs"):
        await sink.deliver(told(1))


# --- what broke off ----------------------------------------------------------------------------


@pytest.mark.slow
async def test_fault_42_a_line_that_broke_off_anywhere_is_completed(file: AlertFile) -> None:
    whole = line(2)
    for cut in range(len(whole)):
        file.holds(line(1) + whole[:cut])
        assert await file.has(2, before=1) == 0
        await file.deliver(told(2))
        assert file.content == line(1) + whole, f"cut after {cut} bytes"


async def test_the_first_line_of_a_file_that_broke_off_was_never_told(file: AlertFile) -> None:
    file.holds(line(2)[:-1])
    assert await file.has(2, before=1) == 0
    await file.deliver(told(2))
    assert file.content == line(2)


async def test_half_a_line_of_something_else_is_ended_first(file: AlertFile) -> None:
    file.holds(line(1) + b'{"half of')
    await file.deliver(told(2))
    assert file.content == line(1) + b'{"half of\n' + line(2)


async def test_a_line_that_is_there_and_was_not_synced_is_not_written_again(
    file: AlertFile,
) -> None:
    file.holds(line(1) + line(2))
    await file.deliver(told(2))
    assert seqs(file.path) == [1, 2]


@contextmanager
def no_file_longer_than(size: int) -> Iterator[None]:
    """Have the kernel cut off what is written beyond a size, as a full disk does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def test_fault_41_what_a_full_disk_cut_off_is_completed_once_there_is_room(
    file: AlertFile,
) -> None:
    await file.deliver(told(1))
    size = file.path.stat().st_size + 100
    with no_file_longer_than(size), pytest.raises(OSError, match="File too large"):
        await file.deliver(told(2))
    assert file.path.stat().st_size == size
    await file.deliver(told(2))
    assert file.content == line(1) + line(2)


async def test_fault_41_of_several_a_full_disk_cut_off_anywhere_each_is_there_once(
    file: AlertFile,
) -> None:
    await file.deliver(told(1))
    size, length = file.path.stat().st_size, len(line(2))
    for room in (0, 1, length - 1, length, length + 1, 2 * length, 3 * length - 1):
        os.truncate(file.path, size)
        with no_file_longer_than(size + room), pytest.raises(OSError, match="File too large"):
            await file.deliver_many(2, 3, 4)
        assert file.path.stat().st_size == size + room
        await file.deliver_many(2, 3, 4)
        assert file.content == b"".join(map(line, (1, 2, 3, 4))), f"room for {room} bytes"


async def test_fault_41_what_was_cut_off_and_rotated_away_goes_on_in_the_new_file(
    file: AlertFile,
) -> None:
    await file.deliver(told(1))
    with no_file_longer_than(3 * len(line(1)) - 1), pytest.raises(OSError, match="File too large"):
        await file.deliver_many(2, 3, 4)
    rotated = file.path.rename(file.path.with_name("alerts.jsonl.1"))
    await file.deliver_many(2, 3, 4)
    assert rotated.read_bytes() == line(1) + line(2) + line(3)[:-1]
    assert file.content == line(3) + line(4)


# --- rotation ----------------------------------------------------------------------------------


async def test_fault_41_after_a_rotation_by_rename_a_new_file_is_made(file: AlertFile) -> None:
    await file.deliver(told(1))
    rotated = file.path.rename(file.path.with_name("alerts.jsonl.1"))
    await file.deliver(told(2))
    assert (seqs(rotated), seqs(file.path)) == ([1], [2])


async def test_fault_41_after_copytruncate_it_goes_on_at_the_beginning(file: AlertFile) -> None:
    await file.deliver(told(1))
    os.truncate(file.path, 0)
    await file.deliver(told(2))
    assert file.content == line(2)


# --- what is there already ---------------------------------------------------------------------


async def test_an_event_in_the_file_is_known_to_be_there(file: AlertFile) -> None:
    file.holds(line(1) + line(2))
    assert await file.has(2, before=1) == 1


async def test_an_event_that_does_not_follow_the_one_before_it_was_never_told(
    file: AlertFile,
) -> None:
    file.holds(line(1))
    assert await file.has(2, before=1) == 0


async def test_an_id_is_not_taken_for_the_beginning_of_another(file: AlertFile) -> None:
    file.holds(line(12))
    assert await file.has(1) is None


@pytest.mark.parametrize("content", [None, b"", line(7)], ids=["no file", "empty", "truncated"])
async def test_of_what_may_have_been_truncated_nobody_can_know(
    file: AlertFile, content: bytes | None
) -> None:
    if content is not None:
        file.holds(content)
    assert await file.has(2, before=1) is None
    assert await file.has(2) is None


async def test_an_event_is_found_in_a_file_that_was_rotated_away(file: AlertFile) -> None:
    file.beside("-20261123", line(1) + line(2))
    file.beside(".2.gz", b"\x1f\x8b")
    file.path.with_name("alerts.jsonl.d").mkdir()
    assert await file.has(2, before=1) == 1
    # It may have been told after the copy was taken, and truncated away.
    assert await file.has(3, before=2) is None


async def test_half_a_line_in_a_rotated_file_is_not_told(file: AlertFile) -> None:
    file.beside(".1", line(1) + line(2)[:-1])
    assert await file.has(2, before=1) is None


async def test_only_the_newest_rotated_files_are_searched(file: AlertFile) -> None:
    for age in range(ROTATED + 1):
        rotated = file.beside(f".{age}", line(age))
        os.utime(rotated, (1_800_000_000 - age, 1_800_000_000 - age))
    assert [await file.has(age) for age in range(ROTATED + 1)] == [1] * ROTATED + [None]


async def test_of_several_it_has_those_up_to_the_last_that_is_there(file: AlertFile) -> None:
    file.holds(line(2) + line(3))
    assert await file.has(2, 3, 4, before=1) == 2
    # Those before it were rotated away, for they were written before.
    assert await file.has(1, 2, 3, 4) == 3
    assert await file.has(4, 5, before=3) == 0
    assert await file.has(5, 6, before=4) is None


async def test_half_of_one_says_that_those_before_it_are_there(file: AlertFile) -> None:
    file.holds(line(3)[:-1])
    assert await file.has(2, 3, 4, before=1) == 1
    file.holds(line(2) + line(3)[:-1])
    assert await file.has(2, 3, 4, before=1) == 1


async def test_several_are_found_in_what_was_rotated_away(file: AlertFile) -> None:
    file.beside(".1", line(1) + line(2) + line(3))
    assert await file.has(2, 3, 4, before=1) == 2
    # It may have been told after the copy was taken, and truncated away.
    assert await file.has(4, before=3) is None
