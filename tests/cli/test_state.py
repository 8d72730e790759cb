"""`sftp-monitor state migrate`, and what other commands make of a state on PostgreSQL."""

import os
from pathlib import Path

import pytest

from support.command import called
from support.postgres import OWNER, Server, opened, state_on
from support.state_files import events

CONFIG = """\
environments: [{{name: production, token: '${{TOKEN}}', campaigns: [{{id: c-1}}]}}]
state: {{url: '{url}', migrate: {migrate}}}
"""


def a_config(folder: Path, url: str, *, migrate: bool = True) -> Path:
    path = folder / "config.yaml"
    path.write_text(CONFIG.format(url=url, migrate=str(migrate).lower()))
    return path


async def test_the_schema_is_made_by_a_role_that_may_for_one_that_may_not(
    server: Server, database: str, tmp_path: Path
) -> None:
    server.execute("DROP ROLE IF EXISTS daemon", "CREATE ROLE daemon LOGIN")
    config = a_config(tmp_path, server.url(database, "daemon"), migrate=False)
    url, environ = server.url(database), {"TOKEN": "talq_0123456789abcdef"}
    before = await called("events", "--config.file", config, **environ)
    assert before.code == os.EX_IOERR
    assert "sftp-monitor state migrate" in before.err
    by_owner = ("state", "migrate", "--config.file", config, "--state.url", url)
    for _ in range(2):
        done = await called(*by_owner, **environ)
        assert (done.code, done.err) == (0, "")
        assert done.out == f"{url}: the schema is up to date"
    server.execute(
        "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO daemon",
        database=database,
    )
    state = state_on(server.url(database, "daemon"), migrate=False)
    async with opened(state, ["production"]) as store:
        store.save(events(1))
        await store.flush()
        assert store.problem is None
    after = await called("events", "--since", "520w", "--config.file", config, **environ)
    assert after.code == 0
    assert "1 events" in after.out
    server.execute("REASSIGN OWNED BY daemon TO " + OWNER, "DROP OWNED BY daemon",
                   database=database)  # fmt: skip


async def test_a_role_without_rights_is_told_so(
    server: Server, database: str, tmp_path: Path
) -> None:
    server.execute("DROP ROLE IF EXISTS nobody_else", "CREATE ROLE nobody_else LOGIN")
    config = a_config(tmp_path, server.url(database, "nobody_else"))
    done = await called("state", "migrate", "--config.file", config, TOKEN="talq_0123456789abcdef")
    assert done.code == os.EX_IOERR
    assert "permission denied for schema public" in done.err


@pytest.mark.parametrize("flag", [(), ("--state.url", "postgresql://me@db.example/monitor")])
async def test_what_is_no_safe_state_on_postgresql_is_refused(
    tmp_path: Path, flag: tuple[str, ...]
) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(CONFIG.partition("state:")[0].format())
    command = ("state", "migrate", "--config.file", str(config), *flag)
    done = await called(*command, TOKEN="talq_0123456789abcdef")
    assert done.code == (os.EX_CONFIG if flag else os.EX_USAGE)
    assert ("sslmode=verify-full" if flag else "expected state.url") in done.err
