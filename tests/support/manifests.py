"""The parsed Kubernetes manifests."""

from typing import Any

import yaml

from components.settings import CHECKOUT

FOLDER = CHECKOUT / "deploy" / "kubernetes"
KUSTOMIZATION = "kustomization.yaml"
Manifest = dict[str, Any]
MANIFESTS: dict[str, Manifest] = {
    path.name: yaml.safe_load(path.read_text()) for path in sorted(FOLDER.glob("*.yaml")) if path.name != KUSTOMIZATION
}
POD: Manifest = MANIFESTS["deployment.yaml"]["spec"]["template"]["spec"]
CONTAINER: Manifest = POD["containers"][0]
