"""The Kubernetes manifests: valid by Kubernetes' own schemas, at one with each other and with us.

No cluster runs here; the pod's command runs as a process, with the pod's arguments and environment.
"""

import os
import re
import signal
import subprocess
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import bcrypt
import kubernetes_validate
import pytest

from monitor.config import load_config
from monitor.config.formats import database_url
from support.command import running
from support.documents import read_yaml, read_yaml_all
from support.fake_platform import TOKEN, fake_platform
from support.peers import require_peer
from support.postgres import Server

ROOT = Path(__file__).parents[2]
KUBERNETES = ROOT / "deploy" / "kubernetes"
FOLDER = KUBERNETES / "base"
VARIANTS = ("base", "ephemeral", "ha", "openshift", "kube-prometheus-stack", "single-sign-on")
SECRETS: dict[str, dict[str, Any]] = {
    one["metadata"]["name"]: one
    for file in KUBERNETES.glob("*/secret.example.yaml")
    for one in read_yaml_all(file.read_text())
}
CONFIG = FOLDER / "sftp-monitor.yaml"
DOCKERFILE = ROOT / "deploy" / "docker" / "Dockerfile"
OLDEST, NEWEST = "1.29", "1.37"
"""The versions of Kubernetes whose schemas are asked."""

KUSTOMIZATION: dict[str, Any] = read_yaml((FOLDER / "kustomization.yaml").read_text())
MANIFESTS: dict[str, dict[str, Any]] = {
    path.name: read_yaml(path.read_text())
    for path in sorted(FOLDER.glob("*.yaml"))
    if path not in {CONFIG, FOLDER / "secret.example.yaml"}
}
OF_THE_OPERATOR = {"servicemonitor.yaml": "ServiceMonitor", "prometheusrule.yaml": "PrometheusRule"}
"""Their schemas are Prometheus Operator's, which no package has."""

NAME = {"app.kubernetes.io/name": "sftp-monitor"}

STATEFULSET = MANIFESTS["statefulset.yaml"]["spec"]
POD = STATEFULSET["template"]["spec"]
(CONTAINER,) = POD["containers"]
(MODE,) = {one["secret"]["defaultMode"] for one in POD["volumes"] if "secret" in one}


@pytest.mark.matrix(fast=4)
@pytest.mark.parametrize("version", [OLDEST, NEWEST])
@pytest.mark.parametrize(
    "file", sorted(MANIFESTS.keys() - OF_THE_OPERATOR.keys() - {"kustomization.yaml"})
)
def test_a_manifest_is_valid_to_the_letter(file: str, version: str) -> None:
    kubernetes_validate.validate(MANIFESTS[file], version, strict=True)


@pytest.mark.parametrize("name", SECRETS)
def test_the_examples_of_secrets_are_valid_to_the_letter(name: str) -> None:
    kubernetes_validate.validate(SECRETS[name], OLDEST, strict=True)
    assert SECRETS[name]["metadata"]["namespace"] == KUSTOMIZATION["namespace"]


def test_a_key_that_does_not_exist_is_found() -> None:
    broken = {**MANIFESTS["service.yaml"], "sepc": {}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, OLDEST, strict=True)


@pytest.mark.parametrize("file", OF_THE_OPERATOR)
def test_what_is_for_the_operator_is_named_as_it_knows_it(file: str) -> None:
    manifest = MANIFESTS[file]
    assert manifest["apiVersion"] == "monitoring.coreos.com/v1"
    assert manifest["kind"] == OF_THE_OPERATOR[file]
    assert manifest["metadata"]["name"] == "sftp-monitor"


def test_the_state_asks_for_the_space_without_which_no_claim_is_granted() -> None:
    (claim,) = STATEFULSET["volumeClaimTemplates"]
    assert claim["spec"]["accessModes"] == ["ReadWriteOncePod"]
    assert "storage" in claim["spec"]["resources"]["requests"]


def test_kustomize_is_given_every_manifest_but_the_example_of_the_secret() -> None:
    given = {*KUSTOMIZATION["resources"], "kustomization.yaml"}
    assert given == MANIFESTS.keys()
    (generated,) = KUSTOMIZATION["configMapGenerator"]
    assert generated["files"] == [CONFIG.name]


def test_what_the_pod_mounts_is_there() -> None:
    (generated,) = KUSTOMIZATION["configMapGenerator"]
    volumes = {volume["name"]: volume for volume in POD["volumes"]}
    assert volumes["config"]["configMap"]["name"] == generated["name"]
    secret = SECRETS[volumes["talkover"]["secret"]["secretName"]]
    passwords = volumes["web"]["secret"]
    (item,) = passwords["items"]
    assert item["key"] in SECRETS[passwords["secretName"]]["stringData"]
    claims = {claim["metadata"]["name"] for claim in STATEFULSET["volumeClaimTemplates"]}
    places = {mount["name"]: mount["mountPath"] for mount in CONTAINER["volumeMounts"]}
    assert places.keys() == volumes.keys() | claims
    (key,) = secret["stringData"]
    (environment,) = read_yaml(CONFIG.read_text())["environments"]
    assert environment["token_file"] == f"{places['talkover']}/{key}"
    web = read_yaml(CONFIG.read_text())["web"]
    assert web["config_file"] == f"{places['web']}/{item['path']}"
    assert CONTAINER["args"][-1] == f"{places['config']}/{CONFIG.name}"
    assert f"VOLUME {places['state']}" in DOCKERFILE.read_text(encoding="utf-8").splitlines()


def test_everything_selects_the_pods_and_nothing_else() -> None:
    assert STATEFULSET["template"]["metadata"]["labels"] == NAME
    assert MANIFESTS["service.yaml"]["metadata"]["labels"] == NAME
    selectors = [
        STATEFULSET["selector"]["matchLabels"],
        MANIFESTS["service.yaml"]["spec"]["selector"],
        MANIFESTS["poddisruptionbudget.yaml"]["spec"]["selector"]["matchLabels"],
        MANIFESTS["networkpolicy.yaml"]["spec"]["podSelector"]["matchLabels"],
        MANIFESTS["servicemonitor.yaml"]["spec"]["selector"]["matchLabels"],
    ]
    assert selectors == [NAME] * len(selectors)
    assert STATEFULSET["serviceName"] == MANIFESTS["service.yaml"]["metadata"]["name"]


def test_the_port_has_one_name_and_is_the_one_that_is_listened_on() -> None:
    (port,) = CONTAINER["ports"]
    assert (port["name"], port["containerPort"]) == ("http", 10022)
    (service_port,) = MANIFESTS["service.yaml"]["spec"]["ports"]
    (ingress,) = MANIFESTS["networkpolicy.yaml"]["spec"]["ingress"]
    (endpoint,) = MANIFESTS["servicemonitor.yaml"]["spec"]["endpoints"]
    probes = [CONTAINER[f"{name}Probe"]["httpGet"] for name in ("startup", "liveness", "readiness")]
    used = [service_port["targetPort"], ingress["ports"][0]["port"], endpoint["port"]]
    assert {*used, *(probe["port"] for probe in probes)} == {"http"}
    assert [probe["path"] for probe in probes] == ["/-/healthy", "/-/healthy", "/-/ready"]
    assert read_yaml(CONFIG.read_text())["web"]["listen_address"] == "0.0.0.0:10022"


def test_every_pod_is_scraped_whether_it_is_ready_or_not() -> None:
    service = MANIFESTS["service.yaml"]["spec"]
    assert service["clusterIP"] == "None"
    assert service["publishNotReadyAddresses"] is True


def test_out_of_the_pod_go_names_the_api_and_alertmanager_and_nothing_else() -> None:
    anywhere, monitoring = MANIFESTS["networkpolicy.yaml"]["spec"]["egress"]
    ports = [(one["port"], one["protocol"]) for one in anywhere["ports"]]
    assert ports == [(53, "UDP"), (53, "TCP"), (443, "TCP")]
    assert "to" not in anywhere
    (ingress,) = MANIFESTS["networkpolicy.yaml"]["spec"]["ingress"]
    assert monitoring == {"to": ingress["from"], "ports": [{"port": 9093, "protocol": "TCP"}]}


def test_the_ways_to_a_proxy_and_to_postgresql_are_two_comments_to_take_away() -> None:
    text = (FOLDER / "networkpolicy.yaml").read_text(encoding="utf-8")
    policy = read_yaml(re.sub(r"(?m)^    # ", "    ", text))
    kubernetes_validate.validate(policy, OLDEST, strict=True)
    ports = [one["ports"][0]["port"] for one in policy["spec"]["egress"]]
    assert ports == [53, 9093, 3128, 5432]


def test_the_page_asks_for_a_password_and_prometheus_has_it() -> None:
    (endpoint,) = MANIFESTS["servicemonitor.yaml"]["spec"]["endpoints"]
    sent = {
        part: SECRETS[reference["name"]]["stringData"][reference["key"]]
        for part, reference in endpoint["basicAuth"].items()
    }
    users = read_yaml(SECRETS["sftp-monitor-web"]["stringData"]["web-config.yaml"])
    known = users["basic_auth_users"][sent["username"]]
    assert bcrypt.checkpw(sent["password"].encode(), known.encode())


def test_a_lost_node_is_given_up_after_a_minute() -> None:
    assert {(one["key"], one["tolerationSeconds"]) for one in POD["tolerations"]} == {
        ("node.kubernetes.io/unreachable", 60),
        ("node.kubernetes.io/not-ready", 60),
    }


def test_a_pod_that_is_unwell_does_not_hold_up_a_drain() -> None:
    budget = MANIFESTS["poddisruptionbudget.yaml"]["spec"]
    assert budget["unhealthyPodEvictionPolicy"] == "AlwaysAllow"
    assert budget["maxUnavailable"] == 1


# --- the variants ------------------------------------------------------------------------------


@cache
def sent(variant: str) -> tuple[dict[str, Any], ...]:
    """Return what `kubectl apply -k` would send."""
    command = [require_peer("kubectl"), "kustomize", str(KUBERNETES / variant)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return tuple(read_yaml_all(done.stdout))


def built(variant: str) -> dict[str, dict[str, Any]]:
    """Return what of it is the monitor's own, by kind."""
    own = [
        one for one in sent(variant) if one["metadata"].get("labels", {}).items() >= NAME.items()
    ]
    return {one["kind"]: one for one in own}


def test_every_variant_is_known() -> None:
    assert {path.parent.name for path in KUBERNETES.glob("*/kustomization.yaml")} == set(VARIANTS)


@pytest.mark.matrix(fast=2)
@pytest.mark.e2e
@pytest.mark.parametrize("variant", VARIANTS)
def test_what_a_variant_sends_is_valid_and_in_one_namespace(variant: str) -> None:
    for manifest in sent(variant):
        kind = manifest["kind"]
        if kind not in OF_THE_OPERATOR.values():
            kubernetes_validate.validate(manifest, OLDEST, strict=True)
        if kind != "Namespace":
            assert manifest["metadata"]["namespace"] == "sftp-monitor"
    config = built(variant)["ConfigMap"]
    assert read_yaml(config["data"][CONFIG.name]) == read_yaml(CONFIG.read_text())


@pytest.mark.e2e
def test_the_ephemeral_one_is_a_deployment_of_one_that_never_overlaps() -> None:
    found = built("ephemeral")
    assert "StatefulSet" not in found
    spec = found["Deployment"]["spec"]
    assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})
    pod, of_base = (
        spec["template"]["spec"],
        built("base")["StatefulSet"]["spec"]["template"]["spec"],
    )
    (state,) = [one for one in pod["volumes"] if "emptyDir" in one]
    assert state["name"] in {mount["name"] for mount in pod["containers"][0]["volumeMounts"]}
    assert pod["containers"] == of_base["containers"]


@pytest.mark.e2e
def test_two_replicas_are_updated_one_by_one_and_keep_nothing_on_a_volume() -> None:
    found = built("ha")
    assert "StatefulSet" not in found
    spec = found["Deployment"]["spec"]
    assert spec["replicas"] == 2
    assert "volumeClaimTemplates" not in spec
    assert spec["strategy"] == {
        "type": "RollingUpdate",
        "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1},
    }
    pod = spec["template"]["spec"]
    (container,) = pod["containers"]
    assert {next(iter(one.keys() - {"name"})) for one in pod["volumes"]} == {"configMap", "secret"}
    mounts = [one["name"] for one in container["volumeMounts"]]
    assert sorted(mounts) == sorted(one["name"] for one in pod["volumes"])
    # All else is as in base.
    assert {name: CONTAINER[name] for name in CONTAINER if name != "volumeMounts"} == {
        name: container[name] for name in container if name not in {"env", "volumeMounts"}
    }


@pytest.mark.e2e
def test_two_replicas_are_put_on_two_nodes_if_there_are_two_and_drained_one_by_one() -> None:
    found = built("ha")
    affinity = found["Deployment"]["spec"]["template"]["spec"]["affinity"]
    preferred = affinity["podAntiAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
    terms = [one["podAffinityTerm"] for one in sorted(preferred, key=lambda one: -one["weight"])]
    places = ["kubernetes.io/hostname", "topology.kubernetes.io/zone"]
    assert [one["topologyKey"] for one in terms] == places
    assert [one["labelSelector"] for one in terms] == [{"matchLabels": NAME}] * 2
    budget = found["PodDisruptionBudget"]["spec"]
    assert (budget["maxUnavailable"], budget["unhealthyPodEvictionPolicy"]) == (1, "AlwaysAllow")


@pytest.mark.e2e
def test_a_database_that_is_away_takes_no_replica_out_of_the_service_and_restarts_none() -> None:
    found = built("ha")
    assert found["Service"]["spec"]["publishNotReadyAddresses"] is True
    (container,) = found["Deployment"]["spec"]["template"]["spec"]["containers"]
    # Which stays 200 without the database.
    restarting = [
        container[probe]["httpGet"]["path"] for probe in ("startupProbe", "livenessProbe")
    ]
    assert restarting == ["/-/healthy", "/-/healthy"]


@pytest.mark.e2e
def test_out_of_a_replica_go_the_database_and_the_other_replica_as_well() -> None:
    policy = built("ha")["NetworkPolicy"]["spec"]
    of_base = built("base")["NetworkPolicy"]["spec"]
    *others, database, replica = policy["egress"]
    assert others == of_base["egress"]
    assert database["ports"] == [{"port": 5432, "protocol": "TCP"}]
    assert list(database["to"][0]) == ["podSelector"]
    assert replica["to"] == [{"podSelector": {"matchLabels": NAME}}]
    (ingress,) = policy["ingress"]
    assert ingress["from"][-1:] == replica["to"]
    assert ingress["ports"] == replica["ports"]


def of_a_replica() -> dict[str, str]:
    """Return the variables of a pod of `ha`."""
    (container,) = built("ha")["Deployment"]["spec"]["template"]["spec"]["containers"]
    return {one["name"]: one.get("value", "192.0.2.7") for one in container["env"]}


@pytest.mark.e2e
def test_a_replica_has_its_password_by_reference_and_verifies_the_server() -> None:
    variables = of_a_replica()
    pod = built("ha")["Deployment"]["spec"]["template"]["spec"]
    (secret,) = [one["secret"] for one in pod["volumes"] if one["name"] == "postgres"]
    assert secret["defaultMode"] == MODE
    known = SECRETS[secret["secretName"]]["stringData"]
    (mount,) = [one for one in pod["containers"][0]["volumeMounts"] if one["name"] == "postgres"]
    url = urlsplit(database_url(variables["SFTP_MONITOR_STATE_URL"]))
    asked = dict(parse_qsl(url.query))
    assert asked["sslmode"] == "verify-full"
    files = {asked["sslrootcert"], variables["SFTP_MONITOR_STATE_PASSWORD_FILE"]}
    assert files == {f"{mount['mountPath']}/{key}" for key in known}
    assert url.port == 5432


@pytest.mark.e2e
def test_a_replica_says_where_the_other_one_reaches_it() -> None:
    (container,) = built("ha")["Deployment"]["spec"]["template"]["spec"]["containers"]
    names = [one["name"] for one in container["env"]]
    # Kubernetes puts in a variable that stands before.
    assert names.index("POD_IP") < names.index("SFTP_MONITOR_WEB_REPLICA_URL")
    assert of_a_replica()["SFTP_MONITOR_WEB_REPLICA_URL"] == "http://$(POD_IP):10022"
    (ip,) = [one["valueFrom"] for one in container["env"] if one["name"] == "POD_IP"]
    assert ip == {"fieldRef": {"fieldPath": "status.podIP"}}


@pytest.mark.e2e
def test_openshift_draws_the_uid_itself() -> None:
    pod = built("openshift")["StatefulSet"]["spec"]["template"]["spec"]
    assert pod["securityContext"] == {
        "runAsNonRoot": True,
        "seccompProfile": {"type": "RuntimeDefault"},
    }


@pytest.mark.e2e
def test_the_operator_of_the_stack_takes_both_of_its_objects() -> None:
    found = built("kube-prometheus-stack")
    for kind in OF_THE_OPERATOR.values():
        assert found[kind]["metadata"]["labels"]["release"] == "kube-prometheus-stack"
    assert "release" not in found["StatefulSet"]["metadata"]["labels"]


def test_our_labels_win_over_those_of_the_target() -> None:
    (endpoint,) = MANIFESTS["servicemonitor.yaml"]["spec"]["endpoints"]
    assert endpoint["honorLabels"] is True


def test_there_is_one_pod_for_each_token_has_one_budget() -> None:
    assert STATEFULSET["replicas"] == 1


def test_the_pod_may_do_nothing_but_its_work() -> None:
    labels = MANIFESTS["namespace.yaml"]["metadata"]["labels"]
    assert labels == {"pod-security.kubernetes.io/enforce": "restricted"}
    assert POD["securityContext"]["runAsNonRoot"] is True
    assert POD["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    user = f"{POD['securityContext']['runAsUser']}:{POD['securityContext']['runAsGroup']}"
    assert f"USER {user}" in DOCKERFILE.read_text(encoding="utf-8").splitlines()
    assert POD["automountServiceAccountToken"] is False
    assert CONTAINER["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def laid_out(folder: Path, changes: Mapping[str, str]) -> Path:
    """Lay config and token out as the kubelet does, by symbolic links; return the config's path."""
    for name, files in {
        "config": {CONFIG.name: CONFIG.read_text(encoding="utf-8")},
        "talkover": {"production": TOKEN},
        "web": {"web-config.yaml": SECRETS["sftp-monitor-web"]["stringData"]["web-config.yaml"]},
    }.items():
        data = folder / name / "..data"
        data.mkdir(parents=True)
        for file, text in files.items():
            for there, here in changes.items():
                text = text.replace(there, here)  # noqa: PLW2901
            (data / file).write_text(text, encoding="utf-8")
            (data / file).chmod(MODE)
            (folder / name / file).symlink_to(Path("..data") / file)
    return folder / "config" / CONFIG.name


def on_this_machine(folder: Path, base_url: str) -> tuple[Path, list[str]]:
    """Lay a pod out for an API of one campaign; return its config, and the pod's arguments."""
    file = laid_out(
        folder,
        {
            "/run/secrets/talkover": str(folder / "talkover"),
            "/run/secrets/web": str(folder / "web"),
            "0.0.0.0:10022": "127.0.0.1:0",
            "discovery: {enabled: true}": f"base_url: {base_url}\n    campaigns: [{{id: c-1}}]",
        },
    )
    place = f"/etc/sftp-monitor/{CONFIG.name}"
    return file, [word.replace(place, str(file)) for word in CONTAINER["args"]]


@pytest.mark.slow
async def test_the_pods_command_runs(tmp_path: Path) -> None:
    async with fake_platform("c-1") as platform:
        file, arguments = on_this_machine(tmp_path, platform.base_url)
        assert load_config(file, os.environ).environments[0].name == "production"
        state = str(tmp_path / "state.db")
        async with running(*arguments, "--state.path", state) as process:
            started = await process.record(event="started")
            await platform.until(lambda: bool(platform.requests))
    assert started["environments"] == 1


@pytest.mark.slow(seconds=20)
async def test_of_two_replicas_one_polls_and_hands_over_to_the_other_when_it_is_stopped(
    tmp_path: Path, server: Server, database: str
) -> None:
    password = tmp_path / "password"
    password.write_text("not-asked-for-on-a-socket", encoding="utf-8")
    password.chmod(MODE)
    variables = of_a_replica() | {
        "SFTP_MONITOR_STATE_URL": server.url(database),
        "SFTP_MONITOR_STATE_PASSWORD_FILE": str(password),
        "SFTP_MONITOR_WEB_REPLICA_URL": "http://192.0.2.7:10022",
        "STATE_DIRECTORY": str(tmp_path),
    }
    async with fake_platform("c-1") as platform:
        _, arguments = on_this_machine(tmp_path, platform.base_url)
        async with running(*arguments, **variables) as holder:
            await holder.record(event="environment_taken_over")
            await platform.until(lambda: bool(platform.requests))
            async with running(*arguments, **variables) as other:
                await other.record(event="started")
                assert await holder.end(signal.SIGTERM) == 0
                taken = await other.record(event="environment_taken_over")
                assert taken["campaigns"] == 1
