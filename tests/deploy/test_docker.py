"""The image and the compose file. No container engine runs here: each step runs as a process.

The build's steps are taken from the Dockerfile and run in a folder of their own; what they install
is then started as the compose file has it, and asked for its health as the image has it.
"""

import asyncio
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from monitor.config.formats import database_url
from support.command import COMMAND, running
from support.documents import read_yaml
from support.peers import require_peer
from support.postgres import Server

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy" / "docker"
DOCKERFILE = FOLDER / "Dockerfile"
SCRIPTS = Path(sysconfig.get_path("scripts"))
COMPOSE: dict[str, Any] = read_yaml((FOLDER / "compose.yaml").read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]
REPLICAS: dict[str, Any] = read_yaml((FOLDER / "compose-replicas.yaml").read_text())
OVER: dict[str, Any] = REPLICAS["services"]
ADDED = {name: one for name, one in OVER.items() if name not in SERVICES}
"""What compose-replicas.yaml has beside compose.yaml; the rest of it changes what is there."""

WHOLE = {**SERVICES, **ADDED}


def run(*command: str | Path, cwd: Path = ROOT, **environ: str) -> str:
    """Return what a command says; it must succeed."""
    done = subprocess.run(
        command,
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environ},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_linter_of_dockerfiles_finds_nothing() -> None:
    assert run(SCRIPTS / "hadolint", DOCKERFILE) == ""


@pytest.mark.slow
def test_the_compose_files_follow_their_schema() -> None:
    schema = ("--builtin-schema", "vendor.compose-spec")
    files = (FOLDER / "compose.yaml", FOLDER / "compose-replicas.yaml")
    run(SCRIPTS / "check-jsonschema", *schema, *files)


def instructions() -> Iterator[tuple[str, str]]:
    """Yield what the Dockerfile says, one instruction after the other."""
    text = DOCKERFILE.read_text(encoding="utf-8").replace("\\\n", " ")
    for line in text.splitlines():
        if line and not line.startswith("#"):
            word, _, rest = line.partition(" ")
            yield word, rest.strip()


def said(word: str) -> str:
    """Return what the last instruction with this word says: the one of the final image."""
    return [rest for one, rest in instructions() if one == word][-1]


def test_the_image_runs_as_a_user_with_a_number_that_is_not_root() -> None:
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", said("USER"))


def test_the_image_says_what_it_is_and_has_one_base_that_nobody_can_move() -> None:
    labels = re.findall(r"org\.opencontainers\.image\.(\w+)=", said("LABEL"))
    assert {"title", "source", "licenses", "version", "revision"} <= set(labels)
    bases = [rest.split()[0] for word, rest in instructions() if word == "FROM"]
    assert bases == ["${BASE}"] * 2
    (base,) = [rest for word, rest in instructions() if rest.startswith("BASE=")]
    assert re.fullmatch(r"BASE=python:3\.\d+-slim@sha256:[0-9a-f]{64}", base)


def test_what_the_labels_are_filled_with_is_an_argument_of_the_final_stage() -> None:
    steps = list(instructions())
    final = max(number for number, (word, _) in enumerate(steps) if word == "FROM")
    declared = {rest.partition("=")[0] for word, rest in steps[final:] if word == "ARG"}
    assert set(re.findall(r"\$\{(\w+)\}", said("LABEL"))) == declared


def test_whatever_uid_openshift_draws_can_write_the_state() -> None:
    (made,) = [rest for word, rest in instructions() if word == "RUN" and "/state" in rest]
    assert "mkdir --mode=0770 /state && chown 10022:0 /state" in made


def test_there_is_no_pip_in_the_image() -> None:
    steps = [rest for word, rest in instructions() if word == "RUN"]
    assert steps[-2].endswith("/opt/sftp-monitor/bin/pip uninstall --yes pip")
    assert steps[-1].endswith("python -m pip uninstall --yes pip")


def test_what_wants_to_write_on_a_read_only_root_has_a_place_in_memory() -> None:
    assert SERVICES["grafana"]["tmpfs"] == ["/tmp", "/var/log/grafana"]
    assert SERVICES["alertmanager"]["tmpfs"] == ["/tmp"]


def test_what_the_image_is_made_of_is_not_ignored_and_no_more_is_sent() -> None:
    kept = {
        line.removeprefix("!")
        for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
        if line.startswith("!")
    }
    copied = [rest.split()[:-1] for word, rest in instructions() if word == "COPY"]
    assert {name for names in copied for name in names if not name.startswith("-")} - {
        "/opt/sftp-monitor"
    } == kept


def test_every_file_that_is_mounted_exists_and_is_read_only() -> None:
    every = [*SERVICES.values(), *OVER.values()]
    mounts = [mount for one in every for mount in one.get("volumes", [])]
    files = [mount.split(":") for mount in mounts if mount.startswith(".")]
    assert len(files) >= 6
    for source, _, mode in files:
        assert (FOLDER / source).exists(), source
        assert mode == "ro"


def test_every_volume_is_declared_and_used() -> None:
    mounts = [mount for one in SERVICES.values() for mount in one.get("volumes", [])]
    used = [mount.split(":")[0] for mount in mounts if not mount.startswith(".")]
    assert sorted(used) == sorted(COMPOSE["volumes"])
    assert REPLICAS["volumes"].keys() == {ADDED["postgres"]["volumes"][0].split(":")[0]}
    assert f"state:{said('VOLUME')}" in SERVICES["monitor"]["volumes"]


@pytest.mark.parametrize("service", WHOLE)
def test_a_service_may_do_nothing_but_its_work(service: str) -> None:
    hardened = WHOLE[service]
    assert hardened["read_only"] is True
    assert hardened["cap_drop"] == ["ALL"]
    assert hardened["security_opt"] == ["no-new-privileges:true"]
    assert hardened["ulimits"] == {"core": 0}


def test_no_port_is_published_beyond_this_machine() -> None:
    every = [*SERVICES.values(), *OVER.values()]
    ports = [port for one in every for port in one.get("ports", [])]
    assert [port for port in ports if not port.startswith("127.0.0.1:")] == []


def test_what_the_head_of_the_compose_file_says_is_published_is() -> None:
    text = (FOLDER / "compose.yaml").read_text(encoding="utf-8")
    said = dict(re.findall(r"http://(127\.0\.0\.1:\d+) +([\w-]+)", text.partition("\n\n")[0]))
    # The monitor's port is that of the service whose network it shares.
    names = {"demo-api": "sftp-monitor"}
    found = {}
    for service, one in SERVICES.items():
        for port in one.get("ports", []):
            address, host_port, container_port = port.split(":")
            assert host_port == container_port
            found[f"{address}:{host_port}"] = names.get(service, service)
    assert found == {address: name.lower() for address, name in said.items()}


def test_each_service_comes_back_by_itself_and_waits_for_what_it_needs() -> None:
    assert {one["restart"] for one in WHOLE.values()} == {"unless-stopped"}
    assert SERVICES["monitor"]["depends_on"] == ["demo-api"]
    built = {name for name, one in SERVICES.items() if one["image"] == "sftp-monitor"}
    assert built == {"demo-api", "monitor"}
    assert SERVICES["demo-api"]["build"] == {
        "context": "../..",
        "dockerfile": str(DOCKERFILE.relative_to(ROOT)),
    }
    # Those of others are named by a version.
    for one in WHOLE.values():
        assert one["image"] == "sftp-monitor" or re.search(r":v?\d+(\.\d+)+$", one["image"])


def mounted(service: str, folder: Path) -> dict[str, Path]:
    """Lay the files of a service out as in its container; return path there → path here."""
    found = {}
    for mount in SERVICES[service]["volumes"]:
        source, target, *_ = mount.split(":")
        if source.startswith("."):
            found[target] = folder / target.strip("/")
            found[target].parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(FOLDER / source, found[target])
    return found


def test_prometheus_finds_its_rules_where_they_are_mounted(tmp_path: Path) -> None:
    config = mounted("prometheus", tmp_path)["/etc/prometheus/prometheus.yml"]
    assert "rules found" in run(require_peer("promtool"), "check", "config", config)


def test_alertmanager_finds_its_templates_where_they_are_mounted(tmp_path: Path) -> None:
    config = mounted("alertmanager", tmp_path)["/etc/alertmanager/alertmanager.yml"]
    assert "1 templates" in run(require_peer("amtool"), "check-config", config)
    # amtool counts patterns, and takes it well when one of them matches no file.
    (template,) = read_yaml(config.read_text())["templates"]
    assert (config.parent / template).is_file()


def test_prometheus_asks_services_that_there_are() -> None:
    config = read_yaml((FOLDER / "prometheus.yaml").read_text())
    assert config["scrape_configs"][0]["honor_labels"] is True
    (scraped,) = config["scrape_configs"][0]["static_configs"][0]["targets"]
    (told,) = config["alerting"]["alertmanagers"][0]["static_configs"][0]["targets"]
    host, port = scraped.split(":")
    assert SERVICES["monitor"]["network_mode"] == f"service:{host}"
    assert SERVICES[host]["ports"] == [f"127.0.0.1:{port}:{port}"]
    assert read_yaml((FOLDER / "sftp-monitor.yaml").read_text())["web"]["listen_address"].endswith(
        f":{port}"
    )
    assert told.split(":")[0] in SERVICES


def test_both_replicas_are_scraped_and_nothing_else_is_changed() -> None:
    scraped, of_both = (
        read_yaml((FOLDER / name).read_text())
        for name in ("prometheus.yaml", "prometheus-replicas.yaml")
    )
    targets = of_both["scrape_configs"][0]["static_configs"][0]["targets"]
    assert targets == ["demo-api:10022", "demo-api:10023"]
    scraped["scrape_configs"][0]["static_configs"][0]["targets"] = targets
    assert of_both == scraped
    mounts = [one.split(":")[1] for one in SERVICES["prometheus"]["volumes"]]
    (over,) = OVER["prometheus"]["volumes"]
    assert over.split(":")[:2] == ["./prometheus-replicas.yaml", mounts[0]]


def test_replicas_have_one_config_and_one_database_and_each_a_port_of_its_own() -> None:
    first = {**SERVICES["monitor"]["environment"], **OVER["monitor"]["environment"]}
    second = ADDED["monitor-2"]["environment"]
    assert ADDED["monitor-2"]["volumes"] == SERVICES["monitor"]["volumes"][:1]
    own = {"SFTP_MONITOR_WEB_LISTEN_ADDRESS", "SFTP_MONITOR_WEB_REPLICA_URL"}
    assert {name: first[name] for name in first.keys() - own} == {
        name: second[name] for name in second.keys() - own
    }
    networks = {WHOLE[one]["network_mode"] for one in ("monitor", "monitor-2", "postgres")}
    assert networks == {"service:demo-api"}
    ports = [*SERVICES["demo-api"]["ports"], *OVER["demo-api"]["ports"]]
    reached = [port.rpartition(":")[0] for port in ports]
    urls = [one["SFTP_MONITOR_WEB_REPLICA_URL"] for one in (first, second)]
    assert urls == [f"http://{one}" for one in reached]
    assert second["SFTP_MONITOR_WEB_LISTEN_ADDRESS"].split(":")[1] == reached[1].split(":")[1]


def test_postgresql_trusts_whoever_is_there_for_nobody_comes_from_outside() -> None:
    server = ADDED["postgres"]
    assert server["environment"]["POSTGRES_HOST_AUTH_METHOD"] == "trust"
    assert server["command"] == ["-c", "listen_addresses=127.0.0.1"]
    assert server["tmpfs"] == ["/tmp", "/run/postgresql"]
    url = urlsplit(database_url(OVER["monitor"]["environment"]["SFTP_MONITOR_STATE_URL"]))
    assert (url.hostname, url.port, url.username) == (
        "127.0.0.1",
        5432,
        server["environment"]["POSTGRES_USER"],
    )
    assert url.path == f"/{url.username}"


@pytest.mark.slow(seconds=60)
async def test_the_second_replica_goes_on_where_the_first_is_killed(
    tmp_path: Path, server: Server, database: str
) -> None:
    config = mounted("monitor", tmp_path)["/etc/sftp-monitor/sftp-monitor.yaml"]
    here = {port: free_port() for port in ("8900", "10022", "10023")}
    state = OVER["monitor"]["environment"]["SFTP_MONITOR_STATE_URL"]
    here = {state: server.url(database), **here}

    def translated(text: str) -> str:
        """Return what a file or a variable says, with this machine's ports and database."""
        for there, place in here.items():
            text = text.replace(there, place)
        return text

    config.write_text(translated(config.read_text(encoding="utf-8")), encoding="utf-8")
    api = SERVICES["demo-api"]
    command = [sys.executable, *api["entrypoint"][1:], *map(translated, api["command"])]
    arguments = ("run", "--config.file", str(config))
    first, second = (
        {"STATE_DIRECTORY": str(tmp_path), **{n: translated(value) for n, value in one.items()}}
        for one in (
            {**SERVICES["monitor"]["environment"], **OVER["monitor"]["environment"]},
            ADDED["monitor-2"]["environment"],
        )
    )
    async with started(*command, **os.environ), running(*arguments, **first) as holder:
        await holder.record(event="environment_taken_over")
        async with running(*arguments, **second) as other:
            await other.record(event="started")
            asked = partial(
                run, COMMAND, "healthy", "--config.file", config, cwd=tmp_path, **second
            )
            said = await asyncio.to_thread(asked)
            assert said == f"0.0.0.0:{here['10023']}: 200 healthy\n"
            await holder.end(signal.SIGKILL)
            await other.until(
                lambda: [one for one in other.records if one["event"] == "environment_taken_over"],
                60,
            )


def installed(folder: Path) -> Path:
    """Run the steps of the build stage with `folder` as the root; return the program's folder."""
    source = folder / "src"
    source.mkdir()
    steps = list(instructions())
    final = max(number for number, (word, _) in enumerate(steps) if word == "FROM")
    for word, rest in steps[:final]:
        if word == "COPY":
            *names, _ = rest.split()
            for name in names:
                copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
                copy(ROOT / name, source / name)
        elif word == "RUN":
            script = rest.replace("/opt/", f"{folder}/opt/").replace(
                "python -m", f"{shlex.quote(sys.executable)} -m"
            )
            run("bash", "-euc", script, cwd=source)
    return folder / "opt" / "sftp-monitor"


def free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


@asynccontextmanager
async def started(*command: str, **environ: str) -> AsyncIterator[asyncio.StreamReader]:
    """Run a command; gives its standard output, and kills it at the end."""
    process = await asyncio.create_subprocess_exec(
        *command, env=environ, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        yield process.stdout
    finally:
        process.kill()
        await process.wait()


@pytest.mark.slow(seconds=60)
async def test_the_image_can_be_built_and_its_services_work(tmp_path: Path) -> None:
    config = mounted("monitor", tmp_path)["/etc/sftp-monitor/sftp-monitor.yaml"]
    here = {
        "/opt/sftp-monitor": str(installed(tmp_path)),
        "/etc/sftp-monitor/sftp-monitor.yaml": str(config),
        # The ports of the containers' own network may be taken on this machine.
        "10022": free_port(),
        "8900": free_port(),
    }

    def translated(words: Sequence[str]) -> list[str]:
        """Return a command of the container with this machine's paths and ports."""
        for there, place in here.items():
            words = [word.replace(there, place) for word in words]
        return list(words)

    config.write_text("\n".join(translated(config.read_text().splitlines())), encoding="utf-8")
    (tmp_path / "state").mkdir()
    api, monitor = SERVICES["demo-api"], SERVICES["monitor"]
    program = translated([*json.loads(said("ENTRYPOINT")), *json.loads(said("CMD"))])
    set_in_it = dict(re.findall(r"(SFTP_MONITOR_\w+)=(\S+)", said("ENV")))
    environ = {
        **monitor["environment"],
        **{name: translated([value])[0] for name, value in set_in_it.items()},
        "STATE_DIRECTORY": str(tmp_path / "state"),
        # The image has a link to it in /usr/local/bin.
        "PATH": f"{here['/opt/sftp-monitor']}/bin:{os.environ['PATH']}",
    }
    async with (
        started(*translated([*api["entrypoint"], *api["command"]])),
        started(*program, **environ) as output,
        asyncio.timeout(60),
    ):
        # One of a campaign, so the API was asked with the right token.
        about_a_campaign = re.compile(rb'"event": "alert".*"campaign_id": "')
        while not about_a_campaign.search(line := await output.readline()):
            assert line, "it has ended"
        health = json.loads(said("HEALTHCHECK").split("CMD ")[1])
        assert (
            await asyncio.to_thread(run, *health, **environ)
            == f"0.0.0.0:{here['10022']}: 200 healthy\n"
        )
    assert not list((tmp_path / "opt" / "sftp-monitor" / "bin").glob("pip*"))
