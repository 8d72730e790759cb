"""The Kubernetes manifests: valid by Kubernetes' own schemas, at one with each other and with us.

No cluster runs here; the pod's command runs as a process, with the pod's arguments and environment.
"""

import os
import re
import subprocess
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import bcrypt
import kubernetes_validate
import pytest
import yaml

from monitor.config import load_config
from support.command import running
from support.fake_platform import TOKEN, fake_platform
from support.peers import require_peer

ROOT = Path(__file__).parents[2]
KUBERNETES = ROOT / "deploy" / "kubernetes"
FOLDER = KUBERNETES / "base"
VARIANTS = ("base", "ephemeral", "openshift", "kube-prometheus-stack", "single-sign-on")
SECRETS: dict[str, dict[str, Any]] = {
    one["metadata"]["name"]: one
    for one in yaml.safe_load_all((FOLDER / "secret.example.yaml").read_text())
}
CONFIG = FOLDER / "sftp-monitor.yaml"
DOCKERFILE = ROOT / "deploy" / "docker" / "Dockerfile"
OLDEST, NEWEST = "1.29", "1.37"
"""The versions of Kubernetes whose schemas are asked."""

KUSTOMIZATION: dict[str, Any] = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())
MANIFESTS: dict[str, dict[str, Any]] = {
    path.name: yaml.safe_load(path.read_text())
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
    (environment,) = yaml.safe_load(CONFIG.read_text())["environments"]
    assert environment["token_file"] == f"{places['talkover']}/{key}"
    web = yaml.safe_load(CONFIG.read_text())["web"]
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
    assert yaml.safe_load(CONFIG.read_text())["web"]["listen_address"] == "0.0.0.0:10022"


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
    policy = yaml.safe_load(re.sub(r"(?m)^    # ", "    ", text))
    kubernetes_validate.validate(policy, OLDEST, strict=True)
    ports = [one["ports"][0]["port"] for one in policy["spec"]["egress"]]
    assert ports == [53, 9093, 3128, 5432]


def test_the_page_asks_for_a_password_and_prometheus_has_it() -> None:
    (endpoint,) = MANIFESTS["servicemonitor.yaml"]["spec"]["endpoints"]
    sent = {
        part: SECRETS[reference["name"]]["stringData"][reference["key"]]
        for part, reference in endpoint["basicAuth"].items()
    }
    users = yaml.safe_load(SECRETS["sftp-monitor-web"]["stringData"]["web-config.yaml"])
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
    return tuple(yaml.safe_load_all(done.stdout))


def built(variant: str) -> dict[str, dict[str, Any]]:
    """Return what of it is the monitor's own, by kind."""
    own = [
        one for one in sent(variant) if one["metadata"].get("labels", {}).items() >= NAME.items()
    ]
    return {one["kind"]: one for one in own}


def test_every_variant_is_known() -> None:
    assert {path.parent.name for path in KUBERNETES.glob("*/kustomization.yaml")} == set(VARIANTS)


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
    assert yaml.safe_load(config["data"][CONFIG.name]) == yaml.safe_load(CONFIG.read_text())


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


@pytest.mark.slow
async def test_the_pods_command_runs(tmp_path: Path) -> None:
    async with fake_platform("c-1") as platform:
        file = laid_out(
            tmp_path,
            {
                "/run/secrets/talkover": str(tmp_path / "talkover"),
                "/run/secrets/web": str(tmp_path / "web"),
                "0.0.0.0:10022": "127.0.0.1:0",
                "discovery: {enabled: true}": f"base_url: {platform.base_url}\n"
                "    campaigns: [{id: c-1}]",
            },
        )
        assert load_config(file, os.environ).environments[0].name == "production"
        arguments = [
            word.replace(f"/etc/sftp-monitor/{CONFIG.name}", str(file))
            for word in CONTAINER["args"]
        ]
        state = str(tmp_path / "state.db")
        async with running(*arguments, "--state.path", state) as process:
            started = await process.record(event="started")
            await platform.until(lambda: bool(platform.requests))
    assert started["environments"] == 1
