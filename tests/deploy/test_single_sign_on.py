"""The page behind a single sign-on: the shipped nginx.conf in a real nginx before a real monitor.

oauth2-proxy is not run: a stand-in says who is signed on, as its documentation has it for nginx's
`auth_request`. What the overlay sends is checked with that of the others.
"""

import re
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import bcrypt
import httpx
import kubernetes_validate
import pytest
from aiohttp import web

from deploy.test_kubernetes import KUBERNETES, NAME, OF_THE_OPERATOR, OLDEST, sent
from support.command import daemon, running_program, write_config
from support.documents import read_yaml
from support.fake_platform import fake_platform
from support.peers import require_peer

FOLDER = KUBERNETES / "single-sign-on"
NGINX = (FOLDER / "nginx.conf").read_text(encoding="utf-8")
OPERATING = (KUBERNETES.parents[1] / "docs" / "operating.md").read_text(encoding="utf-8")
OURS = {"app.kubernetes.io/name": "sftp-monitor-sign-on"}

SESSION = {"Cookie": "_oauth2_proxy=signed-on"}
PASSWORD = "word-of-the-page"


def of_the_overlay() -> dict[tuple[str, str], dict[str, Any]]:
    """Return what it sends beside the base, by kind and name."""
    found = {(one["kind"], one["metadata"]["name"]): one for one in sent("single-sign-on")}
    return {
        key: one
        for key, one in found.items()
        if "labels" not in one["metadata"] or one["metadata"]["labels"] != NAME
    }


# --- what is sent -------------------------------------------------------------------------------


@pytest.mark.e2e
def test_it_is_the_base_and_what_signs_people_on_each_valid_to_the_letter() -> None:
    kinds = [kind for kind, _ in of_the_overlay() if kind not in OF_THE_OPERATOR.values()]
    assert sorted(kinds) == [
        "ConfigMap",
        "Deployment",
        "Ingress",
        "Namespace",
        "Service",
        "Service",
    ]
    for one in sent("single-sign-on"):
        if one["kind"] not in OF_THE_OPERATOR.values():
            kubernetes_validate.validate(one, OLDEST, strict=True)


@pytest.mark.e2e
def test_each_part_finds_the_next_by_name_and_port() -> None:
    found = of_the_overlay()
    (ingress,) = (one for (kind, _), one in found.items() if kind == "Ingress")
    (path,) = ingress["spec"]["rules"][0]["http"]["paths"]
    to_nginx = found["Service", path["backend"]["service"]["name"]]["spec"]
    assert [one["name"] for one in to_nginx["ports"]] == [
        path["backend"]["service"]["port"]["name"]
    ]
    template = found["Deployment", "sftp-monitor-sign-on"]["spec"]["template"]
    assert to_nginx["selector"] == template["metadata"]["labels"] == OURS
    nginx, proxy = template["spec"]["containers"]
    (port,) = nginx["ports"]
    assert port["name"] == to_nginx["ports"][0]["targetPort"]
    assert f"listen {port['containerPort']};" in NGINX
    # nginx asks what listens in its own pod alone, and has the session's redirect at the Ingress.
    (asked,) = re.findall(r"--http-address=(\S+)", " ".join(proxy["args"]))
    assert asked in NGINX
    assert asked.startswith("127.0.0.1:")
    (host,) = ingress["spec"]["tls"][0]["hosts"]
    assert f"--redirect-url=https://{host}/oauth2/callback" in proxy["args"]
    # And the monitor by an address that stays.
    to_monitor = found["Service", "sftp-monitor-page"]["spec"]
    assert "clusterIP" not in to_monitor
    assert to_monitor["selector"] == NAME
    upstreams = set(re.findall(r"proxy_pass http://(.+);", NGINX)) - {asked}
    assert upstreams == {f"sftp-monitor-page:{to_monitor['ports'][0]['port']}"}


@pytest.mark.e2e
def test_the_monitor_lets_in_prometheus_and_what_signs_people_on_and_scrapes_are_not_doubled() -> (
    None
):
    by_kind = {one["kind"]: one for one in sent("single-sign-on")}
    (ingress,) = by_kind["NetworkPolicy"]["spec"]["ingress"]
    monitoring, ours = ingress["from"]
    assert "namespaceSelector" in monitoring
    assert ours == {"podSelector": {"matchLabels": OURS}}
    selected = by_kind["ServiceMonitor"]["spec"]["selector"]["matchLabels"]
    labels = [
        one["metadata"]["labels"] for one in sent("single-sign-on") if one["kind"] == "Service"
    ]
    assert [one for one in labels if selected.items() <= one.items()] == [NAME]


@pytest.mark.e2e
def test_its_containers_may_do_as_little_as_the_monitors() -> None:
    pod = of_the_overlay()["Deployment", "sftp-monitor-sign-on"]["spec"]["template"]["spec"]
    (monitors,) = (one for one in sent("single-sign-on") if one["kind"] == "StatefulSet")
    (monitor,) = monitors["spec"]["template"]["spec"]["containers"]
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"] == {
        "runAsNonRoot": True,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    for one in pod["containers"]:
        assert one["securityContext"] == monitor["securityContext"]


def test_its_secret_has_what_the_operating_page_puts_into_it() -> None:
    deployment = read_yaml((FOLDER / "sign-on.yaml").read_text())
    wanted = set(re.findall(r"'key': '([\w.-]+)'", str(deployment)))
    (made,) = re.findall(
        r"create secret generic sftp-monitor-sign-on(.*?)\n\n", OPERATING, re.DOTALL
    )
    assert set(re.findall(r"--from-file=([\w.-]+)", made)) == wanted


# --- what it does -------------------------------------------------------------------------------


@dataclass
class SignOn:
    """Stands for oauth2-proxy: knows one session, and notes where people wanted to go."""

    address: str = ""
    wanted: list[str] = field(default_factory=list)

    async def auth(self, request: web.Request) -> web.Response:
        """Say whether the session is known."""
        return web.Response(
            status=202 if request.headers.get("Cookie") == SESSION["Cookie"] else 401
        )

    async def sign_in(self, request: web.Request) -> web.Response:
        """Send somebody to the identity provider."""
        self.wanted.append(request.headers["X-Auth-Request-Redirect"])
        return web.Response(status=302, headers={"Location": "https://login.example/"})


@asynccontextmanager
async def signing_on() -> AsyncIterator[SignOn]:
    stand_in, application = SignOn(), web.Application()
    application.router.add_get("/oauth2/auth", stand_in.auth)
    application.router.add_get("/oauth2/sign_in", stand_in.sign_in)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        stand_in.address = f"127.0.0.1:{runner.addresses[0][1]}"
        yield stand_in
    finally:
        await runner.cleanup()


def authorization(folder: Path) -> None:
    """Make nginx's secret as the operating page says."""
    (command,) = re.findall(
        r"^ +(printf 'proxy_set_header .+?authorization\.conf)$", OPERATING, re.M | re.S
    )
    (folder / "page-password").write_text(f"{PASSWORD}\n", encoding="utf-8")
    subprocess.run(["bash", "-euc", command], cwd=folder, check=True)


@asynccontextmanager
async def behind(folder: Path, sign_on: SignOn, monitor: str) -> AsyncIterator[httpx.AsyncClient]:
    """Run nginx with the shipped file before this monitor; gives a client of it."""
    authorization(folder)
    here = {
        "8080": f"unix:{folder}/nginx.socket",
        "127.0.0.1:4180": sign_on.address,
        "http://sftp-monitor-page:10022": monitor,
        "/run/secrets/page": str(folder),
        "/tmp/": f"{folder}/",
        "/dev/stderr warn": "stderr notice",
    }
    text = NGINX
    for there, place in here.items():
        assert there in text
        text = text.replace(there, place)
    config = folder / "nginx.conf"
    config.write_text(text, encoding="utf-8")
    # In one process, which keeps this one's user: its folders are this one's.
    flags = ("-e", "stderr", "-g", "daemon off; master_process off;")
    async with running_program(require_peer("nginx"), "-c", config, *flags) as nginx:
        await nginx.until(lambda: [line for line in nginx.err if "event method" in line])
        transport = httpx.AsyncHTTPTransport(uds=f"{folder}/nginx.socket")
        async with httpx.AsyncClient(
            transport=transport, base_url="http://sftp-monitor.example"
        ) as client:
            yield client


@pytest.mark.e2e
@pytest.mark.slow
async def test_people_who_are_signed_on_see_the_page_and_nobody_else_does(tmp_path: Path) -> None:
    hashed = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()
    passwords = tmp_path / "web-config.yaml"
    passwords.write_text(f"basic_auth_users: {{page: {hashed}}}\n", encoding="utf-8")
    passwords.chmod(0o600)
    async with fake_platform("c-1") as platform, signing_on() as sign_on:
        config = write_config(tmp_path, platform, ["c-1"])
        async with (
            daemon(config, f"--web.config.file={passwords}") as monitor,
            behind(tmp_path, sign_on, monitor.url) as client,
        ):
            assert (await monitor.web.get("/")).status_code == 401

            stranger = await client.get("/?health=critical&q=a")
            assert (stranger.status_code, stranger.headers["Location"]) == (
                302,
                "https://login.example/",
            )
            # After the sign-on back to where they wanted to go.
            assert sign_on.wanted == ["/?health=critical&q=a"]
            forged = {"Authorization": "Basic cGFnZTp3b3Jk", "Cookie": "_oauth2_proxy=guessed"}
            assert (await client.get("/api/v1/alerts", headers=forged)).status_code == 302

            page = await client.get("/", headers=SESSION)
            assert page.status_code == 200
            assert "Campaign c-1" in page.text
            status = await client.get(
                "/api/v1/status", headers=SESSION | {"Authorization": "Basic x"}
            )
            assert status.status_code == 200

            # Looking is all, and all of the metrics is Prometheus' business.
            for path in ("/-/reload", "/api/v1/tests/suspend"):
                assert (await client.post(path, headers=SESSION)).status_code == 403
            assert (await client.get("/metrics", headers=SESSION)).status_code == 404
            await platform.until(lambda: bool(platform.requests))
            assert (await client.get("/-/healthy")).status_code == 200
            assert (await client.get("/-/ready")).status_code in {200, 503}
