"""The Kubernetes manifests say what the gate understands, and what they say in two places agrees.  Needs no SPIRE."""

from pathlib import Path
from typing import Any

import yaml

from callgate.config import Config, load_config
from callgate.policy.compile import Policy, load_policy

_MANIFESTS = Path(__file__).parents[2] / "spire" / "kubernetes"


def objects(filename: str) -> dict[tuple[str, str], Any]:
    found = yaml.safe_load_all((_MANIFESTS / filename).read_text())
    return {(one["kind"], one["metadata"]["name"]): one for one in found}


def gate_config() -> Config:
    config = load_config(objects("gate.yaml")["ConfigMap", "gate"]["data"]["callgate.yaml"], "callgate.yaml")
    assert isinstance(config, Config), config
    return config


def gate_container() -> dict[str, Any]:
    [container] = objects("gate.yaml")["Deployment", "gate"]["spec"]["template"]["spec"]["containers"]
    assert isinstance(container, dict)
    return container


def test_the_policy_is_accepted() -> None:
    policy = load_policy(objects("gate.yaml")["ConfigMap", "gate"]["data"]["policy.yaml"], "policy.yaml")
    assert isinstance(policy, Policy), policy


def test_the_gate_looks_for_the_svid_that_its_registration_marks() -> None:
    registration = objects("identities.yaml")["ClusterSPIFFEID", "callgate-gate"]["spec"]
    assert gate_config().svid_hint == registration["hint"]


def test_the_registration_selects_the_gate_pod() -> None:
    selector = objects("identities.yaml")["ClusterSPIFFEID", "callgate-gate"]["spec"]["podSelector"]["matchLabels"]
    template = objects("gate.yaml")["Deployment", "gate"]["spec"]["template"]
    assert selector.items() <= template["metadata"]["labels"].items()


def test_the_workload_api_is_where_the_driver_mounts_it() -> None:
    [mount] = [one for one in gate_container()["volumeMounts"] if one["name"] == "spiffe-workload-api"]
    assert str(gate_config().workload_api).startswith(f"unix://{mount['mountPath']}/")


def test_ports_and_probe_scheme_are_those_of_the_configuration() -> None:
    config = gate_config()
    ports = {one["name"]: one["containerPort"] for one in gate_container()["ports"]}
    assert ports == {"agents": config.listen.port, "admin": config.admin.listen.port}
    assert config.admin.tls == "svid"
    assert gate_container()["readinessProbe"]["httpGet"]["scheme"] == "HTTPS"


def test_the_log_is_on_a_volume_that_outlives_the_pod_and_that_no_other_pod_has() -> None:
    folder = gate_config().audit.folder
    [mount] = [one for one in gate_container()["volumeMounts"] if folder.startswith(f"{one['mountPath']}/")]
    pod = objects("gate.yaml")["Deployment", "gate"]["spec"]["template"]["spec"]
    [volume] = [one for one in pod["volumes"] if one["name"] == mount["name"]]
    claim = objects("gate.yaml")["PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"]]
    assert claim["spec"]["accessModes"] == ["ReadWriteOncePod"]
    assert pod["securityContext"]["fsGroup"] == pod["securityContext"]["runAsGroup"]
    [maker] = pod["initContainers"]
    assert mount in maker["volumeMounts"]
    assert f"test -e {folder}/key.pem ||" in maker["command"][-1]


def test_the_container_may_do_nothing_it_does_not_need() -> None:
    pod = objects("gate.yaml")["Deployment", "gate"]["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["automountServiceAccountToken"] is False
    for container in (gate_container(), *pod["initContainers"]):
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
