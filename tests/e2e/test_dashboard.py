"""What the dashboard asks, in the real Prometheus that scrapes the real monitor."""

from pathlib import Path

import pytest

from deploy.test_grafana import QUERIES, query
from support.command import daemon, write_config
from support.fake_platform import FORBIDDEN, fake_platform
from support.pager import alertmanager, prometheus

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


async def test_every_panel_has_data(tmp_path: Path) -> None:
    async with fake_platform("c-1", "c-2") as platform:
        platform.set("c-1", last_test_success=False)
        platform.replies["c-3"] = FORBIDDEN
        config = write_config(tmp_path, platform, ["c-1", "c-2", "c-3"])
        async with (
            daemon(config) as monitor,
            alertmanager(tmp_path) as alerted,
            prometheus(tmp_path, alerted, monitor.url.removeprefix("http://")) as source,
        ):
            empty = set(QUERIES)
            # Each poll is followed by a scrape: then there may be more to see.
            for _ in range(60):
                await platform.more(3)
                empty -= {name for name in empty if await source.ask(query(name))}
                if not empty:
                    break
    assert empty == set()
