"""The manifests are what Kubernetes accepts, fit together, and start programs that answer a kubelet's probes."""

from __future__ import annotations

import copy
import http.client
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.manifests import KUBERNETES, documents, mistakes, workloads
from vortex.bench.programs import program
from vortex.machine.python_program import python_module

POD_ADDRESS = "10.42.0.17:8000"  # what a kubelet's probe says as its Host
FILES = sorted(KUBERNETES.glob("*.yaml"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_document_fits_its_schema(path: Path) -> None:
    found = {f"{one['kind']}/{one['metadata']['name']}": mistakes(one) for one in documents(path)}
    assert len(found) >= 3
    assert not any(found.values()), found


def test_the_schema_finds_mistakes() -> None:
    deployment = documents(KUBERNETES / "engine.yaml")[0]
    misspelled = copy.deepcopy(deployment)
    misspelled["spec"]["template"]["spec"]["containers"][0]["imagePullPolcy"] = "Always"
    untyped = copy.deepcopy(deployment)
    untyped["spec"]["replicas"] = "two"
    nameless = copy.deepcopy(deployment)
    del nameless["spec"]["template"]["spec"]["containers"][0]["name"]
    assert all(mistakes(one) for one in (misspelled, untyped, nameless))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_services_and_scalers_find_their_pods(path: Path) -> None:
    every = documents(path)
    pods = [one["spec"]["template"]["metadata"]["labels"] for one in every if "template" in one["spec"]]
    names = {(one["kind"], one["metadata"]["name"]) for one in every}
    for one in every:
        if one["kind"] == "Service":
            assert sum(one["spec"]["selector"].items() <= labels.items() for labels in pods) == 1
        if one["kind"] == "HorizontalPodAutoscaler":
            target = one["spec"]["scaleTargetRef"]
            assert (target["kind"], target["name"]) in names
        if "template" in one["spec"]:
            assert one["spec"]["selector"]["matchLabels"] == one["spec"]["template"]["metadata"]["labels"]


@pytest.mark.parametrize(("name", "spec"), workloads(), ids=lambda value: value if isinstance(value, str) else "")
def test_pods_are_not_root_and_cannot_write_beside_their_volumes(name: str, spec: dict[str, Any]) -> None:
    (container,) = spec["containers"]
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["automountServiceAccountToken"] is False
    own = container["securityContext"]
    assert own == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert "limits" in container["resources"], name
    secrets = [one for one in container["env"] if "KEY" in one["name"] or "TOKEN" in one["name"]]
    assert secrets
    assert all("secretKeyRef" in one["valueFrom"] for one in secrets), "keys come from a secret"


def test_the_gateway_names_every_engine_and_every_engine_knows_its_names() -> None:
    engines, _, gateway, *_ = documents(KUBERNETES / "with-gateway.yaml")
    count = engines["spec"]["replicas"]
    names = [f"{engines['metadata']['name']}-{number}.{engines['spec']['serviceName']}" for number in range(count)]
    container = gateway["spec"]["template"]["spec"]["containers"][0]
    variables = {one["name"]: one.get("value") for one in container["env"]}
    assert variables["ENGINE_BASE_URL"] == ",".join(f"http://{name}:8000" for name in names)
    arguments = engines["spec"]["template"]["spec"]["containers"][0]["args"]
    allowed = [value for flag, value in zip(arguments, arguments[1:], strict=False) if flag == "--allow-host"]
    assert allowed == names


def test_the_scalers_metrics_are_ones_the_programs_show() -> None:
    from vortex.gateway.app import Gateway
    from vortex.gateway.settings import read_settings
    from vortex.server.metrics import ServerMetrics
    from vortex.types import BackendStatus

    gateway = Gateway(read_settings({"LKN_LEDGER": "off"}, {}))
    state = gateway.homeostat.state
    shown = ServerMetrics().text(BackendStatus(ready=True)).decode()
    shown += gateway.metrics.render(gateway.upstreams, gateway.admission, state, frozen=False).decode()
    for path in FILES:
        for one in documents(path):
            if one["kind"] == "HorizontalPodAutoscaler":
                (metric,) = one["spec"]["metrics"]
                assert f"\n{metric['pods']['metric']['name']} " in shown


def variables_of(container: dict[str, Any]) -> dict[str, str]:
    return {one["name"]: one.get("value", "a-key-of-this-test") for one in container["env"]}


@contextmanager
def started(container: dict[str, Any], *further: str, **variables: str):
    """The container's program with its own arguments and variables, on a free port of this machine."""
    words = container["args"]
    arguments = ["0" if before == "--port" else word for before, word in zip(["", *words], words, strict=False)]
    variables = {**variables_of(container), **variables}
    with program(python_module("vortex", *arguments, *further), variables) as running:
        yield running


def probe(url: str, probe_of: dict[str, Any]) -> int:
    """What a kubelet would hear."""
    asked = probe_of["httpGet"]
    headers = {one["name"]: one["value"] for one in asked.get("httpHeaders", [])}
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=30)
    connection.request("GET", asked["path"], headers={"Host": POD_ADDRESS, **headers})
    status = connection.getresponse().status
    connection.close()
    return status


@pytest.mark.long
def test_the_pods_programs_answer_their_probes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    engine = dict(workloads())["with-gateway.yaml/vortex"]["containers"][0]
    front = dict(workloads())["with-gateway.yaml/lkn"]["containers"][0]
    with started(engine, "--backend", "fake", VORTEX_DATA=str(tmp_path)) as one:
        for kind in ("startupProbe", "readinessProbe", "livenessProbe"):
            assert probe(one.url, engine[kind]) == 200
        with started(front, ENGINE_BASE_URL=one.url) as before:
            for _ in range(100):  # the gateway looks at its engines when it has started
                if (heard := probe(before.url, front["readinessProbe"])) == 200:
                    break
            assert heard == 200
