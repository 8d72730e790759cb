"""`sftp-monitor healthy`: what a health check finds out, whatever the daemon's config is."""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trustme
from aiohttp import web

from support.command import Finished, called, daemon, finished, write_config
from support.fake_platform import fake_platform

HASH = "$2b$04$" + "a" * 53


@asynccontextmanager
async def answering(status: int, folder: Path | None = None) -> AsyncIterator[int]:
    """Answer /-/healthy so; with a folder by TLS, and its certificate there. Gives the port."""
    context = None
    if folder is not None:
        leaf = trustme.CA().issue_cert("monitor.example")
        leaf.private_key_and_cert_chain_pem.write_to_path(str(folder / "server.pem"))
        (folder / "server.pem").chmod(0o600)
        context = web_context(folder / "server.pem")

    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=status, text="the poll loop stands still")

    application = web.Application()
    application.router.add_get("/-/healthy", answer)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


def web_context(pem: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    return context


async def asked(folder: Path, port: int, web_file: str | None = None, host: str = "") -> Finished:
    """Ask by a config file in which all but `web` is missing or wrong."""
    config = folder / "sftp-monitor.yaml"
    text = f"environments: [{{token_file: /nowhere}}]\nweb:\n  listen_address: '{host}:{port}'\n"
    if web_file is not None:
        (folder / "web.yaml").write_text(web_file)
        text += "  config_file: web.yaml\n"
    config.write_text(text)
    return await called("healthy", "--config.file", config)


@pytest.mark.parametrize("host", ["", "0.0.0.0", "127.0.0.1", "localhost"])
async def test_a_daemon_is_found_where_it_listens(host: str, tmp_path: Path) -> None:
    async with answering(200) as port:
        done = await asked(tmp_path, port, host=host)
    assert (done.code, done.err) == (0, "")


async def test_a_loop_that_stands_still_is_unhealthy_and_says_so(tmp_path: Path) -> None:
    async with answering(503) as port:
        done = await asked(tmp_path, port)
    assert done.code == 1
    assert done.err == f":{port}: 503 the poll loop stands still"


TLS = "tls_server_config: {cert_file: server.pem, key_file: server.pem}\n"


@pytest.mark.parametrize("web_file", [TLS, "tls_server_config: [what is this"])
async def test_by_tls_whatever_the_certificate_is_made_out_to(
    web_file: str, tmp_path: Path
) -> None:
    async with answering(200, tmp_path) as port:
        assert (await asked(tmp_path, port, web_file)).code == 0


async def test_a_web_config_file_with_passwords_alone_is_asked_without_tls(tmp_path: Path) -> None:
    async with answering(200) as port:
        done = await asked(tmp_path, port, f"basic_auth_users: {{me: {HASH}}}\n")
    assert (done.code, done.err) == (0, "")


async def test_nobody_there_is_unhealthy(tmp_path: Path) -> None:
    async with answering(200) as port:
        pass
    done = await asked(tmp_path, port)
    assert done.code == 1
    assert "refused" in done.err


async def test_flags_beat_the_file_and_stand_for_one(tmp_path: Path) -> None:
    async with answering(200) as port:
        await asked(tmp_path, 1)
        flag = ("--web.listen-address", f":{port}")
        config = ("--config.file", tmp_path / "sftp-monitor.yaml")
        assert (await called("healthy", *config, *flag)).code == 0
        assert (await called("healthy", *flag)).code == 0
        variable = {"SFTP_MONITOR_WEB_LISTEN_ADDRESS": f":{port}"}
        assert (await called("healthy", **variable)).code == 0


async def test_a_file_that_is_none_is_a_bad_config(tmp_path: Path) -> None:
    done = await called("healthy", "--config.file", tmp_path / "nowhere.yaml")
    assert done.code == 78


@pytest.mark.slow
async def test_the_real_daemon_by_tls_with_passwords_is_healthy_over_a_bad_edit(
    tmp_path: Path,
) -> None:
    leaf = trustme.CA().issue_cert("monitor.example")
    leaf.private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "server.pem"))
    (tmp_path / "server.pem").chmod(0o600)
    (tmp_path / "web.yaml").write_text(f"{TLS}basic_auth_users: {{me: {HASH}}}\n")
    async with fake_platform("c-1") as platform:
        config = write_config(tmp_path, platform, ["c-1"])
        async with daemon(config, "--web.config.file", str(tmp_path / "web.yaml")) as monitor:
            address = monitor.url.removeprefix("https://")
            flags = ("--web.listen-address", address, "--web.config.file", tmp_path / "web.yaml")
            config.write_text(config.read_text().replace('"polling"', '"poling"'))
            done = await finished("healthy", "--config.file", config, *flags)
            assert (done.code, done.err) == (0, "")
