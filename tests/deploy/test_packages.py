"""The packages that a release publishes: what is inside, that faults are told, and that an installed wheel answers."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tomllib
import venv
import zipfile
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from packaging.requirements import Requirement

from tests.deploy.manifests import ROOT
from vortex.machine.cores import usable_cores


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


packages = script("release_packages")
WHEEL = "klimeai-0.1.0-cp311-cp311-linux_x86_64.whl"
GOOD = {
    "vortex/kernels/_native.cpython-311-x86_64-linux-gnu.so": b"\x7fELF",
    "vortex/tokenizer/vortex_tok/_vortex_tok.cpython-311-x86_64-linux-gnu.so": b"\x7fELF",
    "vortex/py.typed": b"",
    "vortex/config/profiles/default.yaml": b"",
    "vortex/console/templates/frame.html": b"",
    "vortex/console/static/console.css": b"",
    "vortex/vblocks/shipped/model.safetensors": b"",
    "c3rnt2/__main__.py": b"",
    "klimeai-0.1.0.dist-info/licenses/LICENSE": b"",
    "klimeai-0.1.0.dist-info/licenses/THIRD_PARTY.md": b"",
}
NATIVE = next(iter(GOOD))


def wheel_of(folder: Path, files: dict[str, bytes], name: str = WHEEL) -> Path:
    path = folder / name
    with zipfile.ZipFile(path, "w") as archive:
        for inner, data in files.items():
            archive.writestr(inner, data)
    return path


def test_a_good_wheel_has_no_faults(tmp_path: Path) -> None:
    assert packages.faults_of_wheel(wheel_of(tmp_path, GOOD)) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({NATIVE: None}, "it lacks vortex/kernels/_native"),
        ({"vortex/tests/test_x.py": b""}, "does not belong there"),
        ({"vortex/kernels/pool.cpp": b""}, "does not belong there"),
        ({"tests/conftest.py": b""}, "tests would be installed beside us"),
        ({NATIVE: b"\x7fELF/home/somebody/vortex/src/native/pool.cpp\0"}, "/home/somebody/vortex/src"),
        ({"vortex/large.bin": os.urandom(13_000_000)}, "are more than"),
        ({"klimeai-0.1.0.dist-info/licenses/THIRD_PARTY.md": None}, "it lacks"),
    ],
    ids=["no core", "tests", "source", "beside", "path", "size", "terms"],
)
def test_each_fault_of_a_wheel_is_told(tmp_path: Path, change: dict[str, bytes | None], said: str) -> None:
    files = {name: data for name, data in {**GOOD, **change}.items() if data is not None}
    (fault, *_) = packages.faults_of_wheel(wheel_of(tmp_path, files))
    assert said in " ".join([fault, *_])


def test_a_wheel_without_a_core_is_known_by_its_name(tmp_path: Path) -> None:
    faults = packages.faults_of_wheel(wheel_of(tmp_path, GOOD, "klimeai-0.1.0-py3-none-any.whl"))
    assert faults == ["it has no native core: the compiler failed and the build went on without one"]


def test_the_terms_of_every_dependency_are_listed() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = list(project["dependencies"])
    lines += [line for extra, some in project["optional-dependencies"].items() if extra != "dev" for line in some]
    text = (ROOT / "THIRD_PARTY.md").read_text()
    assert [name for name in {Requirement(line).name for line in lines} if f"| {name} | " not in text] == []
    for compiled_in in ("Copyright (c) 2022 Wenzel Jakob", "Copyright (c) 2017 Thibaut Goetghebuer-Planchon"):
        assert compiled_in in text, "a binary must carry these terms"


def bill() -> dict[str, Any]:
    return script("write_sbom").bill(set())


def test_the_bill_of_materials_names_each_part_once_and_what_it_needs() -> None:
    found = bill()
    assert (found["bomFormat"], found["specVersion"], found["version"]) == ("CycloneDX", "1.6", 1)
    parts = [found["metadata"]["component"], *found["components"]]
    references = [part["bom-ref"] for part in parts]
    assert len(references) == len(set(references))
    assert {"numpy", "fastapi", "nanobind", "robin-map"} <= {part["name"] for part in parts}
    assert all(part["type"] in {"application", "library"} for part in parts)
    assert sorted(one["ref"] for one in found["dependencies"]) == sorted(references)
    assert {other for one in found["dependencies"] for other in one["dependsOn"]} <= set(references)
    assert json.dumps(found) == json.dumps(bill()), "the same installation gives the same bytes"


def test_what_is_published_for_which_system_is_told_to_cibuildwheel() -> None:
    table = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["cibuildwheel"]
    assert "--require-native" in table["test-command"]
    assert table["linux"]["archs"] == ["x86_64", "aarch64"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return packages.build(ROOT, tmp_path_factory.mktemp("packages"))


@pytest.mark.long
def test_what_is_built_may_be_published(made: Any) -> None:
    assert packages.faults_of_sdist(made.sdist) == []
    assert packages.faults_of_wheel(made.wheel) == []


@pytest.mark.long
def test_an_installed_wheel_answers_with_its_native_core(made: Any, tmp_path: Path) -> None:
    """Only the wheel is installed; its dependencies are those of this environment, which spares the network."""
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / "bin" / "python"
    (here,) = (tmp_path / "venv" / "lib").glob("python*/site-packages")
    shared = [path for path in sys.path if path.endswith("site-packages")]
    quiet = {**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}

    def run(*command: str) -> str:
        result = subprocess.run(command, cwd=tmp_path, env=quiet, capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stderr[-1000:]
        return result.stdout

    run(str(python), "-m", "pip", "install", "-q", "--no-deps", "--no-index", str(made.wheel))
    (here / "dependencies.pth").write_text("\n".join(shared) + "\n")
    assert str(here) in run(str(python), "-P", "-c", "import vortex; print(vortex.__file__)")
    assert f"{usable_cores()} threads" in run(str(python), "-P", "-m", "vortex.kernels", "--require-native")
    vortex = str(python.parent / "vortex")
    assert "Paris" in run(vortex, "chat", "What is the capital of France?")
    assert run(str(python.parent / "klimeai"), "--version") == run(vortex, "--version")
    run(str(python), "-m", "pip", "uninstall", "-q", "-y", "klimeai")
    assert not list(here.glob("vortex/**/*.py"))
    assert not Path(vortex).exists()
