"""The files under deploy/ as values, and what they say a program is started with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import yaml

ROOT = Path(__file__).parent.parent.parent
KUBERNETES = ROOT / "deploy" / "kubernetes"
SCHEMA = json.loads((ROOT / "tests" / "data" / "kubernetes-1.34.json").read_text())
KINDS = {
    ("apps/v1", "Deployment"): "io.k8s.api.apps.v1.Deployment",
    ("apps/v1", "StatefulSet"): "io.k8s.api.apps.v1.StatefulSet",
    ("v1", "Service"): "io.k8s.api.core.v1.Service",
    ("autoscaling/v2", "HorizontalPodAutoscaler"): "io.k8s.api.autoscaling.v2.HorizontalPodAutoscaler",
}


def documents(path: Path) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(path.read_text()))


def mistakes(document: dict[str, Any]) -> list[str]:
    """What the schema of Kubernetes says against a document: unknown fields, wrong types, missing ones."""
    name = KINDS[document["apiVersion"], document["kind"]]
    schema = {"$ref": f"#/definitions/{name}", "definitions": SCHEMA["definitions"]}
    return [error.message for error in jsonschema.Draft7Validator(schema).iter_errors(document)]


def workloads() -> list[tuple[str, dict[str, Any]]]:
    """Each pod template: the file's and the workload's name, and the template's spec."""
    found = []
    for path in sorted(KUBERNETES.glob("*.yaml")):
        for document in documents(path):
            if "template" in document["spec"]:
                found.append((f"{path.name}/{document['metadata']['name']}", document["spec"]["template"]["spec"]))
    return found
