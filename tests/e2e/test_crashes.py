"""kill -9 at any moment, at every step: no event is lost, and none is twice in the file.

The short form of `make torture PART=kills`.
"""

import asyncio
import json
import random
import signal
from pathlib import Path

import pytest

from monitor.adapters.store import Store
from support.command import COMMAND, DEADLINE, write_config
from support.fake_platform import fake_platform, now
from support.peers import require_peer
from support.state_files import SINK, events
from torture.kills import figures, kill_at_random
from torture.steps import die_at_every_step, orders


@pytest.mark.slow(seconds=30)
async def test_fault_42_a_dozen_random_kills_lose_and_double_nothing() -> None:
    seed = random.randrange(10**6)
    renamed = await kill_at_random(12, 5, seed, copytruncate=False)
    truncated = await kill_at_random(6, 5, seed, copytruncate=True)
    assert [figure for figure in figures(renamed, truncated) if not figure.kept] == []


@pytest.mark.slow(seconds=30)
def test_fault_42_a_death_at_any_step_loses_and_doubles_nothing() -> None:
    require_peer("strace")
    figure = die_at_every_step([*orders("cfp"), "cccpf", "bb"], stride=8)
    assert figure.kept, figure


async def _an_event_waits(state: Path) -> None:
    """Leave a state in which an event was decided before a crash, and perhaps told."""
    store = Store(state, now=now())
    store.add_sink(SINK)
    store.save(events(1))
    await store.aclose()


@pytest.mark.slow
async def test_fault_42_half_a_line_on_standard_output_is_ended_before_anything_is_said(
    tmp_path: Path,
) -> None:
    out = tmp_path / "out"
    out.write_bytes(b'{"half of')
    await _an_event_waits(tmp_path / "state.db")
    async with fake_platform("c-1") as platform:
        config = write_config(tmp_path, platform, ["c-1"])
        with out.open("ab") as stdout:
            process = await asyncio.create_subprocess_exec(
                COMMAND, "run", "--config.file", config, stdout=stdout
            )
        await platform.until(lambda: bool(platform.requests))
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(DEADLINE):
            assert await process.wait() == 0
    torn, first, *rest = out.read_bytes().splitlines()
    assert torn == b'{"half of'
    assert json.loads(first)["redelivery"] is True
    assert "started" in [json.loads(line)["event"] for line in rest]
