"""What the dashboard asks, in the real Prometheus that scrapes the real demo."""

import re
from pathlib import Path

import pytest

from deploy.test_grafana import ASKED, query
from support.command import running
from support.pager import alertmanager, prometheus

pytestmark = [pytest.mark.e2e, pytest.mark.slow(seconds=75)]

LATE = {"note: SFTP config changed", "note: Switched on or off"}
"""Nothing is changed before the story's end; tests/deploy/test_grafana.py has these."""

PATIENCE = 60.0
"""Seconds until the demo's next line: many times what its story leaves between two."""


async def test_whatever_it_asks_has_an_answer_within_the_story_of_the_demo(tmp_path: Path) -> None:
    async with running("demo", "--port", "0") as demo, alertmanager(tmp_path) as alerted:
        (address,) = re.findall(r"http://([^/]+)/", await demo.line("status page"))
        async with prometheus(tmp_path, alerted, address) as source:
            empty = {name: query(name) for name in ASKED.keys() - LATE}
            while True:
                answered = [name for name, asked in empty.items() if await source.ask(asked)]
                for name in answered:
                    del empty[name]
                # The story goes on for ever; twice through it everything has happened.
                if not empty or sum(line.startswith(">>>") for line in demo.out) > 40:
                    break
                said = len(demo.out)
                await demo.until(lambda: len(demo.out) > said, PATIENCE)  # noqa: B023 - awaited here
    assert empty == {}
