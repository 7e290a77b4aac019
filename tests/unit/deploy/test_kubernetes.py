"""The Kubernetes manifests: schema validation, and the settings that must stay."""

import copy
import re

import kubernetes_validate
import pytest
import yaml
from manifests import CONTAINER, FOLDER, KUSTOMIZATION, MANIFESTS, POD, Manifest

from components.settings import CHECKOUT
from serving.bodies import LARGEST_TABLE

VERSIONS = ("1.32", "1.37")  # of Kubernetes: the oldest supported, and the newest known to the validator
LABELS: Manifest = MANIFESTS["deployment.yaml"]["spec"]["template"]["metadata"]["labels"]


def validate(manifest: Manifest, version: str) -> None:
    kubernetes_validate.validate(manifest, version, strict=True)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", MANIFESTS)
def test_every_manifest_is_valid(name: str, version: str) -> None:
    validate(MANIFESTS[name], version)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("readOnlyRootFileSystem",), True),  # misspelled; ignored by Kubernetes unless strict
        (("securityContext", "allowPrivilegeEscalation"), "no"),
        (("resources", "requests", "memory"), [1]),
        (("livenessProbe", "httpGet"), {"path": "/livez"}),
    ],
)
def test_an_invalid_field_is_found(place: tuple[str, ...], value: object) -> None:
    manifest = copy.deepcopy(MANIFESTS["deployment.yaml"])
    spot = manifest["spec"]["template"]["spec"]["containers"][0]
    for name in place[:-1]:
        spot = spot[name]
    spot[place[-1]] = value
    with pytest.raises(kubernetes_validate.ValidationError):
        validate(manifest, VERSIONS[-1])


def test_the_kustomization_includes_every_manifest_and_sets_the_image() -> None:
    kustomization = yaml.safe_load((FOLDER / KUSTOMIZATION).read_text())
    assert sorted(kustomization["resources"]) == list(MANIFESTS)
    assert [image["name"] for image in kustomization["images"]] == [CONTAINER["image"]]
    assert all("latest" not in str(image) for image in kustomization["images"])


def test_all_manifests_select_the_same_pods() -> None:
    name = MANIFESTS["deployment.yaml"]["metadata"]["name"]
    assert {manifest["metadata"]["name"] for manifest in MANIFESTS.values()} == {name}
    selectors = [
        MANIFESTS["deployment.yaml"]["spec"]["selector"]["matchLabels"],
        MANIFESTS["service.yaml"]["spec"]["selector"],
        MANIFESTS["disruption.yaml"]["spec"]["selector"]["matchLabels"],
        MANIFESTS["network.yaml"]["spec"]["podSelector"]["matchLabels"],
    ]
    assert all(selector == LABELS for selector in selectors)
    assert MANIFESTS["autoscaler.yaml"]["spec"]["scaleTargetRef"]["name"] == name
    ports = {port["name"]: port["containerPort"] for port in CONTAINER["ports"]}
    assert MANIFESTS["service.yaml"]["spec"]["ports"][0]["targetPort"] in ports
    assert MANIFESTS["network.yaml"]["spec"]["ingress"][0]["ports"] == [{"port": "http"}]
    assert str(ports["http"]) == CONTAINER["args"][CONTAINER["args"].index("--port") + 1]


def test_the_pod_cannot_escalate_privileges() -> None:
    assert POD["automountServiceAccountToken"] is False
    assert not POD.keys() & {"hostNetwork", "hostPID", "hostIPC", "initContainers"}
    user = POD["securityContext"]
    assert (user["runAsNonRoot"], user["runAsUser"], user["runAsGroup"]) == (True, 1034, 1034)
    assert user["seccompProfile"] == {"type": "RuntimeDefault"}
    assert CONTAINER["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "privileged": False,
        "capabilities": {"drop": ["ALL"]},
    }
    assert all(volume.keys() == {"name", "emptyDir"} for volume in POD["volumes"])
    assert all(volume["emptyDir"]["sizeLimit"] for volume in POD["volumes"])


def test_no_manifest_contains_a_secret() -> None:
    token = next(variable for variable in CONTAINER["env"] if variable["name"] == "FASHION_TOKEN")
    assert "value" not in token
    assert not token["valueFrom"]["secretKeyRef"].get("optional")
    assert "Secret" not in {manifest["kind"] for manifest in MANIFESTS.values()}


def test_only_ready_pods_get_traffic_and_a_shutdown_has_enough_time() -> None:
    paths = {name: CONTAINER[name]["httpGet"]["path"] for name in CONTAINER if name.endswith("Probe")}
    assert paths == {"startupProbe": "/livez", "readinessProbe": "/readyz", "livenessProbe": "/livez"}
    drain = re.search(r"exits with status 0 within (\w+) seconds", (CHECKOUT / "docs" / "operations.md").read_text())
    assert drain
    assert drain[1] == "ten"
    assert POD["terminationGracePeriodSeconds"] >= CONTAINER["lifecycle"]["preStop"]["sleep"]["seconds"] + 10
    assert MANIFESTS["deployment.yaml"]["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0


def test_every_pod_has_resource_requests_and_limits() -> None:
    for name in ("cpu", "memory", "ephemeral-storage"):
        assert CONTAINER["resources"]["requests"][name]
        assert CONTAINER["resources"]["limits"][name]
    assert MANIFESTS["autoscaler.yaml"]["spec"]["minReplicas"] >= 2


def test_the_service_has_no_outgoing_traffic() -> None:
    rules = MANIFESTS["network.yaml"]["spec"]
    assert rules["egress"] == []
    assert set(rules["policyTypes"]) == {"Ingress", "Egress"}
    assert all(rule["from"] and rule["ports"] for rule in rules["ingress"])


def test_values_to_set_are_marked_and_documented() -> None:
    files = [path for path in FOLDER.glob("*.yaml") if "# SET" in path.read_text()]
    documentation = (CHECKOUT / "docs" / "deploy.md").read_text()
    assert {path.name for path in files} == {KUSTOMIZATION, "deployment.yaml", "network.yaml"}
    assert all(f"`{path.name}`" in documentation for path in files)


def test_the_proxy_limit_is_slightly_above_the_service_limit() -> None:
    """So that the service sends the error. In Caddy, MB are powers of 1,000 and MiB powers of 1,024."""
    (size,) = re.findall(r"max_size (\d+)MiB", (CHECKOUT / "deploy" / "caddy" / "Caddyfile").read_text())
    assert LARGEST_TABLE < int(size) << 20 <= LARGEST_TABLE + (1 << 20)
