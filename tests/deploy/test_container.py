"""The container's recipe, read as text, since no daemon builds it here: what it must and must not say."""

from __future__ import annotations

import json
import re
import tomllib

import yaml

from tests.deploy.manifests import KUBERNETES, ROOT
from tests.documented_commands import parse


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's instructions in order, continued lines joined."""
    lines = [line for line in (ROOT / "Dockerfile").read_text().splitlines() if line and not line.startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines)).splitlines()
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in joined)]


def last_stage() -> dict[str, str]:
    every = instructions()
    begins = max(index for index, (word, _) in enumerate(every) if word == "FROM")
    return dict(every[begins:])


def test_it_does_not_run_as_root_and_keeps_its_state_in_one_volume() -> None:
    stage = last_stage()
    assert stage["USER"] == "10001:10001"
    (volume,) = json.loads(stage["VOLUME"])
    assert stage["WORKDIR"] == volume
    homes = dict(pair.split("=", 1) for pair in stage["ENV"].split())
    assert all(path.startswith(volume) for name, path in homes.items() if name.endswith(("HOME", "DATA")))


def test_what_the_last_stage_starts_are_real_commands() -> None:
    stage = last_stage()
    assert json.loads(stage["ENTRYPOINT"]) == ["vortex"]
    command, *arguments = json.loads(stage["CMD"])
    parse((command, *arguments))
    health = json.loads(stage["HEALTHCHECK"].partition("CMD ")[2])
    compile(health[2], "healthcheck", "exec")


def test_the_wheel_is_built_in_a_stage_of_its_own_from_what_the_build_needs() -> None:
    every = instructions()
    assert [rest for word, rest in every if word == "FROM"] == ["${BASE} AS build", "${BASE}"]
    assert "g++" not in last_stage()["RUN"]
    kept = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = {"pyproject.toml", "CMakeLists.txt", "src", project["readme"], *project["license-files"]}
    assert set(kept) == needed
    assert all((ROOT / name).exists() for name in kept)


def test_no_file_of_the_deployment_holds_a_secret_or_names_a_registry() -> None:
    files = [ROOT / "Dockerfile", *(ROOT / "deploy").rglob("*.*")]
    for path in files:
        text = path.read_text()
        assert not re.search(r"(?i)(password|secret|token)\s*[=:]\s*['\"]?[a-z0-9]{12,}", text), path
        assert not re.search(r"(docker|quay|gcr|pypi)\.(io|org)", text), path


def test_images_carry_this_version() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    texts = [path.read_text() for path in (ROOT / "Dockerfile", ROOT / "deploy/compose.yaml", *KUBERNETES.glob("*"))]
    named = {tag for text in texts for tag in re.findall(r"klimeai:([\w.]+)", text)}
    assert named == {version}


def test_composed_services_are_hardened_and_only_the_gateway_is_published() -> None:
    services = yaml.safe_load((ROOT / "deploy" / "compose.yaml").read_text())["services"]
    for name, service in services.items():
        assert service["read_only"], name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
    published = {name: service["ports"] for name, service in services.items() if "ports" in service}
    assert published == {"gateway": ["127.0.0.1:8000:8000"]}
    engines = services["gateway"]["environment"]["ENGINE_BASE_URL"]
    assert engines == ",".join(f"http://{name}:8000" for name in services if name.startswith("engine"))
    for name in (one for one in services if one.startswith("engine")):
        assert name in services[name]["command"], "it knows the name it is asked by"
